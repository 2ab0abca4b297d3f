//! The TLSA row: senders that use DANE find the key that the mail host shows on port 25 (RFC 6698, RFC 7672).

use sha2::{Digest, Sha256, Sha512};

use super::answer::{Kind, Outcome, Tlsa};
use super::der::public_key;
use super::known::{Known, Need};
use super::presentation::presented_tlsa;
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::{DnsRecordKind, DnsVerdict};

/// What the TLSA records are worth.
///
/// # Errors
/// When something has to be asked first.
pub fn tlsa(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let host = wanted.mail_host.as_str();
    let name = format!("_25._tcp.{host}");
    let (answer, shown) = match (known.ask(&name, Kind::Tlsa), known.ask(host, Kind::Certificate)) {
        (Ok(answer), Ok(shown)) => (answer, shown),
        (answer, shown) => return Err(Need::of([answer.err(), shown.err()].into_iter().flatten())),
    };
    let mut verdict = Verdict::new(wanted, DnsRecordKind::Tlsa, &name, answer);
    let certificates = match &shown.outcome {
        Outcome::Certificates(all) => all.as_slice(),
        _ => &[],
    };
    verdict.expected = certificates.first().and_then(|own| advised(own)).into_iter().collect();
    if let Some(done) = verdict.without_records(answer) {
        return Ok(done);
    }
    let Outcome::Tlsa(records) = &answer.outcome else { return absent(known, host, verdict) };
    let usable = records.iter().filter(|record| is_usable(record)).collect::<Vec<_>>();
    if usable.is_empty() {
        let message =
            format!("senders can't use any record at {name}: the usage must be 2 or 3, and the length must match");
        return Ok(verdict.found(DnsVerdict::Invalid, message));
    }
    if certificates.is_empty() {
        let why = shown.failure().unwrap_or("no certificate was presented");
        return Ok(verdict.failed(&format!("the key of {host} on port 25"), why));
    }
    if !usable.iter().any(|record| matches(record, certificates)) {
        let message = format!(
            "no record matches the key that {host} presents on port 25: mail from senders that use DANE bounces"
        );
        let hint = format!("publish {name}. IN TLSA {}", verdict.expected.join(" "));
        return Ok(verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint)));
    }
    protected(wanted, known, verdict)
}

fn absent(known: &Known, host: &str, verdict: Verdict) -> Result<Verdict, Need> {
    let signed = matches!(known.ask(host, Kind::SecureHost)?.outcome, Outcome::Secure(true));
    let name = &verdict.name;
    let message = format!("there is no TLSA record at {name}");
    let value = verdict.expected.first().map_or("3 1 1 and the SHA-256 of the key on port 25", String::as_str);
    let publish = format!("publish {name}. IN TLSA {value}");
    let hint = if signed { publish } else { format!("sign the zone of {host} first (DNSSEC), then {publish}") };
    Ok(verdict.found(DnsVerdict::Missing, message).hint(Some(hint)))
}

/// Whether DNSSEC covers the whole way from the domain to the key.
fn protected(wanted: &Wanted, known: &Known, verdict: Verdict) -> Result<Verdict, Need> {
    let (domain, host, name) = (wanted.domain.as_str(), wanted.mail_host.as_str(), verdict.name.clone());
    let links = [(domain, Kind::SecureMx), (host, Kind::SecureHost), (name.as_str(), Kind::SecureTlsa)];
    let answers = Need::all(links.iter().map(|(name, kind)| known.ask(name, *kind)))?;
    for ((at, _), answer) in links.iter().zip(answers) {
        match &answer.outcome {
            Outcome::Secure(true) => {}
            Outcome::Failed(why) => return Ok(verdict.failed(at, why)),
            _ => {
                let message =
                    format!("the record matches, but senders ignore it, because the answer for {at} is not signed");
                let hint = format!("sign the zone of {at} (DNSSEC), and let the parent zone publish its DS record");
                let verdict = verdict.warn("Inactive", format!("without DNSSEC for {at} the record has no effect"));
                return Ok(verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint)));
            }
        }
    }
    let mut verdict =
        verdict.found(DnsVerdict::Verified, format!("a record matches the key that {host} presents on port 25"));
    verdict.dnssec = Some(true);
    Ok(verdict)
}

/// What to publish for a certificate: `3 1 1`, its key's SHA-256.
fn advised(certificate: &[u8]) -> Option<String> {
    let data = Sha256::digest(public_key(certificate)?).to_vec();
    Some(presented_tlsa(&Tlsa { usage: 3, selector: 1, matching: 1, data }))
}

/// Whether senders use such a record (RFC 7672, section 3.1).
fn is_usable(record: &Tlsa) -> bool {
    let length = match record.matching {
        0 => !record.data.is_empty(),
        1 => record.data.len() == 32,
        2 => record.data.len() == 64,
        _ => false,
    };
    matches!(record.usage, 2 | 3) && record.selector <= 1 && length
}

