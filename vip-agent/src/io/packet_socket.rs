//! Sends announcements through a packet socket (packet(7)).
//!
//! The socket never sets `PACKET_QDISC_BYPASS`: frames must pass the egress program, which
//! stops those of a VIP that is no longer live, also when this process was stopped in the
//! middle of a burst and goes on later (`wire.md`, rule 28).

use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
};

use libc::{ETH_P_ARP, ETH_P_IPV6};
use nix::errno::Errno;
use tokio::io::unix::AsyncFd;
use vip_common::counter::Family;

use crate::announce::{Announcement, BATCH};

/// A socket that sends on every interface of its network namespace, and receives nothing.
#[derive(Debug)]
pub struct PacketSocket {
    socket: AsyncFd<OwnedFd>,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames that left, by [`Family`].
    pub sent: [u64; 2],
    /// Frames that the egress program, or a full queue, dropped (ENOBUFS). They are not sent
    /// again: a fenced VIP must stay silent, and a live one has further frames in its schedule.
    pub fenced: u64,
    /// Frames refused for another reason (the link is down, or gone), and the last reason.
    pub failed: Option<(u64, Errno)>,
}

/// A packet socket cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum PacketSocketError {
    /// socket(2) failed.
    #[error("cannot open a packet socket (it needs CAP_NET_RAW): {0}")]
    Open(#[source] io::Error),
    /// The runtime cannot wait for the socket.
    #[error("cannot wait for the packet socket: {0}")]
    Wait(#[source] io::Error),
}

impl PacketSocket {
    /// Opens the socket in the network namespace of the calling thread, which must be within a
    /// tokio runtime.
    pub fn open() -> Result<Self, PacketSocketError> {
        // Protocol 0: nothing is ever received, so no frame of the host is copied for us.
        let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, flags, 0) };
        let fd = Errno::result(fd).map_err(|errno| PacketSocketError::Open(errno.into()))?;
        // SAFETY: the descriptor is new, open, and owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor is valid, and an `OwnedFd` keeps it, and none other, open for
        // as long as it lives.
        let socket = unsafe { AsyncFd::register(socket) };
        socket
            .map(|socket| Self { socket })
            .map_err(|error| PacketSocketError::Wait(error.into()))
    }

    /// Sends every frame once. Waits only while the socket's own buffer is full; cancelled, it
    /// has sent the first frames and not the last.
    pub async fn send(&self, frames: &[Announcement]) -> Result<Outcome, PacketSocketError> {
        let mut outcome = Outcome::default();
        let mut rest = frames;
        while let [first, behind @ ..] = rest {
            match self.send_batch(&rest[..rest.len().min(BATCH)]) {
                Ok(count) => {
                    let (sent, unsent) = rest.split_at(count.min(rest.len()));
                    for frame in sent {
                        outcome.sent[frame.family() as usize] += 1;
                    }
                    rest = unsent;
                }
                Err(Errno::EAGAIN) => {
                    let ready = self.socket.writable().await;
                    ready.map_err(PacketSocketError::Wait)?.clear_ready();
                }
                Err(Errno::EINTR) => {}
                // An error is that of the first frame (sendmmsg(2)): go on behind it.
                Err(Errno::ENOBUFS) => {
                    outcome.fenced += 1;
                    rest = behind;
                }
                Err(errno) => {
                    tracing::debug!(vip = %first.key.vip, ifindex = first.key.ifindex, %errno, "announcement refused");
                    let failed = outcome.failed.map_or(0, |(count, _)| count);
                    outcome.failed = Some((failed + 1, errno));
                    rest = behind;
                }
            }
        }
        Ok(outcome)
    }

    /// One `sendmmsg`: the number of leading frames that were sent, or the error of the first.
    fn send_batch(&self, frames: &[Announcement]) -> Result<usize, Errno> {
        let mut addresses: Vec<libc::sockaddr_ll> = frames.iter().map(link_address).collect();
        let mut parts: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                // sendmmsg only reads it.
                iov_base: frame.frame.as_ptr().cast_mut().cast(),
                iov_len: frame.frame.len(),
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = addresses
            .iter_mut()
            .zip(&mut parts)
            .map(|(address, part)| {
                // SAFETY: msghdr is made of integers and pointers, for which zero is valid.
                let mut header: libc::msghdr = unsafe { mem::zeroed() };
                header.msg_name = ptr::from_mut(address).cast();
                header.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
                header.msg_iov = part;
                header.msg_iovlen = 1;
                libc::mmsghdr {
                    msg_hdr: header,
                    msg_len: 0,
                }
            })
            .collect();
        // SAFETY: `messages` holds as many headers as told; their names and vectors point into
        // `addresses`, `parts` and `frames`, which all live, unmoved, until the call returns.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                messages.len() as libc::c_uint,
                0,
            )
        };
        Errno::result(sent).map(|sent| usize::try_from(sent).unwrap_or_default())
    }
}

/// Where a frame leaves. The protocol becomes `skb->protocol`, by which egress programs and
/// packet filters tell ARP from IPv6.
fn link_address(frame: &Announcement) -> libc::sockaddr_ll {
    let protocol = match frame.family() {
        Family::Ipv4 => ETH_P_ARP,
        Family::Ipv6 => ETH_P_IPV6,
    };
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: frame.key.ifindex as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    }
}
