//! In which order programs run on an interface. Only what is pinned is needed to tell, so that
//! `doctor` can ask beside a running agent.

use std::io;

use super::{
    bpf, clsact,
    links::{self, Hook},
    object::Pins,
    tcx,
};
use crate::vip::IfIndex;

/// A program in the chain of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Id of the program, zero for a classic filter without one.
    pub program: u32,
    /// The name that its filter has, or its kind; links have none that we may ask for.
    pub name: Option<String>,
    /// It is ours.
    pub ours: bool,
}

/// The programs of an interface, hook by hook, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// XDP, which runs before tc.
    pub xdp: Vec<Seat>,
    /// tc, on what comes in.
    pub tc_in: Vec<Seat>,
    /// tc, on what leaves.
    pub tc_out: Vec<Seat>,
}

impl Position {
    /// The chain of a hook.
    pub fn at(&self, hook: Hook) -> &[Seat] {
        match hook {
            Hook::Xdp | Hook::XdpGeneric => &self.xdp,
            Hook::TcIn => &self.tc_in,
            Hook::TcOut => &self.tc_out,
        }
    }
}

impl Pins {
    /// What runs on an interface, ours and others'.
    pub fn position(&self, ifindex: IfIndex) -> io::Result<Position> {
        let mut position = Position::default();
        let mut ours = Vec::new();
        for hook in [Hook::Xdp, Hook::XdpGeneric] {
            ours.extend(self.attached_link(ifindex, hook)?.map(|link| link.program));
        }
        for program in clsact::xdp_programs(ifindex)? {
            position.xdp.push(Seat {
                program,
                name: None,
                ours: ours.contains(&program),
            });
        }
        position.tc_in = self.tc_chain(ifindex, Hook::TcIn)?;
        position.tc_out = self.tc_chain(ifindex, Hook::TcOut)?;
        Ok(position)
    }

    pub(super) fn tc_chain(&self, ifindex: IfIndex, hook: Hook) -> io::Result<Vec<Seat>> {
        let link = self.attached_link(ifindex, hook)?.map(|link| link.id);
        let tcx = tcx::programs(ifindex, hook)?.unwrap_or_default();
        let mut chain: Vec<Seat> = tcx
            .into_iter()
            .map(|(program, id)| Seat {
                program,
                name: None,
                ours: Some(id) == link,
            })
            .collect();
        // Classic filters run behind all of tcx.
        for filter in clsact::filters(ifindex, hook)? {
            chain.push(Seat {
                program: filter.program,
                ours: filter.is_ours(),
                name: filter.name.or(Some(filter.kind)),
            });
        }
        Ok(chain)
    }

    /// The pinned link of a hook, as long as it is attached.
    pub(super) fn attached_link(
        &self,
        ifindex: IfIndex,
        hook: Hook,
    ) -> io::Result<Option<bpf::LinkInfo>> {
        let link = links::open(&self.link(ifindex, hook))?.map(|(_, info)| info);
        Ok(link.filter(|link| link.ifindex == ifindex))
    }
}
