//! The answers so far, and what still has to be asked.

use std::collections::BTreeMap;

use super::answer::{Answer, Kind, Outcome, Question};
use super::name;
use super::presentation::presented;
use crate::crd::DnsSource;

/// Questions that have to be answered first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need(pub Vec<Question>);

/// The answers so far. Where a zone's servers disagree, a question has several; [`Known::view`] picks one.
#[derive(Clone, Debug)]
pub struct Known {
    answers: BTreeMap<Question, Vec<Answer>>,
    view: usize,
    impossible: Answer,
}

impl Default for Known {
    fn default() -> Self {
        let impossible = Answer::new(Outcome::NxDomain, DnsSource::Authoritative);
        Self { answers: BTreeMap::new(), view: 0, impossible }
    }
}

impl Known {
    /// Notes the answers to a question: one, or one for each group of servers that agree.
    pub fn learn(&mut self, question: Question, answers: Vec<Answer>) {
        self.answers.insert(question, answers);
    }

    /// How many views there are: 1 when all servers agree.
    pub fn views(&self) -> usize {
        self.answers.values().map(Vec::len).max().unwrap_or(1).max(1)
    }

    /// The same answers as one of the disagreeing servers gives them.
    #[must_use]
    pub fn view(&self, view: usize) -> Self {
        Self { view, ..self.clone() }
    }

    /// Who says what, for each question within the domain whose servers disagree. Elsewhere it may be meant: some
    /// servers give each client other addresses.
    pub(super) fn disagreements(&self, domain: &str) -> Vec<String> {
        let split = self
            .answers
            .iter()
            .filter(|(question, variants)| variants.len() > 1 && name::is_within(&question.name, domain));
        let lines = split.map(|(question, variants)| {
            let groups = variants.iter().map(|variant| format!("{}: {}", variant.servers.join(", "), brief(variant)));
            format!(
                "the servers of the zone have different answers for {}: {}",
                question.name,
                groups.collect::<Vec<_>>().join("; ")
            )
        });
        lines.collect()
    }

    /// How many questions were answered.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// Whether nothing is known yet.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The answer to a question. A name that DNS can't hold does not exist.
    ///
    /// # Errors
    /// When it has to be asked first.
    pub fn ask(&self, name: &str, kind: Kind) -> Result<&Answer, Need> {
        let question = Question::new(name, kind);
        if !name::is_askable(&question.name) {
            return Ok(&self.impossible);
        }
        let variants = self.answers.get(&question).map(Vec::as_slice).unwrap_or_default();
        variants.get(self.view).or_else(|| variants.last()).ok_or_else(|| Need(vec![question]))
    }

    /// The A and the AAAA answer for a host.
    ///
    /// # Errors
    /// When one has to be asked first.
    pub fn host(&self, name: &str) -> Result<[&Answer; 2], Need> {
        match (self.ask(name, Kind::A), self.ask(name, Kind::Aaaa)) {
            (Ok(v4), Ok(v6)) => Ok([v4, v6]),
            (v4, v6) => Err(Need::of([v4.err(), v6.err()].into_iter().flatten())),
        }
    }
}

impl Need {
    /// All questions of several needs, each once.
    pub fn of(needs: impl IntoIterator<Item = Self>) -> Self {
        let mut all = needs.into_iter().flat_map(|need| need.0).collect::<Vec<_>>();
        all.sort();
        all.dedup();
        Self(all)
    }

    /// The values, or all that is needed for the missing ones.
    ///
    /// # Errors
    /// When one of them needs something.
    pub fn all<T>(results: impl IntoIterator<Item = Result<T, Self>>) -> Result<Vec<T>, Self> {
        let mut values = Vec::new();
        let mut needs = Vec::new();
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(need) => needs.push(need),
            }
        }
        if needs.is_empty() { Ok(values) } else { Err(Self::of(needs)) }
    }
}

/// The answer in a few words.
fn brief(answer: &Answer) -> String {
    match &answer.outcome {
        Outcome::NoData | Outcome::NxDomain => "nothing".to_owned(),
        Outcome::CnameLoop => "a CNAME loop".to_owned(),
        Outcome::Failed(why) => why.clone(),
        found => presented(found).join(", ").chars().take(120).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(outcome: Outcome) -> Answer {
        Answer::new(outcome, DnsSource::Authoritative)
    }

    #[test]
    fn what_is_not_known_has_to_be_asked() {
        let known = Known::default();
        assert_eq!(known.ask("A.Example.", Kind::Mx).unwrap_err(), Need(vec![Question::new("a.example", Kind::Mx)]));
        assert_eq!(known.host("a.example").unwrap_err().0.len(), 2);
    }

    #[test]
    fn what_dns_cannot_hold_does_not_exist() {
        assert_eq!(Known::default().ask("a..b", Kind::A).unwrap().outcome, Outcome::NxDomain);
    }

    #[test]
    fn each_view_sees_one_of_the_answers() {
        let mut known = Known::default();
        let question = Question::new("a.example", Kind::A);
        known.learn(question, vec![answer(Outcome::NoData), answer(Outcome::NxDomain)]);
        known.learn(Question::new("b.example", Kind::A), vec![answer(Outcome::NoData)]);
        assert_eq!(known.views(), 2);
        let second = known.view(1);
        assert_eq!(second.ask("a.example", Kind::A).unwrap().outcome, Outcome::NxDomain);
        assert_eq!(second.ask("b.example", Kind::A).unwrap().outcome, Outcome::NoData);
    }

    #[test]
    fn needs_are_gathered_once_each() {
        let known = Known::default();
        let asked = ["a.example", "b.example", "a.example"].map(|name| known.ask(name, Kind::A));
        assert_eq!(Need::all(asked).unwrap_err().0.len(), 2);
    }
}
