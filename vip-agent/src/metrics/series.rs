//! Per-VIP series: a cap, an "other" bucket that never runs backwards, and no series of a VIP
//! that is gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use vip_common::counter::Family;

use super::{Snapshot, VipCount};

/// VIPs with series of their own.
pub const VIP_SERIES: usize = 500;

/// Value of the labels of VIPs beyond [`VIP_SERIES`].
pub const OTHER: &str = "other";

/// Number of [`ProbeAnswer`]s.
const PROBE_ANSWERS: usize = 5;

/// Labels and value of a series per VIP and interface.
type Row = ([(&'static str, String); 2], u64);

/// What one scrape shows per VIP.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) held: Vec<Row>,
    pub(super) answers: Vec<([(&'static str, String); 3], u64)>,
    pub(super) conflicts: Vec<([(&'static str, String); 1], u64)>,
    pub(super) flaps: Vec<([(&'static str, String); 1], u64)>,
    pub(super) probe_answers: Vec<([(&'static str, String); 2], u64)>,
}

/// What came back on questions for a VIP: values of the label `result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// It is unconfirmed here, and somebody claims it: the VIP is yielded.
    Claimed = 0,
    /// It is unconfirmed here, and somebody advertises it without the override flag: not yielded
    /// to.
    Modest = 1,
    /// Another node holds it, and one host answers.
    One = 2,
    /// Another node holds it, and nobody answers.
    None = 3,
    /// Another node holds it, and two hosts answer.
    Two = 4,
}

impl ProbeAnswer {
    const ALL: [Self; PROBE_ANSWERS] = [
        Self::Claimed,
        Self::Modest,
        Self::One,
        Self::None,
        Self::Two,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Modest => "modest",
            Self::One => "one",
            Self::None => "none",
            Self::Two => "two",
        }
    }
}

/// Totals of the VIPs that share the "other" series. They only grow: a VIP that goes leaves its
/// counts here, since a sum over those that are left would look like a reset.
#[derive(Debug, Default)]
struct Other {
    answers: [u64; 2],
    conflicts: u64,
    flaps: u64,
    probe_answers: [u64; PROBE_ANSWERS],
    /// Answers and conflicts of each such VIP at the last scrape.
    seen: BTreeMap<(IpAddr, String), [u64; 2]>,
}

/// Which VIPs have series of their own: who came first keeps its place until it goes.
#[derive(Debug)]
pub(super) struct VipSeries {
    cap: usize,
    known: BTreeMap<IpAddr, Known>,
    own: usize,
    other: Other,
}

#[derive(Debug, Default)]
struct Known {
    /// It has series of its own.
    own: bool,
    flaps: u64,
    probe_answers: [u64; PROBE_ANSWERS],
}

impl VipSeries {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            cap,
            known: BTreeMap::new(),
            own: 0,
            other: Other::default(),
        }
    }

    /// Counts an address that was removed and bound again.
    pub(super) fn flapped(&mut self, vip: IpAddr) {
        let known = self.admit(vip);
        if known.own {
            known.flaps += 1;
        } else {
            self.other.flaps += 1;
        }
    }

    /// Counts what came back on a question for a VIP.
    pub(super) fn probe_answered(&mut self, vip: IpAddr, answer: ProbeAnswer) {
        let known = self.admit(vip);
        let counts = match known.own {
            true => &mut known.probe_answers,
            false => &mut self.other.probe_answers,
        };
        counts[answer as usize] += 1;
    }

    /// The rows of a scrape.
    pub(super) fn rows(&mut self, snapshot: &Snapshot) -> Rows {
        let present: BTreeSet<IpAddr> = snapshot
            .kernel
            .vips
            .iter()
            .map(|count| count.vip)
            .chain(snapshot.held.iter().map(|(vip, _)| *vip))
            .collect();
        self.known.retain(|vip, _| present.contains(vip));
        self.own = self.known.values().filter(|known| known.own).count();
        self.other.seen.retain(|(vip, _), _| present.contains(vip));
        for vip in &present {
            self.admit(*vip);
        }

        let mut rows = Rows::default();
        let mut conflicts: BTreeMap<IpAddr, u64> = BTreeMap::new();
        for count in &snapshot.kernel.vips {
            if self.is_own(count.vip) {
                let labels = answer_labels(count.vip.to_string(), &count.interface, count.family());
                rows.answers.push((labels, count.answers));
                *conflicts.entry(count.vip).or_default() += count.conflicts;
            } else {
                self.other.count(count);
            }
        }
        for (vip, count) in conflicts {
            rows.conflicts.push(([("vip", vip.to_string())], count));
        }
        let mut held_by_other = 0;
        for (vip, interface) in &snapshot.held {
            if self.is_own(*vip) {
                let labels = [("vip", vip.to_string()), ("interface", interface.clone())];
                rows.held.push((labels, 1));
            } else {
                held_by_other += 1;
            }
        }
        for (vip, known) in self.known.iter().filter(|(_, known)| known.own) {
            rows.flaps.push(([("vip", vip.to_string())], known.flaps));
            rows.answered(&vip.to_string(), known.probe_answers);
        }
        if self.own >= self.cap {
            self.other.push_to(&mut rows, held_by_other);
        }
        rows
    }

    fn is_own(&self, vip: IpAddr) -> bool {
        self.known.get(&vip).is_some_and(|known| known.own)
    }

    fn admit(&mut self, vip: IpAddr) -> &mut Known {
        let (own, cap) = (&mut self.own, self.cap);
        self.known.entry(vip).or_insert_with(|| {
            let admitted = *own < cap;
            *own += usize::from(admitted);
            Known {
                own: admitted,
                ..Known::default()
            }
        })
    }
}

impl Other {
    fn count(&mut self, count: &VipCount) {
        let seen = self
            .seen
            .entry((count.vip, count.interface.clone()))
            .or_default();
        let now = [count.answers, count.conflicts];
        // A smaller count is a new one: the index was given to the VIP anew.
        let [answers, conflicts] = [0, 1].map(|i| now[i].checked_sub(seen[i]).unwrap_or(now[i]));
        *seen = now;
        self.answers[count.family() as usize] += answers;
        self.conflicts += conflicts;
    }

    fn push_to(&self, rows: &mut Rows, held: u64) {
        let other = || OTHER.to_owned();
        rows.held
            .push(([("vip", other()), ("interface", other())], held));
        for family in Family::ALL {
            let labels = answer_labels(other(), OTHER, family);
            rows.answers.push((labels, self.answers[family as usize]));
        }
        rows.conflicts.push(([("vip", other())], self.conflicts));
        rows.flaps.push(([("vip", other())], self.flaps));
        rows.answered(OTHER, self.probe_answers);
    }
}

impl Rows {
    fn answered(&mut self, vip: &str, counts: [u64; PROBE_ANSWERS]) {
        for answer in ProbeAnswer::ALL {
            let labels = [("vip", vip.to_owned()), ("result", answer.label().into())];
            self.probe_answers.push((labels, counts[answer as usize]));
        }
    }
}

fn answer_labels(vip: String, interface: &str, family: Family) -> [(&'static str, String); 3] {
    [
        ("vip", vip),
        ("interface", interface.to_owned()),
        ("family", family.label().to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn vip(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    fn snapshot(counts: &[(u8, u64)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (number, answers) in counts {
            snapshot.kernel.vips.push(VipCount {
                vip: vip(*number),
                interface: "eth0".to_owned(),
                answers: *answers,
                conflicts: 1,
            });
            snapshot.held.push((vip(*number), "eth0".to_owned()));
        }
        snapshot
    }

    fn answers(rows: &Rows) -> Vec<(String, u64)> {
        rows.answers
            .iter()
            .filter(|([_, _, family], _)| family.1 == "ipv4")
            .map(|([vip, ..], count)| (vip.1.clone(), *count))
            .collect()
    }

    fn expected(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
        rows.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect()
    }

    #[test]
    fn vips_beyond_the_cap_share_one_series() {
        let mut series = VipSeries::new(2);
        let rows = series.rows(&snapshot(&[(1, 10), (2, 20), (3, 30), (4, 40)]));
        let want = expected(&[("192.0.2.1", 10), ("192.0.2.2", 20), (OTHER, 70)]);
        assert_eq!(answers(&rows), want);
        assert_eq!(rows.held.last().unwrap().1, 2);
        assert_eq!(rows.conflicts.last().unwrap().1, 2);
    }

    #[test]
    fn a_vip_that_goes_takes_its_series_along_and_the_other_one_never_runs_backwards() {
        let mut series = VipSeries::new(2);
        series.rows(&snapshot(&[(1, 10), (2, 20), (3, 30), (4, 40)]));
        let rows = series.rows(&snapshot(&[(2, 21), (3, 31)]));
        assert_eq!(answers(&rows), expected(&[("192.0.2.2", 21)]));
        let rows = series.rows(&snapshot(&[(2, 21), (3, 31), (5, 7), (6, 1)]));
        let want = expected(&[("192.0.2.2", 21), ("192.0.2.5", 7), (OTHER, 72)]);
        assert_eq!(answers(&rows), want);
    }

    #[test]
    fn flaps_are_counted_for_the_vip_and_vanish_with_it() {
        let mut series = VipSeries::new(2);
        series.rows(&snapshot(&[(1, 0)]));
        series.flapped(vip(1));
        series.flapped(vip(1));
        let rows = series.rows(&snapshot(&[(1, 0)]));
        assert_eq!(rows.flaps, [([("vip", "192.0.2.1".to_owned())], 2)]);
        assert!(series.rows(&snapshot(&[])).flaps.is_empty());
        let rows = series.rows(&snapshot(&[(1, 0)]));
        assert_eq!(rows.flaps[0].1, 0);
    }

    #[test]
    fn answers_to_probes_are_counted_by_what_they_were() {
        let mut series = VipSeries::new(1);
        series.rows(&snapshot(&[(1, 0), (2, 0)]));
        series.probe_answered(vip(1), ProbeAnswer::Claimed);
        series.probe_answered(vip(1), ProbeAnswer::Claimed);
        series.probe_answered(vip(1), ProbeAnswer::Modest);
        series.probe_answered(vip(2), ProbeAnswer::Modest);
        let rows = series.rows(&snapshot(&[(1, 0), (2, 0)])).probe_answers;
        let of = |vip: &str, result: &str| {
            let mut found = rows
                .iter()
                .filter(|(labels, _)| labels[0].1 == vip && labels[1].1 == result);
            found.next().unwrap().1
        };
        assert_eq!(of("192.0.2.1", "claimed"), 2);
        assert_eq!(of("192.0.2.1", "modest"), 1);
        assert_eq!((of(OTHER, "claimed"), of(OTHER, "modest")), (0, 1));
    }
}
