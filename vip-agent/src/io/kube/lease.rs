//! Leases as the API server has them, and as the lease machine has them.
//!
//! ```text
//! metadata:
//!   name: xvip-<node>
//!   labels: { app.kubernetes.io/name: xvip }
//!   annotations:
//!     xvip.io/revoked: <session>                      revoked or released last
//!     xvip.io/claims-read: <uid>,<uid>,...
//!     xvip.io/serves: '{"readiness":"ready","interfaces":["eth0 192.0.2.0/24"]}'
//!                                                     while kube-vip is replaced also "incumbent":
//!                                                     ["192.0.2.100"], what its addresses here answer
//! spec:
//!   holderIdentity: <node>/<boot id>/<random id>      the session
//!   leaseDurationSeconds: 5
//!   renewTime: ...                                    at every write
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease as Object, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use serde::{Deserialize, Serialize};

use crate::{
    manifest::CONTROL_PLANE_NAMESPACE,
    ownership::{ControlPlane, Lease, NodeName, Readiness, Serves, Timing},
};

/// What the names of session Leases begin with.
const PREFIX: &str = "xvip-";
/// Label of all Leases of sessions.
pub const LABEL: (&str, &str) = ("app.kubernetes.io/name", "xvip");
/// Its value on the Lease of the control plane: whoever lists sessions in the same namespace does
/// not see one more.
const CONTROL_PLANE: &str = "xvip-control-plane";
const REVOKED: &str = "xvip.io/revoked";
const CLAIMS_READ: &str = "xvip.io/claims-read";
const SERVES: &str = "xvip.io/serves";

/// Name of the Lease of a node.
pub fn name(node: &NodeName) -> String {
    format!("{PREFIX}{node}")
}

/// `xvip.io/serves`.
#[derive(Serialize, Deserialize)]
struct Offer {
    readiness: Word,
    #[serde(default)]
    interfaces: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    incumbent: BTreeSet<IpAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Ready,
    LastChoice,
    Never,
}

/// A Lease that was read; none when it is no session's. What cannot be understood in it is as if
/// it were absent: a holder that is no session holds nothing.
pub fn read(object: &Object) -> Option<Lease> {
    let name = object.metadata.name.as_deref()?;
    let node = name.strip_prefix(PREFIX).filter(|node| !node.is_empty())?;
    let none = BTreeMap::new();
    let annotations = object.metadata.annotations.as_ref().unwrap_or(&none);
    let text = |key: &str| annotations.get(key).map(String::as_str).unwrap_or_default();
    let spec = object.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    let uids = text(CLAIMS_READ).split(',').filter(|uid| !uid.is_empty());
    Some(Lease {
        node: node.into(),
        uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
        resource_version: object
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
            .into(),
        holder: holder.parse().ok(),
        revoked: text(REVOKED).parse().ok(),
        claims_read: uids.map(Into::into).collect(),
        serves: serves(text(SERVES)),
        duration: match u64::try_from(seconds) {
            Ok(0) | Err(_) => Timing::UNSEEN_DURATION,
            Ok(seconds) => Duration::from_secs(seconds),
        },
    })
}

