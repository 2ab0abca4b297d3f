//! The BIMI row: a logo for the domain's mail, which receivers use only if DMARC is enforced (draft
//! brand-indicators-for-message-identification).

use std::net::IpAddr;

use super::answer::Kind;
use super::characters::is_no_uri;
use super::dmarc::{Enforcement, enforcement};
use super::family::{Family, Found};
use super::known::{Known, Need};
use super::tags::Tags;
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::{DnsRecordKind, DnsVerdict};

const FAMILY: Family = Family { version: "v=BIMI1", title: "BIMI", readers: "receivers", begins };

/// Endings of images that are no SVG (section "Supported Image Formats").
const OTHER_IMAGES: [&str; 10] = ["png", "jpg", "jpeg", "gif", "webp", "avif", "bmp", "ico", "tif", "tiff"];

/// Judges the BIMI record: the domain's own, otherwise that of its organizational domain.
///
/// # Errors
/// When something has to be asked first.
pub fn bimi(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let (domain, name) = (wanted.domain.as_str(), format!("default._bimi.{}", wanted.domain));
    let answer = known.ask(&name, Kind::Txt)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::Bimi, &name, answer);
    let verdict = match FAMILY.find(answer, verdict) {
        Found::Settled(verdict) => return Ok(verdict),
        Found::One(verdict, text) => return judged(domain, known, text, verdict),
        Found::None(verdict) => verdict,
    };
    let (_, organization) = enforcement(domain, known)?;
    if organization == domain {
        return Ok(missing(verdict, &name));
    }
    let above = format!("default._bimi.{organization}");
    let answer = known.ask(&above, Kind::Txt)?;
    if let Some(why) = answer.failure() {
        return Ok(verdict.failed(&above, why));
    }
    match FAMILY.find(answer, verdict.clone()) {
        Found::Settled(_) => {
            let message = format!("there is no BIMI record at {name}, and receivers can't use those at {above}");
            Ok(verdict.found(DnsVerdict::Invalid, message).hint(Some(format!("keep one record at {above}"))))
        }
        Found::None(verdict) => Ok(missing(verdict, &format!("{name} or {above}"))),
        Found::One(verdict, text) => {
            let verdict =
                verdict.warn("InheritedFrom", format!("there is no record at {name}; the record at {above} applies"));
            judged(domain, known, text, verdict)
        }
    }
}

fn missing(verdict: Verdict, places: &str) -> Verdict {
    let hint =
        format!("publish {}. IN TXT \"v=BIMI1; l=https://…/logo.svg; a=\" with the address of the logo", verdict.name);
    verdict.found(DnsVerdict::Missing, format!("there is no BIMI record at {places}")).hint(Some(hint))
}

/// Whether receivers accept a text as a record: its first tag is `v` with exactly this version.
fn begins(text: &[u8], _: usize) -> bool {
    let Some(rest) = text.strip_prefix(b"v").map(<[u8]>::trim_ascii_start) else { return false };
    let Some(rest) = rest.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) else { return false };
    let Some(rest) = rest.strip_prefix(b"BIMI1").map(<[u8]>::trim_ascii_start) else { return false };
    rest.is_empty() || rest.starts_with(b";")
}

/// URL of the logo; empty when the domain declares that it has none.
///
/// # Errors
/// What is wrong, in words.
pub fn logo(text: &[u8]) -> Result<String, String> {
    let tags = Tags::parse(text)?;
    if text.first().is_some_and(u8::is_ascii_whitespace) {
        return Err("there is a blank before v=BIMI1: remove it".to_owned());
    }
    if tags.get("v") != Some("BIMI1") || tags.place("v") != Some(0) {
        return Err("the record must begin with exactly v=BIMI1;".to_owned());
    }
    let logo = tags.demand("l")?;
    let evidence = tags.get("a").unwrap_or_default();
    for (tag, uri) in [("l", logo), ("a", evidence)].into_iter().filter(|(_, uri)| !uri.is_empty()) {
        let rest = uri.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
        if rest.is_none() {
            return Err(format!("{tag}={uri} does not begin with https://"));
        }
        let host = uri.get(8..).unwrap_or_default().split(['/', '?', '#', ':']).next().unwrap_or_default();
        if host.is_empty() || uri.contains(',') || is_no_uri(uri) {
            return Err(format!("{tag}={uri} is not one URI"));
        }
        let full = host.contains('.') && host.parse::<IpAddr>().is_err();
        if tag == "a" && !full {
            return Err(format!("a={uri} has no full host name"));
        }
    }
    let path = logo.split(['?', '#']).next().unwrap_or_default();
    let ending = path.rsplit('/').next().and_then(|file| file.rsplit_once('.')).map_or("", |(_, ending)| ending);
    if OTHER_IMAGES.iter().any(|image| ending.eq_ignore_ascii_case(image)) {
        return Err(format!("l={logo} is not an SVG image"));
    }
    Ok(logo.to_owned())
}

