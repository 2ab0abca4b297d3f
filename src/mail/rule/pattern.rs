//! Regular expressions that mean the same in every C library and in Rust: a subset of POSIX extended ones (IEEE 1003.1,
//! chapter 9.4). Mailcow's Dovecot uses musl, others glibc; expressions that they interpret differently are refused.

mod bracket;
mod engine;

use std::iter::Peekable;
use std::str::Chars;

use super::Text;

/// The largest repetition count (`RE_DUP_MAX` of POSIX).
const MOST_REPETITIONS: u32 = 255;

/// Why an expression is invalid; read after the expression itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidPattern(pub String);

/// A portable POSIX extended regular expression.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    /// For a script.
    posix: String,
    /// The same for Rust.
    rust: String,
}

impl Pattern {
    /// Reads an expression. Needless backslashes go away.
    ///
    /// # Errors
    /// When it is malformed, too large, or systems read it differently.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        Text::parse(text).map_err(|error| InvalidPattern(error.0))?;
        let mut scan = Scan {
            rest: text.chars().peekable(),
            posix: String::new(),
            rust: String::new(),
            anchored: vec![false],
            before: Before::Nothing,
        };
        scan.whole()?;
        engine::built(&scan.rust)?;
        Ok(Self { posix: scan.posix, rust: scan.rust })
    }

    /// The expression itself.
    pub fn as_str(&self) -> &str {
        &self.posix
    }

    /// Whether some part of the bytes matches, case-insensitive for ASCII letters.
    pub fn is_found_in(&self, bytes: &[u8]) -> bool {
        engine::built(&self.rust).is_ok_and(|regex| regex.is_match(bytes))
    }
}

fn no<T>(why: impl Into<String>) -> Result<T, InvalidPattern> {
    Err(InvalidPattern(why.into()))
}

/// What is before the current position: it decides whether it can be repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The beginning of a branch.
    Nothing,
    /// `^` or `$`.
    Anchor,
    /// Something of one byte, or a group.
    Atom,
    /// A group with an anchor in it.
    Anchored,
    /// A character of several bytes.
    Wide,
    /// A repetition.
    Repeat,
}

/// One pass over the expression, which writes two versions: for Dovecot and for Rust.
struct Scan<'a> {
    rest: Peekable<Chars<'a>>,
    posix: String,
    rust: String,
    /// For each open group, and for the whole, whether it has an anchor.
    anchored: Vec<bool>,
    before: Before,
}

