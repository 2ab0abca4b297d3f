//! The SPF row: every address that Mailcow sends from passes.

use std::net::IpAddr;

use super::super::answer::{Answer, Kind};
use super::super::characters::{bare, unexpected};
use super::super::family::misplaced;
use super::super::hosts::{egress, no_address};
use super::super::known::{Known, Need};
use super::super::presentation::quoted;
use super::super::verdict::Verdict;
use super::super::wanted::Wanted;
use super::eval::{MOST_LOOKUPS, evaluate};
use super::mechanism::Mechanism;
use super::record::{Record, is_record, lost_blank};
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
            Err(problem) => Ok(verdict.found(DnsVerdict::Invalid, problem).hint(rejoined(text))),
        },
        several => {
            let message = format!("there are {} SPF records at {domain}; receivers use none of them", several.len());
            let hint = format!("replace them with one: {}", quoted(merged(several).as_bytes()));
            Ok(verdict.found(DnsVerdict::Multiple, message).hint(Some(hint)))
        }
    }
}

fn missing(known: &Known, texts: &[Vec<u8>], verdict: Verdict) -> Result<Verdict, Need> {
    let domain = verdict.name.clone();
    let message = format!("there is no SPF record at {domain}");
    let near = texts.iter().find(|text| bare(text).contains("spf1") || text.starts_with(b"spf2.0"));
    if let Some(near) = near {
        let message = format!("{message}: {}", misbegun(near));
        return Ok(verdict.observed([near.as_slice()]).found(DnsVerdict::Missing, message));
    }
    let places = [format!("{domain}.{domain}"), format!("_spf.{domain}")];
    let (_, elsewhere) = misplaced(known, &domain, &places, is_record)?;
    let hint = elsewhere.map(|place| format!("a record is at {place}: move it to {domain}"));
    Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
}

/// Why a text that was meant to be a record is none.
fn misbegun(text: &[u8]) -> String {
    let lower = String::from_utf8_lossy(text).to_ascii_lowercase();
    if text.first().is_some_and(u8::is_ascii_whitespace) {
        return "the text begins with a blank; remove it".to_owned();
    }
    if text.starts_with(b"\"") {
        return "the text begins with a quotation mark; remove the quotation marks".to_owned();
    }
    let rest = lower.strip_prefix("v=spf1");
    match rest.map(|rest| rest.chars().next()) {
        Some(Some(';')) => "there is a ; after v=spf1; write a blank instead".to_owned(),
        Some(Some(first)) if first.is_ascii() => "a blank is missing after v=spf1".to_owned(),
        Some(Some(_)) => match unexpected(text, |byte| matches!(byte, 0x20..=0x7e)) {
            Some(problem) => problem,
            None => "a blank is missing after v=spf1".to_owned(),
        },
        _ => "the text does not begin with exactly v=spf1 and a blank".to_owned(),
    }
}

/// What to do about a blank that was lost.
fn rejoined(text: &[u8]) -> Option<String> {
    let (before, after) = lost_blank(text)?;
    Some(format!(
        "a blank is missing between {before} and {after}; when a text is split into strings, they are joined with \
         nothing between: put the blank inside the quotes"
    ))
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
        let host = wanted.mail_host.as_str();
        let hint = format!("publish an A or AAAA record of {host}");
        return Ok(verdict.found(DnsVerdict::Mismatch, no_address(host)).hint(Some(hint)));
    }
    let empty = mx_of_hosts(wanted.domain.as_str(), record, known);
    let mut verdict = decide(&evaluations, &costs, verdict);
    if verdict.verdict == DnsVerdict::Verified {
        let verdict = empty.into_iter().fold(verdict, |verdict, message| verdict.warn("MxOfHost", message));
        return Ok(advise(text, record, &costs, verdict));
    }
    if let (DnsVerdict::Mismatch, Some(message)) = (verdict.verdict, empty.first()) {
        verdict.message = format!("{}; {message}", verdict.message);
    }
    let failing = evaluations.iter().filter(|(_, found)| found.result != SpfResult::Pass).map(|(ip, _)| *ip);
    let corrected = (verdict.verdict == DnsVerdict::Mismatch).then(|| corrected(wanted, text, failing));
    Ok(verdict.hint(corrected).hint(rejoined(text)))
}

