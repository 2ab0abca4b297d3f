//! What the API server refuses by itself: each refusal names its field and says what to write.

use crate::world::{DOMAIN, World};

fn manifest(kind: &str, spec: &str) -> String {
    format!("apiVersion: email.askrobots.com/v1alpha1\nkind: {kind}\nmetadata: {{name: bad}}\nspec: {spec}")
}

/// A kind, a spec that has to be refused, and what the words must hold.
const REFUSED: [(&str, &str, &str); 47] = [
    ("EmailDomain", "{domain: example}", "spec.domain"),
    ("EmailDomain", "{domain: a_b.example}", "spec.domain"),
    ("EmailDomain", "{domain: '*.example.com'}", "spec.domain"),
    ("EmailDomain", "{}", "spec.domain"),
    ("EmailDomain", "{domain: 17}", "spec.domain"),
    ("EmailDomain", "{domain: e.com, nonsense: 1}", "spec.nonsense"),
    ("EmailDomain", "{domain: e.com, limits: {mailboxes: -1}}", "spec.limits.mailboxes"),
    ("EmailDomain", "{domain: e.com, limits: {totalQuota: 1GB}}", "spec.limits.totalQuota"),
    ("EmailDomain", "{domain: e.com, limits: {mailboxQuota: 2Gi, totalQuota: 1Gi}}", "mailboxQuota must not be above"),
    ("EmailDomain", "{domain: e.com, rateLimit: {messages: 1, per: Week}}", "spec.rateLimit.per"),
    ("EmailDomain", "{domain: e.com, dkim: {keySize: 512}}", "keySize must be 2048 or 4096"),
    ("EmailDomain", "{domain: e.com, deletionPolicy: Destroy}", "spec.deletionPolicy"),
    ("EmailDomain", "{domain: e.com, server: 'In House'}", "spec.server"),
    (
        "EmailDomain",
        "{domain: e.com, allowedNamespaces: {from: Selector}}",
        "set selector if and only if from is Selector",
    ),
    (
        "EmailDomain",
        "{domain: e.com, allowedNamespaces: {from: Selector, selector: {matchExpressions: [{key: a, operator: In}]}}}",
        "In and NotIn need values",
    ),
    ("EmailMailbox", "{localPart: 'a b', domainRef: {name: d}}", "spec.localPart"),
    ("EmailMailbox", "{localPart: a..b, domainRef: {name: d}}", "spec.localPart"),
    ("EmailMailbox", "{localPart: a/b, domainRef: {name: d}}", "must not contain a slash"),
    ("EmailMailbox", "{localPart: '0', domainRef: {name: d}}", "must not be just 0"),
    ("EmailMailbox", "{localPart: a, domainRef: {name: d}, displayName: '0'}", "must not be just 0"),
    ("EmailMailbox", "{localPart: a, domainRef: {name: d}, tags: [x, '0']}", "must not be just 0"),
    ("EmailDomain", "{domain: e.com, tags: ['0']}", "must not be just 0"),
    ("EmailDomain", "{domain: e.com, description: '0'}", "must not be just 0"),
    ("EmailMailbox", "{localPart: a}", "spec.domainRef"),
    ("EmailMailbox", "{localPart: a, domainRef: {name: d, namespace: ''}}", "spec.domainRef.namespace"),
    ("EmailMailbox", "{localPart: a, domainRef: {name: d, kind: x}}", "spec.domainRef.kind"),
    ("EmailMailbox", "{localPart: a, domainRef: {name: d}, quota: 1.5Gi}", "spec.quota"),
    ("EmailMailbox", "{localPart: a, domainRef: {name: d}, password: hunter2}", "spec.password"),
    ("EmailMailbox", "{localPart: a, domainRef: {name: d}, displayName: '<x>'}", "spec.displayName"),
    (
        "EmailMailbox",
        "{localPart: a, domainRef: {name: d}, passwordSecretRef: {name: s}, credentialsSecretName: t}",
        "credentialsSecretName is the name of the generated Secret",
    ),
    ("EmailAlias", "{domainRef: {name: d}, goto: [a@e.com]}", "exactly one of localPart and catchAll"),
    ("EmailAlias", "{domainRef: {name: d}, localPart: a, catchAll: true, goto: [a@e.com]}", "exactly one of"),
    ("EmailAlias", "{domainRef: {name: d}, localPart: a}", "exactly one of goto, gotoMailboxRefs and sink"),
    ("EmailAlias", "{domainRef: {name: d}, localPart: a, goto: []}", "spec.goto"),
    ("EmailAlias", "{domainRef: {name: d}, localPart: a, goto: ['a@e.com, b@e.com']}", "each goto must be one address"),
    ("EmailForwardingRule", "{actions: [{ignore: {}}]}", "exactly one of mailboxRef and domainRef"),
    (
        "EmailForwardingRule",
        "{mailboxRef: {name: m}, domainRef: {name: d}, actions: [{ignore: {}}]}",
        "exactly one of mailboxRef and domainRef",
    ),
    ("EmailForwardingRule", "{mailboxRef: {name: m}, actions: [{createTask: {sink: A b}}]}", "createTask.sink"),
    ("EmailForwardingRule", "{mailboxRef: {name: m}, actions: [{createNote: {sink: a, url: x}}]}", "createNote.url"),
    (
        "EmailForwardingRule",
        "{mailboxRef: {name: m}, actions: [{createTask: {sink: a}, ignore: {}}]}",
        "exactly one of",
    ),
    ("EmailForwardingRule", "{mailboxRef: {name: m}, actions: []}", "spec.actions"),
    ("EmailForwardingRule", "{mailboxRef: {name: m}, actions: [{}]}", "exactly one of"),
    ("EmailForwardingRule", "{mailboxRef: {name: m}, priority: 10001, actions: [{ignore: {}}]}", "spec.priority"),
    ("EmailForwardingRule", "{mailboxRef: {name: m}, actions: [{ignore: {}}, {ignore: {}}]}", "ignore can only be"),
    ("EmailForwardingRule", "{mailboxRef: {name: m}, actions: [{forward: {to: [nobody]}}]}", "each address must be"),
    (
        "EmailForwardingRule",
        "{mailboxRef: {name: m}, match: {all: [{field: Header, operator: Exists}]}, actions: [{ignore: {}}]}",
        "set header if and only if field is Header",
    ),
    (
        "EmailForwardingRule",
        "{mailboxRef: {name: m}, match: {all: [{field: Subject, operator: Contains}]}, actions: [{ignore: {}}]}",
        "every operator needs values",
    ),
];

