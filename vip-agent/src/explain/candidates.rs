//! Who could answer, and why not the others (`ownership.md`, rules 5 to 9).

use std::collections::{BTreeMap, BTreeSet};

use super::Candidate;
use crate::{
    cluster::Node,
    ownership::{Account, BootTime, NodeName, PeerAccount, Readiness},
};

/// All nodes of the cluster and all Leases, judged for one address. `wanted`: the nodes that
/// endpoints and selectors leave; none or empty: any.
pub fn candidates<'a>(
    account: &Account,
    nodes: impl Iterator<Item = &'a Node>,
    wanted: Option<&BTreeSet<NodeName>>,
    now: BootTime,
) -> Vec<Candidate> {
    let wanted = wanted.filter(|nodes| !nodes.is_empty());
    let nodes: BTreeMap<&NodeName, &Node> = nodes.map(|node| (&node.name, node)).collect();
    let peers: BTreeMap<&NodeName, &PeerAccount> = (account.peers.iter())
        .map(|peer| (&peer.node, peer))
        .collect();
    let names: BTreeSet<&NodeName> = nodes.keys().chain(peers.keys()).copied().collect();
    let any_ready = peers
        .values()
        .any(|peer| peer.lives(now) && peer.readiness == Readiness::Ready);
    let judged = names.into_iter().map(|name| {
        let (node, peer) = (nodes.get(name).copied(), peers.get(name).copied());
        let is_wanted = wanted.is_none_or(|wanted| wanted.contains(name));
        let (eligible, why) = judge(node, peer, is_wanted, any_ready, now);
        Candidate {
            node: name.to_string(),
            eligible,
            why,
            session: peer.and_then(|peer| Some(peer.session.as_ref()?.to_string())),
            silent_in_ms: peer
                .and_then(|peer| peer.silent_at)
                .map(|at| milliseconds(at, now)),
            interfaces: peer
                .into_iter()
                .flat_map(|peer| peer.interfaces.iter().map(|it| it.to_string()))
                .collect(),
        }
    });
    judged.collect()
}

/// From one time to another.
fn milliseconds(at: BootTime, now: BootTime) -> i64 {
    // Boot times are far below 2^63 nanoseconds.
    (at.0 as i64 - now.0 as i64) / 1_000_000
}

fn judge(
    node: Option<&Node>,
    peer: Option<&PeerAccount>,
    is_wanted: bool,
    any_ready: bool,
    now: BootTime,
) -> (bool, String) {
    let no = |why: &str| (false, why.to_owned());
    if node.is_some_and(Node::is_excluded) {
        return no(
            "excluded: it has the label node.kubernetes.io/exclude-from-external-load-balancers",
        );
    }
    let Some(peer) = peer else {
        return no("no Lease: no agent runs there, or it has not opened a session yet");
    };
    if peer.session.is_none() {
        return no(
            "no session: enough others hold one (`lease.maxAnnouncers`), or it gave its own back",
        );
    }
    if !peer.lives(now) {
        return no("silent: its Lease has not been renewed for its duration");
    }
    if peer.readiness == Readiness::Never {
        return no("it cannot serve: excluded, leaving, deaf, or without a working interface");
    }
    if !is_wanted {
        return no(
            "not wanted: the pool's nodeSelector leaves it out, or a Service with \
             externalTrafficPolicy: Local has no endpoint there",
        );
    }
    match (peer.readiness, node) {
        (Readiness::Ready, _) => (true, "ready".to_owned()),
        (_, None) => last_choice("there is no Node of its name", any_ready),
        (_, Some(node)) if node.is_cordoned => last_choice("cordoned", any_ready),
        (_, Some(node)) if !node.is_ready => last_choice("NotReady", any_ready),
        _ => last_choice("its kube-proxy fails", any_ready),
    }
}

fn last_choice(why: &str, any_ready: bool) -> (bool, String) {
    let end = match any_ready {
        true => "others are ready",
        false => "and no other is ready",
    };
    (!any_ready, format!("last choice: {why}; {end}"))
}
