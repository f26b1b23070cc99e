//! `cargo xtask build`: the one file to ship.

use std::fs;

use crate::{build_ebpf, command, error::Error, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    build_ebpf::run(build_ebpf::Args {})?;
    command::run(command::cargo(None).args(["build", "--release", "--package", "vip-agent"]))?;
    let agent = workspace::agent();
    let bytes = fs::read(&agent).map_err(Error::file(&agent))?;
    let object = workspace::object();
    let object = fs::read(&object).map_err(Error::file(&object))?;
    if !bytes.windows(object.len()).any(|window| window == object) {
        return Err(Error::ObjectNotInside);
    }
    let megabytes = bytes.len() as f64 / 1e6;
    println!(
        "build: {} ({megabytes:.1} MB, eBPF object inside)",
        agent.display()
    );
    Ok(())
}
