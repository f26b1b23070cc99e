//! Agents that answer for VIPs by sessions, and who of them does.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{NAMESPACE, bed::Bed, load_balancer};
use crate::{
    agent::{VIP4, VIP6, slots, until},
    netns::{BedError, system},
    observer::{Observer, PAUSE},
};
use vip_agent::{io::datapath::boottime_ns, ownership::Layout};
use vip_common::abi::SLOT_SESSION;

/// What is served: both families, in buckets of several claims objects.
pub const VIPS: [&str; 4] = [VIP4, VIP6, "192.0.2.101", "2001:db8::101"];

/// Rows that stay where they are for so long rest.
const CALM: Duration = Duration::from_secs(2);

/// The times of a session.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// L.
    pub duration: Duration,
    /// H.
    pub hold: Duration,
    /// Lines of the configuration.
    pub config: &'static str,
}

impl Times {
    /// The defaults.
    pub const FIVE_SECONDS: Self = Self {
        duration: Duration::from_secs(5),
        hold: Duration::from_secs(4),
        config: "",
    };
    /// The shortest that are promised.
    pub const TWO_SECONDS: Self = Self {
        duration: Duration::from_secs(2),
        hold: Duration::from_millis(1600),
        config: "lease: {duration: 2s, renew: 600ms, hold: 1.6s}\n",
    };
}

impl Bed {
    /// Nodes with agents that answer for [`VIPS`], and an observer of it; `more` are further lines
    /// of the agents' configuration.
    pub fn serving(nodes: usize, more: &str) -> Result<(Self, Observer), BedError> {
        let mut bed = Self::new(nodes)?;
        bed.install()?;
        bed.start_agents(more)?;
        bed.create_services()?;
        let observer = Observer::ask(&bed.client, &VIPS, PAUSE)?;
        bed.wait_owned(&observer)?;
        Ok((bed, observer))
    }

    /// Creates a dual-stack Service for each pair of [`VIPS`].
    pub fn create_services(&self) -> Result<(), BedError> {
        for (number, pair) in VIPS.chunks(2).enumerate() {
            let mut service = load_balancer(&format!("web-{number}"), &["IPv4", "IPv6"]);
            let annotations = [("xvip.io/addresses".to_owned(), pair.join(","))];
            service.metadata.annotations = Some(annotations.into());
            self.create_service(&service)?;
        }
        Ok(())
    }

    /// The node that answered the latest question for a VIP that was answered.
    pub fn owner(&self, observer: &Observer, vip: &str) -> Option<usize> {
        self.node_of(observer.latest(vip)?.by)
    }

    /// Those of [`VIPS`] that a node answers for.
    pub fn owned(&self, observer: &Observer, index: usize) -> Vec<&'static str> {
        let mut vips = VIPS.to_vec();
        vips.retain(|vip| self.owner(observer, vip) == Some(index));
        vips
    }

    /// Waits until all [`VIPS`] are answered now.
    pub fn wait_owned(&self, observer: &Observer) -> Result<(), BedError> {
        let since = observer.now();
        let answered =
            || VIPS.map(|vip| observer.latest(vip).is_some_and(|answer| answer.at > since));
        until(
            "all VIPs to be answered",
            || Ok(answered() == [true; 4]),
            || format!("{:?}", answered()),
        )
    }

    /// Waits until all of `vips` are answered by others than `index`.
    pub fn wait_moved(
        &self,
        observer: &Observer,
        vips: &[&str],
        index: usize,
    ) -> Result<(), BedError> {
        let owners = || -> Vec<_> { vips.iter().map(|vip| self.owner(observer, vip)).collect() };
        until(
            &format!("{vips:?} to be answered by others than {index}"),
            || Ok(owners().iter().all(|owner| *owner != Some(index))),
            || format!("{:?}", owners()),
        )
    }

    /// The Lease of a node's session.
    pub fn session(&self, index: usize) -> Result<Value, BedError> {
        let name = format!("xvip-{}", self.nodes[index].name());
        self.json(&["get", "lease", &name, "-n", NAMESPACE])
    }

    /// Merges a change into the Lease of a node's session.
    pub fn patch_session(&self, index: usize, change: &Value) -> Result<(), BedError> {
        let name = format!("xvip-{}", self.nodes[index].name());
        let change = change.to_string();
        let patch = [
            "patch",
            "lease",
            &name,
            "-n",
            NAMESPACE,
            "--type=merge",
            "-p",
            &change,
        ];
        self.control.kubectl(&patch, "").map(drop)
    }

    /// All rows of the claims objects: bucket or address, and session.
    pub fn rows(&self) -> Result<Vec<(String, String)>, BedError> {
        let list = self.json(&["get", "vipclaims", "-n", NAMESPACE])?;
        let objects = list["items"].as_array().cloned().unwrap_or_default();
        let rows = objects
            .iter()
            .flat_map(|object| object["spec"]["rows"].as_array());
        let mut rows: Vec<_> = rows
            .flatten()
            .map(|row| {
                let about = row.get("bucket").unwrap_or(&row["address"]);
                (about.to_string(), row["session"].to_string())
            })
            .collect();
        rows.sort();
        Ok(rows)
    }

    /// Waits until every bucket has a holder, and none moves to another any more.
    pub fn wait_rows_at_rest(&self) -> Result<(), BedError> {
        let buckets = Layout::default().buckets() as usize;
        let mut before = Vec::new();
        let mut since = Instant::now();
        until(
            "the rows to rest",
            || {
                let rows = self.rows()?;
                if rows != before {
                    (before, since) = (rows, Instant::now());
                }
                Ok(before.len() >= buckets && since.elapsed() > CALM)
            },
            || format!("{:?}", self.rows()),
        )
    }

    pub(super) fn json(&self, get: &[&str]) -> Result<Value, BedError> {
        let text = self.control.kubectl(&[get, &["-o", "json"]].concat(), "")?;
        serde_json::from_str(&text).map_err(|error| system("kubectl")(error.into()))
    }

    /// Waits for the next renewal of a node's session.
    pub fn wait_renewed(&self, index: usize) -> Result<(), BedError> {
        let slots = slots(self.nodes[index].peer()).expect("the slots are pinned");
        let confirmed = || slots.get(SLOT_SESSION).confirmed_boot_ns;
        let before = confirmed();
        until("a renewal", || Ok(confirmed() != before), String::new)
    }

    /// How long ago the renewal of a node's session was sent that was confirmed last. H is taken to
    /// be the default.
    pub fn renewed_ago(&self, index: usize) -> Duration {
        let slots = slots(self.nodes[index].peer()).expect("the slots are pinned");
        let confirmed = slots.get(SLOT_SESSION).confirmed_boot_ns;
        let left = Duration::from_nanos(confirmed.saturating_sub(boottime_ns()));
        Times::FIVE_SECONDS.hold.saturating_sub(left)
    }

    /// When the kernel of a node falls silent unless its agent prevents it, on the observer's
    /// clock.
    pub fn deadline(&self, observer: &Observer, index: usize) -> Duration {
        let slots = slots(self.nodes[index].peer()).expect("the slots are pinned");
        let deadline = slots.get(SLOT_SESSION).deadline_boot_ns;
        let left = deadline.saturating_sub(boottime_ns());
        observer.now() + Duration::from_nanos(left)
    }
}
