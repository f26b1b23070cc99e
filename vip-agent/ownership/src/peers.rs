//! The Leases of all agents as observed, judged by this node's own clock alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    lease::{Lease, NodeName, Readiness, SessionId},
    time::BootTime,
    timing::Timing,
};

#[derive(Clone, Debug)]
struct Peer {
    lease: Option<Lease>,
    /// When `lease` was seen to change last.
    changed: BootTime,
}

/// A session that rows or a Lease name, or named.
#[derive(Clone, Debug)]
struct Named {
    /// L of the Lease when it named the session last.
    duration: Duration,
    /// Since when quorum reads show that its Lease names it no more.
    unnamed_since: Option<BootTime>,
    /// When its Lease was seen to change last while it named it.
    renewed: Option<BootTime>,
}

/// What is known of all agents' Leases, this node's own among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    peers: BTreeMap<NodeName, Peer>,
    sessions: BTreeMap<SessionId, Named>,
}

/// How a session in a row looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Its Lease names it.
    Named,
    /// Its Lease does not name it; no quorum read has shown so yet.
    Unsure,
    /// Its Lease does not name it; dead from then on.
    DeadAt(BootTime),
}

impl Peers {
    /// A Lease as a watch showed it: possibly old, so nobody is dead by it.
    pub(super) fn watched(&mut self, lease: Lease, now: BootTime) {
        if let Some(holder) = &lease.holder {
            self.named(holder.clone(), lease.duration);
        }
        self.store(lease.node.clone(), Some(lease), now);
    }

    /// A Lease, or its absence, by a quorum read.
    pub(super) fn read(&mut self, node: &NodeName, lease: Option<Lease>, now: BootTime) {
        let holder = lease.as_ref().and_then(|lease| lease.holder.as_ref());
        for (session, named) in &mut self.sessions {
            if session.node == *node && Some(session) != holder {
                named.unnamed_since.get_or_insert(now);
            }
        }
        match lease {
            Some(lease) => self.watched(lease, now),
            None => self.store(node.clone(), None, now),
        }
    }

    /// All Leases that there are, by a quorum read.
    pub(super) fn listed(&mut self, leases: Vec<Lease>, now: BootTime) {
        // Also nodes that only rows name.
        let known = self
            .peers
            .keys()
            .chain(self.sessions.keys().map(|session| &session.node));
        let gone: BTreeSet<_> = known
            .filter(|node| !leases.iter().any(|lease| lease.node == **node))
            .cloned()
            .collect();
        for lease in leases {
            self.read(&lease.node.clone(), Some(lease), now);
        }
        for node in gone {
            self.read(&node, None, now);
        }
    }

    fn store(&mut self, node: NodeName, lease: Option<Lease>, now: BootTime) {
        let peer = self.peers.entry(node).or_insert(Peer {
            lease: None,
            changed: now,
        });
        let same = match (&peer.lease, &lease) {
            (Some(old), Some(new)) => new.is_unchanged(old),
            (None, None) => true,
            _ => false,
        };
        if !same {
            peer.changed = now;
            let holder = lease.as_ref().and_then(|lease| lease.holder.as_ref());
            if let Some(named) = holder.and_then(|holder| self.sessions.get_mut(holder)) {
                named.renewed = Some(now);
            }
        }
        peer.lease = lease;
    }

    fn named(&mut self, session: SessionId, duration: Duration) {
        let renewed = self.renewed(&session);
        self.sessions.insert(
            session,
            Named {
                duration,
                unnamed_since: None,
                renewed,
            },
        );
    }

    /// Notes the session of a row.
    pub(super) fn noted(&mut self, session: &SessionId) {
        if self.sessions.contains_key(session) {
            return;
        }
        let duration = self.lease(&session.node).map(|lease| lease.duration);
        self.named(session.clone(), duration.unwrap_or(Timing::UNSEEN_DURATION));
    }

    /// When a session was seen to live last.
    pub(super) fn renewed(&self, session: &SessionId) -> Option<BootTime> {
        self.sessions.get(session)?.renewed
    }

    /// Forgets sessions that neither a Lease nor a row names.
    pub(super) fn retain(&mut self, in_rows: impl Fn(&SessionId) -> bool) {
        let peers = &self.peers;
        self.sessions.retain(|session, named| {
            named.unnamed_since.is_none()
                || in_rows(session)
                || peers.get(&session.node).is_some_and(|p| p.lease.is_none())
        });
    }

