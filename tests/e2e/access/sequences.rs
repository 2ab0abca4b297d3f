//! What a tenant reaches of another's in several steps: with objects that it makes, changes and deletes one after the
//! other, and with what the API server lets it write into their metadata.

use std::time::Duration;

use axum::http::Request;
use ground::wait_until;
use mailcow_simulator::State;
use serde_json::{Value, json};

use super::acts::{collection, object};
use super::ask::Ask;
use super::table;
use super::tenants::{A, B, Tenants};
use super::told::plural;
use crate::world::LIMIT;

const HEADING: &str = "What a tenant reaches in several steps";
/// The operator's finalizer.
const FINALIZER: &str = "email.askrobots.com/mailcow";
/// How long something may take that should not happen at all.
const SHORT: Duration = Duration::from_secs(10);

const OF_A: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: books}
spec: {mailboxRef: {name: ada}, actions: [{forward: {to: [books@bookkeeper.example]}}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: rated}
spec:
  domain: rated.example
  allowedNamespaces: {from: All, limits: {mailboxes: 2, aliases: 1, rateLimit: {messages: 20, per: Hour}}}
  dns: {required: []}
";

/// Somebody's hands: B's own token for all that B does, an administrator's for A and for what is looked at.
struct Hands<'a>(&'a Tenants);

impl Hands<'_> {
    async fn create(&self, kind: &str, name: &str, spec: Value) {
        self.create_as(kind, name, &spec, json!({})).await;
    }

    /// With more metadata.
    async fn create_as(&self, kind: &str, name: &str, spec: &Value, metadata: Value) {
        let mut object = object(kind, name, spec);
        object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
        self.send(&Ask::create(&collection(B, plural(kind)), object)).await;
    }

    async fn change(&self, kind: &str, name: &str, spec: Value) {
        self.patch(kind, name, json!({"spec": spec})).await;
    }

    async fn patch(&self, kind: &str, name: &str, patch: Value) {
        self.send(&Ask::patch(&format!("{}/{name}", collection(B, plural(kind))), patch)).await;
    }

    async fn delete(&self, kind: &str, name: &str) {
        self.send(&Ask::delete(&format!("{}/{name}", collection(B, plural(kind))), "")).await;
    }

    async fn deleted(&self, kind: &str, name: &str) {
        self.delete(kind, name).await;
        self.gone(kind, name).await;
    }

    async fn gone(&self, kind: &str, name: &str) {
        let gone = wait_until(LIMIT, "the object to go", async || match self.get(B, kind, name).await {
            Some(object) => Err(object["status"].to_string()),
            None => Ok(()),
        });
        gone.await.unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }

    async fn send(&self, ask: &Ask) {
        let answer = ask.clone().in_earnest().send(self.0.actor("edit in B")).await;
        assert_eq!(answer.word, "yes", "{}", answer.message);
    }

    async fn apply(&self, manifest: &str) {
        self.0.plane.apply(manifest, A).await.unwrap();
    }

    async fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let path = format!("{}/{name}", collection(namespace, plural(kind)));
        self.0.kube.request(Request::get(path).body(Vec::new()).unwrap()).await.ok()
    }

    /// The reason of `Ready` for the current generation, once it is this one; otherwise the last one.
    async fn reason(&self, namespace: &str, kind: &str, name: &str, expected: &str) -> String {
        let mut last = String::new();
        let reached = wait_until(LIMIT, expected, async || {
            let object = self.get(namespace, kind, name).await.unwrap_or_default();
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
            let is_current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            last = ready
                .filter(|_| is_current)
                .map(|ready| ready["reason"].as_str().unwrap_or_default().to_owned())
                .unwrap_or_default();
            if last == expected { Ok(()) } else { Err(format!("{ready:?}")) }
        });
        let reached = reached.await;
        reached.err().inspect(|error| eprintln!("{namespace}/{name}: {error}"));
        format!("`{last}`")
    }

    async fn ready(&self, kind: &str, name: &str) {
        assert_eq!(self.reason(B, kind, name, "InSync").await, "`InSync`", "{kind} {name}");
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.0.mailcow.inspect(look)
    }

    /// Whether it becomes so.
    async fn becomes(&self, what: &str, is_so: impl Fn(&State) -> bool) -> bool {
        let reached = wait_until(LIMIT, what, async || if self.look(&is_so) { Ok(()) } else { Err("not yet") });
        reached.await.is_ok()
    }

    /// Whether something stays as it is for a while.
    async fn stays<T: PartialEq>(&self, look: impl Fn(&State) -> T) -> bool {
        let before = self.look(&look);
        let changed =
            wait_until(SHORT, "nothing", async || if self.look(&look) == before { Err("as before") } else { Ok(()) });
        changed.await.is_err()
    }

    /// Waits until the operator has looked at an object of B that is not being deleted.
    async fn seen(&self, kind: &str, name: &str) {
        let seen = wait_until(LIMIT, "a status", async || {
            let object = self.get(B, kind, name).await.unwrap_or_default();
            let is_seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            if is_seen { Ok(()) } else { Err(object["status"].to_string()) }
        });
        seen.await.unwrap();
    }
}

