//! Asks for VIPs without a pause, and notes which question was answered, when, and by whom.
//!
//! Every question has a sender of its own, so that each answer, which is addressed to it, tells
//! which question it answers: one of 198.18.0.0/15 (RFC 2544), or of 2001:db8::5:0:0/96.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use vip_agent::vip::Mac;

use crate::{
    agent,
    lan::{CLIENT_MAC, Lan},
    netns::{BedError, Peer},
    wire::{Kind, Seen, Wire, arp_request, solicitation},
};

/// Between two rounds of questions.
pub const PAUSE: Duration = Duration::from_millis(5);

/// What a hand-over may leave unanswered. No test of speed, whose figures tests print and a machine
/// with nothing else to do is to show: what waits for a timer, a renewal or a deadline takes longer.
pub const HAND_OVER: Duration = Duration::from_millis(250);
/// Until a successor answers, beyond L; no test of speed either. The aim is a quarter of it, which
/// tests hold the median of many takeovers to.
pub const TAKEOVER: Duration = Duration::from_secs(2);
/// At least so many are asked, however soon it is told to stop.
const ENOUGH: usize = 40;
/// How long the last answers are waited for.
const GRACE: Duration = Duration::from_millis(500);
/// IPv4 senders: the addresses of 198.18.0.0/15.
const SENDERS: u32 = 1 << 17;

/// A client that asks on and on, until it is dropped.
pub struct Observer {
    began: Instant,
    stop: Arc<AtomicBool>,
    observed: Arc<Mutex<Observed>>,
    thread: Option<JoinHandle<Result<(), BedError>>>,
}

/// Its questions would be taken for those of the next: all ask from the same addresses.
impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
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

/// A gratuitous ARP, or an NA to all nodes.
#[derive(Clone, Copy, Debug)]
pub struct Announcement {
    /// What it claims.
    pub vip: IpAddr,
    /// When, since the beginning.
    pub at: Duration,
    /// Who claims it.
    pub by: Mac,
}

/// What was asked and answered, and what was announced of it unasked.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// By their number.
    pub questions: BTreeMap<u32, Question>,
    /// In the order in which they came.
    pub answers: Vec<Answer>,
    /// In the order in which they came.
    pub announcements: Vec<Announcement>,
}

impl Observer {
    /// Begins to ask for all `vips` from the client.
    pub fn start(lan: &Lan, vips: &[&str]) -> Result<Self, BedError> {
        // The node's own stack answers only whom it has a route to.
        lan.node.run("ip route replace 198.18.0.0/15 dev eth0")?;
        Self::ask(&lan.client, vips, PAUSE)
    }

    /// Begins to ask for all `vips` from a client, whose interface is `lan0` with [`CLIENT_MAC`],
    /// `pause` between two rounds.
    pub fn ask(client: &Peer, vips: &[&str], pause: Duration) -> Result<Self, BedError> {
        let wire = Wire::open(client, "lan0", Duration::from_millis(1))?;
        let stop = Arc::new(AtomicBool::new(false));
        let observed = Arc::new(Mutex::new(Observed::default()));
        let vips: Vec<IpAddr> = vips.iter().filter_map(|vip| vip.parse().ok()).collect();
        let began = Instant::now();
        let asking = Asking {
            wire,
            vips,
            pause,
            began,
            stop: Arc::clone(&stop),
            observed: Arc::clone(&observed),
        };
        let thread = thread::spawn(move || asking.run());
        Ok(Self {
            began,
            stop,
            observed,
            thread: Some(thread),
        })
    }

    /// Now, on the clock of what it notes.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Looks at what it has seen up to now; the last questions may still be answered.
    pub fn look<T>(&self, at: impl FnOnce(&Observed) -> T) -> T {
        at(&self.observed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The latest answer for `vip`.
    pub fn latest(&self, vip: &str) -> Option<Answer> {
        let vip = vip.parse().ok();
        self.look(|observed| {
            let mut answers = observed.answers.iter().rev();
            let about = |answer: &&Answer| {
                let asked = observed.questions.get(&answer.question);
                asked.map(|asked| asked.vip) == vip
            };
            answers.find(about).copied()
        })
    }

    /// Waits until the latest answer for `vip` is younger than `since` and is `mac`'s; returns
    /// when `mac` gave its first one after `since`.
    pub fn wait_answer(&self, vip: &str, mac: Mac, since: Duration) -> Result<Duration, BedError> {
        let of_vip = |observed: &Observed| {
            let vip = vip.parse().ok();
            let about = |answer: &&Answer| {
                let asked = observed.questions.get(&answer.question);
                answer.at > since && asked.map(|asked| asked.vip) == vip
            };
            let last = observed.answers.iter().rev().find(about);
            let by_it = |answer: &&Answer| about(answer) && answer.by == mac;
            let first = observed.answers.iter().find(by_it).map(|first| first.at);
            (first, last.map(|last| last.by))
        };
        agent::until(
            &format!("{vip} to be answered by {mac}"),
            || Ok(self.look(of_vip).1 == Some(mac)),
            || format!("{:?}", self.look(of_vip)),
        )?;
        Ok(self.look(of_vip).0.unwrap_or_default())
    }

    /// Stops asking, waits for the last answers, and tells.
    pub fn finish(mut self) -> Result<Observed, BedError> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result?,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => {}
        }
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::take(&mut *observed))
    }
}

