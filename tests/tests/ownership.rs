//! The lease machines under a seeded simulation, kept schedules and an exhaustive checker
//! (`docs/proofs.md`). `XVIP_SEED=n` replays a seed and tells what happens in it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use ownership_sim::{
    DICE, KEPT, Kind, Mutation, Schedule, Tally, Violation,
    checker::{Bounds, Explored, Fault, SOMETIMES, TWO},
    search,
};
use tests::process::give_way;

const SEEDS: u64 = 10_000;

fn threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from)
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("{name}={text}: {error}"),
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs seeds from 1 on, on all cores, and gives those that fail.
fn run_all(kind: Kind, seeds: u64) -> (Tally, Vec<(u64, Violation)>) {
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
                    match ownership_sim::run(kind, seed) {
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

/// Runs seeds, or tells what happens in the one of `XVIP_SEED`.
fn walk(kind: Kind, test: &str, seeds: u64) -> Option<Tally> {
    if let Some(seed) = number("XVIP_SEED") {
        let run = ownership_sim::trace(kind, seed);
        println!("{run:#?}");
        assert!(run.is_ok(), "seed {seed}");
        return None;
    }
    let seeds = number("XVIP_SEEDS").unwrap_or(seeds);
    let (tally, failed) = run_all(kind, seeds);
    println!("{tally:#?}");
    for (seed, violation) in &failed {
        println!(
            "XVIP_SEED={seed} cargo test -p tests --test ownership {test} -- --nocapture: \
             {violation}"
        );
    }
    assert!(failed.is_empty(), "{} seeds failed", failed.len());
    Some(tally)
}

#[test]
fn ten_thousand_seeds_never_show_two_answerers_and_heal_to_exactly_one() {
    give_way();
    let Some(tally) = walk(Kind::Sessions, "ten_thousand", SEEDS) else {
        return;
    };
    let sometimes = [
        tally.revocations,
        tally.hand_overs,
        tally.failovers,
        tally.carved,
        tally.unconfirmed,
        tally.yields,
        tally.released,
        tally.parked,
        tally.out_of_time,
        tally.continued,
    ];
    assert!(sometimes.iter().all(|times| *times > 100), "{tally:#?}");
}

#[test]
fn the_lease_of_the_control_plane_never_shows_two_answerers_and_heals_to_exactly_one() {
    give_way();
    let Some(tally) = walk(Kind::ControlPlane, "control_plane", SEEDS) else {
        return;
    };
    let sometimes = [
        tally.revocations,
        tally.hand_overs,
        tally.failovers,
        tally.unconfirmed,
        tally.yields,
        tally.released,
        tally.parked,
        tally.out_of_time,
        tally.continued,
    ];
    assert!(sometimes.iter().all(|times| *times > 100), "{tally:#?}");
}

/// Runs a schedule with and without its mutant, whatever the dice of world and machines do, and
/// says what is wrong first.
fn judge(schedule: &Schedule) -> Option<String> {
    let Schedule { shows, kind, .. } = schedule;
    let tells = std::env::var("XVIP_MUTANT").is_ok();
    let runs = DICE.flat_map(|dice| [(dice, true), (dice, false)]);
    let mut wrong = runs.filter_map(|(dice, breaks)| {
        let run = schedule.run(breaks, dice, tells);
        let right = match breaks {
            true => matches!(run, Err(Violation::TwoAnswer { .. })),
            false => run.is_ok(),
        };
        let with = if breaks { "with it" } else { "without it" };
        (!right).then(|| format!("{shows:?}, {kind:?}, dice {dice}, {with}: {run:?}"))
    });
    wrong.next()
}

#[test]
fn the_kept_schedules_show_their_mutants_and_nothing_without_them() {
    give_way();
    let only = std::env::var("XVIP_MUTANT").unwrap_or_default();
    let chosen = KEPT
        .iter()
        .filter(|schedule| format!("{:?}", schedule.shows).contains(&only));
    let wrong: Vec<_> = chosen.filter_map(judge).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_mutant_has_a_schedule_that_shows_it() {
    give_way();
    let missing: Vec<_> = Mutation::ALL
        .into_iter()
        .flat_map(|mutant| mutant.kinds().iter().map(move |kind| (mutant, *kind)))
        .filter(|(mutant, kind)| {
            let shows = |kept: &Schedule| kept.shows == *mutant && kept.kind == *kind;
            !KEPT.iter().any(shows)
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Kinds of faults of which two go wrong in one run.
const PAIRS: [&[Fault]; 4] = [
    &[Fault::Late, Fault::Lost],
    &[Fault::Cut, Fault::Stop, Fault::StopInStore],
    &[Fault::Edit, Fault::Late],
    &[Fault::Cordon, Fault::Crash, Fault::Late],
];
/// Far more than it takes on two cores that have nothing else to do.
const PATIENCE: Duration = Duration::from_secs(900);

/// Visits all states within the bounds: none may break a rule.
fn explore(bounds: &Bounds) -> Explored {
    let limit = number("XVIP_SECONDS").map_or(PATIENCE, Duration::from_secs);
    let explored = bounds.explore(threads(), limit);
    let Explored {
        states,
        moves,
        depth,
        took,
        broken,
        ..
    } = &explored;
    let Bounds {
        kind,
        faults,
        among,
        ..
    } = bounds;
    println!(
        "{kind:?}, {faults} of {among:?}: {states} states, {moves} moves, {depth} deep, {took:.1?}"
    );
    assert_eq!(*broken, None, "{bounds:?}");
    assert!(explored.complete, "only {states} states in {took:?}");
    explored
}

#[test]
fn all_states_that_one_fault_leads_to_have_one_answerer_and_heal() {
    give_way();
    for kind in [Kind::Sessions, Kind::ControlPlane] {
        let explored = explore(&Bounds::new(kind, 1));
        for sometimes in SOMETIMES {
            assert!(explored.sometimes.contains(&sometimes), "{sometimes}");
        }
    }
}

#[test]
fn all_states_that_two_faults_lead_to_have_one_answerer_and_heal() {
    give_way();
    let faults = number("XVIP_FAULTS");
    for kind in [Kind::Sessions, Kind::ControlPlane] {
        match faults {
            Some(faults) => drop(explore(&Bounds::new(kind, faults as u8))),
            None => {
                for among in PAIRS {
                    let mut bounds = Bounds::new(kind, 2);
                    bounds.among = among.into();
                    explore(&bounds);
                }
            }
        }
    }
}

#[test]
fn the_checker_finds_mutants() {
    give_way();
    use Fault::{Cordon, Crash, Cut, Edit, Late};
    use Kind::{ControlPlane, Sessions};
    let found: [(Kind, Mutation, &[Fault]); 10] = [
        (Sessions, Mutation::HoldAboveDuration, &[Crash]),
        (ControlPlane, Mutation::HoldAboveDuration, &[Crash]),
        (Sessions, Mutation::LiveWithoutClaim, &[Cut]),
        (ControlPlane, Mutation::LiveWithoutClaim, &[Cut]),
        (Sessions, Mutation::RowsWithoutSession, &[Edit]),
        (ControlPlane, Mutation::RetriedRevocation, &[Late]),
        (Sessions, Mutation::AnchoredAtTheAnswer, &[Late, Cut]),
        (ControlPlane, Mutation::AnchoredAtTheAnswer, &[Late, Cut]),
        (Sessions, Mutation::EntriesRevived, &[Edit, Late]),
        (Sessions, Mutation::LiveOnARead, &[Cordon, Late]),
    ];
    for (kind, mutant, among) in found {
        let mut bounds = Bounds::new(kind, among.len() as u8);
        bounds.among = among.into();
        bounds.mutation = Some(mutant);
        let explored = bounds.explore(threads(), PATIENCE);
        let broken = explored.broken.as_ref().map(|(what, _)| *what);
        assert_eq!(broken, Some(TWO), "{kind:?}, {mutant:?}: {explored:?}");
    }
}

/// Looks for schedules that show the mutant of `XVIP_MUTANT`, to be kept.
#[test]
#[ignore = "a search, of minutes: wants XVIP_MUTANT"]
fn schedules_are_looked_for() {
    give_way();
    let Ok(wanted) = std::env::var("XVIP_MUTANT") else {
        return;
    };
    let tries = number("XVIP_SEEDS").unwrap_or(SEEDS);
    let only = std::env::var("XVIP_KIND").unwrap_or_default();
    for mutant in Mutation::ALL {
        for kind in mutant.kinds() {
            let is_wanted =
                format!("{mutant:?}").contains(&wanted) && format!("{kind:?}").contains(&only);
            if !is_wanted {
                continue;
            }
            let threads = threads() as u64;
            let found = Mutex::new(Vec::new());
            thread::scope(|scope| {
                for thread in 0..threads {
                    let found = &found;
                    scope.spawn(move || {
                        let from = 1 + thread * tries;
                        lock(found).extend(search::find(mutant, *kind, from, tries));
                    });
                }
            });
            println!("{mutant:?}, {kind:?}:");
            for steps in lock(&found).iter() {
                println!("    {steps:?}");
            }
        }
    }
}
