//! The links of the guest; what is on the right is in a namespace of its own.
//!
//! ```text
//! lan0 -- lan1       veth, with lan0.100 -- lan1.100: VLAN 100
//! jumbo0 -- jumbo1   veth, MTU 9000
//! port0 -- port1     veth, with bond0 over port0, active-backup, and bond0.100 -- port1.100;
//!                    tags stay inside the frames, as with a network card that does not strip them
//! dummy0
//! ```

use std::{error::Error, io, os::fd::AsRawFd};

use nix::{
    net::if_::if_nametoindex,
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};
use rtnetlink::{
    Handle, LinkBond, LinkDummy, LinkUnspec, LinkVeth, LinkVlan,
    packet_route::link::{BondMode, LinkMessage},
};
use tests::netns::{Peer, system};

pub(crate) const JUMBO: usize = 9000;

/// Of the VLAN uppers, which would else have that of the device below.
const UPPER_MACS: [(&str, [u8; 6]); 2] = [
    ("lan0.100", [2, 0, 0, 0, 1, 0]),
    ("bond0.100", [2, 0, 0, 0, 1, 1]),
];

/// Makes all of it, and gives the namespace of the right ends.
pub(crate) fn make() -> Result<Peer, Box<dyn Error>> {
    let peer = Peer::new()?;
    configure(async |handle| {
        for (name, other) in [("lan0", "lan1"), ("jumbo0", "jumbo1"), ("port0", "port1")] {
            add(&handle, LinkVeth::new(name, other).build()).await?;
            let moved = LinkUnspec::new_with_name(other).setns_by_pid(peer.pid());
            set(&handle, moved).await?;
        }
        set(
            &handle,
            LinkUnspec::new_with_name("jumbo0").mtu(JUMBO as u32),
        )
        .await?;
        let bond = LinkBond::new("bond0").mode(BondMode::ActiveBackup);
        add(&handle, bond.build()).await?;
        let bond = LinkUnspec::new_with_name("port0").controller(if_nametoindex("bond0")?);
        set(&handle, bond).await?;
        add(&handle, LinkDummy::new("dummy0").build()).await?;
        for name in ["lo", "lan0", "jumbo0", "bond0", "dummy0"] {
            up(&handle, name).await?;
        }
        clear("bond0", RX_VLAN)?;
        for (name, mac) in UPPER_MACS {
            vlan(&handle, name).await?;
            set(&handle, LinkUnspec::new_with_name(name).address(mac.into())).await?;
            up(&handle, name).await?;
        }
        Ok(())
    })?;
    peer.enter(|| {
        let made = configure(async |handle| {
            set(
                &handle,
                LinkUnspec::new_with_name("jumbo1").mtu(JUMBO as u32),
            )
            .await?;
            for name in ["lan1", "jumbo1", "port1"] {
                up(&handle, name).await?;
            }
            clear("port1", TX_VLAN)?;
            for name in ["lan1.100", "port1.100"] {
                vlan(&handle, name).await?;
                up(&handle, name).await?;
            }
            Ok(())
        });
        made.map_err(|error| system("links")(io::Error::other(error.to_string())))
    })?;
    Ok(peer)
}

fn configure(
    work: impl AsyncFnOnce(Handle) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        work(handle).await
    })
}

async fn add(handle: &Handle, link: LinkMessage) -> Result<(), rtnetlink::Error> {
    handle.link().add(link).execute().await
}

async fn set(
    handle: &Handle,
    link: rtnetlink::LinkMessageBuilder<LinkUnspec>,
) -> Result<(), rtnetlink::Error> {
    handle.link().set(link.build()).execute().await
}

async fn up(handle: &Handle, name: &str) -> Result<(), rtnetlink::Error> {
    set(handle, LinkUnspec::new_with_name(name).up()).await
}

/// VLAN 100 over the device whose name comes before the dot.
async fn vlan(handle: &Handle, name: &str) -> Result<(), Box<dyn Error>> {
    let lower = name.split('.').next().unwrap_or(name);
    let link = LinkVlan::new(name, if_nametoindex(lower)?, 100);
    Ok(add(handle, link.build()).await?)
}

/// `struct ethtool_value` (linux/ethtool.h).
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

const GET_FLAGS: u32 = 0x25;
const SET_FLAGS: u32 = 0x26;
const TX_VLAN: u32 = 1 << 7;
const RX_VLAN: u32 = 1 << 8;

fn clear(name: &str, flag: u32) -> io::Result<()> {
    let flags = ethtool(name, GET_FLAGS, 0)?;
    ethtool(name, SET_FLAGS, flags & !flag)?;
    Ok(())
}

/// The value after the call.
fn ethtool(name: &str, command: u32, data: u32) -> io::Result<u32> {
    let (inet, datagram) = (AddressFamily::Inet, SockType::Datagram);
    let socket = socket(inet, datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = Value { command, data };
    // SAFETY: all zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names a device and points to a value, both alive during the call.
    // The type of a request differs between C libraries and processors.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if done == 0 {
        Ok(value.data)
    } else {
        Err(io::Error::last_os_error())
    }
}