/// The `mx` terms of the record that match nothing, because the name has no MX record; what to write instead. Only for
/// names that the evaluation asked about.
fn mx_of_hosts(domain: &str, record: &Record, known: &Known) -> Vec<String> {
    let targets = record.directives.iter().filter_map(|directive| match &directive.mechanism {
        Mechanism::Mx(None, _) => Some((directive.text.as_str(), domain.to_owned())),
        Mechanism::Mx(Some(target), _) => Some((directive.text.as_str(), target.plain()?)),
        _ => None,
    });
    let empty = targets.filter(|(_, target)| known.ask(target, Kind::Mx).is_ok_and(Answer::is_void));
    let message = |(term, target): (&str, String)| {
        format!("{term} matches nothing, because {target} has no MX record; for its own addresses write a:{target}")
    };
    empty.map(message).collect()
}

/// The record with the addresses that do not pass, in front of all other terms.
fn corrected(wanted: &Wanted, text: &[u8], failing: impl Iterator<Item = IpAddr>) -> String {
    let text = String::from_utf8_lossy(text);
    let rest = text.get(6..).unwrap_or_default();
    let added = if wanted.egress.is_empty() {
        format!(" a:{}", wanted.mail_host)
    } else {
        let terms = failing.map(|ip| format!(" {}:{ip}", if ip.is_ipv4() { "ip4" } else { "ip6" }));
        terms.collect::<Vec<_>>().concat()
    };
    let value = format!("v=spf1{added}{rest}");
    format!("publish {}. IN TXT {}", wanted.domain, quoted(value.as_bytes()))
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
        return verdict.found(DnsVerdict::Mismatch, format!("{ip} gets {}: {by}", word(found.result)));
    }
    if let Some(broken) = &costs.broken {
        return verdict.found(DnsVerdict::Invalid, broken.clone());
    }
    if costs.lookups > MOST_LOOKUPS {
        let message = format!("SPF needs {} lookups, but receivers do at most {MOST_LOOKUPS}", costs.lookups);
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
    (!list.is_empty()).then(|| format!("remove one of the most expensive terms: {}", list.join(", ")))
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
        None if record.redirect.is_none() => {
            verdict.warn("NoAll", "the record ends without all, so other senders get neutral: add -all")
        }
        None | Some(SpfResult::Fail) => verdict,
        Some(SpfResult::SoftFail) => {
            verdict.warn("SoftFail", "~all: receivers only suspect other senders; -all refuses them")
        }
        Some(SpfResult::Pass) => verdict.warn("PlusAll", "+all: anyone may send for the domain"),
        Some(_) => verdict.warn("QuestionAll", "?all: other senders get neutral, as without a record"),
    };
    if costs.uses_ptr {
        verdict = verdict.warn("PtrUsed", "ptr is slow and unreliable, and RFC 7208 advises against it: remove it");
    }
    if costs.lookups > MANY_LOOKUPS {
        verdict =
            verdict.warn("ManyLookups", format!("{} of at most {MOST_LOOKUPS} lookups are used up", costs.lookups));
    }
    if text.len() > MANY_BYTES {
        let bytes = text.len();
        let message =
            format!("the record has {bytes} bytes; above {MANY_BYTES} the answer may not fit into a datagram");
        verdict = verdict.warn("LongRecord", message);
    }
    let after = record.directives.iter().position(|directive| directive.mechanism == Mechanism::All);
    if after.is_some_and(|place| place + 1 < record.directives.len()) {
        verdict =
            verdict.warn("TermsAfterAll", "receivers ignore the terms after all: remove them, or move all to the end");
    }
    verdict
}

#[cfg(test)]
mod tests;
