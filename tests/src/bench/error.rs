//! Why a benchmark did not come to its end.

use std::{io, process::ExitStatus};

use aya::{EbpfError, maps::MapError, programs::ProgramError, sys::SyscallError};

/// Why a benchmark did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
    #[error("{command}: {status}")]
    Command { command: String, status: ExitStatus },
    #[error("object not loaded: {0}")]
    Object(#[from] EbpfError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Syscall(#[from] SyscallError),
    #[error("capabilities: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    #[error(transparent)]
    Bed(#[from] crate::netns::BedError),
    #[error("there is no {0}")]
    Missing(&'static str),
    #[error("{0} answered nothing")]
    Silent(&'static str),
    #[error("a thread panicked")]
    Panicked,
}

impl Error {
    /// For `map_err`: what was tried.
    pub(super) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// For `map_err`: what was tried.
    pub(super) fn errno(what: &'static str) -> impl FnOnce(nix::Error) -> Self {
        move |errno| Self::Io {
            what,
            source: errno.into(),
        }
    }
}
