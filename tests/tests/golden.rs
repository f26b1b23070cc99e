//! The captures of `tests/golden`, one folder for each case: the frame that comes in, the frames
//! that go on or out, and what else the decision does, state by state.
//!
//! `XVIP_BLESS=1` (`cargo xtask golden --bless`) writes the captures anew, from what the code
//! does; every other test here compares with expectations that blessing does not touch.

use std::{collections::BTreeSet, env, fmt::Write as _, fs};

use tests::{
    golden::{Case, capture, cases, judge, outcome::Outcome, world::State},
    model::Model,
};
use vip_common::work::Work;

/// A time like that of a host that runs for a week.
const NOW: u64 = 600_000_000_000_000;

fn outcome(case: &Case, state: State) -> Outcome {
    let model = Model::new(&state.contents(NOW), NOW);
    judge(&model, &mut Work::new(), case.direction, &case.frame)
}

#[test]
fn every_frame_gets_what_the_rules_say() {
    let mut failures = String::new();
    for case in cases() {
        for (state, expected) in &case.expected {
            let got = outcome(&case, *state);
            if got != *expected {
                let frames = capture::differ(expected.frame.as_deref(), got.frame.as_deref());
                let _ = write!(
                    failures,
                    "\n{} ({}), {state:?}\nexpected {expected}\ngot      {got}\n{frames}",
                    case.name, case.why
                );
                if got.to_string() == expected.to_string() {
                    let _ = writeln!(failures, "{expected:?}\n{got:?}");
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The text of `verdict.txt`: one line a state, which names its frame of `out.pcap`.
fn verdicts(case: &Case) -> (String, Vec<Vec<u8>>) {
    let mut text = format!("{} ({:?})\n\n", case.why, case.direction).to_lowercase();
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut states: Vec<State> = case.expected.iter().map(|(state, _)| *state).collect();
    states.sort();
    for state in states {
        let got = outcome(case, state);
        let _ = write!(text, "{:16} {got}", format!("{state:?}"));
        if let Some(frame) = got.frame {
            let known = out.iter().position(|other| *other == frame);
            let number = known.unwrap_or_else(|| {
                out.push(frame);
                out.len() - 1
            });
            let _ = write!(text, ", out.pcap {}", number + 1);
        }
        text.push('\n');
    }
    (text, out)
}

#[test]
fn every_capture_is_what_the_code_does() {
    let bless = env::var_os("XVIP_BLESS").is_some();
    let mut failures = String::new();
    for case in cases() {
        let folder = capture::folder(case.name);
        let (text, out) = verdicts(&case);
        if bless {
            fs::create_dir_all(&folder).unwrap();
            capture::write(&folder.join("in.pcap"), std::slice::from_ref(&case.frame)).unwrap();
            fs::write(folder.join("verdict.txt"), &text).unwrap();
            let path = folder.join("out.pcap");
            if out.is_empty() {
                let _ = fs::remove_file(path);
            } else {
                capture::write(&path, &out).unwrap();
            }
            continue;
        }
        if capture::read(&folder.join("in.pcap")).unwrap() != std::slice::from_ref(&case.frame) {
            let _ = writeln!(failures, "{}: in.pcap is another frame", case.name);
        }
        let kept = fs::read_to_string(folder.join("verdict.txt")).unwrap_or_default();
        for (old, new) in kept
            .lines()
            .zip(text.lines())
            .filter(|(old, new)| old != new)
        {
            let _ = writeln!(
                failures,
                "{}: verdict.txt\n  had {old}\n  got {new}",
                case.name
            );
        }
        if kept.lines().count() != text.lines().count() {
            let _ = writeln!(failures, "{}: verdict.txt has other states", case.name);
        }
        let known = capture::read(&folder.join("out.pcap")).unwrap();
        for at in 0..known.len().max(out.len()) {
            let (old, new) = (known.get(at), out.get(at));
            if old != new {
                let frames = capture::differ(old.map(Vec::as_slice), new.map(Vec::as_slice));
                let _ = writeln!(failures, "{}: out.pcap {}\n{frames}", case.name, at + 1);
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{failures}\n`cargo xtask golden --bless` writes them anew"
    );
}

#[test]
fn every_capture_belongs_to_a_case() {
    let names: BTreeSet<_> = cases().iter().map(|case| case.name.to_owned()).collect();
    assert_eq!(names.len(), cases().len(), "two cases share a name");
    for entry in fs::read_dir(capture::root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name), "golden/{name} belongs to no case");
    }
}

#[test]
fn every_rule_that_concerns_frames_has_a_case() {
    let cases = cases();
    // 9 is about configuration, 10 to 12 about the agent, 27 about group memberships.
    for rule in (1..=8).chain([13]).chain(14..=26).chain([28]) {
        let prefix = format!("{rule:02}-");
        assert!(
            cases.iter().any(|case| case.name.starts_with(&prefix)),
            "rule {rule} has no case"
        );
    }
}