impl Scan<'_> {
    fn whole(&mut self) -> Result<(), InvalidPattern> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.bracket()?,
                '(' => self.group()?,
                ')' => self.end_of_group()?,
                '|' => self.end_of_branch(c)?,
                '*' | '+' | '?' => self.repeat(&c.to_string())?,
                '{' => self.counted()?,
                '}' => return no(r"has a } without {; write \} for the character itself"),
                '^' | '$' => self.anchor(c)?,
                '.' => self.put(".", ".", Before::Atom),
                c => self.literal(c),
            }
        }
        if self.anchored.len() > 1 {
            return no("has a ( without )");
        }
        self.end_of_branch_needs_something()
    }

    fn put(&mut self, posix: &str, rust: &str, is: Before) {
        self.posix.push_str(posix);
        self.rust.push_str(rust);
        self.before = is;
    }

    fn literal(&mut self, c: char) {
        let text = c.to_string();
        self.put(&text, &regex::escape(&text), if c.is_ascii() { Before::Atom } else { Before::Wide });
    }

    fn escape(&mut self) -> Result<(), InvalidPattern> {
        let Some(c) = self.rest.next() else { return no("ends with a backslash") };
        if c.is_ascii_digit() {
            return no(format!(r"has \{c}: back references don't exist in all systems"));
        }
        if c.is_alphanumeric() {
            let hint = instead_of(c).map_or(String::new(), |instead| format!("; write {instead}"));
            return no(format!(r"has \{c}: backslash letters differ between systems{hint}"));
        }
        if !c.is_ascii_punctuation() || matches!(c, '<' | '>' | '`' | '\'') {
            return no(format!("has a backslash before {c:?}, which differs between systems; remove the backslash"));
        }
        match c {
            '.' | '[' | '(' | ')' | '*' | '+' | '?' | '{' | '^' | '$' | '|' | '\\' => {
                self.put(&format!(r"\{c}"), &format!(r"\{c}"), Before::Atom);
            }
            '}' => self.put("[}]", r"\}", Before::Atom),
            c => self.literal(c),
        }
        Ok(())
    }

    /// `^` at the beginning of a branch and `$` at its end; elsewhere C libraries differ.
    fn anchor(&mut self, c: char) -> Result<(), InvalidPattern> {
        let is_in_place = match c {
            '^' => self.before == Before::Nothing,
            _ => matches!(self.rest.peek(), None | Some('|' | ')')),
        };
        if !is_in_place {
            return no(format!(
                r"has {c} in the middle; it is allowed only at the beginning (^) or end ($) of an alternative: write \{c} for the character itself"
            ));
        }
        self.mark_anchored(true);
        self.put(&c.to_string(), &c.to_string(), Before::Anchor);
        Ok(())
    }

    fn mark_anchored(&mut self, is_anchored: bool) {
        if let Some(group) = self.anchored.last_mut() {
            *group |= is_anchored;
        }
    }

    fn group(&mut self) -> Result<(), InvalidPattern> {
        if self.rest.peek() == Some(&'?') {
            return no("has (?: POSIX has no look-around, flags and groups of this kind");
        }
        self.anchored.push(false);
        self.put("(", "(", Before::Nothing);
        Ok(())
    }

    fn end_of_group(&mut self) -> Result<(), InvalidPattern> {
        if self.anchored.len() < 2 {
            return no(r"has a ) without (; write \) for the character itself");
        }
        self.end_of_branch_needs_something()?;
        let holds_anchor = self.anchored.pop().unwrap_or_default();
        self.mark_anchored(holds_anchor);
        self.put(")", ")", if holds_anchor { Before::Anchored } else { Before::Atom });
        Ok(())
    }

    fn end_of_branch(&mut self, c: char) -> Result<(), InvalidPattern> {
        self.end_of_branch_needs_something()?;
        self.put(&c.to_string(), &c.to_string(), Before::Nothing);
        Ok(())
    }

    fn end_of_branch_needs_something(&self) -> Result<(), InvalidPattern> {
        match self.before {
            Before::Nothing => no("has an empty group or alternative; write (x)? for an optional part"),
            Before::Anchor | Before::Atom | Before::Anchored | Before::Wide | Before::Repeat => Ok(()),
        }
    }

    fn repeat(&mut self, mark: &str) -> Result<(), InvalidPattern> {
        match self.before {
            Before::Atom => {
                self.put(mark, mark, Before::Repeat);
                Ok(())
            }
            Before::Nothing | Before::Anchor => {
                no(format!(r"has {mark} with nothing to repeat; write \{mark} for the character itself"))
            }
            Before::Anchored => {
                no(format!("repeats a group that has ^ or $ with {mark}, which differs between systems"))
            }
            Before::Wide => {
                no(format!("repeats a character of several bytes with {mark}; put it into parentheses, such as (ü)?"))
            }
            Before::Repeat => {
                no(format!("has {mark} after another repetition; POSIX has no lazy and possessive repetitions"))
            }
        }
    }

    /// `{m}`, `{m,}` and `{m,n}`.
    fn counted(&mut self) -> Result<(), InvalidPattern> {
        let mut inner = String::new();
        loop {
            match self.rest.next() {
                Some('}') => break,
                Some(c) => inner.push(c),
                None => return no(r"has a { without }; write \{ for the character itself"),
            }
        }
        let (least, most) = inner.split_once(',').unwrap_or((&inner, &inner));
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n <= MOST_REPETITIONS && !text.starts_with('+'));
        let fits = match (number(least), number(most)) {
            (Some(least), Some(most)) => least <= most && most > 0,
            (Some(_), None) => most.is_empty(),
            (None, _) => false,
        };
        if !fits {
            return no(format!(
                "has {{{inner}}}; write {{m}}, {{m,}} or {{m,n}} with numbers up to {MOST_REPETITIONS}"
            ));
        }
        self.repeat(&format!("{{{inner}}}"))
    }

    /// `[…]`, whose `[` is read.
    fn bracket(&mut self) -> Result<(), InvalidPattern> {
        let mut inner = self.inside_bracket()?;
        if inner.starts_with(':') && inner.ends_with(':') && inner.len() > 1 {
            return no(format!("has [{inner}]; write [[{inner}]] for the class"));
        }
        let posix = format!("[{inner}]");
        let not = if inner.starts_with('^') { inner.remove(0).to_string() } else { String::new() };
        let rust = format!("[{not}{}]", bracket::items(&inner)?);
        self.put(&posix, &rust, Before::Atom);
        Ok(())
    }

    /// The text up to the `]` that ends the bracket: not the first character, not one of a class.
    fn inside_bracket(&mut self) -> Result<String, InvalidPattern> {
        let mut inner = String::new();
        let mut is_class = false;
        loop {
            let Some(c) = self.rest.next() else { return no(r"has a [ without ]; write \[ for the character itself") };
            let is_first = matches!(inner.as_str(), "" | "^");
            if c == ']' && !is_first && !is_class {
                return Ok(inner);
            }
            is_class = match c {
                '[' => self.rest.peek() == Some(&':') || is_class,
                ']' => false,
                _ => is_class,
            };
            inner.push(c);
        }
    }
}

