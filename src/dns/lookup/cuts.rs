//! Finds the servers of a zone: where it is cut from its parent.

use std::net::{IpAddr, SocketAddr};
use std::sync::PoisonError;
use std::time::Duration;

use futures::future::join_all;
use hickory_resolver::proto::op::{Message, Query};
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::time::Instant;

use super::super::answer::{Kind, Outcome};
use super::super::name;
use super::Lookup;
use super::budget::waiting;
use super::exchange::{Failure, QueryOptions, exchange};
use super::reply::{Reply, query, query_of, read, text_name, usable};
use crate::fair;
use crate::shrink::shrink;

/// Number of servers of a zone that are asked.
const MOST_SERVERS: usize = 13;

/// A zone and its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// The zone's name.
    pub(super) zone: String,
    /// Its servers that have an address.
    pub(super) servers: Vec<Host>,
}

/// A server of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// Its name.
    pub(super) name: String,
    /// Its addresses, IPv4 first.
    pub(super) addresses: Vec<IpAddr>,
}

impl Lookup {
    /// Asks the resolvers in order until one answers.
    ///
    /// # Errors
    /// The last one's failure.
    pub(super) async fn resolver(&self, name: &str, kind: RecordType) -> Result<Message, Failure> {
        let mut failure = Failure::Network;
        let query = query_of(name, kind).ok_or(Failure::Malformed)?;
        for _ in 0..self.options.tries.max(1) {
            for server in &self.resolvers {
                match self.exchange(*server, &query, true).await.and_then(usable) {
                    Ok(message) => return Ok(message),
                    Err(error) => failure = error,
                }
            }
        }
        Err(failure)
    }

    /// Asks one server once, in turn when many questions are under way; waiting for that is not the server's silence.
    ///
    /// # Errors
    /// When nothing usable comes back.
    async fn exchange(&self, server: SocketAddr, query: &Query, recursion: bool) -> Result<Message, Failure> {
        let _turn = waiting(self.outstanding.acquire(&fair::tenant())).await;
        exchange(server, query, QueryOptions { recursion, timeout: self.options.timeout }).await
    }

    /// The zone to begin with for a name: it holds the name, or a referral leads from it to the one that does.
    ///
    /// The resolver is asked about names only that surely exist, so that it remembers no absence.
    ///
    /// # Errors
    /// When the resolver does not answer.
    pub(super) async fn cut_for(&self, asked: &str) -> Result<Cut, Failure> {
        let mut candidate = starting_point(asked).to_owned();
        loop {
            if let Some(cut) = self.remembered(&candidate) {
                return Ok(cut);
            }
            let message = self.resolver(&candidate, RecordType::NS).await?;
            let (hosts, lifetime) = server_names(&message.answers, &candidate);
            if !hosts.is_empty() {
                return Ok(self.locate(candidate, hosts, &message, lifetime).await);
            }
            if candidate.is_empty() {
                return Err(Failure::Useless("knows no servers of the root".to_owned()));
            }
            let above = message.authorities.iter().filter(|record| record.record_type() == RecordType::SOA);
            let mut above = above.map(|record| text_name(&record.name));
            let up = name::parent(&candidate).to_owned();
            candidate = above.find(|zone| *zone != candidate && name::is_within(&candidate, zone)).unwrap_or(up);
        }
    }

    /// The zone that a referral points to, when it leads on towards the name.
    pub(super) async fn referred(&self, message: &Message, from: &str, asked: &str) -> Option<Cut> {
        let record = message.authorities.iter().find(|record| record.record_type() == RecordType::NS)?;
        let zone = text_name(&record.name);
        let onwards = zone != from && name::is_within(&zone, from) && name::is_within(asked, &zone);
        if !onwards || !message.answers.is_empty() {
            return None;
        }
        if let Some(cut) = self.remembered(&zone) {
            return Some(cut);
        }
        let (hosts, lifetime) = server_names(&message.authorities, &zone);
        Some(self.locate(zone, hosts, message, lifetime).await)
    }

