//! Character sets of encoded words, offline and in the C library of Mailcow's Dovecot: `musl-gcc` (Debian's musl-tools)
//! lets a program ask musl's own `iconv`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mailcow_operator::evaluate::{Envelope, Message, evaluate};
use serde_json::json;

use super::dovecot::{self, Folder};
use super::world::{MAILBOX, rule};

/// Names of character sets as mail has them: those of the WHATWG, and what else people and their programs write.
const NAMES: &str = "us-ascii ascii iso646-us utf-8 utf8 utf_8 utf-7 unicode-1-1-utf-7 iso-8859-1 iso_8859-1 \
    iso_8859-1:1987 latin1 latin-1 l1 cp819 iso-8859-2 latin2 iso-8859-3 iso-8859-4 iso-8859-5 cyrillic iso-8859-6 \
    iso-8859-6-i arabic iso-8859-7 greek iso-8859-8 iso-8859-8-i iso-8859-8-e hebrew visual iso-8859-9 latin5 iso-8859-10 \
    iso-8859-11 iso-8859-13 iso-8859-14 iso-8859-15 latin-9 iso-8859-16 tis-620 windows-874 cp874 windows-1250 cp1250 \
    x-cp1250 windows-1251 cp1251 windows-1252 cp1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 \
    windows-1258 cp1258 koi8-r koi8-u koi8-ru cskoi8r ibm866 cp866 cp437 ibm437 cp850 ibm850 macintosh x-mac-roman \
    x-mac-cyrillic gb2312 gb_2312-80 gbk x-gbk gb18030 hz-gb-2312 big5 big5-hkscs cn-big5 x-x-big5 cp950 euc-kr ksc_5601 \
    ks_c_5601-1987 windows-949 cp949 iso-2022-kr euc-jp x-euc-jp shift_jis shift-jis sjis x-sjis ms_kanji windows-31j \
    cp932 iso-2022-jp csiso2022jp utf-16 utf-16be utf-16le utf-32 utf-32le ucs-2 ucs-4 unicode unknown-8bit x-unknown \
    default iso-8859-1- \"iso-8859-1\"";

/// Texts of the character sets whose characters take several bytes.
const TEXTS: [(&str, &str); 8] = [
    ("gb2312", "订单确认：您的发票"),
    ("gb18030", "订单確認 €"),
    ("gbk", "订单確認：發票"),
    ("big5", "訂單確認：您的發票"),
    ("euc-kr", "주문 확인: 청구서"),
    ("euc-jp", "ご注文の確認：請求書"),
    ("shift_jis", "ご注文の確認：請求書 ｱｲｳ"),
    ("iso-2022-jp", "ご注文の確認：請求書"),
];

/// Whether musl's compiler is there; says so when it is not.
fn is_there() -> bool {
    let found = Command::new("musl-gcc").arg("--version").output().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "install musl-tools");
        println!("skipped: install musl-tools");
    }
    found
}

/// What musl makes of bytes in a character set; `None` for one that it does not know.
fn asked(questions: &[(String, Vec<u8>)]) -> Vec<Option<Vec<u8>>> {
    let folder = Folder::new();
    let source = folder.write("iconv.c", include_str!("iconv.c"));
    let program = folder.path().join("iconv");
    let built = Command::new("musl-gcc").args(["-O1", "-static", "-o"]).arg(&program).arg(source).status().unwrap();
    assert!(built.success());
    let input = folder.path().join("questions");
    let mut lines = std::fs::File::create(&input).unwrap();
    for (name, bytes) in questions {
        write!(lines, "{name} ").unwrap();
        for byte in bytes {
            write!(lines, "{byte:02x}").unwrap();
        }
        writeln!(lines).unwrap();
    }
    let output = Command::new(program).stdin(std::fs::File::open(input).unwrap()).stderr(Stdio::inherit()).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let unhex = |line: &str| {
        let byte = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        (line != "unknown").then(|| (0..line.len()).step_by(2).map(byte).collect())
    };
    let answers: Vec<_> = text.lines().map(unhex).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

/// What Dovecot shows of bytes whose character set it does not know.
fn as_utf8(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        if c != char::REPLACEMENT_CHARACTER || !shown.ends_with(c) {
            shown.push(c);
        }
    }
    shown
}

