//! What is written to the API server beside renewals, and what an answer to it means.

use std::{net::IpAddr, time::Duration};

use super::{notice::Notice, outbox::Supersede};
use crate::{
    api::VipStatus,
    cluster::{Assignment, Condition, PoolStatus, ServiceKey},
    ownership::NodeName,
};

/// What a write waits for its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The state of a `Vip` that a write replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its life.
    pub uid: String,
    /// Its state.
    pub resource_version: String,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A `Vip` that must not exist.
    CreateVip(Assignment),
    /// Another spec for a `Vip`.
    ChangeVip(Assignment, Seen),
    /// A `Vip` goes.
    DeleteVip(IpAddr, Seen),
    /// A `Vip` goes, and comes back as another.
    RecreateVip(Assignment, Seen),
    /// Where a `Vip` is; by the node that holds it.
    VipStatus(IpAddr, VipStatus),
    /// Addresses and conditions of a Service; both may be empty.
    Service(ServiceKey, Vec<IpAddr>, Vec<Condition>),
    /// The status of a pool.
    Pool(String, PoolStatus),
    /// The Lease of a Node that is gone goes too.
    DeleteLease(LeaseKey, Seen),
    /// A Kubernetes Event. It may be dropped in a crowd.
    Notice(Notice),
}

/// Names a Lease.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseKey {
    /// Its namespace.
    pub namespace: String,
    /// The node that it is named after.
    pub node: NodeName,
}

/// What a write is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Existence and spec of a `Vip`.
    Vip(IpAddr),
    /// Status of a `Vip`.
    VipStatus(IpAddr),
    /// Status of a Service.
    Service(ServiceKey),
    /// Status of a pool.
    Pool(String),
    /// A Lease.
    Lease(LeaseKey),
    /// An Event.
    Notice(Notice),
}

/// What became of writes, as far as somebody must know.
#[derive(Debug)]
pub enum WriteNews {
    /// A `Vip` to be created exists: whose it is, the watch shows.
    Taken(IpAddr),
    /// A `Vip` is no longer in the state that a write named: decide anew by what the watch shows.
    Outdated(IpAddr),
    /// The API server refuses a write for good: it is not tried again.
    Refused(Target, WriteError),
    /// A write fails and is tried again. Told for the first of many, then once a minute.
    Failing(Target, WriteError),
    /// So many Events were dropped.
    NoticesDropped(u64),
}

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The API server says no.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(Box<kube::core::Status>),
    /// No answer in time; it may have landed.
    #[error("no answer for {} s", PATIENCE.as_secs())]
    TimedOut,
    /// The connection, or a text that is none of ours.
    #[error(transparent)]
    Failed(kube::Error),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Refused(status),
            other => Self::Failed(other),
        }
    }
}

impl Write {
    /// What it is about.
    pub fn target(&self) -> Target {
        match self {
            Self::CreateVip(of) | Self::ChangeVip(of, _) | Self::RecreateVip(of, _) => {
                Target::Vip(of.address)
            }
            Self::DeleteVip(address, _) => Target::Vip(*address),
            Self::VipStatus(address, _) => Target::VipStatus(*address),
            Self::Service(key, ..) => Target::Service(key.clone()),
            Self::Pool(name, _) => Target::Pool(name.clone()),
            Self::DeleteLease(key, _) => Target::Lease(key.clone()),
            Self::Notice(notice) => Target::Notice(notice.clone()),
        }
    }

