//! Who answered for one VIP when: what an [`Observer`](crate::observer::Observer) saw, in order.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use vip_agent::vip::Mac;

use crate::observer::{Announcement, Observed};

/// A question and those who answered it.
#[derive(Clone, Debug)]
struct Asked {
    at: Duration,
    by: BTreeSet<Mac>,
}

/// The questions for one VIP, in order.
#[derive(Clone, Debug)]
pub struct Timeline {
    asked: Vec<Asked>,
    announced: Vec<Announcement>,
}

/// Questions that nobody answered, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the first of them was asked.
    pub from: Duration,
    /// When the next was asked that had an answer; at the end the last question.
    pub until: Duration,
}

/// Questions that two or more answered, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// When the first of them was asked.
    pub from: Duration,
    /// When the last of them was asked.
    pub until: Duration,
    /// Who answered them.
    pub by: BTreeSet<Mac>,
}

/// The time in which one answered and no other did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Who.
    pub by: Mac,
    /// Its first answered question.
    pub from: Duration,
    /// Its last.
    pub until: Duration,
}

impl Gap {
    /// How long it lasted, rounded up to a question.
    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

impl Overlap {
    /// How long it lasted, rounded down to a question.
    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

impl Observed {
    /// What was seen of `vip`.
    pub fn timeline(&self, vip: &str) -> Timeline {
        let vip: Option<IpAddr> = vip.parse().ok();
        let of_vip = self.questions.iter().filter(|(_, q)| Some(q.vip) == vip);
        let (numbers, mut asked): (Vec<u32>, Vec<Asked>) = of_vip
            .map(|(number, question)| {
                let (at, by) = (question.at, BTreeSet::new());
                (*number, Asked { at, by })
            })
            .unzip();
        for answer in &self.answers {
            if let Ok(place) = numbers.binary_search(&answer.question) {
                asked[place].by.insert(answer.by);
            }
        }
        let announced = self.announcements.iter();
        let announced = announced.filter(|a| Some(a.vip) == vip).copied();
        Timeline {
            asked,
            announced: announced.collect(),
        }
    }

    /// What was seen of all VIPs that were asked for.
    pub fn timelines(&self) -> BTreeMap<String, Timeline> {
        let vips: BTreeSet<_> = self.questions.values().map(|asked| asked.vip).collect();
        let named = vips.iter().map(IpAddr::to_string);
        named
            .map(|vip| (vip.clone(), self.timeline(&vip)))
            .collect()
    }

    /// As [`Timeline::one_answerer`], for all VIPs.
    pub fn one_answerer(&self, allowed: Option<Duration>) -> Result<(), String> {
        self.timelines().iter().try_for_each(|(vip, line)| {
            line.one_answerer(allowed)
                .map_err(|two| format!("{vip}: {two}"))
        })
    }

    /// From `since` on one alone answered for each VIP, and every question. Else says what was not
    /// so.
    pub fn undisturbed(&self, since: Duration) -> Result<(), String> {
        self.one_answerer(None)?;
        self.timelines().into_iter().try_for_each(|(vip, line)| {
            let line = line.since(since);
            match (line.gaps(), line.reigns()) {
                (gaps, reigns) if gaps.is_empty() && reigns.len() == 1 => Ok(()),
                (gaps, reigns) => Err(format!("{vip}: {gaps:?}, {reigns:?}")),
            }
        })
    }
}

impl Timeline {
    /// What was asked from `since` on.
    pub fn since(mut self, since: Duration) -> Self {
        self.asked.retain(|asked| asked.at >= since);
        self.announced.retain(|announced| announced.at >= since);
        self
    }

    /// What was asked before `end`.
    pub fn before(mut self, end: Duration) -> Self {
        self.asked.retain(|asked| asked.at < end);
        self.announced.retain(|announced| announced.at < end);
        self
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.asked.len()
    }

    /// Those who answered.
    pub fn answerers(&self) -> BTreeSet<Mac> {
        self.asked
            .iter()
            .flat_map(|asked| &asked.by)
            .copied()
            .collect()
    }

    /// When the first answer came that was `mac`'s.
    pub fn first_by(&self, mac: Mac) -> Option<Duration> {
        let mut by_it = self.asked.iter().filter(|asked| asked.by.contains(&mac));
        by_it.next().map(|asked| asked.at)
    }

    /// When the last question was asked that `mac` answered.
    pub fn last_by(&self, mac: Mac) -> Option<Duration> {
        let mut by_it = self.asked.iter().filter(|asked| asked.by.contains(&mac));
        by_it.next_back().map(|asked| asked.at)
    }

    /// When it was claimed unasked, and by whom.
    pub fn announcements(&self) -> &[Announcement] {
        &self.announced
    }

