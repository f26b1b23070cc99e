//! The observer: who answers for what, after every event.

use std::{collections::BTreeMap, net::IpAddr};

use thiserror::Error;

use super::world::{Happening, MILLISECOND, SECOND, World};

/// What must not be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Two nodes answer.
    #[error("at {at} ns nodes {first} and {second} both answer for {vip} ({how})")]
    TwoAnswer {
        /// True time.
        at: u64,
        /// A node.
        first: usize,
        /// Another.
        second: usize,
        /// The VIP.
        vip: IpAddr,
        /// Confirmed or not.
        how: &'static str,
    },
    /// A process that was asked to go is still there.
    #[error("at {at} ns the process of node {node} is still there, H after it was asked to go")]
    NotGone {
        /// True time.
        at: u64,
        /// The node.
        node: usize,
    },
    /// Long after everything healed a VIP is not answered by one node.
    #[error("{answers} nodes answer for {vip} long after everything healed")]
    NotHealed {
        /// The VIP.
        vip: IpAddr,
        /// How many answer.
        answers: usize,
    },
}

/// A rival's claim takes that long to be heard.
const YIELD: u64 = 10 * MILLISECOND;
/// After the LAN healed, an unconfirmed node probes once a second.
const PROBE: u64 = 1200 * MILLISECOND;
/// Its kernel alone stops it where its agent does not run.
const DEADLINE: u64 = 4100 * MILLISECOND;

/// Since when two nodes that hear each other answer for the same VIP, and until when they may.
#[derive(Debug, Default)]
pub(super) struct Observer {
    tolerated: BTreeMap<(IpAddr, usize, usize), u64>,
}

impl World {
    pub(super) fn observe(&mut self) -> Result<(), Violation> {
        let at = self.at;
        if let Some(node) = self.stays {
            return Err(Violation::NotGone { at, node });
        }
        if !std::mem::take(&mut self.stirred) && self.observer.tolerated.is_empty() {
            return Ok(());
        }
        let (mut tolerated, mut looks) = (BTreeMap::new(), Vec::new());
        for vip in self.all_vips {
            let answers: Vec<_> = (0..self.nodes.len())
                .filter_map(|node| Some((node, self.nodes[node].answers(vip, at)?)))
                .collect();
            if answers.iter().any(|(_, confirmed)| !confirmed) {
                self.register.tally.unconfirmed += 1;
            }
            for (place, (first, one)) in answers.iter().enumerate() {
                for (second, other) in &answers[place + 1..] {
                    let key = (vip, *first, *second);
                    let violation = |how| Violation::TwoAnswer {
                        at,
                        first: *first,
                        second: *second,
                        vip,
                        how,
                    };
                    if at < self.edited_until {
                        continue;
                    }
                    if *one && *other {
                        return Err(violation("both confirmed"));
                    }
                    if self.nodes[*first].segment != self.nodes[*second].segment {
                        continue;
                    }
                    let known = self.observer.tolerated.get(&key).copied();
                    let until = known.unwrap_or_else(|| self.tolerated_until(*first, *second));
                    tolerated.insert(key, until);
                    if known.is_none() {
                        looks.push(until + 1 - at);
                    }
                    if at > until {
                        return Err(violation("one unconfirmed"));
                    }
                }
            }
        }
        self.observer.tolerated = tolerated;
        for look in looks {
            self.happens_in(look, Happening::Look);
        }
        Ok(())
    }

    /// Until when two nodes may both answer that begin to do so now: because the LAN healed, or
    /// because one of them went live.
    fn tolerated_until(&self, first: usize, second: usize) -> u64 {
        let runs = |node: usize| self.nodes[node].is_running();
        match runs(first) && runs(second) {
            _ if self.at != self.lan_changed => self.at + YIELD,
            true => self.at + PROBE,
            false => self.at + DEADLINE + SECOND,
        }
    }

    /// Every VIP is answered by exactly one node.
    pub(super) fn is_healthy(&self) -> Result<(), Violation> {
        for vip in self.vips.keys() {
            let answers = self
                .nodes
                .iter()
                .filter(|node| node.answers(*vip, self.at) == Some(true));
            let answers = answers.count();
            if answers != 1 {
                return Err(Violation::NotHealed { vip: *vip, answers });
            }
        }
        Ok(())
    }
}
