//! What a tenant reaches of another's through the operator: nothing, and the status says why without naming the other.

use std::time::Duration;

use axum::http::Request;
use ground::wait_until;
use mailcow_simulator::{FilterKind, Mailbox, SieveFilter, State};
use serde_json::{Value, json};

use super::acts::{collection, object};
use super::ask::Ask;
use super::table;
use super::tenants::{A, B, Tenants};

const HEADING: &str = "What a tenant reaches of another's";
/// On Mailcow in A's domain, and nobody's in Kubernetes.
const FREE: &str = "free@example.com";
/// What a person calls a filter of that mailbox.
const PRIVATE: &str = "while I am in hospital";

/// What tenant B tries, and with which object.
const TRIED: [(&str, &str, &str); 59] = [
    ("a password from a Secret of A", "EmailMailbox", "stolen"),
    ("a mailbox in a domain object of A that does not let B in", "EmailMailbox", "guest"),
    ("an alias to a mailbox object of A", "EmailAlias", "to-ada"),
    ("in its own domain: an alias called by the number of A's alias (`3rd`)", "EmailAlias", "number"),
    ("a rule for a mailbox object of A", "EmailForwardingRule", "for-ada"),
    ("to send as A's mailbox (`senderAcl`)", "EmailMailbox", "as-ada"),
    ("to send as anybody (`senderAcl: [\"*\"]`)", "EmailMailbox", "as-anybody"),
    ("to send as a domain of the server that no object has, `@byhand.example`", "EmailMailbox", "as-byhand"),
    ("to send as an alias domain of the server, `@aliased.example`", "EmailMailbox", "as-aliased"),
    ("to send as a domain that is nowhere", "EmailMailbox", "as-nowhere"),
    ("to send as a domain of its own that is not proven", "EmailMailbox", "as-unproven"),
    ("to send as a domain of its own on another server", "EmailMailbox", "as-other-server"),
    ("to send as a subdomain of its own domain", "EmailMailbox", "as-subdomain"),
    ("to send as its own domain, mailbox and alias", "EmailMailbox", "as-own"),
    ("to send as its own alias in a domain that A shares", "EmailMailbox", "as-own-alias"),
    ("a domain whose ownership it does not prove", "EmailDomain", "unproven"),
    ("in that: a mailbox", "EmailMailbox", "in-unproven"),
    ("a public suffix, `co.uk`", "EmailDomain", "suffix"),
    ("a domain on a server that is not for its namespace", "EmailDomain", "on-private"),
    ("in that: a mailbox", "EmailMailbox", "in-private"),
    ("a domain on a server that is not there", "EmailDomain", "on-nothing"),
    ("a domain on a second server", "EmailDomain", "on-second"),
    ("A's domain once more", "EmailDomain", "rival"),
    ("in that: A's mailbox", "EmailMailbox", "rival-ada"),
    ("in that: a mailbox on Mailcow that has no object", "EmailMailbox", "rival-free"),
    ("in that: A's alias", "EmailAlias", "rival-sales"),
    ("in that: a rule for A's mailbox", "EmailForwardingRule", "rival-rule"),
    ("in that: a rule for a mailbox with a person's filter", "EmailForwardingRule", "rival-free"),
    ("A's domain in full-width letters, `ｅｘａｍｐｌｅ.com`", "EmailDomain", "wide"),
    ("A's domain with an invisible character (U+00AD)", "EmailDomain", "invisible"),
    ("A's domain as an A-label that is none, `xn--example-.com`", "EmailDomain", "fake"),
    ("A's domain by `adoptionPolicy: Force`, set by the platform", "EmailDomain", "forced"),
    ("in that: A's mailbox by `Force`", "EmailMailbox", "forced-ada"),
    ("in a domain that A shares: A's mailbox", "EmailMailbox", "boss"),
    ("the same by `Force`", "EmailMailbox", "forced-boss"),
    ("in a domain that A shares: to send as A's mailbox, or as all", "EmailMailbox", "as-boss"),
    (
        "in a domain that A shares: a subaddress of A's mailbox, as an alias (`boss+billing`)",
        "EmailAlias",
        "boss-billing",
    ),
    ("the same as a mailbox", "EmailMailbox", "boss-private"),
    ("a subaddress of an address that nobody has", "EmailAlias", "nobody-billing"),
    ("a mailbox of its own there", "EmailMailbox", "mia"),
    ("a subaddress of that (`mia+news`)", "EmailAlias", "mia-news"),
    ("`postmaster` there, as a mailbox", "EmailMailbox", "postmaster"),
    ("`abuse` there, as an alias", "EmailAlias", "abuse"),
    ("`admin+x` there, as an alias", "EmailAlias", "admin-x"),
    ("the catch-all there", "EmailAlias", "catch-all"),
    ("a mailbox there that somebody made by hand", "EmailMailbox", "by-hand"),
    ("an alias there that somebody made by hand", "EmailAlias", "by-hand"),
    ("an alias there with the address of A's mailbox", "EmailAlias", "boss"),
    ("a mailbox there with the address of A's alias", "EmailMailbox", "crew"),
    ("in a domain that A shares with limits: a mailbox", "EmailMailbox", "limited-1"),
    ("a second one of half the quota", "EmailMailbox", "limited-2"),
    ("a third one, where two are allowed", "EmailMailbox", "limited-3"),
    ("an alias there", "EmailAlias", "limited-one"),
    ("a second one, where one is allowed", "EmailAlias", "limited-two"),
    ("a rule with a sink that is not for its namespace", "EmailForwardingRule", "sink-theirs"),
    ("a rule with a sink that is not there", "EmailForwardingRule", "sink-nothing"),
    ("a password from a Secret that is not there", "EmailMailbox", "no-secret"),
    ("its generated password in a Secret that is there already", "EmailMailbox", "taken-secret"),
    ("an alias that leads to itself", "EmailAlias", "loop"),
];

