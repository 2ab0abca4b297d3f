//! Bodies: transfer encodings, flowed text (RFC 3676), HTML as text, and a reply without what it quotes.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};

use super::words::caught;

/// Columns that a table or a list may use.
const WIDTH: usize = 200;
/// HTML larger than this, or with more tags, is only freed of its tags: laying it out could take long.
const MOST_HTML: usize = 1024 * 1024;
const MOST_TAGS: usize = 20_000;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a body.
pub(super) fn decoded<'a>(body: &'a [u8], transfer_encoding: &str) -> Cow<'a, [u8]> {
    match transfer_encoding {
        "base64" => Cow::Owned(base64(body)),
        "quoted-printable" => Cow::Owned(quoted_printable(body)),
        _ => Cow::Borrowed(body),
    }
}

/// What can be read of a base64 text; other characters are left out, also padding between two texts (RFC 2045,
/// section 6.8).
fn base64(body: &[u8]) -> Vec<u8> {
    let is_symbol = |b: &u8| b.is_ascii_alphanumeric() || *b == b'+' || *b == b'/';
    let mut bytes = Vec::with_capacity(body.len() / 4 * 3);
    for text in body.split(|b| *b == b'=') {
        let mut symbols: Vec<u8> = text.iter().copied().filter(is_symbol).collect();
        if symbols.len() % 4 == 1 {
            symbols.pop();
        }
        // Nothing is left that could be invalid.
        let _ = BASE64.decode_vec(&symbols, &mut bytes);
    }
    bytes
}

fn quoted_printable(body: &[u8]) -> Vec<u8> {
    let digit = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
    let mut bytes = Vec::with_capacity(body.len());
    let lines = body.split(|b| *b == b'\n');
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let has_return = line.last() == Some(&b'\r');
        let line = line.trim_ascii_end();
        let (line, soft) = line.strip_suffix(b"=").map_or((line, false), |line| (line, true));
        let mut at = 0;
        while at < line.len() {
            match (line[at], digit(line.get(at + 1)), digit(line.get(at + 2))) {
                (b'=', Some(high), Some(low)) => {
                    bytes.push(high * 16 + low);
                    at += 3;
                }
                (other, ..) => {
                    bytes.push(other);
                    at += 1;
                }
            }
        }
        if !soft && !is_last {
            bytes.extend_from_slice(if has_return { b"\r\n" } else { b"\n" });
        }
    }
    bytes
}

/// A text with `\n` at the end of each line and no control characters.
pub(super) fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect()
}

/// Joins the lines of flowed text (RFC 3676, section 4). `delete_space` is its parameter `DelSp`.
pub(super) fn unflowed(text: &str, delete_space: bool) -> String {
    let mut paragraphs: Vec<(usize, String)> = Vec::new();
    let mut continues = false;
    for line in text.lines() {
        let depth = line.bytes().take_while(|b| *b == b'>').count();
        let rest = &line[depth..];
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let is_signature = rest == "-- ";
        let flows = rest.ends_with(' ') && !is_signature;
        let kept = if flows && delete_space { &rest[..rest.len() - 1] } else { rest };
        match paragraphs.last_mut() {
            Some((known, paragraph)) if continues && *known == depth && !is_signature => paragraph.push_str(kept),
            _ => paragraphs.push((depth, kept.to_owned())),
        }
        continues = flows;
    }
    let line = |(depth, text): (usize, String)| match depth {
        0 => text,
        _ => format!("{} {text}", ">".repeat(depth)),
    };
    let mut joined = paragraphs.into_iter().map(line).collect::<Vec<_>>().join("\n");
    if text.ends_with('\n') {
        joined.push('\n');
    }
    joined
}

