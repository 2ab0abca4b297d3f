//! The DMARC row: receivers find one valid policy for the domain (RFC 9989, 9990).

mod record;
mod walk;

use super::answer::{Kind, Outcome};
use super::known::{Known, Need};
use super::name;
use super::verdict::{Verdict, warning};
use super::wanted::{Wanted, policy_word};
use crate::crd::{DmarcPolicy, DmarcSpec, DnsRecordKind, DnsVerdict, DnsWarning};
use record::{Record, is_record, resembles_record};

/// What the DMARC record is worth.
///
/// # Errors
/// When something has to be asked first.
pub fn dmarc(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let name = format!("_dmarc.{}", wanted.domain);
    let answer = known.ask(&name, Kind::Txt)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::Dmarc, &name, answer);
    if let Some(done) = verdict.without_records(answer) {
        return Ok(done);
    }
    let alike = answer.texts().iter().map(Vec::as_slice).filter(|text| resembles_record(text)).collect::<Vec<_>>();
    let exact = alike.iter().copied().filter(|text| is_record(text)).collect::<Vec<_>>();
    let verdict = if alike.is_empty() { verdict } else { verdict.observed(alike.clone()) };
    match (exact.as_slice(), alike.as_slice()) {
        ([only], _) => own(wanted, known, only, verdict),
        ([], []) => none(wanted, known, verdict),
        ([], [strange, ..]) => Ok(verdict.found(DnsVerdict::Invalid, strangeness(strange))),
        (several, _) => {
            let message =
                format!("{} DMARC records stand at {name}; receivers act as if there were none", several.len());
            let hint = "leave one of them".to_owned();
            Ok(verdict.found(DnsVerdict::Multiple, message).hint(Some(hint)))
        }
    }
}

fn strangeness(text: &[u8]) -> String {
    if text.first().is_some_and(u8::is_ascii_whitespace) {
        return "the record begins with a blank; receivers ignore it".to_owned();
    }
    if text.contains(&b'"') {
        return "the record holds quotation marks; leave them out".to_owned();
    }
    if text.contains(&b'\\') {
        return "the record holds a backslash; write ; without it".to_owned();
    }
    "the record must begin with exactly v=DMARC1; receivers ignore it".to_owned()
}

/// The domain has a record of its own.
fn own(wanted: &Wanted, known: &Known, text: &[u8], verdict: Verdict) -> Result<Verdict, Need> {
    let record = match Record::parse(text) {
        Ok(record) => record,
        Err(problem) => {
            let escaped = text.windows(2).any(|pair| pair == b"\\;");
            let hint = escaped.then(|| "write ; without the backslash".to_owned());
            return Ok(verdict.found(DnsVerdict::Invalid, problem).hint(hint));
        }
    };
    let policy = record.policy;
    let message = format!("receivers apply p={}", policy_word(policy));
    judged(wanted, known, &record, policy, verdict.found(DnsVerdict::Verified, message))
}

/// A record counts with this policy in force: is it what the user demands, and do its reports arrive?
fn judged(
    wanted: &Wanted,
    known: &Known,
    record: &Record,
    policy: DmarcPolicy,
    mut verdict: Verdict,
) -> Result<Verdict, Need> {
    verdict.warnings.extend(record.weaknesses(policy));
    verdict.warnings.extend(unauthorised(wanted, known, record)?);
    Ok(match wanted.spec.dmarc.as_ref().and_then(|demanded| difference(demanded, record, policy)) {
        Some(message) => verdict.found(DnsVerdict::Mismatch, message),
        None => verdict,
    })
}

fn difference(demanded: &DmarcSpec, record: &Record, policy: DmarcPolicy) -> Option<String> {
    if let Some(asked) = demanded.policy.filter(|asked| *asked != policy) {
        return Some(format!("the policy is {}, not {}", policy_word(policy), policy_word(asked)));
    }
    let reported = |address: &&String| record.reports.iter().any(|found| found.eq_ignore_ascii_case(address));
    let absent = demanded.report_to.iter().find(|address| !reported(address))?;
    Some(format!("rua= leaves out mailto:{absent}"))
}

/// Report addresses in other organizations that did not agree to take reports (RFC 9990, section 4).
fn unauthorised(wanted: &Wanted, known: &Known, record: &Record) -> Result<Vec<DnsWarning>, Need> {
    let hosts = record.reports.iter().filter_map(|address| address.rsplit_once('@'));
    let mut hosts = hosts.map(|(_, host)| name::canonical(host)).collect::<Vec<_>>();
    hosts.sort();
    hosts.dedup();
    let found = Need::all(hosts.iter().take(8).map(|host| refusal(wanted.domain.as_str(), host, known)))?;
    Ok(found.into_iter().flatten().collect())
}

