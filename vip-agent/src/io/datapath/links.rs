//! XDP and tcx links: pinned by interface index, taken over by the next agent, found by the pin.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use aya_obj::generated::{XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE};

use super::{
    bpf::{self, AttachType, LinkInfo},
    object::{Kernel, names},
};
use crate::{attachment::Mode, vip::IfIndex};

/// A place on an interface where a program of ours runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// XDP in the driver.
    Xdp,
    /// XDP in the stack.
    XdpGeneric,
    /// tc, on what comes in.
    TcIn,
    /// tc, on what leaves.
    TcOut,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Xdp, Self::XdpGeneric, Self::TcIn, Self::TcOut];

    /// What a mode needs, in the order in which it is attached: what leaves is guarded before
    /// anything is answered.
    pub const fn of(mode: Mode) -> [Self; 2] {
        match mode {
            Mode::Native => [Self::TcOut, Self::Xdp],
            Mode::Generic => [Self::TcOut, Self::XdpGeneric],
            Mode::Tc => [Self::TcOut, Self::TcIn],
        }
    }

    /// The end of the pin's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp_generic",
            Self::TcIn => "tc_in",
            Self::TcOut => "tc_out",
        }
    }

    /// The program that runs there.
    pub const fn program(self) -> Kernel {
        match self {
            Self::Xdp | Self::XdpGeneric => Kernel::Ingress,
            Self::TcIn => Kernel::TcIn,
            Self::TcOut => Kernel::TcOut,
        }
    }

    /// It is one of the two for XDP.
    pub const fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpGeneric)
    }

    /// The place as bpf(2) knows it.
    pub(super) const fn place(self) -> AttachType {
        match self {
            Self::Xdp | Self::XdpGeneric => AttachType::BPF_XDP,
            Self::TcIn => AttachType::BPF_TCX_INGRESS,
            Self::TcOut => AttachType::BPF_TCX_EGRESS,
        }
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Xdp => XDP_FLAGS_DRV_MODE,
            Self::XdpGeneric => XDP_FLAGS_SKB_MODE,
            Self::TcIn | Self::TcOut => bpf::FIRST,
        }
    }

    /// Reads the name of a pin.
    pub(super) fn parse(name: &str) -> Option<(IfIndex, Self)> {
        let (ifindex, suffix) = name.split_once('-')?;
        let hook = Self::ALL.into_iter().find(|hook| hook.suffix() == suffix)?;
        Some((ifindex.parse().ok()?, hook))
    }
}

/// The link pinned at `path`, and what it is; `None` when nothing is pinned there, or nothing
/// that we pin.
pub(super) fn open(path: &Path) -> io::Result<Option<(OwnedFd, LinkInfo)>> {
    let link = match bpf::get_pinned(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        link => link?,
    };
    Ok(bpf::link_info(link.as_fd())?.map(|info| (link, info)))
}

/// A program came to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// By a new link.
    Created,
    /// By the link that an earlier process left, which now runs the program given.
    Adopted,
}

/// Attaches a program, or gives it to the link that is pinned at `path` without a gap.
pub(super) fn put(
    path: &Path,
    program: BorrowedFd<'_>,
    ifindex: IfIndex,
    hook: Hook,
) -> io::Result<Put> {
    match open(path)? {
        Some((link, info)) if info.ifindex == ifindex => {
            if info.program != bpf::program_id(program)? {
                bpf::update_link(link.as_fd(), program)?;
            }
            return Ok(Put::Adopted);
        }
        // Left from an interface that is gone, or detached by hand.
        Some(_) => fs::remove_file(path)?,
        None => {}
    }
    let link = bpf::create_link(program, ifindex, hook.place(), hook.flags())?;
    bpf::pin(&link, path)?;
    Ok(Put::Created)
}

/// Name under which a link waits to replace the one at `path`.
fn successor(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUCCESSOR);
    name.into()
}

const SUCCESSOR: &str = "-next";

/// Puts a program before all others, then takes the former link at `path` away: at each instant
/// one of the two runs. `program` is not the one that the former link runs: the kernel refuses
/// to attach a program twice.
pub(super) fn move_first(
    path: &Path,
    program: BorrowedFd<'_>,
    ifindex: IfIndex,
    hook: Hook,
) -> io::Result<()> {
    let former = open(path)?;
    let link = bpf::create_link(program, ifindex, hook.place(), hook.flags())?;
    let waiting = successor(path);
    remove(&waiting)?;
    bpf::pin(&link, &waiting)?;
    fs::rename(&waiting, path)?;
    if let Some((former, _)) = former {
        ignore_gone(bpf::detach_link(former.as_fd()))?;
    }
    Ok(())
}

/// Takes a link away, and its pin; whether there was one.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    let Some((link, _)) = open(path)? else {
        return Ok(false);
    };
    // Removing the pin would do, some time later.
    ignore_gone(bpf::detach_link(link.as_fd()))?;
    fs::remove_file(path)?;
    Ok(true)
}

/// The interface took the link along.
fn ignore_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(()),
        result => result,
    }
}

/// Removes what is of no use: pins of links whose interface is gone, and successors that a
/// killed agent left. Returns the names.
pub(super) fn sweep(directory: &Path) -> io::Result<Vec<String>> {
    let mut swept = Vec::new();
    for name in names(directory)? {
        let path = directory.join(&name);
        let of_ours = |name| Hook::parse(name).is_some();
        let useless = match name.strip_suffix(SUCCESSOR) {
            Some(name) => of_ours(name),
            None => of_ours(&name) && open(&path)?.is_some_and(|(_, info)| info.ifindex == 0),
        };
        if useless && remove(&path)? {
            swept.push(name);
        }
    }
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pins_are_read_back_and_others_are_not_ours() {
        for hook in Hook::ALL {
            let name = format!("12-{}", hook.suffix());
            assert_eq!(Hook::parse(&name), Some((12, hook)));
        }
        for foreign in ["12", "eth0-xdp", "12-tc_in-next", "12-", "-xdp", "readme"] {
            assert_eq!(Hook::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn every_mode_guards_what_leaves_before_it_answers() {
        for mode in [Mode::Native, Mode::Tc, Mode::Generic] {
            assert_eq!(Hook::of(mode)[0], Hook::TcOut);
        }
    }
}
