//! The content between `[` and `]`.

use std::fmt::Write as _;

use super::{InvalidPattern, no};

/// The character classes of POSIX.
const CLASSES: [&str; 12] =
    ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"];

/// The inside of a bracket expression, without `^`, as Rust reads it.
pub(super) fn items(inner: &str) -> Result<String, InvalidPattern> {
    let mut rust = String::new();
    let mut left = inner;
    let mut is_first = true;
    while let Some(c) = left.chars().next() {
        if let Some(class) = left.strip_prefix("[:") {
            let (name, after) = class.split_once(":]").unwrap_or((class, ""));
            if !CLASSES.contains(&name) {
                return no(format!("has the unknown class [:{name}:]; there are {}", CLASSES.join(", ")));
            }
            let _ = write!(rust, "[:{name}:]");
            left = after;
        } else {
            left = item(&mut rust, left, c, is_first)?;
        }
        is_first = false;
    }
    Ok(rust)
}

/// One character or range; what is left is returned.
fn item<'a>(rust: &mut String, left: &'a str, c: char, is_first: bool) -> Result<&'a str, InvalidPattern> {
    let after = &left[c.len_utf8()..];
    let is_last = after.is_empty();
    match c {
        '\\' => return no(r"has a backslash inside [ ], which differs between systems; move it outside"),
        '[' if after.starts_with(['.', '=']) => {
            return no("has [. or [= inside [ ]; such classes differ between systems");
        }
        '-' if !is_first && !is_last => return no("has a - in the middle of [ ]; move it to the beginning or the end"),
        c if !c.is_ascii() => {
            return no(format!("has {c:?} inside [ ], which matches one byte; write (ä|ö) instead"));
        }
        _ => {}
    }
    let code = u32::from(c);
    let end = after.strip_prefix('-').and_then(|end| end.chars().next());
    match end {
        Some(end) if is_range(c, end) => {
            let _ = write!(rust, r"\x{code:02x}-\x{:02x}", u32::from(end));
            Ok(&after[2..])
        }
        Some(end) => no(format!(
            "has the range {c}-{end}; a range goes from a digit to a digit, or from a letter to a later letter of the same case"
        )),
        None => {
            let _ = write!(rust, r"\x{code:02x}");
            Ok(after)
        }
    }
}

/// Whether systems agree on a range. With case-insensitive letters, glibc refuses `[Z-a]` and reads `[A-z]` differently
/// from musl.
fn is_range(from: char, to: char) -> bool {
    let kinds = [char::is_ascii_digit, char::is_ascii_lowercase, char::is_ascii_uppercase];
    from <= to && kinds.iter().any(|is_kind| is_kind(&from) && is_kind(&to))
}
