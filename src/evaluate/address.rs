//! Addresses in a header value, as Dovecot finds them (RFC 5322, section 3.4, and what is obsolete there).
//!
//! Of a list, what is malformed is passed over; a list in which nothing is sound counts as the text that it is.

mod scan;

use scan::{Broken, Scan};

/// What the test `address` compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// An address.
    Address {
        /// `local@domain`, the local part in quotes where it needs them.
        all: Vec<u8>,
        /// After the `@`; `None` only in an envelope.
        domain: Option<Vec<u8>>,
    },
    /// The whole value, which holds no address; its domain is only that of the empty value.
    Text(Vec<u8>),
}

impl Found {
    /// What `:all` takes.
    pub(super) fn all(&self) -> &[u8] {
        match self {
            Self::Address { all, .. } => all,
            Self::Text(text) => text,
        }
    }

    /// What `:domain` takes.
    pub(super) fn domain(&self) -> Option<&[u8]> {
        match self {
            Self::Address { domain, .. } => domain.as_deref(),
            Self::Text(text) => text.is_empty().then_some(text),
        }
    }

    fn address(local: &[u8], domain: Option<Vec<u8>>) -> Self {
        let mut all = if is_dot_atom(local) { local.to_vec() } else { quoted(local) };
        if let Some(domain) = &domain {
            all.push(b'@');
            all.extend(domain);
        }
        Self::Address { all, domain }
    }
}

/// How many addresses of a value Dovecot reads.
const MOST: usize = 256;

/// What is found in a value of a header field.
pub(super) fn found(value: &[u8]) -> Vec<Found> {
    if value.is_empty() {
        return vec![Found::Text(vec![])];
    }
    let mut list = List { scan: Scan::new(value), mailboxes: vec![] };
    list.read();
    let sound: Vec<&Mailbox> = list.mailboxes.iter().filter(|mailbox| mailbox.is_sound()).collect();
    if sound.is_empty() && !list.mailboxes.is_empty() {
        return vec![Found::Text(value.to_vec())];
    }
    let with_name = sound.into_iter().filter(|mailbox| !mailbox.local().is_empty());
    with_name.map(|mailbox| Found::address(mailbox.local(), mailbox.domain.clone())).collect()
}

/// An address of the envelope, without angle brackets; empty for a bounce.
pub(super) fn of_envelope(text: &str) -> Found {
    if text.is_empty() {
        return Found::Text(vec![]);
    }
    let (local, domain) = text.rsplit_once('@').map_or((text, None), |(local, domain)| (local, Some(domain)));
    let mut plain = Vec::new();
    let is_quoted = local.starts_with('"') && Scan::new(local.as_bytes()).quoted(&mut plain).is_ok();
    let local = if is_quoted { plain.as_slice() } else { local.as_bytes() };
    Found::address(local, domain.map(|domain| domain.as_bytes().to_vec()))
}

fn is_dot_atom(local: &[u8]) -> bool {
    let is_atom = |part: &[u8]| !part.is_empty() && part.iter().all(|b| b.is_ascii() && scan::is_atext(*b));
    local.split(|b| *b == b'.').all(is_atom)
}

fn quoted(local: &[u8]) -> Vec<u8> {
    let escaped = local.iter().flat_map(|b| {
        let escape: &[u8] = if matches!(b, b'"' | b'\\') { b"\\" } else { b"" };
        escape.iter().chain(std::iter::once(b))
    });
    std::iter::once(&b'"').chain(escaped).chain(std::iter::once(&b'"')).copied().collect()
}

/// A mailbox, or the beginning or end of a group, which is never sound.
#[derive(Default)]
struct Mailbox {
    local: Option<Vec<u8>>,
    domain: Option<Vec<u8>>,
    is_broken: bool,
}

impl Mailbox {
    fn local(&self) -> &[u8] {
        self.local.as_deref().unwrap_or_default()
    }

