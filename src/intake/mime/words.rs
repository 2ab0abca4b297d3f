//! Texts of header fields: charsets, encoded words (RFC 2047), addresses and dates. mail-parser reads one unfolded value
//! at a time, so that what it gets wrong can't reach another field; its panics are caught.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, Address, DateTime, HeaderValue};

use super::Person;

/// At most this many addresses of a field are read.
const MOST_ADDRESSES: usize = 200;

/// Runs a library that may panic on hostile mail.
pub(super) fn caught<T>(read: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(read)).ok().flatten()
}

/// Bytes in a charset. Without a charset, or with one that nobody knows: UTF-8, or Windows-1252 when it is not valid.
pub(super) fn in_charset(bytes: &[u8], label: &str) -> String {
    let label = label.trim();
    let known = Encoding::for_label(label.as_bytes());
    if let Some(encoding) = known
        && !(encoding == UTF_8 || label.eq_ignore_ascii_case("us-ascii"))
    {
        return encoding.decode(bytes).0.into_owned();
    }
    let other =
        if known.is_none() && !label.is_empty() && label.len() < 45 { charset_decoder(label.as_bytes()) } else { None };
    if let Some(text) = other.and_then(|decode| caught(|| Some(decode(bytes)))) {
        return text;
    }
    let (text, _, is_broken) = UTF_8.decode(bytes);
    if is_broken && !label.eq_ignore_ascii_case("utf-8") {
        return WINDOWS_1252.decode(bytes).0.into_owned();
    }
    text.into_owned()
}

/// An unstructured value: encoded words decoded, control characters taken out, blanks around it too.
pub(super) fn decode(value: &[u8]) -> String {
    let plain = in_charset(value, "");
    if !plain.contains("=?") {
        return clean(&plain);
    }
    let line = line(&plain);
    let decoded = caught(|| match MessageStream::new(line.as_bytes()).parse_unstructured() {
        HeaderValue::Text(text) => Some(text.into_owned()),
        _ => None,
    });
    clean(&decoded.unwrap_or(plain))
}

/// A value as a line that the library reads to its end.
fn line(text: &str) -> String {
    format!("{}\n", clean(text))
}

/// Without control characters; a line break or a tab becomes a blank.
fn clean(text: &str) -> String {
    let kept = text.chars().filter_map(|c| match c {
        '\r' => None,
        '\n' | '\t' => Some(' '),
        c if c.is_control() => None,
        c => Some(c),
    });
    kept.collect::<String>().trim().to_owned()
}

/// The addresses of a value. What can't be read is left out; the raw field goes along anyway.
pub(super) fn addresses(value: &[u8]) -> Vec<Person> {
    let line = line(&in_charset(value, ""));
    let read = caught(|| match MessageStream::new(line.as_bytes()).parse_address().into_owned() {
        HeaderValue::Address(address) => Some(address),
        _ => None,
    });
    let all: Vec<Addr<'static>> = match read {
        Some(Address::List(list)) => list,
        Some(Address::Group(groups)) => groups.into_iter().flat_map(|group| group.addresses).collect(),
        None => Vec::new(),
    };
    all.into_iter().filter_map(person).take(MOST_ADDRESSES).collect()
}

fn person(read: Addr<'_>) -> Option<Person> {
    let text = |text: Option<Cow<'_, str>>| text.map(|text| clean(&text)).unwrap_or_default();
    let email = text(read.address);
    let is_address = email.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    (is_address && !email.contains(char::is_whitespace)).then(|| Person { name: text(read.name), email })
}

/// A date, in seconds since 1970; `None` when it can't be read or is no date of a calendar.
pub(super) fn date(value: &[u8]) -> Option<i64> {
    let text = clean(&in_charset(value, ""));
    // The military zone Z (RFC 5322, section 4.3), and what follows a comment.
    let text = text.split('(').next().unwrap_or_default().trim().to_owned();
    let text = text.strip_suffix(['Z', 'z']).map_or(text.clone(), |rest| format!("{} +0000", rest.trim_end()));
    caught(|| DateTime::parse_rfc822(&text).filter(DateTime::is_valid).map(|date| date.to_timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        addresses(text.as_bytes()).into_iter().map(|person| (person.name, person.email)).collect()
    }

    #[test]
    fn words_are_decoded() {
        assert_eq!(decode(b" =?utf-8?Q?caf=C3=A9?=  =?utf-8?B?IQ==?= x"), "café! x");
        assert_eq!(decode(b" plain\ttext "), "plain text");
        assert_eq!(decode("grüße".as_bytes()), "grüße");
        assert_eq!(decode(b"gr\xfc\xdfe"), "grüße");
        assert_eq!(decode(b"=?gb18030?B?xOO6ww==?="), "你好");
        assert_eq!(decode(b"=?iso-2022-jp?B?GyRCJDMkcyRLJEEkTxsoQg==?="), "こんにちは");
        assert_eq!(decode(b"a\0b"), "ab");
    }

    #[test]
    fn addresses_are_read() {
        assert_eq!(
            read("Ada <ada@example.com>, bob@example.net"),
            [("Ada".to_owned(), "ada@example.com".to_owned()), (String::new(), "bob@example.net".to_owned())]
        );
        assert_eq!(read("Team: a@b.c, d@e.f;").len(), 2);
        assert_eq!(read("=?utf-8?Q?=C3=84da?= <a@b.c>"), [("Äda".to_owned(), "a@b.c".to_owned())]);
    }

    #[test]
    fn an_address_without_local_part_is_not_read() {
        for text in ["@example.net", "\"jo doe\"@example.net", "nobody", "", "<>"] {
            assert_eq!(read(text), [], "{text}");
        }
    }

    #[test]
    fn dates_are_read_or_left_out() {
        assert_eq!(date(b"Sat, 28 Nov 2026 12:00:00 +0100"), Some(1_795_863_600));
        assert_eq!(date(b"Sat, 28 Nov 2026 11:00:00 Z"), Some(1_795_863_600));
        assert_eq!(date(b"28 Nov 2026 11:00:00 GMT (really)"), Some(1_795_863_600));
        for bad in ["", "yesterday", "Sat, 99 Nov 2026 12:00:00 +0100"] {
            assert_eq!(date(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn charsets_are_known_or_guessed() {
        assert_eq!(in_charset(b"\xe4", "iso-8859-1"), "ä");
        assert_eq!(in_charset("ä".as_bytes(), ""), "ä");
        assert_eq!(in_charset(b"\xe4", "nonsense"), "ä");
        assert_eq!(in_charset(b"\xa4\xb3", "euc-jp"), "こ");
        assert_eq!(in_charset(b"\xb0\xa1", "ks_c_5601-1987"), "가");
    }
}