/// Usage 3 speaks of the server's own certificate, usage 2 of one above it.
fn matches(record: &Tlsa, certificates: &[Vec<u8>]) -> bool {
    let (own, above) = certificates.split_at(usize::from(!certificates.is_empty()));
    let meant = if record.usage == 3 { own } else { above };
    meant.iter().any(|certificate| {
        let selected = if record.selector == 0 { Some(certificate.as_slice()) } else { public_key(certificate) };
        selected.is_some_and(|bytes| match record.matching {
            0 => bytes == record.data,
            1 => Sha256::digest(bytes).as_slice() == record.data,
            _ => Sha512::digest(bytes).as_slice() == record.data,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::answer::Question;
    use super::super::tests::{Facts, at};
    use super::super::wanted::tests::wanted;
    use super::*;

    const NAME: &str = "_25._tcp.mail.example.net";

    /// A certificate by its shape only.
    fn certificate(key: u8) -> Vec<u8> {
        let sequence = |content: &[u8]| [&[0x30, u8::try_from(content.len()).unwrap()], content].concat();
        let before = [vec![2, 1, 5], sequence(&[]), sequence(&[]), sequence(&[]), sequence(&[])].concat();
        sequence(&sequence(&[before, sequence(&[key])].concat()))
    }

    fn of(usage: u8, key: u8) -> Tlsa {
        let data = Sha256::digest(public_key(&certificate(key)).unwrap()).to_vec();
        Tlsa { usage, selector: 1, matching: 1, data }
    }

    fn secure() -> [(Question, Outcome); 3] {
        let links = [("example.com", Kind::SecureMx), ("mail.example.net", Kind::SecureHost), (NAME, Kind::SecureTlsa)];
        links.map(|(name, kind)| (at(name, kind), Outcome::Secure(true)))
    }

    fn facts(records: &[Tlsa]) -> Facts {
        let shown = Outcome::Certificates(vec![certificate(1), certificate(2)]);
        let facts = Facts::default().with(at("mail.example.net", Kind::Certificate), shown);
        let facts = secure().into_iter().fold(facts, |facts, (question, outcome)| facts.with(question, outcome));
        if records.is_empty() { facts } else { facts.with(at(NAME, Kind::Tlsa), Outcome::Tlsa(records.to_vec())) }
    }

    fn judge(facts: &Facts) -> Verdict {
        facts.judge(|known| tlsa(&wanted(), known))
    }

    #[test]
    fn each_set_of_records_has_its_verdict() {
        let short = Tlsa { data: vec![1], ..of(3, 1) };
        for (records, verdict) in [
            (&[of(3, 1)][..], DnsVerdict::Verified),
            (&[of(3, 9), of(3, 1)], DnsVerdict::Verified),
            (&[of(2, 2)], DnsVerdict::Verified),
            (&[of(2, 1)], DnsVerdict::Mismatch),
            (&[of(3, 9)], DnsVerdict::Mismatch),
            (&[of(1, 1)], DnsVerdict::Invalid),
            (&[short], DnsVerdict::Invalid),
            (&[], DnsVerdict::Missing),
        ] {
            assert_eq!(judge(&facts(records)).verdict, verdict, "{records:?}");
        }
    }

    #[test]
    fn the_record_of_the_key_that_is_shown_is_expected() {
        let found = judge(&facts(&[of(3, 9)]));
        assert_eq!(found.expected, [presented_tlsa(&of(3, 1))]);
        assert!(found.message.contains("bounces") && found.hint.unwrap().contains(" TLSA 3 1 1 "));
    }

    #[test]
    fn without_dnssec_it_has_no_effect() {
        for (question, _) in secure() {
            let found = judge(&facts(&[of(3, 1)]).with(question, Outcome::Secure(false)));
            assert_eq!((found.verdict, found.warnings[0].reason.as_str()), (DnsVerdict::Mismatch, "Inactive"));
        }
        let unsigned = facts(&[]).with(at("mail.example.net", Kind::SecureHost), Outcome::Secure(false));
        assert!(judge(&unsigned).hint.unwrap().starts_with("sign the zone"));
    }

    #[test]
    fn a_host_that_is_not_reached_is_temporary() {
        let shown = at("mail.example.net", Kind::Certificate);
        let found = judge(&facts(&[of(3, 1)]).with(shown, Outcome::Failed("timed out".into())));
        assert_eq!(found.verdict, DnsVerdict::TempError);
        let bogus = facts(&[of(3, 1)]).with(at(NAME, Kind::SecureTlsa), Outcome::Failed("SERVFAIL".into()));
        assert_eq!(judge(&bogus).verdict, DnsVerdict::TempError);
    }
}
