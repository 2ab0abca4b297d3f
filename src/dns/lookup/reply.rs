//! Parses a DNS message.

use std::net::IpAddr;

use hickory_resolver::proto::op::{Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::super::answer::{Caa, Kind, Mx, Outcome, Srv, Tlsa};
use super::super::name;
use super::exchange::Failure;

/// At most this many CNAME records are followed.
pub(super) const MOST_CNAMES: usize = 8;

/// What a message says about a question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reply {
    /// The answer, and the targets of the CNAME records on the way to it.
    Final(Vec<String>, Outcome),
    /// The name has a CNAME record, and the rest has to be asked elsewhere.
    Cname(Vec<String>),
}

/// A question as it goes over the wire.
pub(super) fn query(name: &str, kind: Kind) -> Option<Query> {
    query_of(name, record_type(kind))
}

/// The same for types that only the way to a zone needs.
pub(super) fn query_of(name: &str, kind: RecordType) -> Option<Query> {
    Some(Query::query(wire_name(name)?, kind))
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A | Kind::SecureHost | Kind::Policy | Kind::Certificate => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx | Kind::SecureMx => RecordType::MX,
        Kind::Txt => RecordType::TXT,
        Kind::Ptr => RecordType::PTR,
        Kind::Srv => RecordType::SRV,
        Kind::Caa => RecordType::CAA,
        Kind::Tlsa | Kind::SecureTlsa => RecordType::TLSA,
    }
}

fn wire_name(name: &str) -> Option<Name> {
    Name::from_labels(name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes)).ok()
}

/// A name in the form of this module.
pub(super) fn text_name(name: &Name) -> String {
    let labels = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase());
    labels.collect::<Vec<_>>().join(".")
}

/// Refuses what is no answer: an error code.
///
/// # Errors
/// The code, in words.
pub(super) fn usable(message: Message) -> Result<Message, Failure> {
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(message),
        code => Err(Failure::Useless(format!("answers {}", code_word(code)))),
    }
}

fn code_word(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("with error {}", u16::from(other)),
    }
}

/// Reads a message. CNAME records out of `zone` are not followed in it: its servers have no authority there. `None`: a
/// resolver, which has followed them all.
pub(super) fn read(message: &Message, asked: &str, kind: Kind, zone: Option<&str>) -> Reply {
    let mut cnames: Vec<String> = Vec::new();
    let mut current = asked.to_owned();
    loop {
        let here = message.answers.iter().filter(|record| text_name(&record.name) == current).collect::<Vec<_>>();
        if let Some(outcome) = collect(&here, kind) {
            return Reply::Final(cnames, outcome);
        }
        let Some(target) = here.iter().find_map(|record| cname(record)) else { break };
        let circle = target == asked || cnames.contains(&target) || cnames.len() >= MOST_CNAMES;
        cnames.push(target.clone());
        if circle {
            return Reply::Final(cnames, Outcome::CnameLoop);
        }
        if zone.is_some_and(|zone| !name::is_within(&target, zone)) {
            return Reply::Cname(cnames);
        }
        current = target;
    }
    if !cnames.is_empty() && zone.is_some() {
        return Reply::Cname(cnames);
    }
    let absent = message.metadata.response_code == ResponseCode::NXDomain;
    Reply::Final(cnames, if absent { Outcome::NxDomain } else { Outcome::NoData })
}

fn cname(record: &Record) -> Option<String> {
    match &record.data {
        RData::CNAME(target) => Some(text_name(&target.0)),
        _ => None,
    }
}

/// The records of the type, sorted; `None` when there is none.
fn collect(records: &[&Record], kind: Kind) -> Option<Outcome> {
    let data = records.iter().map(|record| &record.data);
    match kind {
        Kind::A | Kind::Aaaa => sorted(data.filter_map(|data| address(data, kind))).map(Outcome::Addresses),
        Kind::Mx => sorted(data.filter_map(exchanger)).map(Outcome::Mx),
        Kind::Txt => sorted(data.filter_map(text)).map(Outcome::Txt),
        Kind::Ptr => sorted(data.filter_map(pointer)).map(Outcome::Names),
        Kind::Srv => sorted(data.filter_map(service)).map(Outcome::Srv),
        Kind::Caa => sorted(data.filter_map(authority)).map(Outcome::Caa),
        Kind::Tlsa => sorted(data.filter_map(association)).map(Outcome::Tlsa),
        Kind::Policy | Kind::Certificate | Kind::SecureMx | Kind::SecureHost | Kind::SecureTlsa => None,
    }
}

