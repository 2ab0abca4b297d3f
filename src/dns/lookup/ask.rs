//! One question, all the way: to every server of the zone, through aliases, to the resolver when all else fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::PoisonError;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use hickory_resolver::proto::op::Message;
use tokio::time::Instant;

use super::super::answer::{Answer, Kind, Outcome, Question};
use super::super::verdict::warning;
use super::cuts::Cut;
use super::exchange::Trouble;
use super::reply::{MOST_ALIASES, Said, query, read};
use super::{Lookup, Mode};
use crate::crd::{DnsSource, DnsWarning};

/// At most this many differing answers are told apart.
const MOST_VIEWS: usize = 4;
/// At most this many referrals are followed.
const MOST_REFERRALS: usize = 6;
/// So many zones whose servers are all silent, and none that answers, mean that port 53 is closed.
const CLOSED: usize = 2;

/// What the servers of a zone said.
struct Heard {
    /// Each different answer, and who gave it; the one of most servers first.
    views: Vec<(Said, Vec<String>)>,
    /// Servers without an answer.
    notes: Vec<DnsWarning>,
}

/// Why a zone said nothing.
enum Unheard {
    /// The way to it can't be found: no resolver can be reached.
    Resolver(Trouble),
    /// None of its servers answers; what is wrong with each.
    Servers(Vec<String>),
}

/// What came back when every server was asked once.
struct Round {
    /// Each different answer with authority, and who gave it.
    views: BTreeMap<Said, Vec<String>>,
    /// Servers without one.
    troubles: Vec<(String, Trouble)>,
    /// A message without authority, which may lead on.
    referral: Option<Message>,
}

impl Lookup {
    /// Asks one question. There is one answer, or one for each group of the zone's servers that agree.
    pub async fn ask(&self, question: &Question) -> Vec<Answer> {
        let (name, kind) = (question.name.as_str(), question.kind);
        let outcome = match kind {
            Kind::Policy => self.policy(name).await,
            Kind::Certificate => self.certificates(name).await,
            Kind::SecureMx | Kind::SecureHost | Kind::SecureTlsa => self.secure(name, kind).await,
            _ => return self.ask_dns(question).await,
        };
        vec![Answer::new(outcome, DnsSource::Recursive)]
    }

    /// Where a host listens at a port, IPv4 first.
    ///
    /// # Errors
    /// Why that can't be told, in words.
    pub(super) async fn addresses_of(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let questions = [Kind::A, Kind::Aaaa].map(|kind| Question::new(host, kind));
        let answers = join_all(questions.iter().map(|question| self.ask_dns(question))).await.concat();
        let found = answers.iter().flat_map(Answer::addresses).map(|ip| SocketAddr::new(*ip, port));
        let found = found.collect::<Vec<_>>();
        match answers.iter().find_map(Answer::failure) {
            Some(why) if found.is_empty() => Err(why.to_owned()),
            None if found.is_empty() => Err(format!("{host} has no address")),
            _ => Ok(found),
        }
    }

    async fn ask_dns(&self, question: &Question) -> Vec<Answer> {
        if query(&question.name, question.kind).is_none() {
            return vec![Answer::new(Outcome::NxDomain, DnsSource::Authoritative)];
        }
        if self.options.mode == Mode::Recursive {
            return vec![self.ask_resolver(&question.name, question.kind).await];
        }
        if self.is_closed() {
            let reason = ["the servers of several zones are silent; port 53 seems to be closed".to_owned()];
            return vec![self.fall_back(&question.name, question.kind, Vec::new(), &reason).await];
        }
        self.follow(question.name.clone(), question.kind, Vec::new()).await
    }

