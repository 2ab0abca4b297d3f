//! Propagation: whether a resolver has the same answer as the zone's own servers, and confirms it.

use std::time::Duration;

use hickory_resolver::proto::op::Message;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::super::answer::{Kind, Outcome, Question};
use super::super::verdict::Reach;
use super::reply::{Reply, query, read};
use super::{Lookup, Mode};

/// The answer of a resolver for a record.
pub(super) struct Seen {
    /// Whether it has the same answer.
    pub(super) reach: Reach,
    /// Whether it confirms that the answer is signed and valid (AD, RFC 4035, section 3.2.3).
    pub(super) secure: bool,
}

impl Lookup {
    /// Asks a resolver for a record that is known to exist. An older answer expires at the time that the resolver gives
    /// (RFC 2308, section 5).
    pub(super) async fn propagation(&self, question: &Question, outcome: &Outcome) -> Option<Seen> {
        if self.options.mode == Mode::Recursive {
            return None;
        }
        let query = query(&question.name, question.kind)?;
        let message = self.resolver(&question.name, query.query_type).await.ok()?;
        let seen = match read(&message, &question.name, question.kind, None) {
            Reply::Final(_, seen) => seen,
            Reply::Cname(_) => return None,
        };
        let seconds = u32::try_from(lifetime(&message).as_secs()).unwrap_or(u32::MAX);
        let reach = if seen == *outcome { Reach::Everywhere } else { Reach::Pending { seconds } };
        Some(Seen { reach, secure: message.metadata.authentic_data })
    }

    /// Whether a resolver confirms an answer; for a host, for each address family with addresses.
    pub(super) async fn secure(&self, name: &str, kind: Kind) -> Outcome {
        let types: &[RecordType] = match kind {
            Kind::SecureMx => &[RecordType::MX],
            Kind::SecureTlsa => &[RecordType::TLSA],
            _ => &[RecordType::A, RecordType::AAAA],
        };
        let mut secure = true;
        for wire in types {
            match self.resolver(name, *wire).await {
                Ok(message) => secure &= message.metadata.authentic_data,
                Err(failure) => return Outcome::Failed(format!("the resolver {}", failure.words())),
            }
        }
        Outcome::Secure(secure)
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
