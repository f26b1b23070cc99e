//! A responder in userspace: packet sockets, one frame at a time, as such programs are written.
//! It is as careless as the reflector, but for the checksum.

use std::{
    io,
    mem::{self, size_of},
    net::Ipv6Addr,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
};

use pnet_packet::icmpv6::{self, Icmpv6Packet};

use super::error::Error;

/// Starts a thread for each family on an interface of the caller's namespace. They end with the
/// process.
pub(super) fn start(ifindex: u32, mac: [u8; 6]) -> Result<(), Error> {
    let answers: [(libc::c_int, Answer); 2] = [
        (libc::ETH_P_ARP, answer_arp),
        (libc::ETH_P_IPV6, answer_solicitation),
    ];
    for (protocol, answer) in answers {
        let socket = open(ifindex, protocol)?;
        thread::spawn(move || serve(&socket, mac, answer));
    }
    Ok(())
}

/// Turns a frame into its answer; false when it gets none.
type Answer = fn(&mut [u8], [u8; 6]) -> bool;

fn open(ifindex: u32, protocol: libc::c_int) -> Result<OwnedFd, Error> {
    let protocol = (protocol as u16).to_be();
    // SAFETY: plain system calls; the address is a whole `sockaddr_ll`.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from(protocol));
        if socket < 0 {
            return Err(Error::io("a packet socket")(io::Error::last_os_error()));
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_ll = mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = ifindex as i32;
        let size = size_of::<libc::sockaddr_ll>() as u32;
        if libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) < 0 {
            return Err(Error::io("binding a packet socket")(
                io::Error::last_os_error(),
            ));
        }
        Ok(socket)
    }
}

fn serve(socket: &OwnedFd, mac: [u8; 6], answer: Answer) {
    let mut buffer = [0u8; 256];
    loop {
        // SAFETY: the buffer is as long as said.
        let length = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        let Ok(length) = usize::try_from(length) else {
            continue;
        };
        let Some(frame) = buffer.get_mut(..length) else {
            continue;
        };
        if answer(frame, mac) {
            // SAFETY: as above. An answer that does not fit the queue is lost.
            unsafe { libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        }
    }
}

fn turn_round(frame: &mut [u8], mac: [u8; 6]) {
    frame.copy_within(6..12, 0);
    frame[6..12].copy_from_slice(&mac);
}

fn answer_arp(frame: &mut [u8], mac: [u8; 6]) -> bool {
    if frame.len() < 42 || frame[20..22] != [0, 1] {
        return false;
    }
    turn_round(frame, mac);
    frame[21] = 2;
    let vip = [frame[38], frame[39], frame[40], frame[41]];
    frame.copy_within(22..32, 32);
    frame[22..28].copy_from_slice(&mac);
    frame[28..32].copy_from_slice(&vip);
    true
}

fn answer_solicitation(frame: &mut [u8], mac: [u8; 6]) -> bool {
    if frame.len() != 86 || frame[54] != 135 {
        return false;
    }
    turn_round(frame, mac);
    frame.copy_within(22..38, 38);
    frame.copy_within(62..78, 22);
    frame[54..62].copy_from_slice(&[136, 0, 0, 0, 0x60, 0, 0, 0]);
    frame[78] = 2;
    frame[80..86].copy_from_slice(&mac);
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&frame[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let (from, to) = (address(22), address(38));
    let checksum =
        Icmpv6Packet::new(&frame[54..]).map_or(0, |message| icmpv6::checksum(&message, &from, &to));
    frame[56..58].copy_from_slice(&checksum.to_be_bytes());
    true
}
