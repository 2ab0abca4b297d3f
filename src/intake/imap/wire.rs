//! Responses of the server as values: a pure reading of bytes.
//!
//! imap-codec frames and decodes, with one exception: it knows no X-GUID, and a response with an item that it does not
//! know is no response to it. So that item is cut out of the bytes before. io-imap, which builds on the same codec,
//! leaves such responses out without a word, has no UNCHANGEDSINCE for STORE, and keeps the codes of answers (MODIFIED,
//! EXPUNGEISSUED) and untagged NOs to itself; async-imap turns a NO of STORE or FETCH into an empty success.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};

use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;
use imap_codec::imap_types::core::AString;
use imap_codec::imap_types::fetch::MessageDataItem;
use imap_codec::imap_types::flag::{FlagFetch, FlagNameAttribute};
use imap_codec::imap_types::mailbox::Mailbox;
use imap_codec::imap_types::response::{Code as WireCode, Data, Response, Status, StatusBody, StatusKind};
use imap_codec::imap_types::sequence::SequenceSet;
use imap_codec::imap_types::status::StatusDataItem;

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The end of a command.
    Tagged {
        /// The command's tag.
        tag: String,
        /// How it ended.
        condition: Condition,
    },
    /// A condition that belongs to no command.
    Untagged(Condition),
    /// The server ends the session.
    Bye(String),
    /// Extensions of the server, in capitals.
    Capabilities(Vec<String>),
    /// Messages in the selected folder.
    Exists(u32),
    /// A message is gone.
    Expunged,
    /// Data of a message.
    Fetch(Fetched),
    /// UIDs that a search found.
    Search(Vec<u32>),
    /// Counts of a folder.
    FolderStatus(FolderStatus),
    /// A folder of a list that can be selected.
    Folder(String),
    /// The server waits for more of a command.
    Continue,
    /// Anything that does not matter here.
    Other,
    /// It can't be read; its beginning.
    Unreadable(String),
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// OK, NO or BAD.
    pub(super) kind: Kind,
    /// The code in brackets.
    pub(super) code: Code,
    /// Text for people.
    pub(super) text: String,
}

/// OK, NO or BAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was done.
    Ok,
    /// It was refused.
    No,
    /// It was not understood.
    Bad,
}

/// A code in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// No code, or one that does not matter here.
    None,
    /// Validity of the UIDs.
    UidValidity(u32),
    /// The next UID.
    UidNext(u32),
    /// The highest mod-sequence.
    HighestModSeq(u64),
    /// The folder has no mod-sequences.
    NoModSeq,
    /// UIDs that somebody changed (RFC 7162, section 3.1.3).
    Modified(Vec<u32>),
    /// UIDs that were copied or moved.
    Copied(Vec<u32>),
    /// The folder does not exist.
    TryCreate,
    /// Extensions of the server, in capitals.
    Capabilities(Vec<String>),
    /// Another one, in capitals.
    Other(String),
}

/// Data of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fetched {
    /// The UID.
    pub(super) uid: Option<u32>,
    /// Flags and keywords.
    pub(super) flags: Option<Vec<String>>,
    /// When it arrived, in seconds since 1970.
    pub(super) arrived: Option<i64>,
    /// Its size in bytes. 0 for a message that is gone.
    pub(super) size: Option<u32>,
    /// Its mod-sequence.
    pub(super) mod_seq: Option<u64>,
    /// Its stable id.
    pub(super) guid: Option<String>,
    /// A body, or a part of it.
    pub(super) body: Option<Body>,
}

/// A body, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// NIL: the message is gone.
    Nil,
    /// Its bytes; there may be none.
    Bytes(Vec<u8>),
}

/// Counts of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FolderStatus {
    /// Its name.
    pub(super) folder: String,
    /// Its messages.
    pub(super) messages: Option<u32>,
    /// Its next UID.
    pub(super) uid_next: Option<u32>,
}

