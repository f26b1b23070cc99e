//! All that a decision leaves behind, in a form in which kernel, userspace and expectation compare.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use vip_common::{
    abi::{Event, EventKind, VipState},
    counter::{Family, Verdict},
    packet::Action,
    shape::Shape,
};

/// What the decision wrote to `VIP_STATE` for a VIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// A yield for the `confirmed` of its slot.
    pub yielded: bool,
    /// The interval of a defence.
    pub defended: bool,
}

impl Note {
    /// What changed from one state to the other, where `confirmed` is that of the session.
    pub fn between(before: VipState, after: VipState, confirmed: u64) -> Self {
        Self {
            yielded: before.yield_at_ns < after.yield_at_ns
                && after.yield_confirmed_ns == confirmed,
            defended: before.defended_at_ns < after.defended_at_ns,
        }
    }
}

/// All that a decision leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What becomes of the frame.
    pub action: Action,
    /// The frame that goes on or out, where it is not the one that came in.
    pub frame: Option<Vec<u8>>,
    /// Growth of `COUNTERS`.
    pub counted: Vec<(Verdict, Family)>,
    /// Growth of `VIP_COUNTERS`, over all VIPs.
    pub answers: u64,
    /// Growth of `VIP_COUNTERS`, over all VIPs.
    pub conflicts: u64,
    /// Verdict and shape as `trace` shows them.
    pub traced: Vec<(u8, u8)>,
    /// Kind, flags, VIP and rival of the events.
    pub events: Vec<(u8, u8, IpAddr, [u8; 6])>,
    /// Changes of `VIP_STATE`.
    pub noted: BTreeMap<IpAddr, Note>,
    /// A token of the bucket for multicast frames is gone.
    pub token: bool,
}

impl Outcome {
    /// The frame goes on as if there were no xvip.
    pub fn untouched() -> Self {
        Self {
            action: Action::Pass,
            frame: None,
            counted: vec![],
            answers: 0,
            conflicts: 0,
            traced: vec![],
            events: vec![],
            noted: BTreeMap::new(),
            token: false,
        }
    }

    /// The frame has become `frame`, an answer.
    pub fn answered(family: Family, frame: Vec<u8>) -> Self {
        Self {
            action: Action::Transmit,
            frame: Some(frame),
            answers: 1,
            ..Self::untouched()
        }
        .judged(Verdict::Answered, family, Shape::Regular)
    }

    /// Left to the kernel.
    pub fn left(family: Family, shape: Shape) -> Self {
        let verdict = if shape.is_malformed() {
            Verdict::Malformed
        } else {
            Verdict::Left
        };
        Self::untouched().judged(verdict, family, shape)
    }

    /// Dropped since the VIP is not live.
    pub fn fenced(family: Family) -> Self {
        Self {
            action: Action::Drop,
            ..Self::untouched()
        }
        .judged(Verdict::Fenced, family, Shape::Regular)
    }

    /// A question was judged: counted and traced.
    pub fn judged(mut self, verdict: Verdict, family: Family, shape: Shape) -> Self {
        self.counted.push((verdict, family));
        self.traced.push((verdict as u8, shape as u8));
        self
    }

    /// Counted in `COUNTERS`.
    pub fn counting(mut self, verdict: Verdict, family: Family) -> Self {
        self.counted.push((verdict, family));
        self
    }

    /// A rival's claim was counted for the VIP.
    pub fn conflict(mut self) -> Self {
        self.conflicts += 1;
        self
    }

    /// An event was reported.
    pub fn event(mut self, kind: EventKind, announce: bool, vip: IpAddr, rival: [u8; 6]) -> Self {
        let flags = if announce { Event::ANNOUNCE } else { 0 };
        self.events.push((kind as u8, flags, vip, rival));
        self
    }

    /// A yield was noted.
    pub fn yielding(mut self, vip: IpAddr) -> Self {
        self.noted.entry(vip).or_default().yielded = true;
        self
    }

    /// The interval of a defence was taken.
    pub fn interval(mut self, vip: IpAddr) -> Self {
        self.noted.entry(vip).or_default().defended = true;
        self
    }

    /// A token of the bucket was taken.
    pub fn token(mut self) -> Self {
        self.token = true;
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{:?}", self.action).to_lowercase())?;
        if self.frame.is_some() && self.action == Action::Pass {
            write!(f, " rewritten")?;
        }
        for (verdict, family) in &self.counted {
            write!(f, ", {}/{}", verdict.label(), family.label())?;
        }
        for (_, shape) in &self.traced {
            let reason = Shape::from_code(*shape).map_or("?", Shape::reason);
            write!(f, ", shape: {reason}")?;
        }
        if self.conflicts > 0 {
            write!(f, ", conflict")?;
        }
        for (kind, flags, vip, _) in &self.events {
            let kind = match kind {
                1 => "defended",
                2 => "conflict",
                3 => "yielded",
                _ => "?",
            };
            let order = if *flags & Event::ANNOUNCE != 0 {
                ", announce"
            } else {
                ""
            };
            write!(f, ", event: {kind} {vip}{order}")?;
        }
        for (vip, note) in &self.noted {
            if note.yielded {
                write!(f, ", yield noted for {vip}")?;
            }
            if note.defended {
                write!(f, ", interval taken for {vip}")?;
            }
        }
        if self.token {
            write!(f, ", token taken")?;
        }
        Ok(())
    }
}
