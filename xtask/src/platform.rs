//! The processors that we build for.

use std::{env, process::Command};

use crate::{
    command,
    setup::{DEBIAN_TOOLCHAIN, Purpose},
};

/// A processor, with Linux on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Platform {
    Amd64,
    Arm64,
}

impl Platform {
    pub(crate) const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// That of this machine.
    pub(crate) fn here() -> Self {
        match env::consts::ARCH {
            "aarch64" => Self::Arm64,
            _ => Self::Amd64,
        }
    }

    /// As Debian and container images call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// As rustc calls it.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// What building for it takes.
    pub(crate) fn purposes(self) -> &'static [Purpose] {
        match self {
            Self::Amd64 => &[],
            Self::Arm64 => &[Purpose::Ebpf, Purpose::Arm64],
        }
    }

    /// `cargo build` of programs that need no file beside them: no loader, no libraries.
    pub(crate) fn static_build(self) -> Command {
        // Debian's rustc has the standard library of other processors as packages.
        let toolchain = (self != Self::here()).then_some(DEBIAN_TOOLCHAIN);
        let mut cargo = command::cargo(toolchain);
        cargo
            // Named, so that build scripts and macros are not linked statically too.
            .args(["build", "--target", self.triple()])
            .env("RUSTFLAGS", "-C target-feature=+crt-static");
        if toolchain.is_some() && self == Self::Arm64 {
            let linker = "aarch64-linux-gnu-gcc";
            cargo
                .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", linker)
                .env("CC_aarch64_unknown_linux_gnu", linker);
        }
        cargo
    }
}
