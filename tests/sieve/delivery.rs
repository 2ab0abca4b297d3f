//! Rules, a message, and where it goes, through Dovecot's own delivery.

use super::dovecot::{self, Delivered, Envelope};
use super::world::{MAILBOX, rules, script};

const MESSAGE: &str = "X-Original-To: Sales@acme.test
X-Original-To: forged@acme.test
Message-ID: <1@vendor.test>
From: \"ceo@acme.test\" <Alice@Vendor.test>
To: box@acme.test
Subject: =?utf-8?q?Gr=C3=BCn?= [ticket #42]
 a*b \\ 100%
List-Id: <news.vendor.test>
X-Empty:

hello
";

/// What becomes of the message; `F` is a forward to x@dest.test, `I` the inbox, `T` the trash.
fn fate(yaml: &str, message: &str, from: &str) -> String {
    let script = script(&rules(yaml));
    let Delivered { forwards, inbox, trash } =
        dovecot::deliver(&script, &Envelope { from, to: MAILBOX }, message.as_bytes());
    let forwards: String =
        forwards.iter().map(|to| if to == "x@dest.test" { "F".into() } else { format!("<{to}>") }).collect();
    format!("{forwards}{}{}", "I".repeat(inbox), "T".repeat(trash))
}

/// Whether the condition holds for the message.
fn holds(condition: &str) -> bool {
    let yaml = format!("[{{match: {{all: [{condition}]}}, actions: [{{forward: {{to: [x@dest.test]}}}}]}}]");
    fate(&yaml, MESSAGE, "bounce+abc=42@esp.test") == "FI"
}

fn check(table: &[(&str, bool)]) {
    if !dovecot::is_there() {
        return;
    }
    for (condition, expected) in table {
        assert_eq!(holds(&format!("{{{condition}}}")), *expected, "{condition}");
        assert_eq!(holds(&format!("{{{condition}, not: true}}")), !expected, "{condition}, not");
    }
}

#[test]
fn subjects_are_compared_decoded_and_unfolded() {
    check(&[
        (r"field: Subject, operator: Equals, values: ['grün [ticket #42] a*b \ 100%']", true),
        (r"field: Subject, operator: Equals, values: ['grün']", false),
        (r"field: Subject, operator: Contains, values: [nothing, '[TICKET #']", true),
        (r"field: Subject, operator: StartsWith, values: ['GRüN [']", true),
        (r"field: Subject, operator: StartsWith, values: ['[ticket']", false),
        (r"field: Subject, operator: EndsWith, values: ['a*b \ 100%']", true),
        (r"field: Subject, operator: EndsWith, values: ['a* 100%']", false),
        (r"field: Subject, operator: EndsWith, values: ['[ticket']", false),
        (r"field: Subject, operator: Glob, values: ['*[ticket #??]*']", true),
        (r"field: Subject, operator: Glob, values: ['*a\*b \\ *']", true),
        (r"field: Subject, operator: Glob, values: ['*a\?b*']", false),
        (r"field: Subject, operator: Regex, values: ['\[ticket #[[:digit:]]{2}]']", true),
        (r"field: Subject, operator: Regex, values: ['^gr(ü|u)n ', '^x']", true),
        (r"field: Subject, operator: Regex, values: ['a\*b \\ [0-9]+%$']", true),
        (r"field: Subject, operator: Regex, values: ['^ticket']", false),
        (r"field: Subject, operator: Exists", true),
    ]);
}

#[test]
fn senders_are_addresses_and_not_names() {
    check(&[
        ("field: Sender, operator: Equals, values: [alice@vendor.test]", true),
        ("field: Sender, operator: Contains, values: [ceo]", false),
        ("field: Sender, operator: StartsWith, values: [ali]", true),
        ("field: Sender, operator: EndsWith, values: [dor.test]", true),
        ("field: Sender, operator: Domain, values: [other.test, VENDOR.test]", true),
        ("field: Sender, operator: Domain, values: [acme.test]", false),
        ("field: Sender, operator: Glob, values: ['alice@*']", true),
        (r"field: Sender, operator: Regex, values: ['@vendor\.test$']", true),
        ("field: EnvelopeSender, operator: Equals, values: ['bounce+abc=42@esp.test']", true),
        ("field: EnvelopeSender, operator: Glob, values: ['bounce+*@esp.test']", true),
        ("field: EnvelopeSender, operator: Domain, values: [esp.test]", true),
        ("field: EnvelopeSender, operator: Contains, values: [alice]", false),
        ("field: EnvelopeSender, operator: Equals, values: ['']", false),
    ]);
}

#[test]
fn recipients_are_the_mailbox_and_the_alias_on_top() {
    check(&[
        ("field: Recipient, operator: Equals, values: [box@acme.test]", true),
        ("field: Recipient, operator: Equals, values: [sales@acme.test]", true),
        ("field: Recipient, operator: Equals, values: [forged@acme.test]", false),
        ("field: Recipient, operator: StartsWith, values: [sales@]", true),
        ("field: Recipient, operator: Domain, values: [acme.test]", true),
        ("field: Recipient, operator: Domain, values: [vendor.test]", false),
    ]);
}

#[test]
fn headers_that_are_missing_satisfy_nothing() {
    check(&[
        ("field: Header, header: List-Id, operator: Exists", true),
        ("field: Header, header: X-Nothing, operator: Exists", false),
        ("field: Header, header: list-id, operator: Contains, values: [news.vendor]", true),
        ("field: Header, header: X-Nothing, operator: Glob, values: ['*']", false),
        ("field: Header, header: X-Empty, operator: Equals, values: ['']", true),
        ("field: Header, header: X-Nothing, operator: Equals, values: ['']", false),
        ("field: Header, header: X-Empty, operator: Exists", true),
    ]);
}

#[test]
fn a_bounce_has_an_empty_sender() {
    if !dovecot::is_there() {
        return;
    }
    let bounce = "{field: EnvelopeSender, operator: Equals, values: ['']}";
    let yaml = format!("[{{match: {{all: [{bounce}]}}, actions: [{{forward: {{to: [x@dest.test]}}}}]}}]");
    assert_eq!(fate(&yaml, MESSAGE, ""), "FI");
}

#[test]
fn every_condition_of_all_and_one_of_any_must_hold() {
    if !dovecot::is_there() {
        return;
    }
    let (yes, no) = ("{field: Subject, operator: Exists}", "{field: Header, header: X-Nothing, operator: Exists}");
    for (matches, expected) in [
        (format!("all: [{yes}, {yes}]"), "FI"),
        (format!("all: [{yes}, {no}]"), "I"),
        (format!("any: [{no}, {yes}]"), "FI"),
        (format!("any: [{no}]"), "I"),
        (format!("all: [{yes}], any: [{no}, {no}]"), "I"),
        (format!("all: [{no}], any: [{yes}]"), "I"),
        ("all: []".to_owned(), "FI"),
    ] {
        let yaml = format!("[{{match: {{{matches}}}, actions: [{{forward: {{to: [x@dest.test]}}}}]}}]");
        assert_eq!(fate(&yaml, MESSAGE, "a@b.test"), expected, "{matches}");
    }
}

#[test]
fn spam_and_size_are_guards() {
    if !dovecot::is_there() {
        return;
    }
    let spam = format!("X-Spam-Flag: YES\n{MESSAGE}");
    let large = format!("{MESSAGE}{}", "0123456789abcde\n".repeat(256));
    for (matches, message, expected) in [
        ("{}", MESSAGE, "FI"),
        ("{}", &spam, "I"),
        ("{spam: Any}", &spam, "FI"),
        ("{spam: Any}", MESSAGE, "FI"),
        ("{spam: Only}", &spam, "FI"),
        ("{spam: Only}", MESSAGE, "I"),
        ("{largerThan: 4Ki}", &large, "FI"),
        ("{largerThan: 4Ki}", MESSAGE, "I"),
        ("{largerThan: 5Ki}", &large, "I"),
        ("{smallerThan: 4Ki}", &large, "I"),
        ("{smallerThan: 1Ki}", MESSAGE, "FI"),
        ("{largerThan: 4Ki, smallerThan: 5Ki}", &large, "FI"),
    ] {
        let yaml = format!("[{{match: {matches}, actions: [{{forward: {{to: [x@dest.test]}}}}]}}]");
        assert_eq!(fate(&yaml, message, "a@b.test"), expected, "{matches}");
    }
}

#[test]
fn actions_of_all_rules_add_up() {
    if !dovecot::is_there() {
        return;
    }
    let (copy, moved) = ("{forward: {to: [x@dest.test]}}", "{forward: {to: [x@dest.test], keepCopy: false}}");
    let next = "onMatch: Continue";
    for (yaml, expected) in [
        (format!("[{{actions: [{copy}]}}]"), "FI"),
        (format!("[{{actions: [{moved}]}}]"), "F"),
        (format!("[{{actions: [{copy}, {moved}]}}]"), "F"),
        (format!("[{{actions: [{copy}, {{ignore: {{}}}}]}}]"), "FT"),
        (format!("[{{actions: [{moved}, {{ignore: {{}}}}]}}]"), "FT"),
        (format!("[{{actions: [{copy}, {{ignore: {{mode: Discard}}}}]}}]"), "F"),
        ("[{actions: [{ignore: {}}]}]".to_owned(), "T"),
        ("[{actions: [{ignore: {mode: Discard}}]}]".to_owned(), ""),
        (format!("[{{actions: [{copy}], {next}}}, {{actions: [{moved}]}}]"), "F"),
        (format!("[{{actions: [{moved}], {next}}}, {{actions: [{copy}]}}]"), "F"),
        (format!("[{{actions: [{copy}], {next}}}, {{actions: [{{ignore: {{}}}}]}}]"), "FT"),
        (format!("[{{actions: [{{ignore: {{}}}}], {next}}}, {{actions: [{copy}]}}]"), "FT"),
        (format!("[{{actions: [{{ignore: {{}}}}], {next}}}, {{actions: [{{ignore: {{}}}}]}}]"), "T"),
        (format!("[{{actions: [{copy}]}}, {{actions: [{{ignore: {{}}}}]}}]"), "FI"),
        (format!("[{{actions: [{copy}], enabled: false}}, {{actions: [{{ignore: {{}}}}]}}]"), "T"),
        (format!("[{{actions: [{copy}], priority: 101}}, {{actions: [{{ignore: {{}}}}]}}]"), "T"),
        (
            format!("[{{actions: [{copy}], {next}}}, {{actions: [{{forward: {{to: [y@dest.test]}}}}]}}]"),
            "F<y@dest.test>I",
        ),
    ] {
        assert_eq!(fate(&yaml, MESSAGE, "a@b.test"), expected, "{yaml}");
    }
}

#[test]
fn ninety_nine_forwards_are_all_sent() {
    if !dovecot::is_there() {
        return;
    }
    let one = |i: usize| {
        format!(
            "{{actions: [{{forward: {{to: [a{i}@dest.test, b{i}@dest.test, c{i}@dest.test]}}}}], onMatch: Continue}}"
        )
    };
    let yaml = format!("[{}]", (0..33).map(one).collect::<Vec<_>>().join(", "));
    let script = script(&rules(&yaml));
    let delivered = dovecot::deliver(&script, &Envelope { from: "a@b.test", to: MAILBOX }, MESSAGE.as_bytes());
    assert_eq!((delivered.forwards.len(), delivered.inbox), (99, 1));
}

#[test]
fn a_header_folded_right_behind_its_colon_has_the_value_that_people_see() {
    if !dovecot::is_there() {
        return;
    }
    for fold in ["\n ", " \n\t", "\n    ", "\n \t", "\n \n  "] {
        let message = format!("Subject:{fold}Gr\u{fc}n (7)? 100%\nList-Id:{fold}<news.vendor.test>\n\nx\n");
        for (condition, expected) in [
            ("field: Subject, operator: Equals, values: [x, 'grün (7)? 100%']", "FI"),
            ("field: Subject, operator: Equals, values: ['rün (7)? 100%', 'grün (7)?', '']", "I"),
            ("field: Subject, operator: StartsWith, values: ['grün (7)?']", "FI"),
            ("field: Subject, operator: StartsWith, values: ['rün']", "I"),
            (r"field: Subject, operator: Glob, values: ['gr??n (7)\? *']", "FI"),
            ("field: Subject, operator: Glob, values: ['grün *', x]", "FI"),
            ("field: Subject, operator: Glob, values: ['rün *', 'gr*x']", "I"),
            (r"field: Subject, operator: Regex, values: ['^grün \(7\)\?']", "FI"),
            ("field: Subject, operator: Regex, values: ['^x', '(^|x)gr[^]^]']", "FI"),
            ("field: Subject, operator: Regex, values: ['^rün']", "I"),
            ("field: Header, header: List-Id, operator: Equals, values: ['<news.vendor.test>']", "FI"),
        ] {
            let yaml =
                format!("[{{match: {{all: [{{{condition}}}]}}, actions: [{{forward: {{to: [x@dest.test]}}}}]}}]");
            assert_eq!(fate(&yaml, &message, "a@b.test"), expected, "{condition} and {fold:?}");
        }
    }
}

const MOVE: &str = "[{match: {spam: Any}, actions: [{forward: {to: [x@dest.test], keepCopy: false}}]}]";

#[test]
fn mail_that_is_moved_away_does_not_end_in_the_inbox_when_it_comes_twice() {
    if !dovecot::is_there() {
        return;
    }
    let to_two = "[{onMatch: Continue, actions: [{forward: {to: [x@dest.test]}}]}, \
                  {actions: [{forward: {to: [x@dest.test, y@dest.test], keepCopy: false}}]}]";
    for (yaml, sent) in [(MOVE, 1), (to_two, 2)] {
        let envelope = Envelope { from: "a@b.test", to: MAILBOX };
        let found = dovecot::deliver_all(&script(&rules(yaml)), &envelope, &[MESSAGE.as_bytes(); 3]);
        assert_eq!((found.forwards.len(), found.inbox), (sent, 0), "{yaml}");
    }
}

#[test]
fn mail_that_was_moved_away_and_came_back_stays_in_the_inbox() {
    if !dovecot::is_there() {
        return;
    }
    let script = script(&rules(MOVE));
    let back = |from: &str| format!("X-Sieve-Redirected-From: {from}\n{MESSAGE}");
    for (to, from) in [
        (MAILBOX, MAILBOX),
        (MAILBOX, "\n box@acme.test"),
        ("box+news@acme.test", "box+news@acme.test"),
        ("box+news@acme.test", MAILBOX),
        (MAILBOX, "box+news@acme.test"),
    ] {
        let envelope = Envelope { from: "a@b.test", to };
        let (first, second) = (MESSAGE.to_owned(), back(from));
        let found = dovecot::deliver_all(&script, &envelope, &[first.as_bytes(), second.as_bytes()]);
        assert_eq!((found.forwards.len(), found.inbox), (1, 1), "to {to}, back from {from:?}");
    }
    let envelope = Envelope { from: "a@b.test", to: MAILBOX };
    let other = dovecot::deliver(&script, &envelope, back("other@acme.test").as_bytes());
    assert_eq!((other.forwards.len(), other.inbox), (1, 0), "mail that another mailbox forwarded is moved on");
}