/// What Mailcow has in A's domains, with all filters there.
fn of_a(state: &State) -> String {
    let ours = |address: &str| ["@example.com", "@shared.example"].iter().any(|domain| address.ends_with(domain));
    let domains = ["example.com", "shared.example"].map(|name| state.domain(name).map(|domain| domain.tags.clone()));
    let mailboxes: Vec<_> = ["ada@example.com", "boss@shared.example"].map(|name| state.mailbox(name)).into();
    let aliases: Vec<_> = state.aliases.values().filter(|alias| ours(&alias.address)).collect();
    let filters: Vec<_> = state.filters.values().filter(|filter| ours(&filter.username)).collect();
    format!("{domains:#?}\n{mailboxes:#?}\n{aliases:#?}\n{filters:#?}")
}

fn nothing(is_so: bool) -> String {
    (if is_so { "nothing changes for A" } else { "A's entries change" }).to_owned()
}

fn elsewhere(name: &str) -> Value {
    json!({"name": name, "namespace": A})
}

fn forwards(mailbox: &str) -> Value {
    json!({"mailboxRef": {"name": mailbox}, "actions": [{"forward": {"to": ["b@b.example"], "keepCopy": false}}]})
}

fn alias(local: &str, domain: &Value) -> Value {
    json!({"localPart": local, "domainRef": domain, "goto": ["b@b.example"]})
}

fn mailbox(local: &str, domain: &Value) -> Value {
    json!({"localPart": local, "domainRef": domain, "quota": "1Gi"})
}

/// Prints what happened as soon as it is known.
async fn row(act: &str, happens: impl Future<Output = String>) -> Vec<String> {
    let happens = happens.await;
    eprintln!("{act}: {happens}");
    vec![act.to_owned(), happens]
}

/// B tries, the operator answers.
pub(super) async fn compare(tenants: &Tenants) {
    let hands = Hands(tenants);
    hands.apply(OF_A).await;
    for (kind, name) in [("EmailForwardingRule", "books"), ("EmailDomain", "rated"), ("EmailForwardingRule", "all")] {
        assert_eq!(hands.reason(A, kind, name, "InSync").await, "`InSync`");
    }
    let rows = [
        row("an EmailMailbox for A's mailbox, with the operator's finalizer, and a rule that forwards its mail; deletes the EmailMailbox", scripts_of_others(&hands, "boss", "shared", None)).await,
        row("the same in a domain of A that does not let B in, for a mailbox with rules, by `adoptionPolicy: Force` of the rule", scripts_of_others(&hands, "ada", "example", Some("Force"))).await,
        row("the same in A's domain once more, unproven", in_a_rival_domain(&hands)).await,
        row("an EmailMailbox for A's mailbox with two rules; deletes it, and then one of the rules, which has the operator's finalizer", by_a_deleted_rule(&hands)).await,
        row("an EmailAlias and an EmailDomain for those of A, with the operator's finalizer, under `Delete` and confirmed; deletes both", deletions(&hands)).await,
        row("an EmailDomain that is not proven for a domain that A's rule forwards to, and an alias there that leads back to A's mailbox", loop_for_a_rule(&hands)).await,
        row("A's domain once more, unproven, with an alias that A's new alias leads to, and that leads back", loop_for_an_alias(&hands)).await,
        row("in a domain that A shares: an alias that is refused (`abuse`); then A makes that address", reserved_and_taken(&hands)).await,
        row("aliases beyond its limit; then A makes an alias with such an address", beyond_the_limit(&hands)).await,
        row("ten mailboxes at once, where two are allowed", ten_at_once(&hands)).await,
        row("deletes both without their finalizers, and makes another one", without_finalizers(&hands)).await,
        row("another one with the labels of automatic mailboxes", labelled(&hands)).await,
        row("to send as its alias in a domain that A shares; asks for a rate limit that is too high, and gives the alias up", senders_with_a_refused_spec(&hands)).await,
        row("the same; deletes the domain of its mailbox, and gives the alias up", senders_without_a_domain(&hands)).await,
        row("a mailbox of 20 messages an hour, paused; then A allows 5", a_lower_rate(&hands)).await,
        row("deletes a mailbox under `Delete`, but keeps its object with a finalizer of its own; then A makes that address", kept_objects(&hands)).await,
        row("a subaddress of its own address; deletes both, and leaves the subaddress on Mailcow; then A makes the address", left_subaddresses(&hands)).await,
        row("five mailboxes in a domain of A that does not let B in", counted(&hands)).await,
        row("in a domain that A shares: an alias to a mailbox that is not there; then A makes that address", without_a_target(&hands)).await,
        row("such aliases beyond its limit; then another guest makes such an address", squatting(&hands)).await,
        row("mailboxes beyond its limit, each with a sender that is no address; then another guest makes such an address", squatting_with_errors(&hands)).await,
        row("in a domain that A shares: a mailbox that somebody made by hand; then A adopts it", by_hand(&hands)).await,
        row("leaves two mailboxes on Mailcow where two are allowed, and asks for another one; then gives both addresses to other objects", hidden_leavings(&hands)).await,
        row("a mailbox in a domain that A shares no longer; deletes it under `Retain`; then A makes that address", left_after_sharing(&hands)).await,
        row("an alias there, with its managed fields filled until nothing more fits; then A shares the domain no longer", filled(&hands)).await,
    ];
    let head = ["in namespace B, with `edit` there", "what happens"];
    table::compare(HEADING, &table::markdown(&head, &rows));
}

