//! Values in the presentation format of zone files (RFC 1035, section 5.1; RFC 9499).

use super::answer::{Caa, Mx, Outcome, Srv, Tlsa};
use crate::mail::hex;

/// At most this many values are shown.
const SHOWN_VALUES: usize = 16;
/// At most this many bytes of a value are shown.
const SHOWN_BYTES: usize = 1024;

/// The values of an answer.
pub(super) fn presented(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Addresses(ips) => ips.iter().take(SHOWN_VALUES).map(ToString::to_string).collect(),
        Outcome::Mx(all) => all.iter().take(SHOWN_VALUES).map(presented_mx).collect(),
        Outcome::Names(names) => names.iter().take(SHOWN_VALUES).map(|name| format!("{name}.")).collect(),
        Outcome::Txt(texts) => texts.iter().take(SHOWN_VALUES).map(|text| presented_text(text)).collect(),
        Outcome::Srv(all) => all.iter().take(SHOWN_VALUES).map(presented_srv).collect(),
        Outcome::Caa(all) => all.iter().take(SHOWN_VALUES).map(presented_caa).collect(),
        Outcome::Tlsa(all) => all.iter().take(SHOWN_VALUES).map(presented_tlsa).collect(),
        Outcome::Page(_)
        | Outcome::Certificates(_)
        | Outcome::Untrusted(_)
        | Outcome::Secure(_)
        | Outcome::NoData
        | Outcome::NxDomain
        | Outcome::CnameLoop
        | Outcome::Failed(_) => Vec::new(),
    }
}

fn presented_mx(mx: &Mx) -> String {
    format!("{} {}.", mx.preference, mx.exchange)
}

fn presented_srv(srv: &Srv) -> String {
    format!("{} {} {} {}.", srv.priority, srv.weight, srv.port, srv.target)
}

pub(super) fn presented_caa(caa: &Caa) -> String {
    format!("{} {} {}", if caa.critical { 128 } else { 0 }, caa.tag, presented_text(&caa.value))
}

pub(super) fn presented_tlsa(tlsa: &Tlsa) -> String {
    let data = hex(tlsa.data.get(..64).unwrap_or(&tlsa.data));
    format!("{} {} {} {data}", tlsa.usage, tlsa.selector, tlsa.matching)
}

/// Texts.
pub(super) fn presented_texts<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    texts.into_iter().take(SHOWN_VALUES).map(presented_text).collect()
}

fn presented_text(text: &[u8]) -> String {
    match text.get(..SHOWN_BYTES) {
        Some(start) if text.len() > SHOWN_BYTES => format!("{} … ({} bytes in all)", quoted(start), text.len()),
        _ => quoted(text),
    }
}

/// A text: quoted strings of at most 255 bytes, `\"`, `\\` and `\ddd` for what is not
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
    fn texts_are_quoted_as_in_a_zone_file() {
        assert_eq!(quoted(b"a \"b\" \\ \xc3\xa4"), r#""a \"b\" \\ \195\164""#);
        assert_eq!(quoted(b""), "\"\"");
        assert_eq!(quoted(&[b'x'; 256]), format!("\"{}\" \"x\"", "x".repeat(255)));
    }

    #[test]
    fn what_is_shown_is_bounded() {
        let texts = vec![vec![b'a'; 65_000]; 40];
        let shown = presented(&Outcome::Txt(texts));
        assert_eq!(shown.len(), SHOWN_VALUES);
        assert!(shown[0].len() < 1100 && shown[0].ends_with("(65000 bytes in all)"), "{}", shown[0]);
    }
}
