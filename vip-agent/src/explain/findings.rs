//! Where the layers contradict each other, and the conclusion.

use super::{Entry, Explanation, Finding, RowKind, Standing};
use crate::{ownership::Stage, status::VipState};

/// What the conclusion needs beside the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// Addresses are bound (`bind: interface`).
    pub binds: bool,
    /// The agents of the cluster decide.
    pub kubernetes: bool,
    /// All objects of the cluster have been listed once; always with static ownership.
    pub complete: bool,
    /// How far the lease machine is with the VIP.
    pub stage: Stage,
    /// A write of this process proved the row.
    pub proven: bool,
    /// Nobody on the LAN replies.
    pub deaf: bool,
    /// The process was asked to end.
    pub leaving: bool,
    /// What is wrong with the programs of the VIP's interface.
    pub unguarded: Option<String>,
}

impl Explanation {
    /// Judges what was gathered: whether the kernel answers, what contradicts what, and the
    /// reason in one sentence.
    pub fn conclude(mut self, of: &Circumstances) -> Self {
        self.answers = self.entries.iter().any(|entry| entry.standing.answers());
        self.findings = self.found(of);
        self.summary = self.summed_up();
        self
    }

    fn is_ours(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.here)
    }

    fn found(&self, of: &Circumstances) -> Vec<Finding> {
        let mut found = Found(Vec::new());
        if self.vip.is_none() {
            self.unknown(of, &mut found);
            return found.0;
        }
        self.about_row(of, &mut found);
        if self.is_ours() {
            self.about_holding(of, &mut found);
        } else {
            self.about_leftovers(&mut found);
        }
        self.about_place(of, &mut found);
        self.about_publication(&mut found);
        found.0
    }

    fn unknown(&self, of: &Circumstances, found: &mut Found) {
        let (address, node) = (self.address, &self.node);
        if !of.complete {
            found.add(
                format!("{node} has not seen the cluster's objects yet"),
                "wait, or see the log for what the API server refuses: `kubectl auth can-i list vips.xvip.io --as system:serviceaccount:xvip-system:xvip-agent`",
            );
        } else if of.kubernetes {
            found.add(
                format!("there is no Vip of {address}: no Service has it"),
                "`kubectl get vips` lists those that there are; `kubectl describe service` tells why a Service has no address",
            );
        } else {
            found.add(
                format!("{address} is not listed"),
                "list it under `vips` of the configuration, and send SIGHUP",
            );
        }
        if self.answers {
            found.add(
                format!("the kernel answers for {address} all the same"),
                "it ends with the next reconciliation; if it stays, restart the agent",
            );
        }
        for bound in self.bound.iter().filter(|bound| !bound.ours) {
            let interface = &bound.interface;
            found.add(
                format!("somebody else has bound it to {interface}, and the kernel answers for it"),
                format!(
                    "if nobody needs it: `ip address del {address}/{} dev {interface}`",
                    bound.prefix
                ),
            );
        }
    }

    /// Whether anybody is to answer.
    fn about_row(&self, of: &Circumstances, found: &mut Found) {
        let eligible = self.candidates.iter().filter(|it| it.eligible).count();
        let fix = "each line of the candidates says what keeps its node away";
        let of_cluster = |kind| matches!(kind, RowKind::Bucket | RowKind::Address);
        match &self.row {
            None if of.kubernetes => found.add(
                "the row that decides has not been read",
                "wait a second; if it stays, `kubectl get vipclaims -A` and the log say more",
            ),
            Some(row) if row.node.is_none() => found.add(
                format!("nobody has claimed {}", row.name),
                "a free row is claimed within a lease's duration by a node that is ready; see the candidates",
            ),
            Some(row) if of_cluster(row.kind) && !row.lives && !row.here => found.add(
                format!("the session that {} names is dead", row.name),
                match eligible {
                    0 => "nobody takes it over: no candidate is eligible",
                    _ => "another node takes it over within a lease's duration; if it stays, see its agent's log",
                },
            ),
            _ => {}
        }
        if of.kubernetes && eligible == 0 && !self.candidates.is_empty() && !self.answers {
            found.add("no node is eligible", fix);
        }
    }

    /// The row is ours: what keeps the kernel from answering.
    fn about_holding(&self, of: &Circumstances, found: &mut Found) {
        let Some(vip) = &self.vip else { return };
        let interface = vip.interface.as_deref();
        let home = self
            .entries
            .iter()
            .find(|entry| entry.interface.as_deref() == interface);
        if let Some(reason) = &vip.reason {
            found.add(
                format!("{}: {reason}", vip.state.label()),
                "`vip-agent doctor` on this node says what keeps it from serving, and the fix",
            );
        }
        match (home.filter(|_| interface.is_some()), of.stage) {
            (None, _) if vip.reason.is_none() => found.add(
                "held, and not programmed: the maps have no entry for its interface",
                "wait for the next reconciliation; if it stays, see xvip_reconcile_errors_total and the log",
            ),
            (Some(entry), stage) => self.about_entry(entry, stage, of, found),
            (None, _) => {}
        }
        if self.answers && of.binds && !self.is_bound_on(interface) {
            found.add(
                "answered, and not bound: packets for it are dropped or forwarded",
                "somebody removed the address; it is bound again with the next reconciliation, and xvip_flaps_total counts how often",
            );
        }
        if of.deaf {
            found.add(
                "neither gateway nor peers reply on the LAN: what is held is handed over",
                "check the cable, the switch port and the VLAN of this node",
            );
        }
        if of.leaving {
            found.add(
                "the agent was asked to end, and hands over what it holds",
                "nothing, if that was meant",
            );
        }
    }

    fn about_entry(&self, entry: &Entry, stage: Stage, of: &Circumstances, found: &mut Found) {
        match entry.standing {
            Standing::Answered => {}
            Standing::Unconfirmed => found.add(
                "unconfirmed: the session was not renewed in time, and the VIP is yielded to the first that claims it",
                "the API server does not take renewals from this node: see its log and the node's way to it",
            ),
            Standing::Passed => found.add(
                "silent: the deadline of the session has passed",
                "the agent hung, or did not run: see its log; it claims the VIP anew by itself",
            ),
            Standing::Yielded => self.found_rival(found),
            Standing::Outdated => found.add(
                "silent: the entry names the session before the present one",
                "it goes live with the next reconciliation; if it stays, see xvip_reconcile_errors_total",
            ),
            Standing::Fenced => match stage {
                Stage::Suspended => self.found_rival(found),
                Stage::Asking => found.add(
                    "silent: none of our nodes has answered for it yet, and another load balancer may: asked for on the LAN",
                    "it is adopted by the node that answers now, or goes live when nobody answers; end the other load balancer",
                ),
                Stage::Claiming => found.add(
                    "being claimed on the LAN, live in a moment",
                    "nothing",
                ),
                _ if of.kubernetes && !of.proven => found.add(
                    "the row names this session, and no write of this process has proved it",
                    "it is written as soon as the API server takes a write of this agent; see its log",
                ),
                _ => found.add(
                    "held, and fenced",
                    "it goes live with the next reconciliation; if it stays, `vip-agent doctor` and the log say more",
                ),
            },
        }
    }

    fn found_rival(&self, found: &mut Found) {
        let rival = self.events.iter().find(|event| event.reason == "Yielded");
        let by = rival.map_or_else(String::new, |event| format!(" ({})", event.message));
        found.add(
            format!("silent: yielded to a rival while the session was unconfirmed{by}"),
            "it is claimed anew with the next renewal, or when three probes stay unanswered; find the rival by its MAC address",
        );
    }

    /// The row is another's: nothing here may answer.
    fn about_leftovers(&self, found: &mut Found) {
        for entry in self.entries.iter().filter(|entry| entry.standing.answers()) {
            let interface = entry.interface.as_deref().unwrap_or("-");
            found.add(
                format!("the kernel answers on {interface}, and this node does not own it"),
                "two nodes may answer: restart the agent of this node, and report it",
            );
        }
        for bound in self.bound.iter().filter(|bound| !bound.ours) {
            let (address, interface) = (self.address, &bound.interface);
            found.add(
                format!("somebody else has bound it to {interface}; it is silent there, and still a source of packets of this node"),
                format!("`ip address del {address}/{} dev {interface}`", bound.prefix),
            );
        }
    }

    /// Where it lives.
    fn about_place(&self, of: &Circumstances, found: &mut Found) {
        if let Some(error) = &of.unguarded {
            found.add(
                format!("its interface is not guarded: {error}"),
                "`vip-agent doctor` says which programs run there, and what to do",
            );
        }
        if let Some(vip) = &self.vip
            && vip.state == VipState::Conflict
        {
            let latest = self.events.iter().find(|event| event.reason == "Conflict");
            let by = latest.map_or("another host claims it", |event| event.message.as_str());
            found.add(
                format!("conflict: {by}"),
                "find the host by its MAC address in the switch's table, and take the address from it",
            );
        }
    }

    fn about_publication(&self, found: &mut Found) {
        let published = self
            .assignment
            .as_ref()
            .and_then(|it| it.published.as_ref());
        let owner = self.row.as_ref().and_then(|row| row.node.as_ref());
        if let (Some(published), Some(owner)) = (published, owner)
            && published != owner
        {
            found.add(
                format!("the status of the Vip names {published}, the row names {owner}"),
                "the new owner writes it once it answers; if it stays, see its agent's log",
            );
        }
    }

    fn is_bound_on(&self, interface: Option<&str>) -> bool {
        let mut bound = self.bound.iter();
        bound.any(|bound| Some(bound.interface.as_str()) == interface)
    }

    fn summed_up(&self) -> String {
        let (node, address) = (&self.node, self.address);
        let answering = self.entries.iter().find(|entry| entry.standing.answers());
        let Some(row) = &self.row else {
            return match self.vip {
                None => format!("{node} does not know {address}"),
                Some(_) => format!("{node} does not know yet who answers for {address}"),
            };
        };
        let Some(owner) = &row.node else {
            return format!("nobody answers for {address}: {} is free", row.name);
        };
        let name = &row.name;
        match (answering, row.here) {
            (Some(entry), true) => {
                let interface = entry.interface.as_deref().unwrap_or("-");
                format!("{node} answers for {address} on {interface}: {name} names it")
            }
            (None, true) => {
                let first = self.findings.first();
                let why = first.map_or("see the log", |finding| finding.message.as_str());
                format!("{node} ought to answer for {address} by {name}, and does not: {why}")
            }
            (None, false) if owner == node => {
                format!(
                    "{node} does not answer for {address}: {name} names an earlier session of it"
                )
            }
            (None, false) => {
                format!("{owner} answers for {address}, not {node}: {name} names it")
            }
            (Some(_), false) => {
                format!("{node} answers for {address}, which {name} gives to {owner}")
            }
        }
    }
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, message: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding::new(message, fix));
    }
}
