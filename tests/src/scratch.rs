//! Where what tests and their servers write stands.

use std::{
    env,
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;

/// What the beds of a few tests need at once: each etcd reserves 64 MiB for its log alone.
const ENOUGH: u64 = 2 << 30;

/// In memory, where there is enough of it: beside a test that unpacks images, every write to the
/// same disk waits for hundreds of milliseconds, and etcd's with it.
pub fn directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = statvfs(memory).map(|it| it.blocks_available() * it.fragment_size());
    match free {
        Ok(free) if free >= ENOUGH => memory.to_owned(),
        _ => env::temp_dir(),
    }
}
