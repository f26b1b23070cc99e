//! `vip-agent sysdump`: all that a report about this node needs, in one archive.
//!
//! Every part is taken for itself: what cannot be had is named in `missing.txt`, and the rest is
//! there. Secrets stay out: of the configuration what was understood is taken, and not the file; of
//! credentials their path; of the environment the variables of our keys.

use std::{
    fs::File,
    io::{self, Write},
    net::IpAddr,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use tar::{Builder, Header};
use vip_common::abi::{LAYOUT, LEASE_SLOTS};

use super::{
    agent::AgentAddress,
    doctor::{self, DoctorArgs},
    flags::Flags,
    output::OutputFormat,
    run,
};
use crate::{
    config::Key,
    io::{
        datapath::{Pins, Slots, Tables, boottime_ns},
        netlink::Netlink,
    },
    status::Status,
};

/// VIPs that are explained one by one.
const EXPLAINED: usize = 64;

/// Arguments of `vip-agent sysdump`.
#[derive(clap::Args, Clone, Debug)]
pub struct SysdumpArgs {
    #[command(flatten)]
    flags: Flags,
    /// The archive [default: xvip-sysdump-TIME.tar.gz]; `-` is the standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// There is no archive.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}", path = path.display())]
pub struct SysdumpError {
    path: PathBuf,
    source: io::Error,
}

/// Writes the archive; the line to print.
pub async fn run(args: &SysdumpArgs) -> Result<String, SysdumpError> {
    let now = Timestamp::now();
    let name = format!("xvip-sysdump-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let path = args
        .output
        .clone()
        .unwrap_or_else(|| format!("{name}.tar.gz").into());
    let mut dump = Dump::default();
    dump.take(args).await;
    let is_stdout = path == Path::new("-");
    let written = match is_stdout {
        true => dump.write(&name, now, io::stdout().lock()),
        false => File::create(&path).and_then(|file| dump.write(&name, now, file)),
    };
    written.map_err(|source| SysdumpError {
        path: path.clone(),
        source,
    })?;
    Ok(match is_stdout {
        true => String::new(),
        false => format!(
            "{}: {} parts, {} missing\n",
            path.display(),
            dump.parts.len(),
            dump.missing.len()
        ),
    })
}

/// The parts, by their names in the archive.
#[derive(Default)]
struct Dump {
    parts: Vec<(String, String)>,
    missing: Vec<String>,
}

impl Dump {
    fn put(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.parts.push((name.into(), text.into()));
    }

    fn put_or_miss(&mut self, name: &str, text: Result<String, impl ToString>) {
        match text {
            Ok(text) => self.put(name, text),
            Err(error) => self.missing.push(format!("{name}: {}", error.to_string())),
        }
    }

    async fn take(&mut self, args: &SysdumpArgs) {
        self.versions();
        let (http, pin_dir) = match run::read(&args.flags) {
            Ok(reading) => {
                let config = reading.shown();
                self.put("configuration.txt", format!("{config:#?}\n"));
                let said = (reading.errors().iter().map(ToString::to_string))
                    .chain(reading.warnings().iter().map(ToString::to_string));
                self.put(
                    "configuration-remarks.txt",
                    said.map(|line| line + "\n").collect::<String>(),
                );
                (config.http.to_string(), config.pin_dir.clone())
            }
            Err(error) => {
                self.missing.push(format!("configuration.txt: {error}"));
                ("127.0.0.1:9470".to_owned(), "/sys/fs/bpf/xvip".into())
            }
        };
        self.environment();
        self.agent(&AgentAddress { http }).await;
        self.maps(&Pins::new(&pin_dir, LAYOUT));
        match Netlink::connect() {
            Ok((netlink, _changes)) => {
                let host = netlink.observe().await;
                self.put_or_miss(
                    "links-and-addresses.txt",
                    host.map(|host| format!("{host:#?}\n")),
                );
            }
            Err(error) => self
                .missing
                .push(format!("links-and-addresses.txt: {error}")),
        }
        let doctor = DoctorArgs::of(args.flags.clone(), OutputFormat::Table);
        let examined = doctor::run(&doctor).await;
        self.put_or_miss("doctor.txt", examined.map(|(text, _)| text));
    }

    fn versions(&mut self) {
        let mut text = format!("vip-agent {}\n", env!("CARGO_PKG_VERSION"));
        for file in ["/proc/version", "/proc/uptime", "/etc/os-release"] {
            if let Ok(read) = std::fs::read_to_string(file) {
                text += &read;
            }
        }
        text += &format!("boottime {} ns\n", boottime_ns());
        self.put("versions.txt", text);
    }

    /// Variables that are keys of ours: no other says anything of xvip, and some are secrets.
    fn environment(&mut self) {
        let names = Key::ALL.map(Key::variable);
        let set = names.iter().filter_map(|name| {
            let value = std::env::var(name).ok()?;
            Some(format!("{name}={value}\n"))
        });
        let text = set.collect::<String>();
        self.put("environment.txt", text);
    }

    async fn agent(&mut self, agent: &AgentAddress) {
        for (name, path) in [
            ("status.json", "/v1/status"),
            ("events.json", "/v1/events"),
            ("metrics.txt", "/metrics"),
            ("ready.txt", "/readyz"),
        ] {
            self.put_or_miss(name, agent.text(path).await);
        }
        let Ok(status) = agent.document::<Status>("/v1/status").await else {
            return;
        };
        let vips: Vec<IpAddr> = status
            .vips
            .iter()
            .map(|vip| vip.address)
            .take(EXPLAINED)
            .collect();
        for vip in vips {
            let name = format!("explain/{}.json", vip.to_string().replace(':', "-"));
            let text = agent.text(&format!("/v1/explain?vip={vip}")).await;
            self.put_or_miss(&name, text);
        }
    }

    fn maps(&mut self, pins: &Pins) {
        match Tables::open(pins) {
            Ok(tables) => {
                self.put_or_miss("maps/VIPS.txt", tables.vips.all().map(lines));
                self.put_or_miss("maps/VIP_STATE.txt", tables.vip_state.all().map(lines));
                self.put_or_miss("maps/LINKS.txt", tables.links.all().map(lines));
                self.put_or_miss("maps/HOST_MACS.txt", tables.host_macs.all().map(lines));
                self.put_or_miss("maps/COUNTERS.txt", tables.frames().map(lines));
            }
            Err(error) => self.missing.push(format!("maps: {error}")),
        }
        match Slots::open(pins) {
            Ok(slots) => {
                let slots = (0..LEASE_SLOTS as u16).map(|slot| (slot, slots.get(slot)));
                self.put("maps/LEASES.txt", lines(slots));
            }
            Err(error) => self.missing.push(format!("maps/LEASES.txt: {error}")),
        }
    }

    fn write(&mut self, name: &str, now: Timestamp, to: impl Write) -> io::Result<()> {
        let missing = self.missing.iter().map(|line| format!("{line}\n"));
        let missing = ("missing.txt".to_owned(), missing.collect::<String>());
        let mut archive = Builder::new(GzEncoder::new(to, Compression::default()));
        for (part, text) in self.parts.iter().chain([&missing]) {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(u64::try_from(now.as_second()).unwrap_or_default());
            archive.append_data(&mut header, format!("{name}/{part}"), text.as_bytes())?;
        }
        archive.into_inner()?.finish()?.flush()
    }
}

/// A line each.
fn lines(entries: impl IntoIterator<Item = impl std::fmt::Debug>) -> String {
    entries
        .into_iter()
        .map(|entry| format!("{entry:?}\n"))
        .collect()
}
