//! Attaching to interfaces, and holding the place there.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use aya::programs::Program;

use super::{
    Datapath, bpf,
    clsact::{self, ClsactError},
    links::{self, Hook, Put},
    object::{DatapathError, Kernel, reload},
    tcx::{self, TcApi},
};
use crate::{
    attachment::{Mode, RestoreLimit},
    vip::IfIndex,
};

/// A mode that an interface did not take.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Another XDP program is attached; it is never replaced.
    #[error(
        "another XDP program is attached: leave `attach` at auto or set it to tc, or remove that program (`ip link set dev DEVICE xdp off`)"
    )]
    ForeignXdp,
    /// The driver has no native XDP.
    #[error("the driver cannot run XDP: leave `attach` at auto or set it to tc")]
    Unsupported,
    /// The MTU is above what the driver can do with XDP.
    #[error("the MTU is too large for XDP in this driver: lower it, or set `attach: tc`")]
    Mtu,
    /// The chain of tcx has no place left (`BPF_MPROG_MAX`).
    #[error(
        "as many tc programs as the kernel takes are attached: remove one (`bpftool net show dev DEVICE` lists them)"
    )]
    TcFull,
    /// The interface is gone.
    #[error("the interface is gone")]
    Gone,
    /// A classic filter or qdisc is in the way.
    #[error(transparent)]
    Clsact(ClsactError),
    /// The kernel refused for another reason.
    #[error("{0}")]
    Kernel(#[source] io::Error),
    /// A program could not be used.
    #[error(transparent)]
    Program(#[from] DatapathError),
}

impl AttachError {
    /// What the calls for a hook mean by an error.
    fn of(hook: Hook, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENODEV) => Self::Gone,
            Some(libc::EBUSY | libc::EEXIST) if hook.is_xdp() => Self::ForeignXdp,
            Some(libc::EOPNOTSUPP) if hook.is_xdp() => Self::Unsupported,
            Some(libc::ERANGE) if hook.is_xdp() => Self::Mtu,
            Some(libc::ERANGE) => Self::TcFull,
            _ => Self::Kernel(error),
        }
    }
}

/// No mode of the ladder was taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot attach to interface {ifindex}: {}", reasons(tried))]
pub struct NotAttached {
    /// The interface.
    pub ifindex: IfIndex,
    /// Each mode with its reason.
    pub tried: Vec<(Mode, AttachError)>,
}

fn reasons(tried: &[(Mode, AttachError)]) -> String {
    let reasons: Vec<_> = tried
        .iter()
        .map(|(mode, why)| format!("{mode}: {why}"))
        .collect();
    reasons.join("; ")
}

/// An interface has its programs.
#[derive(Debug)]
pub struct Attached {
    /// The mode that was taken.
    pub mode: Mode,
    /// By which way tc runs its part.
    pub tc: TcApi,
    /// Everything was there already, left by an earlier process, and went on without a gap.
    pub adopted: bool,
    /// The modes above it that were not taken, with the reasons.
    pub passed_over: Vec<(Mode, AttachError)>,
}

/// How the programs of an interface stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// A foreign program had come before ours, which now is first again.
    pub restored: Vec<Hook>,
    /// A foreign program runs before ours: the limit is used up, or it cannot be overtaken.
    pub behind: Vec<Hook>,
    /// Ours is no longer there: attach again.
    pub gone: Vec<Hook>,
}

impl Standing {
    /// All is as it was left.
    pub fn is_fine(&self) -> bool {
        *self == Self::default()
    }
}

impl Datapath {
    /// Attaches to an interface in the first mode of the ladder (`attachment::choose`) that it
    /// takes. What an earlier process left goes on without a gap, with the programs of this one;
    /// what the mode does not need is removed afterwards. Foreign programs stay.
    pub fn attach(&mut self, ifindex: IfIndex, ladder: &[Mode]) -> Result<Attached, NotAttached> {
        let mut passed_over = Vec::new();
        for &mode in ladder {
            match self.attach_mode(ifindex, mode) {
                Ok(adopted) => {
                    self.attached.insert(ifindex, mode);
                    return Ok(Attached {
                        mode,
                        tc: self.tc,
                        adopted,
                        passed_over,
                    });
                }
                Err(error) => {
                    let gone = matches!(error, AttachError::Gone);
                    passed_over.push((mode, error));
                    if gone {
                        break;
                    }
                }
            }
        }
        let tried = passed_over;
        Err(NotAttached { ifindex, tried })
    }

