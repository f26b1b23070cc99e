//! Questions answered a second, by xvip and by what it is compared with.

use std::time::Duration;

use aya::sys::{Stats, enable_stats};
use vip_common::abi::FOREVER;

use super::{
    bed::{Answerer, Bed, set_deadline},
    error::Error,
    frames,
    programs::xdp,
    table::{Aim, Table, median},
};

/// About as long is a slice; a tick of the scheduler, so that many are not interrupted.
const SLICE: Duration = Duration::from_millis(4);
const ROUNDS: usize = 150;
const TIMED_ROUNDS: usize = 40;

struct Question {
    name: &'static str,
    frame: Vec<u8>,
    /// Wanted ratios, in the order of [`Answerer::ALL`].
    aims: [f64; Answerer::ALL.len()],
}

pub(super) fn measure(bed: &mut Bed, table: &mut Table) -> Result<(), Error> {
    let questions = [
        Question {
            name: "ARP request",
            frame: frames::arp_request(),
            aims: [1.0, 0.9, 3.0, 5.0],
        },
        Question {
            name: "neighbour solicitation",
            frame: frames::solicitation(),
            aims: [1.0, 0.75, 5.0, 5.0],
        },
    ];
    for question in &questions {
        bed.set_template(&question.frame)?;
        compare(bed, table, question)?;
        compare_session(bed, table, question)?;
    }
    Ok(())
}

fn compare(bed: &mut Bed, table: &mut Table, question: &Question) -> Result<(), Error> {
    let mut counts = [0; Answerer::ALL.len()];
    for answerer in Answerer::ALL {
        counts[answerer as usize] = calibrate(bed, question, answerer)?;
    }
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let mut rates = [0.0; Answerer::ALL.len()];
        for turn in 0..Answerer::ALL.len() {
            let answerer = Answerer::ALL[(turn + round) % Answerer::ALL.len()];
            let count = counts[answerer as usize];
            rates[answerer as usize] = bed.slice(answerer, &question.frame, count)?.0;
        }
        rounds.push(rates);
    }
    let times = time_programs(bed, question, counts)?;
    for answerer in Answerer::ALL {
        let rate = median(rounds.iter().map(|rates| rates[answerer as usize]));
        let what = format!("{}, {}", question.name, answerer.name());
        let own = match times[answerer as usize] {
            Some(time) => format!("{time:.0} ns in the program"),
            None => String::new(),
        };
        let value = format!("{:.0} answers/s", rate);
        if answerer == Answerer::Xvip {
            table.row(what, value, own, None);
            continue;
        }
        let ratio = median(
            rounds
                .iter()
                .map(|rates| rates[Answerer::Xvip as usize] / rates[answerer as usize]),
        );
        let aim = Aim::at_least(question.aims[answerer as usize], ratio);
        table.row(what, value, own, Some(aim));
    }
    Ok(())
}

/// The same for a VIP whose deadline lies ahead: the program has to read the clock.
fn compare_session(bed: &mut Bed, table: &mut Table, question: &Question) -> Result<(), Error> {
    set_deadline(&mut bed.xvip, FOREVER - 1)?;
    let sides = [Answerer::Xvip, Answerer::Reflector];
    let mut counts = [0; 2];
    for (count, side) in counts.iter_mut().zip(sides) {
        *count = calibrate(bed, question, side)?;
    }
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let ours = bed.slice(sides[0], &question.frame, counts[0])?.0;
        let other = bed.slice(sides[1], &question.frame, counts[1])?.0;
        rounds.push((ours, other));
    }
    set_deadline(&mut bed.xvip, FOREVER)?;
    let rate = median(rounds.iter().map(|round| round.0));
    let ratio = median(rounds.iter().map(|round| round.0 / round.1));
    table.row(
        format!("{}, xvip, of a session", question.name),
        format!("{rate:.0} answers/s"),
        "reads the clock; beside the reflector".to_owned(),
        Some(Aim::at_least(question.aims[1], ratio)),
    );
    Ok(())
}

/// How many frames make a slice.
fn calibrate(bed: &mut Bed, question: &Question, answerer: Answerer) -> Result<u32, Error> {
    const TRIAL: u32 = 4096;
    let mut took = Duration::MAX;
    let mut answered = false;
    for _ in 0..5 {
        let (rate, this) = bed.slice(answerer, &question.frame, TRIAL)?;
        took = took.min(this);
        answered |= rate > 0.0;
    }
    if !answered {
        return Err(Error::Silent(answerer.name()));
    }
    let count = f64::from(TRIAL) * SLICE.as_secs_f64() / took.as_secs_f64();
    Ok(count as u32)
}

/// Nanoseconds of one run of each answerer's program, as the kernel's statistics have it. They
/// cost time themselves: no rate is taken meanwhile.
fn time_programs(
    bed: &mut Bed,
    question: &Question,
    counts: [u32; Answerer::ALL.len()],
) -> Result<[Option<f64>; Answerer::ALL.len()], Error> {
    let _statistics = enable_stats(Stats::RunTime)?;
    let mut times = [const { Vec::new() }; Answerer::ALL.len()];
    for _ in 0..TIMED_ROUNDS {
        for answerer in [Answerer::Xvip, Answerer::Reflector] {
            let before = statistics(bed, answerer)?;
            bed.slice(answerer, &question.frame, counts[answerer as usize])?;
            let after = statistics(bed, answerer)?;
            times[answerer as usize].push((after.0 - before.0) / (after.1 - before.1));
        }
    }
    Ok(times.map(|times| (!times.is_empty()).then(|| median(times.into_iter()))))
}

/// Nanoseconds and runs so far.
fn statistics(bed: &mut Bed, answerer: Answerer) -> Result<(f64, f64), Error> {
    let program = match answerer {
        Answerer::Xvip => xdp(&mut bed.xvip, "xvip_ingress")?,
        _ => xdp(&mut bed.others, "reflect")?,
    };
    let info = program.info()?;
    Ok((info.run_time().as_nanos() as f64, info.run_count() as f64))
}
