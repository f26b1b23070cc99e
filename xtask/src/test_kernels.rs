//! `cargo xtask test-kernels`: object, golden frames and agent on Debian's kernels, in VMs, with
//! three capabilities.
//!
//! Each VM has the kernel of a package, an initramfs of ours, and no disk and no network. Its
//! first process is `tests/src/bin/guest`.

mod guest;
mod initramfs;
mod machine;
mod modules;
mod package;

use std::{fs, time::Instant};

use crate::{
    archive::Archive,
    build_ebpf,
    error::Error,
    platform::Platform,
    setup::{self, Purpose},
    tally::Tally,
    workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only kernels whose name contains this, like `6.12` or `arm64`
    only: Option<String>,
}

/// A kernel to test with: the newest package of a series.
#[derive(Debug)]
struct Kernel {
    name: &'static str,
    /// Processor of the VM.
    platform: Platform,
    /// Extended regular expression for `apt-cache search --names-only`.
    package: &'static str,
}

const KERNELS: [Kernel; 4] = [
    Kernel {
        name: "6.1-amd64",
        platform: Platform::Amd64,
        package: r"^linux-image-6\.1\.0-[0-9]+-cloud-amd64$",
    },
    Kernel {
        name: "6.12-amd64",
        platform: Platform::Amd64,
        package: r"^linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64$",
    },
    Kernel {
        name: "newest-amd64",
        platform: Platform::Amd64,
        package: r"^linux-image-[0-9.]+\+deb13-cloud-amd64$",
    },
    Kernel {
        name: "6.1-arm64",
        platform: Platform::Arm64,
        package: r"^linux-image-6\.1\.0-[0-9]+-cloud-arm64$",
    },
];

/// What the tests create links of, and clsact below 6.6.
const MODULES: [&str; 7] = [
    "veth",
    "8021q",
    "bonding",
    "dummy",
    "macvlan",
    "sch_ingress",
    "cls_bpf",
];

/// What the test bed calls.
const APPLETS: [&str; 4] = ["ip", "nsenter", "sh", "unshare"];

pub(crate) fn run(args: Args) -> Result<(), Error> {
    // Agent and guest take the object as it is on disk.
    build_ebpf::run(build_ebpf::Args {})?;
    let mut tally = Tally::default();
    for name in names().filter(|name| args.only.as_ref().is_none_or(|part| name.contains(part))) {
        match boot(name) {
            Ok(counts) => tally += counts,
            Err(error) => {
                println!("{name}: {error}");
                tally.failed += 1;
            }
        }
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 || tally.passed == 0 {
        return Err(Error::Tests);
    }
    Ok(())
}

/// Names of the kernels, one to boot after the other: emulation leaves no processor free for two.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().map(|kernel| kernel.name)
}

/// Prepares and boots the kernel called `name`, and gives what the guest counted.
pub(crate) fn boot(name: &str) -> Result<Tally, Error> {
    let found = KERNELS.iter().find(|kernel| kernel.name == name);
    let kernel = found.ok_or_else(|| Error::NoKernel(name.to_owned()))?;
    setup::ensure(&[&[Purpose::Kernels], kernel.platform.purposes()].concat())?;
    let programs = guest::build(kernel.platform)?;
    let archive = Archive::open()?;
    let package = archive.newest(kernel.package)?;
    println!("{}: {package}", kernel.name);
    let unpacked = archive.unpacked(&package, kernel.platform)?;
    let busybox = archive.unpacked("busybox-static", kernel.platform)?;

    let read = |path: std::path::PathBuf| fs::read(&path).map_err(Error::file(&path));
    let mut content = initramfs::Initramfs::new();
    for dir in ["bin", "dev", "modules", "proc", "root", "sys", "tmp"] {
        content.directory(dir);
    }
    content.console();
    content.file("init", &read(programs.guest)?);
    content.file("bin/vip-agent", &read(programs.agent)?);
    content.file("bin/busybox", &read(busybox.join("bin/busybox"))?);
    for applet in APPLETS {
        content.link(&format!("bin/{applet}"), "busybox");
    }
    content.file("xvip.o", &read(workspace::object())?);
    let mut order = String::new();
    for module in modules::with_dependencies(&unpacked, &MODULES)? {
        order.push_str(&module.name);
        order.push('\n');
        content.file(&format!("modules/{}", module.name), &module.content);
    }
    content.file("modules/order", order.as_bytes());
    let initramfs = unpacked.with_extension("initramfs");
    fs::write(&initramfs, content.finish()).map_err(Error::file(&initramfs))?;

    let started = Instant::now();
    let tally = machine::run(kernel, &package::vmlinuz(&unpacked)?, &initramfs)?;
    println!("{}: {:.0} s", kernel.name, started.elapsed().as_secs_f64());
    Ok(tally)
}
