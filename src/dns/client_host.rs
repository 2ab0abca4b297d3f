//! The Autodiscover and Autoconfig rows, and the host of the MTA-STS row: a name of the domain that points to Mailcow.

use super::answer::{Answer, Kind, Outcome};
use super::hosts::{addresses, failure, listed};
use super::known::{Known, Need};
use super::verdict::Verdict;
use super::wanted::{Wanted, own_host};
use crate::crd::{DnsRecordKind, DnsVerdict};

/// Judges `autodiscover.<domain>`.
///
/// # Errors
/// When something has to be asked first.
pub fn autodiscover(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    leads_to_host(wanted, known, DnsRecordKind::Autodiscover)
}

/// Judges `autoconfig.<domain>`.
///
/// # Errors
/// When something has to be asked first.
pub fn autoconfig(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    leads_to_host(wanted, known, DnsRecordKind::Autoconfig)
}

/// Whether a name points to the mail host: with a CNAME, otherwise with the same addresses.
///
/// # Errors
/// When something has to be asked first.
pub(super) fn leads_to_host(wanted: &Wanted, known: &Known, kind: DnsRecordKind) -> Result<Verdict, Need> {
    let (name, host) = (own_host(wanted, kind), wanted.mail_host.as_str());
    let found = known.host(&name)?;
    let [v4, v6] = found;
    let mut verdict = Verdict::new(wanted, kind, &name, v4);
    verdict.observed = observed(&found);
    if let Some(done) = verdict.without_records(v4).or_else(|| verdict.without_records(v6)) {
        return Ok(done);
    }
    let cnames = if v4.cnames.is_empty() { &v6.cnames } else { &v4.cnames };
    let own = addresses(&found);
    match cnames.last() {
        _ if cnames.iter().any(|cname| cname == host) && !own.is_empty() => {
            Ok(verdict.found(DnsVerdict::Verified, format!("{name} points to {host}")))
        }
        Some(last) if own.is_empty() => {
            let message = format!("{name} is a CNAME for {last}, which has no address");
            let doubled = last.strip_prefix(host).is_some_and(|rest| rest.starts_with('.'));
            let hint =
                doubled.then(|| format!("the zone appended its own name: write \"{host}.\" with the dot at the end"));
            Ok(verdict.found(DnsVerdict::Invalid, message).hint(hint))
        }
        None if own.is_empty() => absent(wanted, known, verdict),
        _ => by_addresses(wanted, known, (&found, cnames.last()), verdict),
    }
}

/// The value in a zone: the target of the CNAME, else the addresses.
fn observed(found: &[&Answer; 2]) -> Vec<String> {
    match found.iter().find_map(|answer| answer.cnames.first()) {
        Some(cname) => vec![format!("{cname}.")],
        None => addresses(found).iter().take(16).map(ToString::to_string).collect(),
    }
}

fn by_addresses(
    wanted: &Wanted,
    known: &Known,
    (found, cname): (&[&Answer; 2], Option<&String>),
    verdict: Verdict,
) -> Result<Verdict, Need> {
    let host = wanted.mail_host.as_str();
    let hosts = known.host(host)?;
    if let Some(why) = failure(&hosts) {
        return Ok(verdict.failed(host, why));
    }
    let (own, ours, name) = (addresses(found), addresses(&hosts), verdict.name.clone());
    if own == ours {
        let message = format!(
            "{name} has the addresses of {host}: publish a CNAME instead, which follows when the addresses change"
        );
        let verdict = verdict.found(DnsVerdict::Verified, format!("{name} points to {host}"));
        return Ok(if cname.is_none() { verdict.warn("AddressInsteadOfCname", message) } else { verdict });
    }
    let message = match cname {
        Some(cname) => format!("{name} is a CNAME for {cname}, not for {host}"),
        None => format!("{name} has the addresses {}, {host} has {}", listed(&own), listed(&ours)),
    };
    let hint = format!("publish {name}. IN CNAME {host}., and turn off the proxy of a CDN for it");
    Ok(verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint)))
}

fn absent(wanted: &Wanted, known: &Known, verdict: Verdict) -> Result<Verdict, Need> {
    let name = verdict.name.clone();
    let doubled = format!("{name}.{}", wanted.domain);
    let probe = known.ask(&doubled, Kind::A)?;
    let elsewhere = !probe.cnames.is_empty() || matches!(probe.outcome, Outcome::Addresses(_));
    let hint = elsewhere.then(|| {
        let domain = &wanted.domain;
        format!("the record is at {doubled}: the zone appends its own name, so remove .{domain} from the record's name")
    });
    Ok(verdict.found(DnsVerdict::Missing, format!("{name} does not exist in DNS")).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Facts, addresses as ips, at};
    use super::super::wanted::tests::wanted;
    use super::*;

    const NAME: &str = "autodiscover.example.com";

    fn facts() -> Facts {
        Facts::default().host("mail.example.net", &["192.0.2.1", "2001:db8::1"])
    }

    fn judge(facts: &Facts) -> Verdict {
        facts.judge(|known| autodiscover(&wanted(), known))
    }

    #[test]
    fn a_cname_for_the_mail_host_is_right() {
        let found = judge(&facts().cname(NAME, &["mail.example.net"], &["192.0.2.1"]));
        assert_eq!((found.verdict, found.observed), (DnsVerdict::Verified, vec!["mail.example.net.".to_owned()]));
        assert!(found.warnings.is_empty());
    }

    #[test]
    fn the_same_addresses_will_do_with_a_warning() {
        let found = judge(&facts().host(NAME, &["192.0.2.1", "2001:db8::1"]));
        assert_eq!((found.verdict, found.warnings[0].reason.as_str()), (DnsVerdict::Verified, "AddressInsteadOfCname"));
    }

    #[test]
    fn another_target_and_a_proxy_are_named() {
        let found = judge(&facts().cname(NAME, &["other.test"], &["192.0.2.9"]));
        assert_eq!(found.verdict, DnsVerdict::Mismatch);
        assert!(found.message.contains("a CNAME for other.test, not for mail.example.net"), "{}", found.message);
        assert!(judge(&facts().host(NAME, &["192.0.2.9"])).hint.unwrap().contains("proxy"));
    }

    #[test]
    fn a_dangling_cname_without_its_last_dot_is_recognised() {
        let found = judge(&facts().cname(NAME, &["mail.example.net.example.com"], &[]));
        assert_eq!(found.verdict, DnsVerdict::Invalid);
        assert!(found.hint.unwrap().contains("with the dot at the end"));
    }

    #[test]
    fn a_doubled_name_is_recognised() {
        assert!(judge(&facts()).hint.is_none());
        let found = judge(&facts().host("autodiscover.example.com.example.com", &["192.0.2.1"]));
        assert_eq!(found.verdict, DnsVerdict::Missing);
        assert!(found.hint.unwrap().contains("remove .example.com"));
    }

    #[test]
    fn a_failed_lookup_is_temporary_and_a_loop_invalid() {
        let failed = facts().with(at(NAME, Kind::A), Outcome::Failed("SERVFAIL".into()));
        assert_eq!(judge(&failed).verdict, DnsVerdict::TempError);
        assert_eq!(judge(&facts().with(at(NAME, Kind::Aaaa), Outcome::CnameLoop)).verdict, DnsVerdict::Invalid);
        let unknown = facts()
            .with(at(NAME, Kind::A), ips(&["192.0.2.9"]))
            .with(at("mail.example.net", Kind::A), Outcome::Failed("SERVFAIL".into()));
        assert_eq!(judge(&unknown).verdict, DnsVerdict::TempError);
    }
}
