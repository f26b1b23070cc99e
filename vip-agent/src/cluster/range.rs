//! Sets of addresses, written as CIDRs and ranges.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

use super::family::Family;

/// Addresses of one family from `first` to `last`, both included, as numbers in host order. IPv4
/// comes before IPv6 in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Range {
    family: Family,
    first: u128,
    last: u128,
}

/// An entry of a pool that is no set of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("{0:?} is neither a CIDR (192.0.2.0/28) nor a range (2001:db8::100-2001:db8::1ff)")]
    Neither(String),
    #[error("{0:?} runs from an address of one family to one of the other")]
    TwoFamilies(String),
    #[error("{first}-{last} is reversed: write {last}-{first}")]
    Reversed { first: IpAddr, last: IpAddr },
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn address(family: Family, number: u128) -> IpAddr {
    match family {
        // Numbers of IPv4 ranges come from `number` and stay below their `last`.
        Family::Ipv4 => Ipv4Addr::from(number as u32).into(),
        Family::Ipv6 => Ipv6Addr::from(number).into(),
    }
}

impl Range {
    /// Reads a CIDR, a range or one address. Bits behind a CIDR's prefix are ignored.
    pub(super) fn parse(text: &str) -> Result<Self, RangeError> {
        let neither = || RangeError::Neither(text.to_owned());
        if let Some((first, last)) = text.split_once('-') {
            let parse = |end: &str| end.trim().parse::<IpAddr>().map_err(|_| neither());
            let (first, last) = (parse(first)?, parse(last)?);
            if Family::of(first) != Family::of(last) {
                return Err(RangeError::TwoFamilies(text.to_owned()));
            }
            if last < first {
                return Err(RangeError::Reversed { first, last });
            }
            return Ok(Self::between(first, last));
        }
        let text = text.trim();
        match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
            (Ok(net), _) => Ok(Self::between(net.network(), net.broadcast())),
            (_, Ok(one)) => Ok(Self::between(one, one)),
            _ => Err(neither()),
        }
    }

    /// Both of one family.
    fn between(first: IpAddr, last: IpAddr) -> Self {
        Self {
            family: Family::of(first),
            first: number(first),
            last: number(last),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }

    fn size(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (
            address(self.family, self.first),
            address(self.family, self.last),
        );
        match first == last {
            true => write!(f, "{first}"),
            false => write!(f, "{first}-{last}"),
        }
    }
}

/// A set of addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses(
    /// Sorted, disjoint, with a gap between any two.
    Vec<Range>,
);

impl FromIterator<Range> for Addresses {
    fn from_iter<T: IntoIterator<Item = Range>>(ranges: T) -> Self {
        let mut sorted: Vec<Range> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<Range> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(before)
                    if before.family == range.family
                        && range.first <= before.last.saturating_add(1) =>
                {
                    before.last = before.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Self(merged)
    }
}

impl Addresses {
    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (family, number) = (Family::of(address), number(address));
        let after = self
            .0
            .partition_point(|range| (range.family, range.first) <= (family, number));
        after
            .checked_sub(1)
            .and_then(|before| self.0.get(before))
            .is_some_and(|range| range.family == family && number <= range.last)
    }

    /// How many they are; 2^128 - 1 for more.
    pub fn count(&self) -> u128 {
        self.0
            .iter()
            .fold(0, |sum, range| range.size().saturating_add(sum))
    }

    /// Whether there is any of a family.
    pub fn has(&self, family: Family) -> bool {
        self.0.iter().any(|range| range.family == family)
    }

    /// Those of one family, in order: possibly more than anybody can walk.
    pub fn of(&self, family: Family) -> impl Iterator<Item = IpAddr> + use<> {
        let ranges: Vec<_> = self
            .0
            .iter()
            .filter(|range| range.family == family)
            .copied()
            .collect();
        ranges
            .into_iter()
            .flat_map(move |range| (range.first..=range.last).map(move |n| address(family, n)))
    }