    pub(super) fn lease(&self, node: &NodeName) -> Option<&Lease> {
        self.peers.get(node)?.lease.as_ref()
    }

    /// All Leases that there are.
    pub(super) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.peers.values().filter_map(|peer| peer.lease.as_ref())
    }

    /// Whether and when a session is dead without being revoked first (rule 6). `since`: counted
    /// from then on at the earliest.
    pub(super) fn life(&self, session: &SessionId, since: BootTime) -> Life {
        let lease = self.lease(&session.node);
        if lease.is_some_and(|lease| lease.holder.as_ref() == Some(session)) {
            return Life::Named;
        }
        if lease.is_some_and(|lease| lease.revoked.as_ref() == Some(session)) {
            return Life::DeadAt(BootTime::default());
        }
        match self.sessions.get(session) {
            Some(Named {
                duration,
                unnamed_since: Some(unnamed),
                ..
            }) => Life::DeadAt((*unnamed).max(since) + *duration),
            _ => Life::Unsure,
        }
    }

    /// When every session that a node without one may have had is dead; `unsure` for those that
    /// no quorum read has shown to be gone.
    pub(super) fn all_dead_at(
        &self,
        node: &NodeName,
        since: BootTime,
        unsure: BootTime,
    ) -> BootTime {
        let of_node = self.sessions.iter().filter(|(s, _)| s.node == *node);
        let known = of_node.map(|(session, _)| match self.life(session, since) {
            Life::DeadAt(at) => at,
            Life::Named => BootTime::NEVER,
            Life::Unsure => unsure,
        });
        let peer = self.peers.get(node);
        let unknown =
            peer.and_then(|peer| Some(peer.changed.max(since) + peer.lease.as_ref()?.duration));
        known.chain(unknown).max().unwrap_or_default()
    }

    /// Nodes whose Lease is not there (any more).
    pub(super) fn vanished(&self) -> impl Iterator<Item = &NodeName> {
        let gone = self.peers.iter().filter(|(_, peer)| peer.lease.is_none());
        gone.map(|(node, _)| node)
    }

    /// When a node's Lease has been silent for its L, counted from `since` at the earliest; none
    /// when nobody holds it.
    pub(super) fn silent_at(&self, node: &NodeName, since: BootTime) -> Option<BootTime> {
        let peer = self.peers.get(node)?;
        let lease = peer.lease.as_ref()?;
        lease.holder.as_ref()?;
        Some(peer.changed.max(since) + lease.duration)
    }

    /// Leases that somebody holds, each with the time until which its session lives, unless it
    /// renews.
    pub(super) fn living(&self) -> impl Iterator<Item = (&Lease, &SessionId, BootTime)> {
        self.peers.values().filter_map(|peer| {
            let lease = peer.lease.as_ref()?;
            let holder = lease.holder.as_ref()?;
            Some((lease, holder, peer.changed + lease.duration))
        })
    }

    /// Leases whose session was not seen to live within its L.
    pub(super) fn ended(&self, now: BootTime) -> impl Iterator<Item = &Lease> {
        let held = self.living();
        held.filter(move |(.., until)| now >= *until)
            .map(|(lease, ..)| lease)
    }

    /// Nothing but a renewal, of a session that lives.
    pub(super) fn is_renewal(&self, lease: &Lease, now: BootTime) -> bool {
        let known = self.living().find(|(known, ..)| known.node == lease.node);
        known.is_some_and(|(known, _, until)| {
            let renewed = Lease {
                resource_version: known.resource_version.clone(),
                ..lease.clone()
            };
            now < until && renewed == *known
        })
    }

    /// When the next session of those that live is silent for its L, unless it is renewed.
    pub(super) fn next_end(&self, now: BootTime) -> BootTime {
        let ends = self.living().map(|(_, _, until)| until);
        ends.filter(|until| now < *until)
            .min()
            .unwrap_or(BootTime::NEVER)
    }

    /// A node other than `own` is ready and lives.
    pub(super) fn any_ready(&self, own: &NodeName, now: BootTime) -> bool {
        self.living().any(|(lease, _, until)| {
            now < until && lease.node != *own && lease.serves.readiness == Readiness::Ready
        })
    }
}
