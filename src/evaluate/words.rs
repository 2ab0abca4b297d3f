//! Header values as text: folds become blanks, encoded words (RFC 2047) what they stand for.
//!
//! A word in a character set that is not known stays as the bytes it holds, here and in Dovecot.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::charsets;

/// Takes what is there: a last letter may have bits that mean nothing.
const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// One line: each fold, with the blank after it, becomes one blank.
pub(super) fn unfolded(value: &[u8]) -> Vec<u8> {
    let mut lines = value.split(|b| *b == b'\n');
    let mut text = lines.next().unwrap_or_default().to_vec();
    for line in lines {
        text.push(b' ');
        text.extend(line.get(1..).unwrap_or_default());
    }
    text
}

/// The text with its encoded words decoded; blanks between two of them go away. What is no UTF-8 becomes U+FFFD.
pub(super) fn decoded(line: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let (mut plain, mut at) = (0, 0);
    while at + 1 < line.len() {
        if !line[at..].starts_with(b"=?") {
            at += 1;
            continue;
        }
        if !line[plain..at].iter().all(|b| b" \t\r\n".contains(b)) {
            text.extend(utf8(&line[plain..at]));
        }
        plain = at;
        at += 2;
        if let Some((word, length)) = Word::at(&line[at..]) {
            text.extend(word.text());
            at += length;
            plain = at;
        }
    }
    text.extend(utf8(&line[plain..]));
    for byte in &mut text {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    text
}

/// An encoded word: `=?charset?encoding?text?=`.
struct Word<'a> {
    charset: &'a [u8],
    is_base64: bool,
    text: &'a [u8],
}

impl<'a> Word<'a> {
    /// Reads the word whose `=?` is gone, with how long it is; blanks may be in it. `None` when it is malformed.
    fn at(rest: &'a [u8]) -> Option<(Self, usize)> {
        let mut marks = rest.iter().enumerate().filter(|(_, b)| **b == b'?').map(|(i, _)| i);
        let (first, second, third) = (marks.next()?, marks.next()?, marks.next()?);
        if rest.get(third + 1) != Some(&b'=') {
            return None;
        }
        let is_base64 = match rest[first + 1] {
            b'q' | b'Q' => false,
            b'b' | b'B' => true,
            _ => return None,
        };
        Some((Self { charset: &rest[..first], is_base64, text: &rest[second + 1..third] }, third + 2))
    }

    fn text(&self) -> Vec<u8> {
        let bytes = if self.is_base64 { unbased(self.text) } else { unquoted(self.text) };
        in_utf8(self.charset, &bytes)
    }
}

/// Base64, as far as it is sound.
fn unbased(text: &[u8]) -> Vec<u8> {
    let letters = text.iter().filter(|b| !b" \t\r\n".contains(b));
    let is_letter = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'+' || **b == b'/';
    let mut sound: Vec<u8> = letters.take_while(is_letter).copied().collect();
    if sound.len() % 4 == 1 {
        sound.pop();
    }
    FORGIVING.decode(&sound).unwrap_or_default()
}

/// The Q encoding; a `=` without two hexadecimal digits stays.
fn unquoted(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, hex(after)) {
            (b'_', _) => bytes.push(b' '),
            (b'=', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (other, _) => bytes.push(*other),
        }
    }
    bytes
}

fn hex(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn in_utf8(charset: &[u8], bytes: &[u8]) -> Vec<u8> {
    let is = |name: &str| charset.eq_ignore_ascii_case(name.as_bytes());
    if ["us-ascii", "ascii", "utf-8", "utf8"].into_iter().any(is) {
        return utf8(bytes);
    }
    charsets::to_utf8(charset, bytes).map_or_else(|| utf8(bytes), |text| once(&text).into_bytes())
}

/// The bytes with U+FFFD, once, for each run of bytes that is no UTF-8.
fn utf8(bytes: &[u8]) -> Vec<u8> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => text.as_bytes().to_vec(),
        Cow::Owned(text) => once(&text).into_bytes(),
    }
}

fn once(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\u{fffd}' || !shown.ends_with(c) {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        String::from_utf8(decoded(line.as_bytes())).unwrap()
    }

    #[test]
    fn words_are_decoded_and_joined() {
        for (line, text) in [
            ("=?utf-8?q?Gr=C3=BCn?= a", "Grün a"),
            ("a =?UTF-8?B?R3LDvG4=?=", "a Grün"),
            ("=?utf-8?q?a?= \t =?utf-8?q?b_c?=", "ab c"),
            ("=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
            ("x=?utf-8?q?a?=y", "xay"),
            ("=?iso-8859-1?q?=FC=80?=", "ü\u{80}"),
            ("=?windows-1252?q?10_=80?=", "10 €"),
            ("=?tis-620?q?=A1?=", "ก"),
            ("=?windows-874?q?a=A1b?=", "a\u{fffd}b"),
            ("=?shift_jis?q?a=83=FFb?=", "a\u{fffd}b"),
            ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
            ("=?utf-8*de?q?a?=", "a"),
        ] {
            assert_eq!(shown(line), text, "{line}");
        }
    }

    #[test]
    fn what_is_broken_stays_as_it_is_as_far_as_it_can() {
        for (line, text) in [
            ("=?utf-8?q?a", "=?utf-8?q?a"),
            ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
            ("=?utf-8?q?a?b?=", "=?utf-8?q?a?b?="),
            ("=?utf-8?q?=zz=4?=", "=zz=4"),
            ("=?utf-8?b?YWJj!ZGVm?=", "abc"),
            ("=?utf-8?b?YWJjZ?=", "abc"),
            ("=?nonsense?q?a=FF=FFb?=", "a\u{fffd}b"),
            ("=?utf-8?q?=FF?=", "\u{fffd}"),
            ("=?utf-8?q?a=00b?=", "a b"),
            ("=", "="),
        ] {
            assert_eq!(shown(line), text, "{line}");
        }
    }

    #[test]
    fn a_fold_becomes_one_blank() {
        assert_eq!(unfolded(b"a\n\tb\n  c"), b"a b  c");
        assert_eq!(unfolded(b"\n a"), b" a");
    }
}
