//! The programs that a user has, and a folder to work in.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    agent,
    netns::{BedError, system},
};

/// A folder with the programs that are not the machine's. Gone when dropped.
#[derive(Debug)]
pub struct Tools(PathBuf);

impl Tools {
    /// `vip-agent`, and what else the environment of the tests names: `kubectl`, `helm`, `ctr`.
    pub fn gather() -> Result<Self, BedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("xvip-manual-{}-{number}", std::process::id()));
        let tools = Self(folder);
        fs::create_dir_all(tools.programs()).map_err(system("mkdir"))?;
        let named = |variable: &str, below: &str| {
            let path = PathBuf::from(env::var_os(variable)?);
            Some(if below.is_empty() {
                path
            } else {
                path.join(below)
            })
        };
        let programs = [
            ("vip-agent", Some(agent::binary())),
            ("kubectl", named("KUBEBUILDER_ASSETS", "kubectl")),
            ("helm", named("XVIP_HELM", "")),
            ("ctr", named("XVIP_CLUSTER", "bin/ctr")),
        ];
        for (name, program) in programs {
            let program = program.filter(|it| it.is_file());
            if let Some(program) = program.and_then(|it| it.canonicalize().ok()) {
                symlink(program, tools.programs().join(name)).map_err(system("symlink"))?;
            }
        }
        Ok(tools)
    }

    /// Where the programs are.
    pub fn programs(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// For files that commands write or read.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: &str) -> Result<(), BedError> {
        fs::write(self.0.join(name), text).map_err(system("write"))
    }

    /// `PATH` with them in front.
    pub(super) fn path(&self) -> String {
        let machine = env::var("PATH").unwrap_or_default();
        format!("{}:{machine}", self.programs().display())
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        // Nothing can be done about a file that stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}
