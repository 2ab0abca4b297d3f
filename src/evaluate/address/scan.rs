//! The words that addresses are made of (RFC 5322, section 3.2), read as Dovecot reads them.
//!
//! A step says whether there is more behind what it read and the blanks after it.

/// The text is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A place in a value.
pub(super) struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether the last comment held something.
    saw_comment: bool,
}

/// Whether it may stand in an atom; Dovecot takes all bytes above ASCII.
pub(super) fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, saw_comment: false }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn back_to(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    pub(super) fn saw_comment(&self) -> bool {
        self.saw_comment
    }

    pub(super) fn forget_comment(&mut self) {
        self.saw_comment = false;
    }

    /// Blanks and comments.
    pub(super) fn blanks(&mut self) -> Result<bool, Broken> {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.skip(),
                b'(' => self.comment()?,
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Blanks with something behind them.
    pub(super) fn more(&mut self) -> Result<(), Broken> {
        if self.blanks()? { Ok(()) } else { Err(Broken) }
    }

    fn comment(&mut self) -> Result<(), Broken> {
        self.saw_comment = false;
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            self.skip();
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' if !matches!(self.peek(), Some(b'\r' | b'\n')) => {
                    self.peek().ok_or(Broken)?;
                    self.skip();
                }
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
            self.saw_comment |= depth > 1 || !matches!(byte, b'(' | b'\n');
        }
        Err(Broken)
    }

    fn run(&mut self, into: &mut Vec<u8>, is_in: impl Fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.peek().is_some_and(&is_in) {
            self.skip();
        }
        into.extend(&self.text[start..self.at]);
        self.at - start
    }

    fn atom(&mut self, into: &mut Vec<u8>) -> Result<bool, Broken> {
        if self.run(into, is_atext) == 0 { Err(Broken) } else { self.blanks() }
    }

    /// `dot-atom`, with blanks around its dots.
    fn dot_atom(&mut self, into: &mut Vec<u8>) -> Result<bool, Broken> {
        loop {
            if !self.atom(into)? {
                return Ok(false);
            }
            if self.peek() != Some(b'.') {
                return Ok(true);
            }
            self.skip();
            into.push(b'.');
            self.more()?;
        }
    }

    /// `local-part`; dots may stand anywhere.
    pub(super) fn local_part(&mut self, into: &mut Vec<u8>) -> Result<bool, Broken> {
        if self.peek() == Some(b'"') {
            return self.quoted(into);
        }
        let mut end = Err(Broken);
        loop {
            if self.run(into, |byte| byte == b'.') > 0 {
                end = Ok(true);
            }
            match self.peek() {
                None => return Ok(false),
                Some(b'@') => return end,
                Some(_) => end = self.atom(into),
            }
            if end != Ok(true) || self.peek() != Some(b'.') {
                return end;
            }
        }
    }

    /// `quoted-string`
    pub(super) fn quoted(&mut self, into: &mut Vec<u8>) -> Result<bool, Broken> {
        self.skip();
        while let Some(byte) = self.peek() {
            self.skip();
            match byte {
                b'"' => return self.blanks(),
                b'\n' => {}
                b'\\' if !matches!(self.peek(), Some(b'\r' | b'\n')) => {
                    into.push(self.peek().ok_or(Broken)?);
                    self.skip();
                }
                byte => into.push(byte),
            }
        }
        Err(Broken)
    }

    /// `phrase`, or nothing.
    pub(super) fn phrase(&mut self, into: &mut Vec<u8>) -> Result<bool, Broken> {
        match self.peek() {
            None => return Ok(false),
            Some(b'.') => return Err(Broken),
            Some(_) => {}
        }
        loop {
            let more = if self.peek() == Some(b'"') {
                self.quoted(into)?
            } else {
                self.run(into, |byte| is_atext(byte) || byte == b'.');
                self.blanks()?
            };
            if !more {
                return Ok(false);
            }
            if !self.peek().is_some_and(|byte| is_atext(byte) || byte == b'"' || byte == b'.') {
                return self.blanks();
            }
            into.push(b' ');
        }
    }

    /// `domain` from its `@` on.
    pub(super) fn domain(&mut self, into: &mut Vec<u8>) -> Result<bool, Broken> {
        self.skip();
        self.more()?;
        if self.peek() == Some(b'[') { self.literal(into) } else { self.dot_atom(into) }
    }

    /// `domain-literal`; its backslashes stay.
    fn literal(&mut self, into: &mut Vec<u8>) -> Result<bool, Broken> {
        self.skip();
        into.push(b'[');
        let mut is_escaped = false;
        while let Some(byte) = self.peek() {
            self.skip();
            match byte {
                b'[' if !is_escaped => return Err(Broken),
                b'\n' => {}
                byte => into.push(byte),
            }
            if byte == b']' && !is_escaped {
                return self.blanks();
            }
            is_escaped = byte == b'\\' && !is_escaped;
        }
        Err(Broken)
    }

    /// `obs-domain-list`
    pub(super) fn route(&mut self) -> Result<bool, Broken> {
        while self.peek() == Some(b'@') {
            if !self.domain(&mut Vec::new())? {
                return Ok(false);
            }
            while self.blanks() == Ok(true) && self.peek() == Some(b',') {
                self.skip();
            }
        }
        Ok(self.peek().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(
        text: &'a str,
        step: impl Fn(&mut Scan<'a>, &mut Vec<u8>) -> Result<bool, Broken>,
    ) -> Option<(String, bool)> {
        let mut into = Vec::new();
        step(&mut Scan::new(text.as_bytes()), &mut into).ok().map(|more| (String::from_utf8(into).unwrap(), more))
    }

    #[test]
    fn comments_nest_and_must_end() {
        assert_eq!(read(" (a (b) \\) c) x", |scan, _| scan.blanks()), Some((String::new(), true)));
        assert_eq!(read("(a (b)", |scan, _| scan.blanks()), None);
        assert_eq!(read("(a\\", |scan, _| scan.blanks()), None);
    }

    #[test]
    fn quoted_strings_lose_quotes_backslashes_and_folds() {
        assert_eq!(read("\"a\\\"b\n c\" x", Scan::quoted), Some(("a\"b c".into(), true)));
        assert_eq!(read("\"a", Scan::quoted), None);
    }

    #[test]
    fn dots_may_stand_anywhere_in_a_local_part_but_not_in_a_domain() {
        assert_eq!(read(".a..b.@c", Scan::local_part), Some((".a..b.".into(), true)));
        assert_eq!(read("@a . b", Scan::domain), Some(("a.b".into(), false)));
        assert_eq!(read("@a..b", Scan::domain), None);
        assert_eq!(read("@[1.2] x", Scan::domain), Some(("[1.2]".into(), true)));
    }
}
