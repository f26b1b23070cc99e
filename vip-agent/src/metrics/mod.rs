//! The metrics of `docs/metrics.md`, in OpenMetrics text.
//!
//! What the agent does itself is counted as it happens, from [`Fact`]s among others; what the
//! kernel counts, and what is so at present, comes as a [`Snapshot`] at every scrape.

mod scrape;
mod series;

use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family as Labelled, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use vip_common::counter::Family;

use self::{scrape::Scrape, series::VipSeries};
pub use self::{
    scrape::{KernelCounters, MapFill, Snapshot, VipCount},
    series::{OTHER, ProbeAnswer, VIP_SERIES},
};
use crate::event::{Fact, NodeFact, VipFact};

/// Content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Prefix of every name.
const PREFIX: &str = "xvip";

/// Upper bounds of the histogram of reconciliations, in seconds.
const RECONCILE_BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Upper bounds of the histogram of takeovers, in seconds.
const TAKEOVER_BUCKETS: [f64; 11] = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 10.0, 30.0];

/// Parts of a reconciliation, and of what goes on beside it.
const PARTS: [&str; 13] = [
    "announce", "bind", "check", "claim", "events", "fence", "links", "netlink", "observe",
    "program", "retire", "session", "sweep",
];

type OneLabel = [(&'static str, &'static str); 1];

/// What the agent counts itself.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    announcements: [Counter; 2],
    reconcile_duration: Histogram,
    takeover_duration: Histogram,
    reconcile_errors: Labelled<OneLabel, Counter>,
    events_dropped: Counter,
    netlink_overruns: Counter,
    session_lost: Labelled<OneLabel, Counter>,
    series: Mutex<VipSeries>,
}

impl Metrics {
    /// All counters at zero; `version` goes into `build_info`.
    pub fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let build = Info::new([("version", version.to_owned())]);
        registry.register("build", "The agent that runs", build);