/// An object for a mailbox of A, with a finalizer that the operator did not add, and with a rule.
async fn scripts_of_others(hands: &Hands<'_>, local: &str, domain: &str, adoption: Option<&str>) -> String {
    let name = &format!("forged-{local}");
    let before = hands.look(of_a);
    let finalizers = json!({"finalizers": [FINALIZER]});
    hands.create_as("EmailMailbox", name, &mailbox(local, &elsewhere(domain)), finalizers).await;
    let mut rule = forwards(name);
    if let Some(adoption) = adoption {
        rule["adoptionPolicy"] = json!(adoption);
    }
    hands.create("EmailForwardingRule", name, rule).await;
    hands.seen("EmailMailbox", name).await;
    hands.seen("EmailForwardingRule", name).await;
    hands.deleted("EmailMailbox", name).await;
    hands.deleted("EmailForwardingRule", name).await;
    nothing(hands.look(of_a) == before)
}

async fn in_a_rival_domain(hands: &Hands<'_>) -> String {
    let before = hands.look(of_a);
    let rival = json!({"domain": "example.com", "ownership": {"method": "TXT"}, "dns": {"required": []}});
    hands.create("EmailDomain", "rival-forged", rival).await;
    let finalizers = json!({"finalizers": [FINALIZER]});
    let own = json!({"name": "rival-forged"});
    hands.create_as("EmailMailbox", "rival-forged", &mailbox("ada", &own), finalizers).await;
    let mut rule = forwards("rival-forged");
    rule["adoptionPolicy"] = json!("Force");
    hands.create("EmailForwardingRule", "rival-forged", rule).await;
    hands.seen("EmailMailbox", "rival-forged").await;
    hands.seen("EmailForwardingRule", "rival-forged").await;
    hands.deleted("EmailMailbox", "rival-forged").await;
    hands.deleted("EmailForwardingRule", "rival-forged").await;
    hands.deleted("EmailDomain", "rival-forged").await;
    nothing(hands.look(of_a) == before)
}

/// The address that a rule's status remembers belongs to A.
async fn by_a_deleted_rule(hands: &Hands<'_>) -> String {
    let before = hands.look(of_a);
    hands.create("EmailMailbox", "remembered", mailbox("boss", &elsewhere("shared"))).await;
    for name in ["stays", "goes"] {
        let finalizers = json!({"finalizers": [FINALIZER]});
        hands.create_as("EmailForwardingRule", name, &forwards("remembered"), finalizers).await;
        hands.seen("EmailForwardingRule", name).await;
    }
    hands.seen("EmailMailbox", "remembered").await;
    hands.deleted("EmailMailbox", "remembered").await;
    hands.deleted("EmailForwardingRule", "goes").await;
    let answer = nothing(hands.look(of_a) == before);
    hands.deleted("EmailForwardingRule", "stays").await;
    answer
}

