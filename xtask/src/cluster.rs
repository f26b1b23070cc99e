//! `cargo xtask cluster`: what a cluster of real nodes on this machine takes.
//!
//! ```text
//! target/cluster/bin      containerd, its shim and ctr, runc
//!                cni      plugins for the pods' network
//!                images   vip-agent.tar (the agent), pod.tar (a shell and a web server)
//!                peers    kube-vip.tar, metallb-controller.tar, metallb-speaker.tar, metallb.yaml
//! ```
//!
//! Debian's container runtime is unpacked, not installed: another one of this machine's stays.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::{
    archive::Archive,
    envtest::{self, Set},
    error::Error,
    helm, image, kube_vip, metallb,
    platform::Platform,
    setup::{self, Purpose},
    workspace,
};

/// Names the folder for the tests.
pub(crate) const PARTS: &str = "XVIP_CLUSTER";
/// The image of the bed's own pods, and of what holds their namespaces.
const POD: &str = "registry.test/pod:1";
const KUBE_VIP: &str = "registry.test/kube-vip:1";

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    println!(
        "{}={}",
        envtest::ASSETS,
        envtest::ensure(Set::Full)?.display()
    );
    println!("{}={}", helm::HELM, helm::ensure()?.display());
    println!("{PARTS}={}", ensure()?.display());
    Ok(())
}

/// The folder, complete.
pub(crate) fn ensure() -> Result<PathBuf, Error> {
    setup::ensure(&[Purpose::Cluster])?;
    let parts = workspace::made().join("cluster");
    let archive = Archive::open()?;
    let unpacked = |package| archive.unpacked(package, Platform::here());
    let (containerd, runc) = (unpacked("containerd")?, unpacked("runc")?);
    for name in ["containerd", "containerd-shim-runc-v2", "ctr"] {
        let program = containerd.join("usr/bin").join(name);
        link(&program, &parts.join("bin").join(name))?;
    }
    link(&runc.join("usr/sbin/runc"), &parts.join("bin/runc"))?;
    let plugins = unpacked("containernetworking-plugins")?;
    link(&plugins.join("usr/lib/cni"), &parts.join("cni"))?;

    image::for_this_machine()?;
    link(&image::archive(), &parts.join("images/vip-agent.tar"))?;
    let busybox = unpacked("busybox-static")?.join("bin/busybox");
    image::busybox(POD, &busybox, &parts.join("images/pod.tar"))?;
    peers(&parts.join("peers"))?;
    Ok(parts)
}

/// Load balancers that xvip takes the place of. Where one cannot be built, the tests set its state
/// up by hand, and say so.
fn peers(folder: &Path) -> Result<(), Error> {
    match kube_vip::ensure() {
        Ok(program) => {
            let output = folder.join("kube-vip.tar");
            image::of_program(KUBE_VIP, "/kube-vip", &program, &output)?;
        }
        Err(error) => println!("cluster: the move is tested without a real kube-vip: {error}"),
    }
    let metallb = match metallb::ensure() {
        Ok(metallb) => metallb,
        Err(error) => {
            println!("cluster: the move is tested without a real MetalLB: {error}");
            return Ok(());
        }
    };
    for (name, program) in &metallb.programs {
        let reference = format!("registry.test/metallb-{name}:1");
        let output = folder.join(format!("metallb-{name}.tar"));
        image::of_program(&reference, &format!("/{name}"), program, &output)?;
    }
    link(&metallb.manifest, &folder.join("metallb.yaml"))
}

/// A symbolic link, made anew: what it led to may have moved.
fn link(to: &Path, at: &Path) -> Result<(), Error> {
    let dir = at.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir).map_err(Error::file(dir))?;
    if at.is_symlink() {
        fs::remove_file(at).map_err(Error::file(at))?;
    }
    symlink(to, at).map_err(Error::file(at))
}
