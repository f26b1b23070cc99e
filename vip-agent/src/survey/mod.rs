//! The cluster as its objects tell it, for who has a kubeconfig and no agent at hand: `vip-agent
//! status --cluster`, `vip-agent explain VIP --cluster`, `kubectl xvip`.
//!
//! `Vip`s say who answers, Leases who lives, `VipClaims` who is to answer. What the kernel of a
//! node does, its own agent alone knows. Ages of Leases are by the nodes' wall clocks: they are
//! for people, and decide nothing.

mod explain;
mod status;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use jiff::Timestamp;

pub use self::{
    explain::ClusterExplanation,
    status::{ClusterStatus, ClusterVip, Life, NodeStatus},
};
use crate::{
    api,
    cluster::Cluster,
    ownership::{
        Account, BootTime, Claims, DecidingRow, Layout, Lease, PeerAccount, RowKey, SessionId,
        Stage,
    },
};

/// What a node's clock may be wrong by before its Lease looks silent.
const SKEW: Duration = Duration::from_secs(1);

/// A Lease and when it says that it was renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The Lease.
    pub lease: Lease,
    /// `renewTime`.
    pub at: Option<Timestamp>,
}

/// The objects of a cluster at about one instant.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// The agents' namespace.
    pub namespace: String,
    /// All `Vip`s.
    pub vips: Vec<api::Vip>,
    /// All Leases of sessions.
    pub leases: Vec<Renewed>,
    /// The claims objects.
    pub claims: BTreeMap<u32, Claims>,
    /// What decides over candidates; empty where it was not asked for.
    pub cluster: Cluster,
    /// The agents' Pods, by node.
    pub pods: BTreeMap<String, String>,
}

impl Survey {
    /// The row that decides for an address.
    fn row(&self, address: IpAddr) -> Option<(RowKey, &crate::ownership::Row)> {
        let layout = Layout::default();
        let bucket = layout.bucket(address);
        let claims = self.claims.get(&layout.object(bucket))?;
        claims
            .is_understood(layout)
            .then(|| claims.deciding(address, bucket))?
    }

    fn lease(&self, node: &str) -> Option<&Renewed> {
        self.leases
            .iter()
            .find(|renewed| renewed.lease.node.as_str() == node)
    }

    /// A Lease names the session, and does not look silent.
    fn lives(&self, session: &SessionId, now: Timestamp) -> bool {
        self.lease(session.node.as_str()).is_some_and(|renewed| {
            renewed.lease.holder.as_ref() == Some(session) && renewed.life(now) == Life::Live
        })
    }

    /// As a lease machine would tell it, by wall clocks.
    fn account(&self, address: IpAddr, now: Timestamp) -> Account {
        let layout = Layout::default();
        let bucket = layout.bucket(address);
        let object = layout.object(bucket);
        let peers = self.leases.iter().map(|renewed| PeerAccount {
            node: renewed.lease.node.clone(),
            session: renewed.lease.holder.clone(),
            silent_at: renewed.silent_at().map(boot_time),
            readiness: renewed.lease.serves.readiness,
            interfaces: renewed.lease.serves.interfaces.clone(),
        });
        Account {
            bucket,
            object,
            version: self.claims.get(&object).map(|claims| claims.version),
            row: self.row(address).map(|(key, row)| DecidingRow {
                key,
                session: row.session.clone(),
                since: row.since,
                lives: self.lives(&row.session, now),
            }),
            proven: false,
            stage: Stage::Fenced,
            session: None,
            deaf: false,
            leaving: false,
            peers: peers.collect(),
        }
    }
}

impl Renewed {
    /// When its holder looks silent; none without a holder or a time.
    fn silent_at(&self) -> Option<Timestamp> {
        self.lease.holder.as_ref()?;
        self.at?.checked_add(self.lease.duration + SKEW).ok()
    }

    fn life(&self, now: Timestamp) -> Life {
        match self.silent_at() {
            None => Life::None,
            Some(at) if now < at => Life::Live,
            Some(_) => Life::Silent,
        }
    }
}

/// A wall clock's time in the place of a boot time: only differences matter.
fn boot_time(time: Timestamp) -> BootTime {
    BootTime(u64::try_from(time.as_nanosecond()).unwrap_or_default())
}
