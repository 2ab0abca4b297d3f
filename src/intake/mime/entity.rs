//! The parts of a message (RFC 2046): where each header and body begins and ends.
//!
//! The structure is read here and not by a library, because each library that was tried loses parts or bodies on mail
//! that people really send (folded parameters, comments, text after an attachment).

use super::parameters::{Value, value};

/// How deep parts may be nested.
pub(super) const MOST_DEPTH: usize = 20;
/// How many parts a message may have.
pub(super) const MOST_PARTS: usize = 500;
/// How many header fields of a part are read.
const MOST_FIELDS: usize = 2_000;

/// A header field as it was sent, unfolded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// Its name as it was written.
    pub(super) name: &'a str,
    /// Its value without line breaks, in the bytes of the message.
    pub(super) value: Vec<u8>,
}

/// A part: header and body.
#[derive(Clone, Debug)]
pub(super) struct Entity<'a> {
    /// The header fields, in order.
    pub(super) fields: Vec<Field<'a>>,
    /// What follows the empty line.
    pub(super) body: &'a [u8],
}

impl<'a> Entity<'a> {
    /// Splits header and body.
    pub(super) fn read(bytes: &'a [u8]) -> Self {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut rest = bytes;
        loop {
            let (line, after) = split_line(rest);
            if line.is_empty() {
                // The empty line, or the end of the message.
                return Self { fields, body: after };
            }
            rest = after;
            if line[0] == b' ' || line[0] == b'\t' {
                if let Some(field) = fields.last_mut() {
                    field.value.extend_from_slice(line);
                }
            } else if let Some((name, value)) = name_and_value(line)
                && fields.len() < MOST_FIELDS
            {
                fields.push(Field { name, value: value.to_vec() });
            }
        }
    }

    /// The first field with this name.
    pub(super) fn field(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The content type; text/plain when there is none or it can't be read (RFC 2045, section 5.2).
    pub(super) fn content_type(&self) -> Value {
        let read = self.field("content-type").map(|field| value(&field.value));
        read.filter(|read| read.word.contains('/')).unwrap_or_else(|| Value::of("text/plain"))
    }

    /// The content disposition.
    pub(super) fn disposition(&self) -> Value {
        self.field("content-disposition").map(|field| value(&field.value)).unwrap_or_default()
    }

    /// The transfer encoding, without comments, in lower case.
    pub(super) fn transfer_encoding(&self) -> String {
        self.field("content-transfer-encoding").map(|field| value(&field.value).word).unwrap_or_default()
    }
}

/// The first line without its end, and what follows it.
pub(super) fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return (bytes, &[]) };
    let line = &bytes[..end];
    (line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..])
}

fn name_and_value(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?.trim_end();
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    is_name.then_some((name, &line[colon + 1..]))
}

/// The bodies between the lines of a boundary (RFC 2046, section 5.1). A missing last line is forgiven.
pub(super) fn between<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut start = None;
    let mut at = 0;
    while at < body.len() && parts.len() < MOST_PARTS {
        let (line, after) = split_line(&body[at..]);
        let next = body.len() - after.len();
        if let Some(end) = is_boundary(line, boundary) {
            if let Some(start) = start {
                parts.push(without_last_break(&body[start..at]));
            }
            start = (!end).then_some(next);
            if end {
                return parts;
            }
        }
        at = next;
    }
    if let Some(start) = start {
        parts.push(without_last_break(&body[start.min(body.len())..]));
    }
    parts
}

/// Whether a line is the boundary, and whether it is the last one.
fn is_boundary(line: &[u8], boundary: &str) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary.as_bytes())?;
    let rest = rest.trim_ascii_end();
    match rest {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

fn without_last_break(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_body_are_parted_by_the_first_empty_line() {
        let entity = Entity::read(b"From x@y Sat\r\nSubject: a\r\n b\r\nTo : c\nbroken line\r\n\r\nbody\r\n\r\nmore");
        let names: Vec<&str> = entity.fields.iter().map(|field| field.name).collect();
        assert_eq!(names, ["Subject", "To"]);
        assert_eq!(entity.fields[0].value, b" a b");
        assert_eq!(entity.body, b"body\r\n\r\nmore");
        assert_eq!(Entity::read(b"Subject: only").body, b"");
        assert!(Entity::read(b"").fields.is_empty());
    }

    #[test]
    fn parts_are_between_boundaries() {
        let body = b"preamble\r\n--ab \r\none\r\n--a\r\n--abc\r\n--ab\r\n\r\ntwo\r\n--ab--\r\nepilogue";
        assert_eq!(between(body, "ab"), [b"one\r\n--a\r\n--abc".as_slice(), b"\r\ntwo"]);
        assert_eq!(between(b"--ab\r\nno end\r\n", "ab"), [b"no end".as_slice()]);
        assert!(between(b"nothing", "ab").is_empty());
        assert!(between(&b"--b\n".repeat(100_000), "b").len() <= MOST_PARTS + 1);
    }
}
