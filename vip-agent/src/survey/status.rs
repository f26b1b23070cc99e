//! Who answers for what, in the whole cluster.

use std::{collections::BTreeMap, net::IpAddr};

use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Survey;
use crate::{
    ownership::{Readiness, RowKey},
    status::{age, whole_second},
};

/// All nodes and all VIPs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xvip status of the cluster")]
pub struct ClusterStatus {
    /// Nodes that have a Lease of xvip.
    pub nodes: Vec<NodeStatus>,
    /// VIPs that are assigned.
    pub vips: Vec<ClusterVip>,
}

/// A node, by its Lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub node: String,
    /// Whether it has a session, and renews it.
    pub session: Life,
    /// When the Lease was renewed last, by the node's clock.
    pub renewed: Option<Timestamp>,
    /// How gladly it takes VIPs: `ready`, `last choice`, `never`.
    pub readiness: String,
    /// Interfaces and the prefixes that they reach.
    pub interfaces: Vec<String>,
    /// Rows of `VipClaims` that name it.
    pub rows: usize,
    /// VIPs that it says it answers for.
    pub vips: usize,
}

/// What a Lease says of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// There is none.
    None,
    /// It is renewed.
    Live,
    /// It was not renewed for its duration.
    Silent,
}

impl Life {
    const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Live => "live",
            Self::Silent => "silent",
        }
    }
}

/// A VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterVip {
    /// The address.
    pub address: IpAddr,
    /// The node that says it answers.
    pub node: Option<String>,
    /// Its interface there.
    pub interface: Option<String>,
    /// What the node does with questions for it.
    pub state: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// The node that the deciding row names.
    pub row: Option<String>,
    /// The Services that have it, as `namespace/name`; `the API server` for one of its own.
    pub services: Vec<String>,
    /// What is not as it should be.
    pub note: Option<String>,
}

impl Survey {
    /// The document, `now` judging Leases.
    pub fn status(&self, now: Timestamp) -> ClusterStatus {
        let mut vips: Vec<ClusterVip> = self
            .vips
            .iter()
            .filter_map(|vip| self.one(vip, now))
            .collect();
        vips.sort_by_key(|vip| vip.address);
        let mut rows = BTreeMap::<&str, usize>::new();
        for row in self.claims.values().flat_map(|claims| claims.rows.values()) {
            *rows.entry(row.session.node.as_str()).or_default() += 1;
        }
        let nodes = self.leases.iter().map(|renewed| {
            let lease = &renewed.lease;
            let node = lease.node.as_str();
            let said = |vip: &&ClusterVip| vip.node.as_deref() == Some(node);
            NodeStatus {
                node: node.to_owned(),
                session: renewed.life(now),
                renewed: renewed.at.map(whole_second),
                readiness: match lease.serves.readiness {
                    Readiness::Ready => "ready",
                    Readiness::LastChoice => "last choice",
                    Readiness::Never => "never",
                }
                .to_owned(),
                interfaces: lease
                    .serves
                    .interfaces
                    .iter()
                    .map(|it| it.to_string())
                    .collect(),
                rows: rows.get(node).copied().unwrap_or_default(),
                vips: vips.iter().filter(said).count(),
            }
        });
        let nodes = nodes.collect();
        ClusterStatus { nodes, vips }
    }

    fn one(&self, vip: &crate::api::Vip, now: Timestamp) -> Option<ClusterVip> {
        let address: IpAddr = vip.spec.address.parse().ok()?;
        let status = vip.status.clone().unwrap_or_default();
        let row = self.row(address);
        let services = match vip.spec.control_plane {
            true => vec!["the API server".to_owned()],
            false => (vip.spec.services.iter())
                .map(|it| format!("{}/{}", it.namespace, it.name))
                .collect(),
        };
        let owner = row.map(|(_, row)| row.session.node.to_string());
        let note = match (row, &status.node) {
            // The Lease of the control plane is row and session in one.
            _ if vip.spec.control_plane => None,
            (None, _) => Some("nobody has claimed it".to_owned()),
            (Some((key, row)), _) if !self.lives(&row.session, now) => Some(format!(
                "{} names a session of {} that is silent or gone",
                words(key),
                row.session.node
            )),
            (Some((_, row)), None) => {
                Some(format!("{} has not said that it answers", row.session.node))
            }
            (Some((key, row)), Some(node)) if row.session.node.as_str() != node => {
                Some(format!("{} names {} now", words(key), row.session.node))
            }
            _ => match status.state.as_deref() {
                Some("answering") => None,
                Some(state) => Some(format!("{state}: ask `vip-agent explain {address}` there")),
                None => Some("its state is not told".to_owned()),
            },
        };
        Some(ClusterVip {
            address,
            node: status.node,
            interface: status.interface,
            state: status.state,
            since: status.since.map(whole_second),
            row: owner,
            services,
            note,
        })
    }
}

fn words(key: RowKey) -> &'static str {
    match key {
        RowKey::Bucket(_) => "its bucket",
        RowKey::Address(_) => "its row",
    }
}

impl ClusterStatus {
    /// Two tables, `now` giving ages.
    pub fn table(&self, now: Timestamp) -> String {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let since = |time: Option<Timestamp>| time.map_or("-".to_owned(), |time| age(time, now));
        let mut nodes = table([
            "NODE",
            "SESSION",
            "RENEWED",
            "READY",
            "VIPS",
            "ROWS",
            "INTERFACES",
        ]);
        for node in &self.nodes {
            nodes.add_row([
                node.node.clone(),
                node.session.label().to_owned(),
                since(node.renewed),
                node.readiness.clone(),
                node.vips.to_string(),
                node.rows.to_string(),
                node.interfaces.join(", "),
            ]);
        }
        let mut vips = table([
            "VIP",
            "NODE",
            "INTERFACE",
            "STATE",
            "AGE",
            "SERVICE",
            "NOTE",
        ]);
        for vip in &self.vips {
            vips.add_row([
                vip.address.to_string(),
                or_dash(&vip.node),
                or_dash(&vip.interface),
                or_dash(&vip.state),
                since(vip.since),
                vip.services.join(", "),
                or_dash(&vip.note),
            ]);
        }
        // comfy-table fills the last column with blanks too.
        let lines = format!("{nodes}\n\n{vips}\n");
        let lines = lines.lines().map(str::trim_end);
        lines.fold(String::new(), |text, line| text + line + "\n")
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    table
}
