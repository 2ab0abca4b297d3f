//! Structured header values with parameters (RFC 2045, section 5.1; RFC 2231): `Content-Type`, `Content-Disposition`
//! and `Content-Transfer-Encoding`.

use super::words;

/// A value and its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Value {
    /// What comes before the first semicolon, in lower case, without comments and blanks.
    pub(super) word: String,
    /// The parameters: names in lower case, values decoded. The first of two with one name counts, and one with `*`
    /// before one without.
    parameters: Vec<(String, String)>,
}

impl Value {
    /// A value without parameters.
    pub(super) fn of(word: &str) -> Self {
        Self { word: word.to_owned(), parameters: Vec::new() }
    }

    /// A parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads an unfolded value.
pub(super) fn value(bytes: &[u8]) -> Value {
    let mut pieces = pieces(bytes).into_iter();
    let word = pieces.next().unwrap_or_default();
    let word: String = String::from_utf8_lossy(&word).split_whitespace().collect::<String>().to_ascii_lowercase();
    Value { word, parameters: parameters(pieces) }
}

/// Parts a value at its semicolons; comments are left out, quotes are taken off.
fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = vec![Vec::new()];
    let mut quoted = false;
    let mut comment = 0_u32;
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        let piece = pieces.last_mut();
        let Some(piece) = piece else { break };
        match byte {
            b'\\' if quoted || comment > 0 => {
                if let Some(next) = rest.next().filter(|_| comment == 0) {
                    // A backslash of a path of Windows stays.
                    if next != b'"' && next != b'\\' {
                        piece.push(b'\\');
                    }
                    piece.push(next);
                }
            }
            b'"' if comment == 0 => quoted = !quoted,
            b'(' if !quoted => comment += 1,
            b')' if !quoted && comment > 0 => comment -= 1,
            b';' if !quoted && comment == 0 => pieces.push(Vec::new()),
            _ if comment > 0 => {}
            _ => piece.push(byte),
        }
    }
    pieces
}

/// A parameter as it was written.
struct Written {
    name: String,
    /// The number of a continuation.
    number: u32,
    /// Whether it is percent-encoded.
    encoded: bool,
    value: Vec<u8>,
}

fn parameters(pieces: impl Iterator<Item = Vec<u8>>) -> Vec<(String, String)> {
    let written: Vec<Written> = pieces.filter_map(|piece| written(&piece)).collect();
    let mut names: Vec<&str> = Vec::new();
    for one in &written {
        if !names.contains(&one.name.as_str()) {
            names.push(&one.name);
        }
    }
    names.into_iter().map(|name| (name.to_owned(), joined(&written, name))).collect()
}

fn written(piece: &[u8]) -> Option<Written> {
    let equals = piece.iter().position(|b| *b == b'=')?;
    let name = std::str::from_utf8(&piece[..equals]).ok()?.trim().to_ascii_lowercase();
    let (name, encoded) = name.strip_suffix('*').map_or((name.as_str(), false), |name| (name, true));
    let (name, number) = match name.split_once('*') {
        Some((name, number)) => (name, number.parse().ok()?),
        None => (name, 0),
    };
    Some(Written { name: name.to_owned(), number, encoded, value: piece[equals + 1..].trim_ascii().to_vec() })
}

/// The value of a parameter: encoded or in several pieces before a plain one, whatever their order.
fn joined(written: &[Written], name: &str) -> String {
    let mut of: Vec<&Written> = written.iter().filter(|one| one.name == name).collect();
    of.sort_by_key(|one| one.number);
    let is_extended = of.iter().any(|one| one.encoded) || of.len() > 1 && of.iter().any(|one| one.number > 0);
    if !is_extended {
        let plain = of.first().map(|one| one.value.as_slice()).unwrap_or_default();
        return words::decode(plain);
    }
    let first_is_double = of.iter().filter(|one| one.number == 0).count() > 1;
    if first_is_double {
        // `filename` and `filename*`, in either order.
        of.retain(|one| one.encoded || one.number > 0);
    }
    let mut charset = String::new();
    let mut bytes = Vec::new();
    for (i, one) in of.iter().enumerate() {
        let mut value = one.value.as_slice();
        if i == 0 && one.encoded {
            let mut parts = value.splitn(3, |b| *b == b'\'');
            if let (Some(label), Some(_), Some(text)) = (parts.next(), parts.next(), parts.next()) {
                charset = String::from_utf8_lossy(label).into_owned();
                value = text;
            }
        }
        if one.encoded { percent_decode(value, &mut bytes) } else { bytes.extend_from_slice(value) }
    }
    words::in_charset(&bytes, &charset)
}

fn percent_decode(value: &[u8], into: &mut Vec<u8>) {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut at = 0;
    while at < value.len() {
        match (value[at], digit(value.get(at + 1)), digit(value.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                into.push(high * 16 + low);
                at += 3;
            }
            (other, ..) => {
                into.push(other);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        let read =
            value(b" Text/Plain (comment; with \"things\") ; Charset=\"utf-8\";format=flowed (why) ; delsp = YES");
        assert_eq!(read.word, "text/plain");
        assert_eq!(read.parameter("charset"), Some("utf-8"));
        assert_eq!(read.parameter("format"), Some("flowed"));
        assert_eq!(read.parameter("delsp"), Some("YES"));
        assert_eq!(value(b" (a comment) base64").word, "base64");
        assert_eq!(value(b"").word, "");
    }

    #[test]
    fn a_parameter_that_was_folded_after_its_equals_sign_is_read() {
        assert_eq!(value(b" multipart/mixed; boundary=\t\"b 1\"").parameter("boundary"), Some("b 1"));
    }

    #[test]
    fn an_encoded_file_name_wins_in_either_order() {
        for text in [
            "attachment; filename=\"x.txt\"; filename*=UTF-8''%e2%82%ac.txt",
            "attachment; filename*=UTF-8''%e2%82%ac.txt; filename=\"x.txt\"",
        ] {
            assert_eq!(value(text.as_bytes()).parameter("filename"), Some("€.txt"), "{text}");
        }
    }

    #[test]
    fn a_name_in_pieces_is_joined() {
        let text = b"attachment; filename*1=\"b%20\"; filename*0*=iso-8859-1'de'%e4; filename*2*=%6b";
        assert_eq!(value(text).parameter("filename"), Some("äb%20k"));
        assert_eq!(value(b"x; filename*0=\"a\"; filename*1=\"b\"").parameter("filename"), Some("ab"));
    }

    #[test]
    fn quotes_protect_and_encoded_words_are_decoded() {
        let read = value(b"attachment; filename=\"a;b \\\"c\\\".txt\"; other=\"=?utf-8?Q?=C3=A4?=\"");
        assert_eq!(read.parameter("filename"), Some("a;b \"c\".txt"));
        assert_eq!(read.parameter("other"), Some("ä"));
        assert_eq!(value(b"x; name=\"C:\\dir\\a.txt\"").parameter("name"), Some("C:\\dir\\a.txt"));
    }
}
