//! The SRV rows: mail clients find Mailcow's services (RFC 2782, RFC 6186, RFC 8314, RFC 6764).

use super::answer::{Kind, Outcome, Srv};
use super::known::{Known, Need};
use super::verdict::Verdict;
use super::wanted::{Service, Wanted};
use crate::crd::{DnsRecordKind, DnsVerdict};

/// What the records of one service are worth; nothing is said of one that may be left out and is.
///
/// # Errors
/// When something has to be asked first.
pub(super) fn srv(wanted: &Wanted, service: &Service, known: &Known) -> Result<Option<Verdict>, Need> {
    let name = service.name(&wanted.domain);
    let answer = known.ask(&name, Kind::Srv)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::Srv, &name, answer);
    if let Some(done) = verdict.without_records(answer) {
        return Ok(service.demanded.then_some(done));
    }
    match &answer.outcome {
        Outcome::Srv(records) => judge(wanted, service, (known, records), verdict).map(Some),
        _ if service.demanded => absent(wanted, known, verdict).map(Some),
        _ => Ok(None),
    }
}

fn absent(wanted: &Wanted, known: &Known, verdict: Verdict) -> Result<Verdict, Need> {
    let doubled = format!("{}.{}", verdict.name, wanted.domain);
    let elsewhere = matches!(known.ask(&doubled, Kind::Srv)?.outcome, Outcome::Srv(_));
    let message = format!("there is no SRV record at {}", verdict.name);
    let hint = elsewhere.then(|| {
        let domain = &wanted.domain;
        format!("the record is at {doubled}: the zone appends its own name, so remove .{domain} from the record's name")
    });
    Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
}

fn judge(
    wanted: &Wanted,
    service: &Service,
    (known, records): (&Known, &[Srv]),
    verdict: Verdict,
) -> Result<Verdict, Need> {
    let (host, name) = (wanted.mail_host.as_str(), verdict.name.clone());
    if records.iter().all(|srv| srv.target.is_empty()) {
        let verdict = verdict.found(DnsVerdict::Verified, format!("{name} declares that the service is off"));
        return Ok(verdict.warn("DeclaredOff", "the target \".\" declares that there is no such service (RFC 2782)"));
    }
    if let Some(srv) = records.iter().find(|srv| srv.target == host && srv.port == service.port) {
        let cname = known.host(host)?.iter().find_map(|answer| answer.cnames.first());
        if let Some(cname) = cname {
            let message = format!("the target {host} is a CNAME for {cname}, which RFC 2782 forbids");
            return Ok(verdict.found(DnsVerdict::Invalid, message));
        }
        let verdict = verdict.found(DnsVerdict::Verified, format!("{name} points to {host}:{}", srv.port));
        return path(service, known, verdict);
    }
    let found = records.iter().take(4).map(|srv| format!("{}:{}", srv.target, srv.port)).collect::<Vec<_>>().join(", ");
    let message = format!("{name} points to {found}, not to {host}:{}", service.port);
    let appended = records.iter().any(|srv| srv.target.strip_prefix(host).is_some_and(|rest| rest.starts_with('.')));
    let hint = if appended {
        format!("the zone appended its own name: write \"{host}.\" with the dot at the end")
    } else {
        format!("publish {name}. IN SRV 0 1 {} {host}.", service.port)
    };
    Ok(verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint)))
}

/// Calendars and address books need a path beside the host (RFC 6764, section 4).
fn path(service: &Service, known: &Known, verdict: Verdict) -> Result<Verdict, Need> {
    let Some(path) = service.path else { return Ok(verdict) };
    let answer = known.ask(&verdict.name, Kind::Txt)?;
    let wanted = format!("path={path}");
    let has = answer.texts().iter().any(|text| text.eq_ignore_ascii_case(wanted.as_bytes()));
    if has || answer.failure().is_some() {
        return Ok(verdict);
    }
    let message = format!("clients don't find the path: publish {}. IN TXT \"{wanted}\"", verdict.name);
    Ok(verdict.warn("NoPath", message))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Facts, at};
    use super::super::wanted::SERVICES;
    use super::super::wanted::tests::wanted;
    use super::*;

    fn facts(label: &str, records: &[(u16, &str)]) -> Facts {
        let name = format!("{label}._tcp.example.com");
        let srv = |(port, target): &(u16, &str)| Srv { priority: 0, weight: 1, port: *port, target: (*target).into() };
        let facts = Facts::default().host("mail.example.net", &["192.0.2.1"]);
        facts.with(at(&name, Kind::Srv), Outcome::Srv(records.iter().map(srv).collect()))
    }

    fn judge(facts: &Facts, label: &str) -> Option<Verdict> {
        let service = SERVICES.iter().find(|service| service.label == label).unwrap();
        facts.judge(|known| srv(&wanted(), service, known))
    }

    #[test]
    fn one_record_with_our_port_and_host_is_enough() {
        let found = judge(&facts("_imaps", &[(993, "other.test"), (993, "mail.example.net")]), "_imaps").unwrap();
        assert_eq!(found.verdict, DnsVerdict::Verified);
    }

    #[test]
    fn another_port_or_host_is_a_mismatch() {
        for (records, words) in [
            (&[(143, "mail.example.net")][..], "mail.example.net:143, not to mail.example.net:993"),
            (&[(993, "other.test")], "other.test:993"),
        ] {
            let found = judge(&facts("_imaps", records), "_imaps").unwrap();
            assert_eq!(found.verdict, DnsVerdict::Mismatch);
            assert!(found.message.contains(words), "{}", found.message);
        }
        let dot = judge(&facts("_imaps", &[(993, "mail.example.net.example.com")]), "_imaps").unwrap();
        assert!(dot.hint.unwrap().contains("with the dot at the end"));
    }

    #[test]
    fn a_service_may_be_declared_off() {
        let found = judge(&facts("_imaps", &[(0, "")]), "_imaps").unwrap();
        assert_eq!((found.verdict, found.warnings[0].reason.as_str()), (DnsVerdict::Verified, "DeclaredOff"));
    }

    #[test]
    fn a_target_that_is_a_cname_is_invalid() {
        let facts =
            facts("_imaps", &[(993, "mail.example.net")]).cname("mail.example.net", &["x.test"], &["192.0.2.1"]);
        assert_eq!(judge(&facts, "_imaps").unwrap().verdict, DnsVerdict::Invalid);
    }

    #[test]
    fn only_the_demanded_services_can_be_missing() {
        assert_eq!(judge(&Facts::default(), "_imaps").unwrap().verdict, DnsVerdict::Missing);
        assert_eq!(judge(&Facts::default(), "_pop3s"), None);
        assert_eq!(judge(&facts("_pop3s", &[(1, "x.test")]), "_pop3s").unwrap().verdict, DnsVerdict::Mismatch);
    }

    #[test]
    fn calendars_need_a_path() {
        let facts = facts("_caldavs", &[(443, "mail.example.net")]);
        assert_eq!(judge(&facts, "_caldavs").unwrap().warnings[0].reason, "NoPath");
        let facts = facts.texts("_caldavs._tcp.example.com", &["path=/SOGo/dav/"]);
        assert!(judge(&facts, "_caldavs").unwrap().warnings.is_empty());
    }
}
