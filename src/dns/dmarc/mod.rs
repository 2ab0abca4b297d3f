//! The DMARC row: receivers find one valid policy for the domain (RFC 9989, 9990).

mod record;
mod walk;

use super::answer::{Kind, Outcome};
use super::characters::{from_zone_file, unexpected};
use super::family::misplaced;
use super::known::{Known, Need};
use super::name;
use super::verdict::{Verdict, warning};
use super::wanted::{Expected, Wanted, expected, policy_word};
use crate::crd::{DmarcPolicy, DmarcSpec, DnsRecordKind, DnsVerdict, DnsWarning};
use record::{Record, after_version, is_record, resembles_record};

/// Judges the DMARC record.
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
        ([], [strange, ..]) => {
            let message = format!("receivers ignore the record: {}", strangeness(strange));
            Ok(verdict.found(DnsVerdict::Invalid, message).hint(from_zone_file(strange)))
        }
        (several, _) => {
            let message = format!("there are {} DMARC records at {name}; receivers ignore all of them", several.len());
            let hint = "keep one of them and remove the others".to_owned();
            Ok(verdict.found(DnsVerdict::Multiple, message).hint(Some(hint)))
        }
    }
}

/// Why a text is not a record, although it was meant as one.
fn strangeness(text: &[u8]) -> String {
    if text.first().is_some_and(u8::is_ascii_whitespace) {
        return "it begins with a blank; remove it".to_owned();
    }
    if let Some(problem) = unexpected(text, |byte| matches!(byte, b'\t' | 0x20..=0x7e)) {
        return problem;
    }
    match after_version(text) {
        Some(rest) if rest.starts_with(b"\\") => "a backslash follows v=DMARC1".to_owned(),
        Some(rest) if rest.first().is_some_and(u8::is_ascii_alphabetic) && blank_after_version(text) => {
            "a ; is missing after v=DMARC1".to_owned()
        }
        _ if text.starts_with(b"\"") => "it begins with a quotation mark".to_owned(),
        _ => "it must begin with exactly v=DMARC1;".to_owned(),
    }
}

fn blank_after_version(text: &[u8]) -> bool {
    text.windows(7).any(|window| window == b"DMARC1 " || window == b"DMARC1\t")
}

/// The domain has a record of its own.
fn own(wanted: &Wanted, known: &Known, text: &[u8], verdict: Verdict) -> Result<Verdict, Need> {
    let record = Record::parse(text);
    match (record.malformed(), record.policy) {
        (None, Some(policy)) => {
            let message = format!("receivers apply p={}", policy_word(policy));
            judged(wanted, known, &record, policy, verdict.found(DnsVerdict::Verified, message))
        }
        (problem, _) => {
            let problem = problem.unwrap_or_else(|| "receivers don't apply DMARC".to_owned());
            Ok(verdict.found(DnsVerdict::Invalid, problem).hint(from_zone_file(text)))
        }
    }
}

/// Judges a record with its effective policy: does it match the spec, and do its reports arrive?
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
        return Some(format!(
            "the policy is {}, but spec.dns.dmarc requires {}",
            policy_word(policy),
            policy_word(asked)
        ));
    }
    let reported = |address: &&String| record.reports.iter().any(|found| found.eq_ignore_ascii_case(address));
    let absent = demanded.report_to.iter().find(|address| !reported(address))?;
    Some(format!("rua= does not have mailto:{absent}, which spec.dns.dmarc requires"))
}

/// Report addresses in other organizations that did not agree to receive reports (RFC 9990, section 4).
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
    let message = format!("receivers send no reports to {host} until it publishes {consent}. IN TXT \"v=DMARC1\"");
    Ok(Some(warning("ReportsNotAuthorised", message)))
}

/// How receivers that use the public suffix list differ: they ask one name above the domain, its registered part (RFC
/// 7489, section 6.6.3).
fn by_suffix_list(domain: &str, known: &Known, met: Option<&walk::Met>) -> Result<Option<DnsWarning>, Need> {
    let Some(registered) = psl::domain_str(domain).filter(|registered| *registered != domain) else { return Ok(None) };
    let answer = known.ask(&format!("_dmarc.{registered}"), Kind::Txt)?;
    let theirs = walk::record_of(answer).map(|_| registered);
    if answer.failure().is_some() || theirs == met.map(|met| met.domain.as_str()) {
        return Ok(None);
    }
    let theirs = theirs.map_or("no record".to_owned(), |domain| format!("the record of {domain}"));
    let message = format!(
        "receivers that use the public suffix list (RFC 7489) find {theirs}; publish a record at _dmarc.{domain}"
    );
    Ok(Some(warning("SuffixListDiffers", message)))
}

