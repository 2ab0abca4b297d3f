//! A zone and the answers it gives (RFC 1034, section 4.3.2).

use std::collections::BTreeMap;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType};
use hickory_proto::serialize::txt::Parser;

/// Text that is no zone.
#[derive(Debug, thiserror::Error)]
#[error("zone {origin}: {message}")]
pub struct BadZone {
    /// The zone's name.
    pub origin: String,
    /// What is wrong.
    pub message: String,
}

/// A name from its text, absolute, with any bytes in its labels.
///
/// A name that DNS can't hold becomes the root, which no test asks for by accident.
pub fn name(text: &str) -> Name {
    let trimmed = text.strip_suffix('.').unwrap_or(text);
    let labels = trimmed.split('.').filter(|label| !label.is_empty()).map(str::as_bytes);
    Name::from_labels(labels).unwrap_or_else(|_| Name::root())
}

/// What a zone says to a question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// RCODE.
    pub(crate) code: ResponseCode,
    /// False for a referral.
    pub(crate) authoritative: bool,
    /// The answer section.
    pub(crate) answers: Vec<Record>,
    /// The authority section.
    pub(crate) authorities: Vec<Record>,
    /// The additional section.
    pub(crate) additionals: Vec<Record>,
}

impl Reply {
    /// An empty answer with a code.
    pub(crate) fn code(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }
}

/// Records below one origin.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    origin: LowerName,
    nodes: BTreeMap<LowerName, Vec<Record>>,
}

impl Zone {
    /// Reads a master file; SOA and `$TTL` are added where it has none.
    ///
    /// # Errors
    /// When a line is malformed.
    pub(crate) fn parse(origin: &str, text: &str) -> Result<Self, BadZone> {
        let bad = |message: String| BadZone { origin: origin.to_owned(), message };
        let text = format!("$TTL 60\n{}\n", text.trim_end());
        let (_, sets) = Parser::new(text, None, Some(name(origin))).parse().map_err(|e| bad(e.to_string()))?;
        let records = sets.into_values().flat_map(|set| set.records_without_rrsigs().cloned().collect::<Vec<_>>());
        Ok(Self::new(origin, records.collect()))
    }

    /// A zone of these records; a SOA is added where there is none.
    pub(crate) fn new(origin: &str, records: Vec<Record>) -> Self {
        let apex = name(origin);
        let mut zone = Self { origin: LowerName::from(apex.clone()), nodes: BTreeMap::new() };
        if !records.iter().any(|record| record.record_type() == RecordType::SOA) {
            let soa = SOA::new(apex.clone(), apex.clone(), 1, 3600, 600, 86_400, 60);
            zone.insert(Record::from_rdata(apex, 60, RData::SOA(soa)));
        }
        for record in records {
            zone.insert(record);
        }
        zone
    }

    fn insert(&mut self, record: Record) {
        self.nodes.entry(LowerName::from(&record.name)).or_default().push(record);
    }

    /// The name of the zone.
    pub(crate) fn origin(&self) -> &LowerName {
        &self.origin
    }

    /// Answers a question about a name in this zone; aliases are followed within it.
    pub(crate) fn answer(&self, asked: &Name, kind: RecordType) -> Reply {
        if let Some(reply) = self.referral(asked, kind) {
            return reply;
        }
        let mut reply = Reply { authoritative: true, ..Reply::default() };
        let mut current = asked.clone();
        for _ in 0..16 {
            let found = self.records_at(&current);
            let Some(records) = found else {
                reply.code = ResponseCode::NXDomain;
                break;
            };
            let alias = records.iter().find(|record| record.record_type() == RecordType::CNAME).cloned();
            let wanted = records.into_iter().filter(|record| record.record_type() == kind).collect::<Vec<_>>();
            if let (true, Some(alias)) = (wanted.is_empty(), alias) {
                let target = alias_target(&alias);
                reply.answers.push(alias);
                match target {
                    Some(next) if self.origin.zone_of(&LowerName::from(&next)) => current = next,
                    _ => return reply,
                }
                continue;
            }
            reply.answers.extend(wanted);
            break;
        }
        if reply.code == ResponseCode::NXDomain || !reply.answers.iter().any(|record| record.record_type() == kind) {
            reply.authorities = self.of_type(&self.origin, RecordType::SOA);
        }
        reply
    }

