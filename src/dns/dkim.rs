//! The DKIM row: the key that Mailcow signs with is published, once (RFC 6376, section 3.6; RFC 8301; RFC 8463).

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::answer::{Answer, Kind, Outcome};
use super::characters::{bare, from_zone_file};
use super::der::element;
use super::family::misplaced;
use super::known::{Known, Need};
use super::tags::Tags;
use super::verdict::Verdict;
use super::wanted::{Wanted, dkim_name};
use crate::crd::{DnsRecordKind, DnsSource, DnsVerdict};
use crate::mail::DkimKey;

/// Base64 as verifiers read it: with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Verifiers refuse RSA keys below this size in bits (RFC 8301, section 3.2).
const SHORTEST_RSA: usize = 1024;
/// RSA keys below this size in bits should be replaced (RFC 8301, section 3.2).
const ADVISED_RSA: usize = 2048;

/// Judges the DKIM record.
///
/// # Errors
/// When something has to be asked first.
pub fn dkim(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let Some(key) = &wanted.dkim else {
        let nothing = Answer::new(Outcome::NoData, DnsSource::Authoritative);
        let verdict = Verdict::new(wanted, DnsRecordKind::Dkim, &format!("_domainkey.{}", wanted.domain), &nothing);
        let hint = "wait until Mailcow has the key; the record to publish is then in expected".to_owned();
        let message = "Mailcow has no DKIM key for this domain yet";
        return Ok(verdict.found(DnsVerdict::Missing, message).hint(Some(hint)));
    };
    let name = dkim_name(wanted, key);
    let answer = known.ask(&name, Kind::Txt)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::Dkim, &name, answer);
    if let Some(done) = verdict.without_records(answer) {
        return Ok(done);
    }
    let records = answer.texts().iter().map(Vec::as_slice).filter(|text| is_key(text)).collect::<Vec<_>>();
    let verdict = if records.is_empty() { verdict } else { verdict.observed(records.clone()) };
    match records.as_slice() {
        [] => missing(wanted, known, answer, verdict),
        [record] => Ok(judge(key, record, verdict)),
        several => {
            let message =
                format!("there are {} keys at {name}; RFC 6376 does not define which one applies", several.len());
            let hint = "keep only the record in expected".to_owned();
            Ok(verdict.found(DnsVerdict::Multiple, message).hint(Some(hint)))
        }
    }
}

/// Whether a text is meant as a key: it has a version or a `p` tag, in any form.
fn is_key(text: &[u8]) -> bool {
    bare(text).split(';').any(|tag| tag.starts_with("p=") || tag.starts_with("v=dkim"))
}

fn missing(wanted: &Wanted, known: &Known, answer: &Answer, verdict: Verdict) -> Result<Verdict, Need> {
    let (name, domain) = (verdict.name.clone(), wanted.domain.as_str());
    let parent = format!("_domainkey.{domain}");
    let places = [format!("{name}.{domain}")];
    let (above, found) = match (known.ask(&parent, Kind::Txt), misplaced(known, domain, &places, is_key)) {
        (Ok(above), Ok(found)) => (above, found),
        (above, found) => return Err(Need::of([above.err(), found.err()].into_iter().flatten())),
    };
    let (wildcard, elsewhere) = found;
    let message = if matches!(answer.outcome, Outcome::Txt(_)) {
        format!("there is no DKIM key in the TXT records at {name}{}", wildcard.note(answer))
    } else if above.outcome == Outcome::NxDomain {
        format!("nothing exists at {parent} or below it")
    } else {
        format!("there is no TXT record at {name}")
    };
    let hint = elsewhere.map(|place| {
        format!("the record is at {place}: the zone appends its own name, so remove .{domain} from the record's name")
    });
    Ok(verdict.found(DnsVerdict::Missing, message).hint(hint))
}

fn judge(key: &DkimKey, record: &[u8], verdict: Verdict) -> Verdict {
    let wanted = KeyTags::wanted(key);
    match KeyTags::parse(record, &wanted.family) {
        Ok(found) => compare(&wanted, &found, verdict),
        Err(problem) => {
            let hint = from_zone_file(record).or_else(|| truncation(&wanted.data, record));
            verdict.found(DnsVerdict::Invalid, problem).hint(hint)
        }
    }
}

fn truncation(wanted: &str, record: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(record);
    let found = text.split(';').find_map(|tag| tag.trim().strip_prefix("p="))?.replace(' ', "");
    let cut = !found.is_empty() && found.len() < wanted.len() && wanted.starts_with(&found);
    cut.then(|| {
        let limit = if record.len() == 255 { " at 255 bytes" } else { "" };
        format!("the key is cut off{limit}: write it as several quoted strings of one record")
    })
}

