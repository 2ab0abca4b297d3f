//! The grammar of a DMARC record (RFC 9989, sections 4.7 and 4.8; RFC 7489, section 6.3 for what it removed).
//!
//! A malformed tag does not spoil the record: receivers ignore it, and go on with the others. Only what steers the policy
//! does more (section 4.10.1).

use super::super::characters::{bare, is_mailto, is_no_uri, unexpected};
use super::super::tags::no_tag;
use super::super::verdict::warning;
use super::super::wanted::policy_word;
use crate::crd::{DmarcPolicy, DnsWarning};

/// A record as receivers read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// `p`: what to do with mail of the domain itself; `None`: receivers apply no DMARC.
    pub(super) policy: Option<DmarcPolicy>,
    /// `sp`: the same for mail of domains below it.
    pub(super) subdomains: Option<DmarcPolicy>,
    /// `np`: the same for domains below it that do not exist.
    pub(super) nonexistent: Option<DmarcPolicy>,
    /// `t=y`: one step milder.
    pub(super) testing: bool,
    /// `pct` of RFC 7489, as written.
    pub(super) percentage: Option<String>,
    /// `psd=y` or `psd=n`; `None` when unknown.
    pub(super) public_suffix: Option<bool>,
    /// `rua`: where aggregate reports go; addresses without `mailto:`, other URIs left out.
    pub(super) reports: Vec<String>,
    /// Problems that do not change the verdict.
    pub(super) warnings: Vec<DnsWarning>,
    /// Malformed parts, in words; receivers ignore them.
    pub(super) faults: Vec<String>,
}

/// Whether receivers take the text for a DMARC record: it begins with a `v` tag whose value is exactly `DMARC1`. The
/// tag's name has no case (RFC 9989, section 4.8: `dmarc-version`).
pub(super) fn is_record(text: &[u8]) -> bool {
    after_version(text).is_some_and(|rest| rest.is_empty() || rest.starts_with(b";"))
}

/// What follows `v=DMARC1`, without blanks in between; `None` when the text does not begin so.
pub(super) fn after_version(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"v").or_else(|| text.strip_prefix(b"V"))?;
    let rest = unblanked(unblanked(rest).strip_prefix(b"=")?);
    rest.strip_prefix(b"DMARC1").map(unblanked)
}

/// Without WSP at its start (RFC 5234, appendix B.1).
fn unblanked(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    text.get(blanks..).unwrap_or_default()
}

/// Whether the text means to be a DMARC record, in whatever shape.
pub(super) fn resembles_record(text: &[u8]) -> bool {
    bare(text).contains("v=dmarc")
}

/// The tags after the version, as far as they are well-formed, in the order of the text.
#[derive(Default)]
struct Tags {
    /// Lower-case names and values.
    pairs: Vec<(String, String)>,
    faults: Vec<String>,
    /// A name is there twice: the list as a whole is invalid (RFC 6376, section 3.2).
    doubled: bool,
}

impl Tags {
    fn read(text: &[u8]) -> Self {
        let mut found = Self::default();
        let mut pieces = text.split(|byte| *byte == b';').skip(1).map(trimmed).collect::<Vec<_>>();
        if pieces.last().is_some_and(|last| last.is_empty()) {
            pieces.pop();
        }
        for piece in pieces {
            if let Err(fault) = found.push(piece) {
                found.faults.push(fault);
            }
        }
        found
    }

