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

/// Two nodes that hear each other and answer for the same VIP.
#[derive(Debug, Default)]
pub(super) struct Observer {
    tolerated: BTreeMap<(IpAddr, usize, usize), Tolerance>,
}

/// How long they may.
#[derive(Clone, Copy, Debug)]
struct Tolerance {
    until: u64,
    /// A probe of a running agent is to end it.
    by_probe: bool,
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
                    let runs = [*first, *second].map(|node| self.nodes[node].is_running());
                    let tolerance = self.tolerance(known, runs == [true; 2]);
                    let until = tolerance.until;
                    tolerated.insert(key, tolerance);
                    if known.is_none_or(|known| known.until != until) {
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

    /// How long two nodes may both answer that began to do so as `known`, or begin now: because the
    /// LAN healed, or because one of them went live.
    fn tolerance(&self, known: Option<Tolerance>, both_run: bool) -> Tolerance {
        let (until, by_probe) = match known {
            // It stops before it probes.
            Some(known) if known.by_probe && !both_run => (self.at + DEADLINE + SECOND, false),
            Some(known) => return known,
            None if self.at != self.lan_changed => (self.at + YIELD, false),
            None if both_run => (self.at + PROBE, true),
            None => (self.at + DEADLINE + SECOND, false),
        };
        Tolerance { until, by_probe }
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
