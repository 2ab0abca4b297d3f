//! Cuts a Sieve script into tokens.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Identifier,
    Tag,
    Number,
    Quoted,
    MultiLine,
    Semicolon,
    Comma,
    LeftParen,
    RightParen,
    LeftBracket,
    RightBracket,
    BlockStart,
    BlockEnd,
    Unknown,
    End,
}

impl Kind {
    /// The name used in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identifier => "identifier",
            Self::Tag => "tag",
            Self::Number => "number",
            Self::Quoted => "quoted string",
            Self::MultiLine => "multi-line string",
            Self::Semicolon => "semicolon",
            Self::Comma => "comma",
            Self::LeftParen => "left parenthesis",
            Self::RightParen => "right parenthesis",
            Self::LeftBracket => "left bracket",
            Self::RightBracket => "right bracket",
            Self::BlockStart => "block start",
            Self::BlockEnd => "block end",
            Self::Unknown => "unknown token",
            Self::End => "script end",
        }
    }

    pub(crate) fn is_string(self) -> bool {
        matches!(self, Self::Quoted | Self::MultiLine)
    }
}

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// All tokens of a script, the last one its end.
pub(crate) fn tokens(script: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = script;
    loop {
        let skipped = blank_length(rest);
        line += rest[..skipped].matches('\n').count();
        rest = &rest[skipped..];
        let (kind, length) = next(rest);
        let text = if kind == Kind::Unknown && rest.starts_with(|c: char| c.is_ascii_digit()) {
            // The real one fails to show a number it does not know.
            String::new()
        } else {
            rest[..length].to_owned()
        };
        found.push(Token { kind, text, line });
        if matches!(kind, Kind::End | Kind::Unknown) {
            return found;
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
}

/// The length of blanks and comments ahead.
fn blank_length(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.starts_with('#') {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.find("*/").map_or("", |end| &comment[end + 2..]);
        } else {
            return text.len() - rest.len();
        }
    }
}

/// Kind and length of the token that a text begins with.
fn next(text: &str) -> (Kind, usize) {
    let Some(first) = text.chars().next() else { return (Kind::End, 0) };
    let punctuation = match first {
        ';' => Some(Kind::Semicolon),
        ',' => Some(Kind::Comma),
        '(' => Some(Kind::LeftParen),
        ')' => Some(Kind::RightParen),
        '[' => Some(Kind::LeftBracket),
        ']' => Some(Kind::RightBracket),
        '{' => Some(Kind::BlockStart),
        '}' => Some(Kind::BlockEnd),
        _ => None,
    };
    if let Some(kind) = punctuation {
        (kind, 1)
    } else if first == '"' {
        quoted(text)
    } else if first.is_ascii_digit() {
        number(text)
    } else if let Some(name) = text.strip_prefix(':') {
        match word_length(name) {
            0 => (Kind::Unknown, text.len()),
            length => (Kind::Tag, length + 1),
        }
    } else if let Some(length) = multi_line(text) {
        (Kind::MultiLine, length)
    } else {
        match word_length(text) {
            0 => (Kind::Unknown, text.len()),
            length => (Kind::Identifier, length),
        }
    }
}

fn word_length(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn quoted(text: &str) -> (Kind, usize) {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return (Kind::Quoted, at + 1),
            _ => {}
        }
    }
    (Kind::Unknown, text.len())
}

/// Numbers begin with 1 to 9; a lone 0 is none.
fn number(text: &str) -> (Kind, usize) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if text.starts_with('0') {
        return (Kind::Unknown, end);
    }
    let unit = text[end..].starts_with(['K', 'M', 'G', 'k', 'm', 'g']);
    (Kind::Number, end + usize::from(unit))
}

/// `text:` up to the line that is a lone dot.
fn multi_line(text: &str) -> Option<usize> {
    if !text.get(..5)?.eq_ignore_ascii_case("text:") {
        return None;
    }
    let mut at = text.find('\n')? + 1;
    for line in text[at..].split_inclusive('\n') {
        at += line.len();
        if line.trim_end() == "." {
            return Some(at);
        }
    }
    None
}
