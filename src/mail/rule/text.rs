//! Texts that conditions compare with. They have no control characters, so each fits into a quoted string.

use std::fmt;

/// The longest text in bytes: what a line of a message may hold (RFC 5322, section 2.1.1).
pub const LONGEST_TEXT: usize = 998;

/// Why a text can't be used in a comparison; read after the text itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidText(pub String);

/// A text without control characters, of at most [`LONGEST_TEXT`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(String);

impl Text {
    /// Reads a text; the empty one is a text too.
    ///
    /// # Errors
    /// When it holds a control character or is too long.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            let code = u32::from(control);
            let what = if matches!(control, '\r' | '\n') { "a line break" } else { "a control character" };
            return Err(InvalidText(format!("has {what} (U+{code:04X}), which header values never have")));
        }
        if text.len() > LONGEST_TEXT {
            let long = text.len();
            return Err(InvalidText(format!("has {long} bytes; a line of a message has at most {LONGEST_TEXT}")));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern for a whole value: `*` is any number of bytes, `?` one byte, `\` makes one of `* ? \` literal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(String);

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is no [`Text`], or a backslash stands before something else.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        Text::parse(text)?;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c == '\\' && !chars.next().is_some_and(|next| matches!(next, '*' | '?' | '\\')) {
                let why = r"has a backslash that is not followed by *, ? or \; write \\ for a backslash itself";
                return Err(InvalidText(why.to_owned()));
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The pattern that matches only `text`.
    pub fn literal(text: &Text) -> Self {
        let mut pattern = String::new();
        for c in text.as_str().chars() {
            if matches!(c, '*' | '?' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        Self(pattern)
    }

    /// The pattern itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a header field, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(String);

impl HeaderName {
    /// Reads a name, in any case.
    ///
    /// # Errors
    /// When it is empty, longer than 78 bytes, or holds something but visible ASCII without the colon (RFC 5322).
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let is_name = (1..=78).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if !is_name {
            let why = "is not a header name: write 1 to 78 visible ASCII characters without a colon, such as List-Id";
            return Err(InvalidText(why.to_owned()));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_takes_what_a_script_might_trip_over() {
        for good in ["", "\"; discard; #", "\\", "${1}", "*/", "text:", "ü €", "{}[]"] {
            assert_eq!(Text::parse(good).unwrap().as_str(), good);
        }
        assert!(Text::parse(&"x".repeat(998)).is_ok());
    }

    #[test]
    fn line_breaks_nul_and_other_controls_are_named() {
        for (bad, code) in [("a\rb", "U+000D"), ("a\n", "U+000A"), ("\0", "U+0000"), ("\u{7f}", "U+007F")] {
            assert!(Text::parse(bad).unwrap_err().0.contains(code), "{bad:?}");
        }
        assert!(Text::parse(&"x".repeat(999)).unwrap_err().0.contains("999 bytes"));
    }

    #[test]
    fn a_glob_has_three_escapes() {
        for good in [r"\*\?\\", "[ticket #*] *", "*", ""] {
            assert!(Glob::parse(good).is_ok(), "{good}");
        }
        for bad in [r"\d", r"a\", r"\\\"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Glob::literal(&Text::parse(r"a*b?\").unwrap()).as_str(), r"a\*b\?\\");
    }

    #[test]
    fn header_names_are_lower_case_without_colon_or_blank() {
        assert_eq!(HeaderName::parse("List-Id").unwrap().as_str(), "list-id");
        for bad in ["", "a:", "a b", "ü", "a\n", &"x".repeat(79)] {
            assert!(HeaderName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
