//! `cargo xtask build-ebpf`: the object that the agent embeds.

use std::{env, fs, path::PathBuf, process::Command};

use crate::{
    builtin_calls, command,
    error::Error,
    load_object,
    setup::{self, DEBIAN_TOOLCHAIN, Purpose},
    workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {}

const TARGET: &str = "bpfel-unknown-none";

/// What turns the kernel programs into an object.
#[derive(Clone, Copy, Debug)]
enum Toolchain {
    /// rustup's nightly, which builds `core` itself.
    Nightly,
    /// Debian's rustc, which brings a compiled `core`.
    Debian,
}

pub(crate) fn run(Args {}: Args) -> Result<(), Error> {
    let toolchain = toolchain()?;
    let built = build(toolchain, &[], "xvip")?;
    builtin_calls::refuse(&built)?;
    let object = workspace::object();
    place(&built, &object)?;
    println!(
        "build-ebpf: {}, no calls of memory builtins",
        object.display()
    );

    if !nix::unistd::geteuid().is_root() {
        println!("build-ebpf: not loaded: only root can");
        return Ok(());
    }
    let xtask = env::current_exe().map_err(Error::file("xtask"))?;
    command::run(Command::new(xtask).arg("load-object").arg(&object)).map_err(|_| {
        Error::Load(format!(
            "the kernel refuses {} with {}",
            object.display(),
            load_object::CAPABILITIES.map(|c| c.to_string()).join(", ")
        ))
    })
}

/// A nightly without rust-src cannot build `core`.
fn nightly_is_usable() -> bool {
    let Ok(sysroot) = Command::new("rustc")
        .args(["+nightly", "--print", "sysroot"])
        .output()
    else {
        return false;
    };
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    sysroot.is_absolute()
        && sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
        && setup::has_linker()
}

/// Builds the programs that `bench` compares ours with.
pub(crate) fn bench_programs() -> Result<(), Error> {
    let built = build(toolchain()?, &["--example", "bench"], "examples/bench")?;
    place(&built, &workspace::object().with_file_name("bench.o"))
}

/// The first that the machine has.
fn toolchain() -> Result<Toolchain, Error> {
    if nightly_is_usable() {
        println!("build-ebpf: by rustup's nightly with rust-src");
        return Ok(Toolchain::Nightly);
    }
    println!("build-ebpf: by Debian's rustc (no nightly with rust-src and bpf-linker)");
    setup::ensure(&[Purpose::Ebpf])?;
    Ok(Toolchain::Debian)
}

fn build(toolchain: Toolchain, select: &[&str], made: &str) -> Result<PathBuf, Error> {
    let target_dir = workspace::made().join("bpf-build");
    let mut cargo = match toolchain {
        Toolchain::Nightly => command::cargo(Some("nightly")),
        Toolchain::Debian => command::cargo(Some(DEBIAN_TOOLCHAIN)),
    };
    cargo
        .args([
            "rustc",
            "--package",
            "vip-ebpf",
            "--release",
            "--target",
            TARGET,
        ])
        .args(select)
        .arg("--target-dir")
        .arg(&target_dir);
    match toolchain {
        Toolchain::Nightly => cargo.args(["-Z", "build-std=core"]),
        Toolchain::Debian => cargo.env("RUSTC_BOOTSTRAP", "1"),
    };
    // Flags for the host's code say nothing here.
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // bpf-linker takes bitcode, and makes one program of it.
        .env("CARGO_PROFILE_RELEASE_LTO", "thin");
    cargo.args([
        "--",
        "-Clinker=bpf-linker",
        "-Clink-arg=--btf",
        // Else even an array initialiser of 10 bytes becomes a call of memset.
        "-Clink-arg=--disable-expand-memcpy-in-order",
        // Becomes BTF.
        "-Cdebuginfo=2",
        "-Cpanic=abort",
        // What the verifier of 6.1 accepts.
        "-Ctarget-feature=-alu32",
    ]);
    command::run(&mut cargo)?;
    Ok(target_dir.join(TARGET).join("release").join(made))
}

/// Copies when the content differs: the agent is built again when the file's time changes.
fn place(built: &PathBuf, object: &PathBuf) -> Result<(), Error> {
    let new = fs::read(built).map_err(Error::file(built))?;
    if fs::read(object).is_ok_and(|old| old == new) {
        return Ok(());
    }
    if let Some(parent) = object.parent() {
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
    }
    fs::write(object, new).map_err(Error::file(object))
}
