//! One rule → one block.

use super::script::{Block, Command, How, Slice, Test, What};
use crate::crd::{OnMatch, Spam};
use crate::mail::rule::{self, Action, Condition, Glob, Part, Rule, Text, When};
use crate::mail::{Address, Quota};

/// The rule's block in the script of `mailbox`.
pub(super) fn block(rule: &Rule, mailbox: &Address) -> Block {
    Block { comment: comment(&rule.id), test: test(&rule.when), commands: commands(rule, mailbox) }
}

/// The comment on a rule for readers of the script.
pub(super) fn comment(id: &str) -> String {
    format!("rule {id}")
}

fn commands(rule: &Rule, mailbox: &Address) -> Vec<Command> {
    let forwards = rule.forwards();
    let mut commands: Vec<Command> =
        forwards.iter().map(|(to, kept)| Command::Redirect { to: to.to_string(), copy: *kept }).collect();
    for action in &rule.actions {
        match action {
            Action::Forward { .. } => {}
            Action::Queue(queue) => {
                commands.push(Command::FileInto { folder: queue.folder.clone(), copy: queue.keep_copy });
            }
            Action::Trash => commands.push(Command::FileInto { folder: "Trash".to_owned(), copy: false }),
            Action::Discard => commands.push(Command::Discard),
        }
    }
    // Dovecot skips a redirect that it sent a moment ago, for this message or for one with the same Message-ID, and then
    // keeps the message. It skips it also where the message comes back to the mailbox: only there nobody else has it.
    if forwards.iter().any(|(_, kept)| !kept) {
        commands.push(Command::DiscardUnless(was_redirected_from(mailbox)));
    }
    match rule.on_match {
        OnMatch::Stop => commands.push(Command::Stop),
        OnMatch::Continue => {}
    }
    commands
}

/// Whether the message was forwarded by this mailbox before. Pigeonhole writes the recipient, which may have a `+tag`.
fn was_redirected_from(mailbox: &Address) -> Test {
    let key = |local: String| format!("*{local}@{}", mailbox.domain());
    let local = escaped(mailbox.local());
    let keys = vec![key(local.clone()), key(format!("{local}+*"))];
    compare(What::Header("x-sieve-redirected-from".to_owned()), How::Matches, keys)
}

fn test(when: &When) -> Test {
    let mut tests = Vec::new();
    let spam = || compare(What::Header("x-spam-flag".to_owned()), How::Contains, vec!["YES".to_owned()]);
    match when.spam {
        Spam::Any => {}
        Spam::Only => tests.push(spam()),
        Spam::Never => tests.push(Test::Not(Box::new(spam()))),
    }
    tests.extend(when.larger_than.map(|size| Test::Over(kib(size))));
    tests.extend(when.smaller_than.map(|size| Test::Under(kib(size))));
    tests.extend(when.all.iter().map(condition));
    if !when.any.is_empty() {
        tests.push(one_or(Test::Any, when.any.iter().map(condition).collect()));
    }
    if tests.is_empty() { Test::True } else { one_or(Test::All, tests) }
}

fn kib(size: Quota) -> u64 {
    size.as_bytes() / 1024
}

/// The only test itself, or a list of several.
fn one_or(several: fn(Vec<Test>) -> Test, mut tests: Vec<Test>) -> Test {
    match tests.pop() {
        Some(only) if tests.is_empty() => only,
        last => {
            tests.extend(last);
            several(tests)
        }
    }
}

fn condition(condition: &Condition) -> Test {
    let test = plain(condition);
    if condition.not { Test::Not(Box::new(test)) } else { test }
}

