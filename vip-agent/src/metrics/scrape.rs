//! What is read at scrape time: the kernel's counters, and gauges of the present state.

use std::{fmt, net::IpAddr, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};
use vip_common::counter::{Family, Verdict};

use super::series::Rows;
use crate::status::AttachMode;

/// The state of the agent and its maps at one instant, from the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Counters of the kernel programs.
    pub kernel: KernelCounters,
    /// VIPs that are live here, each with the name of its interface.
    pub held: Vec<(IpAddr, String)>,
    /// VIPs that this node claims.
    pub claims_held: u64,
    /// The node's ownership is past its confirmed time: VIPs yield to a rival.
    pub unconfirmed: bool,
    /// The node's session, or static ownership, is live.
    pub session_live: bool,
    /// Time until the kernel falls silent unless the session is renewed; none with static
    /// ownership.
    pub session_remaining: Option<Duration>,
    /// How full the maps are.
    pub maps: Vec<MapFill>,
    /// How programs are attached to which interface.
    pub attached: Vec<(String, AttachMode)>,
    /// Interfaces that serve, and whether nobody on their LAN replies.
    pub deaf: Vec<(String, bool)>,
    /// VIPs that are claimed, and have no entry in the maps.
    pub claimed_not_programmed: u64,
    /// Entries in the maps that are live, and that nobody claims.
    pub live_not_claimed: u64,
    /// Interfaces that answer ARP and where no program could be attached.
    pub unguarded: u64,
    /// Interfaces on which another program runs before ours, and the limit of restores is used up.
    pub overtaken: u64,
}

/// Counters of the kernel programs, summed over the processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// Frames by [`Verdict`] and [`Family`].
    pub frames: [[u64; 2]; Verdict::ALL.len()],
    /// Per VIP.
    pub vips: Vec<VipCount>,
}

/// Counters of a VIP on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipCount {
    /// The VIP.
    pub vip: IpAddr,
    /// Name of the interface.
    pub interface: String,
    /// Questions answered.
    pub answers: u64,
    /// Claims of a rival's MAC address.
    pub conflicts: u64,
}

impl VipCount {
    /// The family of its frames.
    pub fn family(&self) -> Family {
        match self.vip {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    /// Its name, as bpftool shows it.
    pub map: &'static str,
    /// Entries in it.
    pub entries: u64,
    /// Entries that fit.
    pub capacity: u64,
}

/// One scrape, ready to be written.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) snapshot: Snapshot,
    pub(super) rows: Rows,
}

impl Collector for Scrape {
    fn encode(&self, mut to: DescriptorEncoder) -> fmt::Result {
        let Self { snapshot, rows } = self;
        gauge(
            &mut to,
            "vip_held",
            "VIPs that the kernel answers for",
            &rows.held,
        )?;
        let frames: Vec<_> = Verdict::ALL
            .into_iter()
            .zip(&snapshot.kernel.frames)
            .flat_map(|(verdict, counts)| {
                Family::ALL
                    .into_iter()
                    .zip(counts)
                    .map(move |(family, count)| {
                        let labels = [("family", family.label()), ("verdict", verdict.label())];
                        (labels, *count)
                    })
            })
            .collect();
        counter(
            &mut to,
            "frames",
            "ARP and ND frames by what became of them because of xvip",
            &frames,
        )?;
        counter(
            &mut to,
            "vip_answers",
            "Questions answered by the kernel programs",
            &rows.answers,
        )?;
        counter(
            &mut to,
            "conflicts",
            "Claims of a live VIP by another MAC address",
            &rows.conflicts,
        )?;
        counter(
            &mut to,
            "flaps",
            "Addresses that somebody removed and xvip bound again",
            &rows.flaps,
        )?;
        counter(
            &mut to,
            "probe_answers",
            "What came back on questions for a VIP: of one that is unconfirmed here, or that another node holds",
            &rows.probe_answers,
        )?;

        single(
            &mut to,
            "claims_held",
            "VIPs that this node claims",
            snapshot.claims_held,
        )?;
        single(
            &mut to,
            "unconfirmed",
            "1 while VIPs yield to a rival that claims them",
            snapshot.unconfirmed.into(),
        )?;
        single(
            &mut to,
            "session_live",
            "1 while the session of this node, or static ownership, is live",
            snapshot.session_live.into(),
        )?;
        if let Some(left) = snapshot.session_remaining {
            remaining(&mut to, left)?;
        }

        let maps = |value: fn(&MapFill) -> u64| -> Vec<_> {
            snapshot
                .maps
                .iter()
                .map(|fill| ([("map", fill.map)], value(fill)))
                .collect()
        };
        gauge(
            &mut to,
            "map_entries",
            "Entries in a BPF map",
            &maps(|fill| fill.entries),
        )?;
        gauge(
            &mut to,
            "map_capacity",
            "Entries that fit into a BPF map",
            &maps(|fill| fill.capacity),
        )?;

        let attached: Vec<_> = snapshot
            .attached
            .iter()
            .map(|(interface, mode)| {
                (
                    [("interface", interface.as_str()), ("mode", mode.label())],
                    1,
                )
            })
            .collect();
        gauge(
            &mut to,
            "attach_mode",
            "How programs are attached to an interface",
            &attached,
        )?;
        let deaf: Vec<_> = snapshot
            .deaf
            .iter()
            .map(|(interface, deaf)| ([("interface", interface.as_str())], u64::from(*deaf)))
            .collect();
        gauge(
            &mut to,
            "deaf",
            "1 while neither gateway nor peers nor known neighbours reply on an interface",
            &deaf,
        )?;
        let inconsistent = [
            (
                [("kind", "claimed_not_programmed")],
                snapshot.claimed_not_programmed,
            ),
            ([("kind", "live_not_claimed")], snapshot.live_not_claimed),
            ([("kind", "unguarded")], snapshot.unguarded),
            ([("kind", "overtaken")], snapshot.overtaken),
        ];
        gauge(
            &mut to,
            "inconsistent",
            "VIPs whose claim and map entry contradict each other, and interfaces without programs",
            &inconsistent,
        )
    }
}

fn gauge<S: EncodeLabelSet>(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    rows: &[(S, u64)],
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    rows.iter().try_for_each(|(labels, value)| {
        family
            .encode_family(labels)?
            .encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX))
    })
}

/// The library appends `_total` to the name.
fn counter<S: EncodeLabelSet>(
    to: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    rows: &[(S, u64)],
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    rows.iter().try_for_each(|(labels, value)| {
        family
            .encode_family(labels)?
            .encode_counter::<NoLabelSet, _, u64>(value, None)
    })
}

fn remaining(to: &mut DescriptorEncoder, left: Duration) -> fmt::Result {
    let help = "Time until the kernel falls silent unless the session is renewed";
    to.encode_descriptor(
        "session_remaining",
        help,
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?
    .encode_gauge(&left.as_secs_f64())
}

fn single(to: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    to.encode_descriptor(name, help, None, MetricType::Gauge)?
        .encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
}
