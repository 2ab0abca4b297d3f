//! The DNS tree walk: which domain stands for the organization, and whose record counts (RFC 9989, section 4.10).

use super::super::answer::{Answer, Kind, Outcome};
use super::super::known::{Known, Need};
use super::super::name;
use super::record::{Record, is_record, resembles_record};
use super::strangeness;

/// At most this many names are asked in one walk.
const QUERIES: usize = 8;
/// Names with more labels continue at this many.
const JUMP_TO: usize = 7;

/// A record that the walk met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Met {
    /// The domain that has it.
    pub(super) domain: String,
    /// The record.
    pub(super) record: Record,
}

/// The result of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// The domain that stands for the organization; the name itself when no record was met.
    pub(super) organization: String,
    /// The record of the organization, else of the public suffix above it; never the start's own.
    pub(super) inherited: Option<Met>,
    /// What stands above the start and was meant to be a record, but is ignored, and why: the closest.
    pub(super) ignored: Option<String>,
    /// Why the walk is not to be trusted: a question that got no answer.
    pub(super) failure: Option<String>,
}

/// The one record at `_dmarc.<domain>` that receivers act on; two or more count as none.
pub(super) fn record_of(answer: &Answer) -> Option<Record> {
    let mut records = answer.texts().iter().filter(|text| is_record(text));
    match (records.next(), records.next()) {
        (Some(only), None) => Some(Record::parse(only)),
        _ => None,
    }
}

/// Why what was meant to be a record at `_dmarc.<domain>` is none; `None` when nothing was, or it is one.
fn ignored_at(domain: &str, answer: &Answer) -> Option<String> {
    let records = answer.texts().iter().filter(|text| is_record(text)).count();
    match records {
        0 => {
            let strange = answer.texts().iter().find(|text| resembles_record(text))?;
            Some(format!("receivers ignore the record at _dmarc.{domain}: {}", strangeness(strange)))
        }
        1 => None,
        several => {
            Some(format!("receivers ignore all {several} records at _dmarc.{domain}, because only one is allowed"))
        }
    }
}

/// The names that a walk asks, from the name itself up to the top.
fn steps(start: &str) -> Vec<&str> {
    let mut names = vec![start];
    let mut next = if name::labels(start) > QUERIES { name::last_labels(start, JUMP_TO) } else { name::parent(start) };
    while !next.is_empty() && names.len() < QUERIES {
        names.push(next);
        next = name::parent(next);
    }
    names
}

/// Walks from a domain to the top.
///
/// # Errors
/// When something has to be asked first.
pub(super) fn walk(known: &Known, start: &str) -> Result<Walk, Need> {
    let names = steps(start);
    let answers = Need::all(names.iter().map(|name| known.ask(&format!("_dmarc.{name}"), Kind::Txt)))?;
    let failure = names.iter().zip(&answers).find_map(|(name, answer)| match &answer.outcome {
        Outcome::Failed(why) => Some(format!("no answer for _dmarc.{name}: {why}")),
        _ => None,
    });
    let mut above = names.iter().zip(&answers).skip(1);
    let ignored = above.find_map(|(name, answer)| ignored_at(name, answer));
    let met = names.iter().zip(&answers).filter_map(|(name, answer)| {
        let record = record_of(answer)?;
        Some(Met { domain: (*name).to_owned(), record })
    });
    let met = met.collect::<Vec<_>>();
    let organization = organization(start, &met);
    let suffix = met.iter().find(|met| met.domain != start && met.record.public_suffix == Some(true)).cloned();
    let inherited = met.into_iter().find(|met| met.domain == organization && met.domain != start).or(suffix);
    Ok(Walk { organization, inherited, ignored, failure })
}

/// The organizational domain (RFC 9989, section 4.10.2).
fn organization(start: &str, met: &[Met]) -> String {
    for Met { domain, record } in met {
        match record.public_suffix {
            Some(false) => return domain.clone(),
            Some(true) if domain != start => return name::last_labels(start, name::labels(domain) + 1).to_owned(),
            _ => {}
        }
    }
    met.last().map_or_else(|| start.to_owned(), |highest| highest.domain.clone())
}

