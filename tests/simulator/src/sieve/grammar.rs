//! Commands and tests that Mailcow's parser knows.

/// One argument that is not a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arg {
    Text,
    Texts,
    Number,
}

impl Arg {
    /// The name used in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Texts => "string list",
            Self::Number => "number",
        }
    }
}

/// A tag: its name, the argument behind it and the extension it needs.
pub(crate) type Tag = (&'static str, Option<Arg>, &'static str);

/// A command or test.
#[derive(Clone, Copy)]
pub(crate) struct Word {
    pub(crate) name: &'static str,
    /// Any of these must be required; none for the base language.
    pub(crate) needs: &'static [&'static str],
    pub(crate) tags: &'static [&'static [Tag]],
    pub(crate) args: &'static [Arg],
    /// Arguments that may be left out, before the others.
    pub(crate) optional: usize,
}

const fn word(
    name: &'static str,
    needs: &'static [&'static str],
    tags: &'static [&'static [Tag]],
    args: &'static [Arg],
) -> Word {
    Word { name, needs, tags, args, optional: 0 }
}

const fn with_optional(word: Word) -> Word {
    Word { optional: 1, ..word }
}

/// What `require` may name.
pub(crate) const EXTENSIONS: &[&str] = &[
    "body",
    "copy",
    "date",
    "duplicate",
    "editheader",
    "enotify",
    "envelope",
    "environment",
    "ereject",
    "fileinto",
    "imap4flags",
    "imapflags",
    "index",
    "mailbox",
    "notify",
    "regex",
    "reject",
    "relational",
    "subaddress",
    "vacation",
    "vacation-seconds",
    "variables",
    "vnd.dovecot.execute",
    "vnd.dovecot.pipe",
];

const MATCH: &[Tag] = &[
    (":is", None, ""),
    (":contains", None, ""),
    (":matches", None, ""),
    (":regex", None, "regex"),
    (":value", Some(Arg::Text), "relational"),
    (":count", Some(Arg::Text), "relational"),
    (":comparator", Some(Arg::Text), ""),
];
const PART: &[Tag] = &[
    (":all", None, ""),
    (":localpart", None, ""),
    (":domain", None, ""),
    (":user", None, "subaddress"),
    (":detail", None, "subaddress"),
];
const INDEX: &[Tag] = &[(":index", Some(Arg::Number), "index"), (":last", None, "index")];
const FILE: &[Tag] =
    &[(":copy", None, "copy"), (":create", None, "mailbox"), (":flags", Some(Arg::Texts), "imap4flags")];
const VACATION: &[Tag] = &[
    (":days", Some(Arg::Number), ""),
    (":seconds", Some(Arg::Number), "vacation-seconds"),
    (":addresses", Some(Arg::Texts), ""),
    (":subject", Some(Arg::Text), ""),
    (":from", Some(Arg::Text), ""),
    (":handle", Some(Arg::Text), ""),
    (":mime", None, ""),
];
const NOTIFY: &[Tag] = &[
    (":from", Some(Arg::Text), ""),
    (":importance", Some(Arg::Text), ""),
    (":options", Some(Arg::Texts), ""),
    (":message", Some(Arg::Text), ""),
    (":method", Some(Arg::Text), ""),
    (":id", Some(Arg::Text), ""),
    (":high", None, ""),
    (":normal", None, ""),
    (":low", None, ""),
];
const SET: &[Tag] = &[
    (":lower", None, ""),
    (":upper", None, ""),
    (":lowerfirst", None, ""),
    (":upperfirst", None, ""),
    (":quotewildcard", None, ""),
    (":length", None, ""),
];
const BODY: &[Tag] = &[(":raw", None, ""), (":text", None, ""), (":content", Some(Arg::Texts), "")];
const SIZE: &[Tag] = &[(":over", None, ""), (":under", None, "")];
const ZONE: &[Tag] = &[(":zone", Some(Arg::Text), ""), (":originalzone", None, "")];
const LAST: &[Tag] = &[(":last", None, "")];
const FLAGS: &[&str] = &["imap4flags", "imapflags"];

/// Commands that end with a semicolon.
pub(crate) const COMMANDS: &[Word] = &[
    word("keep", &[], &[&[(":flags", Some(Arg::Texts), "imap4flags")]], &[]),
    word("discard", &[], &[], &[]),
    word("stop", &[], &[], &[]),
    word("redirect", &[], &[&[(":copy", None, "copy")]], &[Arg::Text]),
    word("fileinto", &["fileinto"], &[FILE], &[Arg::Text]),
    word("reject", &["reject"], &[], &[Arg::Text]),
    word("ereject", &["ereject"], &[], &[Arg::Text]),
    word("vacation", &["vacation", "vacation-seconds"], &[VACATION], &[Arg::Text]),
    with_optional(word("addflag", FLAGS, &[], &[Arg::Text, Arg::Texts])),
    with_optional(word("setflag", FLAGS, &[], &[Arg::Text, Arg::Texts])),
    with_optional(word("removeflag", FLAGS, &[], &[Arg::Text, Arg::Texts])),
    word("addheader", &["editheader"], &[LAST], &[Arg::Text, Arg::Text]),
    with_optional(word("deleteheader", &["editheader"], &[MATCH, INDEX], &[Arg::Text, Arg::Texts])),
    word("set", &["variables"], &[SET], &[Arg::Text, Arg::Text]),
    with_optional(word("notify", &["notify", "enotify"], &[NOTIFY], &[Arg::Text])),
    with_optional(word("denotify", &["notify"], &[NOTIFY], &[Arg::Text])),
    with_optional(word("pipe", &["vnd.dovecot.pipe"], &[], &[Arg::Text, Arg::Texts])),
];

/// Tests.
pub(crate) const TESTS: &[Word] = &[
    word("true", &[], &[], &[]),
    word("false", &[], &[], &[]),
    word("address", &[], &[MATCH, PART, INDEX], &[Arg::Texts, Arg::Texts]),
    word("envelope", &["envelope"], &[MATCH, PART], &[Arg::Texts, Arg::Texts]),
    word("header", &[], &[MATCH, INDEX], &[Arg::Texts, Arg::Texts]),
    word("exists", &[], &[], &[Arg::Texts]),
    word("size", &[], &[SIZE], &[Arg::Number]),
    word("body", &["body"], &[MATCH, BODY], &[Arg::Texts]),
    word("string", &["variables"], &[MATCH], &[Arg::Texts, Arg::Texts]),
    with_optional(word("hasflag", FLAGS, &[MATCH], &[Arg::Texts, Arg::Texts])),
    word("date", &["date"], &[MATCH, ZONE, INDEX], &[Arg::Text, Arg::Text, Arg::Texts]),
    word("currentdate", &["date"], &[MATCH, ZONE], &[Arg::Text, Arg::Texts]),
    word("environment", &["environment"], &[MATCH], &[Arg::Text, Arg::Texts]),
    word("duplicate", &["duplicate"], &[], &[]),
    word("mailboxexists", &["mailbox"], &[], &[Arg::Texts]),
    word("valid_notify_method", &["enotify"], &[], &[Arg::Texts]),
    word("notify_method_capability", &["enotify"], &[MATCH], &[Arg::Text, Arg::Text, Arg::Texts]),
];
