//! Kubernetes Events (`events.k8s.io/v1`): what `kubectl describe` shows below an object.
//!
//! The same Event within [`SERIES`] becomes a series with a count, one patch instead of one more
//! object (KEP-383).

use std::{collections::HashMap, net::IpAddr, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use serde_json::{Value, json};

use crate::{
    api::{GROUP, VERSION, vip_name},
    cluster::ServiceKey,
};

/// Where Events of objects without a namespace go.
const CLUSTER_SCOPED: &str = "default";
const CONTROLLER: &str = "xvip.io/agent";
/// As long as client-go keeps a series.
const SERIES: Duration = Duration::from_secs(360);
/// The API server refuses a longer `note`.
const LONGEST_NOTE: usize = 1024;

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// A Service.
    Service {
        /// Which.
        key: ServiceKey,
        /// Its life: `kubectl describe` asks for it.
        uid: String,
    },
    /// A pool.
    Pool {
        /// Its name.
        name: String,
        /// Its life.
        uid: String,
    },
    /// A `Vip`.
    Vip {
        /// Its address.
        address: IpAddr,
        /// Its life.
        uid: String,
    },
}

impl About {
    fn reference(&self) -> ObjectReference {
        let ours = |kind: &str, name: String, uid: &String| ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some(kind.to_owned()),
            name: Some(name),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        };
        match self {
            Self::Service { key, uid } => ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Service".to_owned()),
                namespace: Some(key.namespace.to_string()),
                name: Some(key.name.to_string()),
                uid: Some(uid.clone()),
                ..ObjectReference::default()
            },
            Self::Pool { name, uid } => ours("VipPool", name.clone(), uid),
            Self::Vip { address, uid } => ours("Vip", vip_name(*address), uid),
        }
    }
}

/// What happened, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A Service has an address.
    AddressAllocated,
    /// A Service does not get an address.
    AddressRefused,
    /// What serves would not be allowed today.
    AddressQuestioned,
    /// A node answers for an address, and announces it.
    Announced,
    /// Another node answers than before.
    Moved,
    /// Somebody else on the LAN claims an address.
    Conflict,
    /// A pool's spec is wrong.
    PoolInvalid,
}

impl Reason {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddressAllocated => "AddressAllocated",
            Self::AddressRefused => "AddressRefused",
            Self::AddressQuestioned => "AddressQuestioned",
            Self::Announced => "Announced",
            Self::Moved => "Moved",
            Self::Conflict => "Conflict",
            Self::PoolInvalid => "PoolInvalid",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::AddressAllocated | Self::AddressRefused => "Allocate",
            Self::AddressQuestioned | Self::PoolInvalid => "Check",
            Self::Announced | Self::Moved => "Announce",
            Self::Conflict => "Defend",
        }
    }

    fn is_normal(self) -> bool {
        matches!(self, Self::AddressAllocated | Self::Announced | Self::Moved)
    }
}

/// An Event to be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Notice {
    /// Shown below this object.
    pub about: About,
    /// What happened.
    pub reason: Reason,
    /// A sentence, with the node and the address.
    pub note: String,
}

/// How an Event is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// As a new object.
    New(Box<Event>),
    /// By a merge patch of one that is there.
    Patch {
        namespace: String,
        name: String,
        patch: Value,
    },
}

#[derive(Debug)]
struct Written {
    namespace: String,
    name: String,
    count: i32,
    last: Timestamp,
}

/// The Events of the last minutes.
#[derive(Debug)]
pub(super) struct Notebook {
    node: String,
    written: HashMap<Notice, Written>,
}

impl Notebook {
    pub(super) fn new(node: String) -> Self {
        Self {
            node,
            written: HashMap::new(),
        }
    }

    /// How `notice` is to be written now.
    pub(super) fn form(&mut self, notice: &Notice, now: Timestamp) -> Form {
        self.written
            .retain(|_, written| now.duration_since(written.last).unsigned_abs() < SERIES);
        if let Some(written) = self.written.get_mut(notice) {
            written.count += 1;
            written.last = now;
            let series = EventSeries {
                count: written.count,
                last_observed_time: MicroTime(now),
            };
            return Form::Patch {
                namespace: written.namespace.clone(),
                name: written.name.clone(),
                patch: json!({ "series": series }),
            };
        }
        let event = self.event(notice, now);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        self.written.insert(
            notice.clone(),
            Written {
                namespace: text(&event.metadata.namespace),
                name: text(&event.metadata.name),
                count: 1,
                last: now,
            },
        );
        Form::New(Box::new(event))
    }

    /// `notice` was not written, or what was written of it is gone.
    pub(super) fn forget(&mut self, notice: &Notice) {
        self.written.remove(notice);
    }

    fn event(&self, notice: &Notice, now: Timestamp) -> Event {
        let regarding = notice.about.reference();
        let name = regarding.name.clone().unwrap_or_default();
        let namespace = regarding.namespace.clone();
        let mut note = notice.note.clone();
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        Event {
            metadata: ObjectMeta {
                namespace: Some(namespace.unwrap_or_else(|| CLUSTER_SCOPED.to_owned())),
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                ..ObjectMeta::default()
            },
            action: Some(notice.reason.action().to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(note),
            reason: Some(notice.reason.as_str().to_owned()),
            regarding: Some(regarding),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.node.clone()),
            type_: Some(
                if notice.reason.is_normal() {
                    "Normal"
                } else {
                    "Warning"
                }
                .to_owned(),
            ),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(note: &str) -> Notice {
        Notice {
            about: About::Service {
                key: ServiceKey::new("web", "a"),
                uid: "u".into(),
            },
            reason: Reason::AddressRefused,
            note: note.into(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_same_again_is_a_series_and_another_note_is_another_event() {
        let mut notebook = Notebook::new("node-a".into());
        let Form::New(first) = notebook.form(&notice("taken"), at(0)) else {
            panic!("a patch of nothing");
        };
        assert_eq!(first.metadata.namespace.as_deref(), Some("web"));
        assert_eq!(first.type_.as_deref(), Some("Warning"));
        let Form::Patch { name, patch, .. } = notebook.form(&notice("taken"), at(300)) else {
            panic!("no series");
        };
        assert_eq!(Some(name), first.metadata.name);
        assert_eq!(patch["series"]["count"], 2);
        for (note, seconds) in [("outside", 300), ("taken", 1000)] {
            let form = notebook.form(&notice(note), at(seconds));
            assert!(matches!(form, Form::New(_)), "{note}: {form:?}");
        }
    }

    #[test]
    fn what_was_not_written_is_no_series() {
        let mut notebook = Notebook::new("node-a".into());
        notebook.form(&notice("taken"), at(0));
        notebook.forget(&notice("taken"));
        let form = notebook.form(&notice("taken"), at(1));
        assert!(matches!(form, Form::New(_)), "{form:?}");
    }

    #[test]
    fn a_note_fits() {
        let notebook = Notebook::new("node-a".into());
        let event = notebook.event(&notice(&"ä".repeat(600)), at(0));
        assert_eq!(event.note.map(|note| note.len()), Some(LONGEST_NOTE));
    }

    #[test]
    fn events_of_objects_without_a_namespace_have_one() {
        let notebook = Notebook::new("node-a".into());
        let about = About::Vip {
            address: "fd00::".parse().unwrap(),
            uid: "u".into(),
        };
        let event = notebook.event(
            &Notice {
                about,
                ..notice("")
            },
            at(0),
        );
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
        assert!(
            event
                .metadata
                .name
                .is_some_and(|name| name.starts_with("fd00--0."))
        );
    }
}
