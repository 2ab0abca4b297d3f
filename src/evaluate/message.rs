//! A message as Dovecot reads it: its header fields, and its size.

use super::{address, words};

/// A message; only its header fields and its size are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    fields: Vec<Field>,
    /// In bytes, line ends as they are in the message.
    size: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    /// In lower case.
    name: Vec<u8>,
    /// Its lines, each but the last with `\n` behind it; no blanks before and after.
    value: Vec<u8>,
}

impl Message {
    /// Reads a message with any line ends. Nothing is refused: what is no header field is passed over.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        let mut open: Option<Vec<u8>> = None;
        for line in lines(bytes) {
            if let Some(folded) = open.as_mut().filter(|_| line.first().copied().is_some_and(is_blank)) {
                folded.push(b'\n');
                folded.extend(line);
                continue;
            }
            fields.extend(open.take().as_deref().and_then(field));
            if line.is_empty() {
                break;
            }
            open = Some(line.to_vec());
        }
        fields.extend(open.as_deref().and_then(field));
        Self { fields, size: bytes.len() as u64 }
    }

    /// Whether Mailcow marked it as spam.
    pub fn is_spam(&self) -> bool {
        let is_marked = |value: &[u8]| value.windows(3).any(|part| part.eq_ignore_ascii_case(b"yes"));
        self.decoded("x-spam-flag").any(|value| is_marked(&value))
    }

    /// Whether it has a header field of this name, in lower case.
    pub fn has(&self, name: &str) -> bool {
        self.raw(name).next().is_some()
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The values of the fields of this name, in lower case: unfolded and decoded (RFC 2047).
    pub(super) fn decoded(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        self.raw(name).map(|value| right_trimmed(&words::decoded(&words::unfolded(value))).to_vec())
    }

    /// The values of the fields of this name, in lower case: unfolded, without blanks around, not decoded.
    pub(super) fn raw_lines(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        self.raw(name).map(|value| words::unfolded(value).trim_ascii().to_vec())
    }

    /// What `address` finds in the From fields.
    pub(super) fn senders(&self) -> Vec<address::Found> {
        self.raw("from").flat_map(|value| address::found(right_trimmed(value))).collect()
    }

    fn raw(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |field| field.name == name.as_bytes()).map(|field| field.value.as_slice())
    }
}

/// Lines without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// A field from its lines; `None` when there is no colon in the first.
fn field(lines: &[u8]) -> Option<Field> {
    let first = lines.split(|b| *b == b'\n').next()?;
    let colon = first.iter().position(|b| *b == b':')?;
    let name = right_trimmed(&lines[..colon]).to_ascii_lowercase();
    let value = &lines[colon + 1..];
    let start = value.iter().position(|b| !is_blank(*b)).unwrap_or(value.len());
    Some(Field { name, value: without_nul(&value[start..]) })
}

/// Dovecot shows NUL in a header as U+FFFD.
fn without_nul(value: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = value.split(|b| *b == 0).collect();
    parts.join("\u{fffd}".as_bytes())
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn right_trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|b| !is_blank(*b)).map_or(0, |last| last + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(message: &str) -> Vec<String> {
        let message = Message::parse(message.as_bytes());
        message.decoded("subject").map(|value| String::from_utf8(value).unwrap()).collect()
    }

    #[test]
    fn fields_end_at_the_first_empty_line_whatever_the_line_ends() {
        assert_eq!(subjects("A: b\nSubject: one \t\nSUBJECT : two\n\nSubject: body\n"), ["one", "two"]);
        assert_eq!(subjects("Subject: one\r\n\r\nSubject: body\r\n"), ["one"]);
        assert_eq!(subjects("Subject: one"), ["one"]);
    }

    #[test]
    fn folded_lines_are_one_value_and_a_fold_is_one_blank() {
        assert_eq!(subjects("Subject: one\r\n\ttwo\n  three\n\n"), ["one two  three"]);
        assert_eq!(subjects("Subject:\n one\n\n"), [" one"]);
        assert_eq!(subjects("Subject: one\n \n\n"), ["one"]);
    }

    #[test]
    fn lines_without_a_colon_are_passed_over() {
        assert_eq!(subjects("garbage\nSubject: one\n\n"), ["one"]);
        assert_eq!(subjects("garbage\n folded: x\nSubject:\n\n"), [""]);
    }

    #[test]
    fn a_missing_field_has_no_value_and_the_size_counts_every_byte() {
        let message = Message::parse(b"Subject: one\r\n\r\nbody\n");
        assert!(message.has("subject") && !message.has("from"));
        assert_eq!(message.size(), 21);
    }
}
