//! When a sink gets requests. A sink that fails gets one at a time, less and less often; one that answered 410 gets
//! none until it is configured anew, or until somebody asks for a replay. Messages wait in their folders meanwhile, and
//! are not counted as tried.

/// Failures one after the other until the sink counts as failing.
const MOST_FAILURES: u32 = 5;
/// Shortest and longest pause in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// The first one; each further one is twice as long.
    pub shortest: i64,
    /// None is longer.
    pub longest: i64,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { shortest: 15, longest: 600 }
    }
}

/// The longest pause that a sink may ask for, in seconds.
const LONGEST_RETRY_AFTER: i64 = 6 * 3_600;

/// The state of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    pauses: Pauses,
    failures: u32,
    paused_until: i64,
    probing: bool,
    disabled: bool,
}

/// Whether a request may go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Go,
    /// Not before this second since 1970.
    Wait(i64),
    /// Not until the sink is configured anew.
    Never,
}

impl Breaker {
    /// A closed one.
    pub fn new(pauses: Pauses) -> Self {
        Self { pauses, ..Self::default() }
    }

    /// Asks for one request. After [`Admission::Go`] one of [`Self::succeeded`], [`Self::failed`], [`Self::refused`]
    /// and [`Self::cancelled`] has to follow.
    pub fn admit(&mut self, now: i64) -> Admission {
        if self.disabled {
            return Admission::Never;
        }
        if self.paused_until > now {
            return Admission::Wait(self.paused_until);
        }
        if self.failures >= MOST_FAILURES {
            if self.probing {
                return Admission::Wait(now + 1);
            }
            self.probing = true;
        }
        Admission::Go
    }

    /// The sink took a message, or refused one for what it is: it works. Whether it was failing before.
    pub fn succeeded(&mut self) -> bool {
        let was_failing = self.is_failing();
        *self = Self { disabled: self.disabled, ..Self::new(self.pauses) };
        was_failing
    }

    /// The sink did not answer, or with an error of its own. `retry_after` is in seconds. Whether it counts as failing
    /// from now on.
    pub fn failed(&mut self, now: i64, retry_after: Option<i64>) -> bool {
        let was_failing = self.is_failing();
        self.probing = false;
        self.failures = self.failures.saturating_add(1);
        if self.failures >= MOST_FAILURES {
            let doubled = (self.failures - MOST_FAILURES).min(10);
            self.paused_until = self.paused_until.max(now + (self.pauses.shortest << doubled).min(self.pauses.longest));
        }
        if let Some(seconds) = retry_after {
            self.paused_until = self.paused_until.max(now + seconds.clamp(0, LONGEST_RETRY_AFTER));
        }
        !was_failing && self.is_failing()
    }

    /// The sink answered 410.
    pub fn refused(&mut self) {
        self.disabled = true;
        self.probing = false;
    }

    /// Somebody asks to try it again.
    pub fn enabled(&mut self) {
        self.disabled = false;
    }

    /// Whether it answered 410.
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// The request was not sent.
    pub fn cancelled(&mut self) {
        self.probing = false;
    }

    /// Whether the sink counts as failing.
    pub fn is_failing(&self) -> bool {
        self.disabled || self.failures >= MOST_FAILURES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_sink_gets_one_request_at_a_time_and_less_often() {
        let mut breaker = Breaker::default();
        for number in 1..=MOST_FAILURES {
            assert_eq!(breaker.admit(0), Admission::Go);
            assert_eq!(breaker.failed(0, None), number == MOST_FAILURES);
        }
        assert_eq!(breaker.admit(14), Admission::Wait(15));
        assert_eq!(breaker.admit(15), Admission::Go);
        assert_eq!(breaker.admit(15), Admission::Wait(16), "one probe at a time");
        assert!(!breaker.failed(15, None), "known already");
        assert_eq!(breaker.admit(44), Admission::Wait(45));
        assert_eq!(breaker.admit(45), Admission::Go);
        breaker.cancelled();
        assert_eq!(breaker.admit(45), Admission::Go);
        assert!(breaker.succeeded());
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn the_pause_has_an_end() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            breaker.failed(0, None);
        }
        assert_eq!(breaker.admit(0), Admission::Wait(600));
    }

    #[test]
    fn a_sink_may_ask_for_a_pause() {
        let mut breaker = Breaker::default();
        breaker.failed(100, Some(120));
        assert_eq!(breaker.admit(219), Admission::Wait(220));
        assert_eq!(breaker.admit(220), Admission::Go);
        breaker.failed(220, Some(i64::MAX));
        assert_eq!(breaker.admit(220), Admission::Wait(220 + 21_600));
    }

    #[test]
    fn a_sink_that_is_gone_gets_nothing() {
        let mut breaker = Breaker::default();
        breaker.refused();
        assert_eq!(breaker.admit(i64::MAX), Admission::Never);
        breaker.succeeded();
        assert_eq!(breaker.admit(i64::MAX), Admission::Never);
        assert!(breaker.is_disabled());
        breaker.enabled();
        assert_eq!(breaker.admit(i64::MAX), Admission::Go);
    }
}
