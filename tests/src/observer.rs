//! Asks for VIPs without a pause, and notes which question was answered, when, and by whom.
//!
//! Every question has a sender of its own, so that each answer, which is addressed to it, tells
//! which question it answers: one of 198.18.0.0/15 (RFC 2544), or of 2001:db8::5:0:0/96.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use vip_agent::vip::Mac;

use crate::{
    lan::{CLIENT_MAC, Lan},
    netns::BedError,
    wire::{Kind, Seen, Wire, arp_request, solicitation},
};

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(5);
/// At least so many are asked, however soon it is told to stop.
const ENOUGH: usize = 40;
/// How long the last answers are waited for.
const GRACE: Duration = Duration::from_millis(500);

/// A client that asks on and on.
pub struct Observer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Observed, BedError>>,
}

/// A question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What was asked for.
    pub vip: IpAddr,
    /// When, since the beginning.
    pub at: Duration,
}

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Number of the question.
    pub question: u32,
    /// When, since the beginning.
    pub at: Duration,
    /// Who gave it.
    pub by: Mac,
}

/// What was asked and answered.
#[derive(Debug, Default)]
pub struct Observed {
    /// By their number.
    pub questions: BTreeMap<u32, Question>,
    /// In the order in which they came.
    pub answers: Vec<Answer>,
}

impl Observer {
    /// Begins to ask for all `vips` from the client.
    pub fn start(lan: &Lan, vips: &[&str]) -> Result<Self, BedError> {
        // The node's own stack answers only whom it has a route to.
        lan.node.run("ip route replace 198.18.0.0/15 dev eth0")?;
        let wire = Wire::open(&lan.client, "lan0", Duration::from_millis(1))?;
        let stop = Arc::new(AtomicBool::new(false));
        let vips: Vec<IpAddr> = vips.iter().filter_map(|vip| vip.parse().ok()).collect();
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || ask(&wire, &vips, &stop)
        });
        Ok(Self { stop, thread })
    }

    /// Stops asking, waits for the last answers, and tells.
    pub fn finish(self) -> Result<Observed, BedError> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(observed) => observed,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Asks for `vips` for some time.
pub fn observe(lan: &Lan, vips: &[&str], time: Duration) -> Result<Observed, BedError> {
    let observer = Observer::start(lan, vips)?;
    thread::sleep(time);
    observer.finish()
}

fn ask(wire: &Wire, vips: &[IpAddr], stop: &AtomicBool) -> Result<Observed, BedError> {
    let began = Instant::now();
    let mut observed = Observed::default();
    let mut number = 0_u32;
    let mut round_at = Duration::ZERO;
    let mut stopped_at = None;
    loop {
        let now = began.elapsed();
        if stop.load(Ordering::Relaxed) && observed.questions.len() >= ENOUGH {
            let stopped = *stopped_at.get_or_insert(now);
            if now > stopped + GRACE {
                return Ok(observed);
            }
        } else if now >= round_at {
            round_at = now + PAUSE;
            for &vip in vips {
                number += 1;
                let at = began.elapsed();
                observed.questions.insert(number, Question { vip, at });
                wire.send(&match vip {
                    IpAddr::V4(vip) => arp_request(CLIENT_MAC, sender_ipv4(number), vip),
                    IpAddr::V6(vip) => solicitation(CLIENT_MAC, sender_ipv6(number), vip),
                })?;
            }
        }
        let Some(frame) = wire.receive()? else {
            continue;
        };
        if let Some(seen) = Seen::of(&frame)
            && seen.kind == Kind::Answer
            && let Some(question) = number_of(seen.destination)
            && let Some(asked) = observed.questions.get(&question)
            && asked.vip == seen.about
        {
            let at = began.elapsed();
            let by = seen.from;
            observed.answers.push(Answer { question, at, by });
        }
    }
}

fn sender_ipv4(number: u32) -> Ipv4Addr {
    let network = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    Ipv4Addr::from(network | (number & 0x1_ffff))
}

fn sender_ipv6(number: u32) -> Ipv6Addr {
    let (high, low) = ((number >> 16) as u16, number as u16);
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 5, high, low)
}

fn number_of(sender: IpAddr) -> Option<u32> {
    match sender {
        IpAddr::V4(v4) if v4.octets()[..2] == [198, 18] || v4.octets()[..2] == [198, 19] => {
            Some(u32::from(v4) & 0x1_ffff)
        }
        IpAddr::V6(v6) => {
            let [0x2001, 0xdb8, 0, 0, 0, 5, high, low] = v6.segments() else {
                return None;
            };
            Some(u32::from(high) << 16 | u32::from(low))
        }
        IpAddr::V4(_) => None,
    }
}

impl Observed {
    /// Questions that nobody answered.
    pub fn missed(&self) -> Vec<Question> {
        let mut missed = self.questions.clone();
        for answer in &self.answers {
            missed.remove(&answer.question);
        }
        missed.into_values().collect()
    }

    /// Those who answered, each with the number of answers.
    pub fn answerers(&self) -> BTreeMap<[u8; 6], usize> {
        let mut answerers = BTreeMap::new();
        for answer in &self.answers {
            *answerers.entry(answer.by.0).or_default() += 1;
        }
        answerers
    }

    /// Every question was answered once, by `mac`. Else says what was not so.
    pub fn complete(&self, mac: Mac) -> Result<(), String> {
        let missed = self.missed();
        if let (Some(first), Some(last)) = (missed.first(), missed.last()) {
            return Err(format!(
                "{} of {} questions unanswered, first {first:?}, last {last:?}",
                missed.len(),
                self.questions.len(),
            ));
        }
        let expected = BTreeMap::from([(mac.0, self.questions.len())]);
        if self.answerers() != expected {
            return Err(format!("answered by {:02x?}", self.answerers()));
        }
        Ok(())
    }

    /// From the first question that stayed without answer on, no later one had one. Else says
    /// which.
    pub fn ended(&self) -> Result<(), String> {
        let last = self.answers.iter().map(|answer| answer.question).max();
        let missed = self.missed();
        let first = missed.first().ok_or("it never ended")?;
        let later = last.and_then(|last| self.questions.get(&last));
        match later {
            Some(later) if later.at > first.at => {
                Err(format!("answered {later:?} after no answer to {first:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Nobody answered. Else says who did.
    pub fn silent(&self) -> Result<(), String> {
        if let Some(first) = self.answers.first() {
            let vip = self.questions.get(&first.question).map(|asked| asked.vip);
            return Err(format!(
                "{} answers, by {:02x?}, the first for {vip:?} at {:?}",
                self.answers.len(),
                self.answerers(),
                first.at
            ));
        }
        Ok(())
    }
}
