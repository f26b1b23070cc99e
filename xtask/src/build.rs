//! `cargo xtask build`: the one file to ship.

use std::fs;

use crate::{build_ebpf, command, error::Error, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    build_ebpf::run(build_ebpf::Args {})?;
    command::run(command::cargo(None).args(["build", "--release", "--package", "vip-agent"]))?;
    let agent = workspace::agent();
    let bytes = std::fs::metadata(&agent)
        .map_err(Error::file(&agent))?
        .len();
    println!("{} ({:.1} MB)", agent.display(), bytes as f64 / 1e6);
    Ok(())
}
