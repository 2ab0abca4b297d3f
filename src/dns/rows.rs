//! Which rows a domain has: the four that mail needs, and those that are asked for.

use super::answer::Kind;
use super::known::{Known, Need};
use super::srv::srv;
use super::verdict::Verdict;
use super::wanted::{SERVICES, Service, Wanted};
use super::{bimi, caa, client_host, dkim, dmarc, mta_sts, mx, ptr, spf, tls_rpt, tlsa};
use crate::crd::DnsRecordKind;

/// A row as a function.
type Decide = fn(&Wanted, &Known) -> Result<Verdict, Need>;

/// One record of the status: how it is judged.
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

    /// The verdict; nothing of what may be absent and is.
    ///
    /// # Errors
    /// When something has to be asked first.
    pub fn verdict(&self, known: &Known) -> Result<Option<Verdict>, Need> {
        match self.judge {
            Judge::By(decide) => decide(self.wanted, known).map(Some),
            Judge::Service(service) => srv(self.wanted, service, known),
        }
    }
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
    use super::super::wanted::tests::wanted;
    use super::*;

    #[test]
    fn the_costly_rows_are_there_only_when_they_are_asked_for() {
        let mut asking = wanted();
        assert_eq!(rows(&asking).len(), 4);
        asking.spec.required = vec![DnsRecordKind::MtaSts, DnsRecordKind::Srv];
        assert_eq!(rows(&asking).len(), 4 + 2 + SERVICES.len());
    }
}
