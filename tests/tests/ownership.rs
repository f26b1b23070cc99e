//! The lease machine under a seeded simulation. `XVIP_SEED=n` replays a seed and tells what
//! happens in it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use tests::ownership_sim::{self, Mutation, Tally, Violation};

const SEEDS: u64 = 10_000;

fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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
                        Err(violation) => lock(&outcome).1.push((seed, violation)),
                    }
                }
                lock(&outcome).0 += tally;
            });
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
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

/// A seed that shows each mutant. A change of the machine moves what a seed does, so a few more
/// are tried from there on; `every_mutant_is_looked_for` finds new ones.
const KEPT: &[(Mutation, u64)] = &[
    (Mutation::AnchoredAtTheAnswer, 115),
    (Mutation::HoldAboveDuration, 2),
    (Mutation::OwnDuration, 16),
    (Mutation::RowsWithoutSession, 379),
    (Mutation::ClaimWithoutRevoking, 4),
    (Mutation::RetriedRevocation, 51),
    (Mutation::SessionKeptOnConflict, 51),
    (Mutation::LivingRowOverwritten, 10),
    (Mutation::LiveOnARead, 126),
    (Mutation::WriteWithoutChange, 699),
    (Mutation::EntriesRevived, 3),
    (Mutation::EmptiedTakenAsRevoked, 19),
    (Mutation::RecreatedTakenAsFree, 6),
    (Mutation::CarvedByAnother, 166),
    (Mutation::FencedAfterGiving, 71),
    (Mutation::PassedDeadlineMoved, 5457),
    (Mutation::LiftedWithoutClaim, 2),
];
const TRIED: u64 = 500;

#[test]
fn the_kept_seeds_show_their_mutants_and_nothing_without_them() {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some((mutant, kept)) = KEPT.get(next.fetch_add(1, Relaxed) as usize) {
                    let shows = |seed: &u64| {
                        let run = ownership_sim::run(*seed, Some(*mutant));
                        matches!(run, Err(Violation::TwoAnswer { .. }))
                    };
                    let shown = (*kept..kept + TRIED).find(shows);
                    let seed = shown.unwrap_or_else(|| panic!("nothing shows {mutant:?}"));
                    let sound = ownership_sim::run_sound(seed, *mutant);
                    assert!(sound.is_ok(), "{mutant:?}, seed {seed}: {sound:?}");
                }
            });
        }
    });
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
                        if seed > seeds || lock(&found).len() > 1 {
                            break;
                        }
                        if let Err(violation @ Violation::TwoAnswer { .. }) =
                            ownership_sim::run(seed, Some(*mutant))
                        {
                            lock(&found).push((seed, violation.to_string()));
                        }
                    }
                });
            }
        });
        println!("{name}: {:?}", lock(&found));
    }
}
