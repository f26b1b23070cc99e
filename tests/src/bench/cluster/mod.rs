//! Three agents, a real API server and a thousand Services, half of them with
//! `externalTrafficPolicy: Local`: how soon they are answered, what the agents take at rest, and
//! what a node leaves behind that held all of them.

mod load;
mod seen;
mod services;

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use self::{
    load::Load,
    seen::{Seen, silences},
    services::Services,
};
use super::{
    error::Error,
    table::{Aim, Table},
};
use crate::{
    kubernetes::{Bed, Times},
    observer::Observer,
};

const FEW: usize = 10;
const MANY: usize = 1000;
/// Every VIP is asked for so often.
const PAUSE: Duration = Duration::from_millis(100);
/// While Services are created: who asks and who is asked share the two cores with the API server.
const WIDE: Duration = Duration::from_millis(250);
/// Some are, while a node leaves.
const CLOSE: Duration = Duration::from_millis(5);
const SAMPLE: usize = 50;
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn measure(table: &mut Table) -> Result<(), Error> {
    let alone = alone()?;
    let mut bed = Bed::new(3)?;
    bed.install()?;
    for index in 0..bed.nodes.len() {
        let config = bed.config(index, "").replace("level: debug", "level: info");
        bed.start_agent(index, &config)?;
    }
    bed.nodes
        .iter()
        .try_for_each(|node| node.agent().wait_ready())?;
    bed.wait_rows_at_rest()?;
    let services = Services::prepare(&bed, MANY)?;

    services.create(&bed, 0..FEW)?;
    let few = Load::at_rest(&bed)?;
    creation(table, &bed, &services, alone)?;
    let many = Load::at_rest(&bed)?;
    rest(table, &few, &many);
    far(table, &bed, &many)?;

    let owner = gather(&mut bed, &services)?;
    leave(table, &mut bed, &services, owner)?;
    let owner = gather(&mut bed, &services)?;
    die(table, &mut bed, &services, owner)
}

/// How long the API server takes for the same Services where no agent runs and nobody asks.
fn alone() -> Result<Duration, Error> {
    let bed = Bed::new(3)?;
    bed.install()?;
    let services = Services::prepare(&bed, MANY)?;
    services.create(&bed, 0..FEW)?;
    let began = Instant::now();
    services.create(&bed, FEW..MANY)?;
    Ok(began.elapsed())
}

fn creation(
    table: &mut Table,
    bed: &Bed,
    services: &Services,
    alone: Duration,
) -> Result<(), Error> {
    let seen = Seen::ask(bed, services.vips(), WIDE)?;
    let began = seen.now();
    services.create(bed, FEW..MANY)?;
    let called = seen.now() - began;
    let times = seen.wait_answered(services.vips(), began, PATIENCE)?;
    let last = times.into_iter().max().unwrap_or_default().as_secs_f64();
    table.row(
        format!("{MANY} Services, created to all answered"),
        format!("{last:.1} s"),
        format!(
            "{:.1} s until the API server had taken the last of them",
            called.as_secs_f64()
        ),
        Some(Aim::at_most(10.0, last)),
    );
    table.row(
        "the same, until the API server had taken the last of them".into(),
        format!("{:.2}x", called.as_secs_f64() / alone.as_secs_f64()),
        format!(
            "of what it takes without agents, {:.1} s",
            alone.as_secs_f64()
        ),
        None,
    );
    Ok(())
}

fn rest(table: &mut Table, few: &Load, many: &Load) {
    for (count, load, aim) in [(FEW, few, None), (MANY, many, Some(3.0))] {
        table.row(
            format!("writes at rest, {count} Services"),
            format!("{:.2}/s", load.writes),
            format!("three agents; {}", load.kinds),
            aim.map(|aim| Aim::at_most(aim, load.writes)),
        );
        table.row(
            format!("reads at rest, {count} Services"),
            format!("{:.2}/s", load.reads),
            format!("and {:.2}/s watches begun again", load.watches),
            None,
        );
    }
    table.row(
        format!("memory, {MANY} Services"),
        format!("{:.1} MB", many.megabytes),
        format!(
            "resident, the largest of three; {:.1} with {FEW}",
            few.megabytes
        ),
        Some(Aim::at_most(40.0, many.megabytes)),
    );
    table.row(
        format!("CPU at rest, {MANY} Services"),
        format!("{:.2} %", many.percent),
        format!(
            "of a core, the busiest of three; {:.2} with {FEW}",
            few.percent
        ),
        Some(Aim::at_most(0.3, many.percent)),
    );
}

