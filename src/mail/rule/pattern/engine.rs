//! Rust's regular expressions, configured to read bytes like a C library.

use regex::bytes::{Regex, RegexBuilder};

use super::InvalidPattern;

/// How much memory in bytes a compiled expression may take.
const LARGEST: usize = 1 << 20;

/// Builds an expression for bytes, letters of ASCII in any case.
pub(super) fn built(rust: &str) -> Result<Regex, InvalidPattern> {
    RegexBuilder::new(rust)
        .unicode(false)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .size_limit(LARGEST)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => InvalidPattern("is too large when its repetitions are expanded".into()),
            other => InvalidPattern(format!("is malformed: {other}")),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_any_byte_and_only_letters_of_ascii_fold() {
        let is_found = |regex: &str, text: &str| built(regex).unwrap().is_match(text.as_bytes());
        assert!(is_found("^a.b$", "A\nB") && is_found("^..$", "ü") && !is_found("ü", "Ü"));
    }
}