        let announcements = Labelled::<OneLabel, Counter>::default();
        let of = |family: Family| {
            announcements
                .get_or_create(&[("family", family.label())])
                .clone()
        };
        let of_families = Family::ALL.map(of);
        registry.register(
            "announcements",
            "Announcements that left the node",
            announcements.clone(),
        );
        let reconcile_duration = Histogram::new(RECONCILE_BUCKETS);
        registry.register_with_unit(
            "reconcile_duration",
            "Time that a reconciliation took",
            Unit::Seconds,
            reconcile_duration.clone(),
        );
        let takeover_duration = Histogram::new(TAKEOVER_BUCKETS);
        registry.register_with_unit(
            "takeover_duration",
            "Time from the last sign of life of a silent node until its addresses were answered here",
            Unit::Seconds,
            takeover_duration.clone(),
        );
        let reconcile_errors = Labelled::<OneLabel, Counter>::default();
        registry.register(
            "reconcile_errors",
            "Parts of a reconciliation that failed",
            reconcile_errors.clone(),
        );
        let events_dropped = Counter::default();
        registry.register(
            "events_dropped",
            "Events of the kernel programs that were lost",
            events_dropped.clone(),
        );
        let session_lost = Labelled::<OneLabel, Counter>::default();
        registry.register("session_lost", "Sessions that ended", session_lost.clone());
        // From zero on, so that the first one is an increase.
        for reason in ["lost", "released"] {
            drop(session_lost.get_or_create(&[("reason", reason)]));
        }
        for part in PARTS {
            drop(reconcile_errors.get_or_create(&[("reason", part)]));
        }
        let netlink_overruns = Counter::default();
        registry.register(
            "netlink_overruns",
            "Times that netlink lost messages and all was read again",
            netlink_overruns.clone(),
        );
        Self {
            registry,
            announcements: of_families,
            reconcile_duration,
            takeover_duration,
            reconcile_errors,
            events_dropped,
            netlink_overruns,
            session_lost,
            series: Mutex::new(VipSeries::new(VIP_SERIES)),
        }
    }

    /// Counts what a fact says.
    pub fn observe(&self, fact: &Fact) {
        match fact {
            Fact::Vip {
                vip,
                what: VipFact::Restored,
                ..
            } => self.series().flapped(*vip),
            Fact::Node(NodeFact::ReconcileFailed { part, .. }) => {
                self.reconcile_errors
                    .get_or_create(&[("reason", *part)])
                    .inc();
            }
            Fact::Node(NodeFact::NetlinkOverrun) => {
                self.netlink_overruns.inc();
            }
            Fact::Node(NodeFact::SessionEnded { released, .. }) => {
                let reason = if *released { "released" } else { "lost" };
                self.session_lost.get_or_create(&[("reason", reason)]).inc();
            }
            Fact::Node(NodeFact::TookOver { after }) => {
                self.takeover_duration.observe(after.as_secs_f64());
            }
            Fact::Node(NodeFact::EventsDropped(count)) => {
                self.events_dropped.inc_by(*count);
            }
            Fact::Vip { .. } | Fact::Interface { .. } | Fact::Node(_) => {}
        }
    }

    /// Counts announcements that left, by [`Family`].
    pub fn announced(&self, sent: [u64; 2]) {
        for (counter, sent) in self.announcements.iter().zip(sent) {
            counter.inc_by(sent);
        }
    }

    /// Counts what came back on a question for a VIP.
    pub fn probe_answered(&self, vip: IpAddr, answer: ProbeAnswer) {
        self.series().probe_answered(vip, answer);
    }

    /// Records a reconciliation.
    pub fn reconciled(&self, took: Duration) {
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// The text of a scrape.
    pub fn encode(&self, snapshot: Snapshot) -> Result<String, fmt::Error> {
        let rows = self.series().rows(&snapshot);
        let mut scraped = Registry::with_prefix(PREFIX);
        scraped.register_collector(Box::new(Scrape { snapshot, rows }));
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &scraped)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn series(&self) -> MutexGuard<'_, VipSeries> {
        // Every change leaves the counts whole: one that panicked half-way is still readable.
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vip_common::counter::Verdict;

    use super::*;
    use crate::status::AttachMode;

    fn scraped() -> String {
        let metrics = Metrics::new("0.1.0");
        let vip = "192.0.2.1".parse().unwrap();
        metrics.announced([3, 4]);
        metrics.reconciled(Duration::from_millis(2));
        metrics.observe(&Fact::vip(vip, "eth0", VipFact::Restored));
        metrics.probe_answered(vip, ProbeAnswer::Claimed);
        metrics.observe(&Fact::Node(NodeFact::NetlinkOverrun));
        metrics.observe(&Fact::Node(NodeFact::EventsDropped(5)));
        let after = Duration::from_millis(4200);
        metrics.observe(&Fact::Node(NodeFact::TookOver { after }));
        metrics.observe(&Fact::Node(NodeFact::SessionEnded {
            session: "node-a/00000000000000000000000000000001/00000000000000000000000000000002"
                .parse()
                .unwrap(),
            released: false,
        }));
        let failed = NodeFact::ReconcileFailed {
            part: "bind",
            error: "no such device".to_owned(),
        };
        metrics.observe(&Fact::Node(failed));
        let mut snapshot = Snapshot {
            held: vec![(vip, "eth0".to_owned())],
            claims_held: 1,
            session_live: true,
            session_remaining: Some(Duration::from_millis(3500)),
            maps: vec![MapFill {
                map: "VIPS",
                entries: 2,
                capacity: 131_072,
            }],
            attached: vec![("eth0".to_owned(), AttachMode::Tc)],
            deaf: vec![("eth0".to_owned(), true), ("eth1".to_owned(), false)],
            live_not_claimed: 9,
            unguarded: 2,
            overtaken: 3,
            ..Snapshot::default()
        };
        snapshot.kernel.frames[3] = [11, 12];
        snapshot.kernel.vips.push(VipCount {
            vip,
            interface: "eth0".to_owned(),
            answers: 42,
            conflicts: 6,
        });
        metrics.encode(snapshot).unwrap()
    }

    #[test]
    fn every_metric_has_the_name_labels_and_value_of_the_contract() {
        let text = scraped();
        let lines: BTreeSet<&str> = text.lines().collect();
        for line in [
            "xvip_build_info{version=\"0.1.0\"} 1",
            "xvip_vip_held{vip=\"192.0.2.1\",interface=\"eth0\"} 1",
            "xvip_frames_total{family=\"ipv4\",verdict=\"fenced\"} 11",
            "xvip_frames_total{family=\"ipv6\",verdict=\"fenced\"} 12",
            "xvip_frames_total{family=\"ipv6\",verdict=\"egress_rewritten\"} 0",
            "xvip_vip_answers_total{vip=\"192.0.2.1\",interface=\"eth0\",family=\"ipv4\"} 42",
            "xvip_announcements_total{family=\"ipv4\"} 3",
            "xvip_announcements_total{family=\"ipv6\"} 4",
            "xvip_conflicts_total{vip=\"192.0.2.1\"} 6",
            "xvip_session_live 1",
            "xvip_session_lost_total{reason=\"lost\"} 1",
            "xvip_session_remaining_seconds 3.5",
            "xvip_claims_held 1",
            "xvip_unconfirmed 0",
            "xvip_reconcile_duration_seconds_count 1",
            "xvip_takeover_duration_seconds_sum 4.2",
            "xvip_reconcile_duration_seconds_sum 0.002",
            "xvip_reconcile_errors_total{reason=\"bind\"} 1",
            "xvip_flaps_total{vip=\"192.0.2.1\"} 1",
            "xvip_map_entries{map=\"VIPS\"} 2",
            "xvip_map_capacity{map=\"VIPS\"} 131072",
            "xvip_events_dropped_total 5",
            "xvip_netlink_overruns_total 1",
            "xvip_attach_mode{interface=\"eth0\",mode=\"tc\"} 1",
            "xvip_deaf{interface=\"eth0\"} 1",
            "xvip_deaf{interface=\"eth1\"} 0",
            "xvip_probe_answers_total{vip=\"192.0.2.1\",result=\"claimed\"} 1",
            "xvip_probe_answers_total{vip=\"192.0.2.1\",result=\"modest\"} 0",
            "xvip_probe_answers_total{vip=\"192.0.2.1\",result=\"two\"} 0",
            "xvip_session_lost_total{reason=\"released\"} 0",
            "xvip_reconcile_errors_total{reason=\"program\"} 0",
            "xvip_inconsistent{kind=\"claimed_not_programmed\"} 0",
            "xvip_inconsistent{kind=\"live_not_claimed\"} 9",
            "xvip_inconsistent{kind=\"unguarded\"} 2",
            "xvip_inconsistent{kind=\"overtaken\"} 3",
            "# EOF",
        ] {
            assert!(lines.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn every_metric_is_on_the_page_of_the_documentation_and_the_other_way_round() {
        let page = include_str!("../../../docs/metrics.md");
        let (documented, verdicts): (BTreeSet<&str>, BTreeSet<&str>) = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
            .partition(|name| name.starts_with(PREFIX));
        assert_eq!(verdicts, Verdict::ALL.map(Verdict::label).into());
        let text = scraped();
        let scraped: BTreeSet<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(['{', ' ']).next())
            .map(|name| {
                ["_bucket", "_sum", "_count"]
                    .iter()
                    .fold(name, |name, end| name.strip_suffix(end).unwrap_or(name))
            })
            .collect();
        assert_eq!(documented, scraped);
    }

    #[test]
    fn no_metric_is_described_twice() {
        let text = scraped();
        let types: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .collect();
        let unique: BTreeSet<&str> = types.iter().copied().collect();
        assert_eq!(unique.len(), types.len());
        assert!(text.ends_with("# EOF\n"));
    }
}