#[tokio::test]
async fn refused_fields_name_their_path() {
    let world = World::without_mailcow("bad").await;
    for (kind, spec, expected) in REFUSED {
        let words = world.refused(&manifest(kind, spec)).await;
        assert!(words.contains(expected), "{kind} {spec}\nexpected {expected:?} in:\n{words}");
    }
}

#[tokio::test]
async fn identity_can_not_be_changed() {
    let world = World::without_mailcow("identity").await;
    world.apply(DOMAIN).await;
    let words =
        world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", r#"{"spec":{"domain":"other.com"}}"#]).await;
    assert!(words.contains("domain can't be changed"), "{words}");
    world
        .apply("apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: a}\nspec: {domainRef: {name: d}, localPart: a, goto: [a@e.com]}")
        .await;
    let turned = r#"{"spec":{"localPart":null,"catchAll":true}}"#;
    let words = world.kubectl(&["patch", "ealias", "a", "--type=merge", "-p", turned]).await;
    assert!(words.contains("can't be changed"), "{words}");
    world
        .apply("apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {name: r}\nspec: {mailboxRef: {name: m}, actions: [{ignore: {}}]}")
        .await;
    let other = r#"{"spec":{"mailboxRef":{"name":"other"}}}"#;
    let words = world.kubectl(&["patch", "efr", "r", "--type=merge", "-p", other]).await;
    assert!(words.contains("mailboxRef can't be changed"), "{words}");
}
