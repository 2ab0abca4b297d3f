use super::*;

fn mail(text: &str) -> Mail {
    read(text.replace('\n', "\r\n").as_bytes())
}

fn names(mail: &Mail) -> Vec<&str> {
    mail.files.iter().map(|file| file.name.as_str()).collect()
}

const PHOTO: &str = "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw==\n";

fn mixed(parts: &[&str]) -> String {
    format!("Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{}\n--b--\n", parts.join("\n--b\n"))
}

#[test]
fn a_plain_message_is_read() {
    let read = mail(
        "From: Ada <ada@example.com>\nTo: bob@example.net\nCc: c@d.e\nSubject: =?utf-8?Q?H=C3=A9?=\n\
                     Date: Sat, 28 Nov 2026 12:00:00 +0100\n\nHello\n",
    );
    assert_eq!((read.subject.as_str(), read.text.as_str(), read.html.as_deref()), ("Hé", "Hello", None));
    assert_eq!((read.sender(), read.to[0].email.as_str(), read.cc.len()), ("ada@example.com", "bob@example.net", 1));
    assert_eq!((read.date, read.files.len(), read.incomplete), (Some(1_795_863_600), 0, None));
}

#[test]
fn a_boundary_and_a_name_that_were_folded_after_the_equals_sign_are_read() {
    let read = mail(
        "Content-Type: multipart/mixed; boundary=\n \"b\"\n\n--b\n\ntext\n--b\nContent-Type: \
                     application/pdf\nContent-Disposition: attachment; filename=\n\t\"a b.pdf\"\n\nPDF\n--b--\n",
    );
    assert_eq!((read.text.as_str(), names(&read)), ("text", vec!["a b.pdf"]));
}

#[test]
fn a_date_in_zone_z_eats_nothing() {
    let read = mail("Date: Sat, 28 Nov 2026 11:00:00 Z\nSubject: next\n\nbody\n");
    assert_eq!((read.date, read.subject.as_str(), read.text.as_str()), (Some(1_795_863_600), "next", "body"));
    assert_eq!(mail("Date: Sat, 28 Nov 2026 11:00:00 Z\n\nbody").text, "body");
}

#[test]
fn a_comment_in_the_transfer_encoding_does_not_matter() {
    assert_eq!(mail("Content-Transfer-Encoding: base64 (RFC 2045)\n\naGVsbG8=\n").text, "hello");
}

#[test]
fn a_photo_before_the_text_is_a_file_and_the_text_is_text() {
    let read = mail(&mixed(&[PHOTO, "Content-Type: text/plain\n\nlook at this"]));
    assert_eq!((read.text.as_str(), names(&read)), ("look at this", vec!["attachment-1.png"]));
    assert_eq!(read.files[0].content, b"\x89PNG");
}

#[test]
fn every_text_part_is_text_also_after_an_attachment() {
    let read =
        mail(&mixed(&["\none", PHOTO, "Content-Type: text/plain\n\ntwo", "Content-Type: text/html\n\n<p>three"]));
    assert_eq!(read.text, "one\n\ntwo\n\nthree");
    assert_eq!(read.html.as_deref(), Some("<pre>one</pre>\n<pre>two</pre>\n<p>three"));
}

#[test]
fn a_named_text_is_a_file_but_for_the_first() {
    let named = "Content-Type: text/plain; name=notes.txt\n\nnotes";
    let read = mail(&mixed(&[named, named, "Content-Disposition: attachment\n\nlog"]));
    assert_eq!((read.text.as_str(), names(&read)), ("notes", vec!["notes.txt", "attachment-2"]));
}

#[test]
fn flowed_text_is_unflowed() {
    assert_eq!(mail("Content-Type: text/plain; format=flowed\n\none \ntwo\n").text, "one two");
}

#[test]
fn tables_keep_their_cells() {
    let text = mail("Content-Type: text/html\n\n<table><tr><td>Quantity</td><td>12 EUR</td></tr></table>").text;
    assert!(text.contains("Quantity ") && text.contains(" 12 EUR"), "{text}");
}

#[test]
fn of_alternatives_each_form_goes_to_its_place() {
    let parts = "--b\nContent-Type: text/plain\n\nplain\n--b\nContent-Type: text/html\n\n<b>rich</b>\n--b--\n";
    let read = mail(&format!("Content-Type: multipart/alternative; boundary=b\n\n{parts}"));
    assert_eq!((read.text.as_str(), read.html.as_deref()), ("plain", Some("<b>rich</b>")));
    let parts = "--b\nContent-Type: text/plain\n\n \n--b\nContent-Type: text/html\n\n<b>rich</b>\n--b--\n";
    assert_eq!(mail(&format!("Content-Type: multipart/alternative; boundary=b\n\n{parts}")).text, "rich");
}

#[test]
fn east_asian_charsets_are_read() {
    let mut raw = b"Content-Type: text/plain; charset=gb18030\r\nSubject: =?euc-kr?B?sKE=?=\r\n\r\n".to_vec();
    raw.extend_from_slice(b"\xc4\xe3\xba\xc3");
    let read = read(&raw);
    assert_eq!((read.subject.as_str(), read.text.as_str()), ("가", "你好"));
    assert_eq!(mail("Content-Type: text/plain; charset=ISO-2022-JP\n\n\x1b$B$3\x1b(B").text, "こ");
}

