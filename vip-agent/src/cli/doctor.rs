//! `vip-agent doctor`: what keeps this host from serving VIPs, with a fix for each finding, and
//! in which order programs run on its interfaces.

use std::{collections::HashSet, path::Path};

use comfy_table::{Table, presets::NOTHING};
use schemars::JsonSchema;
use serde::Serialize;
use vip_common::abi::{LAYOUT, SLOT_NEVER};

use super::{
    flags::Flags,
    output::{OutputError, OutputFormat},
    run, status,
};
use crate::{
    attachment::{Choice, choose},
    config::{Bind, Config, Invalid, Reading, is_ignored, refusal::Occupied},
    host::{Host, Link},
    io::{
        datapath::{Pins, Position, Seat, Tables, embedded, prerequisites},
        netlink::Netlink,
        offload,
    },
};

/// Arguments of `vip-agent doctor`.
#[derive(clap::Args, Clone, Debug)]
pub struct DoctorArgs {
    #[command(flatten)]
    flags: Flags,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// What `vip-agent doctor -o json` prints.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(title = "vip-agent doctor")]
pub struct Diagnosis {
    /// Nothing keeps this host from serving.
    pub ok: bool,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
    /// The interfaces, and what runs on them.
    pub interfaces: Vec<Examined>,
}

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: an interface, a VIP, a path.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// VIPs are not served, or not guarded.
    Error,
    /// They are, and not as they should be.
    Warning,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Examined {
    /// Its name.
    pub name: String,
    /// What the agent would do with it.
    pub choice: String,
    /// XDP programs.
    pub xdp: Vec<String>,
    /// tc programs on what comes in, in the order in which they run.
    pub tc_in: Vec<String>,
    /// tc programs on what leaves, in the order in which they run.
    pub tc_out: Vec<String>,
}

/// Nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// The configuration file cannot be read.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// The document cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// Examines the host; the text to print, and the exit code.
pub async fn run(args: &DoctorArgs) -> Result<(String, u8), DoctorError> {
    let reading = run::read(&args.flags)?;
    let mut diagnosis = Diagnosis::default();
    diagnosis.configuration(&reading);
    let config = reading.shown();
    diagnosis.kernel(&config.pin_dir);
    diagnosis.agent(&config.http.to_string()).await;
    match observe().await {
        Ok(host) => {
            diagnosis.host(&host, config);
            diagnosis.maps(&host, config);
        }
        Err(error) => {
            diagnosis.error("netlink", error, "run it in the host's network namespace");
        }
    }
    diagnosis.findings.sort_by_key(|finding| finding.severity);
    diagnosis.ok = diagnosis
        .findings
        .iter()
        .all(|finding| finding.severity != Severity::Error);
    let text = args.output.print(&diagnosis, Diagnosis::table)?;
    Ok((text, u8::from(!diagnosis.ok)))
}

async fn observe() -> Result<Host, crate::io::netlink::NetlinkError> {
    let (netlink, _changes) = Netlink::connect()?;
    netlink.observe().await
}

impl Diagnosis {
    fn add(
        &mut self,
        severity: Severity,
        subject: impl ToString,
        message: impl ToString,
        fix: impl Into<String>,
    ) {
        let (subject, message, fix) = (subject.to_string(), message.to_string(), fix.into());
        self.findings.push(Finding {
            severity,
            subject,
            message,
            fix,
        });
    }

    fn error(&mut self, subject: impl ToString, message: impl ToString, fix: impl Into<String>) {
        self.add(Severity::Error, subject, message, fix);
    }

    fn warning(&mut self, subject: impl ToString, message: impl ToString, fix: impl Into<String>) {
        self.add(Severity::Warning, subject, message, fix);
    }

    fn configuration(&mut self, reading: &Reading) {
        for problem in reading.errors() {
            let message = format!("{:?}: {}", problem.value, problem.message);
            self.error(&problem.field, message, problem.fix.clone());
        }
        for warning in reading.warnings() {
            self.warning(&warning.field, &warning.message, "see `vip-agent check`");
        }
    }

    fn kernel(&mut self, pin_dir: &Path) {
        if embedded().is_empty() {
            let fix = "build it by `cargo xtask build`";
            self.error("vip-agent", "this binary holds no eBPF object", fix);
        }
        // Their texts name the fix.
        for lack in prerequisites() {
            self.error("kernel", lack, "see the message");
        }
        for fault in Pins::new(pin_dir, LAYOUT).faults() {
            self.error(pin_dir.display(), fault, "see the message");
        }
    }

    async fn agent(&mut self, http: &str) {
        match status::get(http, "/readyz").await {
            Ok(answer)
                if answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200") => {}
            Ok(answer) => {
                let reasons = answer
                    .split_once("\r\n\r\n")
                    .map_or("", |(_, body)| body)
                    .trim();
                let fix = "see the other findings and the agent's log";
                self.error("agent", format!("it is not ready: {reasons}"), fix);
            }
            Err(error) => {
                let message = format!("no agent answers at {http}: {error}");
                self.warning("agent", message, "start it, or name its address by --http");
            }
        }
    }

