//! `vip-agent doctor`: what keeps this host from serving VIPs, with a fix for each finding, and
//! in which order programs run on its interfaces.

use std::{collections::HashSet, path::Path};

use comfy_table::{Table, presets::NOTHING};
use schemars::JsonSchema;
use serde::Serialize;
use vip_common::abi::{LAYOUT, SLOT_NEVER};

use super::{
    agent::{AgentAddress, AskError},
    flags::Flags,
    output::{OutputError, OutputFormat},
    run,
};
use crate::{
    attachment::{Choice, choose},
    config::{Attach, Bind, Config, Invalid, Reading, is_ignored, refusal::Occupied},
    host::{Host, Link},
    io::{
        datapath::{DatapathError, Pins, Position, Seat, Tables, embedded, prerequisites},
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

impl DoctorArgs {
    /// With these settings, in this form.
    pub fn of(flags: Flags, output: OutputFormat) -> Self {
        Self { flags, output }
    }
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
            let fix = "change or remove it; `vip-agent check` shows what the settings mean then";
            self.warning(&warning.field, &warning.message, fix);
        }
    }

    fn kernel(&mut self, pin_dir: &Path) {
        if embedded().is_empty() {
            let fix = "build it by `cargo xtask build`";
            self.error("vip-agent", "this binary holds no eBPF object", fix);
        }
        for lack in prerequisites() {
            let subject = match lack {
                DatapathError::MissingCapability(_) => "capabilities",
                _ => "kernel",
            };
            self.error(subject, lack.fault(), lack.fix());
        }
        for error in Pins::new(pin_dir, LAYOUT).faults() {
            self.error(pin_dir.display(), error.fault(), error.fix());
        }
    }

    async fn agent(&mut self, http: &str) {
        let agent = AgentAddress {
            http: http.to_owned(),
        };
        match agent.text("/readyz").await {
            Ok(_) => {}
            Err(AskError::Late(_)) => {
                let fix =
                    "`kill -9` it: the kernel goes on answering, and the next start continues";
                self.error("agent", "it hangs: /readyz gets no answer", fix);
            }
            Err(AskError::Refused { body, .. }) => {
                let fix = "`vip-agent status` names the VIPs that wait, its log says why; the \
                           other findings may be the cause";
                self.error("agent", format!("it is not ready: {body}"), fix);
            }
            Err(error) => {
                self.warning("agent", error, "start it, or name its address by --http");
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
            let wants_xdp = matches!(config.attach, Attach::Native | Attach::Generic);
            if serves && wants_xdp && position.xdp.iter().any(|seat| !seat.ours) {
                let message = "another XDP program is attached, and `attach` takes nothing else";
                let fix = format!(
                    "set `attach: auto`, or remove that program (`ip link set dev {} xdp off`)",
                    link.name
                );
                self.error(&link.name, message, fix);
            }
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
