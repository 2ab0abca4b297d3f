//! The MTA-STS rows: a record that names the policy's version, and a host that serves the policy (RFC 8461).

mod policy;

use super::answer::{Kind, Outcome};
use super::characters::from_zone_file;
use super::client_host::leads_to_host;
use super::family::{Family, Found};
use super::fields::Fields;
use super::known::{Known, Need};
use super::verdict::Verdict;
use super::wanted::{Wanted, own_host};
use crate::crd::{DnsRecordKind, DnsVerdict};
pub use policy::{Mode as PolicyMode, Policy};

/// Policies that are to be forgotten sooner protect little (RFC 8461, section 3.2); in seconds.
const SHORT_AGE: u32 = 86_400;

const FAMILY: Family = Family { version: "v=STSv1", title: "MTA-STS", readers: "senders", begins };

/// Whether senders accept a text as a record: among other texts they ignore those that don't begin with exactly this.
fn begins(text: &[u8], others: usize) -> bool {
    text.starts_with(if others == 0 { b"v=STSv1" } else { b"v=STSv1;" })
}

/// Judges `_mta-sts.<domain>`.
///
/// # Errors
/// When something has to be asked first.
pub fn mta_sts_record(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let name = format!("_mta-sts.{}", wanted.domain);
    let answer = known.ask(&name, Kind::Txt)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::MtaSts, &name, answer);
    match FAMILY.find(answer, verdict) {
        Found::Settled(verdict) => Ok(verdict),
        Found::None(verdict) => FAMILY.missing((wanted, known), verdict, "mta-sts"),
        Found::One(verdict, text) => Ok(match version(text) {
            Ok(id) => verdict.found(DnsVerdict::Verified, format!("the version of the policy is {id}")),
            Err(problem) => verdict.found(DnsVerdict::Invalid, problem).hint(from_zone_file(text)),
        }),
    }
}

/// The policy's id (RFC 8461, section 3.1).
///
/// # Errors
/// What is wrong, in words.
pub fn version(text: &[u8]) -> Result<String, String> {
    let fields = Fields::parse(text, "v=STSv1", "id")?;
    // The grammar allows duplicates; senders use the first.
    let id = fields.demand("id")?.first().copied().unwrap_or_default();
    if !(1..=32).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("id={id} is not 1 to 32 letters and digits"));
    }
    Ok(id.to_owned())
}

/// Judges `mta-sts.<domain>` and its policy.
///
/// # Errors
/// When something has to be asked first.
pub fn mta_sts_host(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let verdict = leads_to_host(wanted, known, DnsRecordKind::MtaSts)?;
    if verdict.verdict != DnsVerdict::Verified {
        return Ok(verdict);
    }
    let name = own_host(wanted, DnsRecordKind::MtaSts);
    let answer = known.ask(&name, Kind::Policy)?;
    let page = match &answer.outcome {
        Outcome::Page(page) => page,
        Outcome::Untrusted(why) => {
            let message = format!("the certificate of https://{name} is not trusted: {why}");
            let hint = "let Mailcow get a certificate for the name (ADDITIONAL_SAN in mailcow.conf)".to_owned();
            return Ok(verdict.found(DnsVerdict::Invalid, message).hint(Some(hint)));
        }
        Outcome::Failed(why) => return Ok(verdict.failed(&format!("the policy of {name}"), why)),
        _ => return Ok(verdict.failed(&format!("the policy of {name}"), "there was no answer")),
    };
    if let 300..=399 = page.status {
        let message = format!(
            "https://{name} redirects, but senders don't follow redirects: serve the policy at this name itself"
        );
        return Ok(verdict.found(DnsVerdict::Invalid, message));
    }
    if page.status != 200 {
        let message = format!("https://{name} answers {} instead of the policy", page.status);
        let hint = "turn on MTA-STS for the domain in Mailcow".to_owned();
        return Ok(verdict.found(DnsVerdict::Missing, message).hint(Some(hint)));
    }
    match Policy::parse(&page.body) {
        Ok(policy) => covered(wanted, known, &policy, typed(&page.media_type, verdict)),
        Err(problem) => Ok(verdict.found(DnsVerdict::Invalid, format!("the policy is malformed: {problem}"))),
    }
}

fn typed(media_type: &str, verdict: Verdict) -> Verdict {
    if media_type == "text/plain" {
        return verdict;
    }
    let message = format!("the policy is served as {media_type:?}, but some senders accept only text/plain");
    verdict.warn("PolicyMediaType", message)
}

/// Whether every mail server of the domain is in the policy.
fn covered(wanted: &Wanted, known: &Known, policy: &Policy, verdict: Verdict) -> Result<Verdict, Need> {
    let domain = wanted.domain.as_str();
    let answer = known.ask(domain, Kind::Mx)?;
    if let Some(why) = answer.failure() {
        return Ok(verdict.failed(domain, why));
    }
    let Outcome::Mx(records) = &answer.outcome else {
        let message = format!("{domain} has no MX record that the policy could cover");
        let hint = format!("publish {domain}. IN MX 10 {}.", wanted.mail_host);
        return Ok(verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint)));
    };
    let left_out = records.iter().find(|mx| !policy.covers(&mx.exchange));
    if let Some(mx) = left_out.filter(|_| policy.mode != PolicyMode::None) {
        let consequence = match policy.mode {
            PolicyMode::Enforce => "; senders must not deliver there",
            PolicyMode::Testing | PolicyMode::None => "",
        };
        let message = format!("the policy does not list the mail server {}{consequence}", mx.exchange);
        let hint = format!("add the line \"mx: {}\" to the policy", mx.exchange);
        return Ok(verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint)));
    }
    let message = format!("the policy is served, with mode {}", policy.mode.word());
    let mut verdict = verdict.found(DnsVerdict::Verified, message);
    if policy.mode != PolicyMode::Enforce {
        let message = format!("mode {}: senders deliver without TLS too", policy.mode.word());
        verdict = verdict.warn("StsNotEnforced", message);
    }
    if policy.max_age < SHORT_AGE {
        let message = format!("max_age {} is less than a day: raise it to 604800 or more", policy.max_age);
        verdict = verdict.warn("ShortMaxAge", message);
    }
    Ok(verdict)
}

#[cfg(test)]
mod tests;
