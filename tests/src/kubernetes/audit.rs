//! What the API server was asked, from its audit log.

use std::{fs, path::Path};

use serde_json::Value;

use crate::netns::{BedError, system};

/// Each call once, when it ended.
pub(super) const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n\
    omitStages: [RequestReceived, ResponseStarted]\nrules: [{level: Metadata}]\n";

/// An API call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// uid of the user: `admin`, or the node's name.
    pub by: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// API group; empty for the core's.
    pub group: String,
    /// `leases`; with a subresource `services/status`.
    pub resource: String,
    /// Empty where the call is for none.
    pub namespace: String,
    /// Empty where the call is for none.
    pub name: String,
    /// HTTP status; 0 where there was none.
    pub code: u64,
    /// When it arrived, RFC 3339 with microseconds.
    pub at: String,
}

impl Call {
    /// It changed something, or tried to.
    pub fn is_write(&self) -> bool {
        !matches!(&*self.verb, "get" | "list" | "watch")
    }
}

pub(super) fn read(log: &Path) -> Result<Vec<Call>, BedError> {
    let log = fs::read_to_string(log).map_err(system("read the audit log"))?;
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    Ok(events.map(|event: Value| call(&event)).collect())
}

fn call(event: &Value) -> Call {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let mut resource = text(&object["resource"]);
    if let Some(subresource) = object["subresource"].as_str() {
        resource = format!("{resource}/{subresource}");
    }
    Call {
        by: text(&event["user"]["uid"]),
        verb: text(&event["verb"]),
        group: text(&object["apiGroup"]),
        resource,
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        at: text(&event["requestReceivedTimestamp"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_write_of_a_node_is_read_from_its_line() {
        let event = serde_json::json!({
            "verb": "update", "user": {"uid": "node-1"}, "responseStatus": {"code": 409},
            "objectRef": {"resource": "services", "subresource": "status", "name": "web",
                "namespace": "default", "apiVersion": "v1"},
            "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        });
        let call = call(&event);
        assert_eq!((&*call.by, &*call.resource), ("node-1", "services/status"));
        assert_eq!((&*call.group, &*call.namespace), ("", "default"));
        assert_eq!(
            (&*call.name, call.code, call.is_write()),
            ("web", 409, true)
        );
    }
}
