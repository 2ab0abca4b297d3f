//! Floods and loops: how many messages of a rule and of a sender become tasks in an hour, and which mail makes none.

use std::collections::{BTreeMap, VecDeque};

use super::identity::OWN_DOMAIN;
use super::queue::Limits;

/// Seconds that count.
const HOUR: i64 = 3_600;

/// Counts of one queue folder. A new process begins with zero: then at most one more hour's worth is delivered.
#[derive(Debug, Default)]
pub struct Meter {
    all: VecDeque<i64>,
    senders: BTreeMap<String, VecDeque<i64>>,
}

/// Whether a message may be delivered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// Yes; it is counted.
    Now,
    /// The rule's limit is reached until this second since 1970.
    RuleLimit(i64),
    /// The sender's limit is reached until this second since 1970.
    SenderLimit(i64),
}

impl Meter {
    /// Counts a message, or answers when it may come.
    pub fn take(&mut self, limits: &Limits, sender: &str, now: i64) -> Allowance {
        let sender = sender.to_ascii_lowercase();
        self.forget(now);
        if let Some(first) = full(&self.all, limits.per_hour) {
            return Allowance::RuleLimit(first + HOUR);
        }
        let of_sender = self.senders.entry(sender).or_default();
        if let Some(first) = full(of_sender, limits.per_sender_and_hour) {
            return Allowance::SenderLimit(first + HOUR);
        }
        of_sender.push_back(now);
        self.all.push_back(now);
        Allowance::Now
    }

    fn forget(&mut self, now: i64) {
        let is_old = |at: &i64| *at + HOUR <= now;
        while self.all.front().is_some_and(is_old) {
            self.all.pop_front();
        }
        self.senders.retain(|_, times| {
            while times.front().is_some_and(is_old) {
                times.pop_front();
            }
            !times.is_empty()
        });
    }
}

fn full(times: &VecDeque<i64>, most: u32) -> Option<i64> {
    let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
    (times.len() >= most).then(|| times[times.len() - most])
}

/// What a header says of how the message came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Address of the sender, or the raw `From`.
    pub sender: String,
    /// `Auto-Submitted` (RFC 3834, section 5).
    pub auto_submitted: String,
    /// `Return-Path`, that the delivery wrote.
    pub return_path: Option<String>,
    /// `Message-ID`, `In-Reply-To` and `References`.
    pub ids: String,
}

impl Origin {
    /// Why the message makes no task, unless its rule wants automatic mail; `None` for mail of people.
    pub fn automatic(&self) -> Option<&'static str> {
        let word = self.auto_submitted.split([';', ' ', '(']).next().unwrap_or_default().trim();
        if !word.is_empty() && !word.eq_ignore_ascii_case("no") {
            return Some("it was sent automatically (Auto-Submitted)");
        }
        if self.return_path.as_deref().is_some_and(|path| path.trim() == "<>") {
            return Some("it is a bounce or another report (null sender)");
        }
        None
    }

    /// Whether the message came from one of our own tasks or notes: it never makes another.
    pub fn is_own(&self) -> bool {
        self.ids.contains(OWN_DOMAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_a_limit_waits_for_its_turn() {
        let limits = Limits { per_sender_and_hour: 2, per_hour: 3, tries: 10 };
        let mut meter = Meter::default();
        assert_eq!(meter.take(&limits, "a", 100), Allowance::Now);
        assert_eq!(meter.take(&limits, "A", 200), Allowance::Now);
        assert_eq!(meter.take(&limits, "a", 300), Allowance::SenderLimit(3_700));
        assert_eq!(meter.take(&limits, "b", 400), Allowance::Now);
        assert_eq!(meter.take(&limits, "c", 500), Allowance::RuleLimit(3_700));
        assert_eq!(meter.take(&limits, "a", 3_700), Allowance::Now);
        assert_eq!(meter.take(&limits, "c", 3_750), Allowance::RuleLimit(3_800));
    }

    #[test]
    fn nothing_stays_of_old_senders() {
        let mut meter = Meter::default();
        for number in 0..1_000 {
            meter.take(&Limits::default(), &number.to_string(), 0);
        }
        meter.take(&Limits::default(), "x", HOUR);
        assert_eq!((meter.senders.len(), meter.all.len()), (1, 1));
    }

    #[test]
    fn automatic_mail_is_known() {
        let of = |auto: &str, path: Option<&str>| Origin {
            auto_submitted: auto.into(),
            return_path: path.map(str::to_owned),
            ..Origin::default()
        };
        for (origin, automatic) in [
            (of("", Some("<a@b.c>")), false),
            (of("no", None), false),
            (of("No (really)", None), false),
            (of("auto-replied", None), true),
            (of("auto-generated; owner-email=x", None), true),
            (of("", Some("<>")), true),
        ] {
            assert_eq!(origin.automatic().is_some(), automatic, "{origin:?}");
        }
        assert!(Origin { ids: format!("<0a@{OWN_DOMAIN}>"), ..Origin::default() }.is_own());
    }
}
