//! The programs that run in a VM: static, since there is nothing else in it.

use std::path::PathBuf;

use crate::{command, error::Error, setup::DEBIAN_TOOLCHAIN, workspace};

use super::Arch;

pub(super) struct Programs {
    pub(super) guest: PathBuf,
    pub(super) agent: PathBuf,
}

pub(super) fn build(arch: Arch) -> Result<Programs, Error> {
    let (toolchain, triple) = match arch {
        Arch::Amd64 => (None, "x86_64-unknown-linux-gnu"),
        // Debian's rustc has its standard library as a package.
        Arch::Arm64 => (Some(DEBIAN_TOOLCHAIN), "aarch64-unknown-linux-gnu"),
    };
    let target_dir = workspace::made().join("guest");
    let mut cargo = command::cargo(toolchain);
    cargo
        .args(["build", "--package", "tests", "--bin", "guest"])
        .args(["--package", "vip-agent", "--bin", "vip-agent"])
        // Named, so that build scripts and macros are not linked statically too.
        .args(["--target", triple, "--target-dir"])
        .arg(&target_dir)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_PROFILE_DEV_DEBUG", "none")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols");
    if arch == Arch::Arm64 {
        let linker = "aarch64-linux-gnu-gcc";
        cargo
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", linker)
            .env("CC_aarch64_unknown_linux_gnu", linker);
    }
    command::run(&mut cargo)?;
    let dir = target_dir.join(triple).join("debug");
    Ok(Programs {
        guest: dir.join("guest"),
        agent: dir.join("vip-agent"),
    })
}
