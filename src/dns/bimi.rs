//! The BIMI row: a logo for the domain's mail, which counts only where DMARC is enforced (draft-brand-indicators).

use super::answer::Kind;
use super::dmarc::dmarc;
use super::family::{Family, Found};
use super::known::{Known, Need};
use super::tags::Tags;
use super::verdict::Verdict;
use super::wanted::Wanted;
use crate::crd::{DnsRecordKind, DnsVerdict};

const FAMILY: Family = Family { version: "v=bimi1", title: "BIMI", readers: "receivers" };

/// What the BIMI record is worth.
///
/// # Errors
/// When something has to be asked first.
pub fn bimi(wanted: &Wanted, known: &Known) -> Result<Verdict, Need> {
    let name = format!("default._bimi.{}", wanted.domain);
    let answer = known.ask(&name, Kind::Txt)?;
    let verdict = Verdict::new(wanted, DnsRecordKind::Bimi, &name, answer);
    match FAMILY.find(answer, verdict) {
        Found::Settled(verdict) => Ok(verdict),
        Found::None(verdict) => {
            let hint = "publish \"v=BIMI1; l=https://…/logo.svg; a=\" with the place of the logo".to_owned();
            Ok(verdict.found(DnsVerdict::Missing, format!("no BIMI record at {name}")).hint(Some(hint)))
        }
        Found::One(verdict, text) => match logo(text) {
            Ok(logo) => enforced(wanted, known, &logo, verdict),
            Err(problem) => Ok(verdict.found(DnsVerdict::Invalid, problem)),
        },
    }
}

/// Where the logo is; empty when the domain says that it has none.
///
/// # Errors
/// What is wrong, in words.
pub fn logo(text: &[u8]) -> Result<String, String> {
    let tags = Tags::parse(text)?;
    if tags.get("v") != Some("BIMI1") || tags.place("v") != Some(0) {
        return Err("the record must begin with exactly v=BIMI1".to_owned());
    }
    let logo = tags.get("l").ok_or("it has no l=, so no logo")?;
    let evidence = tags.get("a").unwrap_or_default();
    for uri in [logo, evidence].into_iter().filter(|uri| !uri.is_empty()) {
        let rest = uri.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
        if rest.is_none() {
            return Err(format!("{uri} does not begin with https://"));
        }
    }
    let path = logo.split(['?', '#']).next().unwrap_or_default();
    let suffix = path.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    if !logo.is_empty() && !["svg", "svgz"].iter().any(|svg| suffix.eq_ignore_ascii_case(svg)) {
        return Err(format!("l={logo} is no SVG image"));
    }
    Ok(logo.to_owned())
}

fn enforced(wanted: &Wanted, known: &Known, logo: &str, verdict: Verdict) -> Result<Verdict, Need> {
    if logo.is_empty() {
        let verdict = verdict.found(DnsVerdict::Verified, "the domain says that it has no logo");
        return Ok(verdict.warn("DeclaredOff", "l= is empty: no logo is shown"));
    }
    let policy = dmarc(wanted, known)?;
    let weak = ["NotEnforced", "SubdomainsNotEnforced"];
    let is_weak = policy.warnings.iter().any(|warning| weak.contains(&warning.reason.as_str()));
    Ok(match policy.verdict {
        DnsVerdict::TempError => verdict.failed(&policy.name, &policy.message),
        DnsVerdict::Verified | DnsVerdict::Mismatch if !is_weak => {
            verdict.found(DnsVerdict::Verified, format!("receivers may show {logo}"))
        }
        _ => {
            let message = "the logo is not shown, because DMARC is not enforced";
            let hint = "publish DMARC with p=quarantine or p=reject, and no sp=none".to_owned();
            verdict.found(DnsVerdict::Mismatch, message).hint(Some(hint))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::Facts;
    use super::super::wanted::tests::wanted;
    use super::*;

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
            (&["foreign"], DnsVerdict::Missing),
            (&[GOOD, GOOD], DnsVerdict::Multiple),
            (&["v=BIMI1"], DnsVerdict::Invalid),
            (&["v=BIMI1; l=http://example.com/logo.svg"], DnsVerdict::Invalid),
            (&["v=BIMI1; l=https://example.com/logo.png"], DnsVerdict::Invalid),
        ] {
            assert_eq!(judge(texts, "v=DMARC1; p=reject").verdict, verdict, "{texts:?}");
        }
    }

    #[test]
    fn without_enforcement_it_has_no_effect() {
        for weak in ["v=DMARC1; p=none", "v=DMARC1; p=reject; sp=none", "nothing"] {
            assert_eq!(judge(&[GOOD], weak).verdict, DnsVerdict::Mismatch, "{weak}");
        }
    }
}
