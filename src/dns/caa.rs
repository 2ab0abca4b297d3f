//! The CAA row: Mailcow's certificate authority may issue for the host and the domain's own names (RFC 8659, RFC 8657).

use super::answer::{Answer, Caa, Kind, Outcome};
use super::known::{Known, Need};
use super::name;
use super::shown::shown;
use super::verdict::{Verdict, severity};
use super::wanted::{Wanted, alias_name};
use crate::crd::{DnsRecordKind, DnsVerdict};

/// Tags that an authority has to know (RFC 8659, sections 4.2 to 4.4; RFC 9495; RFC 8657 has only parameters).
const KNOWN_TAGS: [&str; 6] = ["issue", "issuewild", "iodef", "issuemail", "contactemail", "contactphone"];

/// What the CAA records are worth: those of the host and of each name that Mailcow has certificates for.
///
/// # Errors
/// When something has to be asked first.
pub fn caa(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let own = [DnsRecordKind::Autodiscover, DnsRecordKind::Autoconfig, DnsRecordKind::MtaSts];
    let mut names = vec![wanted.mail_host.to_string()];
    names.extend(own.into_iter().filter(|kind| wanted.asks_for(*kind)).map(|kind| alias_name(wanted, kind)));
    let found = Need::all(names.iter().map(|name| relevant(known, name)))?;
    let judged = names.iter().zip(found).map(|(name, set)| {
        let (found, message) = judge(wanted, name, &set);
        (found, message, set.answer)
    });
    let worst = judged.max_by_key(|(found, ..)| severity(*found));
    let Some((found, message, answer)) = worst else { return Err(Need::default()) };
    let verdict = Verdict::new(wanted, DnsRecordKind::Caa, wanted.domain.as_str(), answer);
    let hint = format!("add CAA 0 issue \"{}\"", wanted.certificate_authority);
    let hint = (found == DnsVerdict::Mismatch).then_some(hint);
    let mut verdict = verdict.found(found, message).hint(hint);
    verdict.observed = shown(&answer.outcome);
    Ok(verdict)
}

/// The records that count for a name, and where they stand.
struct Relevant<'a> {
    place: String,
    answer: &'a Answer,
}

/// Climbs from a name to the top until there are records (RFC 8659, section 3); aliases are followed at each step.
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
        Outcome::Failed(why) => return (DnsVerdict::TempError, format!("no answer about {place}: {why}")),
        Outcome::AliasLoop => return (DnsVerdict::Invalid, format!("the aliases at {place} go in a circle")),
        _ => return (DnsVerdict::Verified, "any authority may issue; there are no CAA records".to_owned()),
    };
    let strange = records.iter().find(|record| record.critical && !KNOWN_TAGS.contains(&record.tag.as_str()));
    if let Some(strange) = strange {
        return (
            DnsVerdict::Invalid,
            format!("the tag {:?} at {place} is critical and unknown: nobody may issue", strange.tag),
        );
    }
    let issue = records.iter().filter(|record| record.tag == "issue").collect::<Vec<_>>();
    if issue.is_empty() {
        return (DnsVerdict::Verified, format!("any authority may issue for {name}"));
    }
    let allowed = issue.iter().find_map(|record| issuer(record).filter(|(issuer, _)| issuer == authority));
    match allowed {
        Some((_, bound)) => {
            let bound = if bound { ", bound to an account (accounturi)" } else { "" };
            (DnsVerdict::Verified, format!("{authority} may issue{bound}"))
        }
        None if issue.iter().all(|record| issuer(record).is_none_or(|(issuer, _)| issuer.is_empty())) => {
            (DnsVerdict::Invalid, format!("the CAA records at {place} forbid every authority to issue for {name}"))
        }
        None => (
            DnsVerdict::Mismatch,
            format!("the CAA records at {place} leave out {authority}; {name} gets no certificate"),
        ),
    }
}

/// Who may issue, and whether an account is named; `None` when the value is malformed (RFC 8659, section 4.2).
fn issuer(record: &Caa) -> Option<(String, bool)> {
    let text = std::str::from_utf8(&record.value).ok().filter(|text| text.is_ascii())?;
    let mut parts = text.split(';').map(str::trim);
    let domain = parts.next()?.to_ascii_lowercase();
    let mut bound = false;
    for part in parts.filter(|part| !part.is_empty()) {
        let (tag, _) = part.split_once('=')?;
        bound |= tag.trim().eq_ignore_ascii_case("accounturi");
    }
    Some((domain, bound))
}

#[cfg(test)]
mod tests {
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
        ] {
            assert_eq!(judged(&facts(place, records)).verdict, verdict, "{records:?}");
        }
        assert_eq!(judged(&Facts::default()).verdict, DnsVerdict::Verified);
    }

    #[test]
    fn the_closest_name_with_records_counts() {
        let found = judged(&facts("example.net", &[(false, "issue", "other.test")]));
        assert_eq!(found.verdict, DnsVerdict::Mismatch);
        assert!(found.message.contains("at example.net"), "{}", found.message);
        assert_eq!(found.hint.as_deref(), Some("add CAA 0 issue \"letsencrypt.org\""));
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
