//! Prints scripts. Only this module quotes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::script::{Block, Command, How, Slice, Test, What};

/// A printed block and the extensions that it needs.
pub(super) struct Printed {
    /// Its lines.
    pub(super) text: String,
    /// Names for `require`.
    pub(super) needs: BTreeSet<&'static str>,
}

/// Writes a rule's block.
pub(super) fn block(block: &Block) -> Printed {
    let mut printer = Printer { text: String::new(), needs: BTreeSet::new() };
    let _ = write!(printer.text, "# {}\nif ", comment(&block.comment));
    printer.test(&block.test, 0);
    printer.text.push_str(" {\n");
    for command in &block.commands {
        printer.command(command);
    }
    printer.text.push_str("}\n");
    Printed { text: printer.text, needs: printer.needs }
}

/// The `require` command; nothing when nothing is needed.
pub(super) fn require(needs: &BTreeSet<&'static str>) -> String {
    let names: Vec<String> = needs.iter().map(|name| quoted(name)).collect();
    if names.is_empty() { String::new() } else { format!("require [{}];\n", names.join(", ")) }
}

/// A quoted string. Without `variables` and `encoded-character` only two characters mean something in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}

/// One line that can't end the comment.
pub(super) fn comment(text: &str) -> String {
    text.chars().filter(|c| *c == ' ' || c.is_ascii_graphic()).take(400).collect()
}

struct Printer {
    text: String,
    needs: BTreeSet<&'static str>,
}

impl Printer {
    fn command(&mut self, command: &Command) {
        let line = match command {
            Command::Redirect { to, copy: true } => {
                self.needs.insert("copy");
                format!("redirect :copy {}", quoted(to))
            }
            Command::Redirect { to, copy: false } => format!("redirect {}", quoted(to)),
            Command::FileInto { folder, copy: true } => {
                self.needs.extend(["copy", "fileinto", "mailbox"]);
                format!("fileinto :copy :create {}", quoted(folder))
            }
            Command::FileInto { folder, copy: false } => {
                self.needs.extend(["fileinto", "mailbox"]);
                format!("fileinto :create {}", quoted(folder))
            }
            Command::Discard => "discard".to_owned(),
            Command::DiscardUnless(test) => {
                self.text.push_str("  if not ");
                self.test(test, 1);
                self.text.push_str(" {\n    discard;\n  }\n");
                return;
            }
            Command::Stop => "stop".to_owned(),
        };
        let _ = writeln!(self.text, "  {line};");
    }

    fn test(&mut self, test: &Test, depth: usize) {
        match test {
            Test::True => self.text.push_str("true"),
            Test::Not(inner) => {
                self.text.push_str("not ");
                self.test(inner, depth);
            }
            Test::All(tests) => self.list("allof", tests, depth),
            Test::Any(tests) => self.list("anyof", tests, depth),
            Test::Exists(header) => {
                let _ = write!(self.text, "exists {}", quoted(header));
            }
            Test::Over(kib) => {
                let _ = write!(self.text, "size :over {kib}K");
            }
            Test::Under(kib) => {
                let _ = write!(self.text, "size :under {kib}K");
            }
            Test::Compare { what, how, keys } => self.compare(what, *how, keys, depth),
        }
    }

    fn list(&mut self, name: &str, tests: &[Test], depth: usize) {
        let _ = write!(self.text, "{name} (");
        for (i, test) in tests.iter().enumerate() {
            self.text.push_str(if i == 0 { "\n" } else { ",\n" });
            self.indent(depth + 1);
            self.test(test, depth + 1);
        }
        self.text.push(')');
    }

    fn compare(&mut self, what: &What, how: How, keys: &[String], depth: usize) {
        let how = match how {
            How::Is => ":is",
            How::Contains => ":contains",
            How::Matches => ":matches",
            How::Regex => {
                self.needs.insert("regex");
                ":regex"
            }
        };
        let _ = match what {
            What::Header(name) => write!(self.text, "header {how} {} ", quoted(name)),
            What::FirstHeader(name) => {
                self.needs.insert("index");
                write!(self.text, "header :index 1 {how} {} ", quoted(name))
            }
            What::Address(slice, name) => write!(self.text, "address {} {how} {} ", tag(*slice), quoted(name)),
            What::Envelope(slice, name) => {
                self.needs.insert("envelope");
                write!(self.text, "envelope {} {how} {} ", tag(*slice), quoted(name))
            }
        };
        self.keys(keys, depth);
    }

    /// One key as a string, several as a list of lines.
    fn keys(&mut self, keys: &[String], depth: usize) {
        if let [key] = keys {
            self.text.push_str(&quoted(key));
            return;
        }
        self.text.push('[');
        for (i, key) in keys.iter().enumerate() {
            self.text.push_str(if i == 0 { "\n" } else { ",\n" });
            self.indent(depth + 1);
            self.text.push_str(&quoted(key));
        }
        self.text.push(']');
    }

    fn indent(&mut self, depth: usize) {
        self.text.push_str(&"  ".repeat(depth));
    }
}

fn tag(slice: Slice) -> &'static str {
    match slice {
        Slice::All => ":all",
        Slice::Domain => ":domain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(test: Test, commands: Vec<Command>) -> String {
        block(&Block { comment: "rule n/r".into(), test, commands }).text
    }

    #[test]
    fn a_block_reads_like_the_rule() {
        let what = || What::Header("subject".into());
        let test = Test::All(vec![
            Test::Not(Box::new(Test::Compare { what: what(), how: How::Is, keys: vec!["a".into()] })),
            Test::Compare { what: what(), how: How::Contains, keys: vec!["b".into(), "c".into()] },
        ]);
        let commands = vec![Command::Redirect { to: "a@b.org".into(), copy: true }, Command::Stop];
        assert_eq!(
            shown(test, commands),
            "# rule n/r\nif allof (\n  not header :is \"subject\" \"a\",\n  header :contains \"subject\" [\n    \"b\",\n    \
             \"c\"]) {\n  redirect :copy \"a@b.org\";\n  stop;\n}\n"
        );
    }

    #[test]
    fn only_quote_and_backslash_are_escaped() {
        for (text, shown) in [
            (r#"a"b"#, r#""a\"b""#),
            (r"a\", r#""a\\""#),
            ("${1}", "\"${1}\""),
            ("*/ # text:", "\"*/ # text:\""),
            ("ü", "\"ü\""),
        ] {
            assert_eq!(quoted(text), shown);
        }
    }

    #[test]
    fn a_comment_stays_on_its_line() {
        assert_eq!(comment("n/r\r\ndiscard; ü\0*/"), "n/rdiscard; */");
    }

    #[test]
    fn what_needs_nothing_requires_nothing() {
        assert_eq!(require(&BTreeSet::new()), "");
        assert_eq!(require(&["copy", "regex"].into()), "require [\"copy\", \"regex\"];\n");
    }
}