fn refusal(domain: &str, host: &str, known: &Known) -> Result<Option<DnsWarning>, Need> {
    if name::is_within(domain, host) || name::is_within(host, domain) {
        return Ok(None);
    }
    let consent = format!("{domain}._report._dmarc.{host}");
    let needs = Need::all([walk::walk(known, domain), walk::walk(known, host)]);
    let answer = known.ask(&consent, Kind::Txt);
    let (walks, answer) = match (needs, answer) {
        (Ok(walks), Ok(answer)) => (walks, answer),
        (walks, answer) => return Err(Need::of([walks.err(), answer.err()].into_iter().flatten())),
    };
    let same = walks
        .windows(2)
        .all(|pair| pair.iter().all(|walk| Some(&walk.organization) == walks.first().map(|w| &w.organization)));
    if same || answer.failure().is_some() || answer.texts().iter().any(|text| is_record(text)) {
        return Ok(None);
    }
    let message = format!("{host} did not agree to take reports; it has to publish: {consent}. IN TXT \"v=DMARC1\"");
    Ok(Some(warning("ReportsNotAuthorised", message)))
}

/// What receivers that still go by the public suffix list do otherwise: they ask one name above the domain, its
/// registered part (RFC 7489, section 6.6.3).
fn by_suffix_list(domain: &str, known: &Known, met: Option<&walk::Met>) -> Result<Option<DnsWarning>, Need> {
    let Some(registered) = psl::domain_str(domain).filter(|registered| *registered != domain) else { return Ok(None) };
    let answer = known.ask(&format!("_dmarc.{registered}"), Kind::Txt)?;
    let theirs = walk::record_of(answer).map(|_| registered);
    if answer.failure().is_some() || theirs == met.map(|met| met.domain.as_str()) {
        return Ok(None);
    }
    let theirs = theirs.map_or("no record".to_owned(), |domain| format!("the record of {domain}"));
    let message =
        format!("receivers that go by the public suffix list (RFC 7489) find {theirs}; publish a record of your own");
    Ok(Some(warning("SuffixListDiffers", message)))
}

/// The domain has no record of its own: perhaps one above it counts.
fn none(wanted: &Wanted, known: &Known, verdict: Verdict) -> Result<Verdict, Need> {
    let domain = wanted.domain.as_str();
    let found = walk::walk(known, domain)?;
    if let Some(why) = found.failure {
        return Ok(verdict.found(DnsVerdict::TempError, why));
    }
    let mut verdict = verdict;
    verdict.warnings.extend(by_suffix_list(domain, known, found.inherited.as_ref())?);
    let Some(met) = found.inherited else {
        return missing(wanted, known, verdict);
    };
    let exists = known.ask(domain, Kind::Txt)?.outcome != Outcome::NxDomain;
    let policy = met.record.inherited(exists);
    let message = format!("receivers apply {} from _dmarc.{}", policy_word(policy), met.domain);
    let verdict = verdict
        .found(DnsVerdict::Verified, message.clone())
        .warn("InheritedFrom", format!("no record at _dmarc.{domain}; {message}"));
    judged(wanted, known, &met.record, policy, verdict)
}

fn missing(wanted: &Wanted, known: &Known, verdict: Verdict) -> Result<Verdict, Need> {
    let domain = wanted.domain.as_str();
    let doubled = format!("{}.{domain}", verdict.name);
    let probes = Need::all([known.ask(domain, Kind::Txt), known.ask(&doubled, Kind::Txt)])?;
    let places = [domain, doubled.as_str()];
    let place = places.iter().zip(probes).find(|(_, probe)| probe.texts().iter().any(|text| resembles_record(text)));
    let hint = place.map(|(place, _)| format!("the record stands at {place}: move it to {}", verdict.name));
    let own = known.ask(&verdict.name, Kind::Txt)?;
    if own.texts().iter().any(|text| text.starts_with(b"v=spf1")) {
        let message = format!("an SPF record stands at {}; it belongs to {domain}", verdict.name);
        return Ok(verdict.found(DnsVerdict::Invalid, message));
    }
    let message = format!("no DMARC record at {}, nor above it", verdict.name);
    Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
}

#[cfg(test)]
mod tests;
