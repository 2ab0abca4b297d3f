//! An empty list in a spec takes all of it away, however it is applied.

use std::collections::{BTreeMap, BTreeSet};

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use mailcow_operator::crd::{self, EmailDomain, EmailMailbox};
use serde_json::{Value, json};

use crate::world::{DOMAIN, World};

/// What becomes of an emptied list.
enum Emptied {
    /// It stays, and is empty.
    Stays,
    /// It is refused with these words.
    Refused(&'static str),
}
use Emptied::{Refused, Stays};

/// A spec around a list.
type Around = fn(Value) -> Value;

/// Every list in a spec: kind, path, a filled one, a spec around it, and what becomes of it.
#[rustfmt::skip]
fn rows() -> Vec<(&'static str, &'static str, Value, Around, Emptied)> {
    let exists = || json!([{"key": "plan", "operator": "Exists"}]);
    let condition = || json!([{"field": "Subject", "operator": "Contains", "values": ["x"]}]);
    vec![
        ("EmailDomain", "/tags", json!(["a", "b"]), |l| json!({"domain": "l.example", "tags": l}), Stays),
        ("EmailDomain", "/mailboxDefaults/protocols", json!(["IMAP"]), |l| json!({"domain": "l.example", "mailboxDefaults": {"protocols": l}}), Stays),
        ("EmailDomain", "/dns/required", json!(["MX", "SPF"]), |l| json!({"domain": "l.example", "dns": {"required": l}}), Stays),
        ("EmailDomain", "/dns/allowedExtraMx", json!(["mx.other.org"]), |l| json!({"domain": "l.example", "dns": {"allowedExtraMx": l}}), Stays),
        ("EmailDomain", "/dns/apexTxt", json!(["verification=1"]), |l| json!({"domain": "l.example", "dns": {"apexTxt": l}}), Stays),
        ("EmailDomain", "/dns/dmarc/reportTo", json!(["d@l.example"]), |l| json!({"domain": "l.example", "dns": {"dmarc": {"reportTo": l}}}), Stays),
        ("EmailDomain", "/allowedNamespaces/selector/matchExpressions", exists(), |l| json!({"domain": "l.example", "allowedNamespaces": {"from": "Selector", "selector": {"matchExpressions": l}}}), Stays),
        ("EmailDomain", "/allowedNamespaces/selector/matchExpressions/0/values", json!(["a"]), |l| json!({"domain": "l.example", "allowedNamespaces": {"from": "Selector", "selector": {"matchExpressions": [{"key": "plan", "operator": "In", "values": l}]}}}), Refused("In and NotIn need values")),
        ("EmailDomain", "/autoProvision/namespaceSelector/matchExpressions", exists(), |l| json!({"domain": "l.example", "autoProvision": {"namespaceSelector": {"matchLabels": {"a": "b"}, "matchExpressions": l}}}), Stays),
        ("EmailDomain", "/autoProvision/namespaceSelector/matchExpressions/0/values", json!(["a"]), |l| json!({"domain": "l.example", "autoProvision": {"namespaceSelector": {"matchExpressions": [{"key": "plan", "operator": "In", "values": l}]}}}), Refused("In and NotIn need values")),
        ("EmailMailbox", "/protocols", json!(["IMAP", "SMTP"]), |l| json!({"localPart": "l", "domainRef": {"name": "d"}, "protocols": l}), Stays),
        ("EmailMailbox", "/senderAcl", json!(["x@l.example", "*"]), |l| json!({"localPart": "l", "domainRef": {"name": "d"}, "senderAcl": l}), Stays),
        ("EmailMailbox", "/tags", json!(["a"]), |l| json!({"localPart": "l", "domainRef": {"name": "d"}, "tags": l}), Stays),
        ("EmailAlias", "/goto", json!(["x@l.example"]), |l| json!({"localPart": "l", "domainRef": {"name": "d"}, "goto": l}), Refused("should have at least 1 items")),
        ("EmailAlias", "/gotoMailboxRefs", json!([{"name": "m"}]), |l| json!({"localPart": "l", "domainRef": {"name": "d"}, "gotoMailboxRefs": l}), Refused("should have at least 1 items")),
        ("EmailForwardingRule", "/actions", json!([{"ignore": {}}]), |l| json!({"mailboxRef": {"name": "m"}, "actions": l}), Refused("should have at least 1 items")),
        ("EmailForwardingRule", "/actions/0/forward/to", json!(["x@l.example"]), |l| json!({"mailboxRef": {"name": "m"}, "actions": [{"forward": {"to": l}}]}), Refused("should have at least 1 items")),
        ("EmailForwardingRule", "/actions/0/createTask/labels", json!(["a"]), |l| json!({"mailboxRef": {"name": "m"}, "actions": [{"createTask": {"sink": "s", "labels": l}}]}), Stays),
        ("EmailForwardingRule", "/actions/0/createNote/labels", json!(["a"]), |l| json!({"mailboxRef": {"name": "m"}, "actions": [{"createNote": {"sink": "s", "labels": l}}]}), Stays),
        ("EmailForwardingRule", "/match/all", condition(), |l| json!({"mailboxRef": {"name": "m"}, "match": {"all": l}, "actions": [{"ignore": {}}]}), Stays),
        ("EmailForwardingRule", "/match/any", condition(), |l| json!({"mailboxRef": {"name": "m"}, "match": {"any": l}, "actions": [{"ignore": {}}]}), Stays),
        ("EmailForwardingRule", "/match/all/0/values", json!(["x"]), |l| json!({"mailboxRef": {"name": "m"}, "match": {"all": [{"field": "Subject", "operator": "Contains", "values": l}]}, "actions": [{"ignore": {}}]}), Refused("every operator needs values")),
        ("EmailForwardingRule", "/match/any/0/values", json!(["x"]), |l| json!({"mailboxRef": {"name": "m"}, "match": {"any": [{"field": "Subject", "operator": "Contains", "values": l}]}, "actions": [{"ignore": {}}]}), Refused("every operator needs values")),
    ]
}

/// The paths of all lists below a schema.
fn lists(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if schema["type"] == "array" {
        found.insert(path.to_owned());
        lists(&schema["items"], &format!("{path}/0"), found);
    }
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        lists(below, &format!("{path}/{name}"), found);
    }
}

