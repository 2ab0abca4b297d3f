//! What is said about one row.

use super::answer::{Answer, Outcome};
use super::presentation::{presented, presented_texts};
use super::wanted::{Wanted, expected_values};
use crate::crd::{DnsRecordKind, DnsSource, DnsVerdict, DnsWarning};

/// What one check found about one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which row.
    pub kind: DnsRecordKind,
    /// The name of the record.
    pub name: String,
    /// The verdict.
    pub verdict: DnsVerdict,
    /// Values that would be right, in the presentation format of zone files.
    pub expected: Vec<String>,
    /// Values that were seen, in the presentation format of zone files; long ones are cut.
    pub observed: Vec<String>,
    /// What is allowed but better otherwise, and what was odd on the way.
    pub warnings: Vec<DnsWarning>,
    /// The verdict in words.
    pub message: String,
    /// What to change.
    pub hint: Option<String>,
    /// Who answered.
    pub source: DnsSource,
    /// Whether the rest of the world sees the same; `None` when it was not asked.
    pub propagation: Option<Reach>,
    /// Whether a validating resolver vouches for the answer; `None` when it was not asked.
    pub dnssec: Option<bool>,
}

/// How far a record has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The zone's servers and the resolver say the same.
    Everywhere,
    /// The resolver still holds an older answer.
    Pending {
        /// For at most so many seconds.
        seconds: u32,
    },
    /// The zone's servers say different things.
    Disagree {
        /// Which server says what, one line for each name.
        servers: Vec<String>,
    },
}

impl Verdict {
    /// A verdict about a row, from the answer that it rests on.
    pub(super) fn new(wanted: &Wanted, kind: DnsRecordKind, name: &str, answer: &Answer) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            verdict: DnsVerdict::TempError,
            expected: expected_values(wanted, kind, name),
            observed: presented(&answer.outcome),
            warnings: answer.notes.clone(),
            message: String::new(),
            hint: None,
            source: answer.source,
            propagation: None,
            dnssec: None,
        }
    }

    /// The same with this verdict.
    pub(super) fn found(mut self, verdict: DnsVerdict, message: impl Into<String>) -> Self {
        self.verdict = verdict;
        self.message = message.into();
        self
    }

    /// The same with a hint, if there is one.
    pub(super) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// The same with a warning.
    pub(super) fn warn(mut self, reason: &str, message: impl Into<String>) -> Self {
        self.warnings.push(warning(reason, message));
        self
    }

    /// The same with these values as seen.
    pub(super) fn observed<'a>(mut self, texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.observed = presented_texts(texts);
        self
    }

    /// A verdict when a lookup gave no answer.
    pub(super) fn failed(self, name: &str, why: &str) -> Self {
        self.found(DnsVerdict::TempError, format!("no answer for {name}: {why}"))
    }

    /// The verdict for an answer that holds no records of the type; `None` when it holds some.
    pub(super) fn without_records(&self, answer: &Answer) -> Option<Self> {
        let verdict = self.clone();
        match &answer.outcome {
            Outcome::Failed(why) => Some(verdict.failed(&self.name, why)),
            Outcome::CnameLoop => {
                let message = format!(
                    "the CNAME records at {} form a loop, or there are more than 8: publish one that ends at a host",
                    self.name
                );
                Some(verdict.found(DnsVerdict::Invalid, message))
            }
            _ => None,
        }
    }
}

/// A warning.
pub(super) fn warning(reason: &str, message: impl Into<String>) -> DnsWarning {
    DnsWarning { reason: reason.to_owned(), message: message.into() }
}

/// How bad a verdict is: of several views the worst counts.
pub(super) fn severity(verdict: DnsVerdict) -> u8 {
    match verdict {
        DnsVerdict::Verified => 0,
        DnsVerdict::TempError => 1,
        DnsVerdict::Missing => 2,
        DnsVerdict::Mismatch => 3,
        DnsVerdict::Multiple => 4,
        DnsVerdict::Invalid => 5,
    }
}