/// The items that the codec does not know.
const IDS: [&str; 2] = ["X-GUID", "EMAILID"];

/// Reads one complete response, literals and all.
pub(super) fn read(bytes: &[u8]) -> Line {
    let (guid, bytes) = without_id(bytes);
    let read = catch_unwind(AssertUnwindSafe(|| match ResponseCodec::default().decode(&bytes) {
        Ok((b"", response)) => Some(line(response)),
        _ => None,
    }));
    match read.ok().flatten() {
        Some(Line::Fetch(fetched)) => Line::Fetch(Fetched { guid, ..fetched }),
        Some(line) => line,
        None => Line::Unreadable(String::from_utf8_lossy(&bytes).chars().take(100).collect()),
    }
}

/// Takes the stable id out of a FETCH response. Only items of the outer list count: flags and literals may hold the
/// same words.
fn without_id(bytes: &[u8]) -> (Option<String>, std::borrow::Cow<'_, [u8]>) {
    use std::borrow::Cow;
    let is_fetch = bytes.starts_with(b"* ") && bytes.iter().take(40).any(|b| *b == b'(');
    let Some(open) = is_fetch.then(|| bytes.iter().position(|b| *b == b'(')).flatten() else {
        return (None, Cow::Borrowed(bytes));
    };
    let mut at = open + 1;
    while at < bytes.len() && bytes[at] != b')' {
        let start = at;
        let name_end = token_end(bytes, at);
        let name = String::from_utf8_lossy(&bytes[at..name_end]).to_ascii_uppercase();
        let value = name_end + 1;
        let value_end = token_end(bytes, value);
        if IDS.contains(&name.as_str()) && value < bytes.len() {
            let text = String::from_utf8_lossy(&bytes[value..value_end]);
            let id = text.trim_matches(['"', '(', ')']).to_owned();
            // The blank on one side of the item goes with it.
            let (from, to) = if bytes.get(value_end) == Some(&b' ') {
                (start, value_end + 1)
            } else {
                (start.saturating_sub(usize::from(bytes[start - 1] == b' ')), value_end)
            };
            let mut rest = bytes[..from].to_vec();
            rest.extend_from_slice(&bytes[to..]);
            let is_id = !id.is_empty() && !id.eq_ignore_ascii_case("nil");
            return (is_id.then_some(id), Cow::Owned(rest));
        }
        at = value_end;
        while bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        if at == start {
            break;
        }
    }
    (None, Cow::Borrowed(bytes))
}

/// Where a token ends: an atom (with what is in its brackets), a string, a literal or a list.
fn token_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0_u32;
    let mut in_brackets = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = string_end(bytes, at),
            b'{' if !in_brackets => match literal_end(bytes, at) {
                Some(end) => {
                    at = end;
                    continue;
                }
                None => return bytes.len(),
            },
            b'[' => in_brackets = true,
            b']' => in_brackets = false,
            b'(' => depth += 1,
            b')' | b'\r' | b'\n' if depth == 0 => return at,
            b')' => depth -= 1,
            b' ' if depth == 0 && !in_brackets => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Where the bytes of a literal end.
fn literal_end(bytes: &[u8], start: usize) -> Option<usize> {
    let close = bytes[start..].iter().take(14).position(|b| *b == b'}')? + start;
    let digits = std::str::from_utf8(&bytes[start + 1..close]).ok()?;
    let length: usize = digits.trim_end_matches('+').parse().ok()?;
    let end = close.checked_add(3)?.checked_add(length)?;
    (end <= bytes.len()).then_some(end)
}

fn line(response: Response<'_>) -> Line {
    match response {
        Response::CommandContinuationRequest(_) => Line::Continue,
        Response::Status(Status::Tagged(tagged)) => {
            Line::Tagged { tag: tagged.tag.inner().to_owned(), condition: condition(tagged.body) }
        }
        Response::Status(Status::Untagged(body)) => Line::Untagged(condition(body)),
        Response::Status(Status::Bye(bye)) => Line::Bye(bye.text.inner().to_owned()),
        Response::Data(data) => data_line(data),
    }
}

