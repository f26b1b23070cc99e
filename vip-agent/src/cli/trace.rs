//! `vip-agent trace`: every decision of the programs over a VIP, as it is made.

use std::{
    io::Write,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::net::if_::if_indextoname;
use tokio::{
    signal::ctrl_c,
    time::{interval, sleep},
};
use vip_common::abi::{LAYOUT, TraceSwitch};

use super::output::OutputFormat;
use crate::{
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
    /// Reading or printing failed.
    #[error("cannot go on: {0}")]
    Io(#[from] std::io::Error),
}

/// The programs record for this long after the latest word of the reader.
const LEASE: Duration = Duration::from_secs(3);

/// Prints decisions until it is interrupted.
pub async fn run(args: &TraceArgs) -> Result<(), TraceError> {
    let pins = Pins::new(&args.pin_dir, LAYOUT);
    let mut tables = Tables::open(&pins)?;
    let began = boottime_ns();
    if tables.trace()?.until_ns > began {
        return Err(TraceError::Busy);
    }
    let mut records = Records::traced(&pins)?;
    let ended = follow(args, &mut tables, &mut records, began).await;
    tables.set_trace(TraceSwitch::default())?;
    ended
}

async fn follow(
    args: &TraceArgs,
    tables: &mut Tables,
    records: &mut Records<vip_common::abi::Traced>,
    began: u64,
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
                    print(args.output, &decision, started)?;
                    left -= 1;
                }
            }
            () = &mut end => break,
            _ = ctrl_c() => break,
        }
    }
    Ok(())
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

fn line(decision: &Decision, since: Duration) -> String {
    let interface = if_indextoname(decision.ifindex)
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| decision.ifindex.to_string());
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
