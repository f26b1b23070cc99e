//! Why a VIP is answered where it is, as far as objects tell.

use std::{fmt::Write, net::IpAddr};

use comfy_table::{Table, presets::NOTHING};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Survey, boot_time};
use crate::{
    cluster,
    explain::{self, Assignment, Candidate, Finding, Row, candidate_table},
    status::age,
};

/// Which node is to answer for a VIP, who else could, and what contradicts that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "xvip explain by the cluster's objects")]
pub struct ClusterExplanation {
    /// The VIP.
    pub address: IpAddr,
    /// The reason in one sentence.
    pub summary: String,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// The `Vip` object.
    pub assignment: Option<Assignment>,
    /// The row that decides.
    pub row: Option<Row>,
    /// The nodes that could answer.
    pub candidates: Vec<Candidate>,
    /// The command that asks the node itself what its kernel does.
    pub ask: Option<String>,
}

impl Survey {
    /// The document of one VIP, `now` judging Leases.
    pub fn explain(&self, address: IpAddr, now: Timestamp) -> ClusterExplanation {
        let account = self.account(address, now);
        let vip = self.cluster.vip(address);
        let served = cluster::served(&self.cluster);
        let wanted = served.get(&address).and_then(|it| it.candidates.as_ref());
        let nodes = self.cluster.all_nodes();
        let candidates = explain::candidates(&account, nodes, wanted, boot_time(now));
        let row = account.version.map(|_| Row::of(&account));
        let status = self.status(now);
        let told = status.vips.into_iter().find(|vip| vip.address == address);
        let mut findings = Vec::new();
        if let Some(note) = told.and_then(|told| told.note) {
            let fix = "it passes by itself within a lease's duration; if it stays, ask the node";
            findings.push(Finding::new(note, fix));
        }
        if vip.is_some() && !candidates.iter().any(|it| it.eligible) {
            let fix = "each line of the candidates says what keeps its node away";
            findings.push(Finding::new("no node is eligible", fix));
        }
        if vip.is_none() {
            let fix = "`kubectl get vips` lists those that there are; `kubectl describe service` tells why a Service has no address";
            let message = format!("there is no Vip of {address}: no Service has it");
            findings.push(Finding::new(message, fix));
        }
        let owner = row.as_ref().and_then(|row| row.node.clone());
        let summary = match (&vip, &owner, &row) {
            (None, ..) => format!("{address} is nobody's"),
            (_, Some(owner), Some(row)) if row.lives => {
                format!("{owner} answers for {address}: {} names it", row.name)
            }
            (_, Some(owner), Some(row)) => {
                format!(
                    "{owner} was to answer for {address} by {}, and is silent",
                    row.name
                )
            }
            (_, None, Some(row)) => format!("nobody answers for {address}: {} is free", row.name),
            (_, _, None) => format!("nobody answers for {address}: there are no VipClaims"),
        };
        let pod = owner.and_then(|owner| self.pods.get(&owner));
        let ask = pod.map(|pod| {
            let namespace = &self.namespace;
            format!("kubectl exec -n {namespace} {pod} -- /vip-agent explain {address}")
        });
        ClusterExplanation {
            address,
            summary,
            findings,
            assignment: vip.map(Assignment::of),
            row: row.filter(|_| vip.is_some_and(|vip| !vip.assignment.control_plane)),
            candidates,
            ask,
        }
    }
}

impl ClusterExplanation {
    /// The document as text, `now` giving ages.
    pub fn table(&self, now: Timestamp) -> String {
        let mut text = format!("{}\n", self.summary);
        for finding in &self.findings {
            // Writing to a String fails never.
            let _ = write!(text, "\n{finding}");
        }
        let mut facts = Table::new();
        facts.load_preset(NOTHING);
        if let Some(assignment) = &self.assignment {
            facts.add_row(["OBJECT", &assignment.to_string()]);
        }
        if let Some(row) = &self.row {
            let since = row.since.map(|since| format!(" for {}", age(since, now)));
            let node = row.node.as_deref().unwrap_or("nobody");
            let words = format!("{} names {node}{}", row.name, since.unwrap_or_default());
            facts.add_row(["ROW", &words]);
        }
        if let Some(ask) = &self.ask {
            facts.add_row(["ASK", ask]);
        }
        let _ = write!(text, "\n{facts}\n");
        if let Some(candidates) = candidate_table(&self.candidates) {
            let _ = write!(text, "\n{candidates}\n");
        }
        let lines = text.lines().map(str::trim_end);
        lines.fold(String::new(), |text, line| text + line + "\n")
    }
}