/// The domain has no record of its own: perhaps a record above it applies.
fn none(wanted: &Wanted, known: &Known, verdict: Verdict) -> Result<Verdict, Need> {
    let domain = wanted.domain.as_str();
    let found = walk::walk(known, domain)?;
    if let Some(why) = found.failure {
        return Ok(verdict.found(DnsVerdict::TempError, why));
    }
    let mut verdict = verdict;
    verdict.warnings.extend(by_suffix_list(domain, known, found.inherited.as_ref())?);
    let Some(met) = found.inherited else {
        return missing(wanted, known, verdict, found.ignored);
    };
    let exists = known.ask(domain, Kind::Txt)?.outcome != Outcome::NxDomain;
    let place = format!("_dmarc.{}", met.domain);
    let malformed = met.record.malformed().map(|problem| format!("the record at {place} is malformed: {problem}"));
    let Some(policy) = met.record.inherited(exists) else {
        let problem = malformed.unwrap_or_else(|| format!("receivers can't use the record at {place}"));
        let message = format!("there is no DMARC record at {}, and {problem}", verdict.name);
        return Ok(verdict.found(DnsVerdict::Invalid, message).hint(Some(format!(
            "correct the record at {place}, or publish one for the domain itself: {}",
            own_line(wanted)
        ))));
    };
    let message = format!("receivers apply {} from {place}", policy_word(policy));
    let mut verdict = verdict
        .found(DnsVerdict::Verified, message.clone())
        .warn("InheritedFrom", format!("there is no record at _dmarc.{domain}; {message}"));
    for problem in malformed.into_iter().chain(found.ignored) {
        verdict = verdict.warn("MalformedRecord", problem);
    }
    judged(wanted, known, &met.record, policy, verdict)
}

/// The record of the domain itself, as a line of its zone.
fn own_line(wanted: &Wanted) -> String {
    expected(wanted)
        .iter()
        .find(|record| record.kind == DnsRecordKind::Dmarc)
        .map(Expected::zone_line)
        .unwrap_or_default()
}

fn missing(wanted: &Wanted, known: &Known, verdict: Verdict, ignored: Option<String>) -> Result<Verdict, Need> {
    let (domain, name) = (wanted.domain.as_str(), verdict.name.clone());
    let places = [domain.to_owned(), format!("{name}.{domain}")];
    let (wildcard, elsewhere) = misplaced(known, domain, &places, resembles_record)?;
    let answer = known.ask(&name, Kind::Txt)?;
    let is_spf = answer.texts().iter().any(|text| text.starts_with(b"v=spf1"));
    if is_spf && !wildcard.answers(answer) {
        let message = format!("there is an SPF record at {name}, where the DMARC record belongs");
        let hint = format!("move the SPF record to {domain}, and publish {}", own_line(wanted));
        return Ok(verdict.found(DnsVerdict::Invalid, message).hint(Some(hint)));
    }
    if let Some(problem) = ignored {
        let message = format!("there is no DMARC record at {name}, and {problem}");
        let hint = format!("correct the record above, or publish one for the domain itself: {}", own_line(wanted));
        return Ok(verdict.found(DnsVerdict::Invalid, message).hint(Some(hint)));
    }
    let hint = elsewhere.map(|place| format!("the record is at {place}: move it to {name}"));
    let message = format!("there is no DMARC record at {name} or above it{}", wildcard.note(answer));
    Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
}

/// Whether receivers enforce DMARC for a domain, as BIMI wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Enforcement {
    /// For all required names.
    Full,
    /// No, and why; the text follows "because".
    Weak(String),
    /// No answer, and why.
    Unknown(String),
}

/// Whether the policies of a domain and of its organizational domain are both enforced (BIMI draft, section
/// "Authentication Requirements": neither p=none nor sp=none, and no pct= below 100 with p=quarantine), and the
/// organizational domain.
///
/// # Errors
/// When something has to be asked first.
pub(super) fn enforcement(domain: &str, known: &Known) -> Result<(Enforcement, String), Need> {
    let found = walk::walk(known, domain)?;
    let organization = found.organization;
    if let Some(why) = found.failure {
        return Ok((Enforcement::Unknown(why), organization));
    }
    let own = walk::record_of(known.ask(&format!("_dmarc.{domain}"), Kind::Txt)?);
    let exists = own.is_some() || known.ask(domain, Kind::Txt)?.outcome != Outcome::NxDomain;
    let mut in_force = Vec::new();
    if let Some(met) = found.inherited {
        let policy = if own.is_some() { met.record.policy } else { met.record.inherited(exists) };
        in_force.push((met.domain, met.record, policy));
    }
    if let Some(record) = own {
        let policy = record.policy;
        in_force.push((domain.to_owned(), record, policy));
    }
    if in_force.is_empty() {
        return Ok((
            Enforcement::Weak(format!("there is no DMARC record at _dmarc.{domain} or above it")),
            organization,
        ));
    }
    let weak = in_force.iter().find_map(|(place, record, policy)| weakness(place, record, *policy));
    Ok((weak.map_or(Enforcement::Full, Enforcement::Weak), organization))
}

fn weakness(place: &str, record: &Record, policy: Option<DmarcPolicy>) -> Option<String> {
    let why = match policy {
        None => "can't be read".to_owned(),
        Some(DmarcPolicy::None) => "requires no enforcement (p=none or sp=none)".to_owned(),
        Some(_) if record.policy == Some(DmarcPolicy::None) => "has p=none".to_owned(),
        Some(_) if record.subdomains == Some(DmarcPolicy::None) => "has sp=none".to_owned(),
        Some(DmarcPolicy::Quarantine) if record.testing => "has t=y, which turns p=quarantine into none".to_owned(),
        Some(DmarcPolicy::Quarantine) => {
            let percentage = record.percentage.as_deref().filter(|percentage| *percentage != "100")?;
            format!("has pct={percentage}")
        }
        Some(DmarcPolicy::Reject) => return None,
    };
    Some(format!("the DMARC record at _dmarc.{place} {why}"))
}

#[cfg(test)]
mod tests;
