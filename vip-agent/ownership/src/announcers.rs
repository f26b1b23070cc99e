//! Who opens a session and who gives it back (`maxAnnouncers`), so that the register's load
//! follows the number of announcers and not of nodes.

use super::{Machine, lease::Readiness, time::BootTime};

/// Candidates with a session that an address row is to have.
const CANDIDATES: usize = 2;

impl Machine {
    pub(super) fn wants_session(&mut self, now: BootTime) -> bool {
        if self.serves.readiness == Readiness::Never {
            return false;
        }
        let ends: Vec<_> = self
            .peers
            .living()
            .filter(|(lease, _, until)| lease.node != self.config.node && now < *until)
            .map(|(_, _, until)| until)
            .collect();
        if ends.len() < self.config.max_announcers || self.is_needed_candidate(now) {
            return true;
        }
        if let Some(first) = ends.into_iter().min() {
            self.due(first, now);
        }
        false
    }

    /// Holds nothing, is no candidate that is needed, and ranks behind enough others.
    pub(super) fn is_dispensable(&self, now: BootTime) -> bool {
        if self.rows().next().is_some() {
            return false;
        }
        if self.serves.readiness == Readiness::Never {
            return self.is_quiet(now);
        }
        let own = &self.config.node;
        let before = self.peers.living().filter(|(lease, session, until)| {
            let holds = || {
                let rows = self.objects.iter().filter_map(|object| object.seen());
                rows.flat_map(|claims| claims.rows.values())
                    .any(|row| row.session == **session)
            };
            lease.node != *own && now < *until && (lease.node < *own || holds())
        });
        before.count() >= self.config.max_announcers
            && !self.is_needed_candidate(now)
            && self.is_quiet(now)
    }

    /// An address row that this node could serve has too few other candidates with a session, or
    /// nobody else can take a VIP over in place.
    fn is_needed_candidate(&self, now: BootTime) -> bool {
        if !self.serves.incumbent.is_empty() {
            return true;
        }
        let own = &self.config.node;
        let candidates = self.vips.iter().flat_map(|vips| vips.values().flatten());
        candidates.filter(|nodes| nodes.contains(own)).any(|nodes| {
            let others = self.peers.living().filter(|(lease, _, until)| {
                lease.node != *own && now < *until && nodes.contains(&lease.node)
            });
            others.count() < CANDIDATES
        })
    }
}
