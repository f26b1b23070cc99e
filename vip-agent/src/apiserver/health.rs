//! Whether this node's API server is ready, from what `/readyz` answers.

/// What came of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200.
    Ready,
    /// Another status, or none in time: a server that is busy, or whose etcd elects, may say so too.
    Failing,
    /// Nobody listens.
    Refused,
}

/// So many failing answers in a row are a failure.
const FAILURES: u32 = 3;
/// And so many refused connections: a server that listens no more is gone.
const REFUSALS: u32 = 2;
/// After a failure so many answers in a row are a recovery.
const RECOVERY: u32 = 2;

/// Judges one answer after the other.
#[derive(Clone, Debug, Default)]
pub struct Health {
    is_ready: Option<bool>,
    ready: u32,
    failing: u32,
    refused: u32,
}

impl Health {
    /// Whether it is ready; none before that is known.
    pub fn is_ready(&self) -> Option<bool> {
        self.is_ready
    }

    /// Requests are sent to it first: others are asked from its first failing answer on, not only
    /// when it is given up.
    pub fn is_trusted(&self) -> bool {
        self.is_ready == Some(true) && self.failing == 0
    }

    /// It answered otherwise than before, and what follows is not decided yet.
    pub fn is_in_doubt(&self) -> bool {
        match self.is_ready {
            Some(true) => self.failing > 0,
            Some(false) => self.ready > 0,
            None => true,
        }
    }

    /// Takes an answer.
    pub fn judge(&mut self, answer: Answer) {
        match answer {
            Answer::Ready => {
                self.ready += 1;
                (self.failing, self.refused) = (0, 0);
            }
            Answer::Failing => {
                self.failing += 1;
                (self.ready, self.refused) = (0, 0);
            }
            Answer::Refused => {
                self.failing += 1;
                self.refused += 1;
                self.ready = 0;
            }
        }
        let fails = self.failing >= FAILURES || self.refused >= REFUSALS;
        let recovers = self.ready >= RECOVERY || self.ready > 0 && self.is_ready.is_none();
        match (fails, recovers) {
            (true, _) => self.is_ready = Some(false),
            (_, true) => self.is_ready = Some(true),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer::*, *};

    fn after(answers: &[Answer]) -> Option<bool> {
        let mut health = Health::default();
        answers.iter().for_each(|answer| health.judge(*answer));
        health.is_ready()
    }

    #[test]
    fn the_first_answer_tells_that_it_is_ready_and_not_that_it_fails() {
        assert_eq!(after(&[Ready]), Some(true));
        assert_eq!(after(&[Failing]), None);
        assert_eq!(after(&[Refused]), None);
    }

    #[test]
    fn three_failing_answers_in_a_row_or_two_refusals_are_a_failure() {
        assert_eq!(after(&[Ready, Failing, Failing]), Some(true));
        assert_eq!(after(&[Ready, Failing, Failing, Failing]), Some(false));
        assert_eq!(after(&[Ready, Refused]), Some(true));
        assert_eq!(after(&[Ready, Refused, Refused]), Some(false));
        assert_eq!(
            after(&[Ready, Failing, Failing, Ready, Failing]),
            Some(true)
        );
        assert_eq!(after(&[Ready, Refused, Failing, Refused]), Some(false));
    }

    #[test]
    fn after_a_failure_one_answer_is_no_recovery() {
        let failed = [Ready, Refused, Refused];
        assert_eq!(after(&[&failed[..], &[Ready]].concat()), Some(false));
        assert_eq!(after(&[&failed[..], &[Ready, Ready]].concat()), Some(true));
        let broken = [&failed[..], &[Ready, Failing, Ready]].concat();
        assert_eq!(after(&broken), Some(false));
    }

    #[test]
    fn one_failing_answer_costs_the_first_place_and_recovery_gives_it_back() {
        let mut health = Health::default();
        for (answer, trusted) in [
            (Ready, true),
            (Failing, false),
            (Ready, true),
            (Refused, false),
            (Refused, false),
            (Ready, false),
            (Ready, true),
        ] {
            health.judge(answer);
            assert_eq!(health.is_trusted(), trusted, "{answer:?}");
        }
    }

    #[test]
    fn what_is_in_doubt_is_asked_again_soon() {
        let mut health = Health::default();
        assert!(health.is_in_doubt());
        for (answer, in_doubt) in [
            (Ready, false),
            (Refused, true),
            (Refused, false),
            (Ready, true),
        ] {
            health.judge(answer);
            assert_eq!(health.is_in_doubt(), in_doubt, "{answer:?}");
        }
    }
}