fn plain(condition: &Condition) -> Test {
    let part = &condition.part;
    match &condition.test {
        rule::Test::Exists => Test::Exists(header(part).to_owned()),
        rule::Test::Equals(values) if is_text(part) => {
            texts(part, How::Regex, values, |text| format!("{BEGINNING}{}$", literal_expression(text.as_str())))
        }
        rule::Test::Equals(values) => texts(part, How::Is, values, |text| text.as_str().to_owned()),
        rule::Test::Contains(values) => texts(part, How::Contains, values, |text| text.as_str().to_owned()),
        rule::Test::StartsWith(values) if is_text(part) => {
            texts(part, How::Regex, values, |text| format!("{BEGINNING}{}", literal_expression(text.as_str())))
        }
        rule::Test::StartsWith(values) => texts(part, How::Matches, values, |text| format!("{}*", literal(text))),
        rule::Test::EndsWith(values) => texts(part, How::Matches, values, |text| format!("*{}", literal(text))),
        rule::Test::Glob(values) => globs(part, values),
        rule::Test::Regex(values) if is_text(part) => {
            texts(part, How::Regex, values, |pattern| behind_blanks(pattern.as_str()))
        }
        rule::Test::Regex(values) => texts(part, How::Regex, values, |pattern| pattern.as_str().to_owned()),
        rule::Test::Domain(names) => domain(part, names.iter().map(ToString::to_string).collect()),
    }
}

/// The beginning of a header's value. In Pigeonhole (0.5.19 was tried) a value that was folded right behind the colon
/// keeps the blanks of the fold.
const BEGINNING: &str = "^[[:blank:]]*";

/// Whether the whole value of a header is compared, and not an address.
fn is_text(part: &Part) -> bool {
    match part {
        Part::Subject | Part::Header(_) => true,
        Part::Sender | Part::EnvelopeSender | Part::Recipient => false,
    }
}

/// Patterns as they are, but for those that Pigeonhole misreads (0.5.19 was tried): behind a `?` and a `*` it forgets that
/// what stands between them has to fit. Those are written as expressions, and so are those that begin where the value of
/// a header does.
fn globs(part: &Part, values: &[Glob]) -> Test {
    let is_expression = |glob: &&Glob| is_misread(glob) || (is_text(part) && !glob.as_str().starts_with('*'));
    let (as_expressions, sound): (Vec<&Glob>, Vec<&Glob>) = values.iter().partition(is_expression);
    let mut tests = Vec::new();
    if !sound.is_empty() {
        tests.push(texts(part, How::Matches, &sound, |glob| glob.as_str().to_owned()));
    }
    if !as_expressions.is_empty() {
        let beginning = if is_text(part) { BEGINNING } else { "^" };
        tests.push(texts(part, How::Regex, &as_expressions, |glob| format!("{beginning}{}$", expression(glob))));
    }
    one_or(Test::Any, tests)
}

fn is_misread(glob: &Glob) -> bool {
    let plain = glob.as_str().replace(r"\\", "").replace(r"\?", "").replace(r"\*", "");
    plain.split_once('?').is_some_and(|(_, rest)| rest.contains('*'))
}

/// The POSIX extended regular expression that fits what the pattern fits, without its two anchors.
fn expression(glob: &Glob) -> String {
    let mut expression = String::new();
    let mut chars = glob.as_str().chars();
    while let Some(c) = chars.next() {
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '\\' => push_literal(&mut expression, chars.next().unwrap_or(c)),
            c => push_literal(&mut expression, c),
        }
    }
    expression
}

/// The POSIX extended regular expression that fits nothing but `text`.
fn literal_expression(text: &str) -> String {
    let mut expression = String::new();
    text.chars().for_each(|c| push_literal(&mut expression, c));
    expression
}

fn push_literal(expression: &mut String, c: char) {
    if r".[(){+^$|*?\".contains(c) {
        expression.push('\\');
    }
    expression.push(c);
}

/// The expression with blanks allowed wherever it says that the value begins.
fn behind_blanks(pattern: &str) -> String {
    let mut expression = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '^' => expression.push_str(BEGINNING),
            '\\' => expression.extend(std::iter::once(c).chain(chars.next())),
            '[' => {
                expression.push(c);
                push_bracket(&mut expression, &mut chars);
            }
            c => expression.push(c),
        }
    }
    expression
}

/// What is left of a bracket whose `[` was read, up to its `]`: that is not its first character, nor inside a class.
fn push_bracket(expression: &mut String, chars: &mut std::str::Chars<'_>) {
    let start = expression.len();
    let mut is_class = false;
    for c in chars.by_ref() {
        let is_first = matches!(&expression[start..], "" | "^");
        let is_end = c == ']' && !is_first && !is_class;
        is_class = match c {
            ':' => is_class || expression[start..].ends_with('['),
            ']' => false,
            _ => is_class,
        };
        expression.push(c);
        if is_end {
            return;
        }
    }
}

