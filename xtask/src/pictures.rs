//! `cargo xtask pictures`: terminal, page and graphs in docs/pictures, of real agents.

use crate::{
    build, command,
    envtest::{self, Set},
    error::Error,
    setup::{self, Purpose},
    workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    setup::ensure(&[Purpose::Peers, Purpose::Browser])?;
    build::run(build::Args {})?;
    let assets = envtest::ensure(Set::Light)?;
    // The bed is that of the tests.
    command::run(
        command::cargo(None)
            .args(["run", "--quiet", "--package", "tests", "--bin", "pictures"])
            .arg(workspace::root().join("docs/pictures"))
            .env("XVIP_AGENT", workspace::agent())
            .env(envtest::ASSETS, assets),
    )
}