    /// The addresses that both sets have, as text; none: they have no address in common.
    pub fn overlap(&self, other: &Self) -> Option<String> {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut shared = Vec::new();
        while let (Some(one), Some(two)) = (ours.peek(), theirs.peek()) {
            if one.overlaps(two) {
                let range = Range {
                    family: one.family,
                    first: one.first.max(two.first),
                    last: one.last.min(two.last),
                };
                shared.push(range.to_string());
            }
            match (one.family, one.last) < (two.family, two.last) {
                true => drop(ours.next()),
                false => drop(theirs.next()),
            }
        }
        (!shared.is_empty()).then(|| shared.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(entries: &[&str]) -> Addresses {
        entries
            .iter()
            .map(|entry| Range::parse(entry).unwrap())
            .collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_pool_by_prefix_and_by_range_holds_both_ends() {
        let pool = set(&["192.0.2.0/30", "2001:db8::100-2001:db8::1ff"]);
        for inside in [
            "192.0.2.0",
            "192.0.2.3",
            "2001:db8::100",
            "2001:db8::17f",
            "2001:db8::1ff",
        ] {
            assert!(pool.contains(ip(inside)), "{inside}");
        }
        for outside in [
            "192.0.1.255",
            "192.0.2.4",
            "2001:db8::ff",
            "2001:db8::200",
            "::",
        ] {
            assert!(!pool.contains(ip(outside)), "{outside}");
        }
        assert_eq!(pool.count(), 4 + 256);
        // Not the IPv6 address of the same number.
        assert!(!set(&["192.0.2.1/32"]).contains(ip("::c000:201")));
    }

    #[test]
    fn a_reversed_range_is_refused_with_the_right_order() {
        let error = Range::parse("192.0.2.9-192.0.2.1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "192.0.2.9-192.0.2.1 is reversed: write 192.0.2.1-192.0.2.9"
        );
        // As numbers, not as text.
        assert!(Range::parse("2001:db8::9-2001:db8::10").is_ok());
        assert!(Range::parse("2001:db8::10-2001:db8::9").is_err());
    }

    #[test]
    fn what_is_no_set_of_addresses_is_refused() {
        for text in ["", "pool", "192.0.2.0/33", "192.0.2.1-", "192.0.2.1-2"] {
            let error = Range::parse(text).unwrap_err();
            assert!(matches!(error, RangeError::Neither(_)), "{text}");
        }
        assert!(matches!(
            Range::parse("192.0.2.1-2001:db8::1").unwrap_err(),
            RangeError::TwoFamilies(_)
        ));
    }

    #[test]
    fn addresses_written_twice_count_once() {
        let pool = set(&[
            "192.0.2.0/29",
            "192.0.2.4-192.0.2.11",
            "192.0.2.12",
            "192.0.2.6",
        ]);
        assert_eq!(pool.count(), 13);
        assert_eq!(pool.of(Family::Ipv4).count(), 13);
    }

    #[test]
    fn counts_of_ipv6_do_not_overflow() {
        assert_eq!(set(&["2001:db8::/64"]).count(), 1 << 64);
        assert_eq!(set(&["::/0", "0.0.0.0/0"]).count(), u128::MAX);
        let mut all = set(&["::/0"]).of(Family::Ipv6);
        assert_eq!(all.next(), Some(ip("::")));
    }

    #[test]
    fn an_overlap_names_what_is_in_both() {
        let one = set(&["192.0.2.0/28", "2001:db8::/120"]);
        let two = set(&["192.0.2.8-192.0.2.20", "2001:db8::ff", "198.51.100.0/24"]);
        let shared = "192.0.2.8-192.0.2.15, 2001:db8::ff";
        assert_eq!(one.overlap(&two).as_deref(), Some(shared));
        assert_eq!(two.overlap(&one).as_deref(), Some(shared));
        assert_eq!(
            set(&["192.0.2.0/25"]).overlap(&set(&["192.0.2.128/25"])),
            None
        );
    }
}