    fn host(&mut self, host: &Host, config: &Config) {
        let served: HashSet<_> = config
            .vips
            .iter()
            .flat_map(|vip| config.candidates(vip, host))
            .map(|link| link.ifindex)
            .collect();
        for vip in config
            .vips
            .iter()
            .filter(|vip| config.candidates(vip, host).is_empty())
        {
            let fix = "correct `interfaces`, or create the interface";
            self.error(vip.address, "none of its interfaces exists", fix);
        }
        let occupied = Occupied::of(host, config);
        for problem in config.vips.iter().filter_map(|vip| occupied.refuse(vip)) {
            self.error(problem.value, problem.message, problem.fix);
        }
        let pins = Pins::new(&config.pin_dir, LAYOUT);
        for link in host.links.values() {
            let serves = served.contains(&link.ifindex);
            let choice = self.choice(link, host, config, serves);
            let position = pins.position(link.ifindex).unwrap_or_default();
            self.order(&link.name, &position);
            if serves && !(link.up && link.carrier) {
                let fix = format!("`ip link set {} up`, and look at the cable", link.name);
                self.error(&link.name, "it serves VIPs and carries no traffic", fix);
            }
            let seats = |seats: &[Seat]| seats.iter().map(seat_name).collect();
            self.interfaces.push(Examined {
                name: link.name.clone(),
                choice,
                xdp: seats(&position.xdp),
                tc_in: seats(&position.tc_in),
                tc_out: seats(&position.tc_out),
            });
        }
    }

    fn choice(&mut self, link: &Link, host: &Host, config: &Config, serves: bool) -> String {
        let ignored = !serves && is_ignored(&link.name, &config.ignore_interfaces);
        match choose(
            link,
            host,
            config.attach,
            ignored,
            offload::rxvlan(&link.name),
        ) {
            Choice::Attach(modes) => {
                let modes: Vec<&str> = modes.iter().map(|mode| mode.label()).collect();
                modes.join(", else ")
            }
            Choice::Refuse(refusal) => {
                if serves {
                    let fix = "list another interface for its VIPs";
                    self.error(&link.name, refusal, fix);
                }
                "refused".into()
            }
            Choice::Skip(reason) => format!("left alone: {reason}"),
        }
    }

    /// Another program before ours may end the chain, and the kernel would answer for a VIP that
    /// is not live.
    fn order(&mut self, name: &str, position: &Position) {
        for (hook, seats) in [("ingress", &position.tc_in), ("egress", &position.tc_out)] {
            let Some(ours) = seats.iter().position(|seat| seat.ours) else {
                continue;
            };
            if ours > 0 {
                let before: Vec<String> = seats.iter().take(ours).map(seat_name).collect();
                let message = format!("on tc {hook} {} runs before xvip", before.join(", "));
                let fix = "let the other program attach behind xvip, or stop it";
                self.error(name, message, fix);
            }
        }
    }

    /// Where the maps and the addresses of the host disagree.
    fn maps(&mut self, host: &Host, config: &Config) {
        let pins = Pins::new(&config.pin_dir, LAYOUT);
        let Ok(tables) = Tables::open(&pins) else {
            return;
        };
        let Ok(entries) = tables.vips.all() else {
            return;
        };
        if config.bind == Bind::None {
            return;
        }
        for (key, _) in entries.iter().filter(|(_, entry)| entry.slot != SLOT_NEVER) {
            let bound = host.links.get(&key.ifindex).is_some_and(|link| {
                link.addresses
                    .iter()
                    .any(|held| held.net.addr() == key.ip())
            });
            if !bound {
                let message = "it is answered and not bound: its packets are refused";
                self.error(
                    key.ip(),
                    message,
                    "see why in the agent's log, or restart the agent",
                );
            }
        }
        for link in host.links.values() {
            for address in link.addresses.iter().filter(|address| address.is_ours()) {
                let vip = address.net.addr();
                if !entries.iter().any(|(key, _)| key.ip() == vip) && config.bind != Bind::None {
                    let message = format!("bound to {} by xvip, and not programmed", link.name);
                    self.warning(vip, message, "`vip-agent cleanup`, or start the agent");
                }
            }
        }
    }

    fn table(&self) -> String {
        let mut interfaces = Table::new();
        interfaces.load_preset(NOTHING).set_header([
            "INTERFACE",
            "ATTACH",
            "XDP",
            "TC INGRESS",
            "TC EGRESS",
        ]);
        for examined in &self.interfaces {
            let chain = |names: &[String]| match names {
                [] => "-".to_owned(),
                names => names.join(", "),
            };
            interfaces.add_row([
                examined.name.clone(),
                examined.choice.clone(),
                chain(&examined.xdp),
                chain(&examined.tc_in),
                chain(&examined.tc_out),
            ]);
        }
        let mut text = format!("{interfaces}\n\n");
        if self.findings.is_empty() {
            text.push_str("no findings\n");
        }
        for Finding {
            severity,
            subject,
            message,
            fix,
        } in &self.findings
        {
            let severity = match severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            text.push_str(&format!("{severity}: {subject}: {message}\n  fix: {fix}\n"));
        }
        text
    }
}

fn seat_name(seat: &Seat) -> String {
    match (&seat.name, seat.ours) {
        (_, true) => format!("xvip #{}", seat.program),
        (Some(name), false) => format!("{name} #{}", seat.program),
        (None, false) => format!("#{}", seat.program),
    }
}
