//! Layers of the document, from what knows them.

use std::fmt;

use super::{Assignment, Finding, Row, RowKind};
use crate::{
    cluster::Vip,
    ownership::{Account, RowKey},
    status::whole_second,
};

impl Row {
    /// The row of a claims object that decides, or the free one of the bucket.
    pub fn of(account: &Account) -> Self {
        let object = format!("VipClaims xvip-{}", account.object);
        let bucket = |number| format!("bucket {number} of {object}");
        let Some(row) = &account.row else {
            return Self {
                kind: RowKind::Bucket,
                name: bucket(account.bucket),
                node: None,
                session: None,
                since: None,
                here: false,
                lives: false,
            };
        };
        let (kind, name) = match row.key {
            RowKey::Bucket(number) => (RowKind::Bucket, bucket(number)),
            RowKey::Address(address) => {
                let name = format!("the row of {address} in {object}");
                (RowKind::Address, name)
            }
        };
        Self {
            kind,
            name,
            node: Some(row.session.node.to_string()),
            session: Some(row.session.to_string()),
            since: row.since.map(whole_second),
            here: account.session.as_ref() == Some(&row.session),
            lives: row.lives,
        }
    }
}

impl Assignment {
    /// What a `Vip` says.
    pub fn of(vip: &Vip) -> Self {
        let of = &vip.assignment;
        Self {
            pool: of.pool.clone(),
            services: of.services.iter().map(ToString::to_string).collect(),
            control_plane: of.control_plane,
            published: vip.holder.clone(),
        }
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pool {
            Some(pool) => write!(f, "pool {pool}, of ")?,
            None => f.write_str("no pool, of ")?,
        }
        match self.control_plane {
            true => f.write_str("the API server"),
            false => f.write_str(&self.services.join(", ")),
        }
    }
}

impl Finding {
    /// What was found, and what to do.
    pub fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        let (message, fix) = (message.into(), fix.into());
        Self { message, fix }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "! {}\n  fix: {}", self.message, self.fix)
    }
}
