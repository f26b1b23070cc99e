//! Counts of tests, read from the lines that test runs end with.

use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Tally {
    /// From `test result: ok. 3 passed; 0 failed; 1 ignored; ...`, which cargo prints per binary.
    pub(crate) fn of_cargo(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        Self::of_counts(counts, ';')
    }

    /// From `guest: 3 passed, 0 failed`, which a VM prints last.
    pub(crate) fn of_guest(line: &str) -> Option<Self> {
        Self::of_counts(line.strip_prefix("guest: ")?, ',')
    }

    fn of_counts(text: &str, separator: char) -> Option<Self> {
        let mut counts = text.split(separator).map(str::trim);
        Some(Self {
            passed: counts.next()?.strip_suffix(" passed")?.parse().ok()?,
            failed: counts.next()?.strip_suffix(" failed")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_cargo_and_of_a_guest_are_counted() {
        let tally = |passed, failed| Some(Tally { passed, failed });
        let cargo =
            "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::of_cargo(cargo), tally(12, 3));
        assert_eq!(Tally::of_guest("guest: 7 passed, 1 failed"), tally(7, 1));
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(Tally::of_cargo("test abi::sizes ... ok"), None);
        assert_eq!(Tally::of_guest("ok xvip_ingress loads"), None);
        assert_eq!(Tally::of_guest("guest: lost"), None);
    }
}
