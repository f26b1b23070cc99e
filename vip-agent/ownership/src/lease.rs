//! Sessions, and the Leases that carry them.

use std::{collections::BTreeSet, fmt, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use thiserror::Error;

macro_rules! token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

token!(
    /// Name of a Node.
    NodeName
);
token!(
    /// The register's name of one life of an object: another after a deletion.
    Uid
);
token!(
    /// The register's name of one state of an object. Equal or not, and nothing else.
    ResourceVersion
);

/// One life of an agent's right to answer: `holderIdentity`, as `node/boot/id`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    /// The node whose agent opened it.
    pub node: NodeName,
    /// Boot id of that node.
    pub boot: [u8; 16],
    /// Random, another for every session.
    pub id: [u8; 16],
}

/// A `holderIdentity` that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no session: expected node/boot/id, the latter two of 32 hexadecimal digits")]
pub struct NoSession(pub String);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (boot, id) = (u128::from_be_bytes(self.boot), u128::from_be_bytes(self.id));
        write!(f, "{}/{boot:032x}/{id:032x}", self.node)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u128::from_be_bytes(self.id) as u32;
        write!(f, "{}#{id:08x}", self.node)
    }
}

impl FromStr for SessionId {
    type Err = NoSession;

    fn from_str(text: &str) -> Result<Self, NoSession> {
        let refused = || NoSession(text.to_owned());
        let number = |hex: &str| {
            let digits = hex.len() == 32 && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
            match u128::from_str_radix(hex, 16) {
                Ok(number) if digits => Ok(number.to_be_bytes()),
                _ => Err(refused()),
            }
        };
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(node), Some(boot), Some(id), None) if !node.is_empty() => Ok(Self {
                node: node.into(),
                boot: number(boot)?,
                id: number(id)?,
            }),
            _ => Err(refused()),
        }
    }
}

/// How gladly a node takes rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// At any time.
    #[default]
    Ready,
    /// Cordoned, NotReady, or without a working kube-proxy: while no other node is ready.
    LastChoice,
    /// Excluded, failed or leaving.
    Never,
}

/// `xvip.io/serves`: what the agent can serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serves {
    /// How gladly it takes rows.
    pub readiness: Readiness,
    /// Interfaces and their connected prefixes, in the words of whoever reads them.
    pub interfaces: BTreeSet<Arc<str>>,
    /// VIPs that this node answers for by an address that another load balancer bound, or did a
    /// moment ago: they come to this node first.
    pub incumbent: BTreeSet<IpAddr>,
}

/// A session's Lease, as read. The register dates it whenever it is written, so a write of equal
/// content still is a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose Lease it is, by its name.
    pub node: NodeName,
    /// Its life; empty in a Lease to be created.
    pub uid: Uid,
    /// Its state when it was read.
    pub resource_version: ResourceVersion,
    /// The session that holds it.
    pub holder: Option<SessionId>,
    /// The last session that was revoked or released by the rules.
    pub revoked: Option<SessionId>,
    /// Uids of the claims objects that the session has read.
    pub claims_read: BTreeSet<Uid>,
    /// What the agent can serve.
    pub serves: Serves,
    /// L, in whole seconds.
    pub duration: Duration,
}

impl Lease {
    /// The same life and state of the same Lease.
    pub fn is_unchanged(&self, earlier: &Self) -> bool {
        self.uid == earlier.uid && self.resource_version == earlier.resource_version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_reads_back_as_it_is_written() {
        let session = SessionId {
            node: "node-a".into(),
            boot: [0x0b; 16],
            id: 7u128.to_be_bytes(),
        };
        let text = session.to_string();
        assert_eq!(
            text,
            "node-a/0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b/00000000000000000000000000000007"
        );
        assert_eq!(text.parse(), Ok(session));
    }

    #[test]
    fn another_holder_is_refused() {
        for text in ["", "node-a", "node-a/1/2", "kube-controller-manager_1b2c"] {
            assert_eq!(
                text.parse::<SessionId>(),
                Err(NoSession(text.to_owned())),
                "{text}"
            );
        }
        let signed = format!("node-a/+{:031x}/{:032x}", 1, 2);
        assert!(signed.parse::<SessionId>().is_err());
    }
}
