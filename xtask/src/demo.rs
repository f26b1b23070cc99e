//! `cargo xtask demo`: one node, one client and one rival on a LAN of network namespaces.

use crate::{
    build, command,
    error::Error,
    setup::{self, Purpose},
    workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    setup::ensure(&[Purpose::Peers])?;
    build::run(build::Args {})?;
    // The bed is that of the tests.
    command::run(
        command::cargo(None)
            .args(["run", "--quiet", "--package", "tests", "--bin", "demo"])
            .env("XVIP_AGENT", workspace::agent()),
    )
}
