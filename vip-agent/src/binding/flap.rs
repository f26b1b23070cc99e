//! How often an address that somebody else removes is bound again.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use super::{AddressChange, BindingPlan, Place, Refusal};

/// Limits how often an address comes back that NetworkManager, networkd, a human or a link that
/// went down took away: two programs that undo each other's work would fill the LAN with
/// announcements.
#[derive(Debug)]
pub struct FlapLimit {
    most: usize,
    window: Duration,
    bound: HashMap<Place, VecDeque<Duration>>,
}

/// What [`FlapLimit::admit`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flaps {
    /// Addresses that were bound before, had vanished, and come back now.
    pub restored: Vec<Place>,
    /// Addresses that were moved to [`BindingPlan::refused`].
    pub held_back: Vec<Place>,
    /// When the first of those may come back: plan again then.
    pub retry_at: Option<Duration>,
}

impl Default for FlapLimit {
    /// Five times a minute and address.
    fn default() -> Self {
        Self::new(5, Duration::from_secs(60))
    }
}

impl FlapLimit {
    /// At most `most` returns of an address within `window`.
    pub fn new(most: usize, window: Duration) -> Self {
        Self {
            most,
            window,
            bound: HashMap::new(),
        }
    }

    /// Takes out of `plan` what came back too often; `now` counts from any fixed instant.
    pub fn admit(&mut self, plan: &mut BindingPlan, now: Duration) -> Flaps {
        let mut flaps = Flaps::default();
        let present = plan.adopted.iter().copied();
        for place in present.chain(plan.replace.iter().map(AddressChange::place)) {
            self.bound.entry(place).or_default();
        }
        let (most, window, bound) = (self.most, self.window, &mut self.bound);
        let refused = &mut plan.refused;
        plan.add.retain(|change| {
            let place = change.place();
            let Some(times) = bound.get_mut(&place) else {
                bound.insert(place, VecDeque::new());
                return true;
            };
            while times.front().is_some_and(|at| *at + window <= now) {
                times.pop_front();
            }
            match times.front().filter(|_| times.len() >= most) {
                Some(oldest) => {
                    let at = *oldest + window;
                    flaps.retry_at = Some(flaps.retry_at.map_or(at, |first| first.min(at)));
                    flaps.held_back.push(place);
                    refused.push((place, Refusal::Flapping));
                    false
                }
                None => {
                    times.push_back(now);
                    flaps.restored.push(place);
                    true
                }
            }
        });
        // A place that is wanted no more starts anew when it is wanted again.
        let wanted: BTreeSet<Place> = (plan.adopted.iter().copied())
            .chain(plan.replace.iter().map(AddressChange::place))
            .chain(plan.add.iter().map(AddressChange::place))
            .chain(plan.refused.iter().map(|(place, _)| *place))
            .collect();
        self.bound.retain(|place, _| wanted.contains(place));
        flaps
    }

    /// An addition failed: it was never bound, so that its next try is no return.
    pub fn failed(&mut self, place: Place) {
        if self.bound.get(&place).is_some_and(VecDeque::is_empty) {
            self.bound.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Operation, *};

    fn plan_adding() -> BindingPlan {
        BindingPlan {
            add: vec![AddressChange {
                operation: Operation::Add,
                ifindex: 2,
                net: "192.0.2.100/32".parse().unwrap(),
                valid_lft: u32::MAX,
            }],
            ..BindingPlan::default()
        }
    }

    #[test]
    fn the_first_binding_is_no_return() {
        let mut plan = plan_adding();
        let flaps = FlapLimit::default().admit(&mut plan, Duration::ZERO);
        assert_eq!(flaps, Flaps::default());
        assert_eq!(plan, plan_adding());
    }

    #[test]
    fn an_address_comes_back_five_times_a_minute_and_then_waits() {
        let mut limit = FlapLimit::default();
        let second = Duration::from_secs;
        limit.admit(&mut plan_adding(), second(0));
        for now in 1..=5 {
            let flaps = limit.admit(&mut plan_adding(), second(now));
            assert_eq!(flaps.restored.len(), 1, "at {now} s");
        }
        let mut plan = plan_adding();
        let flaps = limit.admit(&mut plan, second(6));
        assert!(flaps.restored.is_empty() && plan.add.is_empty());
        assert_eq!(flaps.held_back.len(), 1);
        assert_eq!(flaps.retry_at, Some(second(61)));
        assert_eq!(plan.refused[0].1, Refusal::Flapping);
        let flaps = limit.admit(&mut plan_adding(), second(61));
        assert_eq!(flaps.restored.len(), 1);
    }

    #[test]
    fn an_address_that_was_not_wanted_in_between_starts_anew() {
        let mut limit = FlapLimit::default();
        limit.admit(&mut plan_adding(), Duration::ZERO);
        limit.admit(&mut BindingPlan::default(), Duration::ZERO);
        let flaps = limit.admit(&mut plan_adding(), Duration::ZERO);
        assert!(flaps.restored.is_empty());
    }

    #[test]
    fn a_failed_addition_is_no_return_when_tried_again() {
        let mut limit = FlapLimit::default();
        let mut plan = plan_adding();
        limit.admit(&mut plan, Duration::ZERO);
        limit.failed(plan.add[0].place());
        let flaps = limit.admit(&mut plan_adding(), Duration::ZERO);
        assert!(flaps.restored.is_empty());
    }
}