/// What to write instead of a backslash letter.
fn instead_of(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[[:digit:]]",
        'D' => "[^[:digit:]]",
        'w' => "[[:alnum:]_]",
        'W' => "[^[:alnum:]_]",
        's' => "[[:space:]]",
        'S' => "[^[:space:]]",
        'b' => "(^|[^[:alnum:]_]) for the beginning of a word, ([^[:alnum:]_]|$) for its end",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_expressions_stay_as_they_are() {
        for good in [
            "^(re|fwd?): ",
            r"@vendor\.test$",
            "[[:digit:]]{3,5}",
            "[^]a-z0-9_-]+",
            "a.c",
            r"\[ticket #[0-9]+]",
            "(ü)?",
            "^$",
            "(^|[^[:alnum:]_])word([^[:alnum:]_]|$)",
            "x{0,2}y{2}z{2,}",
            r"\(\)\*\+\?\{\^\$\|\\",
            "[[:alpha:][:digit:]-]",
            "[$^.*]",
            "[[]",
            "(a+)+$",
            "[}]",
            "a&&b",
            "[a&&b~~c]",
        ] {
            assert_eq!(Pattern::parse(good).map(|p| p.as_str().to_owned()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn needless_backslashes_go_away() {
        for (given, kept) in [(r"a\/b\-c\@d", "a/b-c@d"), (r"\}", "[}]"), (r"\]", "]"), (r#"\""#, "\"")] {
            assert_eq!(Pattern::parse(given).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn what_systems_read_differently_is_refused_with_what_to_write() {
        for (bad, why) in [
            (r"\d+", "write [[:digit:]]"),
            (r"\bfoo", "beginning of a word"),
            (r"(a)\1", "references"),
            (r"\<a", "remove the backslash"),
            ("(?i)a", "(?"),
            ("a(?=b)", "(?"),
            ("a+?", "after another"),
            ("a**", "after another"),
            ("*a", "nothing to repeat"),
            ("^*", "nothing to repeat"),
            ("(|a)", "empty"),
            ("a||b", "empty"),
            ("", "empty"),
            ("()", "empty"),
            ("(a", "( without )"),
            ("a)", ") without ("),
            ("[a", "[ without ]"),
            ("a{", "{ without }"),
            ("a}", "} without {"),
            ("a{,3}", "write {m}"),
            ("a{3,1}", "write {m}"),
            ("a{256}", "up to 255"),
            ("a{+1}", "write {m}"),
            (r"a\", "ends with"),
            (r"[\d]", "backslash inside"),
            ("[ä]", "one byte"),
            ("ü+", "parentheses"),
            ("[:digit:]", "[[:digit:]]"),
            ("[[:word:]]", "unknown class"),
            ("[[.a.]]", "differ"),
            ("[[=a=]]", "differ"),
            ("[z-a]", "range"),
            ("[Z-a]", "the same case"),
            ("[A-z]", "the same case"),
            ("[9-a]", "the same case"),
            ("a^b", "in the middle"),
            ("a$b", "in the middle"),
            ("$^|$$", "in the middle"),
            ("((a)|^b$){2}", "has ^ or $"),
            ("[a-[:digit:]]", "range"),
            ("[a-c-e]", "middle"),
            ("((a{255}){255}){255}", "too large"),
            ("a\nb", "line break"),
            ("a\0", "control"),
        ] {
            let error = Pattern::parse(bad).unwrap_err();
            assert!(error.0.contains(why), "{bad:?}: {error}");
        }
    }
}
