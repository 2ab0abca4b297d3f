//! What the world sees: whether a resolver has the answer that the zone's own servers give.

use std::time::Duration;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::RData;

use super::super::answer::{Outcome, Question};
use super::reply::{Said, query, read};
use super::{Lookup, Mode};

impl Lookup {
    /// Asks a resolver for a record that surely exists, and says so when its answer is an older one; it goes at the end
    /// of the time that the resolver gives (RFC 2308, section 5).
    pub(super) async fn pending(&self, question: &Question, outcome: &Outcome) -> Option<String> {
        if self.options.mode == Mode::Recursive {
            return None;
        }
        let query = query(&question.name, question.kind)?;
        let message = self.resolver(&question.name, query.query_type).await.ok()?;
        let seen = match read(&message, &question.name, question.kind, None) {
            Said::Final(_, seen) => seen,
            Said::Alias(_) => return None,
        };
        let left = lifetime(&message).as_secs();
        (seen != *outcome).then(|| format!("a resolver still has an older answer, for at most {left} s"))
    }
}

/// How long a resolver keeps the message: the least TTL of the answers, or of the SOA when there is none.
fn lifetime(message: &Message) -> Duration {
    let answers = message.answers.iter().map(|record| record.ttl);
    let absence = message.authorities.iter().filter_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    Duration::from_secs(u64::from(answers.min().or(absence.min()).unwrap_or(0)))
}
