//! `vip-agent check`: what the configuration means, or every error at once. It needs no
//! privilege, no kernel feature, and no interface to exist.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    num::{NonZeroU16, NonZeroUsize},
    path::PathBuf,
};

use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    flags::Flags,
    output::{OutputError, OutputFormat},
};
use crate::{
    config::{
        self, Attach, Config, Glob, Interfaces, Invalid, Note, Problem, Reading, VipSpec, Warning,
        refusal::Occupied,
    },
    host::Host,
    io::netlink::Netlink,
    ownership,
};

/// Arguments of `vip-agent check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    pub flags: Flags,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// What `vip-agent check -o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "vip-agent check")]
pub struct Document {
    /// There is no error.
    pub ok: bool,
    /// Name of the node.
    pub node: String,
    /// How programs are to be attached.
    pub attach: Attach,
    /// Who decides what the node owns.
    pub ownership: Ownership,
    /// How, with `ownership: kubernetes`; absent without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
    /// The VIPs that could be read: with `ownership: kubernetes` those of the control plane.
    pub vips: Vec<Vip>,
    /// What works, and not as its author may believe.
    pub warnings: Vec<Warning>,
    /// What must be changed.
    pub errors: Vec<Problem>,
}

/// Who decides what the node owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ownership {
    /// This node owns what is listed.
    Static,
    /// The agents of the cluster, by sessions and claims.
    Kubernetes,
}

/// How `ownership: kubernetes` decides; the keys are those of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kubernetes {
    /// Path of the credentials; null for in-cluster, else `$KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// The agent's own namespace.
    pub namespace: String,
    /// Times of the sessions.
    pub lease: Lease,
    /// What VIPs do while the API server is away.
    pub on_api_loss: OnApiLoss,
    /// Which Services are served.
    pub services: Services,
    /// VIPs of the API server; null without.
    pub control_plane: Option<ControlPlane>,
}

/// Times of the sessions, as durations with a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// After which another node takes over.
    pub duration: String,
    /// Between renewals.
    pub renew: String,
    /// For which the kernel answers without a renewal.
    pub hold: String,
    /// Sessions that are held without need.
    pub max_announcers: NonZeroUsize,
}

/// What VIPs do while the API server is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnApiLoss {
    /// Go on answering, and yield to whoever claims them.
    Hold,
    /// Fall silent.
    Fence,
}

/// Which Services are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    /// Of these classes.
    pub load_balancer_classes: Vec<String>,
    /// Also those without a class.
    pub default: bool,
    /// Of these namespaces; of every one where the list is empty.
    pub namespaces: Vec<String>,
}

/// VIPs of the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ControlPlane {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Where the API server listens.
    pub port: NonZeroU16,
}

impl From<&config::Kubernetes> for Kubernetes {
    fn from(given: &config::Kubernetes) -> Self {
        let services = &given.services;
        Self {
            kubeconfig: given.kubeconfig.clone(),
            namespace: given.namespace.clone(),
            lease: Lease {
                duration: config::written(given.timing.duration()),
                renew: config::written(given.timing.renew()),
                hold: config::written(given.timing.hold()),
                max_announcers: given.max_announcers,
            },
            on_api_loss: match given.on_api_loss {
                ownership::OnApiLoss::Hold => OnApiLoss::Hold,
                ownership::OnApiLoss::Fence => OnApiLoss::Fence,
            },
            services: Services {
                load_balancer_classes: services.load_balancer_classes.clone(),
                default: services.default,
                namespaces: services.namespaces.clone(),
            },
            control_plane: given.control_plane.as_ref().map(|plane| ControlPlane {
                addresses: plane.addresses.clone(),
                port: plane.port,
            }),
        }
    }
}

/// A VIP as it would be bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Vip {
    /// Its address.
    pub address: IpAddr,
    /// Its prefix length; null while it depends on an interface that is not there.
    pub prefix: Option<u8>,
    /// Where it may live, in the order of preference. Names as listed, globs as what they match
    /// or, where they match nothing, as they are; empty for a default route that is not there.
    pub interfaces: Vec<String>,
}

