//! Everything that can end a verb early.

use std::{io, path::PathBuf, process::ExitStatus};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot start `{command}`: {source}")]
    Start { command: String, source: io::Error },
    #[error("`{command}` failed ({status})")]
    Failed { command: String, status: ExitStatus },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Object {
        path: PathBuf,
        source: object::Error,
    },
    #[error(
        "the object calls memory builtins, which three capabilities cannot load:\n{}",
        .0.iter().map(|call| format!("  {call}")).collect::<Vec<_>>().join("\n")
    )]
    BuiltinCalls(Vec<crate::builtin_calls::Call>),
    #[error("missing, and only root can install it; run as root:\n{}", .0.join("\n"))]
    NotRoot(Vec<String>),
    #[error("{0} breaches of the layering")]
    Layering(usize),
    #[error("{0}")]
    Load(String),
    #[error("the agent does not hold the eBPF object that was just built")]
    ObjectNotInside,
    #[error("no kernel package matches {0}")]
    NoKernel(String),
    #[error("{}: the kernel package holds no {what}", package.display())]
    IncompleteKernel { package: PathBuf, what: String },
    #[error("apt shows no source of Debian's main archive")]
    NoArchive,
    #[error("the VM was still running after {0} s")]
    Hung(u64),
    #[error("the VM ended without a result")]
    NoResult,
    #[error(
        "no Go toolchain: Kubernetes and Helm are built from Go modules. Install Go 1.26 or newer, \
         or name built binaries in KUBEBUILDER_ASSETS"
    )]
    NoGo,
    #[error("KUBEBUILDER_ASSETS: {} lacks {}", assets.display(), missing.join(", "))]
    Assets {
        assets: PathBuf,
        missing: Vec<&'static str>,
    },
    #[error("something failed; see the summary")]
    Tests,
}

impl Error {
    /// For `map_err` of operations on `path`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
