//! The CAA row: Mailcow's certificate authority may issue for the host and the domain's own names (RFC 8659, RFC 8657).

use super::answer::{Answer, Kind, Outcome};
use super::known::{Known, Need};
use super::name;
use super::presentation::presented;
use super::verdict::{Verdict, severity};
use super::wanted::{Wanted, own_host};
use crate::crd::{DnsRecordKind, DnsVerdict};

/// Tags that an authority has to know (RFC 8659, sections 4.2 to 4.4; RFC 9495; RFC 8657 has only parameters).
const KNOWN_TAGS: [&str; 6] = ["issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"];

/// Judges the CAA records of the host and of each name that Mailcow has certificates for.
///
/// # Errors
/// When something has to be asked first.
pub fn caa(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let own = [DnsRecordKind::Autodiscover, DnsRecordKind::Autoconfig, DnsRecordKind::MtaSts];
    let mut names = vec![wanted.mail_host.to_string()];
    names.extend(own.into_iter().filter(|kind| wanted.asks_for(*kind)).map(|kind| own_host(wanted, kind)));
    let found = Need::all(names.iter().map(|name| relevant(known, name)))?;
    let judged = names.iter().zip(found).map(|(name, set)| {
        let (found, message) = judge(wanted, name, &set);
        (found, message, set)
    });
    let worst = judged.max_by_key(|(found, ..)| severity(*found));
    let Some((found, message, Relevant { place, answer })) = worst else { return Err(Need::default()) };
    let verdict = Verdict::new(wanted, DnsRecordKind::Caa, wanted.domain.as_str(), answer);
    let hint = matches!(found, DnsVerdict::Mismatch | DnsVerdict::Invalid)
        .then(|| format!("publish {place}. IN CAA 0 issue \"{}\"", wanted.certificate_authority));
    let mut verdict = verdict.found(found, message).hint(hint);
    verdict.observed = presented(&answer.outcome);
    Ok(verdict)
}

/// The records that count for a name, and the name that has them.
struct Relevant<'a> {
    place: String,
    answer: &'a Answer,
}

/// Climbs from a name to the top until there are records (RFC 8659, section 3); CNAME records are followed at each step.
fn relevant<'a>(known: &'a Known, start: &str) -> Result<Relevant<'a>, Need> {
    let mut place = start.to_owned();
    loop {
        let answer = known.ask(&place, Kind::Caa)?;
        let up = name::parent(&place).to_owned();
        if !answer.is_void() || up.is_empty() {
            return Ok(Relevant { place, answer });
        }
        place = up;
    }
}

fn judge(wanted: &Wanted, name: &str, set: &Relevant<'_>) -> (DnsVerdict, String) {
    let (authority, place) = (wanted.certificate_authority.as_str(), &set.place);
    let records = match &set.answer.outcome {
        Outcome::Caa(records) => records,
        Outcome::Failed(why) => return (DnsVerdict::TempError, format!("no answer for {place}: {why}")),
        Outcome::CnameLoop => return (DnsVerdict::Invalid, format!("the CNAME records at {place} form a loop")),
        _ => return (DnsVerdict::Verified, "there are no CAA records, so any authority may issue".to_owned()),
    };
    let strange = records.iter().find(|record| record.critical && !KNOWN_TAGS.contains(&record.tag.as_str()));
    if let Some(strange) = strange {
        return (
            DnsVerdict::Invalid,
            format!(
                "the CAA record with the tag {:?} at {place} is critical and unknown, so no authority may issue: remove it",
                strange.tag
            ),
        );
    }
    let issue = records.iter().filter(|record| record.tag == "issue").collect::<Vec<_>>();
    if issue.is_empty() {
        return (DnsVerdict::Verified, format!("the CAA records at {place} let any authority issue for {name}"));
    }
    let issuers = issue.iter().filter_map(|record| Issuer::parse(&record.value)).collect::<Vec<_>>();
    let ours = issuers.iter().filter(|issuer| issuer.domain == authority).collect::<Vec<_>>();
    if let Some(issuer) = ours.iter().find(|issuer| issuer.allows(METHOD)) {
        let bound = if issuer.has("accounturi") { ", bound to an account (accounturi)" } else { "" };
        return (DnsVerdict::Verified, format!("{authority} may issue{bound}"));
    }
    if let Some(methods) = ours.first().and_then(|issuer| issuer.get("validationmethods")) {
        let message = format!(
            "the CAA records at {place} let {authority} issue only by {methods}, but Mailcow uses {METHOD}; {name} gets \
             no certificate"
        );
        return (DnsVerdict::Mismatch, message);
    }
    if issuers.iter().all(|issuer| issuer.domain.is_empty()) {
        return (DnsVerdict::Invalid, format!("the CAA records at {place} allow no authority to issue for {name}"));
    }
    (DnsVerdict::Mismatch, format!("the CAA records at {place} do not allow {authority}; {name} gets no certificate"))
}

