//! The times of a session, and the rule that ties them together (rules 4 and 14).

use std::time::Duration;

use thiserror::Error;

/// Error of a node's clock rate, in thousandths: 1 % (`ownership.md`, rule 4).
const RHO_PER_MILLE: u128 = 10;
/// What reading the clock, storing a deadline and scheduling may cost together.
const EPSILON: Duration = Duration::from_millis(100);

/// L, the renewal interval and H of this node's sessions, checked against rule 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    duration: Duration,
    renew: Duration,
    hold: Duration,
}

/// Why three times make no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimingError {
    /// `leaseDurationSeconds` counts whole seconds.
    #[error("lease duration {0:?} is not a whole number of seconds above zero")]
    NotWholeSeconds(Duration),
    /// Renewals so rare that the deadline passes between two of them, or no interval at all.
    #[error("renewal interval {renew:?} must lie above zero and below hold ({hold:?})")]
    RenewalTooRare {
        /// The interval.
        renew: Duration,
        /// H.
        hold: Duration,
    },
    /// Another node could take over before this one is silent.
    #[error(
        "hold {hold:?} is too long for a lease duration of {duration:?}: hold * 1.01 + 100 ms must \
         lie below duration * 0.99, so hold must lie below {limit:?}"
    )]
    HoldTooLong {
        /// H.
        hold: Duration,
        /// L.
        duration: Duration,
        /// What H must lie below.
        limit: Duration,
    },
}

impl Timing {
    /// Interval in which a held deadline is moved (rule 10).
    pub const HOLD_STEP: Duration = Duration::from_millis(500);
    /// L of a Lease whose holder left rows that nobody else can have (rule 9).
    pub const PARKED_DURATION: Duration = Duration::from_secs(60);
    /// What the kernel goes on answering for then.
    pub const PARKED_HOLD: Duration = Duration::from_secs(50);
    /// L of a Lease that was never seen (rule 5).
    pub const UNSEEN_DURATION: Duration = Duration::from_secs(60);

    /// Checks the times of a configuration: `hold * (1 + rho) + eps < duration * (1 - rho)`.
    pub fn new(duration: Duration, renew: Duration, hold: Duration) -> Result<Self, TimingError> {
        if duration.subsec_nanos() != 0 || duration.is_zero() {
            return Err(TimingError::NotWholeSeconds(duration));
        }
        if renew.is_zero() || renew >= hold {
            return Err(TimingError::RenewalTooRare { renew, hold });
        }
        let longest = hold.as_nanos() * (1000 + RHO_PER_MILLE) + EPSILON.as_nanos() * 1000;
        let shortest = duration.as_nanos() * (1000 - RHO_PER_MILLE);
        if longest >= shortest {
            let limit = shortest.saturating_sub(EPSILON.as_nanos() * 1000) / (1000 + RHO_PER_MILLE);
            return Err(TimingError::HoldTooLong {
                hold,
                duration,
                limit: Duration::from_nanos(u64::try_from(limit).unwrap_or(u64::MAX)),
            });
        }
        Ok(Self {
            duration,
            renew,
            hold,
        })
    }

    /// L.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Time between the sendings of two renewals.
    pub fn renew(&self) -> Duration {
        self.renew
    }

    /// H.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// Time-out of a request to the register (rule 2).
    pub fn time_out(&self) -> Duration {
        (self.hold - self.renew) * 2 / 5
    }
}

impl Default for Timing {
    /// L = 5 s, renewed every 1.5 s, H = 4 s (rule 14).
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(5),
            renew: Duration::from_millis(1500),
            hold: Duration::from_secs(4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(duration: u64, renew: u64, hold: u64) -> Result<Timing, TimingError> {
        Timing::new(
            Duration::from_millis(duration),
            Duration::from_millis(renew),
            Duration::from_millis(hold),
        )
    }

    #[test]
    fn the_defaults_keep_rule_four_and_time_out_after_a_second() {
        assert_eq!(timing(5000, 1500, 4000), Ok(Timing::default()));
        assert_eq!(Timing::default().time_out(), Duration::from_secs(1));
        assert!(timing(2000, 600, 1600).is_ok());
    }

    #[test]
    fn a_hold_at_the_limit_is_refused_and_below_it_accepted() {
        // (5 s * 0.99 - 0.1 s) / 1.01 = 4801.98 ms.
        assert!(timing(5000, 1500, 4801).is_ok());
        let refused = timing(5000, 1500, 4802).unwrap_err();
        assert!(refused.to_string().contains("4.80198"), "{refused}");
    }

    #[test]
    fn a_duration_in_parts_of_a_second_and_a_renewal_after_the_hold_are_refused() {
        assert!(matches!(
            timing(5500, 1500, 4000),
            Err(TimingError::NotWholeSeconds(_))
        ));
        assert!(matches!(
            timing(5000, 4000, 4000),
            Err(TimingError::RenewalTooRare { .. })
        ));
        assert!(timing(5000, 0, 4000).is_err());
    }
}
