//! Random messages and conditions that are about the same things, rich in what mail programs read differently.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// A message and its envelope.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) message: Vec<u8>,
}

/// Parts of header values.
const WORDS: [&[u8]; 46] = [
    b"invoice",
    b"Invoice",
    b"a",
    b"b",
    b"ab",
    b"aab",
    b"x",
    b" ",
    b"  ",
    b"\t",
    b"\n ",
    b"\n\t",
    b"\n  \n ",
    b"*",
    b"?",
    b"\\",
    b"\"",
    b"[42]",
    b"#",
    b".",
    b"=",
    b"=?",
    b"?=",
    b"=20",
    "grün".as_bytes(),
    "€".as_bytes(),
    b"\xfc",
    b"\xe2\x82",
    b"\x00",
    b"\r",
    b"=?utf-8?q?gr=C3=BCn?=",
    b"=?UTF-8?B?aW52b2ljZQ==?=",
    b"=?utf-8?b?aW52b2ljZQ?=",
    b"=?utf-8?b?aW5=2b2ljZQ?=",
    b"=?utf-8?b?aW 5 2b2ljZQ=?=",
    b"=?iso-8859-1?Q?gr=FCn_x?=",
    b"=?windows-1252?q?=80?=",
    b"=?utf-8?q?a=0D=0Ab=00c?=",
    b"=?utf-8?q?=E2?=",
    b"=?utf-8?q?=82=AC?=",
    b"=?unknown-8bit?q?gr=FCn?=",
    b"=?utf-8?x?a?=",
    b"=?utf-8?q?a=zz=4?=",
    b"=?utf-8*en?q?ab?=",
    b"=?koi8-r?b?8NLJ18XU?=",
    b"=?utf-8??a?=",
];

/// Parts of From headers.
const ADDRESSES: [&[u8]; 44] = [
    b"a@b.test",
    b"A@B.Test",
    b"a+x@b.test",
    b"ceo@acme.test",
    b"<a@b.test>",
    b"<ceo@acme.test>",
    b"\"ceo@acme.test\"",
    b"\"<ceo@acme.test>\"",
    b"\"a\"@b.test",
    b"\"a b\"@b.test",
    b"\"a\\\"b\"@b.test",
    b"\"\"@b.test",
    b"<@r.test:a@b.test>",
    b"<@r.test,@s.test:a@b.test>",
    b"Friends:",
    b"undisclosed:;",
    b"(ceo@acme.test)",
    b"(a (b) \\) c)",
    b"=?utf-8?q?ceo=40acme=2Etest?=",
    b"Al",
    b"Al B.",
    b"a",
    b"b.test",
    b"[192.0.2.1]",
    b"a@[192.0.2.1]",
    b"..a@b.test",
    b"a.@b.test",
    b"a@b..test",
    b"a @ b . test",
    "ü@b.test".as_bytes(),
    "a@ü.test".as_bytes(),
    b",",
    b",",
    b";",
    b":",
    b"@",
    b".",
    b"<",
    b">",
    b"(",
    b"\"",
    b"\\",
    b" ",
    b"\n ",
];

fn value() -> impl Strategy<Value = Vec<u8>> {
    let long = (1_usize..4).prop_map(|n| b"abcdefghi ".repeat(n * 50).into_iter().take(985).collect());
    prop_oneof![20 => vec(select(WORDS.to_vec()), 0..7).prop_map(|parts| parts.concat()), 1 => long]
}

fn senders() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => vec(select(ADDRESSES.to_vec()), 0..4).prop_map(|parts| parts.concat()),
        1 => vec(select(ADDRESSES.to_vec()), 0..8).prop_map(|parts| parts.concat()),
        1 => vec(select(WORDS.to_vec()), 0..4).prop_map(|parts| parts.concat()),
    ]
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    let named = |name: &'static str, value: Vec<u8>| [name.as_bytes(), &value].concat();
    prop_oneof![
        4 => (select(vec!["Subject:", "Subject: ", "SUBJECT: ", "subject \t: ", "Subject:  "]), value())
            .prop_map(move |(name, value)| named(name, value)),
        4 => (select(vec!["From: ", "From:", "from: "]), senders()).prop_map(move |(name, value)| named(name, value)),
        3 => (select(vec!["X-A: ", "x-a:", "List-Id: "]), value()).prop_map(move |(name, value)| named(name, value)),
        2 => senders().prop_map(move |value| named("X-Original-To: ", value)),
        1 => select(vec![
            &b"X-Spam-Flag: YES"[..], b"X-Spam-Flag: yes, it is", b"x-spam-flag: NO", b"X-Spam-Flag: =?utf-8?q?YE?= =?utf-8?q?S?=",
            b"no colon here", b" continued: x", b": x", b"Subjectx: a", b"From a@b.test Mon Jan 1 00:00:00 2026", b"Sub\x00ject: a",
        ])
        .prop_map(<[u8]>::to_vec),
    ]
}

/// A message with any line ends.
pub(crate) fn mail() -> impl Strategy<Value = Mail> {
    let address = select(vec!["a@b.test", "A+x@B.test", "bounce+a=b@esp.test", "\"a b\"@b.test", "\"ab\"@b.test"]);
    let to = select(vec!["box@acme.test", "box+news@acme.test", "Box@ACME.test"]);
    let body = prop_oneof![3 => 0_usize..200, 1 => 900_usize..1100, 1 => 1900_usize..2100];
    (address, to, vec(field(), 0..7), body, any::<bool>()).prop_map(|(from, to, fields, body, has_cr)| {
        let mut message = fields.join(&b'\n');
        message.extend(if fields.is_empty() { &b"\n"[..] } else { b"\n\n" });
        message.extend(std::iter::repeat_n(b'y', body));
        message.push(b'\n');
        if has_cr {
            message = message.split(|b| *b == b'\n').collect::<Vec<_>>().join(&b"\r\n"[..]);
        }
        Mail { from: from.to_owned(), to: to.to_owned(), message }
    })
}

