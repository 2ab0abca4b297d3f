//! The driver: asks what the rows need until they have a verdict.

use futures::future::join_all;

use super::super::answer::{Answer, Outcome, Question};
use super::super::known::{Known, Need};
use super::super::rows::{Row, rows};
use super::super::spf::{Evaluation, Sender, SpfResult, evaluate};
use super::super::verdict::{Reach, Verdict, severity};
use super::super::wanted::Wanted;
use super::Lookup;
use super::budget::Budget;
use crate::crd::DnsSource;

/// At most this many questions are asked for one row.
const MOST_QUESTIONS: usize = 300;

/// Checks all rows in parallel. It takes at most [`super::Options::check_timeout`], plus the time in the queue. It
/// never fails: a query without an answer is a `TempError`.
pub async fn check(lookup: &Lookup, wanted: &Wanted) -> Vec<Verdict> {
    let budget = Budget::new(lookup.options.check_timeout);
    let rows = rows(wanted);
    let found = join_all(rows.iter().map(|row| check_row(lookup, &budget, wanted, row))).await;
    found.into_iter().flatten().collect()
}

async fn check_row(lookup: &Lookup, budget: &Budget, wanted: &Wanted, row: &Row<'_>) -> Option<Verdict> {
    let mut known = Known::default();
    let verdicts = drive(lookup, budget, &mut known, |known| row.verdict(known)).await;
    let mut verdict = worst(verdicts)?;
    let servers = known.disagreements(wanted.domain.as_str());
    if !servers.is_empty() {
        verdict.propagation = Some(Reach::Disagree { servers });
        return Some(verdict);
    }
    let question = Question::new(&verdict.name, row.kind());
    let there = known.ask(&question.name, question.kind).ok().filter(|answer| answer.has_records());
    let Some(answer) = there.filter(|answer| answer.source == DnsSource::Authoritative) else {
        return Some(verdict);
    };
    if let Some(Some(seen)) = budget.within(Box::pin(lookup.propagation(&question, &answer.outcome))).await {
        verdict.propagation = Some(seen.reach);
        verdict.dnssec = Some(seen.secure);
    }
    Some(verdict)
}

/// Evaluates SPF for a sender as a receiver does (RFC 7208, section 4), within the same time as a check.
pub async fn check_host(lookup: &Lookup, sender: &Sender) -> Evaluation {
    let budget = Budget::new(lookup.options.check_timeout);
    let found = drive(lookup, &budget, &mut Known::default(), |known| evaluate(sender, known)).await;
    found.into_iter().next().unwrap_or_else(|| Evaluation::of(SpfResult::TempError))
}

/// Calls a pure function, asks what it needs, and calls it again; at the end once for each view of the answers.
async fn drive<T>(
    lookup: &Lookup,
    budget: &Budget,
    known: &mut Known,
    decide: impl Fn(&Known) -> Result<T, Need>,
) -> Vec<T> {
    loop {
        let results = (0..known.views()).map(|view| decide(&known.view(view)));
        let Need(questions) = match Need::all(results) {
            Ok(values) => return values,
            Err(need) => need,
        };
        let late = known.len() + questions.len() > MOST_QUESTIONS || budget.is_over();
        let answers = join_all(questions.iter().map(|question| ask(lookup, question, budget, late))).await;
        for (question, answer) in questions.into_iter().zip(answers) {
            known.learn(question, answer);
        }
        if known.len() > 2 * MOST_QUESTIONS {
            return Vec::new();
        }
    }
}

async fn ask(lookup: &Lookup, question: &Question, budget: &Budget, late: bool) -> Vec<Answer> {
    if late {
        return vec![too_late(question)];
    }
    budget.within(Box::pin(lookup.ask(question))).await.unwrap_or_else(|| vec![too_late(question)])
}

fn too_late(question: &Question) -> Answer {
    let why = format!("no answer for {} within the time of a check", question.name);
    Answer::new(Outcome::Failed(why), DnsSource::Authoritative)
}

/// The worst of the views counts: a record has to be on all servers that answer. A view without a verdict says that
/// nothing has to be reported.
fn worst(verdicts: Vec<Option<Verdict>>) -> Option<Verdict> {
    let verdicts = verdicts.into_iter().flatten().collect::<Vec<_>>();
    let best = verdicts.iter().map(|verdict| severity(verdict.verdict)).min();
    let mut worst = verdicts.into_iter().max_by_key(|verdict| severity(verdict.verdict))?;
    if best != Some(severity(worst.verdict)) {
        worst.message = format!("the zone's servers disagree; at worst: {}", worst.message);
    }
    Some(worst)
}
