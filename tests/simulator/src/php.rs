//! The small PHP functions whose exact behaviour shows in Mailcow's answers.

use crate::json::Json;

/// `htmlspecialchars` with its default flags.
pub(crate) fn html_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#039;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// What Mailcow takes for a domain name: labels of letters, digits and inner hyphens.
pub(crate) fn is_domain_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

/// `FILTER_VALIDATE_EMAIL`.
pub(crate) fn is_email(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    address.len() <= 254 && is_local_part(local) && is_mail_domain(domain)
}

fn is_local_part(local: &str) -> bool {
    const EXTRA: &str = "!#$%&'*+-/=?^_`{|}~";
    local.len() <= 64
        && local
            .split('.')
            .all(|atom| !atom.is_empty() && atom.chars().all(|c| c.is_ascii_alphanumeric() || EXTRA.contains(c)))
}

fn is_mail_domain(domain: &str) -> bool {
    let top_is_a_word =
        domain.rsplit_once('.').is_some_and(|(_, top)| top.starts_with(|c: char| c.is_ascii_alphabetic()));
    top_is_a_word && is_domain_name(domain)
}

/// Lower case and punycode, as Mailcow stores domain names; `""` when it cannot be done.
pub(crate) fn to_punycode(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    idna::domain_to_ascii(name).unwrap_or_default()
}

/// The name with punycode labels written out.
pub(crate) fn to_unicode(name: &str) -> String {
    idna::domain_to_unicode(name).0
}

/// The two parts of an address as Mailcow cuts them: around the first `@`, both empty without one.
pub(crate) fn cut_address(address: &str) -> (&str, &str) {
    address.split_once('@').unwrap_or(("", ""))
}

/// The pieces of a list written with blanks, commas, semicolons or newlines. PHP holds `0` for empty, too.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let pieces = text.split([' ', ',', ';', '\n']).map(trim);
    pieces.filter(|piece| !piece.is_empty() && *piece != "0").map(str::to_owned).collect()
}

/// Whether such a list begins with nothing, which Mailcow takes for an empty list.
pub(crate) fn begins_empty(text: &str) -> bool {
    text.split([' ', ',', ';', '\n']).next().is_none_or(|first| matches!(trim(first), "" | "0"))
}

/// PHP's `trim`.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\0', '\u{b}'])
}

/// The number that a text begins with, as the database compares it with a column of numbers: blanks before
/// it are skipped, what follows does not count, and a text without one is 0.
pub(crate) fn leading_number(text: &str) -> f64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut end = usize::from(text.starts_with(['+', '-']));
    let whole = digits(end);
    end += whole;
    let mut fraction = 0;
    if text[end..].starts_with('.') {
        fraction = digits(end + 1);
        end += 1 + fraction;
    }
    if whole + fraction == 0 {
        return 0.0;
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    text[..end].parse().unwrap_or(0.0)
}

/// Names are found whatever their case: the key under which a name is kept and sorted.
pub(crate) fn collated(name: &str) -> String {
    name.to_uppercase()
}

/// The id that a text is equal to when the database compares the two as numbers; `None` when it is none.
#[expect(clippy::cast_possible_truncation, reason = "only whole numbers within the range of ids are converted")]
pub(crate) fn leading_id(text: &str) -> Option<i64> {
    let number = leading_number(text);
    (number.fract() == 0.0 && (1.0..4_294_967_296.0).contains(&number)).then_some(number as i64)
}

/// `FILTER_VALIDATE_INT` within bounds: a whole number or a text of nothing else.
pub(crate) fn int_within(value: &Json, least: i64, most: i64) -> Option<i64> {
    let number = match value {
        Json::Int(number) => *number,
        Json::Bool(true) => 1,
        Json::Float(float) if float.fract() == 0.0 => value.to_int(),
        Json::Text(text) => {
            trim(text).parse().ok().filter(|_| !trim(text).starts_with(['0', '+']) || trim(text) == "0")?
        }
        _ => return None,
    };
    (least..=most).contains(&number).then_some(number)
}

/// `FILTER_VALIDATE_BOOL`
pub(crate) fn is_true(value: &Json) -> bool {
    matches!(trim(&value.to_text()).to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes")
}

/// Undoes the encoding of a form: `+` is a blank, and `%` before anything but two digits stays.
pub(crate) fn form_decoded(text: &[u8]) -> String {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    String::from_utf8_lossy(&decoded(&spaced).0).into_owned()
}

/// Undoes percent encoding; `None` when a `%` does not stand before two digits, or they stand for nothing.
pub(crate) fn strictly_percent_decoded(text: &str) -> Option<Vec<u8>> {
    let (decoded, broken) = decoded(text.as_bytes());
    (!broken && !decoded.contains(&0)).then_some(decoded)
}

/// The bytes without percent encoding, and whether a `%` was left as it is.
fn decoded(text: &[u8]) -> (Vec<u8>, bool) {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut broken = false;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let code = if *byte == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
        if let Some(code) = code.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            out.push(code);
            at += 3;
        } else {
            broken |= *byte == b'%';
            out.push(*byte);
            at += 1;
        }
    }
    (out, broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_as_php_does() {
        for good in ["a@b.test", "o'neil&co@b.test", "x+y@xn--mller-kva.test", "-a@b.test"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["null@localhost", "a..b@b.test", ".a@b.test", "a b@b.test", "j\u{f6}@b.test"] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn a_text_is_compared_by_the_number_it_begins_with() {
        for four in ["4", "4th@one.test", "4e0@one.test", " 4@", "\t4", "+4@", "04", "4.", "4.0abc", "4e", "4e+"] {
            assert!((leading_number(four) - 4.0).abs() < f64::EPSILON, "{four:?}");
        }
        for nothing in ["", "x4", "0x4", ".", "e4", "-", "@one.test"] {
            assert!(leading_number(nothing).abs() < f64::EPSILON, "{nothing:?}");
        }
        assert!((leading_number("4e1@one.test") - 40.0).abs() < f64::EPSILON);
        assert!((leading_number("4.9@one.test") - 4.9).abs() < f64::EPSILON);
        assert!((leading_number("-4@one.test") + 4.0).abs() < f64::EPSILON);
    }

    #[test]
    fn domain_names_are_judged_as_mailcow_does() {
        assert!(is_domain_name("localhost") && is_domain_name("1.2.3.4"));
        assert!(!is_domain_name("dot.test.") && !is_domain_name("bad_domain.test"));
    }
}
