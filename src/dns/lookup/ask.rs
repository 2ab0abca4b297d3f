//! One question, all the way: to every server of the zone, through cnames, to the resolver when all else fails.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use super::super::answer::{Answer, Kind, Outcome, Question};
use super::super::verdict::warning;
use super::cuts::Cut;
use super::exchange::Failure;
use super::public::NOT_PUBLIC;
use super::reply::{MOST_CNAMES, Reply, query, read};
use super::{Lookup, Mode};
use crate::crd::{DnsSource, DnsWarning};
use hickory_resolver::proto::op::Message;

/// At most this many differing answers are kept.
const MOST_VIEWS: usize = 4;
/// At most this many referrals are followed.
const MOST_REFERRALS: usize = 6;

/// What the servers of a zone reply.
struct ZoneReply {
    /// Each different answer, and who gave it; the one of most servers first.
    views: Vec<(Reply, Vec<String>)>,
    /// Servers without an answer.
    notes: Vec<DnsWarning>,
}

/// Why there is no reply.
enum NoReply {
    /// The way to it can't be found: no resolver can be reached.
    Resolver(Failure),
    /// None of its servers answers; what is wrong with each.
    Servers(Vec<String>),
}

/// What came back when every server was asked once.
struct Replies {
    /// Each different answer with authority, and who gave it.
    views: BTreeMap<Reply, Vec<String>>,
    /// Servers without one.
    failures: Vec<(String, Failure)>,
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
    /// Why there is none, in words.
    pub(super) async fn addresses_of(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let questions = [Kind::A, Kind::Aaaa].map(|kind| Question::new(host, kind));
        let answers = join_all(questions.iter().map(|question| self.ask_dns(question))).await.concat();
        let all = answers.iter().flat_map(Answer::addresses).copied().collect::<Vec<_>>();
        let allowed = all.iter().filter(|ip| self.may_reach(**ip)).map(|ip| SocketAddr::new(*ip, port));
        let found = allowed.collect::<Vec<_>>();
        match answers.iter().find_map(Answer::failure) {
            _ if !found.is_empty() => Ok(found),
            _ if !all.is_empty() => Err(format!("{host} {NOT_PUBLIC}")),
            Some(why) => Err(why.to_owned()),
            None => Err(format!("{host} has no address")),
        }
    }

    async fn ask_dns(&self, question: &Question) -> Vec<Answer> {
        if query(&question.name, question.kind).is_none() {
            return vec![Answer::new(Outcome::NxDomain, DnsSource::Authoritative)];
        }
        if self.options.mode == Mode::Recursive {
            return vec![self.ask_resolver(&question.name, question.kind).await];
        }
        self.follow(question.name.clone(), question.kind, Vec::new()).await
    }