#[cfg(test)]
mod tests {
    use super::super::super::answer::Question;
    use super::*;
    use crate::crd::DnsSource;

    fn world(start: &str, records: &[(&str, &str)]) -> Known {
        let mut known = Known::default();
        for name in steps(start) {
            let texts = records.iter().filter(|(at, _)| *at == name).map(|(_, text)| text.as_bytes().to_vec());
            let texts = texts.collect::<Vec<_>>();
            let outcome = if texts.is_empty() { Outcome::NxDomain } else { Outcome::Txt(texts) };
            let answer = Answer::new(outcome, DnsSource::Authoritative);
            known.learn(Question::new(&format!("_dmarc.{name}"), Kind::Txt), vec![answer]);
        }
        known
    }

    fn walked(start: &str, records: &[(&str, &str)]) -> (String, Option<String>) {
        let found = walk(&world(start, records), start).unwrap();
        (found.organization, found.inherited.map(|met| met.domain))
    }

    #[test]
    fn a_long_name_jumps_so_that_seven_labels_remain() {
        let names = steps("a.b.c.d.e.f.g.h.i.j.mail.example.com");
        assert_eq!(
            names[..3],
            ["a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com", "h.i.j.mail.example.com"]
        );
        assert_eq!((names.len(), names.last()), (8, Some(&"com")));
    }

    #[test]
    fn the_shortest_name_with_a_record_is_the_organization() {
        let records = [("a.b.example.com", "v=DMARC1; p=none"), ("example.com", "v=DMARC1; p=reject")];
        assert_eq!(walked("a.b.example.com", &records), ("example.com".into(), Some("example.com".into())));
        assert_eq!(walked("example.com", &[]), ("example.com".into(), None));
    }

    #[test]
    fn psd_y_puts_the_organization_one_label_below() {
        let records = [("bank", "v=DMARC1; p=reject; psd=y")];
        assert_eq!(walked("mail.giant.bank", &records), ("giant.bank".into(), Some("bank".into())));
    }

    #[test]
    fn psd_n_marks_the_organization() {
        let records = [("b.example.com", "v=DMARC1; p=none; psd=n"), ("example.com", "v=DMARC1; p=reject")];
        assert_eq!(walked("a.b.example.com", &records), ("b.example.com".into(), Some("b.example.com".into())));
    }

    #[test]
    fn two_records_count_as_none() {
        let records = [("example.com", "v=DMARC1; p=none"), ("example.com", "v=DMARC1; p=reject")];
        assert_eq!(walked("a.example.com", &records).1, None);
    }

    #[test]
    fn what_is_ignored_is_not_absent() {
        for (texts, words) in [
            (&["v=DMARC1 p=reject"][..], "a ; is missing after v=DMARC1"),
            (&["v=DMARC1; p=none", "v=DMARC1; p=reject"], "all 2 records at _dmarc.example.com"),
        ] {
            let records = texts.iter().map(|text| ("example.com", *text)).collect::<Vec<_>>();
            let found = walk(&world("a.example.com", &records), "a.example.com").unwrap();
            assert!(found.ignored.unwrap().contains(words), "{texts:?}");
        }
        assert_eq!(walk(&world("a.example.com", &[("example.com", "x")]), "a.example.com").unwrap().ignored, None);
    }

    #[test]
    fn a_question_without_answer_is_a_failure() {
        let mut known = world("a.example.com", &[]);
        let failed = Answer::new(Outcome::Failed("SERVFAIL".into()), DnsSource::Authoritative);
        known.learn(Question::new("_dmarc.com", Kind::Txt), vec![failed]);
        assert!(walk(&known, "a.example.com").unwrap().failure.unwrap().contains("_dmarc.com"));
    }
}