fn some<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let all = items.collect::<Vec<_>>();
    (!all.is_empty()).then_some(all)
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let mut all = some(items)?;
    all.sort();
    Some(all)
}

fn address(data: &RData, kind: Kind) -> Option<IpAddr> {
    match data {
        RData::A(a) if kind == Kind::A => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) if kind == Kind::Aaaa => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

fn exchanger(data: &RData) -> Option<Mx> {
    match data {
        RData::MX(mx) => Some(Mx { preference: mx.preference, exchange: text_name(&mx.exchange) }),
        _ => None,
    }
}

fn text(data: &RData) -> Option<Vec<u8>> {
    match data {
        RData::TXT(txt) => Some(txt.txt_data.concat()),
        _ => None,
    }
}

fn pointer(data: &RData) -> Option<String> {
    match data {
        RData::PTR(target) => Some(text_name(&target.0)),
        _ => None,
    }
}

fn service(data: &RData) -> Option<Srv> {
    match data {
        RData::SRV(srv) => {
            let target = text_name(&srv.target);
            Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target })
        }
        _ => None,
    }
}

fn authority(data: &RData) -> Option<Caa> {
    match data {
        RData::CAA(caa) => {
            let tag = caa.tag.to_ascii_lowercase();
            Some(Caa { critical: caa.issuer_critical, tag, value: caa.value.clone() })
        }
        _ => None,
    }
}

fn association(data: &RData) -> Option<Tlsa> {
    match data {
        RData::TLSA(tlsa) => Some(Tlsa {
            usage: tlsa.cert_usage.into(),
            selector: tlsa.selector.into(),
            matching: tlsa.matching.into(),
            data: tlsa.cert_data.clone(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::OpCode;
    use hickory_resolver::proto::rr::rdata::{CNAME, TXT};

    use super::*;

    fn message(cnames: &[(&str, &str)]) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        for (from, to) in cnames {
            let data = RData::CNAME(CNAME(wire_name(to).unwrap()));
            message.add_answer(Record::from_rdata(wire_name(from).unwrap(), 60, data));
        }
        message
    }

    #[test]
    fn strings_of_one_text_are_joined_with_nothing_between() {
        let mut found = message(&[("a.test", "b.test")]);
        let data = RData::TXT(TXT::from_bytes(vec![b"v=spf1 ", b"-all", b"\xff"]));
        found.add_answer(Record::from_rdata(wire_name("B.test").unwrap(), 60, data));
        let reply = read(&found, "a.test", Kind::Txt, None);
        assert_eq!(reply, Reply::Final(vec!["b.test".into()], Outcome::Txt(vec![b"v=spf1 -all\xff".to_vec()])));
    }

    #[test]
    fn cnames_out_of_the_zone_are_asked_elsewhere() {
        let found = message(&[("a.one.test", "b.one.test"), ("b.one.test", "c.two.test")]);
        let reply = read(&found, "a.one.test", Kind::A, Some("one.test"));
        assert_eq!(reply, Reply::Cname(vec!["b.one.test".into(), "c.two.test".into()]));
    }

    #[test]
    fn circles_and_long_chains_end() {
        let circle = message(&[("a.test", "b.test"), ("b.test", "a.test")]);
        assert!(matches!(read(&circle, "a.test", Kind::A, None), Reply::Final(_, Outcome::CnameLoop)));
        let names = (0..12).map(|n| format!("n{n}.test")).collect::<Vec<_>>();
        let chain = names.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect::<Vec<_>>();
        assert!(matches!(read(&message(&chain), "n0.test", Kind::A, None), Reply::Final(_, Outcome::CnameLoop)));
    }

    #[test]
    fn error_codes_are_no_answers() {
        let mut refused = message(&[]);
        refused.metadata.response_code = ResponseCode::Refused;
        assert_eq!(usable(refused).unwrap_err(), Failure::Useless("answers REFUSED".into()));
    }
}
