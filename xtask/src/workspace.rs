//! Where things are.

use std::{env, path::PathBuf};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // Cargo sets it when it runs xtask; a binary started by hand takes the place it was built at.
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map(PathBuf::from).unwrap_or(xtask)
}

/// What xtask itself makes; `vip-agent/build.rs` looks for the object here, so it does not move
/// with `CARGO_TARGET_DIR`.
pub(crate) fn made() -> PathBuf {
    root().join("target")
}

/// The eBPF object.
pub(crate) fn object() -> PathBuf {
    made().join("bpf/xvip.o")
}

/// Cargo's own output directory.
pub(crate) fn cargo_target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(made, |dir| root().join(dir))
}

/// The file to ship.
pub(crate) fn agent() -> PathBuf {
    cargo_target().join("release/vip-agent")
}

/// The linker that carries aya's crates from `cargo install`, and Debian's administration tools,
/// may be missing in the `PATH` of a CI job.
pub(crate) fn complete_path() {
    let cargo_bin = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .map(|home| home.join("bin"));
    let old = env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = env::split_paths(&old).collect();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    for dir in cargo_bin.into_iter().chain(system) {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    if let Ok(path) = env::join_paths(dirs) {
        // SAFETY: called first in `main`, before any other thread exists.
        unsafe { env::set_var("PATH", path) };
    }
}
