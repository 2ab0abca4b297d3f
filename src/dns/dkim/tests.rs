//! Published keys against the one that Mailcow has.

use super::super::tests::{Facts, at};
use super::super::wanted::tests::wanted;
use super::*;

/// An RSA key of 512 bits.
const K512: &str = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMsUQK0NQW1SLhYYSh4Wf95f3y9r3WaC6uNkzy2u83rJOB+e0WmvIcsY8IwOnc2y/l8Y\
    M1HDLKBgZnkPZf/XEZkCAwEAAQ==";
/// An RSA key of 1024 bits.
const K1024: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwYOXshoAe0MR1oSNV4RPT1zV4590iWb0S2YCGL9oRJx9vDYbpLYcyWxIvE7zT\
    XeMWvNYCj8qxXgfKESEIquGd2NqbvLMQWYcwyRnds0HKjVbLYRItyBE6nCUxiDfB7qrDy3xFjqxalhGu969aeRrapivd1TBvLJ8R\
    SIMixDG/jwIDAQAB";
/// An RSA key of 2048 bits.
const K2048: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApVRIgLrpT896qKR0tcxnFvnKxpDAppm5EaFf/ChCQV7LBicRmEC19DPD\
    IhnISjcw8vzGB4/6fcgo/6QKyW0qw76wUSNtN1PKfYUbZnuqaVMWTDXf6S+huvQEZvUZGGnq5woyzLsYtE+/RCQjkLZKLC5+FzVC\
    8jYbjmHfczFL5OGWVmFzg5nNs1e1a3TABo5e2bk2W8Qd+Sn0n5oEKkp9cVe4cNpccuUN7H/hT9bzFZAukMWVN8xoUJ160xm8MqGn\
    Ql1LeS54g3KErosM3Pisig4WQi1QIrmSKM8zIrPeLQkvkZy/qjn2sgflkstVZpNVDUAdBWMVE+cCPb29kXd8OQIDAQAB";

const NAME: &str = "dkim._domainkey.example.com";

fn with_key(public_key: &str) -> Wanted {
    let record = format!("v=DKIM1;k=rsa;t=s;s=email;p={public_key}");
    let key = DkimKey { selector: "dkim".into(), key_size: 2048, record, public_key: public_key.to_owned() };
    Wanted { dkim: Some(key), ..wanted() }
}

