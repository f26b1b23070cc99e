//! Offloads of a network device, by ethtool's ioctl.

use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

const ETHTOOL_GFLAGS: u32 = 0x25;
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Whether the device takes VLAN tags off what it receives, where it tells.
pub fn rxvlan(name: &str) -> Option<bool> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    let mut value = Value {
        command: ETHTOOL_GFLAGS,
        data: 0,
    };
    // SAFETY: all zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        // Signed on amd64, unsigned on arm64.
        *to = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names a device and points to a value, both alive during the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    (done == 0).then_some(value.data & ETH_FLAG_RXVLAN != 0)
}
