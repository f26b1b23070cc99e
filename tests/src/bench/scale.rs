//! The real agent with ten thousand VIPs of each family.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::{
    error::Error,
    table::{Aim, Table},
};
use crate::{agent::Agent, lan::Lan};

const PER_FAMILY: u32 = 10_000;
/// The kernel's own cost of an address grows with their number: this is ample on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
const IDLE: Duration = Duration::from_secs(20);

pub(super) fn measure(table: &mut Table) -> Result<(), Error> {
    let lan = Lan::new()?;
    let agent = Agent::spawn(&lan, &config())?;
    let began = Instant::now();
    let all = f64::from(PER_FAMILY) * 2.0;
    while agent.metric("xvip_claims_held", &[]).unwrap_or(0.0) < all {
        if began.elapsed() > PATIENCE {
            return Err(Error::Silent("the agent with 20,000 VIPs"));
        }
        thread::sleep(Duration::from_millis(200));
    }
    let took = agent.metric("xvip_reconcile_duration_seconds_sum", &[])?;
    table.row(
        "10,000 VIPs per family".into(),
        format!("{took:.1} s"),
        "programmed, bound, live; nearly all of it in the kernel".into(),
        Some(Aim::at_most(2.0, took)),
    );
    // The bursts are over after 15 s.
    thread::sleep(Duration::from_secs(16));
    let ticks = cpu_ticks(agent.pid())?;
    thread::sleep(IDLE);
    let idle = (cpu_ticks(agent.pid())? - ticks) / IDLE.as_secs_f64();
    let resident = resident_megabytes(agent.pid())?;
    table.row(
        "memory with them".into(),
        format!("{resident:.1} MB"),
        "resident".into(),
        Some(Aim::at_most(30.0, resident)),
    );
    // 100 ticks a second: the number is per cent of a core.
    table.row(
        "CPU with them, at rest".into(),
        format!("{idle:.2} %"),
        "of a core".into(),
        Some(Aim::at_most(0.2, idle)),
    );
    Ok(())
}

fn config() -> String {
    let ipv4 = (0..PER_FAMILY).map(|n| format!("10.{}.{}.1", n >> 8, n & 255));
    let ipv6 = (1..=PER_FAMILY).map(|n| format!("2001:db8:0:0:{n:x}::100"));
    let vips: String = ipv4
        .chain(ipv6)
        .map(|vip| format!("  - address: \"{vip}\"\n"))
        .collect();
    // At the default rate the bursts of so many VIPs would take a minute.
    format!(
        "interfaces: [eth0]\nattach: tc\nannounceRate: 1000000\nlog: {{level: warn}}\nvips:\n{vips}"
    )
}

/// User and system time so far (proc_pid_stat(5), fields 14 and 15).
fn cpu_ticks(pid: u32) -> Result<f64, Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(Error::io("stat"))?;
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    Ok(fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum())
}

fn resident_megabytes(pid: u32) -> Result<f64, Error> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(Error::io("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kilobytes.ok_or(Error::Missing("VmRSS"))? / 1_000.0)
}
