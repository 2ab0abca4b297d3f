//! The driver: asks what the rows need until they have a verdict.

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::super::answer::{Answer, Kind, Outcome, Question};
use super::super::known::{Known, Need};
use super::super::spf::{Evaluation, Sender, SpfResult, evaluate};
use super::super::verdict::{Verdict, severity};
use super::super::wanted::Wanted;
use super::super::{dkim, dmarc, mx, spf};
use super::Lookup;
use crate::crd::{DnsRecordKind, DnsSource, DnsVerdict};

/// At most this many questions are asked for one row.
const MOST_QUESTIONS: usize = 300;

/// A row of the status: pure, see [`crate::dns`].
type Row = fn(&Wanted, &Known) -> Result<Verdict, Need>;

/// Checks all rows side by side. It takes no longer than [`super::Options::check_timeout`] and never fails: what gets
/// no answer is a `TempError`.
pub async fn check(lookup: &Lookup, wanted: &Wanted) -> Vec<Verdict> {
    let deadline = Instant::now() + lookup.options.check_timeout;
    let rows: [Row; 4] = [mx::mx, spf::verdict, dkim::dkim, dmarc::dmarc];
    let found = join_all(rows.map(|row| check_row(lookup, deadline, wanted, row))).await;
    found.into_iter().flatten().collect()
}

async fn check_row(lookup: &Lookup, deadline: Instant, wanted: &Wanted, row: Row) -> Option<Verdict> {
    let mut known = Known::default();
    let verdicts = drive(lookup, deadline, &mut known, |known| row(wanted, known)).await;
    let verdict = worst(wanted.domain.as_str(), verdicts, &known)?;
    let good = verdict.verdict == DnsVerdict::Verified && verdict.source == DnsSource::Authoritative;
    let question = Question::new(&verdict.name, if verdict.kind == DnsRecordKind::Mx { Kind::Mx } else { Kind::Txt });
    let Some(answer) = known.ask(&question.name, question.kind).ok().filter(|answer| good && !answer.is_void()) else {
        return Some(verdict);
    };
    let pending = timeout_at(deadline, lookup.pending(&question, &answer.outcome)).await.ok().flatten();
    Some(match pending {
        Some(message) => verdict.warn("Pending", message),
        None => verdict,
    })
}

/// Evaluates SPF for a sender as a receiver does (RFC 7208, section 4), within the same time as a check.
pub async fn check_host(lookup: &Lookup, sender: &Sender) -> Evaluation {
    let deadline = Instant::now() + lookup.options.check_timeout;
    let found = drive(lookup, deadline, &mut Known::default(), |known| evaluate(sender, known)).await;
    found.into_iter().next().unwrap_or_else(|| Evaluation::of(SpfResult::TempError))
}

/// Calls a pure function, asks what it needs, and calls it again; at the end once for each view of the answers.
async fn drive<T>(
    lookup: &Lookup,
    deadline: Instant,
    known: &mut Known,
    decide: impl Fn(&Known) -> Result<T, Need>,
) -> Vec<T> {
    loop {
        let results = (0..known.views()).map(|view| decide(&known.view(view)));
        let Need(questions) = match Need::all(results) {
            Ok(values) => return values,
            Err(need) => need,
        };
        let late = known.len() + questions.len() > MOST_QUESTIONS || Instant::now() >= deadline;
        let until = if late { Instant::now() } else { deadline };
        let answers = join_all(questions.iter().map(|question| ask(lookup, question, until))).await;
        for (question, answer) in questions.into_iter().zip(answers) {
            known.learn(question, answer);
        }
        if known.len() > 2 * MOST_QUESTIONS {
            return Vec::new();
        }
    }
}

async fn ask(lookup: &Lookup, question: &Question, until: Instant) -> Vec<Answer> {
    if until <= Instant::now() {
        return vec![too_late(question)];
    }
    timeout_at(until, lookup.ask(question)).await.unwrap_or_else(|_| vec![too_late(question)])
}

fn too_late(question: &Question) -> Answer {
    let why = format!("no answer about {} in the time for a check", question.name);
    Answer::new(Outcome::Failed(why), DnsSource::Authoritative)
}

/// The worst of the views counts: a record has to be on all servers that answer.
fn worst(domain: &str, verdicts: Vec<Verdict>, known: &Known) -> Option<Verdict> {
    let best = verdicts.iter().map(|verdict| severity(verdict.verdict)).min();
    let mut worst = verdicts.into_iter().max_by_key(|verdict| severity(verdict.verdict))?;
    if best != Some(severity(worst.verdict)) {
        worst.message = format!("the zone's servers disagree; at worst: {}", worst.message);
    }
    Some(known.disagreements(domain).into_iter().fold(worst, |verdict, message| verdict.warn("Disagree", message)))
}
