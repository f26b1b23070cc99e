//! Hears who has which address on the LANs of this host, by packet sockets (packet(7)).
//!
//! A filter in the kernel lets through what claims something and nothing else: ARP replies,
//! gratuitous ARP requests, and neighbour advertisements without extension headers. The XDP
//! program comes first: it passes on what claims a VIP that is not live here, and answers or
//! yields to the rest by itself.

use std::{
    io, mem,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use libc::{
    ARPHRD_ETHER, BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_MISC, BPF_RET,
    BPF_TAX, BPF_W, BPF_X, ETH_P_ARP, ETH_P_IPV6, SKF_AD_HATYPE, SKF_AD_OFF,
};
use nix::{
    errno::Errno,
    sys::socket::{LinkAddr, recvfrom, setsockopt, sockopt},
};
use socket2::{Domain, SockFilter, Socket, Type};
use tokio::{
    io::unix::AsyncFd,
    time::{Instant, sleep_until},
};

use crate::{heard::Heard, vip::IfIndex};

/// Frames that one turn takes.
const BATCH: usize = 64;
/// What a turn waits for after a full one, so that a flood costs no more than 64,000 frames a
/// second; what comes faster fills the queue of the socket, and is dropped there.
const REST: Duration = Duration::from_millis(1);
/// The queue of each socket in bytes: thousands of small frames.
const QUEUE: usize = 1 << 20;
/// Bytes of a frame that are looked at: longer messages are no claims.
const FRAME: usize = 512;

/// Two sockets, of ARP and of IPv6, on every interface of their network namespace. Sockets of one
/// protocol see no frame that leaves, and none of VLANs: those come by the VLAN's own interface.
#[derive(Debug)]
pub struct Listener {
    arp: AsyncFd<OwnedFd>,
    ipv6: AsyncFd<OwnedFd>,
    rests_until: Option<Instant>,
}

/// The LAN cannot be heard.
#[derive(Debug, thiserror::Error)]
#[error("cannot open a packet socket to hear the LAN (it needs CAP_NET_RAW): {0}")]
pub struct ListenerError(#[source] io::Error);

impl Listener {
    /// Opens the sockets in the network namespace of the calling thread, which must be within a
    /// tokio runtime.
    pub fn open() -> Result<Self, ListenerError> {
        Ok(Self {
            arp: open(ETH_P_ARP, &arp_claims()).map_err(ListenerError)?,
            ipv6: open(ETH_P_IPV6, &advertisements()).map_err(ListenerError)?,
            rests_until: None,
        })
    }

    /// The next claims, each with the interface that it came in by, at most 128; none where all
    /// that came was malformed. Cancelled, it has taken nothing.
    pub async fn next(&mut self) -> Vec<(IfIndex, Heard)> {
        if let Some(until) = self.rests_until {
            sleep_until(until).await;
            self.rests_until = None;
        }
        let ready = tokio::select! {
            ready = self.arp.readable() => ready.map(drop),
            ready = self.ipv6.readable() => ready.map(drop),
        };
        if let Err(error) = ready {
            // The runtime ends.
            tracing::debug!(%error, "the LAN is not heard any more");
            return std::future::pending().await;
        }
        let mut heard = Vec::new();
        for socket in [&self.arp, &self.ipv6] {
            if take(socket, &mut heard) {
                self.rests_until = Some(Instant::now() + REST);
            }
        }
        heard
    }

    /// Frames that found the queue full since the last call.
    pub fn dropped(&self) -> u64 {
        [&self.arp, &self.ipv6].map(drops).iter().sum()
    }
}

/// Takes what is there, at most [`BATCH`] frames; whether it was as many.
fn take(socket: &AsyncFd<OwnedFd>, heard: &mut Vec<(IfIndex, Heard)>) -> bool {
    let mut frame = [0; FRAME];
    for _ in 0..BATCH {
        let taken = socket.try_io(tokio::io::Interest::READABLE, |fd| {
            Ok(recvfrom::<LinkAddr>(fd.as_raw_fd(), &mut frame)?)
        });
        match taken {
            Ok((length, Some(from))) => {
                let frame = &mut frame[..length.min(FRAME)];
                heard.extend(Heard::of(frame).map(|heard| (from.ifindex() as IfIndex, heard)));
            }
            Ok((_, None)) => {}
            // Nothing more; other errors are those of one frame.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => tracing::debug!(%error, "a frame of the LAN cannot be read"),
        }
    }
    true
}

fn open(protocol: i32, filter: &[SockFilter]) -> io::Result<AsyncFd<OwnedFd>> {
    // Protocol 0: nothing is received before the filter is in place.
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
    socket.attach_filter(filter)?;
    if setsockopt(&socket, sockopt::RcvBufForce, &QUEUE).is_err() {
        // Without CAP_NET_ADMIN as much as the host lets everybody have.
        socket.set_recv_buffer_size(QUEUE)?;
    }
    // SAFETY: sockaddr_ll is made of integers, for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (protocol as u16).to_be();
    // SAFETY: the address is a whole sockaddr_ll that lives until the call returns.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    Errno::result(bound)?;
    // SAFETY: the descriptor is valid, and an `OwnedFd` keeps it, and none other, open for as
    // long as it lives.
    let socket = unsafe { AsyncFd::register(OwnedFd::from(socket)) };
    Ok(socket?)
}

/// `PACKET_STATISTICS`, which the kernel sets to zero when it is read.
fn drops(socket: &AsyncFd<OwnedFd>) -> u64 {
    // SAFETY: tpacket_stats is made of integers, for which zero is valid.
    let mut stats: libc::tpacket_stats = unsafe { mem::zeroed() };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: `stats` is as long as `length` says, and both live until the call returns.
    let read = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast(),
            &raw mut length,
        )
    };
    match read {
        0 => u64::from(stats.tp_drops),
        _ => 0,
    }
}