fn literal(text: &Text) -> String {
    Glob::literal(text).as_str().to_owned()
}

/// A text with what means something in a pattern made literal.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| matches!(c, '*' | '?' | '\\').then_some('\\').into_iter().chain([c])).collect()
}

fn texts<T>(part: &Part, how: How, values: &[T], key: impl Fn(&T) -> String) -> Test {
    let keys: Vec<String> = values.iter().map(key).collect();
    match part {
        Part::Sender => compare(What::Address(Slice::All, "from"), how, keys),
        Part::EnvelopeSender => compare(What::Envelope(Slice::All, "from"), how, keys),
        Part::Recipient => {
            Test::Any(vec![compare(What::Envelope(Slice::All, "to"), how, keys.clone()), compare(ORIGINAL, how, keys)])
        }
        Part::Subject | Part::Header(_) => compare(What::Header(header(part).to_owned()), how, keys),
    }
}

/// What Mailcow's Postfix puts on top: the address that the mail came for. A sender's own comes below it.
const ORIGINAL: What = What::FirstHeader("x-original-to");

fn domain(part: &Part, names: Vec<String>) -> Test {
    match part {
        Part::EnvelopeSender => compare(What::Envelope(Slice::Domain, "from"), How::Is, names),
        Part::Recipient => {
            let ends = names.iter().map(|name| format!("*@{name}")).collect();
            Test::Any(vec![
                compare(What::Envelope(Slice::Domain, "to"), How::Is, names),
                compare(ORIGINAL, How::Matches, ends),
            ])
        }
        Part::Sender | Part::Subject | Part::Header(_) => compare(What::Address(Slice::Domain, "from"), How::Is, names),
    }
}

/// The header that a part is in.
fn header(part: &Part) -> &str {
    match part {
        Part::Sender | Part::EnvelopeSender => "from",
        Part::Recipient => "x-original-to",
        Part::Subject => "subject",
        Part::Header(name) => name.as_str(),
    }
}

fn compare(what: What, how: How, keys: Vec<String>) -> Test {
    Test::Compare { what, how, keys }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::parse(text).unwrap()
    }

    #[test]
    fn a_run_behind_one_byte_is_written_as_an_expression() {
        assert!(is_misread(&glob("?nvoice*")) && is_misread(&glob(r"a\??b*")));
        assert!(!is_misread(&glob("*nvoice?")) && !is_misread(&glob(r"\?nvoice*")) && !is_misread(&glob(r"?nvoice\*")));
        assert_eq!(expression(&glob(r"?a.b\*(c*\\")), r".a\.b\*\(c.*\\");
    }

    #[test]
    fn sound_and_misread_patterns_stand_side_by_side() {
        let Test::Any(tests) = globs(&Part::Sender, &[glob("a*"), glob("?b*")]) else { panic!("two tests") };
        let how = |test: &Test| matches!(test, Test::Compare { how: How::Matches, .. });
        assert_eq!(tests.iter().map(how).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn only_a_pattern_that_begins_with_a_run_needs_no_expression_in_a_header() {
        let how = |text| match globs(&Part::Subject, &[glob(text)]) {
            Test::Compare { how: How::Matches, .. } => "matches".to_owned(),
            Test::Compare { how: How::Regex, keys, .. } => keys[0].clone(),
            _ => panic!("one test"),
        };
        assert_eq!(how("*a?"), "matches");
        assert_eq!(how("a*"), "^[[:blank:]]*a.*$");
        assert_eq!(how(r"\*a"), r"^[[:blank:]]*\*a$");
    }

    #[test]
    fn blanks_are_allowed_where_an_expression_says_that_the_value_begins() {
        for (given, written) in [
            ("^a", "^[[:blank:]]*a"),
            ("(^|[^[:alnum:]])b$", "(^[[:blank:]]*|[^[:alnum:]])b$"),
            (r"\^a[^]^]b|^c", r"\^a[^]^]b|^[[:blank:]]*c"),
            ("[[:digit:]^]^", "[[:digit:]^]^[[:blank:]]*"),
            ("[[]^", "[[]^[[:blank:]]*"),
            ("a[:b]^", "a[:b]^[[:blank:]]*"),
        ] {
            assert_eq!(behind_blanks(given), written);
        }
    }
}
