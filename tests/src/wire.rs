//! Frames built and read by hand, by code that is none of the product's, and a socket for them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, bind, recv, send,
            setsockopt, socket, sockopt,
        },
        time::{TimeVal, TimeValLike},
    },
};
use vip_agent::vip::Mac;

use crate::netns::{BedError, Peer, system};

const BROADCAST: Mac = Mac([0xff; 6]);

/// What a frame of ARP or ND does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ARP request, or NS.
    Question,
    /// ARP reply, or NA.
    Answer,
}

/// The fields of an ARP or ND frame that tests look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What it does.
    pub kind: Kind,
    /// Ethernet source.
    pub from: Mac,
    /// Ethernet destination.
    pub to: Mac,
    /// ARP's sender or IPv6's source.
    pub source: IpAddr,
    /// ARP's target, or IPv6's destination.
    pub destination: IpAddr,
    /// The address in question: of a question ARP's target, of an answer ARP's sender; ND's target.
    pub about: IpAddr,
}

impl Seen {
    /// It claims an address before all: a gratuitous ARP (RFC 5227, 2.3, as request or reply), or
    /// an NA to all nodes.
    pub fn is_announcement(&self) -> bool {
        match self.destination {
            IpAddr::V4(_) => self.source == self.destination,
            IpAddr::V6(group) => self.kind == Kind::Answer && group.is_multicast(),
        }
    }

    /// Reads a frame; `None` for all that is no ARP and no ND.
    pub fn of(frame: &[u8]) -> Option<Self> {
        let mac = |at: usize| Some(Mac(frame.get(at..at + 6)?.try_into().ok()?));
        let v4 = |at: usize| {
            let octets: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
            Some(IpAddr::from(octets))
        };
        let v6 = |at: usize| {
            let octets: [u8; 16] = frame.get(at..at + 16)?.try_into().ok()?;
            Some(IpAddr::from(octets))
        };
        let (to, from) = (mac(0)?, mac(6)?);
        match frame.get(12..14)? {
            [0x08, 0x06] => {
                let kind = match frame.get(20..22)? {
                    [0, 1] => Kind::Question,
                    [0, 2] => Kind::Answer,
                    _ => return None,
                };
                let (source, destination) = (v4(28)?, v4(38)?);
                let about = match kind {
                    Kind::Question => destination,
                    Kind::Answer => source,
                };
                Some(Self {
                    kind,
                    from,
                    to,
                    source,
                    destination,
                    about,
                })
            }
            [0x86, 0xdd] if frame.get(20) == Some(&58) => {
                let kind = match frame.get(54)? {
                    135 => Kind::Question,
                    136 => Kind::Answer,
                    _ => return None,
                };
                Some(Self {
                    kind,
                    from,
                    to,
                    source: v6(22)?,
                    destination: v6(38)?,
                    about: v6(62)?,
                })
            }
            _ => None,
        }
    }
}

/// A broadcast ARP request (RFC 826). With `sender` = `target` it is a gratuitous one.
pub fn arp_request(from: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    [
        &BROADCAST.0[..],
        &from.0,
        &[0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1],
        &from.0,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    ]
    .concat()
}

/// A multicast NS with source link-layer address (RFC 4861, 4.3).
pub fn solicitation(from: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    // RFC 4291, 2.7.1.
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&target.octets()[13..]);
    let body = [&[0; 4][..], &target.octets(), &[1, 1], &from.0].concat();
    icmpv6(from, source, group.into(), 135, &body)
}

/// An unsolicited NA with the override flag, to all nodes (RFC 4861, 4.4).
pub fn unsolicited_advertisement(from: Mac, target: Ipv6Addr) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let body = [&[0x20, 0, 0, 0][..], &target.octets(), &[2, 1], &from.0].concat();
    icmpv6(from, target, all_nodes, 136, &body)
}

fn icmpv6(from: Mac, source: Ipv6Addr, group: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u16 + 4;
    let (source, group) = (source.octets(), group.octets());
    let pseudo = [
        &source[..],
        &group,
        &[0, 0],
        &length.to_be_bytes(),
        &[0, 0, 0, 58],
    ]
    .concat();
    let words = [&pseudo[..], &[kind, 0, 0, 0], body].concat();
    let sum = words.chunks(2).fold(0_u32, |sum, word| {
        sum + u32::from(u16::from_be_bytes([word[0], word[1]]))
    });
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum + (sum >> 16)) as u16);
    [
        &[0x33, 0x33][..],
        &group[12..],
        &from.0,
        &[0x86, 0xdd, 0x60, 0, 0, 0],
        &length.to_be_bytes(),
        &[58, 255],
        &source,
        &group,
        &[kind, 0],
        &checksum.to_be_bytes(),
        body,
    ]
    .concat()
}

/// A packet socket on one interface.
#[derive(Debug)]
pub struct Wire(OwnedFd);

impl Wire {
    /// Opens it on an interface of a namespace. Receiving gives up after `patience`.
    pub fn open(host: &Peer, interface: &str, patience: Duration) -> Result<Self, BedError> {
        host.enter(|| Self::open_here(interface, patience).map_err(system("packet socket")))
    }

    fn open_here(interface: &str, patience: Duration) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::Packet, SockType::Raw);
        // Bound first, so that nothing comes from other interfaces.
        let wire = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
        let ifindex = if_nametoindex(interface)?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: ifindex as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: a whole sockaddr_ll, and its size.
        let address = unsafe {
            LinkAddr::from_raw(
                std::ptr::from_ref(&address).cast(),
                Some(size_of::<libc::sockaddr_ll>() as u32),
            )
        };
        setsockopt(&wire, sockopt::RcvBufForce, &(8 << 20))?;
        let patience = TimeVal::milliseconds(patience.as_millis() as i64);
        setsockopt(&wire, sockopt::ReceiveTimeout, &patience)?;
        bind(
            wire.as_raw_fd(),
            &address.ok_or(io::ErrorKind::InvalidInput)?,
        )?;
        Ok(Self(wire))
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) -> Result<(), BedError> {
        match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(_) => Ok(()),
            Err(errno) => Err(system("send")(errno.into())),
        }
    }

    /// The next frame, of what comes and goes; `None` when none came in time.
    pub fn receive(&self) -> Result<Option<Vec<u8>>, BedError> {
        let mut buffer = [0; 2048];
        match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => Ok(Some(buffer[..length].to_vec())),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => Ok(None),
            Err(errno) => Err(system("recv")(errno.into())),
        }
    }

    /// When, and from whom, something with `about` as its sender was heard within `time`, but for
    /// what `own` sent.
    pub fn heard(
        &self,
        about: IpAddr,
        own: Mac,
        time: Duration,
    ) -> Result<Vec<(Duration, Mac)>, BedError> {
        let began = Instant::now();
        let mut heard = Vec::new();
        while began.elapsed() < time {
            if let Some(frame) = self.receive()?
                && let Some(seen) = Seen::of(&frame)
                && seen.source == about
                && seen.from != own
            {
                heard.push((began.elapsed(), seen.from));
            }
        }
        Ok(heard)
    }
}