/// ARP over Ethernet: replies, and requests whose sender is their target.
///
/// ```text
///     ldh #hatype       jne #ARPHRD_ETHER, drop
///     ldh [20]          jeq #2, take          operation
///                       jne #1, drop
///     ld [28]; tax      sender
///     ld [38]           jne x, drop           target
/// ```
fn arp_claims() -> [SockFilter; 11] {
    [
        load(BPF_H, SKF_AD_OFF + SKF_AD_HATYPE),
        equal(u32::from(ARPHRD_ETHER), 0, 7),
        load(BPF_H, 20),
        equal(2, 6, 0),
        equal(1, 0, 4),
        load(BPF_W, 28),
        SockFilter::new((BPF_MISC | BPF_TAX) as u16, 0, 0, 0),
        load(BPF_W, 38),
        SockFilter::new((BPF_JMP | BPF_JEQ | BPF_X) as u16, 1, 0, 0),
        give(0),
        give(FRAME as u32),
    ]
}

/// Neighbour advertisements over Ethernet.
///
/// ```text
///     ldh #hatype       jne #ARPHRD_ETHER, drop
///     ldb [20]          jne #58, drop         next header
///     ldb [54]          jne #136, drop        type
/// ```
fn advertisements() -> [SockFilter; 8] {
    [
        load(BPF_H, SKF_AD_OFF + SKF_AD_HATYPE),
        equal(u32::from(ARPHRD_ETHER), 0, 4),
        load(BPF_B, 20),
        equal(58, 0, 2),
        load(BPF_B, 54),
        equal(136, 1, 0),
        give(0),
        give(FRAME as u32),
    ]
}

/// Loads from the Ethernet header on, or what the kernel knows beside the frame.
fn load(size: u32, at: i32) -> SockFilter {
    SockFilter::new((BPF_LD | BPF_ABS | size) as u16, 0, 0, at as u32)
}

/// Jumps over so many instructions.
fn equal(value: u32, when_equal: u8, when_not: u8) -> SockFilter {
    let code = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
    SockFilter::new(code, when_equal, when_not, value)
}

/// Ends with as many bytes of the frame.
fn give(bytes: u32) -> SockFilter {
    SockFilter::new((BPF_RET | BPF_K) as u16, 0, 0, bytes)
}
