//! The kernel programs and the userspace slice are one decision: the same frames over the same
//! maps leave the same behind, through every shell.

use std::{error::Error, fmt::Write as _};

use tests::{
    golden::{
        Direction, capture, cases,
        frame::{Arp, Nd},
        judge, judge_next,
        mutate::{Dice, mutate},
        outcome::Outcome,
        world::State,
    },
    model::Model,
    process::give_way,
    test_run::{Bed, Shell, boot_time, object},
};
use vip_common::{
    abi::{FOREVER, Traced},
    packet::Action,
    work::Work,
};

type Verdict = Result<(), Box<dyn Error>>;

fn describe(title: &str, frame: &[u8], user: &Outcome, kernel: &Outcome) -> String {
    let mut text = format!("\n{title}\nframe:\n{}", capture::print(frame));
    let _ = writeln!(text, "userspace {user}\nkernel    {kernel}");
    if user.frame != kernel.frame {
        text += &capture::differ(user.frame.as_deref(), kernel.frame.as_deref());
    } else {
        let _ = writeln!(text, "{user:?}\n{kernel:?}");
    }
    text
}

/// The records of `trace` without their times, and without what lies behind the bytes read.
fn timeless(traced: &[Traced]) -> Vec<Traced> {
    let timeless = |one: &Traced| {
        let mut timeless = Traced { at_ns: 0, ..*one };
        timeless.frame[usize::from(one.captured)..].fill(0);
        timeless
    };
    traced.iter().map(timeless).collect()
}

/// Judges a frame in both, and says where they differ.
fn compare(
    bed: &mut Bed,
    model: &Model,
    shell: Shell,
    frame: &[u8],
) -> Result<Option<String>, Box<dyn Error>> {
    let direction = match shell {
        Shell::Xdp | Shell::TcIn => Direction::In,
        Shell::TcOut => Direction::Out,
    };
    let user = judge(model, &mut Work::new(), direction, frame);
    if let Shell::Xdp = shell {
        bed.trace_until(0)?;
        let short = Outcome {
            traced: user.traced.clone(),
            ..bed.judge(shell, frame)?
        };
        bed.trace_until(FOREVER)?;
        if user != short {
            return Ok(Some(describe("shortcut", frame, &user, &short)));
        }
    }
    let kernel = bed.judge(shell, frame)?;
    if user != kernel {
        return Ok(Some(describe(&format!("{shell:?}"), frame, &user, &kernel)));
    }
    let (user, kernel) = (timeless(&model.traced.borrow()), timeless(&bed.last_traced));
    Ok((user != kernel).then(|| format!("{shell:?} traced {user:?}\nkernel {kernel:?}")))
}

