//! The rules of `wire.md` as frames: each case is a frame that comes in (or leaves), and what
//! must become of it in every state of the VIP that it names.
//!
//! The expectations are written down beside the frames, and the frames that are to leave are
//! built by pnet ([`oracle`]): blessing the captures cannot bless a wrong answer.

pub mod arp;
pub mod capture;
pub mod claims;
pub mod egress;
pub mod frame;
pub mod mutate;
pub mod nd;
#[expect(
    clippy::unwrap_used,
    reason = "the buffers have the sizes that pnet asks for"
)]
pub mod oracle;
pub mod outcome;
pub mod world;

use std::net::IpAddr;

use vip_common::{
    abi::{Traced, VipState},
    counter::{Family, Verdict},
    egress::egress,
    ingress::ingress,
    nd::Found,
    packet::Action,
    slice::{FRAME_MAX, Frame},
    work::{Claim, Work},
};

use crate::model::Model;
use outcome::{Note, Outcome};
use world::{IFINDEX, State};

/// Which program judges the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It comes in.
    In,
    /// It leaves.
    Out,
}

/// A frame, and what must become of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Number of the rule, and a sentence.
    pub name: &'static str,
    /// One line why.
    pub why: &'static str,
    /// Which program judges it.
    pub direction: Direction,
    /// The frame.
    pub frame: Vec<u8>,
    /// What becomes of it in which state.
    pub expected: Vec<(State, Outcome)>,
}

impl Case {
    /// A case whose outcome is a function of the state, in these states.
    pub fn new(
        name: &'static str,
        why: &'static str,
        direction: Direction,
        frame: Vec<u8>,
        states: &[State],
        outcome: impl Fn(State) -> Outcome,
    ) -> Self {
        let expected = states
            .iter()
            .map(|state| (*state, outcome(*state)))
            .collect();
        Self {
            name,
            why,
            direction,
            frame,
            expected,
        }
    }

    /// A frame that passes untouched whatever the state.
    pub fn untouched(name: &'static str, why: &'static str, frame: Vec<u8>) -> Self {
        let states = [
            State::Confirmed,
            State::Unconfirmed,
            State::Passed,
            State::Fenced,
        ];
        Self::new(name, why, Direction::In, frame, &states, |_| {
            Outcome::untouched()
        })
    }

    /// A question for the VIP, which gets `live` while that is live, and is dropped else.
    pub fn ask(
        name: &'static str,
        why: &'static str,
        vip: IpAddr,
        frame: Vec<u8>,
        live: Outcome,
    ) -> Self {
        Self::new(
            name,
            why,
            Direction::In,
            frame,
            &QUESTIONED,
            |state| match state {
                State::Unknown => Outcome::untouched(),
                State::Passed => Outcome::fenced(family(vip)).yielding(vip),
                _ if state.is_live() => live.clone(),
                _ => Outcome::fenced(family(vip)),
            },
        )
    }

    /// The same in further states, or otherwise in this one.
    pub fn with(mut self, state: State, outcome: Outcome) -> Self {
        self.expected.retain(|(known, _)| *known != state);
        self.expected.push((state, outcome));
        self
    }
}

const QUESTIONED: [State; 11] = [
    State::Confirmed,
    State::Static,
    State::Unconfirmed,
    State::YieldOutlived,
    State::YieldVoid,
    State::Yielded,
    State::Passed,
    State::Fenced,
    State::OtherEpoch,
    State::OnNode,
    State::Unknown,
];