/// A thousand nodes, of which eight announce: every one of these renews as these three do, and
/// every agent hears of it.
fn far(table: &mut Table, bed: &Bed, many: &Load) -> Result<(), Error> {
    const NODES: f64 = 1000.0;
    const ANNOUNCERS: f64 = 8.0;
    let each = many.writes / bed.nodes.len() as f64;
    let writes = ANNOUNCERS * each;
    let bytes = bed.session(0)?.to_string().len() as f64;
    table.row(
        "1,000 nodes, 8 announce: writes".into(),
        format!("{writes:.1}/s"),
        format!("worked out: {each:.2}/s for each session"),
        None,
    );
    table.row(
        "1,000 nodes, 8 announce: watch events".into(),
        format!("{:.0}/s", writes * NODES),
        format!(
            "worked out: a Lease of {bytes:.0} bytes to each, {:.1} MB/s in all",
            writes * NODES * bytes / 1e6
        ),
        None,
    );
    Ok(())
}

/// Makes one node the owner of all: the others leave and come back.
fn gather(bed: &mut Bed, services: &Services) -> Result<usize, Error> {
    let owner = bed.nodes.len() - 1;
    for index in 0..owner {
        bed.nodes[index].agent_mut().terminate()?;
    }
    let seen = Seen::ask(bed, services.vips(), PAUSE)?;
    let mac = bed.nodes[owner].mac();
    let began = Instant::now();
    loop {
        let since = seen.now();
        sleep(PAUSE * 5);
        if seen.all_by(services.vips(), mac, since) {
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::Missing("owner of all VIPs"));
        }
    }
    for index in 0..owner {
        bed.nodes[index].agent_mut().restart()?;
    }
    // Sessions, endless lists, statuses and Events are through.
    load::wait_calm(bed)?;
    Ok(owner)
}

fn leave(table: &mut Table, bed: &mut Bed, services: &Services, owner: usize) -> Result<(), Error> {
    let step = services.vips().len() / SAMPLE;
    let sample: Vec<&str> = services
        .vips()
        .iter()
        .step_by(step)
        .map(String::as_str)
        .collect();
    let observer = Observer::ask(&bed.client, &sample, CLOSE)?;
    sleep(Duration::from_millis(500));
    let began = observer.now();
    bed.nodes[owner].agent_mut().terminate()?;
    let took = observer.now() - began;
    sleep(Duration::from_secs(2));
    let observed = observer.finish()?;
    let gaps = silences(&observed, began);
    let (median, gap) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    let overlap = observed.one_answerer(None).err();
    table.row(
        format!("SIGTERM of the owner of {MANY}"),
        format!("{} ms", gap.as_millis()),
        format!(
            "unanswered at most, of {SAMPLE} VIPs, median {} ms; it was gone after {:.1} s{}",
            median.as_millis(),
            took.as_secs_f64(),
            overlap.map_or_else(String::new, |two| format!("; {two}"))
        ),
        Some(Aim::at_most(50.0, gap.as_secs_f64() * 1e3)),
    );
    bed.nodes[owner].agent_mut().restart()?;
    load::wait_calm(bed)
}

fn die(table: &mut Table, bed: &mut Bed, services: &Services, owner: usize) -> Result<(), Error> {
    let seen = Seen::ask(bed, services.vips(), PAUSE)?;
    sleep(PAUSE * 10);
    let mac = bed.nodes[owner].mac();
    let killed = seen.now();
    bed.nodes[owner].agent_mut().kill()?;
    let times = seen.wait_answered_by_others(services.vips(), mac, killed, PATIENCE)?;
    let first = times
        .iter()
        .min()
        .copied()
        .unwrap_or_default()
        .as_secs_f64();
    let last = times.into_iter().max().unwrap_or_default().as_secs_f64();
    let lease = Times::FIVE_SECONDS.duration.as_secs_f64();
    table.row(
        format!("kill -9 of the owner of {MANY}"),
        format!("{last:.2} s"),
        format!(
            "until the last is answered by another, the first after {first:.2} s; L = {lease} s"
        ),
        Some(Aim::at_most(lease + 1.0, last)),
    );
    Ok(())
}
