//! The grammar of a DMARC record (RFC 9989, section 4.8; RFC 7489, section 6.3 for what it removed).

use super::super::tags::Tags;
use super::super::verdict::warning;
use super::super::wanted::policy_word;
use crate::crd::{DmarcPolicy, DnsWarning};

/// A record that receivers act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// `p`: what to do with mail of the domain itself.
    pub(super) policy: DmarcPolicy,
    /// `sp`: the same for mail of domains below it.
    pub(super) subdomains: Option<DmarcPolicy>,
    /// `np`: the same for domains below it that do not exist.
    pub(super) nonexistent: Option<DmarcPolicy>,
    /// `t=y`: one step milder.
    pub(super) testing: bool,
    /// `psd=y` or `psd=n`; `None` when unknown.
    pub(super) public_suffix: Option<bool>,
    /// `rua`: where aggregate reports go; addresses without `mailto:`, other URIs left out.
    pub(super) reports: Vec<String>,
    /// What is allowed but better otherwise.
    pub(super) warnings: Vec<DnsWarning>,
}

/// Whether receivers take the text for a DMARC record: it begins with exactly `v=DMARC1` and a semicolon or the end.
pub(super) fn is_record(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"v") else { return false };
    let rest = rest.trim_ascii_start();
    let Some(rest) = rest.strip_prefix(b"=").map(<[u8]>::trim_ascii_start) else { return false };
    let Some(rest) = rest.strip_prefix(b"DMARC1").map(<[u8]>::trim_ascii_start) else { return false };
    rest.is_empty() || rest.starts_with(b";")
}

/// Whether the text means to be a DMARC record, in whatever shape.
pub(super) fn resembles_record(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase().replace([' ', '"'], "");
    text.contains("v=dmarc")
}

impl Record {
    /// Reads a text that [`is_record`].
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let tags = Tags::parse(text)?;
        for (tag, values) in
            [("psd", &["y", "n", "u"][..]), ("t", &["y", "n"]), ("adkim", &["r", "s"]), ("aspf", &["r", "s"])]
        {
            one_of(&tags, tag, values)?;
        }
        let options = tags.list("fo", ':').unwrap_or_default();
        if let Some(bad) =
            options.iter().find(|option| !["0", "1", "d", "s"].contains(&option.to_ascii_lowercase().as_str()))
        {
            return Err(format!("fo={bad} is not one of 0, 1, d, s"));
        }
        let mut warnings = Vec::new();
        let reports = addresses(&tags, "rua", &mut warnings)?;
        addresses(&tags, "ruf", &mut warnings)?;
        let record = Self {
            policy: main_policy(&tags, &reports, &mut warnings)?,
            subdomains: policy(&tags, "sp")?,
            nonexistent: policy(&tags, "np")?,
            testing: is(&tags, "t", "y"),
            public_suffix: match tags.get("psd") {
                Some(value) if value.eq_ignore_ascii_case("y") => Some(true),
                Some(value) if value.eq_ignore_ascii_case("n") => Some(false),
                _ => None,
            },
            reports,
            warnings,
        };
        Ok(record.with_removed(&tags))
    }

    fn with_removed(mut self, tags: &Tags) -> Self {
        let removed = ["pct", "rf", "ri"].into_iter().filter(|tag| tags.get(tag).is_some()).collect::<Vec<_>>();
        if !removed.is_empty() {
            let message = format!("{} no longer means anything (RFC 9989)", removed.join(", "));
            self.warnings.push(warning("RemovedTags", message));
        }
        self
    }

    /// The policy for a domain below the one that holds the record.
    pub(super) fn inherited(&self, exists: bool) -> DmarcPolicy {
        let below = self.subdomains.unwrap_or(self.policy);
        if exists { below } else { self.nonexistent.unwrap_or(below) }
    }

    /// What makes the record weak when this policy is the one in force.
    pub(super) fn weaknesses(&self, in_force: DmarcPolicy) -> Vec<DnsWarning> {
        let mut found = self.warnings.clone();
        if in_force == DmarcPolicy::None {
            found.push(warning("NotEnforced", "the policy is none: receivers only report"));
        } else if self.testing {
            found.push(warning("NotEnforced", "t=y: receivers apply a policy one step milder"));
        }
        if self.subdomains == Some(DmarcPolicy::None) && self.policy != DmarcPolicy::None {
            let message = format!("sp=none leaves subdomains open, while p={}", policy_word(self.policy));
            found.push(warning("SubdomainsNotEnforced", message));
        }
        if self.reports.is_empty() {
            found.push(warning("NoReports", "no rua=mailto:…: nobody learns what receivers see"));
        }
        found
    }
}

fn is(tags: &Tags, tag: &str, value: &str) -> bool {
    tags.get(tag).is_some_and(|found| found.eq_ignore_ascii_case(value))
}

fn one_of(tags: &Tags, tag: &str, values: &[&str]) -> Result<(), String> {
    match tags.get(tag) {
        Some(found) if !values.iter().any(|value| found.eq_ignore_ascii_case(value)) => {
            Err(format!("{tag}={found} is not one of {}", values.join(", ")))
        }
        _ => Ok(()),
    }
}

