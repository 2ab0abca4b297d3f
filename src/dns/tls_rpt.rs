//! The TLS-RPT row: senders know where to report trouble with TLS (RFC 8460, section 3).

use super::answer::Kind;
use super::family::{Family, Found};
use super::known::{Known, Need};
use super::tags::Tags;
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::{DnsRecordKind, DnsVerdict};

const FAMILY: Family = Family { version: "v=tlsrptv1", title: "TLS-RPT", readers: "senders" };

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
            Err(problem) => verdict.found(DnsVerdict::Invalid, problem),
        }),
    }
}

/// Where reports go.
///
/// # Errors
/// What is wrong, in words.
pub fn reports(text: &[u8]) -> Result<Vec<String>, String> {
    let tags = Tags::parse(text)?;
    if tags.get("v") != Some("TLSRPTv1") || tags.place("v") != Some(0) {
        return Err("the record must begin with exactly v=TLSRPTv1".to_owned());
    }
    let uris = tags.list("rua", ',').ok_or("it has no rua=, so no place for reports")?;
    for uri in &uris {
        let lower = uri.to_ascii_lowercase();
        let address = lower.strip_prefix("mailto:").is_some_and(|address| address.contains('@'));
        let page = lower.strip_prefix("https://").is_some_and(|rest| !rest.is_empty());
        if !address && !page {
            return Err(format!("rua={uri} is neither mailto:… nor https://…"));
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
            (&["foreign"], DnsVerdict::Missing),
            (&[good, good], DnsVerdict::Multiple),
            (&["v=TLSRPTv1"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua=http://r.test"], DnsVerdict::Invalid),
            (&["v=tlsrptv1; rua=mailto:a@b.test"], DnsVerdict::Invalid),
            (&["v=TLSRPTv1; rua=mailto:a"], DnsVerdict::Invalid),
        ] {
            assert_eq!(judge(texts).verdict, verdict, "{texts:?}");
        }
    }

    #[test]
    fn a_doubled_name_is_recognised() {
        let facts = Facts::default().texts("_smtp._tls.example.com.example.com", &["v=TLSRPTv1; rua=mailto:a@b.test"]);
        let found = facts.judge(|known| tls_rpt(&wanted(), known));
        assert!(found.hint.unwrap().contains("move it to _smtp._tls.example.com"));
    }
}