    /// Whether all was there already.
    fn attach_mode(&mut self, ifindex: IfIndex, mode: Mode) -> Result<bool, AttachError> {
        let wanted = Hook::of(mode);
        let mut created = Vec::new();
        for hook in wanted {
            // The kernel takes one kind of XDP at a time.
            let other = match hook {
                Hook::Xdp => Some(Hook::XdpGeneric),
                Hook::XdpGeneric => Some(Hook::Xdp),
                Hook::TcIn | Hook::TcOut => None,
            };
            let put = other
                .map_or(Ok(false), |other| self.remove_hook(ifindex, other))
                .map_err(|error| AttachError::of(hook, error))
                .and_then(|_| self.put(ifindex, hook));
            match put {
                Ok(Put::Created) => created.push(hook),
                Ok(Put::Adopted) => {}
                Err(error) => {
                    for hook in created {
                        // The first error is the one to tell.
                        let _ = self.remove_hook(ifindex, hook);
                    }
                    return Err(error);
                }
            }
        }
        for hook in Hook::ALL {
            if !wanted.contains(&hook) {
                self.remove_hook(ifindex, hook)
                    .map_err(|error| AttachError::of(hook, error))?;
            }
        }
        Ok(created.is_empty())
    }

    fn put(&mut self, ifindex: IfIndex, hook: Hook) -> Result<Put, AttachError> {
        let program = self.program(hook.program())?;
        if hook.is_xdp() || self.tc == TcApi::Tcx {
            let path = self.pins.link(ifindex, hook);
            return links::put(&path, program, ifindex, hook)
                .map_err(|error| AttachError::of(hook, error));
        }
        let of = |error| match error {
            ClsactError::Netlink(error) => AttachError::of(hook, error),
            error => AttachError::Clsact(error),
        };
        let there = clsact::filters(ifindex, hook).map_err(|error| of(error.into()))?;
        let put = match there.iter().any(clsact::Filter::is_ours) {
            true => Put::Adopted,
            false => Put::Created,
        };
        if clsact::put(ifindex, hook, program).map_err(of)? {
            // Without this mark nobody would know, after kill -9, whose qdisc it is.
            match fs::create_dir(self.qdisc_mark(ifindex)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(AttachError::Kernel(error));
                }
                _ => {}
            }
        }
        Ok(put)
    }

    /// Removes our programs from an interface; whether there were any.
    pub fn detach(&mut self, ifindex: IfIndex) -> io::Result<bool> {
        self.attached.remove(&ifindex);
        let mut any = false;
        // What leaves is guarded to the end.
        for hook in Hook::ALL {
            any |= self.remove_hook(ifindex, hook)?;
        }
        Ok(any)
    }

    fn remove_hook(&self, ifindex: IfIndex, hook: Hook) -> io::Result<bool> {
        let mut any = links::remove(&self.pins.link(ifindex, hook))?;
        if !hook.is_xdp() {
            any |= match clsact::remove(ifindex, hook) {
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => false,
                removed => removed?,
            };
            let mark = self.qdisc_mark(ifindex);
            let others = [Hook::TcIn, Hook::TcOut].into_iter().any(|hook| {
                clsact::filters(ifindex, hook)
                    .is_ok_and(|filters| filters.iter().any(clsact::Filter::is_ours))
            });
            if mark.exists() && !others {
                clsact::remove_qdisc_if_empty(ifindex)?;
                fs::remove_dir(mark)?;
            }
        }
        Ok(any)
    }

    /// Whether our programs are there and run before all others in tc; takes the place back
    /// where `limit` allows. `now` is of the clock of `limit`. An interface without one of its
    /// programs does not count as attached any more.
    pub fn ensure_first(
        &mut self,
        ifindex: IfIndex,
        limit: &mut RestoreLimit,
        now: Duration,
    ) -> Result<Standing, AttachError> {
        let Some(&mode) = self.attached.get(&ifindex) else {
            return Ok(Standing::default());
        };
        let standing = self.ensure_first_in(ifindex, mode, limit, now);
        let gone = match &standing {
            Ok(standing) => !standing.gone.is_empty(),
            Err(error) => matches!(error, AttachError::Gone),
        };
        if gone {
            self.attached.remove(&ifindex);
        }
        standing
    }

    fn ensure_first_in(
        &mut self,
        ifindex: IfIndex,
        mode: Mode,
        limit: &mut RestoreLimit,
        now: Duration,
    ) -> Result<Standing, AttachError> {
        let mut standing = Standing::default();
        for hook in Hook::of(mode) {
            let failed = |error| AttachError::of(hook, error);
            match self.rank(ifindex, hook).map_err(failed)? {
                None => standing.gone.push(hook),
                Some(0) => {}
                Some(_) if !limit.take(now) => standing.behind.push(hook),
                Some(_) => {
                    self.move_first(ifindex, hook)?;
                    match self.rank(ifindex, hook).map_err(failed)? {
                        Some(0) => standing.restored.push(hook),
                        _ => standing.behind.push(hook),
                    }
                }
            }
        }
        Ok(standing)
    }

    /// How many programs run before ours; `None` where ours is gone. Asked every second, so it
    /// looks at no more than it has to.
    fn rank(&self, ifindex: IfIndex, hook: Hook) -> io::Result<Option<usize>> {
        if hook.is_xdp() {
            // The driver runs one program at most.
            return Ok(self.pins.attached_link(ifindex, hook)?.map(|_| 0));
        }
        let chain = match self.tc {
            TcApi::Clsact => self.pins.tc_chain(ifindex, hook)?,
            TcApi::Tcx => {
                let Some(link) = self.pins.attached_link(ifindex, hook)? else {
                    return Ok(None);
                };
                let chain = tcx::programs(ifindex, hook)?.unwrap_or_default();
                return Ok(chain.iter().position(|(_, id)| *id == link.id));
            }
        };
        Ok(chain.iter().position(|seat| seat.ours))
    }

    fn move_first(&mut self, ifindex: IfIndex, hook: Hook) -> Result<(), AttachError> {
        let failed = |error| AttachError::of(hook, error);
        if self.tc == TcApi::Clsact {
            let program = self.program(hook.program())?;
            return clsact::move_first(ifindex, hook, program).map_err(failed);
        }
        let path = self.pins.link(ifindex, hook);
        let runs = self.pins.attached_link(ifindex, hook).map_err(failed)?;
        let ours = bpf::program_id(self.program(hook.program())?).map_err(failed)?;
        if runs.is_some_and(|link| link.program == ours) {
            reload(&mut self.ebpf, hook.program())?;
        }
        let program = self.program(hook.program())?;
        links::move_first(&path, program, ifindex, hook).map_err(failed)
    }

    /// The descriptor of a loaded program.
    fn program(&self, which: Kernel) -> Result<BorrowedFd<'_>, DatapathError> {
        let program = match self.ebpf.program(which.name()) {
            Some(Program::Xdp(program)) => program.fd(),
            Some(Program::SchedClassifier(program)) => program.fd(),
            _ => return Err(DatapathError::Incomplete(which.name())),
        };
        let fd = program.map_err(|error| DatapathError::Program {
            program: which.name(),
            error: Box::new(error),
        })?;
        Ok(fd.as_fd())
    }

    fn qdisc_mark(&self, ifindex: IfIndex) -> std::path::PathBuf {
        self.pins.links().join(format!("{ifindex}{QDISC_MARK}"))
    }
}

/// End of the name of the directory that says: the clsact qdisc of this interface is ours.
pub(super) const QDISC_MARK: &str = "-qdisc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_xdp_say_what_to_do_and_those_of_tc_are_not_mistaken_for_them() {
        let of = |hook, errno| AttachError::of(hook, io::Error::from_raw_os_error(errno));
        for errno in [libc::EBUSY, libc::EEXIST] {
            assert!(matches!(of(Hook::Xdp, errno), AttachError::ForeignXdp));
            assert!(matches!(of(Hook::TcOut, errno), AttachError::Kernel(_)));
        }
        assert!(matches!(of(Hook::Xdp, libc::ERANGE), AttachError::Mtu));
        assert!(matches!(of(Hook::TcIn, libc::ERANGE), AttachError::TcFull));
        assert!(matches!(
            of(Hook::XdpGeneric, libc::EOPNOTSUPP),
            AttachError::Unsupported
        ));
        for hook in Hook::ALL {
            assert!(matches!(of(hook, libc::ENODEV), AttachError::Gone));
        }
    }
}