    /// Asks the zone of a name, then that of its alias, and so on.
    fn follow(&self, name: String, kind: Kind, before: Vec<String>) -> BoxFuture<'_, Vec<Answer>> {
        async move {
            let heard = match self.ask_zone(&name, kind).await {
                Ok(heard) => heard,
                Err(Unheard::Resolver(trouble)) => return vec![unresolved(before, &trouble)],
                Err(Unheard::Servers(troubles)) => return vec![self.fall_back(&name, kind, before, &troubles).await],
            };
            let first_only = if before.is_empty() { MOST_VIEWS } else { 1 };
            let mut answers = Vec::new();
            for (said, servers) in heard.views.into_iter().take(first_only) {
                let mut found = self.finish(said, kind, &before).await;
                found.notes.extend(heard.notes.iter().cloned());
                found.servers = servers;
                answers.push(found);
            }
            answers
        }
        .boxed()
    }

    async fn finish(&self, said: Said, kind: Kind, before: &[String]) -> Answer {
        match said {
            Said::Final(aliases, outcome) => {
                let mut answer = Answer::new(outcome, DnsSource::Authoritative);
                answer.aliases = [before, &aliases].concat();
                answer
            }
            Said::Alias(aliases) => {
                let target = aliases.last().cloned().unwrap_or_default();
                let all = [before, &aliases].concat();
                if all.len() > MOST_ALIASES || before.contains(&target) {
                    let mut answer = Answer::new(Outcome::AliasLoop, DnsSource::Authoritative);
                    answer.aliases = all;
                    return answer;
                }
                let mut answers = self.follow(target, kind, all).await;
                answers.truncate(1);
                answers.pop().unwrap_or_else(|| Answer::new(Outcome::NoData, DnsSource::Authoritative))
            }
        }
    }

    /// Asks all servers of the zone that holds the name.
    ///
    /// # Errors
    /// What is wrong, when none of them answers.
    async fn ask_zone(&self, asked: &str, kind: Kind) -> Result<Heard, Unheard> {
        let mut cut = self.cut_for(asked).await.map_err(|trouble| match trouble {
            Trouble::Silent | Trouble::Network(_) => Unheard::Resolver(trouble),
            Trouble::Malformed | Trouble::Useless(_) => {
                Unheard::Servers(vec![format!("the resolver {} when asked for the zone", trouble.words())])
            }
        })?;
        for _ in 0..MOST_REFERRALS {
            let round = self.ask_servers(&cut, asked, kind).await;
            self.note_reachability(&cut, &round.troubles);
            let deeper = match &round.referral {
                Some(message) => self.referred(message, &cut.zone, asked).await,
                None => None,
            };
            match deeper {
                Some(deeper) => cut = deeper,
                None if round.views.is_empty() => return Err(Unheard::Servers(words(&cut, &round.troubles))),
                None => return Ok(heard(round)),
            }
        }
        Err(Unheard::Servers(vec![format!("more than {MOST_REFERRALS} referrals")]))
    }

    /// Asks each server of a zone once, side by side.
    async fn ask_servers(&self, cut: &Cut, asked: &str, kind: Kind) -> Round {
        let replies = join_all(cut.servers.iter().map(|host| self.server(host, asked, kind))).await;
        let mut round = Round { views: BTreeMap::new(), troubles: Vec::new(), referral: None };
        for (host, reply) in cut.servers.iter().zip(replies) {
            let (ip, message) = match reply {
                Ok(found) => found,
                Err(trouble) => {
                    round.troubles.push((host.name.clone(), trouble));
                    continue;
                }
            };
            if message.metadata.authoritative {
                let said = read(&message, asked, kind, Some(&cut.zone));
                round.views.entry(said).or_default().push(format!("{} ({ip})", host.name));
            } else {
                let lame = Trouble::Useless("answers without authority (AA=0)".to_owned());
                round.troubles.push((host.name.clone(), lame));
                round.referral = round.referral.or(Some(message));
            }
        }
        round
    }

    /// Notes a zone whose servers are all silent; one server that answers makes up for all of them.
    fn note_reachability(&self, cut: &Cut, troubles: &[(String, Trouble)]) {
        let unreachable = |trouble: &Trouble| matches!(trouble, Trouble::Silent | Trouble::Network(_));
        let silent = troubles.iter().filter(|(_, trouble)| unreachable(trouble)).count();
        let mut zones = self.silent_zones.lock().unwrap_or_else(PoisonError::into_inner);
        if silent < cut.servers.len() {
            zones.clear();
        } else if silent > 0 {
            zones.insert(cut.zone.clone(), Instant::now() + self.options.memory);
        }
    }

    fn is_closed(&self) -> bool {
        let mut zones = self.silent_zones.lock().unwrap_or_else(PoisonError::into_inner);
        zones.retain(|_, until| *until > Instant::now());
        zones.len() >= CLOSED
    }

    /// The resolver's answer in place of the zone's own.
    async fn fall_back(&self, name: &str, kind: Kind, before: Vec<String>, troubles: &[String]) -> Answer {
        let mut answer = self.ask_resolver(name, kind).await;
        answer.aliases = [before, answer.aliases].concat();
        let reasons = troubles.join("; ");
        if let Outcome::Failed(why) = &mut answer.outcome {
            *why = format!("{reasons}; the resolver {why}");
        } else {
            let message = format!("a resolver answered, perhaps from its cache, because {reasons}");
            answer.notes.push(warning("ServersUnreachable", message));
        }
        answer
    }

    async fn ask_resolver(&self, asked: &str, kind: Kind) -> Answer {
        let Some(query) = query(asked, kind) else { return Answer::new(Outcome::NxDomain, DnsSource::Recursive) };
        match self.resolver(asked, query.query_type).await {
            Ok(message) => {
                let (aliases, outcome) = match read(&message, asked, kind, None) {
                    Said::Final(aliases, outcome) => (aliases, outcome),
                    Said::Alias(aliases) => (aliases, Outcome::NoData),
                };
                let mut answer = Answer::new(outcome, DnsSource::Recursive);
                answer.aliases = aliases;
                answer
            }
            Err(trouble) => Answer::new(Outcome::Failed(trouble.words()), DnsSource::Recursive),
        }
    }
}

fn unresolved(before: Vec<String>, trouble: &Trouble) -> Answer {
    let failed = Outcome::Failed(format!("the resolver {}", trouble.words()));
    Answer { aliases: before, ..Answer::new(failed, DnsSource::Recursive) }
}

fn heard(round: Round) -> Heard {
    let mut views = round.views.into_iter().collect::<Vec<_>>();
    views.sort_by_key(|(_, servers)| std::cmp::Reverse(servers.len()));
    let lame = |(host, trouble): &(String, Trouble)| warning("LameServer", format!("{host} {}", trouble.words()));
    Heard { views, notes: round.troubles.iter().map(lame).collect() }
}

fn words(cut: &Cut, troubles: &[(String, Trouble)]) -> Vec<String> {
    if cut.servers.is_empty() {
        return vec![format!("no server of the zone {} has an address", cut.zone)];
    }
    troubles.iter().map(|(host, trouble)| format!("{host} {}", trouble.words())).collect()
}
