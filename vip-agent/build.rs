//! Puts the eBPF object where `io/datapath` includes it.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    // `cargo xtask build-ebpf` leaves it here. Without it (a plain `cargo test`) an empty file
    // takes its place, and the agent says at start what is missing.
    let made = PathBuf::from("../target/bpf/xvip.o");
    println!("cargo::rerun-if-changed={}", made.display());
    let object = fs::read(&made).unwrap_or_default();
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .ok_or(io::ErrorKind::NotFound)?;
    fs::write(out.join("xvip.o"), object)
}
