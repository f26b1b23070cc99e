//! `cargo xtask build`: the one file to ship.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{build_ebpf, command, error::Error, platform::Platform, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    build_ebpf::run(build_ebpf::Args {})?;
    let built = compile(Platform::here())?;
    let agent = workspace::agent();
    let dir = agent.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(Error::file(dir))?;
    // One that runs cannot be written over, but replaced.
    let partial = agent.with_extension("partial");
    fs::copy(&built, &partial).map_err(Error::file(&partial))?;
    fs::rename(&partial, &agent).map_err(Error::file(&agent))?;
    let bytes = fs::metadata(&agent).map_err(Error::file(&agent))?.len();
    println!(
        "build: {} ({:.1} MB, static, eBPF object inside)",
        agent.display(),
        bytes as f64 / 1e6
    );
    Ok(())
}

/// The agent for a platform, with the eBPF object inside.
pub(crate) fn agent(platform: Platform) -> Result<PathBuf, Error> {
    if platform == Platform::here() {
        run(Args {})?;
        return Ok(workspace::agent());
    }
    build_ebpf::run(build_ebpf::Args {})?;
    compile(platform)
}

/// One file that needs no other: no loader, no libraries, so that the image is that file alone.
fn compile(platform: Platform) -> Result<PathBuf, Error> {
    let mut cargo = platform.static_build();
    command::run(cargo.args(["--profile", "agent", "--package", "vip-agent"]))?;
    let built = workspace::cargo_target()
        .join(platform.triple())
        .join("agent/vip-agent");
    let bytes = fs::read(&built).map_err(Error::file(&built))?;
    let object = workspace::object();
    let object = fs::read(&object).map_err(Error::file(&object))?;
    if !bytes.windows(object.len()).any(|window| window == object) {
        return Err(Error::ObjectNotInside);
    }
    Ok(built)
}