    /// Whether SMTP could take it; an empty local part counts.
    fn is_sound(&self) -> bool {
        let is_smtp = self.local().iter().all(|b| (0x20..0x7f).contains(b));
        let has_domain = self.domain.as_ref().is_some_and(|domain| !domain.is_empty());
        !self.is_broken && self.local.is_some() && has_domain && is_smtp
    }
}

struct List<'a> {
    scan: Scan<'a>,
    mailboxes: Vec<Mailbox>,
}

impl List<'_> {
    /// `address-list`
    fn read(&mut self) {
        if self.scan.blanks() != Ok(true) {
            return;
        }
        for _ in 0..MOST {
            if !self.address() || self.scan.peek() != Some(b',') {
                return;
            }
            self.scan.skip();
            match self.scan.blanks() {
                Ok(true) => {}
                Ok(false) => return,
                Err(Broken) => return self.mailboxes.push(Mailbox { is_broken: true, ..Mailbox::default() }),
            }
        }
    }

    /// `address`, and whether there is more behind it.
    fn address(&mut self) -> bool {
        let start = self.scan.at();
        let mut name = Vec::new();
        if self.scan.phrase(&mut name) == Ok(true) && self.scan.peek() == Some(b':') {
            return self.group();
        }
        self.scan.back_to(start);
        self.mailbox() != Ok(false)
    }

    /// `group` from its colon on, and whether there is more behind it.
    fn group(&mut self) -> bool {
        self.scan.skip();
        let edge = || Mailbox { is_broken: true, ..Mailbox::default() };
        let start = self.scan.blanks();
        self.mailboxes.push(edge());
        let members = match start {
            Ok(true) if self.scan.peek() != Some(b';') => self.members(),
            other => other.map(|_| ()),
        };
        let end = match members {
            Ok(()) if self.scan.peek() == Some(b';') => {
                self.scan.skip();
                self.scan.blanks()
            }
            _ => Err(Broken),
        };
        self.mailboxes.push(edge());
        end != Ok(false)
    }

    fn members(&mut self) -> Result<(), Broken> {
        loop {
            // One that is broken does not end the group.
            let _ = self.mailbox();
            if self.scan.peek() != Some(b',') {
                return Ok(());
            }
            self.scan.skip();
            if self.scan.blanks() != Ok(true) {
                return Err(Broken);
            }
        }
    }

    /// `mailbox`: `name-addr` or `addr-spec`.
    fn mailbox(&mut self) -> Result<bool, Broken> {
        let start = self.scan.at();
        let mut mailbox = Mailbox::default();
        let mut name = Vec::new();
        let end = if self.scan.phrase(&mut name) == Ok(true) && self.scan.peek() == Some(b'<') {
            mailbox.is_broken = self.angle(&mut mailbox).is_err();
            Ok(self.scan.peek().is_some())
        } else {
            self.scan.back_to(start);
            self.spec(&mut mailbox)
        };
        mailbox.is_broken |= end.is_err();
        self.mailboxes.push(mailbox);
        end
    }

    /// `angle-addr`, with a route or none.
    fn angle(&mut self, mailbox: &mut Mailbox) -> Result<bool, Broken> {
        self.scan.skip();
        self.scan.more()?;
        if self.scan.peek() == Some(b'@') {
            if self.scan.route() == Ok(true) && self.scan.peek() == Some(b':') {
                self.scan.skip();
            }
            self.scan.more()?;
        }
        if self.scan.peek() != Some(b'>') {
            let mut local = Vec::new();
            let more = self.scan.local_part(&mut local)?;
            mailbox.local = Some(local);
            if more && self.scan.peek() == Some(b'@') {
                let mut domain = Vec::new();
                self.scan.domain(&mut domain)?;
                mailbox.domain = Some(domain);
            }
        }
        if self.scan.peek() != Some(b'>') {
            return Err(Broken);
        }
        self.scan.skip();
        self.scan.blanks()
    }

    /// `addr-spec`. A word without a domain takes the words behind it with it.
    fn spec(&mut self, mailbox: &mut Mailbox) -> Result<bool, Broken> {
        self.scan.forget_comment();
        let mut local = Vec::new();
        let mut end = self.scan.local_part(&mut local);
        mailbox.is_broken = end != Ok(true);
        mailbox.local = end.is_ok().then_some(local);
        let has_domain = end != Ok(false) && self.scan.peek() == Some(b'@');
        if has_domain {
            let mut domain = Vec::new();
            let after = self.scan.domain(&mut domain);
            mailbox.domain = after.is_ok().then_some(domain);
            end = if after == Ok(true) { end } else { after };
        }
        if !has_domain && !self.scan.saw_comment() {
            let _ = self.scan.phrase(&mut Vec::new());
            mailbox.is_broken = true;
            end = Err(Broken);
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: &str) -> Vec<String> {
        found(value.as_bytes()).iter().map(|found| String::from_utf8(found.all().to_vec()).unwrap()).collect()
    }

    #[test]
    fn addresses_are_found_without_names_comments_routes_and_groups() {
        for (value, expected) in [
            ("a@b.test", vec!["a@b.test"]),
            ("\"ceo@acme.test\" <A@b.test>, c@d.test", vec!["A@b.test", "c@d.test"]),
            ("\"x <ceo@acme.test>\" <a@b.test>", vec!["a@b.test"]),
            ("(ceo@acme.test) a (x) @ b . test (y)", vec!["a@b.test"]),
            ("<@relay.test,@other.test:a@b.test>", vec!["a@b.test"]),
            ("Friends: a@b.test, \"C\" <c@d.test>;", vec!["a@b.test", "c@d.test"]),
            ("\"john\\\" doe\"@b.test", vec!["\"john\\\" doe\"@b.test"]),
            ("\"john\"@b.test", vec!["john@b.test"]),
            ("..a..b@c.test", vec!["\"..a..b\"@c.test"]),
            ("a@[192.0.2.1]", vec!["a@[192.0.2.1]"]),
            ("A B <a@b.test>\n (c)", vec!["a@b.test"]),
            ("ceo@acme.test evil@x.test", vec!["ceo@acme.test"]),
            ("=?utf-8?q?ceo=40acme.test?= <a@b.test>", vec!["a@b.test"]),
        ] {
            assert_eq!(all(value), expected, "{value}");
        }
    }

    #[test]
    fn a_value_without_a_sound_address_is_a_text() {
        for value in ["ceo", "undisclosed:;", "<a@b.test", "ceo acme", "<>", "ü@b.test", "a@", "@b.test", "(a"] {
            assert_eq!(
                found(value.as_bytes()),
                [Found::Text(value.into())].into_iter().filter(|_| value != "(a").collect::<Vec<_>>(),
                "{value}"
            );
        }
        assert_eq!(all("broken, a@b.test, also broken"), ["a@b.test"]);
        assert_eq!(all("(nothing)"), Vec::<String>::new());
        assert_eq!(all(""), [""]);
    }

    #[test]
    fn only_an_address_and_the_empty_value_have_a_domain() {
        let domains =
            |value: &str| found(value.as_bytes()).iter().map(|f| f.domain().map(<[u8]>::to_vec)).collect::<Vec<_>>();
        assert_eq!(domains("a@b.test"), [Some(b"b.test".to_vec())]);
        assert_eq!(domains("nobody"), [None]);
        assert_eq!(domains(""), [Some(vec![])]);
    }

    #[test]
    fn an_envelope_has_one_address_or_none() {
        assert_eq!(of_envelope("").all(), b"");
        assert_eq!(of_envelope("\"john\"@b.test").all(), b"john@b.test");
        assert_eq!(of_envelope("bounce+a=b@c.test").domain(), Some(&b"c.test"[..]));
        assert_eq!((of_envelope("root").all(), of_envelope("root").domain()), (&b"root"[..], None));
    }
}
