//! What to do with a message in a queue folder. Everything that decides stands in the mailbox: keywords count the
//! tries, and the internal date says when the message arrived.
//!
//! Before each try the worker sets the keyword of that try on the condition that nobody changed the message since
//! (RFC 7162, section 3.1.3): of two workers one wins (in a close race Dovecot may let both, and then both send the same
//! identity), and a message that ends the process is still counted. One
//! keyword for each try, because adding is a single command, where counting with fewer keywords needs two.

use super::identity::Identity;

/// The most tries of a message. Dovecot keeps 26 keywords of a folder in its file names; the others only in its index.
pub const MOST_TRIES: u32 = 10;

/// The keyword of a delivered message that is not in `Done` yet.
pub const DELIVERED: &str = "$IntakeDelivered";

/// Waiting times in seconds after the first, second, … try. The last one is for a message whose last try ended the
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits(pub [i64; MOST_TRIES as usize]);

impl Default for Waits {
    /// A minute to six hours, more than ten hours together.
    fn default() -> Self {
        Self([60, 120, 240, 480, 960, 1_920, 3_840, 7_680, 21_600, 600])
    }
}

/// How much longer a wait may become, in percent, so that not all messages come back in one second.
const JITTER: f64 = 20.0;

/// The keyword of a try, from 1.
pub fn keyword(number: u32) -> String {
    format!("$IntakeTry{number}")
}

/// All keywords of the worker, for a replay.
pub fn keywords() -> Vec<String> {
    (1..=MOST_TRIES).map(keyword).chain([DELIVERED.to_owned()]).collect()
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Try it: the try with this number, from 1.
    Try(u32),
    /// It waits until this second since 1970.
    Wait(i64),
    /// It was delivered: it goes to `Done`.
    Finish,
    /// It was tried often enough: it goes to `Failed`.
    Fail,
}

/// A message of a queue folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How often it was tried; the last try may still run.
    pub tries: u32,
    /// Whether it was delivered.
    pub delivered: bool,
    /// When it arrived, in seconds since 1970.
    pub arrived: i64,
}

impl Known {
    /// From a message's flags and its internal date.
    pub fn read(flags: &[impl AsRef<str>], arrived: i64) -> Self {
        let has = |keyword: &str| flags.iter().any(|flag| flag.as_ref().eq_ignore_ascii_case(keyword));
        let tries = (1..=MOST_TRIES).rev().find(|number| has(&keyword(*number))).unwrap_or(0);
        Self { tries, delivered: has(DELIVERED), arrived }
    }

    /// What to do now. `not_before` is what this process knows of the last try; a new process knows nothing, and then
    /// the times count from the arrival.
    pub fn step(self, rules: &Rules<'_>, not_before: Option<i64>, now: i64) -> Step {
        if self.delivered {
            return Step::Finish;
        }
        if self.tries == 0 {
            return not_before.filter(|until| *until > now).map_or(Step::Try(1), Step::Wait);
        }
        let due = not_before.unwrap_or_else(|| self.arrived + self.after_arrival(rules));
        if due > now {
            return Step::Wait(due);
        }
        if self.tries >= rules.tries.clamp(1, MOST_TRIES) { Step::Fail } else { Step::Try(self.tries + 1) }
    }

    /// When the next try is due if each one was in time, in seconds after the arrival.
    fn after_arrival(self, rules: &Rules<'_>) -> i64 {
        (1..=self.tries).map(|number| rules.wait(number)).sum()
    }
}

/// How a message is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Its identity, for the jitter.
    pub identity: &'a Identity,
    /// How often it is tried.
    pub tries: u32,
    /// The waits.
    pub waits: Waits,
}

impl Rules<'_> {
    /// Seconds to wait after a try, from 1.
    pub fn wait(&self, number: u32) -> i64 {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or_default();
        let seconds = self.waits.0[index.min(self.waits.0.len() - 1)];
        let longer = self.identity.fraction(number) * JITTER;
        let percent = (0..20_i32).rev().find(|percent| f64::from(*percent) <= longer).unwrap_or(0);
        seconds + seconds * i64::from(percent) / 100
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule_ref::RuleRef;
    use super::*;
    use crate::mail::Address;

    fn identity() -> Identity {
        let rule = RuleRef { uid: "u".into(), namespace: "n".into(), name: "r".into() };
        Identity::of(&Address::parse("a@b.test").unwrap(), "f", "g", &rule)
    }

    fn known(flags: &[&str]) -> Known {
        Known::read(flags, 1_000_000)
    }

    fn step(known: Known, tries: u32, not_before: Option<i64>, now: i64) -> Step {
        known.step(&Rules { identity: &identity(), tries, waits: Waits::default() }, not_before, now)
    }

    fn wait(number: u32) -> i64 {
        Rules { identity: &identity(), tries: 10, waits: Waits::default() }.wait(number)
    }

    #[test]
    fn a_new_message_is_tried_at_once() {
        assert_eq!(step(known(&["\\Seen", "$Task"]), 10, None, 1_000_000), Step::Try(1));
        assert_eq!(step(known(&[]), 10, Some(1_000_060), 1_000_000), Step::Wait(1_000_060));
    }

    #[test]
    fn the_waits_are_a_minute_to_six_hours_and_ten_to_thirteen_hours_together() {
        let waits: Vec<i64> = (1..MOST_TRIES).map(wait).collect();
        assert!((60..=72).contains(&waits[0]) && (21_600..=25_920).contains(waits.last().unwrap()), "{waits:?}");
        assert!((36_000..=46_800).contains(&waits.iter().sum::<i64>()), "{waits:?}");
    }

    #[test]
    fn a_new_process_waits_as_the_old_one_would() {
        let twice = known(&["$intaketry1", "$IntakeTry2"]);
        let due = 1_000_000 + wait(1) + wait(2);
        assert_eq!(step(twice, 10, None, 1_000_100), Step::Wait(due));
        assert_eq!(step(twice, 10, None, due), Step::Try(3));
        // After a long outage the first process waits from its own last try.
        assert_eq!(step(twice, 10, Some(2_000_240), 2_000_000), Step::Wait(2_000_240));
    }

    #[test]
    fn the_last_try_ends_in_failed_and_a_delivered_message_in_done() {
        let all: Vec<String> = (1..=MOST_TRIES).map(keyword).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(step(known(&all), 10, None, 9_000_000), Step::Fail);
        assert_eq!(step(known(&["$IntakeTry3"]), 3, None, 9_000_000), Step::Fail);
        assert_eq!(step(known(&["$IntakeTry1", "$IntakeDelivered"]), 10, None, 0), Step::Finish);
    }

    #[test]
    fn all_keywords_fit_into_the_file_names_of_dovecot() {
        assert!(keywords().len() <= 13 && keywords().iter().all(|keyword| keyword.len() <= 50));
    }
}
