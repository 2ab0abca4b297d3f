//! Walks through the tokens of a script by the grammar.

use crate::sieve::grammar::{Arg, COMMANDS, EXTENSIONS, TESTS, Tag, Word};
use crate::sieve::lexer::{Kind, Token, tokens};

type Checked = Result<(), String>;

/// The parser of one script.
pub(crate) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    required: Vec<String>,
}

impl Parser {
    pub(crate) fn new(script: &str) -> Self {
        Self { tokens: tokens(script), at: 0, required: Vec::new() }
    }

    /// Checks the whole script.
    pub(crate) fn script(&mut self) -> Checked {
        let mut before = String::new();
        while self.peek().kind != Kind::End {
            before = self.command(&before)?;
        }
        Ok(())
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn fail<T>(token: &Token, what: &str) -> Result<T, String> {
        Err(format!("line {}: {what}", token.line))
    }

    fn expected<T>(token: &Token, wanted: &str) -> Result<T, String> {
        Self::fail(token, &format!("{} where {wanted} expected near {}", token.kind.name(), token.text))
    }

    fn expect(&mut self, kind: Kind) -> Checked {
        let token = self.take();
        if token.kind == kind { Ok(()) } else { Self::expected(&token, kind.name()) }
    }

    /// One command; tells its name for the one behind it.
    fn command(&mut self, before: &str) -> Result<String, String> {
        let token = self.take();
        if token.kind != Kind::Identifier {
            return Self::expected(&token, "identifier");
        }
        let name = token.text.to_ascii_lowercase();
        match name.as_str() {
            "require" if before.is_empty() || before == "require" => self.require()?,
            "require" => return Self::fail(&token, &format!("require may not appear after {before}")),
            "if" => self.condition()?,
            "elsif" if matches!(before, "if" | "elsif") => self.condition()?,
            "else" if matches!(before, "if" | "elsif") => self.block()?,
            // Known by name, but never where one could write it.
            "elsif" | "else" | "execute" => {
                return Self::fail(&token, &format!("{name} may not appear after {before}"));
            }
            _ => match self.known(COMMANDS, &name) {
                Some(word) => {
                    self.arguments(word, Kind::Semicolon)?;
                    self.expect(Kind::Semicolon)?;
                }
                None => return Self::fail(&token, &format!("unknown command {}", token.text)),
            },
        }
        Ok(name)
    }

    fn known(&self, words: &'static [Word], name: &str) -> Option<&'static Word> {
        let word = words.iter().find(|word| word.name == name)?;
        let usable = word.needs.is_empty() || word.needs.iter().any(|n| self.has(n));
        usable.then_some(word)
    }

    fn has(&self, extension: &str) -> bool {
        self.required.iter().any(|r| r == extension)
    }

    /// `require "x";` or `require ["x", "y"];`
    fn require(&mut self) -> Checked {
        let token = self.take();
        if token.kind == Kind::LeftBracket {
            let names = self.list()?;
            if let Some(name) = names.iter().find(|name| !self.learn(name)) {
                return Self::fail(name, &format!("unexpected quoted string {}", name.text));
            }
        } else if !token.kind.is_string() {
            return Self::expected(&token, "string list");
        } else if !self.learn(&token) {
            let what = format!("quoted string {} where require string expected", token.text);
            return Self::fail(&token, &what);
        }
        self.expect(Kind::Semicolon)
    }

    fn learn(&mut self, token: &Token) -> bool {
        let name = token.text.trim_matches('"').to_owned();
        let known = EXTENSIONS.contains(&name.as_str());
        if known {
            self.required.push(name);
        }
        known
    }

    /// The strings of a list whose bracket was just taken.
    fn list(&mut self) -> Result<Vec<Token>, String> {
        let mut found = Vec::new();
        if self.peek().kind == Kind::RightBracket {
            self.at += 1;
            return Ok(found);
        }
        loop {
            let token = self.take();
            if !token.kind.is_string() {
                return Self::expected(&token, "string");
            }
            found.push(token);
            let token = self.take();
            match token.kind {
                Kind::Comma => {}
                Kind::RightBracket => return Ok(found),
                _ => return Self::expected(&token, "comma"),
            }
        }
    }

    fn condition(&mut self) -> Checked {
        self.test()?;
        self.block()
    }

    fn block(&mut self) -> Checked {
        self.expect(Kind::BlockStart)?;
        let mut before = "block start".to_owned();
        while self.peek().kind != Kind::BlockEnd {
            before = self.command(&before)?;
        }
        self.at += 1;
        Ok(())
    }

    fn test(&mut self) -> Checked {
        let token = self.take();
        if token.kind != Kind::Identifier {
            return Self::expected(&token, "identifier");
        }
        let name = token.text.to_ascii_lowercase();
        match name.as_str() {
            "not" => self.test(),
            "allof" | "anyof" => self.tests(),
            _ => match self.known(TESTS, &name) {
                Some(word) => self.arguments(word, Kind::BlockStart),
                None => Self::fail(&token, &format!("unknown test {}", token.text)),
            },
        }
    }

    fn tests(&mut self) -> Checked {
        self.expect(Kind::LeftParen)?;
        loop {
            self.test()?;
            let token = self.take();
            match token.kind {
                Kind::Comma => {}
                Kind::RightParen => return Ok(()),
                _ => return Self::expected(&token, "comma"),
            }
        }
    }

    /// Tags in any order, then the other arguments.
    fn arguments(&mut self, word: &Word, end: Kind) -> Checked {
        while self.peek().kind == Kind::Tag {
            let token = self.take();
            match self.tag(word, &token.text) {
                Some((_, Some(arg), _)) => self.argument(*arg)?,
                Some(_) => {}
                None if word.args.is_empty() && word.tags.is_empty() => {
                    return Self::expected(&token, end.name());
                }
                None => return Self::fail(&token, &format!("unexpected tag {}", token.text)),
            }
        }
        self.plain_arguments(word)
    }

    fn plain_arguments(&mut self, word: &Word) -> Checked {
        // Where arguments may be left out, it is by their number that one sees which are there.
        if word.optional == 0 {
            return word.args.iter().try_for_each(|arg| self.argument(*arg));
        }
        let least = word.args.len() - word.optional;
        for n in 0..word.args.len() {
            let more = self.peek().kind.is_string() || self.peek().kind == Kind::LeftBracket;
            if n >= least && !more {
                break;
            }
            self.argument(Arg::Texts)?;
        }
        Ok(())
    }

    fn tag(&self, word: &Word, name: &str) -> Option<&'static Tag> {
        let name = name.to_ascii_lowercase();
        let groups = word.tags.iter().copied();
        groups
            .flat_map(|group| group.iter())
            .find(|(tag, _, needs)| *tag == name && (needs.is_empty() || self.has(needs)))
    }

    fn argument(&mut self, arg: Arg) -> Checked {
        let token = self.take();
        match (arg, token.kind) {
            (Arg::Number, Kind::Number) => Ok(()),
            (Arg::Texts, Kind::LeftBracket) => self.list().map(drop),
            (Arg::Text | Arg::Texts, kind) if kind.is_string() => Ok(()),
            _ => Self::expected(&token, arg.name()),
        }
    }
}