    /// `dmarc-tag = 1*ALPHA equals 1*dmarc-value`, `dmarc-value = %x20-3A / %x3C-7E`.
    fn push(&mut self, piece: &[u8]) -> Result<(), String> {
        if let Some(problem) = unexpected(piece, |byte| matches!(byte, 0x20..=0x7e)) {
            return Err(problem);
        }
        let piece = String::from_utf8_lossy(piece);
        let (name, value) = piece.split_once('=').ok_or_else(|| no_tag(&piece))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return Err(format!("{name:?} is not the name of a tag"));
        }
        if value.is_empty() {
            return Err(format!("{name}= has no value"));
        }
        if self.get(&name).is_some() || name == "v" {
            self.doubled = true;
            return Err(format!("the tag {name}= is in the record twice"));
        }
        self.pairs.push((name, value.to_owned()));
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(tag, _)| tag == name).map(|(_, value)| value.as_str())
    }

    /// One of some words, in any case; another one is a fault.
    fn word(&mut self, tag: &str, words: &[&str]) -> Option<String> {
        let value = self.get(tag)?.to_ascii_lowercase();
        if words.contains(&value.as_str()) {
            return Some(value);
        }
        self.faults.push(format!("{tag}={value} is not one of {}", words.join(", ")));
        None
    }

    /// A policy; `Err` when there is one that can't be read.
    fn policy(&mut self, tag: &str) -> Result<Option<DmarcPolicy>, ()> {
        let policies = [DmarcPolicy::None, DmarcPolicy::Quarantine, DmarcPolicy::Reject];
        if self.get(tag).is_none() {
            // A tag that is there without a value, or with another sign than =, is a fault already.
            return Ok(None);
        }
        let word = self.word(tag, &policies.map(policy_word)).ok_or(())?;
        Ok(policies.into_iter().find(|policy| policy_word(*policy) == word))
    }

    /// Each of `0`, `1`, `d` and `s` at most once, and not both numbers.
    fn check_options(&mut self) {
        let Some(value) = self.get("fo").map(str::to_ascii_lowercase) else { return };
        let options = value.split(':').collect::<Vec<_>>();
        let known = options.iter().all(|option| ["0", "1", "d", "s"].contains(option));
        let once =
            options.iter().enumerate().all(|(place, option)| !options.iter().skip(place + 1).any(|o| o == option));
        if !known {
            self.faults.push(format!("fo={value} is not a list of 0, 1, d and s with colons between"));
        } else if !once || (options.contains(&"0") && options.contains(&"1")) {
            self.faults.push(format!("fo={value} may hold each option once, and only one of 0 and 1"));
        }
    }

    /// The valid URIs of a list: the address of each `mailto:`, `None` for each of another scheme.
    fn uris(&mut self, tag: &str, warnings: &mut Vec<DnsWarning>) -> Vec<Option<String>> {
        let list = self.get(tag).map(ToOwned::to_owned);
        let mut found = Vec::new();
        for uri in list.iter().flat_map(|list| list.split(',')).map(str::trim) {
            match address(tag, uri, warnings) {
                Ok(address) => found.push(address),
                Err(fault) => self.faults.push(fault),
            }
        }
        found
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    unblanked(text.get(..text.len() - blanks).unwrap_or_default())
}

/// The address of a `mailto:` URI; `None` for a URI of another scheme, which receivers ignore.
fn address(tag: &str, uri: &str, warnings: &mut Vec<DnsWarning>) -> Result<Option<String>, String> {
    let without_scheme = |uri: &str| {
        if uri.contains('@') {
            format!("{tag}={uri} is not a URI: write mailto:{uri}")
        } else {
            format!("{tag}={uri} is not a URI")
        }
    };
    let (scheme, rest) = uri.split_once(':').ok_or_else(|| without_scheme(uri))?;
    // RFC 3986, section 3.1.
    let letters = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !letters || !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || rest.is_empty() {
        return Err(without_scheme(uri));
    }
    if is_no_uri(uri) {
        return Err(format!("{tag}={uri} is not a URI: it has a character that is not allowed in a URI"));
    }
    if !scheme.eq_ignore_ascii_case("mailto") {
        warnings.push(warning(
            "ReportsElsewhere",
            format!("{tag}: receivers send reports only to mailto:, not to {scheme}:"),
        ));
        return Ok(None);
    }
    let (address, size) = rest.split_once('!').map_or((rest, None), |(address, size)| (address, Some(size)));
    if let Some(size) = size {
        let digits = size.trim_end_matches(['k', 'm', 'g', 't', 'K', 'M', 'G', 'T']);
        let sized =
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && size.len() <= digits.len() + 1;
        if !sized {
            return Err(format!("{tag}={uri} has no size after the !: remove the !"));
        }
        warnings.push(warning("ReportSize", format!("{tag}: receivers ignore the size limit after !")));
    }
    if is_mailto(address) { Ok(Some(address.to_owned())) } else { Err(format!("{tag}={uri} has no mail address")) }
}