async fn deletions(hands: &Hands<'_>) -> String {
    let before = hands.look(of_a);
    let confirmed =
        |thing: &str| json!({"finalizers": [FINALIZER], "annotations": {"email.askrobots.com/confirm-delete": thing}});
    let rival = json!({"domain": "example.com", "deletionPolicy": "Delete", "dns": {"required": []}});
    hands.create_as("EmailDomain", "forged", &rival, confirmed("example.com")).await;
    let mut sales = alias("sales", &json!({"name": "forged"}));
    sales["deletionPolicy"] = json!("Delete");
    hands.create_as("EmailAlias", "forged", &sales, confirmed("sales@example.com")).await;
    hands.seen("EmailAlias", "forged").await;
    hands.deleted("EmailAlias", "forged").await;
    hands.deleted("EmailDomain", "forged").await;
    nothing(hands.look(of_a) == before)
}

async fn loop_for_a_rule(hands: &Hands<'_>) -> String {
    let unproven = json!({"domain": "bookkeeper.example", "ownership": {"method": "TXT"}, "dns": {"required": []}});
    hands.create("EmailDomain", "bookkeeper", unproven).await;
    let own = json!({"name": "bookkeeper"});
    let back = json!({"localPart": "books", "domainRef": own, "goto": ["ada@example.com"]});
    hands.create("EmailAlias", "books", back).await;
    hands.seen("EmailAlias", "books").await;
    let forwards = |state: &State| {
        let mut filters = state.filters.values().filter(|filter| filter.username == "ada@example.com");
        filters.any(|filter| filter.active && filter.script.contains("books@bookkeeper.example"))
    };
    // Also when the script is made again.
    let change = r#"{"spec":{"match":{"largerThan":"1Ki"}}}"#;
    hands.0.kubectl(&["-n", A, "patch", "efr", "books", "--type=merge", "-p", change]).await;
    let answer = hands.reason(A, "EmailForwardingRule", "books", "InSync").await;
    let is_in_force = hands.look(forwards);
    hands.deleted("EmailAlias", "books").await;
    hands.deleted("EmailDomain", "bookkeeper").await;
    format!("{answer} for A's rule, which is {}", if is_in_force { "in force" } else { "not in force" })
}

async fn loop_for_an_alias(hands: &Hands<'_>) -> String {
    let rival = json!({"domain": "example.com", "ownership": {"method": "TXT"}, "dns": {"required": []}});
    hands.create("EmailDomain", "forged", rival).await;
    let back = json!({"localPart": "crew", "domainRef": {"name": "forged"}, "goto": ["everybody@example.com"]});
    hands.create("EmailAlias", "crew", back).await;
    hands.seen("EmailAlias", "crew").await;
    hands.0.mailcow.edit(|state| {
        state.seed_alias("crew@example.com", "ada@example.com");
    });
    let everybody = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: everybody}
spec: {localPart: everybody, domainRef: {name: example}, goto: [crew@example.com]}
";
    hands.apply(everybody).await;
    let answer = hands.reason(A, "EmailAlias", "everybody", "InSync").await;
    hands.deleted("EmailAlias", "crew").await;
    hands.deleted("EmailDomain", "forged").await;
    format!("{answer} for A's alias")
}

async fn reserved_and_taken(hands: &Hands<'_>) -> String {
    hands.create("EmailAlias", "abuse", alias("abuse", &elsewhere("shared"))).await;
    hands.seen("EmailAlias", "abuse").await;
    let abuse = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: abuse}
spec: {localPart: abuse, domainRef: {name: shared}, goto: [a@a.example]}
";
    tokio::time::sleep(Duration::from_secs(1)).await;
    hands.apply(abuse).await;
    let answer = hands.reason(A, "EmailAlias", "abuse", "InSync").await;
    hands.deleted("EmailAlias", "abuse").await;
    format!("{answer} for A's alias")
}

async fn beyond_the_limit(hands: &Hands<'_>) -> String {
    for name in ["first", "second"] {
        hands.create("EmailAlias", name, alias(name, &elsewhere("rated"))).await;
        hands.seen("EmailAlias", name).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let second = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: second}
spec: {localPart: second, domainRef: {name: rated}, goto: [a@a.example]}
";
    hands.apply(second).await;
    let answer = hands.reason(A, "EmailAlias", "second", "InSync").await;
    hands.deleted("EmailAlias", "second").await;
    hands.deleted("EmailAlias", "first").await;
    hands.0.kubectl(&["-n", A, "delete", "ealias", "second"]).await;
    format!("{answer} for A's alias")
}

