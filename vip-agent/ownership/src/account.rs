//! What the machine knows of one address, for those who ask why it is answered or not.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use jiff::Timestamp;

use super::{
    Machine,
    claims::RowKey,
    entries::Stage,
    lease::{NodeName, Readiness, SessionId},
    time::BootTime,
};

/// The row that decides for an address, and the sessions that could have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The bucket of the address.
    pub bucket: u32,
    /// Number of the claims object that holds its rows.
    pub object: u32,
    /// `version` of that object; none before it was read, or where there is none.
    pub version: Option<u64>,
    /// The row that decides; none: it is free, or not known.
    pub row: Option<DecidingRow>,
    /// The row is this session's, and a write of this process proved it (rule 7).
    pub proven: bool,
    /// How far this node is on the way to answering.
    pub stage: Stage,
    /// This node's session.
    pub session: Option<SessionId>,
    /// Nobody on the LAN replies.
    pub deaf: bool,
    /// The process was asked to end.
    pub leaving: bool,
    /// What is known of the agents' Leases, by node.
    pub peers: Vec<PeerAccount>,
}

/// A row, and whom it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidingRow {
    /// What it is about.
    pub key: RowKey,
    /// Whom it names.
    pub session: SessionId,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The session's Lease names it, and was renewed within its L.
    pub lives: bool,
}

/// A Lease, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAccount {
    /// Whose.
    pub node: NodeName,
    /// The session that it names.
    pub session: Option<SessionId>,
    /// When it has been silent for its L, by this node's clock, unless it changes before.
    pub silent_at: Option<BootTime>,
    /// How gladly the node takes rows.
    pub readiness: Readiness,
    /// What it can serve.
    pub interfaces: BTreeSet<Arc<str>>,
}

impl PeerAccount {
    /// Its session was seen to live within its L.
    pub fn lives(&self, now: BootTime) -> bool {
        self.session.is_some() && self.silent_at.is_some_and(|at| now < at)
    }
}

impl Machine {
    /// What is known of an address at `now`.
    pub fn account(&self, address: IpAddr, now: BootTime) -> Account {
        let bucket = self.config.layout.bucket(address);
        let index = self.config.layout.object(bucket);
        let object = self.objects.get(index as usize);
        let claims = object.and_then(|object| object.seen());
        let own = self.session.id.as_ref();
        let deciding = claims.and_then(|claims| claims.deciding(address, bucket));
        let peers: Vec<PeerAccount> = (self.peers.leases())
            .map(|lease| PeerAccount {
                node: lease.node.clone(),
                session: lease.holder.clone(),
                silent_at: self.peers.silent_at(&lease.node, BootTime::default()),
                readiness: lease.serves.readiness,
                interfaces: lease.serves.interfaces.clone(),
            })
            .collect();
        let lives = |session: &SessionId| {
            let named = |peer: &&PeerAccount| peer.session.as_ref() == Some(session);
            peers.iter().find(named).is_some_and(|peer| peer.lives(now))
        };
        let proven = deciding.is_some_and(|(key, row)| {
            Some(&row.session) == own && object.is_some_and(|object| object.is_proven(key))
        });
        Account {
            bucket,
            object: index,
            version: claims.map(|claims| claims.version),
            row: deciding.map(|(key, row)| DecidingRow {
                key,
                session: row.session.clone(),
                since: row.since,
                lives: lives(&row.session),
            }),
            proven,
            stage: self.entries.stage(address),
            session: own.cloned(),
            deaf: self.deaf,
            leaving: self.leaving,
            peers,
        }
    }
}