/// What has to be there before the next is tried: of two that are made in one second it is not known which was first.
const FIRST: [&str; 3] = ["limited-1", "limited-2", "limited-one"];

/// The plural of a kind.
pub(super) fn plural(kind: &str) -> &'static str {
    match kind {
        "EmailDomain" => "emaildomains",
        "EmailMailbox" => "emailmailboxes",
        "EmailAlias" => "emailaliases",
        _ => "emailforwardingrules",
    }
}

/// The specs of B's objects; a reference into another namespace has no field to be in. `number` is that of A's alias on
/// Mailcow, whose database takes `3rd@b.example` for it.
fn specs(number: i64) -> Vec<(&'static str, &'static str, Value)> {
    let elsewhere = |name: &str| json!({"name": name, "namespace": A});
    let (own, rival, forced) = (json!({"name": "own"}), json!({"name": "rival"}), json!({"name": "forced"}));
    let rule = |mailbox: Value| json!({"mailboxRef": mailbox, "actions": [{"forward": {"to": ["b@b.example"]}}]});
    let mailbox = |name: &str, domain: &Value, more: Value| {
        let mut spec = json!({"localPart": name, "domainRef": domain});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let alias = |name: &str, domain: &Value| json!({"localPart": name, "domainRef": domain, "goto": ["b@b.example"]});
    let domain = |name: &str, more: Value| {
        let mut spec = json!({"domain": name, "dns": {"required": []}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let (shared, limited) = (elsewhere("shared"), elsewhere("limited"));
    let senders = |list: &[&str]| json!({"senderAcl": list});
    let sink = |sink: &str| json!({"mailboxRef": {"name": "as-own"}, "actions": [{"createTask": {"sink": sink}}]});
    let more = vec![
        ("EmailDomain", "unproven", domain("unproven.example", json!({"ownership": {"method": "TXT"}}))),
        ("EmailDomain", "suffix", domain("co.uk", json!({}))),
        ("EmailDomain", "on-private", domain("private.example", json!({"server": "private"}))),
        ("EmailDomain", "on-nothing", domain("nothing.example", json!({"server": "nothing"}))),
        ("EmailDomain", "on-second", domain("second.example", json!({"server": "second"}))),
        ("EmailMailbox", "in-unproven", mailbox("x", &json!({"name": "unproven"}), json!({}))),
        ("EmailMailbox", "in-private", mailbox("x", &json!({"name": "on-private"}), json!({}))),
        ("EmailMailbox", "as-byhand", mailbox("as-byhand", &own, senders(&["@byhand.example", "free@example.com"]))),
        ("EmailMailbox", "as-aliased", mailbox("as-aliased", &own, senders(&["@aliased.example"]))),
        ("EmailMailbox", "as-nowhere", mailbox("as-nowhere", &own, senders(&["@nowhere.example"]))),
        ("EmailMailbox", "as-unproven", mailbox("as-unproven", &own, senders(&["@unproven.example"]))),
        ("EmailMailbox", "as-other-server", mailbox("as-other-server", &own, senders(&["@second.example"]))),
        ("EmailMailbox", "as-subdomain", mailbox("as-subdomain", &own, senders(&["@sub.b.example"]))),
        (
            "EmailMailbox",
            "as-own",
            mailbox("as-own", &own, senders(&["@b.example", "as-ada@b.example", "info@b.example"])),
        ),
        ("EmailMailbox", "as-own-alias", mailbox("as-own-alias", &own, senders(&["mia+news@shared.example"]))),
        ("EmailAlias", "info", alias("info", &own)),
        ("EmailAlias", "boss-billing", alias("Boss+billing", &shared)),
        ("EmailMailbox", "boss-private", mailbox("boss+private", &shared, json!({}))),
        ("EmailAlias", "nobody-billing", alias("nobody+billing", &shared)),
        ("EmailMailbox", "mia", mailbox("mia", &shared, json!({}))),
        ("EmailAlias", "mia-news", alias("mia+news", &shared)),
        ("EmailMailbox", "postmaster", mailbox("Postmaster", &shared, json!({}))),
        ("EmailAlias", "abuse", alias("abuse", &shared)),
        ("EmailAlias", "admin-x", alias("admin+x", &shared)),
        ("EmailDomain", "wide", domain("ｅｘａｍｐｌｅ.com", json!({}))),
        ("EmailDomain", "invisible", domain("exam\u{ad}ple.com", json!({}))),
        ("EmailDomain", "fake", domain("xn--example-.com", json!({}))),
        ("EmailAlias", "catch-all", json!({"catchAll": true, "domainRef": shared, "goto": ["b@b.example"]})),
        ("EmailMailbox", "by-hand", mailbox("byhand", &shared, json!({}))),
        ("EmailAlias", "by-hand", alias("list", &shared)),
        ("EmailAlias", "boss", alias("boss", &shared)),
        ("EmailMailbox", "crew", mailbox("crew", &shared, json!({}))),
        ("EmailForwardingRule", "sink-theirs", sink("theirs")),
        ("EmailForwardingRule", "sink-nothing", sink("nothing")),
        ("EmailMailbox", "no-secret", mailbox("no-secret", &own, json!({"passwordSecretRef": {"name": "nothing"}}))),
        ("EmailMailbox", "taken-secret", mailbox("taken-secret", &own, json!({"credentialsSecretName": "taken"}))),
        ("EmailAlias", "loop", json!({"localPart": "loop", "domainRef": own, "goto": ["loop@b.example"]})),
    ];
    // One after the other: the earlier of two has the better right.
    let limited = vec![
        ("EmailMailbox", "limited-1", mailbox("one", &limited, json!({"quota": "2Gi"}))),
        ("EmailMailbox", "limited-2", mailbox("two", &limited, json!({"quota": "1Gi"}))),
        ("EmailMailbox", "limited-3", mailbox("three", &limited, json!({"quota": "1Mi"}))),
        ("EmailAlias", "limited-one", alias("info-one", &limited)),
        ("EmailAlias", "limited-two", alias("info-two", &limited)),
    ];
    let before = vec![
        (
            "EmailDomain",
            "own",
            json!({"domain": "b.example", "dns": {"required": [], "publish": "ConfigMap", "namespace": A}}),
        ),
        (
            "EmailMailbox",
            "stolen",
            json!({"localPart": "b", "domainRef": own, "passwordSecretRef": elsewhere("ada-mailbox")}),
        ),
        ("EmailMailbox", "guest", json!({"localPart": "guest", "domainRef": elsewhere("example")})),
        (
            "EmailMailbox",
            "as-ada",
            json!({"localPart": "as-ada", "domainRef": own, "senderAcl": ["ada@example.com", "@example.com"]}),
        ),
        ("EmailMailbox", "as-anybody", json!({"localPart": "as-anybody", "domainRef": own, "senderAcl": ["*"]})),
        ("EmailAlias", "to-ada", json!({"localPart": "x", "domainRef": own, "gotoMailboxRefs": [elsewhere("ada")]})),
        (
            "EmailAlias",
            "number",
            json!({"localPart": format!("{number}rd"), "domainRef": own, "goto": ["b@b.example"]}),
        ),
        ("EmailForwardingRule", "for-ada", rule(elsewhere("ada"))),
        ("EmailDomain", "rival", json!({"domain": "Example.com", "deletionPolicy": "Delete"})),
        ("EmailMailbox", "rival-ada", json!({"localPart": "ada", "domainRef": rival, "deletionPolicy": "Delete"})),
        ("EmailMailbox", "rival-free", json!({"localPart": "free", "domainRef": rival, "deletionPolicy": "Delete"})),
        ("EmailAlias", "rival-sales", json!({"localPart": "sales", "domainRef": rival, "goto": ["b@b.example"]})),
        ("EmailForwardingRule", "rival-rule", rule(json!({"name": "rival-ada"}))),
        ("EmailForwardingRule", "rival-free", rule(json!({"name": "rival-free"}))),
        ("EmailMailbox", "boss", json!({"localPart": "boss", "domainRef": elsewhere("shared")})),
        (
            "EmailMailbox",
            "as-boss",
            json!({
                "localPart": "as-boss", "domainRef": elsewhere("shared"),
                "senderAcl": ["boss@shared.example", "@shared.example"],
            }),
        ),
        (
            "EmailMailbox",
            "forced-boss",
            json!({"localPart": "boss", "domainRef": elsewhere("shared"), "adoptionPolicy": "Force"}),
        ),
        ("EmailDomain", "forced", json!({"domain": "example.com", "adoptionPolicy": "Force"})),
        ("EmailMailbox", "forced-ada", json!({"localPart": "ada", "domainRef": forced, "adoptionPolicy": "Force"})),
    ];
    before.into_iter().chain(more).chain(limited).collect()
}

/// B tries, the operator answers; then all of it goes, and A has what it had.
pub(super) async fn compare(tenants: &Tenants) {
    tenants.mailcow.edit(unmanaged);
    tenants.kubectl(&["-n", B, "create", "secret", "generic", "taken", "--from-literal=password=mine"]).await;
    let before = tenants.mailcow.inspect(of_a);
    let number = tenants.mailcow.inspect(|state| state.alias("sales@example.com").map(|alias| alias.id)).unwrap();
    for (kind, name, spec) in specs(number) {
        let who = if name.starts_with("forced") { "platform" } else { "edit in B" };
        let ask = Ask::create(&collection(B, plural(kind)), object(kind, name, &spec)).in_earnest();
        assert_eq!(ask.send(tenants.actor(who)).await.word, "yes", "{kind} {name}");
        if FIRST.contains(&name) {
            let object = format!("{}/{name}", plural(kind));
            tenants.kubectl(&["-n", B, "wait", "--for=condition=Ready", "--timeout=30s", &object]).await;
        }
    }
    let expected = table::expected(table::PAGE, HEADING);
    let settled = wait_until(Duration::from_secs(20), "the statuses", async || {
        let measured = measured(tenants).await;
        if measured == expected { Ok(()) } else { Err("others") }
    });
    let _ = settled.await; // compared below
    table::compare(HEADING, &measured(tenants).await);
    nothing_leaks(tenants).await;
    let goto = |address: &str| tenants.mailcow.inspect(|state| state.alias(address).map(|found| found.goto.clone()));
    assert_eq!(goto(&format!("{number}rd@b.example")).as_deref(), Some("b@b.example"), "B's own alias is made");
    assert_eq!(tenants.mailcow.inspect(of_a), before, "A has what it had");
    for name in ["as-ada@b.example", "as-anybody@b.example", "as-boss@shared.example"] {
        let senders = tenants.mailcow.inspect(|state| state.mailbox(name).map(|found| found.sender_acl.clone()));
        assert_eq!(senders, Some(Vec::new()), "{name}");
    }
    tenants.kubectl(&["-n", B, "annotate", "edom/rival", "email.askrobots.com/confirm-delete=example.com"]).await;
    for (name, address) in [("rival-ada", "ada@example.com"), ("rival-free", FREE)] {
        let confirm = format!("email.askrobots.com/confirm-delete={address}");
        tenants.kubectl(&["-n", B, "annotate", "embx", name, &confirm]).await;
    }
    tenants.kubectl(&["-n", B, "delete", "efr,ealias,embx", "--all", "--timeout=20s"]).await;
    tenants.kubectl(&["-n", B, "delete", "edom", "rival", "forced", "--timeout=20s"]).await;
    assert_eq!(goto(&format!("{number}rd@b.example")), None, "B's own alias goes");
    assert_eq!(tenants.mailcow.inspect(of_a), before, "A has what it had");
}

/// A mailbox that a person made, with a filter of that person.
fn unmanaged(state: &mut State) {
    let mailbox = Mailbox::new("free", "example.com", "2026-01-01 00:00:00");
    state.mailboxes.insert(FREE.to_uppercase(), mailbox);
    let id = state.next_filter_id;
    state.next_filter_id += 1;
    let (username, script) = (FREE.to_owned(), "keep;".to_owned());
    let filter =
        SieveFilter { id, username, kind: FilterKind::Before, script, description: PRIVATE.to_owned(), active: true };
    state.filters.insert(id, filter);
    state.seed_mailbox("byhand@shared.example");
    state.seed_alias("list@shared.example", "byhand@shared.example");
    state.seed_domain("byhand.example");
    state.seed_alias_domain("aliased.example", "byhand.example");
}

/// What Mailcow holds in A's domain.
fn of_a(state: &State) -> String {
    let domain = state.domain("example.com").unwrap();
    let shared = ["boss@shared.example", "byhand@shared.example"].map(|address| state.mailbox(address));
    let mailboxes: Vec<&Mailbox> = state.mailboxes_of("example.com").chain(shared.into_iter().flatten()).collect();
    let is_of_a = |address: &str| {
        address.ends_with("@example.com") || ["crew@shared.example", "list@shared.example"].contains(&address)
    };
    let aliases: Vec<_> = state.aliases.values().filter(|alias| is_of_a(&alias.address)).collect();
    format!("{:#?}\n{mailboxes:#?}\n{aliases:#?}\n{:#?}", domain.tags, state.filters)
}

async fn measured(tenants: &Tenants) -> String {
    let reads = ["EmailDomain", "EmailMailbox", "EmailAlias", "EmailForwardingRule"].map(async |kind| {
        let list: Value = read(tenants, &collection(B, plural(kind))).await;
        (kind, list)
    });
    let lists: Vec<(&str, Value)> = futures::future::join_all(reads).await;
    let mut rows = Vec::new();
    for (act, kind, name) in TRIED {
        rows.push(vec![act.to_owned(), format!("`{}`", reason(&lists, (kind, name), "Ready"))]);
    }
    let maps = read(tenants, &format!("/api/v1/namespaces/{A}/configmaps")).await;
    let here = if maps.to_string().contains("own-dns") { "in A" } else { "in B" };
    let published = reason(&lists, ("EmailDomain", "own"), "Published");
    rows.push(vec!["a ConfigMap with DNS records".to_owned(), format!("`{published}` {here}")]);
    table::markdown(&["in namespace B, with `edit` there", "answer"], &rows)
}

async fn read(tenants: &Tenants, path: &str) -> Value {
    tenants.kube.request(Request::get(path).body(Vec::new()).unwrap()).await.unwrap()
}

/// The reason in a condition.
fn reason(lists: &[(&str, Value)], (kind, name): (&str, &str), condition: &str) -> String {
    let list = &lists.iter().find(|(of, _)| *of == kind).unwrap().1;
    let items = list["items"].as_array().unwrap();
    let object = items.iter().find(|object| object["metadata"]["name"] == name).unwrap();
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|c| c["type"] == condition);
    found.and_then(|c| c["reason"].as_str()).unwrap_or_default().to_owned()
}

/// Nothing that B can read names A's namespace, objects or people, but where B wrote it itself.
async fn nothing_leaks(tenants: &Tenants) {
    let kinds = "emaildomains,emailmailboxes,emailaliases,emailforwardingrules,events,configmaps";
    let all = tenants.kubectl(&["-n", B, "get", kinds, "-o", "json"]).await;
    let uid = tenants.kubectl(&["-n", A, "get", "embx", "ada", "-o", "jsonpath={.metadata.uid}"]).await;
    let own = [r#""namespace": "tenant-a""#, "in the namespace tenant-a allows"];
    let news = own.iter().fold(all, |text, own| text.replace(own, ""));
    for secret in [A, PRIVATE, &uid, "Ada Lovelace"] {
        let line = news.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    assert!(news.contains("which still exists") && news.contains("of another namespace already claims"), "{news}");
}
