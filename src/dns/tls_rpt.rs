//! The TLS-RPT row: senders know where to report trouble with TLS (RFC 8460, section 3).

use super::answer::Kind;
use super::known::{Known, Need};
use super::tags::Tags;
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::{DnsRecordKind, DnsVerdict};

/// What the TLS-RPT record is worth.
///
/// # Errors
/// When something has to be asked first.
pub fn tls_rpt(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let name = format!("_smtp._tls.{}", wanted.domain);
    let answer = known.ask(&name, Kind::Txt)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::TlsRpt, &name, answer);
    if let Some(done) = verdict.without_records(answer) {
        return Ok(done);
    }
    let records = answer.texts().iter().map(Vec::as_slice).filter(|text| is_record(text)).collect::<Vec<_>>();
    let verdict = if records.is_empty() { verdict } else { verdict.observed(records.clone()) };
    match records.as_slice() {
        [] => absent(wanted, known, verdict),
        [text] => Ok(match reports(text) {
            Ok(to) => verdict.found(DnsVerdict::Verified, format!("reports go to {}", to.join(", "))),
            Err(problem) => verdict.found(DnsVerdict::Invalid, problem),
        }),
        several => {
            let message = format!("{} records stand at {name}; senders act as if there were none", several.len());
            Ok(verdict.found(DnsVerdict::Multiple, message).hint(Some("leave one of them".to_owned())))
        }
    }
}

fn is_record(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase().replace([' ', '"', '\\'], "");
    text.starts_with("v=tlsrptv1")
}

fn absent(wanted: &Wanted, known: &Known, verdict: Verdict) -> Result<Verdict, Need> {
    let places = [format!("{}.{}", verdict.name, wanted.domain), format!("_tls.{}", wanted.domain)];
    let probes = Need::all(places.iter().map(|place| known.ask(place, Kind::Txt)))?;
    let found = places.iter().zip(probes).find(|(_, probe)| probe.texts().iter().any(|text| is_record(text)));
    let hint = found.map(|(place, _)| format!("the record stands at {place}: move it to {}", verdict.name));
    let message = format!("no TLS-RPT record at {}", verdict.name);
    Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
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