async fn ten_at_once(hands: &Hands<'_>) -> String {
    let names: Vec<String> = (0..10).map(|n| format!("m{n}")).collect();
    let specs: Vec<Value> = names.iter().map(|name| mailbox(name, &elsewhere("rated"))).collect();
    futures::future::join_all(names.iter().zip(specs).map(|(name, spec)| hands.create("EmailMailbox", name, spec)))
        .await;
    for name in &names {
        hands.seen("EmailMailbox", name).await;
    }
    let made = hands.look(|state| state.mailboxes_of("rated.example").count());
    let mut refused = 0;
    for name in &names {
        let object = hands.get(B, "EmailMailbox", name).await.unwrap();
        if object["status"].to_string().contains("NamespaceLimitReached") {
            refused += 1;
            hands.deleted("EmailMailbox", name).await;
        }
    }
    format!("{made} are made, `NamespaceLimitReached` for {refused}")
}

async fn without_finalizers(hands: &Hands<'_>) -> String {
    let list: Value =
        hands.0.kube.request(Request::get(collection(B, "emailmailboxes")).body(Vec::new()).unwrap()).await.unwrap();
    let items = list["items"].as_array().unwrap();
    let names = items.iter().filter(|item| item["spec"]["domainRef"]["name"] == "rated");
    for name in names.map(|item| item["metadata"]["name"].as_str().unwrap()) {
        // Paused, it waits for the finalizer to be removed.
        let paused = json!({"metadata": {"annotations": {"email.askrobots.com/paused": "true"}}, "spec": {"deletionPolicy": "Deactivate"}});
        hands.patch("EmailMailbox", name, paused).await;
        hands.seen("EmailMailbox", name).await;
        hands.delete("EmailMailbox", name).await;
        hands.patch("EmailMailbox", name, json!({"metadata": {"finalizers": null}})).await;
        hands.gone("EmailMailbox", name).await;
    }
    hands.create("EmailMailbox", "another", mailbox("another", &elsewhere("rated"))).await;
    let answer = hands.reason(B, "EmailMailbox", "another", "NamespaceLimitReached").await;
    hands.deleted("EmailMailbox", "another").await;
    answer
}

async fn labelled(hands: &Hands<'_>) -> String {
    let labels = json!({"labels": {
        "email.askrobots.com/provisioned-by": format!("{A}.rated"), "app.kubernetes.io/managed-by": "mailcow-operator",
    }});
    let name = format!("{A}.rated");
    hands.create_as("EmailMailbox", &name, &mailbox("another", &elsewhere("rated")), labels).await;
    let answer = hands.reason(B, "EmailMailbox", &name, "NamespaceLimitReached").await;
    hands.deleted("EmailMailbox", &name).await;
    hands.0.mailcow.edit(|state| state.mailboxes.retain(|_, mailbox| mailbox.domain != "rated.example"));
    answer
}

fn senders(state: &State, address: &str) -> Vec<String> {
    state.mailbox(address).map(|mailbox| mailbox.sender_acl.clone()).unwrap_or_default()
}

fn lost(is_gone: bool) -> String {
    (if is_gone { "the right is removed" } else { "the right stays" }).to_owned()
}

async fn senders_with_a_refused_spec(hands: &Hands<'_>) -> String {
    hands.create("EmailAlias", "orders", alias("orders", &elsewhere("shared"))).await;
    hands.ready("EmailAlias", "orders").await;
    let mut spec = mailbox("seller", &elsewhere("rated"));
    spec["senderAcl"] = json!(["orders@shared.example"]);
    hands.create("EmailMailbox", "seller", spec).await;
    hands.ready("EmailMailbox", "seller").await;
    assert_eq!(hands.look(|state| senders(state, "seller@rated.example")), ["orders@shared.example"]);
    hands.change("EmailMailbox", "seller", json!({"rateLimit": {"messages": 1000, "per": "Hour"}})).await;
    hands.seen("EmailMailbox", "seller").await;
    hands.deleted("EmailAlias", "orders").await;
    let is_gone = hands.becomes("the right to go", |state| senders(state, "seller@rated.example").is_empty()).await;
    hands.deleted("EmailMailbox", "seller").await;
    lost(is_gone)
}