#[test]
fn a_message_inside_is_one_file_and_nothing_of_it_is_ours() {
    let inside = "Content-Type: message/rfc822\n\nSubject: in: side\nFrom: x@y.z\nContent-Type: multipart/mixed; \
                  boundary=c\n\n--c\n\ninner text\n--c--\n";
    let read = mail(&mixed(&["\nouter", inside]));
    assert_eq!((read.text.as_str(), names(&read), read.from.len()), ("outer", vec!["in_ side.eml"], 0));
    assert!(String::from_utf8_lossy(&read.files[0].content).contains("inner text"));
}

#[test]
fn an_address_that_cannot_be_read_is_left_out_and_the_field_goes_along() {
    let read = mail("From: \"jo doe\"@example.net\n\nx");
    assert_eq!(read.from, []);
    assert_eq!(read.sender(), "\"jo doe\"@example.net");
}

#[test]
fn an_encoded_file_name_wins_in_either_order() {
    for names_ in ["filename=x.pdf; filename*=UTF-8''%C3%A4.pdf", "filename*=UTF-8''%C3%A4.pdf; filename=x.pdf"] {
        let part = format!("Content-Type: application/pdf\nContent-Disposition: attachment; {names_}\n\nPDF");
        assert_eq!(names(&mail(&mixed(&[&part]))), ["ä.pdf"]);
    }
}

#[test]
fn an_inline_picture_keeps_its_id() {
    let picture = "Content-Type: image/gif\nContent-ID: <p@q>\nContent-Disposition: inline\n\nGIF";
    assert_eq!(
        mail(&mixed(&["Content-Type: text/html\n\n<img src=cid:p@q>", picture])).files[0].content_id.as_deref(),
        Some("p@q")
    );
}

#[test]
fn an_invitation_is_a_file() {
    assert_eq!(names(&mail(&mixed(&["\nx", "Content-Type: text/calendar\n\nBEGIN:VCALENDAR"]))), ["attachment-1.ics"]);
}

#[test]
fn a_file_name_has_no_folders() {
    for name in ["../../etc/passwd", "C:\\\\dir\\\\passwd", "/passwd"] {
        let part = format!("Content-Type: application/x\nContent-Disposition: attachment; filename=\"{name}\"\n\nx");
        assert_eq!(names(&mail(&mixed(&[&part]))), ["passwd"], "{name}");
    }
}

#[test]
fn what_cannot_be_read_to_its_end_goes_along_as_it_came() {
    let level = |i| format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n");
    let deep = (0..60).map(level).collect::<Vec<_>>().concat();
    let wide = mixed(&vec!["\nx"; 2_000]);
    let lost = "Content-Type: multipart/mixed; boundary=b\n\nno parts here";
    let long = format!("Subject: long\n\n{}", "0123456789 ".repeat(200_000));
    for (text, kept) in [(deep.as_str(), ""), (&wide, "x"), (lost, "no parts here"), (&long, "0123456789")] {
        let read = mail(text);
        assert!(read.incomplete.is_some() && read.text.contains(kept), "{:?}", &read.incomplete);
        assert_eq!(read.files.last().unwrap().name, "message.eml");
        assert!(read.text.len() <= MOST_TEXT);
    }
}

#[test]
fn nothing_panics() {
    for raw in [
        b"".as_slice(),
        b"\r\n",
        b"\xff\xfe\x00",
        b"Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n--\r\n",
        b"From: =?utf-8?B?=?= =?x?y?z?= <=?=\r\nDate: 99999999999999999999\r\n\r\n",
        b"To: (((((((((((\r\nCc: \"\"\"\"<<<>>>,,,;;;\r\n\r\n",
        b"Content-Type: text/plain; charset*0*=%\r\n\r\n=",
    ] {
        let _ = read(raw);
        let _ = read_header(raw);
    }
}

proptest::proptest! {
    #[test]
    fn random_bytes_do_not_panic(raw in proptest::collection::vec(proptest::num::u8::ANY, 0..2_000)) {
        let read = read(&raw);
        proptest::prop_assert!(read.incomplete.as_deref() != Some("it could not be read; it is attached as it came"));
    }

    #[test]
    fn random_structures_do_not_panic(pieces in proptest::collection::vec(proptest::sample::select(vec![
        "Content-Type: ", "multipart/mixed", "multipart/alternative", "; boundary=", "b", "\"", "\r\n", "\r\n\r\n", "--b",
        "--", "text/html", "message/rfc822", "; charset=", "utf-7", "iso-2022-jp", "=?utf-8?B?", "?=", "From: ", "To: ",
        "<", ">", "@", "(", ")", "Date: ", "Z", "Mon, 1 ", "filename*0*=", "%", "\\", "é", "\0", ";", ",", ":", " ", "=",
        "Content-Transfer-Encoding: base64", "quoted-printable", "<table>", "<td>", "&#0;",
    ]), 0..200)) {
        let read = read(pieces.concat().as_bytes());
        proptest::prop_assert!(read.incomplete.as_deref() != Some("it could not be read; it is attached as it came"));
    }
}
