//! Foreign texts in a status: DNS records, Mailcow's messages, names that others chose. Terminals act on control
//! characters, and invisible characters make a text look like another one. This module alone escapes both as `\u{…}`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The status with unprintable characters escaped; `None` if there are none.
pub(crate) fn printable<S: Serialize + DeserializeOwned>(status: &S) -> Option<S> {
    let mut value = serde_json::to_value(status).ok()?;
    if escape_all(&mut value) { serde_json::from_value(value).ok() } else { None }
}

/// Escapes all texts in the value. Returns whether it changed anything.
fn escape_all(value: &mut Value) -> bool {
    match value {
        Value::String(text) if text.contains(is_unprintable) => {
            *text = escaped(text);
            true
        }
        // Not `any`, which would stop at the first escaped text.
        Value::Array(items) => items.iter_mut().map(escape_all).filter(|escaped| *escaped).count() > 0,
        Value::Object(fields) => fields.values_mut().map(escape_all).filter(|escaped| *escaped).count() > 0,
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The text with unprintable characters escaped.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Control characters (Unicode, section 23.1), line separators, and format characters that hide or reorder text.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::RefusedWrite;

    #[test]
    fn what_a_terminal_acts_on_is_written_out() {
        for (text, expected) in [
            ("v=spf1 mx -all", "v=spf1 mx -all"),
            ("Zoë 日本 🙂", "Zoë 日本 🙂"),
            ("a\u{1b}[31mred", "a\\u{1b}[31mred"),
            ("one\ntwo\ttab\r", "one\\ntwo\\ttab\\r"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("pay\u{200b}pal \u{feff}", "pay\\u{200b}pal \\u{feff}"),
            ("\u{7f}\u{9b}31m", "\\u{7f}\\u{9b}31m"),
            ("back\\slash", "back\\slash"),
        ] {
            assert_eq!(escaped(text), expected, "{text:?}");
            assert_eq!(escaped(&escaped(text)), expected, "once is enough");
        }
    }

    #[test]
    fn every_text_of_a_status_is_looked_at_and_one_without_is_left_alone() {
        let refused = |message: &str| RefusedWrite {
            digest: "d".into(),
            reason: "r".into(),
            message: message.into(),
            time: crate::clock::now(),
            unanswered: None,
        };
        assert_eq!(printable(&vec![refused("plain")]), None);
        let found = printable(&vec![refused("plain"), refused("\u{1b}]0;title\u{7}")]).unwrap();
        assert_eq!(found[1].message, "\\u{1b}]0;title\\u{7}");
        assert_eq!(found[0].message, "plain");
    }
}
