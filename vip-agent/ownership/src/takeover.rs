//! How long the addresses of the dead went unanswered, as their successor can tell: from the last
//! sign of life of the session that its rows named.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Machine, Stage, action::Action, claims::RowKey, time::BootTime};

/// Rows of one claims object that were gained from the dead, and whose VIPs are being claimed.
#[derive(Clone, Debug)]
pub(super) struct Takeover {
    silent_since: BootTime,
    vips: BTreeSet<IpAddr>,
}

impl Machine {
    /// When the first of those was seen to live last that have these rows by now.
    pub(super) fn silent_since(&self, index: usize, gained: &BTreeSet<RowKey>) -> Option<BootTime> {
        let claims = self.objects[index].seen()?;
        let dead = gained.iter().filter_map(|key| claims.rows.get(key));
        dead.filter_map(|row| self.peers.renewed(&row.session))
            .min()
    }

    /// The rows of an object were gained.
    pub(super) fn takeover_begins(&mut self, index: usize) {
        let Some(silent_since) = self.objects[index].take_silent_since() else {
            return;
        };
        let home = self.homes.get(index).into_iter().flatten();
        let claimed = home
            .map(|(vip, _)| *vip)
            .filter(|vip| self.entries.stage(*vip) == Stage::Claiming);
        let vips: BTreeSet<_> = claimed.collect();
        if !vips.is_empty() {
            *self.objects[index].takeover() = Some(Takeover { silent_since, vips });
        }
    }

    /// Tells of takeovers that have come to an end.
    pub(super) fn takeover_turn(&mut self) {
        for object in &mut self.objects {
            let stages = |takeover: &Takeover, stage| {
                let mut vips = takeover.vips.iter();
                vips.any(|vip| self.entries.stage(*vip) == stage)
            };
            let ended = |takeover: &mut Takeover| !stages(takeover, Stage::Claiming);
            if let Some(takeover) = object.takeover().take_if(ended)
                && stages(&takeover, Stage::Live)
            {
                self.out.push(Action::TookOver {
                    silent_since: takeover.silent_since,
                });
            }
        }
    }
}