/// Reads the configuration and observes the host, as far as it can be observed; the text to
/// print, and the exit code.
pub async fn run(args: &CheckArgs) -> Result<(String, u8), CheckError> {
    let reading = super::run::read(&args.flags)?;
    let host = match Netlink::connect() {
        Ok((netlink, _changes)) => netlink.observe().await.ok(),
        Err(_) => None,
    };
    let document = report(&reading, host.as_ref());
    Ok((document.print(args.output)?, document.exit_code()))
}

/// Nothing can be reported.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The file cannot be read.
    #[error(transparent)]
    Config(#[from] Invalid),
    /// The document cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// The document for a configuration. `host` is what was observed; without it nothing is said
/// about interfaces.
pub fn report(reading: &Reading, host: Option<&Host>) -> Document {
    let config = reading.shown();
    let mut errors = reading.errors().to_vec();
    let mut warnings = reading.warnings().to_vec();
    let mut missing = BTreeSet::new();
    let mut notes: Vec<Note> = Vec::new();
    let named = config.named();
    let mut vips = Vec::with_capacity(named.len());
    for (index, spec) in named.iter().enumerate() {
        let links = host.map_or_else(Vec::new, |host| config.candidates(spec, host));
        let resolved = config.bound_on(spec, links.first().copied());
        if let Some(note) = resolved.note
            && !said(&notes, &note)
        {
            notes.push(note);
        }
        let found: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        if host.is_some() {
            missing.extend(absent(config, index, spec, &found));
        }
        vips.push(Vip {
            address: spec.address,
            prefix: resolved.net.map(|net| net.prefix_len()),
            interfaces: shown(&config.interfaces_of(spec), &found),
        });
    }
    warnings.extend(missing);
    warnings.extend(
        notes
            .iter()
            .map(|note| Warning::new("prefix", note.value(), note.to_string())),
    );
    if let Some(host) = host {
        let occupied = Occupied::of(host, config);
        errors.extend(named.iter().filter_map(|vip| occupied.refuse(vip)));
    }
    Document {
        ok: errors.is_empty(),
        node: config.node.clone(),
        attach: config.attach,
        ownership: match config.ownership {
            config::Ownership::Static => Ownership::Static,
            config::Ownership::Kubernetes(_) => Ownership::Kubernetes,
        },
        kubernetes: match &config.ownership {
            config::Ownership::Static => None,
            config::Ownership::Kubernetes(cluster) => Some(cluster.as_ref().into()),
        },
        vips,
        warnings,
        errors,
    }
}

/// One number for both families is said once for a family, not once for each VIP.
fn said(notes: &[Note], note: &Note) -> bool {
    let Note::OtherFamily { used, .. } = note else {
        return false;
    };
    notes.iter().any(|other| {
        matches!(other, Note::OtherFamily { used: before, .. }
            if before.prefix_len() == used.prefix_len())
    })
}

fn shown(interfaces: &Interfaces, found: &[&str]) -> Vec<String> {
    let Interfaces::Listed(globs) = interfaces else {
        return found.iter().map(ToString::to_string).collect();
    };
    let mut names: Vec<String> = Vec::new();
    for glob in globs {
        let matching = found.iter().filter(|name| glob.matches(name));
        let mut matching: Vec<String> = matching.map(ToString::to_string).collect();
        if matching.is_empty() {
            matching.push(glob.to_string());
        }
        for name in matching {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The interfaces of a VIP that are not there.
fn absent(config: &Config, index: usize, spec: &VipSpec, found: &[&str]) -> Vec<Warning> {
    let listed = match config.interfaces_of(spec) {
        Interfaces::Listed(globs) => globs,
        Interfaces::DefaultRoute if found.is_empty() => {
            let message = "there is no default route to take the interface from: list one";
            return vec![Warning::new("interfaces", "", message)];
        }
        Interfaces::DefaultRoute => return Vec::new(),
    };
    let field = match spec.interfaces {
        Some(_) => format!("vips[{index}].interfaces"),
        None => "interfaces".to_owned(),
    };
    let warn = |glob: &Glob| {
        let message = "no such interface on this host: the VIP waits until it appears";
        Warning::new(&field, glob, message)
    };
    listed
        .iter()
        .filter(|glob| !found.iter().any(|name| glob.matches(name)))
        .map(warn)
        .collect()
}

impl Document {
    /// 0, or 2 with errors.
    pub fn exit_code(&self) -> u8 {
        if self.ok { 0 } else { 2 }
    }

    /// The document in a form.
    pub fn print(&self, format: OutputFormat) -> Result<String, OutputError> {
        format.print(self, Self::table)
    }

    fn table(&self) -> String {
        let mut parts = Vec::new();
        let mut vips = columns(["ADDRESS", "PREFIX", "INTERFACES"]);
        for vip in &self.vips {
            vips.add_row([
                vip.address.to_string(),
                vip.prefix
                    .map_or_else(|| "unknown".to_owned(), |length| format!("/{length}")),
                vip.interfaces.join(","),
            ]);
        }
        let ownership = match self.ownership {
            Ownership::Static => "static",
            Ownership::Kubernetes => "kubernetes",
        };
        let attach = match self.attach {
            Attach::Auto => "auto",
            Attach::Native => "native",
            Attach::Tc => "tc",
            Attach::Generic => "generic",
        };
        let node = &self.node;
        parts.push(format!(
            "node {node}, attach {attach}, ownership {ownership}"
        ));
        parts.extend(self.kubernetes.as_ref().map(Kubernetes::table));
        if !self.vips.is_empty() {
            parts.push(vips.to_string());
        }
        if !self.warnings.is_empty() {
            let mut table = columns(["WARNING", "VALUE", "MESSAGE"]);
            for Warning {
                field,
                value,
                message,
            } in &self.warnings
            {
                table.add_row([field, value, message]);
            }
            parts.push(table.to_string());
        }
        if !self.errors.is_empty() {
            let mut table = columns(["ERROR", "VALUE", "MESSAGE", "FIX"]);
            for Problem {
                field,
                value,
                message,
                fix,
            } in &self.errors
            {
                table.add_row([field, value, message, fix]);
            }
            parts.push(table.to_string());
        }
        parts.push(if self.ok { "ok" } else { "not ok" }.to_owned());
        parts.join("\n\n")
    }
}

impl Kubernetes {
    fn table(&self) -> String {
        let Lease {
            duration,
            renew,
            hold,
            max_announcers,
        } = &self.lease;
        let kubeconfig = self.kubeconfig.as_ref();
        let kubeconfig = kubeconfig.map_or_else(
            || "in-cluster, else $KUBECONFIG".to_owned(),
            |path| path.display().to_string(),
        );
        let on_api_loss = match self.on_api_loss {
            OnApiLoss::Hold => "hold",
            OnApiLoss::Fence => "fence",
        };
        let listed = |texts: &[String], none: &str| match texts {
            [] => none.to_owned(),
            texts => texts.join(","),
        };
        let services = &self.services;
        let mut table = columns(["KEY", "VALUE"]);
        table
            .add_row(["kubeconfig", &kubeconfig])
            .add_row(["namespace", &self.namespace])
            .add_row([
                "lease",
                &format!("duration {duration}, renew {renew}, hold {hold}, maxAnnouncers {max_announcers}"),
            ])
            .add_row(["onApiLoss", on_api_loss])
            .add_row([
                "services",
                &format!(
                    "classes {}, without a class {}, namespaces {}",
                    listed(&services.load_balancer_classes, "none"),
                    if services.default { "too" } else { "not" },
                    listed(&services.namespaces, "all"),
                ),
            ]);
        if let Some(plane) = &self.control_plane {
            let addresses: Vec<String> = plane.addresses.iter().map(IpAddr::to_string).collect();
            let plane = format!("{} port {}", addresses.join(","), plane.port);
            table.add_row(["controlPlane", &plane]);
        }
        table.to_string()
    }
}

fn columns<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    table
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
