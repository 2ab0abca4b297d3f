//! The TLS-RPT row: senders know where to report trouble with TLS (RFC 8460, section 3).

use super::answer::Kind;
use super::characters::{from_zone_file, is_mailto, is_no_uri};
use super::family::{Family, Found};
use super::fields::Fields;
use super::known::{Known, Need};
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::{DnsRecordKind, DnsVerdict};

const FAMILY: Family = Family { version: "v=TLSRPTv1", title: "TLS-RPT", readers: "senders", begins };

/// Whether senders take a text for a record: beside others they discard what does not begin with exactly this.
fn begins(text: &[u8], others: usize) -> bool {
    text.starts_with(if others == 0 { b"v=TLSRPTv1" } else { b"v=TLSRPTv1;" })
}

/// What the TLS-RPT record is worth.
///
/// # Errors
/// When something has to be asked first.
pub fn tls_rpt(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let name = format!("_smtp._tls.{}", wanted.domain);
    let answer = known.ask(&name, Kind::Txt)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::TlsRpt, &name, answer);
    match FAMILY.find(answer, verdict) {
        Found::Settled(verdict) => Ok(verdict),
        Found::None(verdict) => FAMILY.missing((wanted, known), verdict, "_tls"),
        Found::One(verdict, text) => Ok(match reports(text) {
            Ok(to) => verdict.found(DnsVerdict::Verified, format!("reports go to {}", to.join(", "))),
            Err(problem) => verdict.found(DnsVerdict::Invalid, problem).hint(from_zone_file(text)),
        }),
    }
}

/// Where reports go.
///
/// # Errors
/// What is wrong, in words.
pub fn reports(text: &[u8]) -> Result<Vec<String>, String> {
    let fields = Fields::parse(text, "v=TLSRPTv1", "rua")?;
    let lists = fields.demand("rua")?;
    let uris =
        lists.iter().flat_map(|list| list.split(',')).map(|uri| uri.trim_matches([' ', '\t'])).collect::<Vec<_>>();
    for uri in &uris {
        let lower = uri.to_ascii_lowercase();
        let mailbox = lower.strip_prefix("mailto:").is_some_and(is_mailto);
        let page = lower.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
        if !mailbox && !page {
            return Err(format!("rua={uri} is neither mailto:… nor https://…"));
        }
        if uri.contains('!') || is_no_uri(uri) {
            return Err(format!("rua={uri} has a character that is not allowed in a URI"));
        }
    }
    Ok(uris.into_iter().map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Facts;
    use super::super::wanted::tests::wanted;
    use super::*;

    fn judge(texts: &[&str]) -> Verdict {
        Facts::default().texts("_smtp._tls.example.com", texts).judge(|known| tls_rpt(&wanted(), known))
    }

    #[test]
    fn each_text_has_its_verdict() {
        let good = "v=TLSRPTv1; rua=mailto:a@other.test,https://r.test/x";
        for (texts, verdict) in [
            (&[good, "foreign"][..], DnsVerdict::Verified),
            // tlsrpt-record, field-delim = *WSP ";" *WSP
            (&["v=TLSRPTv1;rua=mailto:a@b.test;"], DnsVerdict::Verified),
            (&["v=TLSRPTv1 ; rua=mailto:a@b.test , https://r.test ; x=y"], DnsVerdict::Verified),
            // "The record supports the ability to declare more than one rua"
            (&["v=TLSRPTv1; rua=mailto:a@b.test; rua=https://r.test"], DnsVerdict::Verified),
            // "records that do not begin with "v=TLSRPTv1;" are discarded"
            (&[good, "V=TLSRPTv1; rua=mailto:a@b.test"], DnsVerdict::Verified),
            (&["foreign"], DnsVerdict::Missing),
            (&[good, good], DnsVerdict::Multiple),
            (&["v=TLSRPTv1"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua=http://r.test"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua=mailto:a@b.test!5m"], DnsVerdict::Invalid),
            (&["v=tlsrptv1; rua=mailto:a@b.test"], DnsVerdict::Invalid),
            (&["V=TLSRPTv1; rua=mailto:a@b.test"], DnsVerdict::Invalid),
            (&["v = TLSRPTv1; rua=mailto:a@b.test"], DnsVerdict::Invalid),
            (&[" v=TLSRPTv1; rua=mailto:a@b.test"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; RUA=mailto:a@b.test"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua =mailto:a@b.test"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua=mailto:a"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua=a@b.test"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua=mailto:a@b.test;;"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua=mailto:a@b.test=https://r.test"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1;\u{a0}rua=mailto:a@b.test"], DnsVerdict::Invalid),
        ] {
            let found = judge(texts);
            assert_eq!(found.verdict, verdict, "{texts:?}: {}", found.message);
        }
    }

    #[test]
    fn a_doubled_name_is_recognised() {
        let facts = Facts::default().texts("_smtp._tls.example.com.example.com", &["v=TLSRPTv1; rua=mailto:a@b.test"]);
        let found = facts.judge(|known| tls_rpt(&wanted(), known));
        assert!(found.hint.unwrap().contains("move it to _smtp._tls.example.com"));
    }
}
