//! Writes JSON as PHP does: answers to writes compact with `\uXXXX`, answers to reads indented.

use crate::json::Json;

/// Compact, `/` and everything outside ASCII escaped.
pub(crate) fn compact(value: &Json) -> String {
    let mut text = String::new();
    write_value(&mut text, value, None);
    text
}

/// Indented by four blanks, `/` escaped, other characters as they are.
pub(crate) fn pretty(value: &Json) -> String {
    let mut text = String::new();
    write_value(&mut text, value, Some(0));
    text
}

fn write_value(out: &mut String, value: &Json, indent: Option<usize>) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Json::Int(i) => out.push_str(&i.to_string()),
        // PHP leaves out a fraction of nothing.
        Json::Float(f) => {
            let text = format!("{f:?}");
            out.push_str(text.strip_suffix(".0").unwrap_or(&text));
        }
        Json::Text(t) => write_text(out, t, indent.is_some()),
        Json::List(list) if list.is_empty() => out.push_str("[]"),
        Json::Map(map) if map.is_empty() => out.push_str("{}"),
        Json::List(list) => {
            out.push('[');
            for (n, item) in list.iter().enumerate() {
                separate(out, n, indent);
                write_value(out, item, indent.map(|i| i + 1));
            }
            line(out, indent);
            out.push(']');
        }
        Json::Map(map) => {
            out.push('{');
            for (n, (key, item)) in map.iter().enumerate() {
                separate(out, n, indent);
                write_text(out, key, indent.is_some());
                out.push_str(if indent.is_some() { ": " } else { ":" });
                write_value(out, item, indent.map(|i| i + 1));
            }
            line(out, indent);
            out.push('}');
        }
    }
}

fn separate(out: &mut String, n: usize, indent: Option<usize>) {
    if n > 0 {
        out.push(',');
    }
    line(out, indent.map(|i| i + 1));
}

fn line(out: &mut String, indent: Option<usize>) {
    if let Some(depth) = indent {
        out.push('\n');
        out.push_str(&"    ".repeat(depth));
    }
}

fn write_text(out: &mut String, text: &str, plain_unicode: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || (!c.is_ascii() && !plain_unicode) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let escape = format!("\\u{unit:04x}");
                    out.push_str(&escape);
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