    fn remembered(&self, zone: &str) -> Option<Cut> {
        let cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, cut) = cuts.get(zone)?;
        (*until > Instant::now()).then(|| cut.clone())
    }

    /// Finds the servers' addresses: those sent along for names inside the zone, else by the resolver.
    async fn locate(&self, zone: String, hosts: Vec<String>, message: &Message, lifetime: Duration) -> Cut {
        let hosts = hosts.into_iter().take(MOST_SERVERS).map(|host| async {
            let glue = if name::is_within(&host, &zone) { glue(message, &host) } else { Vec::new() };
            let mut addresses = if glue.is_empty() { self.addresses(&host).await } else { glue };
            addresses.retain(|ip| self.may_reach(*ip));
            Host { name: host, addresses }
        });
        let found = join_all(hosts).await;
        let servers = found.into_iter().filter(|host| !host.addresses.is_empty()).collect::<Vec<_>>();
        let cut = Cut { zone: zone.clone(), servers };
        if cut.servers.is_empty() {
            return cut;
        }
        let until = Instant::now() + lifetime.min(self.options.memory);
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.retain(|_, (until, _)| *until > Instant::now());
        shrink(&mut *cuts);
        cuts.insert(zone, (until, cut.clone()));
        cut
    }

    /// A host's addresses by the resolver; none when it does not answer.
    async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let kinds = [(Kind::A, RecordType::A), (Kind::Aaaa, RecordType::AAAA)];
        let answers = join_all(kinds.map(|(kind, wire)| async move {
            match self.resolver(host, wire).await.map(|message| read(&message, host, kind, None)) {
                Ok(Reply::Final(_, Outcome::Addresses(addresses))) => addresses,
                _ => Vec::new(),
            }
        }));
        answers.await.concat()
    }

    /// Asks one of a zone's servers, on its addresses in turn.
    ///
    /// An address that is silent is left alone for a while in this zone; what it is worth in another zone, and what the
    /// server's other addresses are worth, is learnt by asking there.
    ///
    /// # Errors
    /// The last failure.
    pub(super) async fn server(
        &self,
        zone: &str,
        host: &Host,
        asked: &str,
        kind: Kind,
    ) -> Result<(IpAddr, Message), Failure> {
        let query = query(asked, kind).ok_or(Failure::Malformed)?;
        let rounds = usize::try_from(self.options.tries.max(1)).unwrap_or(1);
        let mut failure = Failure::Silent;
        let mut silent: Vec<IpAddr> = Vec::new();
        let attempts = host.addresses.iter().cycle().take(rounds * host.addresses.len());
        for ip in attempts.filter(|ip| !self.is_silent(zone, **ip)) {
            if silent.len() >= rounds {
                break;
            }
            let server = SocketAddr::new(*ip, self.options.authoritative_port);
            match self.exchange(server, &query, false).await {
                Ok(message) => {
                    self.note_silence(zone, &silent);
                    return usable(message).map(|message| (*ip, message));
                }
                Err(Failure::Silent) => silent.push(*ip),
                Err(error) => failure = error,
            }
        }
        self.note_silence(zone, &silent);
        Err(if silent.is_empty() { failure } else { Failure::Silent })
    }

    fn is_silent(&self, zone: &str, ip: IpAddr) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.get(&(zone.to_owned(), ip)).is_some_and(|until| *until > Instant::now())
    }

    fn note_silence(&self, zone: &str, addresses: &[IpAddr]) {
        if addresses.is_empty() {
            return;
        }
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.retain(|_, until| *until > Instant::now());
        shrink(&mut *silent);
        for ip in addresses {
            silent.entry((zone.to_owned(), *ip)).or_insert_with(|| Instant::now() + self.options.memory);
        }
    }
}

/// A name that surely exists at or above the one asked: without the labels that only records have (`_dmarc`, a DKIM
/// selector), and of three labels or more the parent, from where referrals lead down.
fn starting_point(asked: &str) -> &str {
    let above = asked.rsplit('.').take_while(|label| !label.starts_with('_')).count();
    let domain = name::last_labels(asked, above);
    if name::labels(domain) > 2 { name::parent(domain) } else { domain }
}

/// The servers of a zone in a section, and how long that holds.
fn server_names(section: &[hickory_resolver::proto::rr::Record], zone: &str) -> (Vec<String>, Duration) {
    let records = section.iter().filter(|record| text_name(&record.name) == zone);
    let mut ttl = u32::MAX;
    let mut names = Vec::new();
    for record in records {
        if let RData::NS(ns) = &record.data {
            names.push(text_name(&ns.0));
            ttl = ttl.min(record.ttl);
        }
    }
    names.sort();
    names.dedup();
    (names, Duration::from_secs(u64::from(ttl)))
}

fn glue(message: &Message, host: &str) -> Vec<IpAddr> {
    let records = message.additionals.iter().filter(|record| text_name(&record.name) == host);
    let mut found = records
        .filter_map(|record| match &record.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
        .collect::<Vec<_>>();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_hears_only_of_names_that_surely_exist() {
        for (asked, start) in [
            ("example.com", "example.com"),
            ("_dmarc.example.com", "example.com"),
            ("dkim._domainkey.example.com", "example.com"),
            ("example.com._report._dmarc.other.test", "other.test"),
            ("mail.example.com", "example.com"),
            ("_dmarc.mail.example.co.uk", "example.co.uk"),
            ("_dmarc.com", "com"),
            ("1.2.0.192.in-addr.arpa", "2.0.192.in-addr.arpa"),
        ] {
            assert_eq!(starting_point(asked), start, "{asked}");
        }
    }
}
