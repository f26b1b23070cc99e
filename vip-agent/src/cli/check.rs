//! `vip-agent check`: what the configuration means, or every error at once. It needs no
//! privilege, no kernel feature, and no interface to exist.

use std::{collections::BTreeSet, net::IpAddr};

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
        Attach, Config, Glob, Interfaces, Invalid, Note, Ownership, Problem, Reading, VipSpec,
        Warning, refusal::Occupied,
    },
    host::Host,
    io::netlink::Netlink,
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
    /// The VIPs that could be read.
    pub vips: Vec<Vip>,
    /// What works, and not as its author may believe.
    pub warnings: Vec<Warning>,
    /// What must be changed.
    pub errors: Vec<Problem>,
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
    let mut vips = Vec::with_capacity(config.vips.len());
    for (index, spec) in config.vips.iter().enumerate() {
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
        errors.extend(config.vips.iter().filter_map(|vip| occupied.refuse(vip)));
    }
    Document {
        ok: errors.is_empty(),
        node: config.node.clone(),
        attach: config.attach,
        ownership: config.ownership,
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

fn columns<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    table
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
