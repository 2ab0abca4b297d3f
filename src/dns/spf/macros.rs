//! Macro strings (RFC 7208, section 7).

use std::net::IpAddr;

use super::super::name;

/// A text with macros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MacroString(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Expand(Macro),
}

/// `%{letter digits r delimiters}`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Macro {
    letter: char,
    escape: bool,
    keep: Option<usize>,
    reverse: bool,
    delimiters: String,
}

/// What macros expand to.
#[derive(Clone, Debug)]
pub(super) struct Values<'a> {
    /// The part of the sender before the `@`.
    pub(super) local: &'a str,
    /// The part of the sender after the `@`.
    pub(super) sender_domain: &'a str,
    /// The domain whose record is evaluated.
    pub(super) domain: &'a str,
    /// The name in HELO or EHLO.
    pub(super) helo: &'a str,
    /// The client's address.
    pub(super) ip: IpAddr,
    /// The validated name of the address; `unknown` when there is none.
    pub(super) validated: &'a str,
}

impl MacroString {
    /// Reads a macro string; `explaining` also allows blanks and the letters `c`, `r` and `t` (section 7.2).
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &str, explaining: bool) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (part, after) = match first {
                '%' => percent(rest, explaining)?,
                ' ' if explaining => (Part::Literal(" ".to_owned()), &rest[1..]),
                _ if first.is_ascii_graphic() => literal(rest),
                _ => return Err(format!("the character {first:?} is not allowed")),
            };
            parts.push(part);
            rest = after;
        }
        Ok(Self(parts))
    }

    /// Reads a domain-spec: it ends in a macro or in a dot and a top label (section 7.1).
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn domain(text: &str) -> Result<Self, String> {
        let parsed = Self::parse(text, false)?;
        let escaped = ["%%", "%_", "%-"].iter().any(|end| text.ends_with(end));
        let ends_well = match parsed.0.last() {
            None => return Err("the domain is empty".to_owned()),
            Some(Part::Expand(_)) => true,
            Some(Part::Literal(_)) if escaped => true,
            Some(Part::Literal(end)) => ends_in_top_label(end),
        };
        if ends_well { Ok(parsed) } else { Err(format!("{text:?} is not a domain name")) }
    }

    /// Whether the letter stands in it; `p` costs lookups.
    pub(super) fn uses(&self, letter: char) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Expand(found) if found.letter == letter))
    }

    /// The text when it has no macros.
    pub(super) fn plain(&self) -> Option<String> {
        let literals = self.0.iter().map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Expand(_) => None,
        });
        literals.collect()
    }

    /// The text with its macros expanded.
    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let pieces = self.0.iter().map(|part| match part {
            Part::Literal(text) => text.clone(),
            Part::Expand(expansion) => expansion.expand(values),
        });
        pieces.collect()
    }

    /// The same as a name to ask, cut from the left to 253 bytes (section 7.3).
    pub(super) fn expand_name(&self, values: &Values<'_>) -> String {
        let expanded = name::canonical(&self.expand(values));
        let mut rest = expanded.as_str();
        while rest.len() > 253 && rest.contains('.') {
            rest = name::parent(rest);
        }
        rest.to_owned()
    }
}

fn literal(rest: &str) -> (Part, &str) {
    let end = rest.find(|c: char| c == '%' || !c.is_ascii_graphic()).unwrap_or(rest.len());
    let (text, after) = rest.split_at(end);
    (Part::Literal(text.to_owned()), after)
}

fn percent(rest: &str, explaining: bool) -> Result<(Part, &str), String> {
    for (escape, text) in [("%%", "%"), ("%_", " "), ("%-", "%20")] {
        if let Some(after) = rest.strip_prefix(escape) {
            return Ok((Part::Literal(text.to_owned()), after));
        }
    }
    let inner = rest.strip_prefix("%{").and_then(|inner| inner.split_once('}'));
    let (body, after) = inner.ok_or("% must be followed by {…}, %, _ or -")?;
    Ok((Part::Expand(Macro::parse(body, explaining)?), after))
}

/// `"." toplabel ["."]` at the end: letters, digits and hyphens inside, not only digits.
fn ends_in_top_label(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, label)) = text.rsplit_once('.') else { return false };
    let edges = label.starts_with(|c: char| c.is_ascii_alphanumeric()) && !label.ends_with('-');
    let inside = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    edges && inside && !label.bytes().all(|b| b.is_ascii_digit())
}

