//! The MX row: mail for the domain goes to Mailcow first (RFC 5321, section 5.1; RFC 7505; RFC 2181, section 10.3).

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::answer::{Answer, Kind, Mx, Outcome};
use super::known::{Known, Need};
use super::name;
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::{DnsRecordKind, DnsVerdict};

/// Number of other targets that are checked.
const FOREIGN_TARGETS: usize = 4;

/// Judges the MX records.
///
/// # Errors
/// When something has to be asked first.
pub fn mx(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let domain = wanted.domain.as_str();
    let answer = known.ask(domain, Kind::Mx)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::Mx, domain, answer);
    if let Some(done) = verdict.without_records(answer) {
        return Ok(done);
    }
    let Outcome::Mx(records) = &answer.outcome else {
        return missing(wanted, known, answer, verdict);
    };
    if let Some(problem) = malformed(domain, records) {
        return Ok(verdict.found(DnsVerdict::Invalid, problem));
    }
    let host = wanted.mail_host.as_str();
    let Some(ours) = records.iter().find(|mx| mx.exchange == host) else {
        return foreign(wanted, known, records, verdict);
    };
    Ok(match target(known, host)? {
        Target::Good(_) => ranked(wanted, records, ours, verdict),
        Target::Bad(problem) => verdict.found(DnsVerdict::Invalid, problem),
        Target::Unknown(why) => verdict.failed(host, &why),
    })
}

/// No MX record: mail may still arrive by the implicit rule of RFC 5321, section 5.1.
fn missing(wanted: &Wanted, known: &Known, answer: &Answer, verdict: Verdict) -> Result<Verdict, Need> {
    let (domain, host) = (wanted.domain.as_str(), wanted.mail_host.as_str());
    if answer.outcome == Outcome::NxDomain {
        return Ok(verdict.found(DnsVerdict::Missing, format!("{domain} does not exist in DNS")));
    }
    let [own, mail] = Need::all([addresses(known, domain), addresses(known, host)])?
        .try_into()
        .unwrap_or_else(|_| [BTreeSet::new(), BTreeSet::new()]);
    let doubled = format!("{domain}.{domain}");
    let elsewhere = matches!(known.ask(&doubled, Kind::Mx)?.outcome, Outcome::Mx(_));
    let hint =
        format!("a record is at {doubled}: the zone appends its own name, so remove {domain} from the record's name");
    let verdict = verdict.found(DnsVerdict::Missing, format!("{domain} has no MX record"));
    let verdict = verdict.hint(elsewhere.then_some(hint));
    if own.is_disjoint(&mail) {
        return Ok(verdict);
    }
    let message = format!("mail reaches {host} only by the implicit MX rule (RFC 5321): publish an MX record");
    Ok(verdict.warn("ImplicitMx", message))
}

fn addresses(known: &Known, host: &str) -> Result<BTreeSet<IpAddr>, Need> {
    Ok(known.host(host)?.iter().flat_map(|answer| answer.addresses()).copied().collect())
}

/// Records that no sender can use, whatever host they name.
fn malformed(domain: &str, records: &[Mx]) -> Option<String> {
    let null = records.iter().any(|mx| mx.exchange.is_empty());
    if null && records.len() == 1 {
        return Some(format!("the null MX (\"0 .\", RFC 7505) declares that {domain} accepts no mail: remove it"));
    }
    if null {
        return Some(
            "the null MX (\".\") is not allowed together with other MX records (RFC 7505): remove it".to_owned(),
        );
    }
    let address = records.iter().find(|mx| mx.exchange.parse::<IpAddr>().is_ok())?;
    Some(format!("an MX record must name a host, not the address {}", address.exchange))
}

/// The host of a target.
enum Target {
    Good(BTreeSet<IpAddr>),
    Bad(String),
    Unknown(String),
}