    pub(super) fn judge(&self, error: WriteError) -> End {
        let address = match self.target() {
            Target::Vip(address) => Some(address),
            _ => None,
        };
        let code = match &error {
            WriteError::Refused(status) => status.code,
            _ => 0,
        };
        match (self, code, address) {
            (Self::CreateVip(_) | Self::RecreateVip(..), 409, Some(address)) => {
                End::Tell(WriteNews::Taken(address))
            }
            (Self::DeleteVip(..), 404, _) => End::Done,
            (Self::ChangeVip(..), 404 | 409, Some(address))
            | (Self::DeleteVip(..), 409, Some(address)) => End::Tell(WriteNews::Outdated(address)),
            // It is gone, or its node is back.
            (Self::DeleteLease(..), 404 | 409, _) => End::Done,
            // The object of a status is gone.
            (Self::VipStatus(..) | Self::Service(..) | Self::Pool(..), 404, _) => End::Done,
            (Self::Notice(_), 400.., _) => End::Tell(WriteNews::Refused(self.target(), error)),
            (_, 400 | 422, _) => End::Tell(WriteNews::Refused(self.target(), error)),
            _ => End::Again(error),
        }
    }
}

impl Supersede for Write {
    fn after(self, earlier: Self) -> Self {
        match (earlier, self) {
            (Self::DeleteVip(_, seen) | Self::RecreateVip(_, seen), Self::CreateVip(new)) => {
                Self::RecreateVip(new, seen)
            }
            // What was to be created was never there.
            (Self::RecreateVip(_, seen), Self::DeleteVip(address, _)) => {
                Self::DeleteVip(address, seen)
            }
            (_, later) => later,
        }
    }
}

/// How a write ended.
pub(super) enum End {
    Done,
    Tell(WriteNews),
    Again(WriteError),
}

#[cfg(test)]
pub(super) mod tests {
    use kube::core::Status;

    use super::*;

    pub(in super::super) fn assignment(last: u8) -> Assignment {
        Assignment {
            address: [192, 0, 2, last].into(),
            pool: None,
            services: [ServiceKey::new("web", "a")].into(),
            control_plane: false,
            share_key: None,
            interfaces: Vec::new(),
            prefix: None,
        }
    }

    fn seen(version: &str) -> Seen {
        Seen {
            uid: "u".into(),
            resource_version: version.into(),
        }
    }

    pub(in super::super) fn refused(code: u16) -> WriteError {
        WriteError::Refused(Status::failure("", "").with_code(code).boxed())
    }

    pub(in super::super) fn status() -> Write {
        Write::VipStatus([192, 0, 2, 1].into(), VipStatus::default())
    }

    #[test]
    fn a_deletion_that_waits_is_not_lost_when_the_address_is_given_again() {
        let delete = Write::DeleteVip(assignment(1).address, seen("7"));
        let create = Write::CreateVip(assignment(1));
        let recreate = Write::RecreateVip(assignment(1), seen("7"));
        assert_eq!(create.clone().after(delete.clone()), recreate);
        assert_eq!(create.after(recreate.clone()), recreate);
        let second = Write::DeleteVip(assignment(1).address, seen("9"));
        assert_eq!(second.after(recreate), delete);
    }

    #[test]
    fn an_answer_of_the_api_server_ends_a_write_or_not() {
        let create = Write::CreateVip(assignment(1));
        let change = Write::ChangeVip(assignment(1), seen("7"));
        let delete = Write::DeleteVip(assignment(1).address, seen("7"));
        let tells = |write: &Write, code| match write.judge(refused(code)) {
            End::Tell(news) => format!("{news:?}"),
            End::Done => "done".to_owned(),
            End::Again(_) => "again".to_owned(),
        };
        assert_eq!(tells(&create, 409), "Taken(192.0.2.1)");
        assert_eq!(tells(&change, 409), "Outdated(192.0.2.1)");
        assert_eq!(tells(&change, 404), "Outdated(192.0.2.1)");
        assert_eq!(tells(&delete, 409), "Outdated(192.0.2.1)");
        assert_eq!(tells(&delete, 404), "done");
        assert_eq!(tells(&status(), 404), "done");
        assert!(tells(&create, 422).starts_with("Refused"));
        for code in [403, 404, 429, 500, 503] {
            assert_eq!(tells(&create, code), "again", "{code}");
        }
    }
}