fn judged(domain: &str, known: &Known, text: &[u8], verdict: Verdict) -> Result<Verdict, Need> {
    let logo = match logo(text) {
        Ok(logo) => logo,
        Err(problem) => return Ok(verdict.found(DnsVerdict::Invalid, problem)),
    };
    if logo.is_empty() {
        let verdict = verdict.found(DnsVerdict::Verified, "the domain declares that it has no logo");
        return Ok(verdict.warn("DeclaredOff", "l= is empty: no logo is shown"));
    }
    Ok(match enforcement(domain, known)?.0 {
        Enforcement::Full => verdict.found(DnsVerdict::Verified, format!("receivers may show {logo}")),
        Enforcement::Unknown(why) => verdict.found(DnsVerdict::TempError, why),
        Enforcement::Weak(why) => {
            let message = format!("receivers don't show the logo, because {why}");
            let hint = "publish DMARC with p=quarantine or p=reject, and without sp=none, pct= and t=y".to_owned();
            verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Facts;
    use super::super::wanted::tests::wanted;
    use super::*;
    use crate::mail::DomainName;

    const GOOD: &str = "v=BIMI1; l=https://example.com/logo.svg; a=";

    fn judge(texts: &[&str], dmarc: &str) -> Verdict {
        let facts = Facts::default().texts("default._bimi.example.com", texts).texts("_dmarc.example.com", &[dmarc]);
        facts.judge(|known| bimi(&wanted(), known))
    }

    #[test]
    fn each_text_has_its_verdict() {
        for (texts, verdict) in [
            (&[GOOD][..], DnsVerdict::Verified),
            (&["v=BIMI1; l=; a="], DnsVerdict::Verified),
            (
                &["v = BIMI1 ; a=https://example.com/vmc.pem;l=HTTPS://example.com/logo.SVGZ?v=2.png ;avp=brand"],
                DnsVerdict::Verified,
            ),
            (&["v=BIMI1; l=https://example.com/logo"], DnsVerdict::Verified),
            (&[GOOD, "v=BIMI2; l=x"], DnsVerdict::Verified),
            (&["foreign"], DnsVerdict::Missing),
            (&[GOOD, GOOD], DnsVerdict::Multiple),
            (&["v=BIMI1"], DnsVerdict::Invalid),
            (&["V=BIMI1; l=https://example.com/logo.svg"], DnsVerdict::Invalid),
            (&["v=bimi1; l=https://example.com/logo.svg"], DnsVerdict::Invalid),
            (&[" v=BIMI1; l=https://example.com/logo.svg"], DnsVerdict::Invalid),
            (&["v=BIMI1; L=https://example.com/logo.svg"], DnsVerdict::Invalid),
            (&["v=BIMI1 l=https://example.com/logo.svg"], DnsVerdict::Invalid),
            (&["v=BIMI1; l=http://example.com/logo.svg"], DnsVerdict::Invalid),
            (&["v=BIMI1; l=https://example.com/logo.svg; a=https://localhost/vmc.pem"], DnsVerdict::Invalid),
            (&["v=BIMI1; l=https://example.com/a.svg,https://example.com/b.svg"], DnsVerdict::Invalid),
            (&["v=BIMI1; l=https://example.com/a.svg\\; a="], DnsVerdict::Invalid),
            (&["v=BIMI1; l=https://example.com/a.svg\thttps://example.com/b.svg"], DnsVerdict::Invalid),
            (&["v=BIMI1; l=https://example.com/logo.png"], DnsVerdict::Invalid),
            (&["v=BIMI1; l=https://example.com/logo.svg; a=http://example.com/vmc.pem"], DnsVerdict::Invalid),
        ] {
            let found = judge(texts, "v=DMARC1; p=reject");
            assert_eq!(found.verdict, verdict, "{texts:?}: {}", found.message);
        }
    }

    #[test]
    fn without_enforcement_it_has_no_effect() {
        for (weak, words) in [
            ("v=DMARC1; p=none", "p=none"),
            ("v=DMARC1; p=reject; sp=none", "sp=none"),
            ("v=DMARC1; p=quarantine; pct=50", "pct=50"),
            ("v=DMARC1; p=quarantine; t=y", "t=y"),
            ("v=DMARC1; p=x", "can't be read"),
            ("nothing", "there is no DMARC record"),
        ] {
            let found = judge(&[GOOD], weak);
            assert_eq!(found.verdict, DnsVerdict::Mismatch, "{weak}");
            assert!(found.message.contains(words), "{weak}: {}", found.message);
        }
        for enforced in ["v=DMARC1; p=quarantine; pct=100", "v=DMARC1; p=reject; pct=50", "v=DMARC1; p=reject; t=y"] {
            assert_eq!(judge(&[GOOD], enforced).verdict, DnsVerdict::Verified, "{enforced}");
        }
    }

    /// `shop.example.com` below `example.com`; `None`: no text there.
    fn below(own: [Option<&str>; 2], organization: [Option<&str>; 2]) -> Verdict {
        let domain = DomainName::parse("shop.example.com").unwrap();
        let mut facts = Facts::default().texts("shop.example.com", &["x"]);
        for (domain, [bimi, dmarc]) in [("shop.example.com", own), ("example.com", organization)] {
            for (label, text) in [("default._bimi", bimi), ("_dmarc", dmarc)] {
                facts = text.into_iter().fold(facts, |facts, text| facts.texts(&format!("{label}.{domain}"), &[text]));
            }
        }
        facts.judge(|known| bimi(&Wanted { domain: domain.clone(), ..wanted() }, known))
    }

    #[test]
    fn the_organizational_domain_stands_in_for_the_record_and_has_a_say_in_the_policy() {
        let (logo, off) = (Some(GOOD), Some("v=BIMI1; l=; a="));
        let (reject, none) = (Some("v=DMARC1; p=reject"), Some("v=DMARC1; p=none"));
        for (own, organization, verdict) in [
            // Its record counts where the domain has none.
            ([None, None], [logo, reject], DnsVerdict::Verified),
            ([None, reject], [logo, reject], DnsVerdict::Verified),
            ([None, None], [None, reject], DnsVerdict::Missing),
            // The domain's own record comes first, also one that declines.
            ([off, None], [logo, reject], DnsVerdict::Verified),
            ([Some("v=BIMI1"), None], [logo, reject], DnsVerdict::Invalid),
            // Both policies have to be enforced.
            ([logo, reject], [None, none], DnsVerdict::Mismatch),
            ([logo, none], [None, reject], DnsVerdict::Mismatch),
            ([logo, reject], [None, Some("v=DMARC1; p=quarantine; pct=20")], DnsVerdict::Mismatch),
            ([logo, reject], [None, Some("v=DMARC1; p=reject; sp=none")], DnsVerdict::Mismatch),
            ([logo, None], [None, Some("v=DMARC1; p=none; sp=reject")], DnsVerdict::Mismatch),
            ([logo, reject], [None, None], DnsVerdict::Verified),
        ] {
            let found = below(own, organization);
            assert_eq!(found.verdict, verdict, "{own:?} {organization:?}: {}", found.message);
        }
        let inherited = below([None, None], [logo, reject]);
        assert_eq!(inherited.warnings[0].reason, "InheritedFrom");
        assert_eq!(below([off, None], [logo, reject]).warnings[0].reason, "DeclaredOff");
    }

    #[test]
    fn no_answer_is_temporary() {
        assert_eq!(judge(&[GOOD], "v=DMARC1; p=reject").verdict, DnsVerdict::Verified);
        let facts = Facts::default().texts("default._bimi.example.com", &[GOOD]);
        let failed = facts.with(
            super::super::tests::at("_dmarc.com", Kind::Txt),
            super::super::answer::Outcome::Failed("SERVFAIL".into()),
        );
        assert_eq!(failed.judge(|known| bimi(&wanted(), known)).verdict, DnsVerdict::TempError);
    }
}