/// Asks for `vips` for some time.
pub fn observe(lan: &Lan, vips: &[&str], time: Duration) -> Result<Observed, BedError> {
    let observer = Observer::start(lan, vips)?;
    thread::sleep(time);
    observer.finish()
}

/// What the observer's thread has.
struct Asking {
    wire: Wire,
    vips: Vec<IpAddr>,
    pause: Duration,
    began: Instant,
    stop: Arc<AtomicBool>,
    observed: Arc<Mutex<Observed>>,
}

impl Asking {
    fn run(self) -> Result<(), BedError> {
        let mut number = 0_u32;
        let mut round_at = Duration::ZERO;
        let mut stopped_at = None;
        loop {
            let now = self.began.elapsed();
            if self.stop.load(Ordering::Relaxed) && number as usize >= ENOUGH {
                let stopped = *stopped_at.get_or_insert(now);
                if now > stopped + GRACE {
                    return Ok(());
                }
            } else if now >= round_at {
                round_at = now + self.pause;
                for &vip in &self.vips {
                    number += 1;
                    let at = self.began.elapsed();
                    self.note(|observed| {
                        observed.questions.insert(number, Question { vip, at });
                    });
                    self.wire.send(&match vip {
                        IpAddr::V4(vip) => arp_request(CLIENT_MAC, sender_ipv4(number), vip),
                        IpAddr::V6(vip) => solicitation(CLIENT_MAC, sender_ipv6(number), vip),
                    })?;
                }
            }
            if let Some(frame) = self.wire.receive()?
                && let Some(seen) = Seen::of(&frame)
                && seen.from != CLIENT_MAC
            {
                let at = self.began.elapsed();
                self.note(|observed| observed.saw(&seen, at, number));
            }
        }
    }

    fn note(&self, work: impl FnOnce(&mut Observed)) {
        work(&mut self.observed.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Observed {
    /// Notes a frame; `last` is the number of the last question.
    fn saw(&mut self, seen: &Seen, at: Duration, last: u32) {
        let (vip, by) = (seen.about, seen.from);
        if seen.is_announcement() {
            self.announcements.push(Announcement { vip, at, by });
        } else if seen.kind == Kind::Answer
            && let Some(question) = number_of(seen.destination, last)
            && let Some(asked) = self.questions.get(&question)
            && asked.vip == vip
        {
            self.answers.push(Answer { question, at, by });
        }
    }
}

fn sender_ipv4(number: u32) -> Ipv4Addr {
    let network = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    Ipv4Addr::from(network | (number % SENDERS))
}

fn sender_ipv6(number: u32) -> Ipv6Addr {
    let (high, low) = ((number >> 16) as u16, number as u16);
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 5, high, low)
}

/// The number of the latest question that was asked from `sender`.
fn number_of(sender: IpAddr, last: u32) -> Option<u32> {
    match sender {
        IpAddr::V4(v4) if v4.octets()[..2] == [198, 18] || v4.octets()[..2] == [198, 19] => {
            // They come round again.
            let since = last.wrapping_sub(u32::from(v4)) % SENDERS;
            last.checked_sub(since)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_that_come_round_name_the_latest_question() {
        for (number, last) in [
            (1, 1),
            (7, 40),
            (SENDERS + 3, SENDERS + 5),
            (SENDERS - 1, SENDERS + 5),
        ] {
            let sender = IpAddr::V4(sender_ipv4(number));
            assert_eq!(number_of(sender, last), Some(number), "{number} of {last}");
        }
        let sender = IpAddr::V6(sender_ipv6(3 * SENDERS));
        assert_eq!(number_of(sender, 4 * SENDERS), Some(3 * SENDERS));
    }
}