#[test]
fn every_list_of_the_four_kinds_has_its_row() {
    let mut of_kinds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for definition in crd::definitions().unwrap() {
        let value = serde_json::to_value(&definition).unwrap();
        let spec = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        lists(spec, "", of_kinds.entry(value["spec"]["names"]["kind"].as_str().unwrap().to_owned()).or_default());
    }
    let mut of_rows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (kind, path, ..) in rows() {
        assert!(of_rows.entry(kind.to_owned()).or_default().insert(path.to_owned()), "{kind} {path} twice");
    }
    assert_eq!(of_kinds, of_rows);
}

#[tokio::test]
async fn an_empty_list_replaces_a_filled_one_whoever_applied_that() {
    let world = World::without_mailcow("lists").await;
    for (n, (kind, path, filled, around, emptied)) in rows().into_iter().enumerate() {
        let api = ApiResource::from_gvk(&GroupVersionKind::gvk(crd::GROUP, "v1alpha1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(world.kube.clone(), &world.namespace, &api);
        let object = |name: &str, list: Value| {
            let metadata = json!({"name": name});
            let api_version = format!("{}/v1alpha1", crd::GROUP);
            json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": around(list)})
        };
        let apply = async |name: &str, list: Value| {
            let params = PatchParams::apply("a-person").force();
            api.patch(name, &params, &Patch::Apply(object(name, list))).await
        };
        let (applied, created) = (format!("applied{n}"), format!("created{n}"));
        apply(&applied, filled.clone()).await.unwrap();
        let object = serde_json::from_value(object(&created, filled)).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
        for name in [&applied, &created] {
            match (apply(name, json!([])).await, &emptied) {
                (Ok(stored), Stays) => {
                    let list = stored.data["spec"].pointer(path);
                    assert_eq!(list, Some(&json!([])), "{kind} {path} of {name}: {}", stored.data["spec"]);
                }
                (Err(kube::Error::Api(refusal)), Refused(words)) if refusal.message.contains(words) => {}
                (other, _) => panic!("{kind} {path} of {name}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn what_an_emptied_list_took_away_is_gone_from_mailcow() {
    let mut world = World::without_mailcow("emptied").await;
    world.connect().await;
    world.start_operator(&["--resync", "6h", "--poll-interval", "6h"]);
    let domain = |tags: &str, required: &str| {
        DOMAIN.replace(
            "{domain: example.com}",
            &format!("{{domain: example.com, tags: [{tags}], dns: {{required: [{required}]}}}}"),
        )
    };
    let ada = |list: [&str; 3]| {
        let [acl, protocols, tags] = list;
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: ada}}\nspec: {{localPart: ada, domainRef: {{name: example}}, senderAcl: [{acl}], protocols: [{protocols}], tags: [{tags}]}}\n---\n"
        )
    };
    world.apply(&format!("{}{}", domain("customer", "MX, SPF"), ada(["'*'", "IMAP, SMTP", "vip"]))).await;
    let shown = || {
        world.mailcow.inspect(|state| {
            let mailbox = state.mailbox("ada@example.com").unwrap();
            let is_on = |name: &str| mailbox.attributes.switches.iter().any(|(n, value)| *n == name && value == "1");
            let on = ["imap_access", "smtp_access"].map(is_on);
            let domain = state.domain("example.com").unwrap();
            let theirs =
                |tags: &BTreeSet<String>| tags.iter().filter(|tag| !tag.starts_with("mailcow-operator")).count();
            (mailbox.sender_acl.len(), on, theirs(&mailbox.tags), theirs(&domain.tags))
        })
    };
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailDomain>("example").await;
    assert_eq!(shown(), (1, [true, true], 1, 1));
    world.apply(&format!("{}{}", domain("", ""), ada(["", "", ""]))).await;
    world.ready::<EmailMailbox>("ada").await;
    let domain = world.ready::<EmailDomain>("example").await;
    assert_eq!(shown(), (0, [false, false], 0, 0));
    assert!(domain.spec.dns.unwrap().required.is_empty(), "no record is required");
}