impl Macro {
    fn parse(body: &str, explaining: bool) -> Result<Self, String> {
        let bad = || format!("%{{{body}}} is not a macro");
        let mut chars = body.chars();
        let first = chars.next().ok_or_else(bad)?;
        let letter = first.to_ascii_lowercase();
        if !("slodipvh".contains(letter) || explaining && "crt".contains(letter)) {
            return Err(bad());
        }
        let rest = chars.as_str();
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, rest) = rest.split_at(digits);
        let keep = if digits.is_empty() { None } else { Some(digits.parse().unwrap_or(usize::MAX)) };
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(after) => (true, after),
            None => (false, rest),
        };
        if keep == Some(0) || !delimiters.chars().all(|c| ".-+,/_=".contains(c)) {
            return Err(bad());
        }
        Ok(Self { letter, escape: first.is_ascii_uppercase(), keep, reverse, delimiters: delimiters.to_owned() })
    }

    fn expand(&self, values: &Values<'_>) -> String {
        let value = self.value(values);
        let transformed = self.transform(&value);
        if self.escape { escaped(&transformed) } else { transformed }
    }

    fn value(&self, values: &Values<'_>) -> String {
        match self.letter {
            's' => format!("{}@{}", values.local, values.sender_domain),
            'l' => values.local.to_owned(),
            'o' => values.sender_domain.to_owned(),
            'd' => values.domain.to_owned(),
            'i' => name::dotted(values.ip),
            'p' => values.validated.to_owned(),
            'v' => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => values.helo.to_owned(),
            'c' => values.ip.to_string(),
            't' => "0".to_owned(),
            _ => "unknown".to_owned(),
        }
    }

    fn transform(&self, value: &str) -> String {
        if !self.reverse && self.keep.is_none() && self.delimiters.is_empty() {
            return value.to_owned();
        }
        let delimiters = if self.delimiters.is_empty() { "." } else { &self.delimiters };
        let mut parts = value.split(|c| delimiters.contains(c)).collect::<Vec<_>>();
        if self.reverse {
            parts.reverse();
        }
        let skipped = parts.len().saturating_sub(self.keep.unwrap_or(parts.len()));
        parts.split_off(skipped).join(".")
    }
}

/// Percent-encoding of all but the unreserved characters (RFC 3986, section 2.3).
fn escaped(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str, ip: &str) -> String {
        let values = Values {
            local: "strong-bad",
            sender_domain: "email.example.com",
            domain: "email.example.com",
            helo: "mx.example.org",
            ip: ip.parse().unwrap(),
            validated: "mx.example.org",
        };
        MacroString::parse(text, true).unwrap().expand(&values)
    }

    #[test]
    fn macros_expand_as_in_section_7_4() {
        for (text, expanded) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l-}", "strong.bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("a%%b%_c%-d", "a%b c%20d"),
            ("%{S}", "strong-bad%40email.example.com"),
            ("%{c} %{r} %{t}", "192.0.2.3 unknown 0"),
        ] {
            assert_eq!(expand(text, "192.0.2.3"), expanded, "{text}");
        }
        let v6 = expand("%{ir}.%{v}", "2001:db8::cb01");
        assert_eq!(v6, "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6");
    }

    #[test]
    fn malformed_macros_are_refused() {
        for bad in ["%", "%x", "%{", "%{}", "%{z}", "%{d0}", "%{d2x}", "%{d", "%{c}", "a b", "\u{e4}", "\0"] {
            assert!(MacroString::parse(bad, false).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_domain_ends_in_a_macro_or_a_top_label() {
        for good in ["a.example", "a.example.", "%{d}", "x%{d}", "%{d}.com", "a.xn--zckzah", "a.1-2", "a%%"] {
            assert!(MacroString::domain(good).is_ok(), "{good}");
        }
        for bad in ["", "museum", "museum.", "a.123", "a.-com", "a.com-", "a.com:80", "%{d}com", "a..", "-all"] {
            assert!(MacroString::domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_name_is_cut_from_the_left() {
        let long = "a".repeat(60);
        let values = Values {
            local: "l",
            sender_domain: "o",
            domain: "d",
            helo: &format!("{long}.{long}.{long}.{long}.example.com"),
            ip: "192.0.2.1".parse().unwrap(),
            validated: "unknown",
        };
        let name = MacroString::domain("x.%{h}").unwrap().expand_name(&values);
        assert!(name.len() <= 253 && name.ends_with(".example.com") && !name.starts_with("x."), "{name}");
    }
}
