//! The real agent with ten thousand VIPs of each family.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use vip_common::abi::{SLOT_NEVER, VipKey};

use super::{
    error::Error,
    process::{cpu_seconds, resident_megabytes},
    table::{Aim, Table},
};
use crate::{
    agent::{self, Agent},
    lan::Lan,
    netns::BedError,
    wire::{Seen, Wire},
};

const PER_FAMILY: u32 = 10_000;
/// The kernel's own cost of an address grows with their number: this is ample on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
const IDLE: Duration = Duration::from_secs(20);

pub(super) fn measure(table: &mut Table) -> Result<(), Error> {
    let lan = Lan::new()?;
    let agent = Agent::spawn(&lan, &config())?;
    let heard = Heard::listen(&lan)?;
    let live = wait_live(&lan)?;
    let all = f64::from(PER_FAMILY) * 2.0;
    let began = Instant::now();
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
    announced(table, live, &heard.finish()?);
    let before = cpu_seconds(agent.pid())?;
    thread::sleep(IDLE);
    let idle = (cpu_seconds(agent.pid())? - before) / IDLE.as_secs_f64() * 100.0;
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

/// Waits until a sample of the VIPs is live: every hundredth, of both families, looked at every
/// millisecond. When the first and the last of them were.
fn wait_live(lan: &Lan) -> Result<[Instant; 2], Error> {
    let began = Instant::now();
    // `/sys` may show the interfaces of another namespace.
    let link = lan.node.run("ip -o link show dev eth0")?;
    let index = link.split(':').next().and_then(|index| index.parse().ok());
    let index: u32 = index.ok_or(Error::Missing("ifindex of eth0"))?;
    let mut waiting: Vec<VipKey> = vips()
        .step_by(100)
        .filter_map(|vip| Some(VipKey::new(vip.parse().ok()?, index)))
        .collect();
    let tables = loop {
        match agent::tables(&lan.node) {
            Ok(tables) => break tables,
            Err(_) if began.elapsed() > PATIENCE => return Err(Error::Missing("the maps")),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    };
    let (sampled, mut first) = (waiting.len(), None);
    while began.elapsed() < PATIENCE {
        let is_live = |key: &VipKey| {
            let entry = tables.vips.get(key).ok().flatten();
            entry.is_some_and(|entry| entry.slot != SLOT_NEVER)
        };
        waiting.retain(|key| !is_live(key));
        let now = Instant::now();
        if waiting.len() < sampled {
            first.get_or_insert(now);
        }
        if let (true, Some(first)) = (waiting.is_empty(), first) {
            return Ok([first, now]);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(Error::Silent("the agent with 20,000 VIPs"))
}

/// First announcements on the client's side.
struct Heard {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<HashMap<IpAddr, Instant>, BedError>>,
}

impl Heard {
    fn listen(lan: &Lan) -> Result<Self, Error> {
        let wire = Wire::open(&lan.client, "lan0", Duration::from_millis(50))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut firsts = HashMap::new();
            while !told.load(Ordering::Relaxed) {
                if let Some(frame) = wire.receive()?
                    && let Some(seen) = Seen::of(&frame)
                    && seen.is_announcement()
                {
                    firsts.entry(seen.about).or_insert_with(Instant::now);
                }
            }
            Ok(firsts)
        });
        Ok(Self { stop, thread })
    }

    fn finish(self) -> Result<HashMap<IpAddr, Instant>, Error> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(firsts) => Ok(firsts?),
            Err(_) => Err(Error::Panicked),
        }
    }
}

fn announced(table: &mut Table, live: [Instant; 2], firsts: &HashMap<IpAddr, Instant>) {
    let since = |live: Instant, heard: Option<&Instant>| match heard {
        Some(heard) => heard.saturating_duration_since(live).as_secs_f64() * 1e3,
        None => f64::INFINITY,
    };
    let first = since(live[0], firsts.values().min());
    let last = since(live[1], firsts.values().max());
    table.row(
        "first announcement".into(),
        format!("{first:.1} ms"),
        "after the first of them is live".into(),
        Some(Aim::at_most(10.0, first)),
    );
    table.row(
        "last first announcement".into(),
        format!("{last:.0} ms"),
        format!(
            "after the last of them is live, rate lifted; {} of {} heard",
            firsts.len(),
            PER_FAMILY * 2
        ),
        Some(Aim::at_most(100.0, last)),
    );
}

fn vips() -> impl Iterator<Item = String> {
    let ipv4 = (0..PER_FAMILY).map(|n| format!("10.{}.{}.1", n >> 8, n & 255));
    let ipv6 = (1..=PER_FAMILY).map(|n| format!("2001:db8:0:0:{n:x}::100"));
    ipv4.chain(ipv6)
}

fn config() -> String {
    let vips: String = vips()
        .map(|vip| format!("  - address: \"{vip}\"\n"))
        .collect();
    // At the default rate the bursts of so many VIPs would take a minute.
    format!(
        "interfaces: [eth0]\nattach: tc\nannounceRate: 1000000\nlog: {{level: warn}}\nvips:\n{vips}"
    )
}