/// A Lease to be written, dated `now`.
pub fn write(lease: &Lease, namespace: &str, now: Timestamp) -> Object {
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let uids: Vec<&str> = lease.claims_read.iter().map(|uid| uid.as_str()).collect();
    let mut annotations = BTreeMap::from([
        (CLAIMS_READ.to_owned(), uids.join(",")),
        (SERVES.to_owned(), offer(&lease.serves)),
    ]);
    if let Some(revoked) = &lease.revoked {
        annotations.insert(REVOKED.to_owned(), revoked.to_string());
    }
    let is_control_plane =
        namespace == CONTROL_PLANE_NAMESPACE && lease.node.as_str() == ControlPlane::LEASE;
    let label = if is_control_plane {
        CONTROL_PLANE
    } else {
        LABEL.1
    };
    Object {
        metadata: ObjectMeta {
            name: Some(name(&lease.node)),
            namespace: Some(namespace.to_owned()),
            uid: optional(lease.uid.as_str()),
            resource_version: optional(lease.resource_version.as_str()),
            labels: Some(BTreeMap::from([(LABEL.0.to_owned(), label.to_owned())])),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            // An empty holder is refused by the API server's validation; an absent one is not.
            holder_identity: lease.holder.as_ref().map(ToString::to_string),
            lease_duration_seconds: i32::try_from(lease.duration.as_secs()).ok(),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

fn serves(text: &str) -> Serves {
    let Ok(offer) = serde_json::from_str::<Offer>(text) else {
        return Serves::default();
    };
    Serves {
        readiness: match offer.readiness {
            Word::Ready => Readiness::Ready,
            Word::LastChoice => Readiness::LastChoice,
            Word::Never => Readiness::Never,
        },
        interfaces: offer.interfaces.into_iter().map(Arc::from).collect(),
        incumbent: offer.incumbent,
    }
}

fn offer(serves: &Serves) -> String {
    let offer = Offer {
        readiness: match serves.readiness {
            Readiness::Ready => Word::Ready,
            Readiness::LastChoice => Word::LastChoice,
            Readiness::Never => Word::Never,
        },
        interfaces: serves.interfaces.iter().map(|i| i.to_string()).collect(),
        incumbent: serves.incumbent.clone(),
    };
    serde_json::to_string(&offer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ownership::SessionId;

    fn lease() -> Lease {
        let session = |id: u128| SessionId {
            node: "node-a".into(),
            boot: [1; 16],
            id: id.to_be_bytes(),
        };
        Lease {
            node: "node-a".into(),
            uid: "u".into(),
            resource_version: "7".into(),
            holder: Some(session(1)),
            revoked: Some(session(2)),
            claims_read: ["x".into(), "y".into()].into(),
            serves: Serves {
                readiness: Readiness::LastChoice,
                interfaces: ["eth0 192.0.2.0/24".into()].into(),
                incumbent: ["192.0.2.100".parse().unwrap()].into(),
            },
            duration: Duration::from_secs(5),
        }
    }

    #[test]
    fn the_lease_of_the_control_plane_is_not_listed_with_sessions() {
        let label = |node: &str, namespace| {
            let lease = Lease {
                node: node.into(),
                ..lease()
            };
            let written = write(&lease, namespace, Timestamp::UNIX_EPOCH);
            written.metadata.labels.unwrap()[LABEL.0].clone()
        };
        assert_ne!(label(ControlPlane::LEASE, "kube-system"), LABEL.1);
        assert_eq!(label("node-a", "kube-system"), LABEL.1);
        assert_eq!(label(ControlPlane::LEASE, "xvip-system"), LABEL.1);
    }

    #[test]
    fn a_lease_reads_back_as_it_is_written() {
        for holder in [None, lease().holder] {
            let lease = Lease { holder, ..lease() };
            let object = write(&lease, "xvip-system", Timestamp::UNIX_EPOCH);
            assert_eq!(read(&object), Some(lease));
        }
    }

    #[test]
    fn a_lease_to_be_created_names_no_uid_and_no_version() {
        let lease = Lease {
            uid: "".into(),
            resource_version: "".into(),
            ..lease()
        };
        let object = write(&lease, "xvip-system", Timestamp::UNIX_EPOCH);
        assert_eq!(object.metadata.uid, None);
        assert_eq!(object.metadata.resource_version, None);
    }

    #[test]
    fn what_a_human_wrote_into_it_holds_nothing_and_lasts_a_minute() {
        let mut object = write(&lease(), "xvip-system", Timestamp::UNIX_EPOCH);
        let spec = object.spec.as_mut().unwrap();
        spec.holder_identity = Some("me".into());
        spec.lease_duration_seconds = None;
        object.metadata.annotations = None;
        let read = read(&object).unwrap();
        assert_eq!((read.holder, read.revoked), (None, None));
        assert_eq!(read.duration, Timing::UNSEEN_DURATION);
    }

    #[test]
    fn a_lease_of_another_name_is_no_session() {
        let mut object = write(&lease(), "xvip-system", Timestamp::UNIX_EPOCH);
        for name in ["kube-controller-manager", "xvip-"] {
            object.metadata.name = Some(name.into());
            assert_eq!(read(&object), None, "{name}");
        }
    }
}