/// The family of a VIP's frames.
pub fn family(vip: IpAddr) -> Family {
    match vip {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// All cases, in the order of the rules.
pub fn cases() -> Vec<Case> {
    let mut cases = [arp::cases(), claims::cases(), nd::cases(), egress::cases()].concat();
    cases.sort_by_key(|case| case.name);
    cases
}

/// A work area that still holds what other frames left there, as the kernel's does.
pub fn used_work() -> Work {
    let mut work = Work::new();
    work.extensions = 1;
    work.fragment = true;
    work.whole = true;
    work.asks = true;
    work.claims = Claim::Gratuitous;
    work.tags = 2;
    work.walk.malformed = true;
    work.walk.found = Found::Odd;
    for words in [
        &mut work.arp[..],
        &mut work.ip6[..],
        &mut work.icmp[..],
        &mut work.option[..],
        &mut work.extension[..],
        &mut work.reply[..],
    ] {
        words.fill(0xa5a5);
    }
    work
}

/// Judges a frame in userspace, over maps that are as at first, and tells what came of it.
pub fn judge(model: &Model, work: &mut Work, direction: Direction, bytes: &[u8]) -> Outcome {
    model.reset();
    judge_next(model, work, direction, bytes)
}

/// Judges a further frame over maps that remember the ones before; the outcome is counted from
/// the last [`Model::reset`].
pub fn judge_next(model: &Model, work: &mut Work, direction: Direction, bytes: &[u8]) -> Outcome {
    let mut buffer = [0; FRAME_MAX];
    let length = bytes.len();
    buffer[..length].copy_from_slice(bytes);
    let frame = Frame::new(IFINDEX, &mut buffer, length);
    let action = match direction {
        Direction::In => ingress(&frame, model, work),
        Direction::Out => egress(&frame, model, work),
    };
    let length = frame.len();
    let after = &buffer[..length];
    let vip_counters = model.vip_counters.borrow();
    Outcome {
        action,
        frame: (action != Action::Drop && after != bytes).then(|| after.to_vec()),
        counted: grown(|verdict, family| model.counted(verdict, family)),
        answers: vip_counters.values().map(|counters| counters.answers).sum(),
        conflicts: vip_counters
            .values()
            .map(|counters| counters.conflicts)
            .sum(),
        traced: traced_by(model),
        events: model
            .events
            .borrow()
            .iter()
            .map(|event| (event.kind, event.flags, event.key.ip(), event.rival))
            .collect(),
        noted: model
            .states
            .borrow()
            .iter()
            .filter_map(|(key, after)| {
                let before = model.contents.states.get(key);
                let before = before.copied().unwrap_or_default();
                (before != *after).then(|| (key.ip(), note(model, before, *after)))
            })
            .collect(),
        token: *model.buckets.borrow() != model.contents.buckets,
    }
}

fn note(model: &Model, before: VipState, after: VipState) -> Note {
    Note::between(before, after, model.contents.leases[1].confirmed_boot_ns)
}

/// The counters that grew, each as often as it did.
pub fn grown(count: impl Fn(Verdict, Family) -> u64) -> Vec<(Verdict, Family)> {
    let mut grown = Vec::new();
    for verdict in Verdict::ALL {
        for family in Family::ALL {
            for _ in 0..count(verdict, family) {
                grown.push((verdict, family));
            }
        }
    }
    grown
}

/// Verdicts and shapes of the questions that were traced, and the number of claims.
pub(crate) fn questions(traced: &[Traced]) -> (Vec<(u8, u8)>, u64) {
    let is_claim = |one: &Traced| CLAIMS.iter().any(|claim| *claim as u8 == one.verdict);
    let (claims, questions): (Vec<Traced>, Vec<Traced>) =
        traced.iter().copied().partition(is_claim);
    let judged = questions.iter().map(|one| (one.verdict, one.shape));
    (judged.collect(), claims.len() as u64)
}

/// What a claim is counted as when it has a consequence: then, and only then, it is traced.
const CLAIMS: [Verdict; 2] = [Verdict::Defended, Verdict::Yielded];

fn traced_by(model: &Model) -> Vec<(u8, u8)> {
    let (questions, claims) = questions(&model.traced.borrow());
    let counted = |family| CLAIMS.map(|claim| model.counted(claim, family));
    let counted: u64 = Family::ALL.into_iter().flat_map(counted).sum();
    assert_eq!(claims, counted, "claims traced and counted");
    questions
}