fn compare(wanted: &KeyTags, found: &KeyTags, verdict: Verdict) -> Verdict {
    if found.data != wanted.data && found.bytes != wanted.bytes {
        let message = format!("another key is published: {} instead of {}", short(&found.data), short(&wanted.data));
        let hint = truncation(&wanted.data, format!("p={}", found.data).as_bytes());
        let old = "perhaps it is the old key of a rotation: replace the record".to_owned();
        return verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint.unwrap_or(old)));
    }
    let bits = rsa_bits(&found.bytes).filter(|_| found.family == "rsa");
    if let Some(bits) = bits.filter(|bits| *bits < SHORTEST_RSA) {
        let message = format!("the key has only {bits} bits; verifiers refuse keys below 1024 bits");
        let hint = "let Mailcow create a key of 2048 bits, and publish it".to_owned();
        return verdict.found(DnsVerdict::Invalid, message).hint(Some(hint));
    }
    let mut verdict = verdict.found(DnsVerdict::Verified, "the published key is the one that Mailcow signs with");
    if found.testing {
        verdict = verdict.warn("Testing", "t=y: verifiers may treat signed mail as unsigned");
    }
    match bits.filter(|bits| *bits < ADVISED_RSA) {
        Some(bits) => verdict.warn("WeakKey", format!("the RSA key has {bits} bits; RFC 8301 recommends 2048")),
        None => verdict,
    }
}

/// The first and last 8 characters of a key.
fn short(data: &str) -> String {
    match (data.get(..8), data.len().checked_sub(8).and_then(|from| data.get(from..))) {
        (Some(start), Some(end)) if data.len() > 16 => format!("{start}…{end}"),
        _ => data.to_owned(),
    }
}

/// A key record's tags, checked.
#[derive(Debug)]
struct KeyTags {
    /// The key type, `k=`.
    family: String,
    /// The key as base64 without blanks.
    data: String,
    /// The key.
    bytes: Vec<u8>,
    /// Whether `t=` holds `y`.
    testing: bool,
}

impl KeyTags {
    /// Mailcow's own key; of the record only the type matters.
    fn wanted(key: &DkimKey) -> Self {
        let tags = Tags::parse(key.record.as_bytes()).unwrap_or_default();
        let data = if key.public_key.is_empty() { tags.get("p").unwrap_or_default() } else { &key.public_key };
        let data = compact(data);
        let family = tags.get("k").unwrap_or("rsa").to_owned();
        Self { family, bytes: BASE64.decode(&data).unwrap_or_default(), data, testing: false }
    }

    /// Reads a published record and checks it against RFC 6376, section 3.6.1.
    fn parse(record: &[u8], family: &str) -> Result<Self, String> {
        let tags = Tags::parse(record)?;
        if let Some(version) = tags.get("v").filter(|version| *version != "DKIM1") {
            return Err(format!("v={version} is not v=DKIM1, so verifiers ignore the record"));
        }
        if tags.place("v").is_some_and(|place| place > 0) {
            return Err("v= must be the first tag".to_owned());
        }
        let found = tags.get("k").unwrap_or("rsa").to_owned();
        if found != family {
            return Err(format!("k={found} is not the type of this key: write k={family}"));
        }
        if tags.list("h", ':').is_some_and(|hashes| !hashes.contains(&"sha256")) {
            return Err("h= does not allow sha256, which Mailcow signs with".to_owned());
        }
        if tags.list("s", ':').is_some_and(|services| !services.iter().any(|s| *s == "*" || *s == "email")) {
            return Err("s= allows neither email nor *".to_owned());
        }
        let data = compact(tags.demand("p")?);
        if data.is_empty() {
            return Err("the key is revoked: p= is empty".to_owned());
        }
        let bytes = BASE64.decode(&data).map_err(|_| "p= is not base64".to_owned())?;
        let testing = tags.list("t", ':').is_some_and(|flags| flags.contains(&"y"));
        Ok(Self { family: found, data, bytes, testing })
    }
}

fn compact(base64: &str) -> String {
    base64.chars().filter(|c| !c.is_ascii_whitespace()).collect()
}

/// The size of an RSA key in bits: DER `SubjectPublicKeyInfo` or `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa_bits(der: &[u8]) -> Option<usize> {
    modulus_bits(der).or_else(|| {
        let (_, rest) = element(element(der, 0x30)?.0, 0x30)?;
        modulus_bits(element(rest, 0x03)?.0.strip_prefix(&[0])?)
    })
}

fn modulus_bits(der: &[u8]) -> Option<usize> {
    let (modulus, _) = element(element(der, 0x30)?.0, 0x02)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let significant = modulus.get(first..)?;
    let leading = usize::try_from(significant.first()?.leading_zeros()).ok()?;
    Some(significant.len() * 8 - leading)
}

#[cfg(test)]
mod tests;