/// How Mailcow proves to the authority that it has a name (RFC 8555, section 8.3).
const METHOD: &str = "http-01";

/// The value of an `issue` record (RFC 8659, section 4.2). A malformed one names nobody, as if it were empty.
#[derive(Debug, PartialEq, Eq)]
struct Issuer {
    /// Who may issue, in lower case; empty: nobody.
    domain: String,
    /// Tags in lower case and values.
    parameters: Vec<(String, String)>,
}

impl Issuer {
    /// `*WSP [issuer-domain-name *WSP] [";" *WSP [parameters *WSP]]`
    fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (domain, parameters) = text.split_once(';').map_or((text, ""), |(domain, rest)| (domain, rest));
        let (domain, parameters) = (domain.trim_matches(BLANKS), parameters.trim_matches(BLANKS));
        if !domain.is_empty() && !domain.split('.').all(is_word) {
            return None;
        }
        let mut issuer = Self { domain: domain.to_ascii_lowercase(), parameters: Vec::new() };
        for parameter in parameters.split(';').filter(|_| !parameters.is_empty()) {
            let (tag, value) = parameter.split_once('=')?;
            let (tag, value) = (tag.trim_matches(BLANKS), value.trim_matches(BLANKS));
            if !is_word(tag) || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            issuer.parameters.push((tag.to_ascii_lowercase(), value.to_owned()));
        }
        Some(issuer)
    }

    fn get(&self, tag: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == tag).map(|(_, value)| value.as_str())
    }

    fn has(&self, tag: &str) -> bool {
        self.get(tag).is_some()
    }

    /// Whether it may issue after this method of validation (RFC 8657, section 4).
    fn allows(&self, method: &str) -> bool {
        let named = self.parameters.iter().filter(|(tag, _)| tag == "validationmethods");
        named.map(|(_, methods)| methods).all(|methods| methods.split(',').any(|found| found == method))
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// `(ALPHA / DIGIT) *( *("-") (ALPHA / DIGIT))`
fn is_word(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    !text.is_empty() && letters && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::super::answer::Caa;
    use super::super::tests::{Facts, at};
    use super::super::wanted::tests::wanted;
    use super::*;

    fn facts(place: &str, records: &[(bool, &str, &str)]) -> Facts {
        let caa = |(critical, tag, value): &(bool, &str, &str)| Caa {
            critical: *critical,
            tag: (*tag).into(),
            value: value.as_bytes().to_vec(),
        };
        Facts::default().with(at(place, Kind::Caa), Outcome::Caa(records.iter().map(caa).collect()))
    }

    fn judged(facts: &Facts) -> Verdict {
        facts.judge(|known| caa(&wanted(), known))
    }

    #[test]
    fn each_set_of_records_has_its_verdict() {
        let place = "mail.example.net";
        for (records, verdict) in [
            (&[(false, "issue", "letsencrypt.org")][..], DnsVerdict::Verified),
            (&[(false, "issue", "LetsEncrypt.org ; accounturi=https://x")], DnsVerdict::Verified),
            (&[(false, "iodef", "mailto:a@b")], DnsVerdict::Verified),
            (&[(false, "issue", "other.test")], DnsVerdict::Mismatch),
            (&[(false, "issue", ";")], DnsVerdict::Invalid),
            (&[(true, "strange", "x")], DnsVerdict::Invalid),
            (&[(false, "issue", "\u{e4}"), (false, "issue", "letsencrypt.org")], DnsVerdict::Verified),
            (&[(false, "issue", "\u{e4}")], DnsVerdict::Invalid),
            // RFC 8657, section 4
            (&[(false, "issue", "letsencrypt.org; validationmethods=dns-01")], DnsVerdict::Mismatch),
            (&[(false, "issue", "letsencrypt.org; ValidationMethods=dns-01,http-01")], DnsVerdict::Verified),
            (
                &[(false, "issue", "letsencrypt.org; validationmethods=dns-01"), (false, "issue", "letsencrypt.org")],
                DnsVerdict::Verified,
            ),
        ] {
            assert_eq!(judged(&facts(place, records)).verdict, verdict, "{records:?}");
        }
        assert_eq!(judged(&Facts::default()).verdict, DnsVerdict::Verified);
        let method = judged(&facts(place, &[(false, "issue", "letsencrypt.org; validationmethods=dns-01")]));
        assert!(method.message.contains("only by dns-01, but Mailcow uses http-01"), "{}", method.message);
    }

    /// RFC 8659, section 4.2, production by production.
    #[test]
    fn issuers_are_read_as_the_grammar_has_them() {
        for (value, domain, parameters) in [
            ("ca.test", "ca.test", 0),
            ("\t CA-1.test ", "ca-1.test", 0),
            ("", "", 0),
            (";", "", 0),
            (" ; ", "", 0),
            ("ca.test;", "ca.test", 0),
            ("ca.test; a=1", "ca.test", 1),
            ("ca.test ;a = 1 ; b-2=x=y/z:", "ca.test", 2),
            ("ca.test; a=", "ca.test", 1),
            ("; a=1", "", 1),
        ] {
            let found = Issuer::parse(value.as_bytes()).unwrap();
            assert_eq!((found.domain.as_str(), found.parameters.len()), (domain, parameters), "{value:?}");
        }
        for bad in [
            "ca_1.test",
            "ca..test",
            "-ca.test",
            "ca.test.",
            "ca test",
            "ca.test; a",
            "ca.test; a=1;",
            "ca.test; a=1;;b=2",
            "ca.test; -a=1",
            "ca.test; a=x y",
            "ca.test; a=\u{e4}",
            "ca.test, other.test",
        ] {
            assert_eq!(Issuer::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn the_closest_name_with_records_counts() {
        let found = judged(&facts("example.net", &[(false, "issue", "other.test")]));
        assert_eq!(found.verdict, DnsVerdict::Mismatch);
        assert!(found.message.contains("at example.net"), "{}", found.message);
        assert_eq!(found.hint.as_deref(), Some("publish example.net. IN CAA 0 issue \"letsencrypt.org\""));
    }

    #[test]
    fn the_domains_own_names_count_when_they_are_asked_for() {
        let facts = facts("example.com", &[(false, "issue", "other.test")]);
        assert_eq!(judged(&facts).verdict, DnsVerdict::Verified);
        let mut asking = wanted();
        asking.spec.required = vec![DnsRecordKind::Autoconfig];
        assert_eq!(facts.judge(|known| caa(&asking, known)).verdict, DnsVerdict::Mismatch);
    }

    #[test]
    fn no_answer_is_temporary() {
        let failed = Facts::default().with(at("mail.example.net", Kind::Caa), Outcome::Failed("SERVFAIL".into()));
        assert_eq!(judged(&failed).verdict, DnsVerdict::TempError);
    }
}
