//! Finds what a verb needs and the machine lacks, and installs it. Doing it twice does nothing.

use std::{path::Path, process::Command};

use crate::{command, error::Error};

/// What something is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Debian's toolchain for the eBPF object (not called with a usable nightly).
    Ebpf,
    /// Formatting and lints.
    Lints,
    /// Clients and tools that tests, demo and bench run.
    Peers,
    /// Kernels in VMs.
    Kernels,
    /// The arm64 kernel and the cross-built agent.
    Arm64,
    /// What runs on the nodes of a cluster beside the runtime.
    Cluster,
    /// Shows the agent's page.
    Browser,
}

/// The linker that is proven with [`LLVM_PREFIX`].
const BPF_LINKER: &str = "0.13.0";
/// Where Debian's `llvm-22-dev` puts itself.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// rustup's name of the toolchain that Debian's `rustc-web` is.
pub(crate) const DEBIAN_TOOLCHAIN: &str = "debian";

impl Purpose {
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Ebpf => &[
                "rustc-web",
                "libstd-rust-web-dev-bpf",
                "llvm-22-dev",
                "libpolly-22-dev",
                "zlib1g-dev",
                "libzstd-dev",
                "libxml2-dev",
            ],
            Self::Lints => &[],
            // `arping` takes the place of iputils-arping, which has other flags.
            Self::Peers => &[
                "arping",
                "ndisc6",
                "bpftool",
                "tcpdump",
                "tshark",
                "iproute2",
                "iputils-ping",
                "ethtool",
                "libcap2-bin",
                "openssl",
                "prometheus",
                "curl",
                "systemd",
            ],
            Self::Kernels => &["qemu-system-x86", "xz-utils", "libc6-dev"],
            Self::Arm64 => &[
                "libstd-rust-web-dev:arm64",
                "gcc-aarch64-linux-gnu",
                "libc6-dev-arm64-cross",
                "qemu-system-arm",
                "ipxe-qemu",
            ],
            // kube-proxy and the plugins of the pods' network call the first two, runc loads the
            // third.
            Self::Cluster => &["nftables", "iptables", "libseccomp2"],
            // It draws no letter without a font, and brings none itself.
            Self::Browser => &["chromium", "chromium-driver", "fonts-dejavu-core"],
        }
    }
}

/// Makes sure that everything for `purposes` is there.
pub(crate) fn ensure(purposes: &[Purpose]) -> Result<(), Error> {
    let mut wanted: Vec<&str> = purposes
        .iter()
        .flat_map(|p| p.packages())
        .copied()
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    install(&missing(&wanted), purposes.contains(&Purpose::Arm64))?;
    if purposes.contains(&Purpose::Lints) {
        lints()?;
    }
    if purposes.contains(&Purpose::Ebpf) {
        bpf_linker()?;
        toolchain_link()?;
    }
    Ok(())
}

/// Those of `packages` that dpkg does not have as installed.
fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let is_installed = |package: &str| {
        Command::new("dpkg-query")
            .args(["--show", "--showformat", "${db:Status-Status}\n", package])
            .output()
            .is_ok_and(|query| query.status.success() && query.stdout.starts_with(b"installed\n"))
    };
    packages
        .iter()
        .copied()
        .filter(|package| !is_installed(package))
        .collect()
}

fn install(packages: &[&str], arm64: bool) -> Result<(), Error> {
    if packages.is_empty() {
        return Ok(());
    }
    println!("setup: installing {}", packages.join(" "));
    let mut steps = Vec::new();
    if arm64 {
        let mut foreign = Command::new("dpkg");
        foreign.args(["--add-architecture", "arm64"]);
        steps.push(foreign);
    }
    let mut update = apt_get();
    update.args(["-q", "update"]);
    steps.push(update);
    let mut install = apt_get();
    install.args(["-qq", "-y", "--no-install-recommends", "install"]);
    install.args(packages);
    steps.push(install);

    if !nix::unistd::geteuid().is_root() {
        let commands = steps
            .iter()
            .map(|step| format!("  {}", command::shown(step)));
        return Err(Error::NotRoot(commands.collect()));
    }
    for mut step in steps {
        // A source that is none of Debian's may be unreachable: what counts is the installation.
        match command::run(&mut step) {
            Err(error) if command::shown(&step).ends_with("update") => {
                println!("setup: {error}; going on");
            }
            result => result?,
        }
    }
    Ok(())
}

/// `apt-get`, waiting for others and asking nobody.
pub(crate) fn apt_get() -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args([
        "-o",
        "DPkg::Lock::Timeout=300",
        "-o",
        "Acquire::Retries=3",
        // No progress bar in a log.
        "-o",
        "Dpkg::Use-Pty=0",
    ]);
    apt
}

fn lints() -> Result<(), Error> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !command::succeeds(command::cargo(None).args([subcommand, "--version"])) {
            println!("setup: installing {component}");
            command::run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

/// What the installed linker says of itself, as `bpf-linker 0.13.0`.
fn linker_version() -> Option<String> {
    let output = Command::new("bpf-linker").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

/// A linker is there, of whatever version.
pub(crate) fn has_linker() -> bool {
    linker_version().is_some()
}

fn bpf_linker() -> Result<(), Error> {
    match linker_version() {
        Some(version) if version == BPF_LINKER => return Ok(()),
        Some(version) => println!("setup: replacing bpf-linker {version} by {BPF_LINKER}"),
        None => println!("setup: installing bpf-linker {BPF_LINKER} (a minute)"),
    }
    command::run(
        command::cargo(None)
            .env("LLVM_PREFIX", LLVM_PREFIX)
            // Its build is none of this workspace's.
            .env_remove("CARGO_TARGET_DIR")
            .args(["install", "--quiet", "bpf-linker", "--version", BPF_LINKER])
            .args(["--no-default-features", "--features", "llvm-22"]),
    )
}

fn toolchain_link() -> Result<(), Error> {
    let listed = command::output(Command::new("rustup").args(["toolchain", "list"]))?;
    let linked = listed
        .lines()
        .any(|line| line.split_whitespace().next() == Some(DEBIAN_TOOLCHAIN));
    if linked {
        return Ok(());
    }
    println!("setup: linking Debian's rustc as the toolchain {DEBIAN_TOOLCHAIN}");
    command::run(
        Command::new("rustup")
            .args(["toolchain", "link", DEBIAN_TOOLCHAIN])
            .arg(Path::new("/usr")),
    )
}