async fn senders_without_a_domain(hands: &Hands<'_>) -> String {
    hands.create("EmailDomain", "shop", json!({"domain": "shop.example", "dns": {"required": []}})).await;
    hands.create("EmailAlias", "orders", alias("orders", &elsewhere("shared"))).await;
    hands.ready("EmailAlias", "orders").await;
    let mut spec = mailbox("seller", &json!({"name": "shop"}));
    spec["senderAcl"] = json!(["orders@shared.example"]);
    hands.create("EmailMailbox", "seller", spec).await;
    hands.ready("EmailMailbox", "seller").await;
    assert_eq!(hands.look(|state| senders(state, "seller@shop.example")), ["orders@shared.example"]);
    hands.deleted("EmailDomain", "shop").await;
    let _ = hands.reason(B, "EmailMailbox", "seller", "DomainNotFound").await;
    hands.deleted("EmailAlias", "orders").await;
    let is_gone = hands.becomes("the right to go", |state| senders(state, "seller@shop.example").is_empty()).await;
    hands.deleted("EmailMailbox", "seller").await;
    lost(is_gone)
}

async fn a_lower_rate(hands: &Hands<'_>) -> String {
    let mut spec = mailbox("fast", &elsewhere("rated"));
    spec["rateLimit"] = json!({"messages": 20, "per": "Hour"});
    hands.create("EmailMailbox", "fast", spec).await;
    hands.ready("EmailMailbox", "fast").await;
    let rate =
        |state: &State| state.rate_limits.get("fast@rated.example").map(|rate| format!("{}{}", rate.value, rate.frame));
    assert_eq!(hands.look(rate).as_deref(), Some("20h"));
    hands
        .patch("EmailMailbox", "fast", json!({"metadata": {"annotations": {"email.askrobots.com/paused": "true"}}}))
        .await;
    let lower = r#"{"spec":{"allowedNamespaces":{"limits":{"rateLimit":{"messages":5,"per":"Hour"}}}}}"#;
    hands.0.kubectl(&["-n", A, "patch", "edom", "rated", "--type=merge", "-p", lower]).await;
    let is_lower = hands.becomes("the lower rate", |state| rate(state).as_deref() == Some("5h")).await;
    hands.deleted("EmailMailbox", "fast").await;
    (if is_lower { "5 messages an hour on Mailcow" } else { "20 messages an hour on Mailcow" }).to_owned()
}

async fn kept_objects(hands: &Hands<'_>) -> String {
    let mut spec = mailbox("nora", &elsewhere("shared"));
    spec["deletionPolicy"] = json!("Delete");
    let metadata = json!({
        "finalizers": ["b.example/mine"], "annotations": {"email.askrobots.com/confirm-delete": "nora@shared.example"},
    });
    hands.create_as("EmailMailbox", "nora", &spec, metadata).await;
    hands.ready("EmailMailbox", "nora").await;
    hands.delete("EmailMailbox", "nora").await;
    assert!(hands.becomes("the mailbox to go", |state| state.mailbox("nora@shared.example").is_none()).await);
    let nora = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: nora}
spec: {localPart: nora, domainRef: {name: shared}}
";
    hands.apply(nora).await;
    let answer = hands.reason(A, "EmailMailbox", "nora", "InSync").await;
    let mark =
        |state: &State| format!("{:?}", state.mailbox("nora@shared.example").map(|mailbox| mailbox.tags.clone()));
    let is_kept = hands.stays(mark).await;
    hands.patch("EmailMailbox", "nora", json!({"metadata": {"finalizers": null}})).await;
    hands.gone("EmailMailbox", "nora").await;
    assert!(is_kept && hands.look(|state| state.mailbox("nora@shared.example").is_some()));
    format!("{answer} for A's mailbox")
}

async fn left_subaddresses(hands: &Hands<'_>) -> String {
    let mut base = alias("zoe", &elsewhere("shared"));
    base["deletionPolicy"] = json!("Delete");
    hands.create("EmailAlias", "zoe", base).await;
    hands.ready("EmailAlias", "zoe").await;
    let mut tagged = alias("zoe+news", &elsewhere("shared"));
    tagged["deletionPolicy"] = json!("Retain");
    hands.create("EmailAlias", "zoe-news", tagged).await;
    hands.ready("EmailAlias", "zoe-news").await;
    hands.deleted("EmailAlias", "zoe-news").await;
    hands.deleted("EmailAlias", "zoe").await;
    let zoe = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: zoe}
spec: {localPart: zoe, domainRef: {name: shared}}
";
    hands.apply(zoe).await;
    let answer = hands.reason(A, "EmailMailbox", "zoe", "Conflict").await;
    hands.0.mailcow.edit(|state| state.aliases.retain(|_, alias| alias.address != "zoe+news@shared.example"));
    format!("{answer} for A's mailbox, until A deletes the subaddress on Mailcow")
}

