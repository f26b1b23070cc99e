//! The document of `vip-agent status -o json` and `/v1/status`.

use std::net::IpAddr;

use comfy_table::{Table, presets::NOTHING};
use jiff::{Timestamp, Unit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What this node does, at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xvip status")]
pub struct Status {
    /// Name of the node.
    pub node: String,
    /// Version of the agent.
    pub version: String,
    /// Interfaces that serve VIPs.
    pub interfaces: Vec<InterfaceStatus>,
    /// VIPs that this node knows.
    pub vips: Vec<VipStatus>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// Its MAC address; null when it has none.
    pub mac: Option<String>,
    /// How our programs are attached; null when they are not.
    pub attach: Option<AttachMode>,
    /// It can serve: attached, checked, and its link is up.
    pub ready: bool,
}

/// How programs are attached.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// XDP in the driver.
    Native,
    /// tc, by tcx or clsact.
    Tc,
    /// XDP in the network stack.
    Generic,
}

impl AttachMode {
    /// The word of the document and of the label `mode`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tc => "tc",
            Self::Generic => "generic",
        }
    }
}

/// A VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VipStatus {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length; null while an interface has to tell it that is not there.
    pub prefix: Option<u8>,
    /// The interface that serves it; null when none does.
    pub interface: Option<String>,
    /// What happens to questions for it.
    pub state: VipState,
    /// The node that owns it, as far as this one knows.
    pub owner: Option<String>,
    /// When it came into this state.
    pub since: Timestamp,
    /// Epoch of its entry in the maps.
    pub epoch: u64,
    /// Questions answered by the kernel programs.
    pub answers: u64,
    /// Claims of a rival's MAC address while it was live.
    pub conflicts: u64,
}

/// What happens to questions for a VIP on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VipState {
    /// Answered.
    Answering,
    /// Answered, and yielded to the first rival that claims it.
    Unconfirmed,
    /// Dropped: another node owns it, or none does.
    Fenced,
    /// Not programmed yet.
    Pending,
    /// Another host has the address.
    Conflict,
    /// It cannot be served; the log says why.
    Error,
}

impl VipState {
    /// The word of the document.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answering => "answering",
            Self::Unconfirmed => "unconfirmed",
            Self::Fenced => "fenced",
            Self::Pending => "pending",
            Self::Conflict => "conflict",
            Self::Error => "error",
        }
    }
}

impl Status {
    /// The document as two tables, `now` giving ages.
    pub fn table(&self, now: Timestamp) -> String {
        let mut interfaces = table(["INTERFACE", "INDEX", "MAC", "ATTACH", "READY"]);
        for link in &self.interfaces {
            interfaces.add_row([
                link.name.clone(),
                link.ifindex.to_string(),
                or_dash(link.mac.clone()),
                or_dash(link.attach.map(AttachMode::label)),
                if link.ready { "yes" } else { "no" }.to_owned(),
            ]);
        }
        let mut vips = table([
            "VIP",
            "INTERFACE",
            "STATE",
            "OWNER",
            "AGE",
            "EPOCH",
            "ANSWERS",
            "CONFLICTS",
        ]);
        for vip in &self.vips {
            let prefix = vip.prefix.map_or_else(|| "?".to_owned(), |p| p.to_string());
            vips.add_row([
                format!("{}/{prefix}", vip.address),
                or_dash(vip.interface.clone()),
                vip.state.label().to_owned(),
                or_dash(vip.owner.clone()),
                age(vip.since, now),
                vip.epoch.to_string(),
                vip.answers.to_string(),
                vip.conflicts.to_string(),
            ]);
        }
        let Self { node, version, .. } = self;
        let lines = format!("node {node}, version {version}\n\n{interfaces}\n\n{vips}\n");
        // comfy-table fills the last column with blanks too.
        lines
            .lines()
            .fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }
}

/// Cuts a time to the whole second, which is what the document shows.
pub fn whole_second(time: Timestamp) -> Timestamp {
    let round = jiff::TimestampRound::new()
        .smallest(Unit::Second)
        .mode(jiff::RoundMode::Trunc);
    time.round(round).unwrap_or(time)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    table
}

fn or_dash(value: Option<impl Into<String>>) -> String {
    value.map_or_else(|| "-".to_owned(), Into::into)
}

/// An age as kubectl prints it: its largest unit alone.
pub(crate) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn example() -> Status {
        Status {
            node: "node-a".to_owned(),
            version: "0.1.0".to_owned(),
            interfaces: vec![InterfaceStatus {
                name: "eth0".to_owned(),
                ifindex: 2,
                mac: Some("02:00:00:00:00:01".to_owned()),
                attach: Some(AttachMode::Native),
                ready: true,
            }],
            vips: vec![
                VipStatus {
                    address: "192.0.2.100".parse().unwrap(),
                    prefix: Some(32),
                    interface: Some("eth0".to_owned()),
                    state: VipState::Answering,
                    owner: Some("node-a".to_owned()),
                    since: "2026-01-02T03:04:05Z".parse().unwrap(),
                    epoch: 7,
                    answers: 42,
                    conflicts: 1,
                },
                VipStatus {
                    address: "2001:db8::100".parse().unwrap(),
                    prefix: None,
                    interface: None,
                    state: VipState::Pending,
                    owner: None,
                    since: "2026-01-02T03:04:05Z".parse().unwrap(),
                    epoch: 0,
                    answers: 0,
                    conflicts: 0,
                },
            ],
        }
    }

    #[test]
    fn the_document_has_the_fields_of_the_contract() {
        let mut document = serde_json::to_value(example()).unwrap();
        document["vips"].as_array_mut().unwrap().truncate(1);
        let expected = json!({
            "node": "node-a",
            "version": "0.1.0",
            "interfaces": [{
                "name": "eth0", "ifindex": 2, "mac": "02:00:00:00:00:01",
                "attach": "native", "ready": true,
            }],
            "vips": [{
                "address": "192.0.2.100", "prefix": 32, "interface": "eth0", "state": "answering",
                "owner": "node-a", "since": "2026-01-02T03:04:05Z", "epoch": 7,
                "answers": 42, "conflicts": 1,
            }],
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn times_are_cut_to_the_second() {
        let time = "2026-01-02T03:04:05.999999999Z".parse().unwrap();
        assert_eq!(whole_second(time).to_string(), "2026-01-02T03:04:05Z");
    }

    #[test]
    fn the_words_of_the_table_are_those_of_the_document() {
        use VipState::{Answering, Conflict, Error, Fenced, Pending, Unconfirmed};
        for state in [Answering, Unconfirmed, Fenced, Pending, Conflict, Error] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.label());
        }
        for mode in [AttachMode::Native, AttachMode::Tc, AttachMode::Generic] {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.label());
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_interface_and_vip() {
        let table = example().table("2026-01-02T04:04:05Z".parse().unwrap());
        let cells: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let eth0 = vec!["eth0", "2", "02:00:00:00:00:01", "native", "yes"];
        let v4 = "192.0.2.100/32 eth0 answering node-a 60m 7 42 1";
        let v6 = "2001:db8::100/? - pending - 60m 0 0 0";
        assert!(cells.contains(&eth0), "{table}");
        for row in [v4, v6] {
            assert!(cells.contains(&row.split(' ').collect()), "{table}");
        }
    }

    #[test]
    fn json_and_yaml_are_the_same_document() {
        let json = serde_json::to_string(&example()).unwrap();
        let yaml = serde_saphyr::to_string(&example()).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), example());
        assert_eq!(serde_saphyr::from_str::<Status>(&yaml).unwrap(), example());
    }
}