fn policy(tags: &Tags, tag: &str) -> Result<Option<DmarcPolicy>, String> {
    let policies = [DmarcPolicy::None, DmarcPolicy::Quarantine, DmarcPolicy::Reject];
    one_of(tags, tag, &policies.map(policy_word))?;
    Ok(policies.into_iter().find(|policy| is(tags, tag, policy_word(*policy))))
}

/// `p`, which may be left out when reports are asked for; then it is `none` (RFC 9989, section 4.7).
fn main_policy(tags: &Tags, reports: &[String], warnings: &mut Vec<DnsWarning>) -> Result<DmarcPolicy, String> {
    match policy(tags, "p")? {
        Some(found) => {
            if tags.place("p") != Some(1) {
                warnings
                    .push(warning("PolicyNotSecond", "p= should follow v=DMARC1 at once: old receivers want it there"));
            }
            Ok(found)
        }
        None if reports.is_empty() => Err("it has no p=, so no policy".to_owned()),
        None => {
            warnings.push(warning("NoPolicy", "it has no p=; receivers take it as p=none"));
            Ok(DmarcPolicy::None)
        }
    }
}

fn addresses(tags: &Tags, tag: &str, warnings: &mut Vec<DnsWarning>) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for uri in tags.list(tag, ',').unwrap_or_default() {
        let (scheme, rest) = uri.split_once(':').ok_or_else(|| format!("{tag}: {uri:?} is no URI"))?;
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || rest.is_empty() {
            return Err(format!("{tag}: {uri:?} is no URI"));
        }
        if !scheme.eq_ignore_ascii_case("mailto") {
            warnings.push(warning("ReportsElsewhere", format!("{tag}: only mailto: is used, not {scheme}:")));
            continue;
        }
        let (address, size) = rest.split_once('!').map_or((rest, None), |(address, size)| (address, Some(size)));
        if size.is_some() {
            warnings.push(warning("ReportSize", format!("{tag}: the size limit after ! no longer means anything")));
        }
        let valid = address.split_once('@').is_some_and(|(local, host)| !local.is_empty() && host.contains('.'));
        if !valid {
            return Err(format!("{tag}: {uri:?} holds no mail address"));
        }
        found.push(address.to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_version_makes_a_record() {
        for good in ["v=DMARC1", "v=DMARC1;p=none", "v = DMARC1 ; p=none"] {
            assert!(is_record(good.as_bytes()), "{good}");
        }
        for bad in ["V=DMARC1; p=none", "v=dmarc1; p=none", " v=DMARC1", "p=none; v=DMARC1", "v=DMARC10", "", "v"] {
            assert!(!is_record(bad.as_bytes()), "{bad}");
        }
        assert!(resembles_record(b"p=none; V = dmarc1") && !resembles_record(b"v=spf1"));
    }

    #[test]
    fn each_tag_is_checked() {
        for bad in [
            "v=DMARC1; p=rejected",
            "v=DMARC1; p=none; sp=x",
            "v=DMARC1; p=none; np=x",
            "v=DMARC1; p=none; psd=x",
            "v=DMARC1; p=none; t=x",
            "v=DMARC1; p=none; adkim=x",
            "v=DMARC1; p=none; aspf=x",
            "v=DMARC1; p=none; fo=x",
            "v=DMARC1; p=none; p=none",
            "v=DMARC1; p=none; rua=a@example.com",
            "v=DMARC1; p=none; rua=mailto:a",
            "v=DMARC1; p=none; v",
            "v=DMARC1",
            "v=DMARC1; p=none\u{e4}",
        ] {
            assert!(Record::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_policy_is_none_when_reports_are_asked_for() {
        let record = Record::parse(b"v=DMARC1; rua=mailto:a@example.com").unwrap();
        assert_eq!((record.policy, record.warnings[0].reason.as_str()), (DmarcPolicy::None, "NoPolicy"));
    }

    #[test]
    fn what_weakens_a_record_is_named() {
        let text = "v=DMARC1; sp=none; p=REJECT; t=y; pct=50; rua=mailto:a@example.com!10m, https://x.example/";
        let record = Record::parse(text.as_bytes()).unwrap();
        let reasons = record.weaknesses(record.policy).into_iter().map(|w| w.reason).collect::<Vec<_>>();
        assert_eq!(
            reasons,
            [
                "ReportSize",
                "ReportsElsewhere",
                "PolicyNotSecond",
                "RemovedTags",
                "NotEnforced",
                "SubdomainsNotEnforced"
            ]
        );
        assert_eq!(record.reports, ["a@example.com"]);
    }

    #[test]
    fn the_policy_below_a_domain_is_sp_or_np_or_p() {
        let record = Record::parse(b"v=DMARC1; p=none; sp=quarantine; np=reject").unwrap();
        assert_eq!((record.inherited(true), record.inherited(false)), (DmarcPolicy::Quarantine, DmarcPolicy::Reject));
        let plain = Record::parse(b"v=DMARC1; p=reject").unwrap();
        assert_eq!((plain.inherited(true), plain.inherited(false)), (DmarcPolicy::Reject, DmarcPolicy::Reject));
    }
}