fn target(known: &Known, host: &str) -> Result<Target, Need> {
    let answers = known.host(host)?;
    if let Some(cname) = answers.iter().find_map(|answer| answer.cnames.last()) {
        return Ok(Target::Bad(format!("the MX target {host} is a CNAME for {cname}, which RFC 2181 forbids")));
    }
    let found = addresses(known, host)?;
    let failure = answers.iter().find_map(|answer| answer.failure());
    Ok(match failure {
        _ if !found.is_empty() => Target::Good(found),
        Some(why) => Target::Unknown(why.to_owned()),
        None => Target::Bad(format!("the MX target {host} has no address")),
    })
}

/// Mailcow is among the targets: is it tried first?
fn ranked(wanted: &Wanted, records: &[Mx], ours: &Mx, verdict: Verdict) -> Verdict {
    let host = wanted.mail_host.as_str();
    let best = records.iter().filter(|mx| mx.exchange == host).map(|mx| mx.preference).min();
    let best = best.unwrap_or(ours.preference);
    let ahead = records
        .iter()
        .filter(|mx| mx.exchange != host)
        .find(|mx| if is_allowed(wanted, &mx.exchange) { mx.preference < best } else { mx.preference <= best });
    if let Some(first) = ahead {
        let order = if first.preference == best { "as often as to" } else { "before" };
        let message = format!("mail goes to {} ({}) {order} {host} ({best})", first.exchange, first.preference);
        let hint = if first.preference == 0 {
            format!("remove the MX record of {}, and publish {}. IN MX 10 {host}.", first.exchange, wanted.domain)
        } else {
            let below = first.preference - 1;
            format!("publish {}. IN MX {below} {host}., or remove the MX record of {}", wanted.domain, first.exchange)
        };
        return verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint));
    }
    let mut verdict = verdict.found(DnsVerdict::Verified, format!("mail goes to {host}"));
    let backups = records.iter().map(|mx| mx.exchange.as_str()).filter(|name| *name != host);
    for backup in backups.filter(|name| !is_allowed(wanted, name)).collect::<BTreeSet<_>>() {
        let message = format!("{backup} accepts mail when {host} can't: list it in allowedExtraMx if you want that");
        verdict = verdict.warn("ForeignBackupMx", message);
    }
    let distinct = records.iter().map(|mx| &mx.exchange).collect::<BTreeSet<_>>();
    if distinct.len() < records.len() {
        verdict.warn("DuplicateMx", "a host is in two MX records: remove one of them")
    } else {
        verdict
    }
}

fn is_allowed(wanted: &Wanted, host: &str) -> bool {
    wanted.spec.allowed_extra_mx.iter().any(|allowed| name::canonical(allowed) == host)
}

/// Mailcow is not among the targets.
fn foreign(wanted: &Wanted, known: &Known, records: &[Mx], verdict: Verdict) -> Result<Verdict, Need> {
    let host = wanted.mail_host.as_str();
    let names = records.iter().map(|mx| mx.exchange.as_str()).collect::<BTreeSet<_>>();
    let list = names.iter().copied().collect::<Vec<_>>().join(", ");
    let verdict = verdict.found(DnsVerdict::Mismatch, format!("MX points to {list}, not to {host}"));
    if let Some(zone) = names.iter().find_map(|found| appended_zone(found, host, wanted.domain.as_str())) {
        let hint = format!("the zone appended its own name {zone}: write \"{host}.\" with the dot at the end");
        return Ok(verdict.hint(Some(hint)));
    }
    let looked_at = names.iter().take(FOREIGN_TARGETS);
    let targets = Need::all(looked_at.map(|found| Ok((*found, target(known, found)?))))?;
    let ours = addresses(known, host)?;
    for (found, target) in targets {
        match target {
            Target::Good(ips) if !ips.is_disjoint(&ours) => {
                return Ok(verdict.hint(Some(format!(
                    "{found} is the same machine: publish {}. IN MX 10 {host}. instead",
                    wanted.domain
                ))));
            }
            Target::Bad(problem) => return Ok(verdict.found(DnsVerdict::Invalid, problem)),
            Target::Good(_) | Target::Unknown(_) => {}
        }
    }
    Ok(verdict)
}