    /// Asks the zone of a name, then that of the target of its CNAME, and so on.
    fn follow(&self, name: String, kind: Kind, before: Vec<String>) -> BoxFuture<'_, Vec<Answer>> {
        async move {
            let zone = match self.ask_zone(&name, kind).await {
                Ok(zone) => zone,
                Err(NoReply::Resolver(failure)) => return vec![unresolved(before, &failure)],
                Err(NoReply::Servers(failures)) => return vec![self.fall_back(&name, kind, before, &failures).await],
            };
            let first_only = if before.is_empty() { MOST_VIEWS } else { 1 };
            let mut answers = Vec::new();
            for (reply, servers) in zone.views.into_iter().take(first_only) {
                let mut answer = self.finish(reply, kind, &before).await;
                answer.notes.extend(zone.notes.iter().cloned());
                answer.servers = servers;
                answers.push(answer);
            }
            answers
        }
        .boxed()
    }

    async fn finish(&self, reply: Reply, kind: Kind, before: &[String]) -> Answer {
        match reply {
            Reply::Final(cnames, outcome) => {
                let mut answer = Answer::new(outcome, DnsSource::Authoritative);
                answer.cnames = [before, &cnames].concat();
                answer
            }
            Reply::Cname(cnames) => {
                let target = cnames.last().cloned().unwrap_or_default();
                let all = [before, &cnames].concat();
                if all.len() > MOST_CNAMES || before.contains(&target) {
                    let mut answer = Answer::new(Outcome::CnameLoop, DnsSource::Authoritative);
                    answer.cnames = all;
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
    async fn ask_zone(&self, asked: &str, kind: Kind) -> Result<ZoneReply, NoReply> {
        let mut cut = self.cut_for(asked).await.map_err(|failure| match failure {
            Failure::Silent | Failure::Network => NoReply::Resolver(failure),
            Failure::Malformed | Failure::Useless(_) => {
                NoReply::Servers(vec![format!("the resolver {} when asked for the zone", failure.words())])
            }
        })?;
        for _ in 0..MOST_REFERRALS {
            let replies = self.ask_servers(&cut, asked, kind).await;
            let deeper = match &replies.referral {
                Some(message) => self.referred(message, &cut.zone, asked).await,
                None => None,
            };
            match deeper {
                Some(deeper) => cut = deeper,
                None if replies.views.is_empty() => return Err(NoReply::Servers(words(&cut, &replies.failures))),
                None => return Ok(zone_reply(replies)),
            }
        }
        Err(NoReply::Servers(vec![format!("more than {MOST_REFERRALS} referrals")]))
    }

    /// Asks each server of a zone once, side by side.
    async fn ask_servers(&self, cut: &Cut, asked: &str, kind: Kind) -> Replies {
        let messages = join_all(cut.servers.iter().map(|host| self.server(&cut.zone, host, asked, kind))).await;
        let mut replies = Replies { views: BTreeMap::new(), failures: Vec::new(), referral: None };
        for (host, message) in cut.servers.iter().zip(messages) {
            let (ip, message) = match message {
                Ok(found) => found,
                Err(failure) => {
                    replies.failures.push((host.name.clone(), failure));
                    continue;
                }
            };
            if message.metadata.authoritative {
                let reply = read(&message, asked, kind, Some(&cut.zone));
                replies.views.entry(reply).or_default().push(format!("{} ({ip})", host.name));
            } else {
                let lame = Failure::Useless("answers without authority (AA=0)".to_owned());
                replies.failures.push((host.name.clone(), lame));
                replies.referral = replies.referral.or(Some(message));
            }
        }
        replies
    }

    /// The resolver's answer in place of the zone's own.
    async fn fall_back(&self, name: &str, kind: Kind, before: Vec<String>, failures: &[String]) -> Answer {
        let mut answer = self.ask_resolver(name, kind).await;
        answer.cnames = [before, answer.cnames].concat();
        let reasons = failures.join("; ");
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
                let (cnames, outcome) = match read(&message, asked, kind, None) {
                    Reply::Final(cnames, outcome) => (cnames, outcome),
                    Reply::Cname(cnames) => (cnames, Outcome::NoData),
                };
                let mut answer = Answer::new(outcome, DnsSource::Recursive);
                answer.cnames = cnames;
                answer
            }
            Err(failure) => Answer::new(Outcome::Failed(failure.words()), DnsSource::Recursive),
        }
    }
}

fn unresolved(before: Vec<String>, failure: &Failure) -> Answer {
    let failed = Outcome::Failed(format!("the resolver {}", failure.words()));
    Answer { cnames: before, ..Answer::new(failed, DnsSource::Recursive) }
}

fn zone_reply(replies: Replies) -> ZoneReply {
    let mut views = replies.views.into_iter().collect::<Vec<_>>();
    views.sort_by_key(|(_, servers)| std::cmp::Reverse(servers.len()));
    let lame = |(host, failure): &(String, Failure)| warning("LameServer", format!("{host} {}", failure.words()));
    ZoneReply { views, notes: replies.failures.iter().map(lame).collect() }
}

fn words(cut: &Cut, failures: &[(String, Failure)]) -> Vec<String> {
    if cut.servers.is_empty() {
        return vec![format!("no server of the zone {} has an address that the operator may ask", cut.zone)];
    }
    failures.iter().map(|(host, failure)| format!("{host} {}", failure.words())).collect()
}