/// HTML as text.
pub(super) fn from_html(html: &str) -> String {
    let is_small = html.len() <= MOST_HTML && html.matches('<').count() <= MOST_TAGS;
    let laid_out = is_small.then(|| caught(|| lay_out(html))).flatten();
    let text = laid_out.unwrap_or_else(|| without_tags(html));
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut kept = String::new();
    let mut empty = 0;
    for line in lines {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty <= 1 {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    plain(kept.trim_matches('\n'))
}

fn lay_out(html: &str) -> Option<String> {
    html2text::config::plain_no_decorate()
        .no_table_borders()
        .allow_width_overflow()
        .string_from_read(html.as_bytes(), WIDTH)
        .ok()
}

/// What is outside of tags, styles and scripts; the common entities are decoded.
fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        let tag = &rest[start..];
        if !tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)) {
            text.push('<');
            rest = &tag[1..];
            continue;
        }
        let is = |name: &str| tag.get(1..=name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let close = ["style", "script"].into_iter().find(|name| is(name)).map(|name| format!("</{name}"));
        let end = match &close {
            Some(close) => tag.find(close.as_str()).or(Some(tag.len())),
            None => tag.find('>').map(|end| end + 1),
        };
        if ["br", "p", "/p", "div", "tr", "li"].into_iter().any(is) {
            text.push('\n');
        } else if is("td") || is("th") {
            text.push(' ');
        }
        rest = end.map_or("", |end| &tag[end..]);
    }
    text.push_str(rest);
    let entities = [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    entities.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

/// A reply without what it quotes at its end: Postmark's `StrippedTextReply`. Empty when nothing is quoted.
pub(super) fn without_quote(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let begins = |i: usize| {
        let line = lines[i].trim();
        let next = lines.get(i + 1).map(|line| line.trim()).unwrap_or_default();
        let wrote = |line: &str| line.ends_with(':') && (line.contains("wrote") || line.contains("schrieb"));
        line.starts_with("-----Original Message-----")
            || (line.starts_with("On ") || line.starts_with("Am ")) && (wrote(line) || wrote(next))
            || line.starts_with('>') && lines[i..].iter().all(|line| line.trim().is_empty() || line.starts_with('>'))
    };
    match (0..lines.len()).find(|i| begins(*i)) {
        Some(quote) => lines[..quote].join("\n").trim().to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_far_as_it_goes() {
        let read = |text: &str| decoded(text.as_bytes(), "base64").into_owned();
        assert_eq!(read("aGVs\r\nbG8="), b"hello");
        assert_eq!(read("aGVsbG8"), b"hello");
        assert_eq!(read("aGk=aGk="), b"hihi");
        assert_eq!(read("a!G*k="), b"hi");
        assert_eq!(read("aGVsbG8hX"), b"hello!");
        assert_eq!(read(""), b"");
    }

    #[test]
    fn quoted_printable_is_read_as_far_as_it_goes() {
        let read = |text: &str| String::from_utf8(decoded(text.as_bytes(), "quoted-printable").into_owned()).unwrap();
        assert_eq!(read("a=C3=A4b=\r\nc  \r\nd"), "aäbc\r\nd");
        assert_eq!(read("50=% =ZZ"), "50=% =ZZ");
    }

    #[test]
    fn flowed_text_is_joined() {
        assert_eq!(unflowed("one \ntwo\nthree\n", false), "one two\nthree\n");
        assert_eq!(unflowed("one \ntwo", true), "onetwo");
        assert_eq!(unflowed("> quoted \n> more\nanswer", false), "> quoted more\nanswer");
        assert_eq!(unflowed(" >stuffed\n-- \nme", false), ">stuffed\n-- \nme");
        assert_eq!(unflowed("a \n>b", false), "a \n> b");
    }

    #[test]
    fn the_cells_of_a_table_stay_apart() {
        let html = "<table><tr><th>Quantity</th><th>Price</th></tr><tr><td>12</td><td>EUR 5</td></tr></table>";
        for text in [from_html(html), without_tags(html)] {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(words, ["Quantity", "Price", "12", "EUR", "5"], "{text}");
        }
    }

    #[test]
    fn html_becomes_text() {
        assert_eq!(from_html("<p>One &amp; two</p><p>three<br>four</p>"), "One & two\n\nthree\nfour");
        assert_eq!(from_html("<style>p {}</style><script>x</script>a"), "a");
        assert_eq!(without_tags("<style>p {}</style>a<br>b&lt;"), "a\nb<");
        let link = from_html("<a href=\"https://e.example/x\">here</a>");
        assert!(link.contains("here"), "{link}");
    }

    #[test]
    fn hostile_html_becomes_text_in_time() {
        let since = std::time::Instant::now();
        for html in [
            "<div>".repeat(200_000) + "x",
            "<table><tr><td>".repeat(6_000) + "x",
            "<blockquote>".repeat(10_000) + "x",
            "<b><i>".repeat(9_000) + "x",
            format!("<p {}>x", "a=b ".repeat(100_000)),
            "<".repeat(500_000) + " x",
        ] {
            assert!(from_html(&html).contains('x'), "{}", &html[..20]);
        }
        assert!(since.elapsed().as_secs() < 60, "{:?}", since.elapsed());
    }

    #[test]
    fn a_reply_ends_where_the_quote_begins() {
        assert_eq!(without_quote("Yes.\n\nOn Monday, Ada wrote:\n> No?\n"), "Yes.");
        assert_eq!(without_quote("Yes.\n\nOn Monday, Ada\n<a@b.c> wrote:\n> No?\n"), "Yes.");
        assert_eq!(without_quote("Yes.\n> No?\n\n> Or?"), "Yes.");
        assert_eq!(without_quote("> No?\nYes."), "");
        assert_eq!(without_quote("Hello"), "");
    }
}