async fn counted(hands: &Hands<'_>) -> String {
    let attached = async || hands.get(A, "EmailDomain", "example").await.unwrap()["status"]["attached"].clone();
    let before = attached().await;
    for n in 0..5 {
        hands.create("EmailMailbox", &format!("n{n}"), mailbox(&format!("n{n}"), &elsewhere("example"))).await;
    }
    for n in 0..5 {
        let _ = hands.reason(B, "EmailMailbox", &format!("n{n}"), "NamespaceNotAllowed").await;
    }
    let changed =
        wait_until(SHORT, "the count", async || if attached().await == before { Err("as before") } else { Ok(()) });
    let answer = nothing(changed.await.is_err());
    for n in 0..5 {
        hands.deleted("EmailMailbox", &format!("n{n}")).await;
    }
    answer
}

/// A's objects in a domain that it shares.
async fn of_owner(hands: &Hands<'_>, kind: &str, local: &str, domain: &str, more: &str) {
    let manifest = format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: {kind}\nmetadata: {{name: {local}}}\n\
         spec: {{localPart: {local}, domainRef: {{name: {domain}, namespace: {A}}}{more}}}"
    );
    hands.apply(&manifest).await;
}

async fn without_a_target(hands: &Hands<'_>) -> String {
    let missing =
        json!({"localPart": "press", "domainRef": elsewhere("shared"), "gotoMailboxRefs": [{"name": "nothing"}]});
    hands.create("EmailAlias", "press", missing).await;
    let _ = hands.reason(B, "EmailAlias", "press", "MailboxNotFound").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    of_owner(hands, "EmailAlias", "press", "shared", ", goto: [a@a.example]").await;
    let answer = hands.reason(A, "EmailAlias", "press", "InSync").await;
    hands.deleted("EmailAlias", "press").await;
    format!("{answer} for A's alias")
}

/// Another guest of A's domain with limits.
const OTHER: &str = "platform";

async fn of_other_guest(hands: &Hands<'_>, kind: &str, local: &str, more: &str) -> String {
    let manifest = format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: {kind}\nmetadata: {{name: {local}}}\n\
         spec: {{localPart: {local}, domainRef: {{name: rated, namespace: {A}}}{more}}}"
    );
    hands.0.plane.apply(&manifest, OTHER).await.unwrap();
    let answer = hands.reason(OTHER, kind, local, "InSync").await;
    hands.0.kubectl(&["-n", OTHER, "delete", plural(kind), local]).await;
    format!("{answer} for the other guest")
}

