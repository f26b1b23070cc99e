//! Where the machines of a cluster stand, and what is left of it goes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    kubernetes::Bridge,
    netns::{BedError, system},
};

use super::subtree::{Subtree, Undertaker};

/// Gone when dropped, or when the process ends.
#[derive(Debug)]
pub(super) struct Site {
    /// Between the machines.
    pub(super) lan: Bridge,
    pub(super) subtree: Subtree,
    /// For files.
    pub(super) directory: PathBuf,
    _undertaker: Undertaker,
}

impl Site {
    /// Without a machine; further `directories` go with it.
    pub(super) fn new(lan: Bridge, directories: &[&Path]) -> Result<Self, BedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xvip-cluster-{}-{number}", std::process::id());
        let directory = env::temp_dir().join(&name);
        fs::create_dir(&directory).map_err(system("mkdir"))?;
        let subtree = Subtree::new(&name)?;
        let undertaker = Undertaker::of(&subtree, &[&[&*directory], directories].concat())?;
        Ok(Self {
            lan,
            subtree,
            directory,
            _undertaker: undertaker,
        })
    }
}
