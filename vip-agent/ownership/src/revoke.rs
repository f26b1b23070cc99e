//! Revocation of sessions that are silent for L (rule 5b).

use super::{
    Machine,
    lease::{Lease, NodeName},
    register::{Reply, Request, RequestId},
    time::BootTime,
};

/// The one revocation under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Revocation {
    request: Option<(RequestId, NodeName, BootTime)>,
    not_before: BootTime,
}

impl Machine {
    pub(super) fn revocation_turn(&mut self, now: BootTime) {
        if let Some((_, _, sent)) = self.revocation.request
            && self.due(sent + self.config.timing.time_out(), now)
        {
            self.revocation.request = None;
        }
        if self.revocation.request.is_some()
            || !self.session.is_confirmed(now)
            || !self.takes_buckets(now)
            || !self.due(self.revocation.not_before, now)
        {
            return;
        }
        let since = self.session.confirmed_since;
        // Of one that lives nothing is due: the machine looks again at the end of that.
        let ended = self.peers.ended(now);
        let in_the_way: Vec<_> = ended
            .filter(|lease| lease.node != self.config.node && self.is_in_the_way(lease))
            .filter_map(|lease| Some((self.peers.silent_at(&lease.node, since)?, lease.clone())))
            .collect();
        for (silent_at, mut lease) in in_the_way {
            if self.due(silent_at, now) {
                lease.revoked = lease.holder.take();
                let node = lease.node.clone();
                self.revocation_ask(Request::PutLease(lease), node, now);
                return;
            }
        }
    }

    fn revocation_ask(&mut self, request: Request, node: NodeName, now: BootTime) {
        let id = self.ask(request, false);
        self.revocation.request = Some((id, node, now));
        self.due(now + self.config.timing.time_out(), now);
    }

    /// The holder has a row, or keeps free rows from being claimed.
    fn is_in_the_way(&self, lease: &Lease) -> bool {
        let Some(holder) = &lease.holder else {
            return false;
        };
        let mut objects = self.objects.iter().filter_map(|object| object.seen());
        objects.any(|claims| {
            claims.rows.values().any(|row| row.session == *holder)
                || (!lease.claims_read.contains(&claims.uid) && self.has_free_row(claims))
        })
    }

    /// Takes replies to revocations, and gives back others.
    pub(super) fn revocation_replied(
        &mut self,
        id: RequestId,
        reply: Reply,
        now: BootTime,
    ) -> Option<Reply> {
        let node = match &self.revocation.request {
            Some((request, node, _)) if *request == id => node.clone(),
            _ => return Some(reply),
        };
        self.revocation.request = None;
        match reply {
            // Also the Lease that a lost revocation reads again: a renewal starts L anew.
            Reply::Lease(lease) => self.peers.read(&node, lease, now),
            _ => {
                self.revocation.not_before = now + self.dice.between(5, 100);
                self.revocation_ask(Request::ReadLease(node.clone()), node, now);
            }
        }
        None
    }
}