impl Record {
    /// Reads a text that [`is_record`], as receivers do: nothing makes it fail.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut tags = Tags::read(text);
        let public_suffix = tags.word("psd", &["y", "n", "u"]);
        let testing = tags.word("t", &["y", "n"]);
        tags.word("adkim", &["r", "s"]);
        tags.word("aspf", &["r", "s"]);
        tags.check_options();
        let mut warnings = Vec::new();
        let uris = tags.uris("rua", &mut warnings);
        tags.uris("ruf", &mut warnings);
        // Any valid URI will do, also of a scheme that nobody sends to.
        let reporting = !uris.is_empty();
        let policies = ["p", "sp", "np"].map(|tag| tags.policy(tag));
        let removed = ["pct", "rf", "ri"].into_iter().filter(|tag| tags.get(tag).is_some()).collect::<Vec<_>>();
        if !removed.is_empty() {
            let message = format!("receivers ignore {}, which RFC 9989 removed: remove it", removed.join(", "));
            warnings.push(warning("RemovedTags", message));
        }
        let percentage = tags.get("pct").map(ToOwned::to_owned);
        let (policy, subdomains, nonexistent) = match policies {
            _ if tags.doubled => (None, None, None),
            [Ok(Some(policy)), Ok(subdomains), Ok(nonexistent)] => {
                if tags.pairs.first().is_none_or(|(first, _)| first != "p") {
                    let message = "older receivers need p= directly after v=DMARC1: move it there";
                    warnings.push(warning("PolicyNotSecond", message));
                }
                (Some(policy), subdomains, nonexistent)
            }
            // The tag may be left out (section 4.7).
            [Ok(None), Ok(_), Ok(_)] if tags.faults.is_empty() => {
                let effect = if reporting { "receivers use p=none" } else { "without rua= receivers do nothing" };
                warnings.push(warning("NoPolicy", format!("there is no p=; {effect}")));
                (Some(DmarcPolicy::None), None, None)
            }
            [policy, ..] => {
                if policy == Ok(None) {
                    tags.faults.push("p= is missing".to_owned());
                }
                (reporting.then_some(DmarcPolicy::None), None, None)
            }
        };
        Self {
            policy,
            subdomains,
            nonexistent,
            testing: testing.as_deref() == Some("y"),
            percentage,
            public_suffix: match public_suffix.as_deref() {
                Some("y") => Some(true),
                Some("n") => Some(false),
                _ => None,
            },
            reports: uris.into_iter().flatten().collect(),
            warnings,
            faults: tags.faults,
        }
    }

    /// What is wrong with the record, and what receivers make of it; `None` when it is well-formed.
    pub(super) fn malformed(&self) -> Option<String> {
        let fault = self.faults.first()?;
        Some(match self.policy {
            Some(policy) => format!("{fault}; receivers ignore this and apply p={}", policy_word(policy)),
            None => format!("{fault}; receivers don't apply DMARC"),
        })
    }

    /// The policy for a domain below the one that holds the record; `None`: receivers apply no DMARC.
    pub(super) fn inherited(&self, exists: bool) -> Option<DmarcPolicy> {
        let below = self.subdomains.or(self.policy);
        if exists { below } else { self.nonexistent.or(below) }
    }

    /// What makes the record weak when this policy is the one in force.
    pub(super) fn weaknesses(&self, in_force: DmarcPolicy) -> Vec<DnsWarning> {
        let mut found = self.warnings.clone();
        if in_force == DmarcPolicy::None {
            found.push(warning("NotEnforced", "the policy is none: receivers only report"));
        } else if self.testing {
            found.push(warning("NotEnforced", "t=y: receivers apply a policy one step milder"));
        }
        let policy = self.policy.unwrap_or(DmarcPolicy::None);
        if self.subdomains == Some(DmarcPolicy::None) && policy != DmarcPolicy::None {
            let message = format!("sp=none does not protect subdomains, although p={}", policy_word(policy));
            found.push(warning("SubdomainsNotEnforced", message));
        }
        if self.reports.is_empty() {
            found.push(warning("NoReports", "there is no rua=mailto:…, so nobody gets the receivers' reports"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Record {
        assert!(is_record(text.as_bytes()), "{text:?}");
        Record::parse(text.as_bytes())
    }

    /// RFC 9989, section 4.8: `dmarc-version` and the separator after it.
    #[test]
    fn the_version_has_an_exact_value_and_a_name_in_any_case() {
        for good in ["v=DMARC1", "V=DMARC1; p=none", "v=DMARC1;p=none", "v\t=  DMARC1\t;p=none", "v=DMARC1 "] {
            assert!(is_record(good.as_bytes()), "{good}");
        }
        for bad in [
            "v=dmarc1; p=none",
            " v=DMARC1",
            "p=none; v=DMARC1",
            "v=DMARC10",
            "v=DMARC1 p=none",
            "",
            "v",
            "v=DMARC1\n;p=none",
            "v=DMARC1\u{a0};p=none",
        ] {
            assert!(!is_record(bad.as_bytes()), "{bad}");
        }
        assert!(resembles_record(b"p=none; V = dmarc1") && !resembles_record(b"v=spf1"));
    }

    /// RFC 9989, section 4.8, production by production.
    #[test]
    fn records_are_read_as_the_grammar_has_them() {
        for good in [
            // dmarc-record = dmarc-version *(dmarc-sep dmarc-tag) [dmarc-sep]
            "v=DMARC1; p=none",
            "v=DMARC1;p=none;",
            // dmarc-sep = *WSP ";" *WSP
            "v=DMARC1 ;\tp=none ; ",
            // dmarc-tag = 1*ALPHA equals 1*dmarc-value; equals = *WSP "=" *WSP
            "v=DMARC1; p = none; unknown = any thing at = all :",
            // Words have no case (RFC 5234, section 2.3).
            "v=DMARC1; P=Reject; SP=NONE; np=quarantine",
            "v=DMARC1; p=none; t=Y; psd=u; adkim=S; aspf=r",
            // dmarc-fo
            "v=DMARC1; p=none; fo=0",
            "v=DMARC1; p=none; fo=1:d:s",
            "v=DMARC1; p=none; fo=s:1:d",
            "v=DMARC1; p=none; fo=d:s",
            // dmarc-urilist, obs-dmarc-uri
            "v=DMARC1; p=none; rua=mailto:a@example.com , mailto:b@example.com!10m,https://example.com/x",
            "v=DMARC1; p=none; ruf=mailto:a@example.com!5",
        ] {
            let record = parse(good);
            assert_eq!((record.faults.clone(), record.policy.is_some()), (Vec::new(), true), "{good}: {record:?}");
        }
    }

    /// "Syntax errors in the remainder of the record MUST be discarded in favor of default values (if any) or ignored
    /// outright" (RFC 9989, section 4.8).
    #[test]
    fn a_malformed_tag_is_named_and_the_others_count() {
        for (bad, words) in [
            ("v=DMARC1; p=reject; fo:1", "write fo=1"),
            ("v=DMARC1; p=reject; fo=x", "fo=x is not a list"),
            ("v=DMARC1; p=reject; fo=0:1", "only one of 0 and 1"),
            ("v=DMARC1; p=reject; fo=d:d", "each option once"),
            ("v=DMARC1; p=reject; psd=x", "psd=x is not one of y, n, u"),
            ("v=DMARC1; p=reject; t=x", "t=x is not one of"),
            ("v=DMARC1; p=reject; adkim=x", "adkim=x is not one of r, s"),
            ("v=DMARC1; p=reject; aspf=x", "aspf=x"),
            ("v=DMARC1; p=reject; rua=a@example.com", "write mailto:a@example.com"),
            ("v=DMARC1; p=reject; rua=mailto:a", "no mail address"),
            ("v=DMARC1; p=reject; rua=mailto:a@example.com mailto:b@example.com", "not allowed in a URI"),
            ("v=DMARC1; p=reject; rua=mailto:a@example.com!m", "no size"),
            ("v=DMARC1; p=reject; ruf=mailto:", "ruf=mailto: is not a URI"),
            ("v=DMARC1; p=reject; rua=mailto:a@example.com:b", "no mail address"),
            ("v=DMARC1; p=reject; x", "\"x\" does not have the form tag=value"),
            ("v=DMARC1;; p=reject", "nothing between two semicolons"),
            ("v=DMARC1; p=reject; x1=2", "\"x1\" is not the name of a tag"),
            ("v=DMARC1; p=reject; rua=", "rua= has no value"),
            ("v=DMARC1; p=reject; x=\u{e4}", "the character 'ä'"),
            ("v=DMARC1; p=reject;\u{a0}fo=1", "a no-break space (U+00A0)"),
        ] {
            let record = parse(bad);
            assert!(record.faults.len() == 1 && record.faults[0].contains(words), "{bad}: {:?}", record.faults);
            assert_eq!(record.policy, Some(DmarcPolicy::Reject), "{bad}");
        }
    }

    /// RFC 9989, section 4.10.1.
    #[test]
    fn without_a_valid_policy_it_is_none_where_reports_are_asked_for() {
        for (bad, policy) in [
            ("v=DMARC1; p=maybe; rua=mailto:a@example.com", Some(DmarcPolicy::None)),
            ("v=DMARC1; p=reject; sp=x; rua=mailto:a@example.com", Some(DmarcPolicy::None)),
            ("v=DMARC1; p=reject; np=x; rua=https://example.com/", Some(DmarcPolicy::None)),
            ("v=DMARC1; p:reject; rua=mailto:a@example.com", Some(DmarcPolicy::None)),
            ("v=DMARC1; p=maybe; rua=mailto:a", None),
            ("v=DMARC1; p=reject; sp=x", None),
            ("v=DMARC1; p=", None),
            ("v=DMARC1; p", None),
            // A list with a tag twice is invalid as a whole (RFC 6376, section 3.2).
            ("v=DMARC1; p=none; p=reject; rua=mailto:a@example.com", None),
            ("v=DMARC1; p=none; v=DMARC1", None),
        ] {
            let record = parse(bad);
            assert_eq!((record.policy, record.faults.is_empty()), (policy, false), "{bad}: {:?}", record.faults);
        }
        for absent in ["v=DMARC1; rua=mailto:a@example.com", "v=DMARC1", "v=DMARC1; adkim=s"] {
            let record = parse(absent);
            assert_eq!((record.policy, record.warnings[0].reason.as_str()), (Some(DmarcPolicy::None), "NoPolicy"));
            assert_eq!(record.malformed(), None);
        }
    }

    #[test]
    fn what_receivers_make_of_a_malformed_record_is_said() {
        assert!(
            parse("v=DMARC1; p=reject; fo:1")
                .malformed()
                .unwrap()
                .ends_with("receivers ignore this and apply p=reject")
        );
        assert!(parse("v=DMARC1; p=rejct").malformed().unwrap().ends_with("receivers don't apply DMARC"));
    }

    #[test]
    fn what_weakens_a_record_is_named() {
        let text = "v=DMARC1; sp=none; p=REJECT; t=y; pct=50; rua=mailto:a@example.com!10m, https://x.example/";
        let record = parse(text);
        let reasons = record.weaknesses(DmarcPolicy::Reject).into_iter().map(|w| w.reason).collect::<Vec<_>>();
        assert_eq!(
            reasons,
            [
                "ReportSize",
                "ReportsElsewhere",
                "RemovedTags",
                "PolicyNotSecond",
                "NotEnforced",
                "SubdomainsNotEnforced"
            ]
        );
        assert_eq!((record.reports, record.percentage.as_deref()), (vec!["a@example.com".to_owned()], Some("50")));
    }

    #[test]
    fn the_policy_below_a_domain_is_sp_or_np_or_p() {
        let record = parse("v=DMARC1; p=none; sp=quarantine; np=reject");
        assert_eq!(
            (record.inherited(true), record.inherited(false)),
            (Some(DmarcPolicy::Quarantine), Some(DmarcPolicy::Reject))
        );
        let plain = parse("v=DMARC1; p=reject");
        assert_eq!(
            (plain.inherited(true), plain.inherited(false)),
            (Some(DmarcPolicy::Reject), Some(DmarcPolicy::Reject))
        );
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for a in 0..=255u8 {
            for b in [0, b';', b'=', b' ', b',', b':', b'!', 0xff] {
                Record::parse(&[b"v=DMARC1;p=none;rua=", &[a, b, a][..]].concat());
                Record::parse(&[b"v=DMARC1;", &[b, a, b, b][..]].concat());
            }
        }
    }
}
