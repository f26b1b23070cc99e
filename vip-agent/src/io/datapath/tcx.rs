//! tcx, the chain of programs that tc runs since Linux 6.6, before all classic filters.

use std::io;

use super::{bpf, links::Hook};
use crate::vip::IfIndex;

/// By which of its two ways tc runs our programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcApi {
    /// Links, from Linux 6.6.
    Tcx,
    /// Filters.
    Clsact,
}

impl TcApi {
    /// Asks the kernel, over the loopback interface.
    pub(super) fn probe() -> Self {
        const LOOPBACK: IfIndex = 1;
        match programs(LOOPBACK, Hook::TcIn) {
            Ok(Some(_)) => Self::Tcx,
            Ok(None) | Err(_) => Self::Clsact,
        }
    }
}

/// Program and link ids in the order in which they run; `None`: the kernel has no tcx.
pub(super) fn programs(ifindex: IfIndex, hook: Hook) -> io::Result<Option<Vec<(u32, u32)>>> {
    match bpf::query(ifindex, hook.place()) {
        Ok(programs) => Ok(Some(programs)),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}
