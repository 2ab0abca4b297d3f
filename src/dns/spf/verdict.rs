//! The SPF row: every address that Mailcow sends from passes.

use std::net::IpAddr;

use super::super::answer::Kind;
use super::super::hosts::egress;
use super::super::known::{Known, Need};
use super::super::shown::quoted;
use super::super::verdict::Verdict;
use super::super::wanted::Wanted;
use super::eval::{MOST_LOOKUPS, evaluate};
use super::mechanism::Mechanism;
use super::record::{Record, is_record};
use super::result::{Evaluation, Sender, SpfResult};
use super::tree::{Tree, tree};
use crate::crd::{DnsRecordKind, DnsVerdict};

/// Above this many lookups a warning is given.
const MANY_LOOKUPS: usize = 8;
/// Above this many bytes a warning is given (RFC 7208, section 3.4).
const MANY_BYTES: usize = 450;

/// What the SPF record is worth.
///
/// # Errors
/// When something has to be asked first.
pub fn verdict(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let domain = wanted.domain.as_str();
    let answer = known.ask(domain, Kind::Txt)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::Spf, domain, answer);
    if let Some(done) = verdict.without_records(answer) {
        return Ok(done);
    }
    let records = answer.texts().iter().map(Vec::as_slice).filter(|text| is_record(text)).collect::<Vec<_>>();
    let verdict = verdict.observed(records.clone());
    match records.as_slice() {
        [] => missing(known, answer.texts(), verdict),
        [text] => match Record::parse(text) {
            Ok(record) => judge(wanted, known, (text, &record), verdict),
            Err(problem) => Ok(verdict.found(DnsVerdict::Invalid, format!("malformed term {problem}"))),
        },
        several => {
            let message = format!("{} SPF records stand at {domain}; receivers take none of them", several.len());
            let hint = format!("put them together: {}", quoted(merged(several).as_bytes()));
            Ok(verdict.found(DnsVerdict::Multiple, message).hint(Some(hint)))
        }
    }
}

fn missing(known: &Known, texts: &[Vec<u8>], verdict: Verdict) -> Result<Verdict, Need> {
    let message = format!("{} has no SPF record", verdict.name);
    let near = texts.iter().find(|text| {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        text.contains("spf1") || text.starts_with("spf2.0")
    });
    let verdict = match near {
        Some(near) => verdict.observed([near.as_slice()]),
        None => verdict,
    };
    let hint = near.map(|_| "an SPF record begins with exactly v=spf1 and a blank, without quotation marks".to_owned());
    if hint.is_some() {
        return Ok(verdict.found(DnsVerdict::Missing, message).hint(hint));
    }
    let places = [format!("{0}.{0}", verdict.name), format!("_spf.{}", verdict.name)];
    let probes = Need::all(places.iter().map(|place| known.ask(place, Kind::Txt)))?;
    let found = places.iter().zip(probes).find(|(_, probe)| probe.texts().iter().any(|text| is_record(text)));
    let hint = found.map(|(place, _)| format!("a record stands at {place}: move it to {}", verdict.name));
    Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
}

/// One record that says what all of them say; the strictest `all` wins.
fn merged(records: &[&[u8]]) -> String {
    let texts = records.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect::<Vec<_>>();
    let is_all = |term: &str| term.trim_start_matches(['+', '-', '~', '?']).eq_ignore_ascii_case("all");
    let mut terms: Vec<&str> = Vec::new();
    for term in texts.iter().flat_map(|text| text.split(' ').skip(1)).filter(|term| !term.is_empty()) {
        if !is_all(term) && !terms.contains(&term) {
            terms.push(term);
        }
    }
    let has = |all: &str| texts.iter().any(|text| text.split(' ').any(|term| term.eq_ignore_ascii_case(all)));
    let all = ["-all", "~all"].into_iter().find(|all| has(all)).unwrap_or("-all");
    let last = if terms.iter().any(|term| term.starts_with("redirect=")) { "" } else { all };
    [&["v=spf1"], terms.as_slice(), &[last]].concat().join(" ").trim_end().to_owned()
}

fn judge(wanted: &Wanted, known: &Known, (text, record): (&[u8], &Record), verdict: Verdict) -> Result<Verdict, Need> {
    let costs = tree(known, wanted.domain.as_str(), record);
    let egress = match egress(wanted, known) {
        Ok(Ok(egress)) => egress,
        Ok(Err(why)) => return Ok(verdict.failed(wanted.mail_host.as_str(), &why)),
        Err(need) => return Err(Need::of([need].into_iter().chain(costs.err()))),
    };
    let evaluations = Need::all(egress.iter().map(|ip| Ok((*ip, evaluate(&sender(wanted, *ip), known)?))));
    let (costs, evaluations) = match (costs, evaluations) {
        (Ok(costs), Ok(evaluations)) => (costs, evaluations),
        (costs, evaluations) => return Err(Need::of([costs.err(), evaluations.err()].into_iter().flatten())),
    };
    if egress.is_empty() {
        return Ok(verdict.found(DnsVerdict::Mismatch, format!("{} has no address to send from", wanted.mail_host)));
    }
    let verdict = decide(&evaluations, &costs, verdict);
    if verdict.verdict != DnsVerdict::Verified {
        return Ok(verdict);
    }
    Ok(advise(text, record, &costs, verdict))
}

