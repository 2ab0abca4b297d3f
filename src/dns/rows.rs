//! The rows of a domain: the four that mail needs, and the optional ones.

use super::answer::Kind;
use super::known::{Known, Need};
use super::srv::srv;
use super::verdict::Verdict;
use super::wanted::{SERVICES, Service, Wanted, expected};
use super::{bimi, caa, client_host, dkim, dmarc, mta_sts, mx, ptr, spf, tls_rpt, tlsa};
use crate::crd::{DnsRecordKind, DnsVerdict};

/// A row as a function.
type Decide = fn(&Wanted, &Known) -> Result<Verdict, Need>;

/// A record of the status: how it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    wanted: &'a Wanted,
    kind: Kind,
    judge: Judge,
}

#[derive(Clone, Copy, Debug)]
enum Judge {
    By(Decide),
    Service(&'static Service),
}

impl Row<'_> {
    /// The type that its record is looked up by.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The verdict; `None` for an optional record that does not exist.
    ///
    /// # Errors
    /// When something has to be asked first.
    pub fn verdict(&self, known: &Known) -> Result<Option<Verdict>, Need> {
        let found = match self.judge {
            Judge::By(decide) => decide(self.wanted, known).map(Some),
            Judge::Service(service) => srv(self.wanted, service, known),
        };
        Ok(found?.map(|verdict| with_what_to_publish(self.wanted, verdict)))
    }
}

/// Lines of a zone up to this length are part of a hint, in bytes; longer ones are shown under `expected` only.
const HINT_LINE: usize = 200;

/// The verdict with the record to publish in its hint, where a record is missing or another one is wanted, and the hint
/// does not say so yet.
fn with_what_to_publish(wanted: &Wanted, verdict: Verdict) -> Verdict {
    let is_needed = matches!(verdict.verdict, DnsVerdict::Missing | DnsVerdict::Mismatch);
    let is_there = verdict.observed.iter().any(|value| verdict.expected.contains(value));
    let says_so = verdict.hint.as_ref().is_some_and(|hint| hint.contains("publish "));
    if !is_needed || is_there || says_so {
        return verdict;
    }
    let all = expected(wanted);
    let Some(record) = all.iter().find(|record| record.kind == verdict.kind && record.name == verdict.name) else {
        return verdict;
    };
    let line = record.zone_line();
    let publish = if line.len() > HINT_LINE {
        format!("publish the {} record in expected at {}", record.record_type, record.name)
    } else {
        format!("publish {line}")
    };
    let hint = verdict.hint.as_ref().map_or(publish.clone(), |hint| format!("{hint}; or {publish}"));
    verdict.hint(Some(hint))
}

/// The rows of a domain.
pub fn rows(wanted: &Wanted) -> Vec<Row<'_>> {
    let by: [(DnsRecordKind, Kind, Decide); 13] = [
        (DnsRecordKind::Mx, Kind::Mx, mx::mx),
        (DnsRecordKind::Spf, Kind::Txt, spf::verdict),
        (DnsRecordKind::Dkim, Kind::Txt, dkim::dkim),
        (DnsRecordKind::Dmarc, Kind::Txt, dmarc::dmarc),
        (DnsRecordKind::Autodiscover, Kind::A, client_host::autodiscover),
        (DnsRecordKind::Autoconfig, Kind::A, client_host::autoconfig),
        (DnsRecordKind::MtaSts, Kind::Txt, mta_sts::mta_sts_record),
        (DnsRecordKind::MtaSts, Kind::A, mta_sts::mta_sts_host),
        (DnsRecordKind::TlsRpt, Kind::Txt, tls_rpt::tls_rpt),
        (DnsRecordKind::Tlsa, Kind::Tlsa, tlsa::tlsa),
        (DnsRecordKind::Ptr, Kind::Ptr, ptr::ptr),
        (DnsRecordKind::Caa, Kind::Caa, caa::caa),
        (DnsRecordKind::Bimi, Kind::Txt, bimi::bimi),
    ];
    let by = by.into_iter().filter(|(row, ..)| wanted.asks_for(*row));
    let mut rows: Vec<Row<'_>> = by.map(|(_, kind, decide)| Row { wanted, kind, judge: Judge::By(decide) }).collect();
    if wanted.asks_for(DnsRecordKind::Srv) {
        rows.extend(SERVICES.iter().map(|service| Row { wanted, kind: Kind::Srv, judge: Judge::Service(service) }));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::tests::Facts;
    use super::super::wanted::tests::wanted;
    use super::*;

    #[test]
    fn a_missing_record_comes_with_what_to_publish() {
        let mut asking = wanted();
        asking.spec.required = [
            DnsRecordKind::Autodiscover,
            DnsRecordKind::Srv,
            DnsRecordKind::MtaSts,
            DnsRecordKind::TlsRpt,
            DnsRecordKind::Tlsa,
            DnsRecordKind::Ptr,
            DnsRecordKind::Bimi,
        ]
        .to_vec();
        let facts = Facts::default().host("mail.example.net", &["192.0.2.1"]);
        for row in rows(&asking) {
            let Some(found) = facts.judge(|known| row.verdict(known)) else { continue };
            assert_eq!(found.verdict, DnsVerdict::Missing, "{found:#?}");
            let hint = found.hint.unwrap();
            assert!(
                hint.contains("publish ") && (hint.contains(" IN ") || hint.contains("record to publish")),
                "{hint}"
            );
        }
    }

    #[test]
    fn the_costly_rows_are_there_only_when_they_are_asked_for() {
        let mut asking = wanted();
        assert_eq!(rows(&asking).len(), 4);
        asking.spec.required = vec![DnsRecordKind::MtaSts, DnsRecordKind::Srv];
        assert_eq!(rows(&asking).len(), 4 + 2 + SERVICES.len());
    }
}