fn texts(texts: &[&str]) -> Outcome {
    Outcome::Txt(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
}

fn judge_key(public_key: &str, outcome: Outcome) -> Verdict {
    let facts = Facts::default().with(at(NAME, Kind::Txt), outcome);
    facts.judge(|known| dkim(&with_key(public_key), known))
}

fn published(text: &str) -> Verdict {
    judge_key(K2048, texts(&[text]))
}

/// RFC 6376, section 3.6.1, tag by tag.
#[test]
fn every_form_of_a_key_record_is_read() {
    let (start, end) = K2048.split_at(100);
    for text in [
        format!("v=DKIM1;k=rsa;t=s;s=email;p={K2048}"),
        format!("p={K2048}"),
        // [FWS] around names, values and list separators
        format!(" v = DKIM1 ;\tk = rsa; p={K2048}; "),
        format!("v=DKIM1;\r\n p={K2048}"),
        // base64string may be folded
        format!("v=DKIM1; p={start} {end} ; k=rsa"),
        // h=, s= and t=: unrecognized members are ignored
        format!("v=DKIM1; h=sha1 : sha256 : x-new; p={K2048}"),
        format!("v=DKIM1; s=x-new:email; p={K2048}"),
        format!("v=DKIM1; s=*; t=s:x-new; p = {K2048}"),
        // n= is for people: any characters but a semicolon
        format!("v=DKIM1; n=\"rotated\"; p={K2048}"),
        format!("v=DKIM1; n=was \\d; p={K2048}"),
        // unrecognized tags are ignored, also one that differs from a known one by its case
        format!("v=DKIM1; g=; x_9=1; P=other; p={K2048}"),
    ] {
        let found = published(&text);
        assert_eq!((found.verdict, found.warnings.len()), (DnsVerdict::Verified, 0), "{text}: {}", found.message);
    }
}

#[test]
fn each_wrong_record_has_its_verdict() {
    let table = [
        (format!("v=DKIM1; p={K1024}"), DnsVerdict::Mismatch, "another key is published: "),
        ("v=DKIM1; p=".to_owned(), DnsVerdict::Invalid, "revoked"),
        ("v=DKIM1; k=rsa".to_owned(), DnsVerdict::Invalid, "p= is missing"),
        (format!("v=DKIM1; P={K2048}"), DnsVerdict::Invalid, "write p= in lower case"),
        (format!("V=DKIM2; P={K2048}"), DnsVerdict::Invalid, "write p= in lower case"),
        ("v=DKIM1; p=***".to_owned(), DnsVerdict::Invalid, "not base64"),
        (format!("k=rsa; v=DKIM1; p={K2048}"), DnsVerdict::Invalid, "first tag"),
        (format!("v=DKIM2; p={K2048}"), DnsVerdict::Invalid, "is not v=DKIM1"),
        (format!("v=dkim1; p={K2048}"), DnsVerdict::Invalid, "is not v=DKIM1"),
        (format!("v=DKIM1.0; p={K2048}"), DnsVerdict::Invalid, "is not v=DKIM1"),
        (format!("v=DKIM1 p={K2048}"), DnsVerdict::Invalid, "is not v=DKIM1"),
        (format!("v=DKIM1; k=ed25519; p={K2048}"), DnsVerdict::Invalid, "k=ed25519"),
        // "Values MUST be processed as case sensitive" (section 3.2)
        (format!("v=DKIM1; k=RSA; p={K2048}"), DnsVerdict::Invalid, "write k=rsa"),
        (format!("v=DKIM1; h=sha1; p={K2048}"), DnsVerdict::Invalid, "sha256"),
        (format!("v=DKIM1; s=tlsrpt; p={K2048}"), DnsVerdict::Invalid, "neither email"),
        (format!("v=DKIM1; p={K2048}; p={K2048}"), DnsVerdict::Invalid, "twice"),
        (format!("v=DKIM1;; p={K2048}"), DnsVerdict::Invalid, "nothing between two semicolons"),
        (format!("v=DKIM1; k:rsa; p={K2048}"), DnsVerdict::Invalid, "write k=rsa"),
        (format!("v=DKIM1;\u{a0}p={K2048}"), DnsVerdict::Invalid, "a no-break space (U+00A0)"),
        (format!("v=DKIM1;\np={K2048}"), DnsVerdict::Invalid, "a line end (U+000A)"),
    ];
    for (text, verdict, message) in table {
        let found = published(&text);
        assert_eq!(found.verdict, verdict, "{text}: {}", found.message);
        assert!(found.message.contains(message), "{text}: {}", found.message);
    }
}

#[test]
fn a_foreign_text_beside_the_key_is_no_second_key() {
    let text = format!("v=DKIM1; p={K2048}");
    let found = judge_key(K2048, texts(&["google-site-verification=x", &text]));
    assert_eq!((found.verdict, found.observed.len()), (DnsVerdict::Verified, 1));
    assert_eq!(judge_key(K2048, texts(&[&text, &text])).verdict, DnsVerdict::Multiple);
    assert_eq!(judge_key(K2048, texts(&["hello"])).verdict, DnsVerdict::Missing);
}

#[test]
fn a_wildcards_texts_are_not_taken_for_a_key() {
    let spf = ["v=spf1 -all"];
    let facts = Facts::default().texts(NAME, &spf).texts("*.example.com", &spf);
    let found = facts.judge(|known| dkim(&with_key(K2048), known));
    assert_eq!(found.verdict, DnsVerdict::Missing);
    assert!(found.message.contains("the wildcard record *.example.com"), "{}", found.message);
    let everywhere = format!("v=DKIM1; p={K1024}");
    let facts = Facts::default()
        .texts("dkim._domainkey.example.com.example.com", &[&everywhere])
        .texts("*.example.com", &[&everywhere]);
    assert_eq!(facts.judge(|known| dkim(&with_key(K2048), known)).hint, None);
}

#[test]
fn zone_file_characters_in_the_value_are_explained() {
    for (text, hint) in [
        (format!("v=DKIM1\\; k=rsa\\; p={K2048}"), "backslash"),
        (format!("\"v=DKIM1; p={K2048}\""), "quotation marks"),
    ] {
        let found = published(&text);
        assert_eq!(found.verdict, DnsVerdict::Invalid);
        assert!(found.hint.unwrap().contains(hint), "{text}");
    }
}

#[test]
fn a_key_cut_at_255_bytes_is_explained() {
    let text = format!("v=DKIM1; k=rsa; p={K2048}");
    let found = published(&text[..255]);
    assert!(found.hint.unwrap().contains("cut off at 255 bytes"), "{}", found.message);
}

#[test]
fn weak_keys_are_warned_about_or_refused() {
    let weak = judge_key(K1024, texts(&[&format!("p={K1024}")]));
    assert_eq!((weak.verdict, weak.warnings[0].reason.as_str()), (DnsVerdict::Verified, "WeakKey"));
    let refused = judge_key(K512, texts(&[&format!("p={K512}")]));
    assert_eq!(refused.verdict, DnsVerdict::Invalid);
    assert!(refused.message.contains("512 bits"));
}

#[test]
fn a_key_in_testing_mode_is_warned_about() {
    assert_eq!(published(&format!("v=DKIM1; t=y:s; p={K2048}")).warnings[0].reason, "Testing");
}

#[test]
fn a_missing_key_is_looked_for_under_the_doubled_name() {
    let facts = Facts::default().texts("dkim._domainkey.example.com.example.com", &["v=DKIM1; p=AAAA"]);
    let found = facts.judge(|known| dkim(&with_key(K2048), known));
    assert_eq!(found.message, "nothing exists at _domainkey.example.com or below it");
    assert!(found.hint.unwrap().contains("remove .example.com"));
}

#[test]
fn without_a_key_in_mailcow_there_is_nothing_to_publish() {
    let found = dkim(&wanted(), &Known::default()).unwrap();
    assert_eq!(found.message, "Mailcow has no DKIM key for this domain yet");
    assert!(found.expected.is_empty());
}

#[test]
fn no_bytes_make_it_panic() {
    for a in 0..=255u8 {
        for text in
            [vec![a], vec![b'p', b'=', a, a], vec![b'v', b'=', b'd', b'k', b'i', b'm', a], vec![0x30, a, 0x02, a, a]]
        {
            drop(judge_key(K2048, Outcome::Txt(vec![text.clone()])));
            assert_eq!(rsa_bits(&text).filter(|bits| *bits > 4096), None);
        }
    }
}
