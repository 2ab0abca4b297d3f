//! What is said about one row.

use super::answer::{Answer, Mx, Outcome};
use super::wanted::{Wanted, expected_values};
use crate::crd::{DnsRecordKind, DnsSource, DnsVerdict, DnsWarning};

/// At most this many values are shown.
const SHOWN_VALUES: usize = 16;
/// At most this many bytes of a value are shown.
const SHOWN_BYTES: usize = 1024;

/// What one check found about one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Which row.
    pub kind: DnsRecordKind,
    /// The name the record stands at.
    pub name: String,
    /// The verdict.
    pub verdict: DnsVerdict,
    /// Values that would be right, as they stand in a zone.
    pub expected: Vec<String>,
    /// Values that were seen, as they stand in a zone; long ones are cut.
    pub observed: Vec<String>,
    /// What is allowed but better otherwise, and what was odd on the way.
    pub warnings: Vec<DnsWarning>,
    /// The verdict in words.
    pub message: String,
    /// What to change.
    pub hint: Option<String>,
    /// Who answered.
    pub source: DnsSource,
}

impl Verdict {
    /// A verdict about a row, from the answer it stands on.
    pub(super) fn new(wanted: &Wanted, kind: DnsRecordKind, name: &str, answer: &Answer) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            verdict: DnsVerdict::TempError,
            expected: expected_values(wanted, kind),
            observed: shown(&answer.outcome),
            warnings: answer.notes.clone(),
            message: String::new(),
            hint: None,
            source: answer.source,
        }
    }

    /// The same with this verdict.
    pub(super) fn found(mut self, verdict: DnsVerdict, message: impl Into<String>) -> Self {
        self.verdict = verdict;
        self.message = message.into();
        self
    }

    /// The same with a hint, if there is one.
    pub(super) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// The same with a warning.
    pub(super) fn warn(mut self, reason: &str, message: impl Into<String>) -> Self {
        self.warnings.push(warning(reason, message));
        self
    }

    /// The same with these values as seen.
    pub(super) fn observed<'a>(mut self, texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        self.observed = texts.into_iter().take(SHOWN_VALUES).map(shown_text).collect();
        self
    }

    /// A verdict when a lookup gave no answer.
    pub(super) fn failed(self, name: &str, why: &str) -> Self {
        self.found(DnsVerdict::TempError, format!("no answer about {name}: {why}"))
    }

    /// The verdict for an answer that holds no records of the type; `None` when it holds some.
    pub(super) fn without_records(&self, answer: &Answer) -> Option<Self> {
        let verdict = self.clone();
        match &answer.outcome {
            Outcome::Failed(why) => Some(verdict.failed(&self.name, why)),
            Outcome::AliasLoop => {
                let message = format!("the aliases (CNAME) at {} go in a circle or are more than 8", self.name);
                Some(verdict.found(DnsVerdict::Invalid, message))
            }
            _ => None,
        }
    }
}

/// A warning.
pub(super) fn warning(reason: &str, message: impl Into<String>) -> DnsWarning {
    DnsWarning { reason: reason.to_owned(), message: message.into() }
}

/// How bad a verdict is, to tell which of several views counts.
pub(super) fn severity(verdict: DnsVerdict) -> u8 {
    match verdict {
        DnsVerdict::Verified => 0,
        DnsVerdict::TempError => 1,
        DnsVerdict::Missing => 2,
        DnsVerdict::Mismatch => 3,
        DnsVerdict::Multiple => 4,
        DnsVerdict::Invalid => 5,
    }
}

/// The values of an answer, as they stand in a zone.
pub(super) fn shown(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Addresses(ips) => ips.iter().take(SHOWN_VALUES).map(ToString::to_string).collect(),
        Outcome::Mx(all) => all.iter().take(SHOWN_VALUES).map(shown_mx).collect(),
        Outcome::Names(names) => names.iter().take(SHOWN_VALUES).map(|name| format!("{name}.")).collect(),
        Outcome::Txt(texts) => texts.iter().take(SHOWN_VALUES).map(|text| shown_text(text)).collect(),
        Outcome::NoData | Outcome::NxDomain | Outcome::AliasLoop | Outcome::Failed(_) => Vec::new(),
    }
}

fn shown_mx(mx: &Mx) -> String {
    format!("{} {}.", mx.preference, mx.exchange)
}

fn shown_text(text: &[u8]) -> String {
    match text.get(..SHOWN_BYTES) {
        Some(start) if text.len() > SHOWN_BYTES => format!("{} … ({} bytes in all)", quoted(start), text.len()),
        _ => quoted(text),
    }
}

/// A text as it stands in a zone file: quoted strings of at most 255 bytes, `\"`, `\\` and `\ddd` for what is not
/// printable ASCII (RFC 1035, section 5.1).
pub(super) fn quoted(text: &[u8]) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let pieces =
        text.chunks(255).map(|piece| format!("\"{}\"", piece.iter().copied().map(escaped).collect::<String>()));
    pieces.collect::<Vec<_>>().join(" ")
}

fn escaped(byte: u8) -> String {
    match byte {
        b'"' | b'\\' => format!("\\{}", char::from(byte)),
        0x20..=0x7e => char::from(byte).to_string(),
        _ => format!("\\{byte:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_shown_as_in_a_zone() {
        assert_eq!(quoted(b"a \"b\" \\ \xc3\xa4"), r#""a \"b\" \\ \195\164""#);
        assert_eq!(quoted(b""), "\"\"");
        assert_eq!(quoted(&[b'x'; 256]), format!("\"{}\" \"x\"", "x".repeat(255)));
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let texts = vec![vec![b'a'; 65_000]; 40];
        let shown = shown(&Outcome::Txt(texts));
        assert_eq!(shown.len(), SHOWN_VALUES);
        assert!(shown[0].len() < 1100 && shown[0].ends_with("(65000 bytes in all)"), "{}", shown[0]);
    }
}