/// The zone that was appended to a name written without the last dot: the domain or one of its parents.
fn appended_zone<'a>(found: &'a str, host: &str, domain: &str) -> Option<&'a str> {
    let rest = found.strip_prefix(host)?.strip_prefix('.')?;
    name::is_within(domain, rest).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::super::answer::Question;
    use super::super::wanted::tests::wanted;
    use super::*;
    use crate::crd::DnsSource;

    type Records<'a> = &'a [(u16, &'a str)];

    fn learn(known: &mut Known, name: &str, kind: Kind, outcome: Outcome) {
        known.learn(Question::new(name, kind), vec![Answer::new(outcome, DnsSource::Authoritative)]);
    }

    /// The answers: these MX records, and two hosts with addresses.
    fn world(records: &[(u16, &str)]) -> Known {
        let mut known = Known::default();
        let all = records.iter().map(|(preference, host)| Mx { preference: *preference, exchange: (*host).to_owned() });
        let outcome = if records.is_empty() { Outcome::NoData } else { Outcome::Mx(all.collect()) };
        learn(&mut known, "example.com", Kind::Mx, outcome);
        for (host, ip) in
            [("mail.example.net", "192.0.2.1"), ("mx.other.test", "192.0.2.9"), ("same.test", "192.0.2.1")]
        {
            learn(&mut known, host, Kind::A, Outcome::Addresses(vec![ip.parse().unwrap()]));
            learn(&mut known, host, Kind::Aaaa, Outcome::NoData);
        }
        learn(&mut known, "example.com.example.com", Kind::Mx, Outcome::NxDomain);
        for (host, outcome) in [("example.com", Outcome::NoData), ("gone.test", Outcome::NxDomain)] {
            learn(&mut known, host, Kind::A, outcome.clone());
            learn(&mut known, host, Kind::Aaaa, outcome);
        }
        known
    }

    fn judge(records: &[(u16, &str)]) -> Verdict {
        mx(&wanted(), &world(records)).unwrap()
    }

    #[test]
    fn each_set_of_records_has_its_verdict() {
        let h = "mail.example.net";
        let table: &[(Records<'_>, DnsVerdict, &str)] = &[
            (&[(10, h)], DnsVerdict::Verified, "mail goes to mail.example.net"),
            (&[(0, h), (20, "mx.other.test")], DnsVerdict::Verified, "mail goes to mail.example.net"),
            (&[], DnsVerdict::Missing, "example.com has no MX record"),
            (&[(5, "mx.other.test"), (10, h)], DnsVerdict::Mismatch, "mail goes to mx.other.test (5) before"),
            (&[(10, "mx.other.test"), (10, h)], DnsVerdict::Mismatch, "as often as to"),
            (&[(10, "mx.other.test")], DnsVerdict::Mismatch, "MX points to mx.other.test, not to mail.example.net"),
            (&[(0, "")], DnsVerdict::Invalid, "accepts no mail"),
            (&[(0, ""), (10, h)], DnsVerdict::Invalid, "not allowed together"),
            (&[(10, "192.0.2.1")], DnsVerdict::Invalid, "not the address 192.0.2.1"),
            (&[(10, "gone.test")], DnsVerdict::Invalid, "gone.test has no address"),
        ];
        for (records, verdict, message) in table {
            let found = judge(records);
            assert_eq!(found.verdict, *verdict, "{records:?}: {}", found.message);
            assert!(found.message.contains(message), "{records:?}: {}", found.message);
        }
    }

    #[test]
    fn a_worse_foreign_server_is_a_warning_unless_it_is_allowed() {
        let records: &[(u16, &str)] = &[(10, "mail.example.net"), (20, "mx.other.test")];
        assert_eq!(judge(records).warnings[0].reason, "ForeignBackupMx");
        let mut allowing = wanted();
        allowing.spec.allowed_extra_mx = vec!["MX.other.test.".to_owned()];
        assert!(mx(&allowing, &world(records)).unwrap().warnings.is_empty());
    }

    #[test]
    fn a_host_twice_is_a_warning() {
        let found = judge(&[(10, "mail.example.net"), (20, "mail.example.net")]);
        assert_eq!((found.verdict, found.warnings[0].reason.as_str()), (DnsVerdict::Verified, "DuplicateMx"));
    }

    #[test]
    fn a_missing_last_dot_is_recognised() {
        let found = judge(&[(10, "mail.example.net.example.com")]);
        assert_eq!(found.verdict, DnsVerdict::Mismatch);
        assert!(found.hint.unwrap().contains("write \"mail.example.net.\" with the dot"));
    }

    #[test]
    fn another_name_of_the_same_machine_is_recognised() {
        assert!(judge(&[(10, "same.test")]).hint.unwrap().contains("same machine"));
    }

    #[test]
    fn without_mx_the_implicit_rule_may_hold() {
        let mut known = world(&[]);
        learn(&mut known, "example.com", Kind::A, Outcome::Addresses(vec!["192.0.2.1".parse().unwrap()]));
        let found = mx(&wanted(), &known).unwrap();
        assert_eq!((found.verdict, found.warnings[0].reason.as_str()), (DnsVerdict::Missing, "ImplicitMx"));
    }

    #[test]
    fn a_doubled_name_is_recognised() {
        let mut known = world(&[]);
        let record = Mx { preference: 10, exchange: "mail.example.net".into() };
        learn(&mut known, "example.com.example.com", Kind::Mx, Outcome::Mx(vec![record]));
        assert!(mx(&wanted(), &known).unwrap().hint.unwrap().contains("is at example.com.example.com"));
    }

    #[test]
    fn a_target_that_is_a_cname_is_invalid() {
        let mut known = world(&[(10, "mail.example.net")]);
        let mut cname = Answer::new(Outcome::Addresses(vec!["192.0.2.1".parse().unwrap()]), DnsSource::Authoritative);
        cname.cnames = vec!["real.example.net".to_owned()];
        known.learn(Question::new("mail.example.net", Kind::A), vec![cname]);
        let found = mx(&wanted(), &known).unwrap();
        assert_eq!(found.verdict, DnsVerdict::Invalid);
        assert!(found.message.contains("a CNAME for real.example.net"));
    }

    #[test]
    fn a_failed_helper_lookup_is_temporary_unless_the_other_family_answers() {
        let mut known = world(&[(10, "mail.example.net")]);
        learn(&mut known, "mail.example.net", Kind::Aaaa, Outcome::Failed("timed out".into()));
        assert_eq!(mx(&wanted(), &known).unwrap().verdict, DnsVerdict::Verified);
        learn(&mut known, "mail.example.net", Kind::A, Outcome::NoData);
        assert_eq!(mx(&wanted(), &known).unwrap().verdict, DnsVerdict::TempError);
    }

    #[test]
    fn failures_are_temporary_and_loops_invalid() {
        let mut known = world(&[]);
        learn(&mut known, "example.com", Kind::Mx, Outcome::Failed("SERVFAIL".into()));
        assert_eq!(mx(&wanted(), &known).unwrap().verdict, DnsVerdict::TempError);
        learn(&mut known, "example.com", Kind::Mx, Outcome::CnameLoop);
        assert_eq!(mx(&wanted(), &known).unwrap().verdict, DnsVerdict::Invalid);
        learn(&mut known, "example.com", Kind::Mx, Outcome::NxDomain);
        assert_eq!(mx(&wanted(), &known).unwrap().message, "example.com does not exist in DNS");
    }
}
