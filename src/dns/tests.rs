//! For tests of rows: answers by name and type; what is not given does not exist.

use std::collections::BTreeMap;

use super::answer::{Answer, Kind, Outcome, Question};
use super::known::{Known, Need};
use crate::crd::DnsSource;

/// The answers that a test gives.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts(BTreeMap<Question, Answer>);

/// A question.
pub(super) fn at(name: &str, kind: Kind) -> Question {
    Question::new(name, kind)
}

/// An answer of addresses.
pub(super) fn addresses(ips: &[&str]) -> Outcome {
    if ips.is_empty() {
        Outcome::NoData
    } else {
        Outcome::Addresses(ips.iter().map(|ip| ip.parse().unwrap()).collect())
    }
}

fn families(ips: &[&str]) -> [(Kind, Outcome); 2] {
    let (v6, v4): (Vec<_>, Vec<_>) = ips.iter().copied().partition(|ip| ip.contains(':'));
    [(Kind::A, addresses(&v4)), (Kind::Aaaa, addresses(&v6))]
}

impl Facts {
    /// With an answer.
    pub(super) fn with(mut self, question: Question, outcome: Outcome) -> Self {
        self.0.insert(question, Answer::new(outcome, DnsSource::Authoritative));
        self
    }

    /// With a host.
    pub(super) fn host(self, name: &str, ips: &[&str]) -> Self {
        families(ips).into_iter().fold(self, |facts, (kind, outcome)| facts.with(at(name, kind), outcome))
    }

    /// With a CNAME that leads over these names to these addresses; none: the last name does not exist.
    pub(super) fn cname(mut self, name: &str, targets: &[&str], ips: &[&str]) -> Self {
        for (kind, outcome) in families(ips) {
            let outcome = if ips.is_empty() { Outcome::NxDomain } else { outcome };
            let cnames = targets.iter().map(|target| (*target).to_owned()).collect();
            self.0.insert(at(name, kind), Answer { cnames, ..Answer::new(outcome, DnsSource::Authoritative) });
        }
        self
    }

    /// With texts.
    pub(super) fn texts(self, name: &str, texts: &[&str]) -> Self {
        let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        self.with(at(name, Kind::Txt), Outcome::Txt(texts))
    }

    /// Calls a row until it has what it needs.
    pub(super) fn judge<T>(&self, row: impl Fn(&Known) -> Result<T, Need>) -> T {
        let mut known = Known::default();
        loop {
            let questions = match row(&known) {
                Ok(value) => return value,
                Err(Need(questions)) => questions,
            };
            assert!(!questions.is_empty());
            for question in questions {
                let nothing = || Answer::new(Outcome::NxDomain, DnsSource::Authoritative);
                let answer = self.0.get(&question).cloned().unwrap_or_else(nothing);
                known.learn(question, vec![answer]);
            }
        }
    }
}
