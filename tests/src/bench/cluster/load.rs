//! What three agents ask of the API server and of their nodes.

use std::{
    collections::BTreeMap,
    thread::sleep,
    time::{Duration, Instant},
};

use super::super::{
    error::Error,
    process::{cpu_seconds, resident_megabytes},
};
use crate::kubernetes::{Bed, Call};

/// How long is looked.
const TIME: Duration = Duration::from_secs(40);
/// Nothing but renewals for so long is rest.
const CALM: Duration = Duration::from_secs(5);
/// Thousands of Events are written at ten a second.
const PATIENCE: Duration = Duration::from_secs(300);

/// At rest.
pub(super) struct Load {
    /// Of all agents, a second.
    pub(super) writes: f64,
    /// What they were.
    pub(super) kinds: String,
    /// Gets and lists of all agents, a second.
    pub(super) reads: f64,
    /// Watches that ended and were begun again.
    pub(super) watches: f64,
    /// Resident, of the largest.
    pub(super) megabytes: f64,
    /// Per cent of a core, of the busiest.
    pub(super) percent: f64,
}

fn agents_calls(bed: &Bed) -> Result<Vec<Call>, Error> {
    let mut calls = bed.control.calls()?;
    calls.retain(|call| call.by.starts_with("node-"));
    Ok(calls)
}

/// Waits until agents write nothing but renewals.
pub(super) fn wait_calm(bed: &Bed) -> Result<(), Error> {
    let began = Instant::now();
    loop {
        let before = other_writes(bed)?;
        sleep(CALM);
        if other_writes(bed)? == before {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::Missing("rest"));
        }
    }
}

fn other_writes(bed: &Bed) -> Result<usize, Error> {
    let calls = agents_calls(bed)?;
    let others = calls
        .iter()
        .filter(|call| call.is_write() && call.resource != "leases");
    Ok(others.count())
}

impl Load {
    /// Waits for rest, and measures.
    pub(super) fn at_rest(bed: &Bed) -> Result<Self, Error> {
        wait_calm(bed)?;
        let pids: Vec<u32> = bed.nodes.iter().map(|node| node.agent().pid()).collect();
        let seconds_of_cpu = || {
            pids.iter()
                .map(|pid| cpu_seconds(*pid))
                .collect::<Result<Vec<_>, _>>()
        };
        let (before, known) = (seconds_of_cpu()?, agents_calls(bed)?.len());
        let began = Instant::now();
        sleep(TIME);
        let seconds = began.elapsed().as_secs_f64();
        let (after, calls) = (seconds_of_cpu()?, agents_calls(bed)?);
        let calls = calls.get(known..).unwrap_or_default();
        let rate = |counts: &dyn Fn(&Call) -> bool| {
            calls.iter().filter(|call| counts(call)).count() as f64 / seconds
        };
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for call in calls.iter().filter(|call| call.is_write()) {
            *kinds
                .entry(format!("{} {}", call.verb, call.resource))
                .or_default() += 1;
        }
        let kinds = kinds
            .into_iter()
            .map(|(kind, count)| format!("{count} {kind}"));
        let used = before
            .iter()
            .zip(&after)
            .map(|(before, after)| after - before);
        let memory = pids.iter().map(|pid| resident_megabytes(*pid));
        let memory = memory.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            writes: rate(&Call::is_write),
            kinds: kinds.collect::<Vec<_>>().join(", "),
            reads: rate(&|call| matches!(&*call.verb, "get" | "list")),
            watches: rate(&|call| call.verb == "watch"),
            megabytes: memory.into_iter().fold(0.0, f64::max),
            percent: used.fold(0.0, f64::max) / seconds * 100.0,
        })
    }
}