/// Whether the evaluator reads a subject of this one word as the text.
fn is_read_as(name: &str, bytes: &[u8], text: &str) -> bool {
    let message = format!("Subject: =?{name}?b?{}?=\n\nx\n", STANDARD.encode(bytes));
    let condition = json!({"field": "Subject", "operator": "Equals", "values": [text]});
    let rule = rule("n/r", json!({"match": {"all": [condition]}, "actions": [{"ignore": {}}]})).unwrap();
    let envelope = Envelope { from: "a@b.test".to_owned(), to: MAILBOX.to_owned() };
    !evaluate(&[rule], &envelope, &Message::parse(message.as_bytes())).matched.is_empty()
}

/// What differs and stays so: bytes that a text of these character sets hardly has.
fn is_rare(name: &str, bytes: &[u8]) -> bool {
    let is = |names: &[&str]| names.contains(&name);
    match bytes {
        // Halves of surrogate pairs, which musl reads as characters.
        [b'a', 0xd8..=0xdf, ..] if is(&["utf-16le"]) => true,
        [b'a', 0x90, ..] if is(&["big5", "big5-hkscs", "cp950"]) => true,
        [b'a', 0x80, ..] if is(&["gb18030", "shift_jis", "shift-jis", "sjis"]) => true,
        // Rows that users and makers filled.
        [b'a', 0xeb..=0xfc, ..] => is(&["shift_jis", "shift-jis", "sjis"]),
        _ => false,
    }
}

#[test]
fn words_in_every_character_set_are_read_as_musl_reads_them() {
    if !is_there() {
        return;
    }
    let mut questions = Vec::new();
    for name in NAMES.split_whitespace() {
        for byte in 0x80..=0xff_u8 {
            questions.push((name.to_owned(), vec![b'a', byte, b'z', b'z']));
        }
    }
    for (name, text) in TEXTS {
        let encoding = encoding_rs::Encoding::for_label(name.as_bytes()).unwrap();
        let aliases = NAMES.split_whitespace().filter(|alias| {
            encoding_rs::Encoding::for_label(alias.as_bytes()).is_some_and(|other| other.name() == encoding.name())
        });
        questions.extend(aliases.map(|alias| (alias.to_owned(), encoding.encode(text).0.into_owned())));
    }
    let utf16 = |big: bool| -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        "Grün € 𠮷".encode_utf16().flat_map(bytes).collect()
    };
    questions.extend([("utf-16".to_owned(), utf16(true)), ("utf-16le".to_owned(), utf16(false))]);
    questions.push(("ucs-4".to_owned(), "Grün".chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()));
    let answers = asked(&questions);
    let known: std::collections::BTreeSet<&str> =
        questions.iter().zip(&answers).filter(|(_, answer)| answer.is_some()).map(|(q, _)| q.0.as_str()).collect();
    let (mut compared, mut different) = (0, Vec::new());
    for ((name, bytes), answer) in questions.iter().zip(&answers) {
        let text = answer.as_ref().map_or_else(|| as_utf8(bytes), |text| as_utf8(text));
        // No rule can say a control character.
        if text.chars().any(char::is_control) || is_rare(name, bytes) {
            continue;
        }
        compared += 1;
        if !is_read_as(name, bytes, text.trim()) {
            different.push(format!("{name} {bytes:02x?}: musl {text:?}"));
        }
    }
    // Names that mail has and this operator's library knows too.
    assert!(known.contains("iso-8859-1") && !known.contains("windows-874") && !known.contains("x-sjis"), "{known:?}");
    dovecot::report(&format!(
        "encoded words offline and in musl: {compared} words, {} names of {} known to musl, {} differ",
        known.len(),
        NAMES.split_whitespace().count(),
        different.len()
    ));
    assert!(different.is_empty(), "{}", different.join("\n"));
}