    /// The times without an answer.
    pub fn gaps(&self) -> Vec<Gap> {
        let runs = self
            .asked
            .chunk_by(|a, b| a.by.is_empty() == b.by.is_empty());
        let ends: Vec<_> = runs.collect();
        let missed = ends
            .iter()
            .enumerate()
            .filter(|(_, run)| run[0].by.is_empty());
        missed
            .map(|(place, run)| {
                let next = ends
                    .get(place + 1)
                    .map_or(&run[run.len() - 1], |next| &next[0]);
                Gap {
                    from: run[0].at,
                    until: next.at,
                }
            })
            .collect()
    }

    /// The longest time without an answer; zero where there is none.
    pub fn longest_gap(&self) -> Duration {
        let lengths = self.gaps().into_iter().map(|gap| gap.length());
        lengths.max().unwrap_or_default()
    }

    /// The times with two answerers or more.
    pub fn overlaps(&self) -> Vec<Overlap> {
        let runs = self
            .asked
            .chunk_by(|a, b| (a.by.len() > 1) == (b.by.len() > 1));
        runs.filter(|run| run[0].by.len() > 1)
            .map(|run| Overlap {
                from: run[0].at,
                until: run[run.len() - 1].at,
                by: run.iter().flat_map(|asked| &asked.by).copied().collect(),
            })
            .collect()
    }

    /// Who answered alone, one after the other; questions without an answer end no reign.
    pub fn reigns(&self) -> Vec<Reign> {
        let mut reigns: Vec<Reign> = Vec::new();
        for asked in self.asked.iter().filter(|asked| asked.by.len() == 1) {
            for &by in &asked.by {
                match reigns.last_mut() {
                    Some(last) if last.by == by => last.until = asked.at,
                    _ => reigns.push(Reign {
                        by,
                        from: asked.at,
                        until: asked.at,
                    }),
                }
            }
        }
        reigns
    }

    /// Nobody answered while another did, but for overlaps of at most `allowed`. Else says who.
    pub fn one_answerer(&self, allowed: Option<Duration>) -> Result<(), String> {
        let is_forbidden = |overlap: &Overlap| allowed.is_none_or(|most| overlap.length() > most);
        let overlaps = self.overlaps();
        match overlaps.iter().find(|overlap| is_forbidden(overlap)) {
            None => Ok(()),
            Some(first) => Err(format!(
                "{} overlaps, the first from {:?} on for {:?}, by {:?}; reigns {:?}",
                overlaps.len(),
                first.from,
                first.length(),
                first.by.iter().map(Mac::to_string).collect::<Vec<_>>(),
                self.reigns()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const B: Mac = Mac([2, 0, 0, 0, 0, 2]);

    /// A question each millisecond.
    fn timeline(answered: &[&[Mac]]) -> Timeline {
        let asked = answered.iter().zip(0..).map(|(by, at)| Asked {
            at: Duration::from_millis(at),
            by: by.iter().copied().collect(),
        });
        Timeline {
            asked: asked.collect(),
            announced: Vec::new(),
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_change_of_owner_is_two_reigns_and_a_gap() {
        let line = timeline(&[&[A], &[A], &[], &[], &[], &[B], &[B]]);
        let [first, second] = line.reigns()[..] else {
            panic!("{:?}", line.reigns())
        };
        assert_eq!((first.by, first.until), (A, ms(1)));
        assert_eq!((second.by, second.from), (B, ms(5)));
        let gap = Gap {
            from: ms(2),
            until: ms(5),
        };
        assert_eq!(line.gaps(), [gap]);
        assert_eq!(line.longest_gap(), ms(3));
        line.one_answerer(None).unwrap();
    }

    #[test]
    fn two_answerers_are_reported_with_the_time_that_they_overlap() {
        let line = timeline(&[&[A], &[A, B], &[A, B], &[B, A], &[B]]);
        let [overlap] = &line.overlaps()[..] else {
            panic!("{:?}", line.overlaps())
        };
        assert_eq!((overlap.from, overlap.length()), (ms(1), ms(2)));
        assert_eq!(overlap.by, BTreeSet::from([A, B]));
        line.one_answerer(None).unwrap_err();
        line.one_answerer(Some(ms(1))).unwrap_err();
        line.one_answerer(Some(ms(2))).unwrap();
        // One instant is one too many.
        timeline(&[&[A], &[A, B], &[B]])
            .one_answerer(None)
            .unwrap_err();
    }

    #[test]
    fn silence_to_the_end_is_a_gap() {
        let line = timeline(&[&[A], &[], &[]]);
        assert_eq!(line.longest_gap(), ms(1));
        assert_eq!(
            (line.first_by(A), line.last_by(A)),
            (Some(ms(0)), Some(ms(0)))
        );
        assert_eq!(timeline(&[&[A], &[A]]).gaps(), []);
    }
}