fn condition(body: StatusBody<'_>) -> Condition {
    let kind = match body.kind {
        StatusKind::Ok => Kind::Ok,
        StatusKind::No => Kind::No,
        StatusKind::Bad => Kind::Bad,
    };
    Condition { kind, code: body.code.map_or(Code::None, code), text: body.text.inner().to_owned() }
}

fn code(code: WireCode<'_>) -> Code {
    match code {
        WireCode::UidValidity(number) => Code::UidValidity(number.get()),
        WireCode::UidNext(number) => Code::UidNext(number.get()),
        WireCode::HighestModSeq(number) => Code::HighestModSeq(number.get()),
        WireCode::NoModSeq => Code::NoModSeq,
        WireCode::Modified(set) => Code::Modified(numbers(&set)),
        WireCode::CopyUid { source, .. } => {
            let text = set_text(&source);
            Code::Copied(SequenceSet::try_from(text.as_str()).map(|set| numbers(&set)).unwrap_or_default())
        }
        WireCode::TryCreate => Code::TryCreate,
        WireCode::Capability(all) => {
            Code::Capabilities(all.as_ref().iter().map(|one| upper(&one.to_string())).collect())
        }
        WireCode::Alert => Code::Other("ALERT".to_owned()),
        WireCode::OverQuota => Code::Other("OVERQUOTA".to_owned()),
        WireCode::Other(other) => Code::Other(upper(&String::from_utf8_lossy(other.inner()))),
        _ => Code::None,
    }
}

fn set_text(set: &imap_codec::imap_types::extensions::uidplus::UidSet) -> String {
    use imap_codec::imap_types::extensions::uidplus::UidElement;
    let element = |element: &UidElement| match element {
        UidElement::Single(uid) => uid.to_string(),
        UidElement::Range(from, to) => format!("{from}:{to}"),
    };
    set.0.as_ref().iter().map(element).collect::<Vec<_>>().join(",")
}

fn upper(text: &str) -> String {
    text.to_ascii_uppercase()
}

/// The numbers of a set, at most a hundred thousand.
fn numbers(set: &SequenceSet) -> Vec<u32> {
    let largest = NonZeroU32::MAX;
    set.iter(largest).map(NonZeroU32::get).take(100_000).collect()
}

fn data_line(data: Data<'_>) -> Line {
    match data {
        Data::Capability(all) => Line::Capabilities(all.as_ref().iter().map(|one| upper(&one.to_string())).collect()),
        Data::Exists(count) => Line::Exists(count),
        Data::Expunge(_) => Line::Expunged,
        Data::Search(found, ..) => Line::Search(found.into_iter().map(NonZeroU32::get).collect()),
        Data::Fetch { items, .. } => {
            let mut fetched = Fetched::default();
            for item in items {
                add(&mut fetched, item);
            }
            Line::Fetch(fetched)
        }
        Data::Status { mailbox, items } => {
            let mut status = FolderStatus { folder: name(&mailbox), ..FolderStatus::default() };
            for item in items.iter() {
                match item {
                    StatusDataItem::Messages(count) => status.messages = Some(*count),
                    StatusDataItem::UidNext(uid) => status.uid_next = Some(uid.get()),
                    _ => {}
                }
            }
            Line::FolderStatus(status)
        }
        Data::List { items, mailbox, .. } if !items.iter().any(is_not_selectable) => Line::Folder(name(&mailbox)),
        _ => Line::Other,
    }
}

/// `\Noselect` or `\NonExistent` (RFC 5258, section 3).
fn is_not_selectable(attribute: &FlagNameAttribute<'_>) -> bool {
    let text = attribute.to_string();
    ["\\Noselect", "\\NonExistent"].iter().any(|name| text.eq_ignore_ascii_case(name))
}

