//! What an unpacked kernel package holds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::Error;

/// The kernel in an unpacked package: `boot/vmlinuz-VERSION`, since 7.0
/// `usr/lib/modules/VERSION/vmlinuz`.
pub(super) fn vmlinuz(package: &Path) -> Result<PathBuf, Error> {
    let mut dirs = vec![package.join("boot")];
    let modules = fs::read_dir(package.join("usr/lib/modules"));
    dirs.extend(
        modules
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path())),
    );
    let files = dirs
        .iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten();
    files
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().contains("/vmlinuz"))
        .ok_or_else(|| Error::IncompleteKernel {
            package: package.into(),
            what: "vmlinuz".into(),
        })
}
