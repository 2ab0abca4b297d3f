//! An SPF record's terms (RFC 7208, sections 4.5, 4.6.1 and 12).

use super::super::characters::unexpected;
use super::macros::MacroString;
use super::mechanism::Mechanism;
use super::result::SpfResult;

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The mechanisms with their qualifiers, in order.
    pub(super) directives: Vec<Directive>,
    /// Where to go on when none matches.
    pub(super) redirect: Option<MacroString>,
    /// Where the explanation of a `fail` stands.
    pub(super) explanation: Option<MacroString>,
}

/// A mechanism and the result of its match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// The result when it matches.
    pub(super) result: SpfResult,
    /// The mechanism.
    pub(super) mechanism: Mechanism,
    /// The text as it stands in the record.
    pub(super) text: String,
}

/// Whether a text is an SPF record: `v=spf1` in any case, then a blank or the end (section 4.5).
pub(super) fn is_record(text: &[u8]) -> bool {
    match text.split_at_checked(6) {
        Some((version, rest)) => {
            version.eq_ignore_ascii_case(b"v=spf1") && rest.first().is_none_or(|byte| *byte == b' ')
        }
        None => false,
    }
}

impl Record {
    /// Reads a text that [`is_record`].
    ///
    /// # Errors
    /// The term and what is wrong with it, in words.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        if let Some(problem) = unexpected(text, |byte| matches!(byte, 0x20..=0x7e)) {
            return Err(problem);
        }
        let text = String::from_utf8_lossy(text);
        let mut record = Self::default();
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            record.push(term).map_err(|problem| format!("the term {term:?} is malformed: {problem}"))?;
        }
        Ok(record)
    }

    fn push(&mut self, term: &str) -> Result<(), String> {
        if let Some((name, value)) = term.split_once('=').filter(|(name, _)| !name.contains([':', '/'])) {
            return self.modifier(name, value);
        }
        self.directives.push(Directive::parse(term)?);
        Ok(())
    }

    fn modifier(&mut self, name: &str, value: &str) -> Result<(), String> {
        let slot = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.explanation,
            _ => return unknown_modifier(name, value),
        };
        if slot.is_some() {
            return Err(format!("{name}= is in the record twice"));
        }
        *slot = Some(MacroString::domain(value)?);
        Ok(())
    }

    /// The qualifier's result of the first `all`.
    pub(super) fn catch_all(&self) -> Option<SpfResult> {
        let all = self.directives.iter().find(|directive| directive.mechanism == Mechanism::All)?;
        Some(all.result)
    }
}

/// Two terms of a record that have become one, because a text was split into strings at the blank between them: strings
/// are joined with nothing between (RFC 7208, section 3.3).
pub(super) fn lost_blank(text: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(text);
    text.split(' ').find_map(|term| {
        let own = term.find([':', '=']).map_or(0, |place| place + 1);
        let starts = ["include:", "ip4:", "ip6:", "exists:", "ptr:", "redirect=", "exp=", "mx:", "a:"];
        let ends = ["-all", "~all", "?all", "+all"];
        let rest = term.get(own..).unwrap_or_default();
        // In a name an a or mx would be a letter of it; a colon is not, but in an IPv6 address is.
        let named = starts.iter().filter(|start| own > 0 && !(start.len() < 4 && term.starts_with("ip6:")));
        let begun = named.filter_map(|start| rest.to_ascii_lowercase().find(start)).filter(|place| *place > 0).min();
        let ended = ends.iter().any(|end| term.to_ascii_lowercase().ends_with(end) && term.len() > end.len());
        let ended = ended.then(|| term.len() - 4);
        let place = begun.map(|place| own + place).or(ended)?;
        Some((term.get(..place)?.to_owned(), term.get(place..)?.to_owned()))
    })
}

fn unknown_modifier(name: &str, value: &str) -> Result<(), String> {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !letters || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err(format!("{name:?} is not the name of a modifier"));
    }
    MacroString::parse(value, false).map(drop)
}

