//! What the API server refuses of a tenant before anything is stored: each row is tried with the tenant's own token.

use serde_json::{Value, json};

use super::acts::{collection, object};
use super::ask::Ask;
use super::table;
use super::tenants::{A, B, Tenants};

const HEADING: &str = "What the API server refuses";

/// Marks that a tenant might forge.
const MARK: &str = "mailcow-operator/testing/tenant-a/example/uid";

fn rows() -> Vec<(&'static str, &'static str, Value)> {
    let domain = |more: Value| with(json!({"domain": "new.example"}), more);
    let mailbox = |more: Value| with(json!({"localPart": "new", "domainRef": {"name": "own"}}), more);
    let alias =
        |more: Value| with(json!({"localPart": "new", "domainRef": {"name": "own"}, "goto": ["b@b.example"]}), more);
    let rule = |more: Value| with(json!({"mailboxRef": {"name": "as-ada"}, "actions": [{"ignore": {}}]}), more);
    vec![
        ("the mark of A's domain as a tag", "EmailDomain", domain(json!({"tags": [MARK]}))),
        ("the same within a tag", "EmailDomain", domain(json!({"tags": [format!("customer {MARK}")]}))),
        ("the same in capitals", "EmailDomain", domain(json!({"tags": [MARK.to_uppercase()]}))),
        ("the same as a mailbox's tag", "EmailMailbox", mailbox(json!({"tags": [MARK]}))),
        ("the same in a description", "EmailDomain", domain(json!({"description": format!("by {MARK}")}))),
        ("the same in a display name", "EmailMailbox", mailbox(json!({"displayName": MARK}))),
        ("the same in a comment", "EmailAlias", alias(json!({"publicComment": MARK}))),
        ("a control character in a tag", "EmailDomain", domain(json!({"tags": ["a\u{1b}[31m"]}))),
        ("a control character in a description", "EmailDomain", domain(json!({"description": "a\u{7}"}))),
        ("a line end in a display name", "EmailMailbox", mailbox(json!({"displayName": "a\r\nBcc: x@y.example"}))),
        ("a line end in a comment", "EmailAlias", alias(json!({"publicComment": "a\nb"}))),
        ("a line end in a TXT value to publish", "EmailDomain", domain(json!({"dns": {"apexTxt": ["a\nb TXT c"]}}))),
        ("a path as a local part", "EmailMailbox", mailbox(json!({"localPart": "../domain/example.com"}))),
        ("a query as a local part", "EmailAlias", alias(json!({"localPart": "x?tags=a"}))),
        ("a whole address as a local part", "EmailMailbox", mailbox(json!({"localPart": "ada@example.com"}))),
        ("several addresses as a local part", "EmailAlias", alias(json!({"localPart": "a;b"}))),
        ("a path as a domain", "EmailDomain", domain(json!({"domain": "example.com/../all"}))),
        ("a wildcard as a domain", "EmailDomain", domain(json!({"domain": "*.example"}))),
        ("a path as a domain's name", "EmailMailbox", mailbox(json!({"domainRef": {"name": "../../tenant-a"}}))),
        (
            "a path as a domain's namespace",
            "EmailMailbox",
            mailbox(json!({"domainRef": {"name": "example", "namespace": "tenant-a/emaildomains"}})),
        ),
        ("a path as a Secret's name", "EmailMailbox", mailbox(json!({"passwordSecretRef": {"name": "../mailcow"}}))),
        (
            "a Secret of another namespace",
            "EmailMailbox",
            mailbox(json!({"passwordSecretRef": {"name": "x", "namespace": A}})),
        ),
        ("a path as a generated Secret's name", "EmailMailbox", mailbox(json!({"credentialsSecretName": "a/b"}))),
        ("a path as a mailbox's name", "EmailForwardingRule", rule(json!({"mailboxRef": {"name": "../ada"}}))),
        (
            "a mailbox of another namespace",
            "EmailForwardingRule",
            rule(json!({"mailboxRef": {"name": "ada", "namespace": A}})),
        ),
        ("a server by a path", "EmailDomain", domain(json!({"server": "../second"}))),
        (
            "a selector that is none",
            "EmailDomain",
            domain(
                json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}}}),
            ),
        ),
        (
            "a selector's value that is none",
            "EmailDomain",
            domain(
                json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b,c"]}]}}}),
            ),
        ),
        (
            "a selector's label with 64 characters",
            "EmailDomain",
            domain(
                json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "x".repeat(64)}}}}),
            ),
        ),
        (
            "a selector's label whose name has a thousand",
            "EmailDomain",
            domain(
                json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"x".repeat(1000): ""}}}}),
            ),
        ),
        (
            "a DKIM selector with a dot and a name",
            "EmailDomain",
            domain(json!({"dkim": {"selector": "x._domainkey.example.com."}})),
        ),
        (
            "a header's name with a line end",
            "EmailForwardingRule",
            rule(json!({"match": {"all": [{"field": "Header", "header": "X\r\nY", "operator": "Exists"}]}})),
        ),
        (
            "a domain with an ideographic full stop, `example。com`",
            "EmailDomain",
            domain(json!({"domain": "example。com"})),
        ),
        (
            "a rule with more text than fits into a script",
            "EmailForwardingRule",
            rule(
                json!({"match": {"any": vec![json!({"field": "Subject", "operator": "Equals", "values": vec!["x".repeat(512); 64]}); 2]}}),
            ),
        ),
        ("to send as two at once", "EmailMailbox", mailbox(json!({"senderAcl": ["a@b.example,*"]}))),
        (
            "a hundred and one senders",
            "EmailMailbox",
            mailbox(json!({"senderAcl": (0..101).map(|n| format!("a{n}@b.example")).collect::<Vec<_>>()})),
        ),
        ("a negative quota", "EmailMailbox", mailbox(json!({"quota": "-1Gi"}))),
        ("a field that is none", "EmailMailbox", mailbox(json!({"isAdmin": true}))),
    ]
}

/// A spec with further fields, or others in place of its own.
fn with(mut spec: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    spec.as_object_mut().unwrap().extend(more);
    spec
}

/// B tries each, and one that is right.
pub(super) async fn compare(tenants: &Tenants) {
    let mut lines = Vec::new();
    for (act, kind, spec) in rows() {
        let ask = Ask::create(&collection(B, super::told::plural(kind)), object(kind, "new", &spec)).strictly();
        let answer = ask.send(tenants.actor("edit in B")).await;
        lines.push(vec![act.to_owned(), format!("`{kind}`"), answer.word]);
    }
    let right =
        json!({"localPart": "new", "domainRef": {"name": "own"}, "tags": ["customer-42"], "displayName": "Zoë"});
    let ask = Ask::create(&collection(B, "emailmailboxes"), object("EmailMailbox", "new", &right));
    assert_eq!(ask.send(tenants.actor("edit in B")).await.word, "yes");
    table::compare(HEADING, &table::markdown(&["in namespace B, with `edit` there", "kind", "answer"], &lines));
}
