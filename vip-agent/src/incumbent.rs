//! VIPs that another load balancer answers for, while xvip takes its place.
//!
//! ```text
//!   none of our nodes has answered for it     spared: in no entry of ours, the other answers on
//!        | bound here by the other: told, so that the row comes here
//!        | the right is granted
//!        v
//!   ours, live by the same MAC address        the row stays here, so that the other can end
//!        | KEPT has passed
//!        v
//!   a VIP like any other
//! ```

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::desired::Placement;

/// How long a VIP stays where it was adopted: until the load balancer that it is taken from has
/// ended on all nodes.
const KEPT: Duration = Duration::from_secs(60);
/// VIPs that are told at once. They stand in an annotation of the node's Lease; the next ones follow
/// as these become like any other.
const TOLD: usize = 1_000;

/// The VIPs.
#[derive(Debug, Default)]
pub struct Incumbents {
    /// Those that stand here as another bound them, and since when they are ours.
    adopted_at: BTreeMap<IpAddr, Option<Duration>>,
    /// Those that are in no entry of ours yet.
    spared: BTreeSet<IpAddr>,
}

impl Incumbents {
    /// Takes in for which VIPs none of ours has answered, which VIPs stand here as another bound
    /// them, and which are held by now.
    pub fn observe(
        &mut self,
        unsettled: &BTreeSet<IpAddr>,
        found: &BTreeSet<IpAddr>,
        is_held: impl Fn(IpAddr) -> bool,
        now: Duration,
    ) {
        for vip in found {
            self.adopted_at.entry(*vip).or_default();
        }
        self.adopted_at.retain(|vip, adopted_at| {
            if adopted_at.is_none() && is_held(*vip) {
                *adopted_at = Some(now);
            }
            match adopted_at {
                None => found.contains(vip),
                Some(since) => is_held(*vip) && now < *since + KEPT,
            }
        });
        let spared = unsettled.union(found).filter(|vip| !is_held(**vip));
        self.spared = spared.copied().collect();
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.adopted_at.is_empty() && self.spared.is_empty()
    }

    /// Another load balancer may answer for it, and it is not ours yet.
    pub fn is_spared(&self, vip: IpAddr) -> bool {
        self.spared.contains(&vip)
    }

    /// Those for which another load balancer may answer.
    pub fn spared(&self) -> impl Iterator<Item = IpAddr> {
        self.spared.iter().copied()
    }

    /// It stands here as another load balancer bound it, and is not ours yet.
    pub fn is_bound_here(&self, vip: IpAddr) -> bool {
        self.adopted_at.get(&vip) == Some(&None)
    }

    /// What is to be programmed: all but what is spared.
    pub fn without_spared<'a>(&self, placed: &'a [Placement]) -> Cow<'a, [Placement]> {
        if self.spared.is_empty() {
            return placed.into();
        }
        let ours = placed.iter().filter(|placed| !self.is_spared(placed.vip));
        ours.cloned().collect()
    }

    /// What the other nodes are to know.
    pub fn told(&self) -> BTreeSet<IpAddr> {
        self.adopted_at.keys().take(TOLD).copied().collect()
    }

    /// When the next of them is a VIP like any other.
    pub fn next_deadline(&self) -> Option<Duration> {
        let adopted = self.adopted_at.values().flatten();
        adopted.map(|since| *since + KEPT).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn vips(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn what_another_bound_is_spared_until_it_is_held_and_told_for_a_minute_after_that() {
        let found = vips(&["192.0.2.1", "2001:db8::1"]);
        let (first, second) = (*found.first().unwrap(), *found.last().unwrap());
        let mut incumbents = Incumbents::default();
        incumbents.observe(&found, &found, |_| false, NOW);
        assert!(incumbents.is_spared(first) && incumbents.is_bound_here(second));
        assert_eq!(incumbents.next_deadline(), None);

        let left = vips(&["2001:db8::1"]);
        incumbents.observe(&left, &left, |vip| vip == first, NOW);
        assert!(!incumbents.is_spared(first) && incumbents.is_spared(second));
        assert_eq!(incumbents.told(), found);
        let end = incumbents.next_deadline().unwrap();
        assert_eq!(end, NOW + KEPT);

        let none = BTreeSet::new();
        let before = end - Duration::from_secs(1);
        incumbents.observe(&none, &none, |vip| vip == first, before);
        assert_eq!(incumbents.told(), [first].into(), "the other was unbound");
        incumbents.observe(&none, &none, |vip| vip == first, end);
        assert!(incumbents.is_empty());
    }

    #[test]
    fn what_was_adopted_and_lost_is_a_vip_like_any_other() {
        let found = vips(&["192.0.2.1"]);
        let mut incumbents = Incumbents::default();
        incumbents.observe(&found, &found, |_| true, NOW);
        incumbents.observe(&BTreeSet::new(), &BTreeSet::new(), |_| false, NOW);
        assert!(incumbents.is_empty());
    }

    #[test]
    fn what_is_answered_elsewhere_is_spared_and_not_told() {
        let unsettled = vips(&["192.0.2.1"]);
        let mut incumbents = Incumbents::default();
        incumbents.observe(&unsettled, &BTreeSet::new(), |_| false, NOW);
        let vip = *unsettled.first().unwrap();
        assert!(incumbents.is_spared(vip) && !incumbents.is_bound_here(vip));
        assert_eq!(incumbents.told(), BTreeSet::new());
    }
}