fn name(mailbox: &Mailbox<'_>) -> String {
    match mailbox {
        Mailbox::Inbox => "INBOX".to_owned(),
        Mailbox::Other(other) => match other.inner() {
            AString::Atom(atom) => atom.inner().to_owned(),
            AString::String(text) => String::from_utf8_lossy(&text.clone().into_inner()).into_owned(),
        },
    }
}

fn add(fetched: &mut Fetched, item: MessageDataItem<'_>) {
    match item {
        MessageDataItem::Uid(uid) => fetched.uid = Some(uid.get()),
        MessageDataItem::Flags(flags) => fetched.flags = Some(flags.iter().map(flag).collect()),
        MessageDataItem::InternalDate(date) => fetched.arrived = Some(date.as_ref().timestamp()),
        MessageDataItem::Rfc822Size(size) => fetched.size = Some(size),
        MessageDataItem::ModSeq(number) => fetched.mod_seq = Some(number.get()),
        MessageDataItem::BodyExt { data, .. } => {
            fetched.body = Some(data.into_option().map_or(Body::Nil, |bytes| Body::Bytes(bytes.into_owned())));
        }
        _ => {}
    }
}

fn flag(flag: &FlagFetch<'_>) -> String {
    match flag {
        FlagFetch::Flag(flag) => flag.to_string(),
        FlagFetch::Recent => "\\Recent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(text: &str) -> Fetched {
        match read(text.as_bytes()) {
            Line::Fetch(fetched) => fetched,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn folders_of_a_list_can_be_selected() {
        let read = |text: &str| read(text.as_bytes());
        let listed = read("* LIST (\\HasNoChildren) \"/\" \"Ops/Tasks/mail/a@b\"\r\n");
        assert_eq!(listed, Line::Folder("Ops/Tasks/mail/a@b".into()));
        for above in ["* LIST (\\Noselect \\HasChildren) \"/\" Ops\r\n", "* LIST (\\NonExistent) \"/\" Ops\r\n"] {
            assert_eq!(read(above), Line::Other, "{above}");
        }
    }

    #[test]
    fn data_of_a_message_is_read_with_its_stable_id() {
        let line = "* 3 FETCH (UID 7 FLAGS (\\Seen $IntakeTry1 X-GUID) X-GUID 4f2a00 INTERNALDATE \"28-Nov-2026 12:00:00 \
                    +0100\" RFC822.SIZE 12 MODSEQ (99))\r\n";
        let read = fetched(line);
        assert_eq!(
            (read.uid, read.size, read.mod_seq, read.arrived),
            (Some(7), Some(12), Some(99), Some(1_795_863_600))
        );
        assert_eq!(read.flags.unwrap(), ["\\Seen", "$IntakeTry1", "X-GUID"]);
        assert_eq!(read.guid.as_deref(), Some("4f2a00"));
        for line in [
            "* 1 FETCH (X-GUID \"a b\" UID 1)\r\n",
            "* 1 FETCH (UID 1 X-GUID \"a b\")\r\n",
            "* 1 FETCH (UID 1 EMAILID (a b))\r\n",
        ] {
            assert_eq!((fetched(line).guid.as_deref(), fetched(line).uid), (Some("a b"), Some(1)), "{line}");
        }
    }

    #[test]
    fn words_in_a_body_are_no_items() {
        let line = "* 1 FETCH (UID 1 BODY[HEADER.FIELDS (FROM X-GUID)]<0> {15}\r\na X-GUID fake\r\n X-GUID real)\r\n";
        let read = fetched(line);
        assert_eq!(read.body, Some(Body::Bytes(b"a X-GUID fake\r\n".to_vec())));
        assert_eq!(read.guid.as_deref(), Some("real"));
    }

    #[test]
    fn nil_is_not_an_empty_body() {
        assert_eq!(fetched("* 1 FETCH (UID 1 RFC822.SIZE 0 BODY[] NIL)\r\n").body, Some(Body::Nil));
        assert_eq!(fetched("* 1 FETCH (UID 1 BODY[] {0}\r\n)\r\n").body, Some(Body::Bytes(vec![])));
        assert_eq!(fetched("* 1 FETCH (UID 1 BODY[] \"\")\r\n").body, Some(Body::Bytes(vec![])));
        assert_eq!(fetched("* 1 FETCH (UID 1)\r\n").body, None);
    }

    #[test]
    fn codes_are_read() {
        let of = |text: &str| match read(text.as_bytes()) {
            Line::Tagged { condition, .. } | Line::Untagged(condition) => condition.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(of("a1 OK [MODIFIED 7,9:11] Conditional STORE failed\r\n"), Code::Modified(vec![7, 9, 10, 11]));
        assert_eq!(of("* OK [UIDVALIDITY 5] ok\r\n"), Code::UidValidity(5));
        assert_eq!(of("* OK [UIDNEXT 6] ok\r\n"), Code::UidNext(6));
        assert_eq!(of("* OK [HIGHESTMODSEQ 8] ok\r\n"), Code::HighestModSeq(8));
        assert_eq!(of("* OK [NOMODSEQ] no\r\n"), Code::NoModSeq);
        assert_eq!(of("a1 NO [TRYCREATE] no\r\n"), Code::TryCreate);
        assert_eq!(of("a1 OK [EXPUNGEISSUED] some are gone\r\n"), Code::Other("EXPUNGEISSUED".into()));
        assert_eq!(of("* OK [COPYUID 1 3:4,9 1:3] moved\r\n"), Code::Copied(vec![3, 4, 9]));
        assert_eq!(of("a1 NO [NONEXISTENT] no\r\n"), Code::Other("NONEXISTENT".into()));
    }

    #[test]
    fn other_responses_are_read() {
        assert_eq!(read(b"* 5 EXISTS\r\n"), Line::Exists(5));
        assert_eq!(read(b"* 5 EXPUNGE\r\n"), Line::Expunged);
        assert_eq!(read(b"* BYE later\r\n"), Line::Bye("later".into()));
        assert_eq!(read(b"+ idling\r\n"), Line::Continue);
        assert_eq!(read(b"* SEARCH 2 4\r\n"), Line::Search(vec![2, 4]));
        let status = FolderStatus { folder: "Ops/Tasks/n/r@s".into(), messages: Some(3), uid_next: Some(9) };
        assert_eq!(read(b"* STATUS \"Ops/Tasks/n/r@s\" (MESSAGES 3 UIDNEXT 9)\r\n"), Line::FolderStatus(status));
        let Line::Capabilities(all) = read(b"* CAPABILITY IMAP4rev1 MOVE CONDSTORE Notify\r\n") else { panic!() };
        assert!(["MOVE", "CONDSTORE", "NOTIFY"].iter().all(|one| all.iter().any(|known| known == one)), "{all:?}");
    }

    #[test]
    fn what_cannot_be_read_is_kept_apart() {
        for text in
            ["* 1 FETCH (UID 0)\r\n", "* 1 FETCH (X-GUID", "* 1 FETCH (NEW-ITEM 5)\r\n", "nonsense\r\n", "\r\n", ""]
        {
            assert!(matches!(read(text.as_bytes()), Line::Unreadable(_)), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_do_not_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn random_items_do_not_panic(pieces in proptest::collection::vec(proptest::sample::select(vec![
            "* 1 FETCH (", "UID 1", " ", "X-GUID", "a", "\"", "(", ")", "{3}\r\n", "{99999999999}", "BODY[]", "NIL", "[", "]",
            "FLAGS (", "\\", "\r\n", "MODSEQ (", "1", "EMAILID (", "{", "}", "* OK [", "a1 NO [MODIFIED ", ":", ",", "*",
        ]), 0..30)) {
            let _ = read(pieces.concat().as_bytes());
        }
    }
}