impl Directive {
    fn parse(term: &str) -> Result<Self, String> {
        let (result, rest) = match term.chars().next() {
            Some('+') => (SpfResult::Pass, &term[1..]),
            Some('-') => (SpfResult::Fail, &term[1..]),
            Some('~') => (SpfResult::SoftFail, &term[1..]),
            Some('?') => (SpfResult::Neutral, &term[1..]),
            _ => (SpfResult::Pass, term),
        };
        Ok(Self { result, mechanism: Mechanism::parse(rest)?, text: term.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_followed_by_a_blank_or_the_end() {
        for good in ["v=spf1", "V=SPF1 -all", "v=spf1 "] {
            assert!(is_record(good.as_bytes()), "{good}");
        }
        for bad in ["v=spf10", "v=spf1;", "v=spf", " v=spf1", "\"v=spf1", ""] {
            assert!(!is_record(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn terms_are_read_in_order() {
        let record = Record::parse(b"v=spf1  mx ~a:e.com ?all redirect=e.com x-y.z_1=%{d} exp=x.e.com ").unwrap();
        let texts = record.directives.iter().map(|directive| directive.text.as_str()).collect::<Vec<_>>();
        assert_eq!(texts, ["mx", "~a:e.com", "?all"]);
        assert_eq!(record.catch_all(), Some(SpfResult::Neutral));
        assert!(record.redirect.is_some() && record.explanation.is_some());
    }

    #[test]
    fn an_error_anywhere_spoils_the_record() {
        for bad in [
            "v=spf1 -all moo",
            "v=spf1 redirect=e.com redirect=e.com",
            "v=spf1 exp=",
            "v=spf1 =all",
            "v=spf1 1up=foo",
            "v=spf1 redirect:e.com",
            "v=spf1 -x=y",
            "v=spf1 a\tmx",
            "v=spf1 \u{e4}",
            "v=spf1 x=%abc",
            "v=spf1 a/b=c",
        ] {
            assert!(Record::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_blank_that_was_lost_between_strings_is_found() {
        for (text, before, after) in [
            ("v=spf1 include:a.testinclude:b.test -all", "include:a.test", "include:b.test"),
            ("v=spf1 ip4:192.0.2.1ip4:192.0.2.2 -all", "ip4:192.0.2.1", "ip4:192.0.2.2"),
            ("v=spf1 ip6:2001:db8::1include:a.test -all", "ip6:2001:db8::1", "include:a.test"),
            ("v=spf1 include:a.test-all", "include:a.test", "-all"),
            ("v=spf1 mx~all", "mx", "~all"),
            ("v=spf1 a:b.testmx:c.test ?all", "a:b.test", "mx:c.test"),
            ("v=spf1 mx redirect=a.testexp=b.test", "redirect=a.test", "exp=b.test"),
        ] {
            assert_eq!(lost_blank(text.as_bytes()), Some((before.to_owned(), after.to_owned())), "{text}");
        }
        for good in [
            "v=spf1 mx a:b.test include:_spf.include.test ip4:192.0.2.1/24 ip6:2001:db8::a:1 ip6:::1 -all",
            "v=spf1 exists:%{i}.a.test redirect=_spf.a.test",
            "v=spf1 +all",
        ] {
            assert_eq!(lost_blank(good.as_bytes()), None, "{good}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let pieces =
            ["v=spf1 ", "a", ":", "/", "//", "%", "{", "}", "d", "9", ".", "=", "-", "\u{e4}", "ip4:", "\0", " "];
        let pairs = pieces.iter().flat_map(|a| pieces.iter().map(move |b| format!("{a}{b}"))).collect::<Vec<_>>();
        for a in &pairs {
            for b in &pairs {
                drop(Record::parse(format!("v=spf1 {a}{b}").as_bytes()));
                drop(lost_blank(format!("{a}{b}").as_bytes()));
            }
        }
    }
}
