//! The PTR row: each sending address has the mail host's name, and the name has the address.

use std::net::IpAddr;

use super::answer::{Answer, Kind, Outcome};
use super::hosts::{addresses, egress, failure, no_address};
use super::known::{Known, Need};
use super::name;
use super::verdict::{Verdict, severity};
use super::wanted::Wanted;
use crate::crd::{DnsRecordKind, DnsSource, DnsVerdict};

/// Judges the PTR records; the worst address decides.
///
/// # Errors
/// When something has to be asked first.
pub fn ptr(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let host = wanted.mail_host.as_str();
    let empty = Answer::new(Outcome::NoData, DnsSource::Authoritative);
    let verdict = Verdict::new(wanted, DnsRecordKind::Ptr, host, &empty);
    let ips = match egress(wanted, known)? {
        Ok(ips) => ips,
        Err(why) => return Ok(verdict.failed(host, &why)),
    };
    let mut verdict = verdict;
    verdict.expected = ips.iter().map(|ip| format!("{}. IN PTR {host}.", name::reverse(*ip))).collect();
    if ips.is_empty() {
        let hint = format!("publish an A or AAAA record of {host}");
        return Ok(verdict.found(DnsVerdict::Mismatch, no_address(host)).hint(Some(hint)));
    }
    let (answers, forward) = match (Need::all(ips.iter().map(|ip| reverse(known, *ip))), known.host(host)) {
        (Ok(answers), Ok(forward)) => (answers, forward),
        (answers, forward) => return Err(Need::of([answers.err(), forward.err()].into_iter().flatten())),
    };
    for (ip, answer) in ips.iter().zip(&answers) {
        if let Outcome::Names(names) = &answer.outcome {
            verdict.observed.extend(names.iter().take(4).map(|name| format!("{}. IN PTR {name}.", name::reverse(*ip))));
        }
        verdict.warnings.extend(answer.notes.iter().filter(|note| note.reason != "LameServer").cloned());
    }
    let judged = ips.iter().zip(&answers).map(|(ip, answer)| judge(host, *ip, answer, &forward));
    let judged = judged.collect::<Vec<_>>();
    let several = ips.iter().zip(&answers).filter_map(|(ip, answer)| crowded(*ip, answer)).collect::<Vec<_>>();
    verdict = several.into_iter().fold(verdict, |verdict, message| verdict.warn("SeveralPtr", message));
    let Some((found, message)) = judged.into_iter().max_by_key(|(found, _)| severity(*found)) else {
        return Ok(verdict);
    };
    let good = matches!(found, DnsVerdict::Verified | DnsVerdict::TempError);
    let hint = (!good).then(|| {
        format!(
            "ask the owner of the address, such as the hosting provider, to publish {}",
            verdict.expected.join(" and ")
        )
    });
    Ok(verdict.found(found, message).hint(hint))
}

fn reverse(known: &Known, ip: IpAddr) -> Result<&Answer, Need> {
    known.ask(&name::reverse(ip), Kind::Ptr)
}

fn judge(host: &str, ip: IpAddr, answer: &Answer, forward: &[&Answer; 2]) -> (DnsVerdict, String) {
    let names = match &answer.outcome {
        Outcome::Names(names) => names,
        Outcome::Failed(why) => return (DnsVerdict::TempError, format!("no answer for the name of {ip}: {why}")),
        Outcome::CnameLoop => {
            return (DnsVerdict::Invalid, format!("the CNAME records at the name of {ip} form a loop"));
        }
        _ => return (DnsVerdict::Missing, format!("{ip} has no PTR record; many servers refuse its mail")),
    };
    if !names.iter().any(|name| name == host) {
        let names = names.iter().take(4).map(String::as_str).collect::<Vec<_>>().join(", ");
        return (DnsVerdict::Mismatch, format!("{ip} has the name {names}, not {host}"));
    }
    match failure(forward) {
        _ if addresses(forward).contains(&ip) => {
            (DnsVerdict::Verified, format!("every sending address has the name {host}"))
        }
        Some(why) => (DnsVerdict::TempError, format!("no answer for {host}: {why}")),
        None => (
            DnsVerdict::Mismatch,
            format!("{ip} has the name {host}, but {host} does not have this address: publish it there"),
        ),
    }
}

fn crowded(ip: IpAddr, answer: &Answer) -> Option<String> {
    match &answer.outcome {
        Outcome::Names(names) if names.len() > 1 => {
            Some(format!("{ip} has {} PTR records: keep one of them", names.len()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Facts, at};
    use super::super::wanted::tests::wanted;
    use super::*;

    const V4: &str = "1.2.0.192.in-addr.arpa";

    fn facts(names: &[&str]) -> Facts {
        let facts = Facts::default().host("mail.example.net", &["192.0.2.1"]);
        if names.is_empty() {
            return facts;
        }
        facts.with(at(V4, Kind::Ptr), Outcome::Names(names.iter().map(|name| (*name).to_owned()).collect()))
    }

    fn judged(facts: &Facts) -> Verdict {
        facts.judge(|known| ptr(&wanted(), known))
    }

    #[test]
    fn each_set_of_names_has_its_verdict() {
        for (names, verdict) in [
            (&["mail.example.net"][..], DnsVerdict::Verified),
            (&[], DnsVerdict::Missing),
            (&["other.test"], DnsVerdict::Mismatch),
            (&["mail.example.net", "other.test"], DnsVerdict::Verified),
        ] {
            let found = judged(&facts(names));
            assert_eq!(found.verdict, verdict, "{names:?}");
            assert_eq!(found.expected, ["1.2.0.192.in-addr.arpa. IN PTR mail.example.net."]);
            assert_eq!(!found.warnings.is_empty(), names.len() > 1);
        }
    }

    #[test]
    fn every_address_counts_also_of_the_other_family() {
        let facts = facts(&["mail.example.net"]).host("mail.example.net", &["192.0.2.1", "2001:db8::1"]);
        let found = judged(&facts);
        assert_eq!(found.verdict, DnsVerdict::Missing);
        assert!(found.message.starts_with("2001:db8::1 has no PTR record") && found.hint.is_some());
    }

    #[test]
    fn the_name_has_to_lead_back() {
        let mut sending = wanted();
        sending.egress = vec!["198.51.100.7".parse().unwrap()];
        let names = Outcome::Names(vec!["mail.example.net".into()]);
        let facts = facts(&[]).with(at("7.100.51.198.in-addr.arpa", Kind::Ptr), names);
        let found = facts.judge(|known| ptr(&sending, known));
        assert_eq!(found.verdict, DnsVerdict::Mismatch);
        assert!(found.message.contains("does not have this address"));
    }

    #[test]
    fn no_answer_is_temporary() {
        let failed = facts(&[]).with(at(V4, Kind::Ptr), Outcome::Failed("timed out".into()));
        assert_eq!(judged(&failed).verdict, DnsVerdict::TempError);
    }
}