#[test]
#[ignore = "needs root"]
fn golden_frames_get_what_the_rules_say_in_the_kernel() -> Verdict {
    let mut bed = Bed::load(&object()?)?;
    let mut failures = String::new();
    let cases = cases();
    for state in State::ALL {
        let now = boot_time();
        let contents = state.contents(now);
        let model = Model::new(&contents, now);
        bed.fill(&contents)?;
        for case in &cases {
            let wanted = case.expected.iter().find(|(known, _)| *known == state);
            let Some((_, wanted)) = wanted else { continue };
            for shell in Shell::of(case.direction) {
                let title = format!("{} in {state:?} by {shell:?}", case.name);
                let got = bed.judge(*shell, &case.frame)?;
                if got != *wanted {
                    failures += &describe(&title, &case.frame, wanted, &got);
                }
                if let Some(difference) = compare(&mut bed, &model, *shell, &case.frame)? {
                    let _ = writeln!(failures, "{title}: {difference}");
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    Ok(())
}

/// Frames of the fuzz: a hundred thousand by default, `XVIP_FRAMES` more or fewer.
fn frames() -> usize {
    let wanted = std::env::var("XVIP_FRAMES").ok();
    wanted
        .and_then(|number| number.parse().ok())
        .unwrap_or(100_000)
}

#[test]
#[ignore = "needs root"]
fn mutated_frames_get_the_same_in_kernel_and_userspace() -> Verdict {
    give_way();
    const STATES: [State; 6] = [
        State::Confirmed,
        State::Fenced,
        State::Unconfirmed,
        State::OnNode,
        State::Passed,
        State::BucketEmpty,
    ];
    let mut bed = Bed::load(&object()?)?;
    let originals: Vec<Vec<u8>> = cases().into_iter().map(|case| case.frame).collect();
    let mut dice = Dice::new(0x7819_76ba_5ac5);
    let total = frames();
    let mut actions = [0usize; 3];
    for (round, state) in STATES.iter().enumerate() {
        let now = boot_time();
        let contents = state.contents(now);
        let model = Model::new(&contents, now);
        bed.fill(&contents)?;
        // Half of them for the two states of every day.
        let share = if round < 2 { total / 4 } else { total / 8 };
        for _ in 0..share {
            let frame = mutate(&mut dice, &originals);
            for shell in [Shell::Xdp, Shell::TcIn, Shell::TcOut] {
                if !shell.takes(&frame) {
                    continue;
                }
                if let Some(difference) = compare(&mut bed, &model, shell, &frame)? {
                    panic!("{state:?}: {difference}\n{frame:02x?}");
                }
            }
            let outcome = judge(&model, &mut Work::new(), Direction::In, &frame);
            actions[outcome.action as usize] += 1;
        }
    }
    let [passed, dropped, transmitted] = actions;
    println!("{passed} passed, {dropped} dropped, {transmitted} transmitted");
    // Frames that nobody looks at prove nothing.
    assert!(dropped > total / 10 && transmitted > total / 40);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn jumbo_frames_are_left_while_the_vip_is_live_and_dropped_while_it_is_fenced() -> Verdict {
    let mut bed = Bed::load(&object()?)?;
    for state in [State::Confirmed, State::Fenced] {
        let now = boot_time();
        let contents = state.contents(now);
        let model = Model::new(&contents, now);
        bed.fill(&contents)?;
        for length in [3_000, 4_000, 8_000, 9_000] {
            let request = Arp {
                trailer: vec![0xa5; length - 42],
                ..Arp::ask()
            };
            let claim = Arp {
                trailer: vec![0xa5; length - 42],
                ..Arp::claim()
            };
            let solicitation = Nd {
                trailer: vec![0xa5; length - 86],
                ..Nd::ask()
            };
            let extended = Nd {
                extensions: vec![(60, [vec![0, 255], vec![0; 2_046]].concat())],
                trailer: vec![0xa5; length - 2_134],
                ..Nd::ask()
            };
            for frame in [
                request.bytes(),
                claim.bytes(),
                solicitation.bytes(),
                extended.bytes(),
            ] {
                assert_eq!(frame.len(), length);
                if let Some(difference) = compare(&mut bed, &model, Shell::Xdp, &frame)? {
                    panic!("{state:?}, {length} bytes: {difference}");
                }
            }
            if state == State::Confirmed {
                for frame in [request.bytes(), solicitation.bytes()] {
                    let got = bed.judge(Shell::Xdp, &frame)?;
                    assert_eq!(
                        (got.action, got.answers),
                        (Action::Pass, 0),
                        "{length} bytes"
                    );
                }
            } else {
                let got = bed.judge(Shell::Xdp, &request.bytes())?;
                assert_eq!(got.action, Action::Drop, "{length} bytes");
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_flood_of_claims_costs_one_defence_in_the_kernel_too() -> Verdict {
    let mut bed = Bed::load(&object()?)?;
    for (state, shell) in [
        (State::Confirmed, Shell::Xdp),
        (State::Confirmed, Shell::TcIn),
        (State::Unconfirmed, Shell::Xdp),
        (State::Unconfirmed, Shell::TcIn),
    ] {
        let now = boot_time();
        let contents = state.contents(now);
        let model = Model::new(&contents, now);
        bed.fill(&contents)?;
        for claim in [Arp::claim().bytes(), Nd::claim().bytes()] {
            let mut events = 0;
            let mut transmitted = 0;
            for _ in 0..1_000 {
                let got = bed.judge_next(shell, &claim)?;
                events += got.events.len();
                transmitted += usize::from(got.action == Action::Transmit);
                judge_next(&model, &mut Work::new(), Direction::In, &claim);
            }
            let defences = usize::from(state == State::Confirmed);
            assert_eq!((events, transmitted), (1, defences), "{state:?} {shell:?}");
        }
        assert_eq!(model.events.borrow().len(), 2, "one for each VIP");
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_deadline_that_passes_silences_the_kernel_at_that_instant() -> Verdict {
    let mut bed = Bed::load(&object()?)?;
    let now = boot_time();
    bed.fill(&State::Confirmed.contents(now))?;
    let mut lease = State::Confirmed.lease(now);
    for (shell, ask) in [
        (Shell::Xdp, Arp::ask().bytes()),
        (Shell::Xdp, Nd::ask().bytes()),
        (Shell::TcIn, Arp::ask().bytes()),
        (Shell::TcIn, Nd::ask().bytes()),
    ] {
        lease.deadline_boot_ns = boot_time() + 100_000_000;
        bed.store_lease(1, &lease)?;
        let mut last_answer = 0;
        let first_silence = loop {
            let sent = boot_time();
            match bed.judge_next(shell, &ask)?.action {
                Action::Transmit => last_answer = sent,
                _ => break boot_time(),
            }
        };
        assert!(
            last_answer < lease.deadline_boot_ns,
            "answered after its deadline"
        );
        assert!(
            first_silence >= lease.deadline_boot_ns,
            "silent before its deadline"
        );
        assert_ne!(last_answer, 0);
    }
    Ok(())
}