    /// The answer at or below a delegation: the child's name servers and their addresses.
    fn referral(&self, asked: &Name, kind: RecordType) -> Option<Reply> {
        let depth = Name::from(&self.origin).num_labels();
        let cut = (depth + 1..=asked.num_labels())
            .map(|labels| LowerName::from(asked.trim_to(usize::from(labels))))
            .find(|node| !self.of_type(node, RecordType::NS).is_empty())?;
        if kind == RecordType::DS && cut == LowerName::from(asked) {
            return None;
        }
        let authorities = self.of_type(&cut, RecordType::NS);
        let hosts = authorities.iter().filter_map(|record| match &record.data {
            RData::NS(ns) => Some(LowerName::from(&ns.0)),
            _ => None,
        });
        let additionals = hosts
            .flat_map(|host| [self.of_type(&host, RecordType::A), self.of_type(&host, RecordType::AAAA)].concat())
            .collect();
        Some(Reply { authorities, additionals, ..Reply::default() })
    }

    /// The records at a name, or of the wildcard that covers it; `None` is NXDOMAIN.
    fn records_at(&self, asked: &Name) -> Option<Vec<Record>> {
        let node = LowerName::from(asked);
        if let Some(records) = self.nodes.get(&node) {
            return Some(records.clone());
        }
        if self.exists(&node) {
            return Some(Vec::new());
        }
        let mut encloser = node.base_name();
        while !self.exists(&encloser) && self.origin.zone_of(&encloser) {
            encloser = encloser.base_name();
        }
        let star = Name::from(&encloser).prepend_label("*").ok()?;
        let records = self.nodes.get(&LowerName::from(star))?;
        let renamed = records.iter().cloned().map(|mut record| {
            record.name = asked.clone();
            record
        });
        Some(renamed.collect())
    }

    /// Whether the name or one below it has records.
    fn exists(&self, node: &LowerName) -> bool {
        // In the canonical order of names what is below a name follows it at once (RFC 4034, section 6.1).
        self.nodes.range(node..).next().is_some_and(|(name, _)| node.zone_of(name))
    }

    fn of_type(&self, node: &LowerName, kind: RecordType) -> Vec<Record> {
        let records = self.nodes.get(node).into_iter().flatten();
        records.filter(|record| record.record_type() == kind).cloned().collect()
    }
}

/// Where an alias points to.
pub(crate) fn alias_target(record: &Record) -> Option<Name> {
    match &record.data {
        RData::CNAME(target) => Some(target.0.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone() -> Zone {
        let text = "@ MX 10 mail\nmail A 192.0.2.1\nwww CNAME mail\nout CNAME a.other.test.\n*.wild TXT \"any\"\n\
                    deep.er TXT x\nchild NS ns.child\nns.child A 192.0.2.53";
        Zone::parse("example.test", text).unwrap()
    }

    fn ask(at: &str, kind: RecordType) -> Reply {
        zone().answer(&name(at), kind)
    }

    #[test]
    fn records_are_answered_with_authority() {
        let reply = ask("Example.TEST", RecordType::MX);
        assert!(reply.authoritative);
        assert_eq!(reply.answers.len(), 1);
    }

    #[test]
    fn no_name_is_nxdomain_and_no_type_is_empty_and_both_carry_the_soa() {
        let none = ask("nothing.example.test", RecordType::A);
        assert_eq!((none.code, none.authorities.len()), (ResponseCode::NXDomain, 1));
        let empty = ask("mail.example.test", RecordType::AAAA);
        assert_eq!((empty.code, empty.authorities.len()), (ResponseCode::NoError, 1));
        assert_eq!(ask("er.example.test", RecordType::A).code, ResponseCode::NoError);
    }

    #[test]
    fn aliases_are_followed_inside_the_zone_only() {
        assert_eq!(ask("www.example.test", RecordType::A).answers.len(), 2);
        assert_eq!(ask("out.example.test", RecordType::A).answers.len(), 1);
    }

    #[test]
    fn a_wildcard_covers_what_is_not_there() {
        let reply = ask("a.b.wild.example.test", RecordType::TXT);
        assert_eq!(reply.answers.first().map(|r| r.name.clone()), Some(name("a.b.wild.example.test")));
    }

    #[test]
    fn a_delegation_is_a_referral_with_glue() {
        let reply = ask("x.child.example.test", RecordType::A);
        assert!(!reply.authoritative && reply.answers.is_empty());
        assert_eq!((reply.authorities.len(), reply.additionals.len()), (1, 1));
    }

    #[test]
    fn a_malformed_line_is_an_error() {
        assert!(Zone::parse("example.test", "@ MX ten mail").is_err());
    }
}
