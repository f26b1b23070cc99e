//! `vip-agent trace`: every decision of the programs over a VIP, as it is made.

use std::{
    fs::File,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use nix::net::if_::if_indextoname;
use tokio::{
    signal::ctrl_c,
    time::{interval, sleep},
};
use vip_common::abi::{LAYOUT, TraceSwitch, Traced};

use super::output::OutputFormat;
use crate::{
    capture::{Capture, Frame},
    io::datapath::{DatapathError, Pins, Records, Tables, boottime_ns},
    trace::{Decision, decode},
};

/// Arguments of `vip-agent trace`.
#[derive(clap::Args, Clone, Debug)]
pub struct TraceArgs {
    /// Only this VIP
    #[arg(long, value_name = "ADDRESS")]
    vip: Option<IpAddr>,
    /// Only what this client sends, by its address or MAC address
    #[arg(long, value_name = "ADDRESS|MAC")]
    client: Option<String>,
    /// End after this number of decisions
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End after this number of seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Directory of the pins on bpffs
    #[arg(
        long,
        env = "XVIP_PIN_DIR",
        value_name = "DIR",
        default_value = "/sys/fs/bpf/xvip"
    )]
    pin_dir: PathBuf,
    /// Also write the frames to this file, as pcapng with verdict and reason as comments; `-`
    /// writes them to the standard output, and nothing else
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Form of the output: lines, or one document for each decision
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// Nothing can be traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The maps are not there.
    #[error("{0}; is an agent running on this host?")]
    Maps(#[from] DatapathError),
    /// The ring buffer has one reader.
    #[error("another `vip-agent trace` runs: end it first")]
    Busy,
    /// The capture cannot be written.
    #[error("cannot write {0}: {1}")]
    Capture(String, std::io::Error),
    /// Reading or printing failed.
    #[error("cannot go on: {0}")]
    Io(#[from] std::io::Error),
}

/// The programs record for this long after the latest word of the reader.
const LEASE: Duration = Duration::from_secs(3);

/// Prints decisions until it is interrupted.
pub async fn run(args: &TraceArgs) -> Result<(), TraceError> {
    let mut sink = args.pcap.as_deref().map(Sink::create).transpose()?;
    let pins = Pins::new(&args.pin_dir, LAYOUT);
    let mut tables = Tables::open(&pins)?;
    let began = boottime_ns();
    if tables.trace()?.until_ns > began {
        return Err(TraceError::Busy);
    }
    let mut records = Records::traced(&pins)?;
    let ended = follow(args, &mut tables, &mut records, (began, &mut sink)).await;
    tables.set_trace(TraceSwitch::default())?;
    ended
}

async fn follow(
    args: &TraceArgs,
    tables: &mut Tables,
    records: &mut Records<Traced>,
    (began, sink): (u64, &mut Option<Sink>),
) -> Result<(), TraceError> {
    let mut renewal = interval(LEASE / 3);
    let end = sleep(Duration::from_secs(
        args.seconds.unwrap_or(u64::from(u32::MAX)),
    ));
    tokio::pin!(end);
    let mut left = args.count.unwrap_or(u64::MAX);
    let started = Instant::now();
    while left > 0 {
        tokio::select! {
            _ = renewal.tick() => {
                let until_ns = boottime_ns() + LEASE.as_nanos() as u64;
                tables.set_trace(TraceSwitch { until_ns })?;
            }
            record = records.next() => {
                let record = record?;
                let decision = decode(&record);
                // What an earlier reader left behind is old.
                if record.at_ns >= began && args.wants(&decision) {
                    if !sink.as_ref().is_some_and(|sink| sink.is_stdout) {
                        print(args.output, &decision, started)?;
                    }
                    if let Some(sink) = sink {
                        sink.write(&record, &decision)?;
                    }
                    left -= 1;
                }
            }
            () = &mut end => break,
            _ = ctrl_c() => break,
        }
    }
    Ok(())
}

/// Where a capture goes.
struct Sink {
    is_stdout: bool,
    name: String,
    to: Box<dyn Write>,
    capture: Capture,
}

impl Sink {
    fn create(path: &Path) -> Result<Self, TraceError> {
        let is_stdout = path == Path::new("-");
        let name = path.display().to_string();
        let to: Box<dyn Write> = match is_stdout {
            true => Box::new(std::io::stdout()),
            false => match File::create(path) {
                Ok(file) => Box::new(file),
                Err(error) => return Err(TraceError::Capture(name, error)),
            },
        };
        let mut sink = Self {
            is_stdout,
            name,
            to,
            capture: Capture::default(),
        };
        sink.put(&Capture::header())?;
        Ok(sink)
    }

    fn write(&mut self, record: &Traced, decision: &Decision) -> Result<(), TraceError> {
        let captured = usize::from(record.captured).min(record.frame.len());
        let ago = Duration::from_nanos(boottime_ns().saturating_sub(record.at_ns));
        let at = SystemTime::now() - ago;
        let since_1970 = at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let Decision {
            vip,
            verdict,
            reason,
            ..
        } = decision;
        let blocks = self.capture.frame(&Frame {
            ifindex: decision.ifindex,
            interface: &interface_name(decision.ifindex),
            at_ns: u64::try_from(since_1970.as_nanos()).unwrap_or_default(),
            bytes: &record.frame[..captured],
            length: record.length,
            comment: &format!("{vip} {verdict}: {reason}"),
        });
        self.put(&blocks)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        let put = self.to.write_all(bytes).and_then(|()| self.to.flush());
        put.map_err(|error| TraceError::Capture(self.name.clone(), error))
    }
}

impl TraceArgs {
    fn wants(&self, decision: &Decision) -> bool {
        let from = |client: &String| {
            decision.client_mac.eq_ignore_ascii_case(client)
                || decision
                    .client
                    .is_some_and(|address| client.parse() == Ok(address))
        };
        self.vip.is_none_or(|vip| vip == decision.vip) && self.client.as_ref().is_none_or(from)
    }
}

fn print(form: OutputFormat, decision: &Decision, started: Instant) -> Result<(), TraceError> {
    let failed = |error: &dyn std::error::Error| std::io::Error::other(error.to_string());
    let text = match form {
        OutputFormat::Table => line(decision, started.elapsed()),
        OutputFormat::Json => serde_json::to_string(decision).map_err(|error| failed(&error))?,
        OutputFormat::Yaml => {
            let document = serde_saphyr::to_string(decision).map_err(|error| failed(&error))?;
            format!("---\n{}", document.trim_end())
        }
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn interface_name(ifindex: u32) -> String {
    let name = if_indextoname(ifindex).ok();
    name.and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| ifindex.to_string())
}

fn line(decision: &Decision, since: Duration) -> String {
    let interface = interface_name(decision.ifindex);
    let Decision {
        vip,
        verdict,
        reason,
        client_mac,
        frame,
        length,
        ..
    } = decision;
    let since = since.as_secs_f64();
    format!(
        "{since:9.3} {interface} {vip} {verdict}: {reason} | {client_mac} {frame}, length {length}"
    )
}