fn sender(wanted: &Wanted, ip: IpAddr) -> Sender {
    Sender { ip, mail_from: format!("postmaster@{}", wanted.domain), helo: wanted.mail_host.to_string() }
}

fn decide(evaluations: &[(IpAddr, Evaluation)], costs: &Tree, verdict: Verdict) -> Verdict {
    let with = |result| evaluations.iter().find(|(_, found)| found.result == result);
    if let Some((_, found)) = with(SpfResult::PermError) {
        let hint = costliest(costs);
        return verdict.found(DnsVerdict::Invalid, found.problem.clone().unwrap_or_default()).hint(hint);
    }
    if let Some((_, found)) = with(SpfResult::TempError) {
        return verdict.found(DnsVerdict::TempError, found.problem.clone().unwrap_or_default());
    }
    if let Some((ip, found)) = evaluations.iter().find(|(_, found)| found.result != SpfResult::Pass) {
        let by = found.term.as_ref().map_or("no term matches".to_owned(), |term| format!("by {term}"));
        let message = format!("{ip} gets {}: {by}", word(found.result));
        let family = if ip.is_ipv4() { "ip4" } else { "ip6" };
        return verdict.found(DnsVerdict::Mismatch, message).hint(Some(format!("add mx or {family}:{ip} before all")));
    }
    if let Some(broken) = &costs.broken {
        return verdict.found(DnsVerdict::Invalid, broken.clone());
    }
    if costs.lookups > MOST_LOOKUPS {
        let message = format!("SPF needs {} lookups, of at most {MOST_LOOKUPS}", costs.lookups);
        return verdict.found(DnsVerdict::Invalid, message).hint(costliest(costs));
    }
    let ips = evaluations.iter().map(|(ip, _)| ip.to_string()).collect::<Vec<_>>().join(", ");
    verdict.found(DnsVerdict::Verified, format!("{ips} may send"))
}

fn costliest(costs: &Tree) -> Option<String> {
    if costs.lookups <= MOST_LOOKUPS {
        return None;
    }
    let mut branches = costs.branches.clone();
    branches.sort_by_key(|(_, lookups)| std::cmp::Reverse(*lookups));
    let list = branches.iter().take(4).map(|(target, lookups)| format!("{target} ({lookups})")).collect::<Vec<_>>();
    (!list.is_empty()).then(|| format!("these cost most: {}", list.join(", ")))
}

fn word(result: SpfResult) -> &'static str {
    match result {
        SpfResult::None => "none",
        SpfResult::Neutral => "neutral",
        SpfResult::Pass => "pass",
        SpfResult::Fail => "fail",
        SpfResult::SoftFail => "softfail",
        SpfResult::TempError => "temperror",
        SpfResult::PermError => "permerror",
    }
}

fn advise(text: &[u8], record: &Record, costs: &Tree, mut verdict: Verdict) -> Verdict {
    verdict = match record.catch_all() {
        None if record.redirect.is_none() => verdict.warn("NoAll", "the record ends without all: others get neutral"),
        None | Some(SpfResult::Fail) => verdict,
        Some(SpfResult::SoftFail) => verdict.warn("SoftFail", "~all: others are only suspicious; -all refuses them"),
        Some(SpfResult::Pass) => verdict.warn("PlusAll", "+all: anyone may send in the domain's name"),
        Some(_) => verdict.warn("QuestionAll", "?all: others get neutral, as if there were no record"),
    };
    if costs.uses_ptr {
        verdict = verdict.warn("PtrUsed", "ptr is slow and unreliable; RFC 7208 says not to publish it");
    }
    if costs.lookups > MANY_LOOKUPS {
        verdict = verdict.warn("ManyLookups", format!("{} of at most {MOST_LOOKUPS} lookups are used", costs.lookups));
    }
    if text.len() > MANY_BYTES {
        verdict = verdict
            .warn("LongRecord", format!("{} bytes: above {MANY_BYTES} answers may not fit a datagram", text.len()));
    }
    let after = record.directives.iter().position(|directive| directive.mechanism == Mechanism::All);
    if after.is_some_and(|place| place + 1 < record.directives.len()) {
        verdict = verdict.warn("TermsAfterAll", "what stands after all is never looked at");
    }
    verdict
}

#[cfg(test)]
mod tests;
