//! Claims objects as the API server has them, and as the lease machine has them.

use jiff::Timestamp;
use kube::api::ObjectMeta;

use crate::{
    api::{ClaimRow, VipClaims, VipClaimsSpec},
    ownership::{Claims, Row, RowKey, SessionId},
};

/// What the names of claims objects begin with.
const PREFIX: &str = "xvip-";

/// Name of a claims object.
pub fn name(index: u32) -> String {
    format!("{PREFIX}{index}")
}

/// A claims object that was read; none when it is none of the four. Rows that cannot be
/// understood (a human's) are as if they were absent, and so free.
pub fn read(object: &VipClaims) -> Option<Claims> {
    let name = object.metadata.name.as_deref()?;
    let index = name.strip_prefix(PREFIX)?.parse().ok()?;
    let spec = &object.spec;
    Some(Claims {
        index,
        uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
        resource_version: object
            .metadata
            .resource_version
            .as_deref()
            .unwrap_or_default()
            .into(),
        version: u64::try_from(spec.version).unwrap_or_default(),
        hash: spec.hash.clone(),
        buckets: u32::try_from(spec.buckets).unwrap_or_default(),
        rows: spec.rows.iter().filter_map(row).collect(),
        unknown: spec.unknown.clone(),
    })
}

fn row(row: &ClaimRow) -> Option<(RowKey, Row)> {
    let key = match (row.bucket, &row.address) {
        (Some(bucket), None) => RowKey::Bucket(u32::try_from(bucket).ok()?),
        (None, Some(address)) => RowKey::Address(address.parse().ok()?),
        _ => return None,
    };
    let session: SessionId = row.session.parse().ok()?;
    Some((
        key,
        Row {
            session,
            since: row.since,
            unknown: row.unknown.clone(),
        },
    ))
}

/// A claims object to be written; rows that are being gained are dated `now`.
pub fn write(claims: &Claims, namespace: &str, now: Timestamp) -> VipClaims {
    let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let rows = claims.rows.iter().map(|(key, row)| {
        let (bucket, address) = match key {
            RowKey::Bucket(bucket) => (i32::try_from(*bucket).ok(), None),
            RowKey::Address(address) => (None, Some(address.to_string())),
        };
        ClaimRow {
            bucket,
            address,
            node: row.session.node.to_string(),
            session: row.session.to_string(),
            since: Some(row.since.unwrap_or(now)),
            unknown: row.unknown.clone(),
        }
    });
    VipClaims {
        metadata: ObjectMeta {
            name: Some(name(claims.index)),
            namespace: Some(namespace.to_owned()),
            uid: optional(claims.uid.as_str()),
            resource_version: optional(claims.resource_version.as_str()),
            ..ObjectMeta::default()
        },
        spec: VipClaimsSpec {
            hash: claims.hash.clone(),
            buckets: i32::try_from(claims.buckets).unwrap_or(i32::MAX),
            version: i64::try_from(claims.version).unwrap_or(i64::MAX),
            rows: rows.collect(),
            unknown: claims.unknown.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ownership::Layout;

    fn claims() -> Claims {
        let session = SessionId {
            node: "node-a".into(),
            boot: [1; 16],
            id: [2; 16],
        };
        let dated = Row {
            since: Some("2026-01-02T03:04:05Z".parse().unwrap()),
            unknown: json!({ "weight": 3 }).as_object().unwrap().clone(),
            ..Row::of(session)
        };
        let mut claims = Claims::empty(2, Layout::default());
        claims.uid = "u".into();
        claims.resource_version = "7".into();
        claims.rows.insert(RowKey::Bucket(34), dated.clone());
        let vip = RowKey::Address("192.0.2.101".parse().unwrap());
        claims.rows.insert(vip, dated);
        claims.unknown = json!({ "epoch": 9 }).as_object().unwrap().clone();
        claims
    }

    #[test]
    fn an_object_reads_back_as_it_is_written_with_the_fields_of_another_version() {
        let object = write(&claims(), "xvip-system", Timestamp::UNIX_EPOCH);
        let text = serde_json::to_string(&object).unwrap();
        let object = serde_json::from_str(&text).unwrap();
        assert_eq!(read(&object), Some(claims()));
    }

    #[test]
    fn a_row_that_is_gained_is_dated() {
        let mut claims = claims();
        for row in claims.rows.values_mut() {
            row.since = None;
        }
        let now = "2026-02-03T04:05:06Z".parse().unwrap();
        let object = write(&claims, "xvip-system", now);
        assert!(object.spec.rows.iter().all(|row| row.since == Some(now)));
    }

    #[test]
    fn a_row_that_nobody_can_read_is_free() {
        let mut object = write(&claims(), "xvip-system", Timestamp::UNIX_EPOCH);
        object.spec.rows[0].session = "mine".into();
        object.spec.rows[1].bucket = Some(1);
        object.spec.rows[1].address = Some("192.0.2.101".into());
        assert!(read(&object).unwrap().rows.is_empty());
    }
}
