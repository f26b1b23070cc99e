//! Looks for schedules that show a mutant, by chance, and makes them as short as they can be.

use vip_ownership::Readiness;

use super::{
    agent::Kind,
    check::Violation,
    dice::Dice,
    mutation::Mutation,
    schedule::{DICE, Step, Wire, run_steps},
};

/// Times and what happens then.
pub type Steps = Vec<(u64, Step)>;

/// A schedule that shows a mutant whatever the dice do, and nothing without it; none was found in
/// so many tries that begin with seed `from`.
pub fn find(mutation: Mutation, kind: Kind, from: u64, tries: u64) -> Option<Steps> {
    (from..from + tries).find_map(|seed| {
        let steps = random(mutation, &mut Dice::new(seed));
        let shown = is_shown(mutation, kind, &steps, DICE.start..DICE.start + 1)
            && is_shown(mutation, kind, &steps, DICE);
        shown.then(|| shortened(mutation, kind, steps))
    })
}

/// With the mutant two answer, without it all is well.
fn is_shown(mutation: Mutation, kind: Kind, steps: &Steps, dice: std::ops::Range<u64>) -> bool {
    dice.clone().all(|dice| {
        let broken = run_steps(kind, steps, Some(mutation), dice, false);
        matches!(broken, Err(Violation::TwoAnswer { .. }))
    }) && dice
        .clone()
        .all(|dice| run_steps(kind, steps, None, dice, false).is_ok())
}

/// Leaves out what is not needed, and makes times round.
fn shortened(mutation: Mutation, kind: Kind, mut steps: Steps) -> Steps {
    let shows = |steps: &Steps| is_shown(mutation, kind, steps, DICE);
    let mut place = 0;
    while place < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(place);
        match shows(&fewer) {
            true => {
                steps = fewer;
                place = 0;
            }
            false => place += 1,
        }
    }
    for place in 0..steps.len() {
        for round in [1000, 500, 100, 50, 10] {
            let mut rounder = steps.clone();
            let at = rounder[place].0;
            rounder[place].0 = at / round * round;
            if !at.is_multiple_of(round)
                && rounder.is_sorted_by_key(|(at, _)| *at)
                && shows(&rounder)
            {
                steps = rounder;
                break;
            }
        }
    }
    steps
}

/// Up to three nodes start, and then a few kinds of things happen.
fn random(mutation: Mutation, dice: &mut Dice) -> Steps {
    let mut steps = vec![(0, Step::Start(0)), (200, Step::Start(1))];
    if dice.one_in(2) {
        steps.push((400, Step::Start(2)));
    }
    let kinds: Vec<_> = (0..dice.between(2, 5)).map(|_| dice.index(20)).collect();
    let mut at = 600;
    for _ in 0..dice.between(2, 8) {
        at += match dice.index(4) {
            0 => dice.between(0, 5),
            1 => dice.between(5, 1000),
            _ => dice.between(1000, 6000),
        };
        let kind = kinds[dice.index(kinds.len())];
        steps.push((at, step(kind, mutation, dice)));
    }
    steps
}

fn step(kind: usize, mutation: Mutation, dice: &mut Dice) -> Step {
    let node = dice.index(3);
    let wires = [
        Wire::ReadLease,
        Wire::ListLeases,
        Wire::Renew,
        Wire::Empty,
        Wire::ReadClaims,
        Wire::PutClaims,
    ];
    let wire = wires[dice.index(wires.len())];
    let delay = match dice.one_in(4) {
        true => None,
        false => Some(dice.between(2, 4000)),
    };
    let readiness = [Readiness::Ready, Readiness::LastChoice, Readiness::Never];
    let pause = dice.between(1, 20_000);
    match kind {
        0 => Step::Start(node),
        1 => Step::Kill(node),
        2 => Step::Reboot(node),
        3 => Step::Leave(node),
        4 => Step::Deaf(node, dice.one_in(2)),
        5 => Step::Ready(node, readiness[dice.index(3)]),
        6 => Step::Stop(node, pause),
        7 => Step::StopInStore(node, pause),
        8 => Step::ApiCut(node),
        9 => Step::ApiBack(node),
        10 => Step::Lag(node, dice.between(0, 8000)),
        11 => Step::Hold(node, wire, delay),
        12 => Step::HoldAnswer(node, wire, delay),
        13 => Step::Segment(node, dice.between(0, 1)),
        14 => Step::Only(dice.index(2), node),
        15 => Step::Anywhere(dice.index(2)),
        16 => Step::EmptyLease(node),
        17 => Step::DeleteLease(node),
        18 => Step::Replace,
        _ if mutation == Mutation::CarvedByAnother => Step::Carve(node),
        _ if mutation == Mutation::LivingRowOverwritten => Step::Overwrite(node),
        _ => Step::Kill(node),
    }
}
