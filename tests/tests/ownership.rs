//! The lease machine under a seeded simulation. `XVIP_SEED=n` replays a seed and tells what
//! happens in it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use tests::ownership_sim::{self, Mutation, Tally, Violation};

const SEEDS: u64 = 10_000;

fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// Runs seeds from 1 on, on all cores, and gives those that fail.
fn run_all(seeds: u64) -> (Tally, Vec<(u64, Violation)>) {
    let next = AtomicU64::new(1);
    let outcome = Mutex::new((Tally::default(), Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                let mut tally = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed > seeds {
                        break;
                    }
                    match ownership_sim::run(seed, None) {
                        Ok(of_seed) => tally += of_seed,
                        Err(violation) => outcome.lock().unwrap().1.push((seed, violation)),
                    }
                }
                outcome.lock().unwrap().0 += tally;
            });
        }
    });
    outcome.into_inner().unwrap()
}

#[test]
fn ten_thousand_seeds_never_show_two_answerers_and_heal_to_exactly_one() {
    if let Ok(seed) = std::env::var("XVIP_SEED") {
        let seed = seed.parse().expect("XVIP_SEED is a number");
        println!("{:#?}", ownership_sim::trace(seed, None).unwrap());
        return;
    }
    let seeds = std::env::var("XVIP_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let (tally, failed) = run_all(seeds);
    println!("{tally:#?}");
    for (seed, violation) in &failed {
        println!(
            "XVIP_SEED={seed} cargo test -p tests --test ownership -- --nocapture: {violation}"
        );
    }
    assert!(failed.is_empty(), "{} seeds failed", failed.len());
    let sometimes = [
        tally.revocations,
        tally.hand_overs,
        tally.failovers,
        tally.carved,
        tally.unconfirmed,
        tally.yields,
        tally.parked,
        tally.continued,
    ];
    assert!(sometimes.iter().all(|times| *times > 100), "{tally:#?}");
}

/// Looks for seeds that show mutants, to be kept below.
#[test]
#[ignore = "a search, of minutes"]
fn every_mutant_is_looked_for() {
    let seeds = std::env::var("XVIP_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let only = std::env::var("XVIP_MUTANT").unwrap_or_default();
    let mutants = Mutation::ALL.map(|mutant| (mutant, format!("{mutant:?}")));
    for (mutant, name) in mutants.iter().filter(|(_, name)| name.contains(&only)) {
        let next = AtomicU64::new(1);
        let found = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..threads() {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Relaxed);
                        if seed > seeds || found.lock().unwrap().len() > 1 {
                            break;
                        }
                        if let Err(violation @ Violation::TwoAnswer { .. }) =
                            ownership_sim::run(seed, Some(*mutant))
                        {
                            found.lock().unwrap().push((seed, violation.to_string()));
                        }
                    }
                });
            }
        });
        println!("{name}: {:?}", found.into_inner().unwrap());
    }
}
