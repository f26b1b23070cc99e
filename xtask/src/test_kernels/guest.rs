//! The programs that run in a VM: static, since there is nothing else in it.

use std::path::PathBuf;

use crate::{command, error::Error, platform::Platform, workspace};

pub(super) struct Programs {
    pub(super) guest: PathBuf,
    pub(super) agent: PathBuf,
}

pub(super) fn build(platform: Platform) -> Result<Programs, Error> {
    let target_dir = workspace::made().join("guest");
    let mut cargo = platform.static_build();
    cargo
        .args(["--package", "tests", "--bin", "guest"])
        .args(["--package", "vip-agent", "--bin", "vip-agent"])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("CARGO_PROFILE_DEV_DEBUG", "none")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols");
    command::run(&mut cargo)?;
    let dir = target_dir.join(platform.triple()).join("debug");
    Ok(Programs {
        guest: dir.join("guest"),
        agent: dir.join("vip-agent"),
    })
}