async fn squatting(hands: &Hands<'_>) -> String {
    let names: Vec<String> = (0..3).map(|n| format!("squat{n}")).collect();
    for name in &names {
        let missing =
            json!({"localPart": name, "domainRef": elsewhere("rated"), "gotoMailboxRefs": [{"name": "nothing"}]});
        hands.create("EmailAlias", name, missing).await;
        let _ = hands.reason(B, "EmailAlias", name, "MailboxNotFound").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answer = of_other_guest(hands, "EmailAlias", &names[2], ", goto: [c@c.example]").await;
    for name in &names {
        hands.deleted("EmailAlias", name).await;
    }
    answer
}

async fn squatting_with_errors(hands: &Hands<'_>) -> String {
    let names: Vec<String> = (0..3).map(|n| format!("squat{n}")).collect();
    for name in &names {
        let mut spec = mailbox(name, &elsewhere("rated"));
        spec["senderAcl"] = json!(["a..b@b.example"]);
        hands.create("EmailMailbox", name, spec).await;
        let _ = hands.reason(B, "EmailMailbox", name, "InvalidSpec").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answer = of_other_guest(hands, "EmailMailbox", &names[2], "").await;
    for name in &names {
        hands.deleted("EmailMailbox", name).await;
    }
    hands.0.mailcow.edit(|state| state.mailboxes.retain(|_, mailbox| mailbox.domain != "rated.example"));
    answer
}

async fn by_hand(hands: &Hands<'_>) -> String {
    hands.0.mailcow.edit(|state| {
        state.seed_mailbox("walkin@shared.example");
    });
    hands.create("EmailMailbox", "walkin", mailbox("walkin", &elsewhere("shared"))).await;
    let _ = hands.reason(B, "EmailMailbox", "walkin", "NotAdopted").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    of_owner(hands, "EmailMailbox", "walkin", "shared", "").await;
    let answer = hands.reason(A, "EmailMailbox", "walkin", "InSync").await;
    hands.deleted("EmailMailbox", "walkin").await;
    format!("{answer} for A's mailbox")
}

async fn hidden_leavings(hands: &Hands<'_>) -> String {
    for name in ["gone0", "gone1"] {
        hands.create("EmailMailbox", name, mailbox(name, &elsewhere("rated"))).await;
        hands.ready("EmailMailbox", name).await;
        hands.deleted("EmailMailbox", name).await;
    }
    hands.create("EmailMailbox", "third", mailbox("third", &elsewhere("rated"))).await;
    let first = hands.reason(B, "EmailMailbox", "third", "NamespaceLimitReached").await;
    assert_eq!(first, "`NamespaceLimitReached`");
    tokio::time::sleep(Duration::from_secs(1)).await;
    for name in ["gone0", "gone1"] {
        hands.create("EmailMailbox", &format!("another-{name}"), mailbox(name, &elsewhere("rated"))).await;
        let _ = hands.reason(B, "EmailMailbox", &format!("another-{name}"), "OwnedByAnother").await;
    }
    hands.change("EmailMailbox", "third", json!({"displayName": "Third"})).await;
    let answer = hands.reason(B, "EmailMailbox", "third", "NamespaceLimitReached").await;
    for name in ["third", "another-gone0", "another-gone1"] {
        hands.deleted("EmailMailbox", name).await;
    }
    hands.0.mailcow.edit(|state| state.mailboxes.retain(|_, mailbox| mailbox.domain != "rated.example"));
    answer
}

const LENT: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: lent}
spec: {domain: lent.example, allowedNamespaces: {from: All}, dns: {required: []}}
";

async fn share(hands: &Hands<'_>, from: &str) {
    let patch = format!(r#"{{"spec":{{"allowedNamespaces":{{"from":"{from}"}}}}}}"#);
    hands.0.kubectl(&["-n", A, "patch", "edom", "lent", "--type=merge", "-p", &patch]).await;
}

async fn left_after_sharing(hands: &Hands<'_>) -> String {
    hands.apply(LENT).await;
    assert_eq!(hands.reason(A, "EmailDomain", "lent", "InSync").await, "`InSync`");
    hands.create("EmailMailbox", "payroll", mailbox("payroll", &elsewhere("lent"))).await;
    hands.ready("EmailMailbox", "payroll").await;
    share(hands, "Same").await;
    let _ = hands.reason(B, "EmailMailbox", "payroll", "NamespaceNotAllowed").await;
    hands.deleted("EmailMailbox", "payroll").await;
    of_owner(hands, "EmailMailbox", "payroll", "lent", "").await;
    // With B's password it would be a mailbox that B reads.
    let answer = hands.reason(A, "EmailMailbox", "payroll", "OwnedByAnother").await;
    hands.0.kubectl(&["-n", A, "delete", "embx", "payroll"]).await;
    hands.0.mailcow.edit(|state| state.mailboxes.retain(|_, mailbox| mailbox.domain != "lent.example"));
    format!("{answer} for A's mailbox, until A deletes the mailbox on Mailcow")
}

async fn filled(hands: &Hands<'_>) -> String {
    share(hands, "All").await;
    hands.create("EmailAlias", "full", alias("full", &elsewhere("lent"))).await;
    hands.ready("EmailAlias", "full").await;
    let managed = |bytes: usize, of_status: &Value| {
        let mut fields = serde_json::Map::new();
        fields.insert(format!("f:{}", "x".repeat(bytes)), json!({}));
        let entry = json!({
            "manager": "b", "operation": "Apply", "apiVersion": "email.askrobots.com/v1alpha1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields},
        });
        json!({"metadata": {"managedFields": [of_status, entry]}})
    };
    let now = hands.get(B, "EmailAlias", "full").await.unwrap();
    let entries = now["metadata"]["managedFields"].as_array().unwrap();
    let of_status = entries.iter().find(|entry| entry["subresource"] == "status").unwrap();
    // The API server drops all managed fields if even that is too much.
    let is_kept = async |bytes: usize| {
        hands.patch("EmailAlias", "full", managed(bytes, of_status)).await;
        let now = hands.get(B, "EmailAlias", "full").await.unwrap();
        now["metadata"]["managedFields"].as_array().is_some_and(|entries| entries.len() > 1)
    };
    let mut most = 1_560_000;
    while is_kept(most + 100).await {
        most += 100;
    }
    assert!(is_kept(most).await);
    share(hands, "Same").await;
    let answer = hands.reason(B, "EmailAlias", "full", "NamespaceNotAllowed").await;
    hands.deleted("EmailAlias", "full").await;
    answer
}
