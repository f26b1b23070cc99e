//! The links of the guest:
//!
//! ```text
//! lan0 -- lan1       veth;  lan0.100 on lan0: VLAN 100
//! jumbo0 -- jumbo1   veth, MTU 9000
//! port0 -- port1     veth;  bond0 over port0, active-backup
//! dummy0
//! ```

use nix::net::if_::if_nametoindex;
use rtnetlink::{
    Handle, LinkBond, LinkDummy, LinkUnspec, LinkVeth, LinkVlan,
    packet_route::link::{BondMode, LinkMessage},
};

const JUMBO: u32 = 9000;

pub(crate) fn make() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        for (name, peer) in [("lan0", "lan1"), ("jumbo0", "jumbo1"), ("port0", "port1")] {
            add(&handle, LinkVeth::new(name, peer).build()).await?;
        }
        for name in ["jumbo0", "jumbo1"] {
            set(&handle, LinkUnspec::new_with_name(name).mtu(JUMBO).build()).await?;
        }
        let lan = if_nametoindex("lan0")?;
        add(&handle, LinkVlan::new("lan0.100", lan, 100).build()).await?;
        let bond = LinkBond::new("bond0").mode(BondMode::ActiveBackup).build();
        add(&handle, bond).await?;
        let bond = if_nametoindex("bond0")?;
        set(
            &handle,
            LinkUnspec::new_with_name("port0").controller(bond).build(),
        )
        .await?;
        add(&handle, LinkDummy::new("dummy0").build()).await?;
        for name in [
            "lo", "lan0", "lan1", "lan0.100", "jumbo0", "jumbo1", "port1", "bond0", "dummy0",
        ] {
            set(&handle, LinkUnspec::new_with_name(name).up().build()).await?;
        }
        Ok(())
    })
}

async fn add(handle: &Handle, link: LinkMessage) -> Result<(), rtnetlink::Error> {
    handle.link().add(link).execute().await
}

async fn set(handle: &Handle, link: LinkMessage) -> Result<(), rtnetlink::Error> {
    handle.link().set(link).execute().await
}