/// Texts that such values hold.
fn text() -> impl Strategy<Value = String> {
    let parts = vec![
        "invoice",
        "grün",
        "GRüN",
        "a",
        "b",
        "ab",
        "x",
        " ",
        "[42]",
        "€",
        "*",
        "?",
        "\\",
        "\"",
        "#",
        ".",
        "=",
        "=?",
        "\u{fffd}",
        "Привет",
        "ceo@acme.test",
        "ü",
    ];
    let addresses = vec![
        "a@b.test",
        "A@B.TEST",
        "a+x@b.test",
        "ceo@acme.test",
        "box@acme.test",
        "box+news@acme.test",
        "\"a b\"@b.test",
        "\"ab\"@b.test",
        "a@[192.0.2.1]",
        "undisclosed:;",
        "bounce+a=b@esp.test",
        "",
    ];
    prop_oneof![
        3 => vec(select(parts), 1..4).prop_map(|parts| parts.concat()),
        2 => select(addresses).prop_map(ToOwned::to_owned),
    ]
}

fn glob() -> impl Strategy<Value = String> {
    let parts =
        vec!["*", "*", "?", "a", "b", "ab", "x", "@", "b.test", "grün", "in", "\\*", "\\?", "\\\\", "[", ".", " "];
    vec(select(parts), 1..7).prop_map(|parts| parts.concat())
}

fn regex() -> impl Strategy<Value = String> {
    let parts = vec![
        "^",
        "$",
        "a",
        "b",
        "x",
        ".",
        ".*",
        "a*",
        "a+",
        "b?",
        "(a|b)",
        "(ab)+",
        "[a-c]",
        "[^a]",
        "[[:digit:]]{2}",
        "[[:space:]]",
        "(^|[^[:alnum:]])",
        "|",
        "ü",
        "(ü|u)",
        "@",
        r"\.",
        r"\*",
        "in",
        "=",
        "(a+)+$",
        "[[:upper:]]",
        "x{0,2}",
    ];
    vec(select(parts), 1..6).prop_map(|parts| parts.concat())
}

fn condition() -> impl Strategy<Value = Value> {
    let field = select(vec!["Sender", "Sender", "EnvelopeSender", "Recipient", "Subject", "Subject", "Header"]);
    let plain = select(vec!["Equals", "Contains", "StartsWith", "EndsWith"]);
    let test = prop_oneof![
        4 => (plain, vec(text(), 1..4)),
        2 => vec(glob(), 1..3).prop_map(|values| ("Glob", values)),
        2 => vec(regex(), 1..3).prop_map(|values| ("Regex", values)),
        1 => vec(select(vec!["b.test", "ACME.test", "esp.test", "ü.test"]), 1..3)
            .prop_map(|values| ("Domain", values.into_iter().map(ToOwned::to_owned).collect())),
        1 => Just(("Exists", vec![])),
    ];
    let header = select(vec!["X-A", "list-id", "X-Missing", "From", "X-Original-To", "x-spam-flag"]);
    (field, test, header, any::<bool>()).prop_map(|(field, (operator, values), header, not)| {
        let mut condition = json!({"field": field, "operator": operator, "values": values, "not": not});
        if field == "Header" {
            condition["header"] = json!(header);
        }
        condition
    })
}

/// The `match` of a rule, not always a valid one.
pub(crate) fn when() -> impl Strategy<Value = Value> {
    let size = || prop_oneof![6 => Just(None), 1 => (1..4_u32).prop_map(|n| Some(format!("{n}Ki")))];
    let spam = select(vec!["Any", "Any", "Any", "Never", "Only"]);
    let lists = prop_oneof![
        3 => vec(condition(), 1..2).prop_map(|all| (all, vec![])),
        1 => (vec(condition(), 0..3), vec(condition(), 0..3)),
    ];
    (lists, spam, size(), size()).prop_map(|((all, any), spam, larger, smaller)| {
        json!({"all": all, "any": any, "spam": spam, "largerThan": larger, "smallerThan": smaller})
    })
}

fn action() -> impl Strategy<Value = Value> {
    let to = select(vec!["p@dest.test", "q@dest.test", "P@dest.test", "q@DEST.test", "\"p q\"@dest.test"]);
    let forward =
        (vec(to, 1..3), any::<bool>()).prop_map(|(to, keep)| json!({"forward": {"to": to, "keepCopy": keep}}));
    let queue = (select(vec!["createTask", "createNote"]), select(vec!["tracker", "board"]), any::<bool>());
    prop_oneof![
        4 => forward,
        3 => queue.prop_map(|(kind, sink, keep)| json!({kind: {"sink": sink, "keepCopy": keep}})),
        1 => Just(json!({"ignore": {}})),
        1 => Just(json!({"ignore": {"mode": "Discard"}})),
    ]
}

/// The spec of a rule, not always a valid one.
pub(crate) fn spec() -> impl Strategy<Value = Value> {
    let next = select(vec!["Stop", "Continue", "Continue"]);
    (when(), vec(action(), 1..4), next, 0..3_u32, prop::bool::weighted(0.9)).prop_map(
        |(when, actions, next, priority, enabled)| {
            json!({"match": when, "actions": actions, "onMatch": next, "priority": priority, "enabled": enabled})
        },
    )
}
