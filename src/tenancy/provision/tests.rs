//! Who gets which mailbox, and who gets none.

use super::*;
use crate::tenancy::{Entitlement, entitlement};
use serde_json::json;

const PLACED: &str = "placed";
/// On Mailcow.
const THERE: &str = "there";

/// Namespaces, mailboxes and aliases around a domain `mail/d`.
struct Scene {
    domain: EmailDomain,
    namespaces: Vec<Arc<PartialObjectMeta<Namespace>>>,
    mailboxes: Vec<Arc<EmailMailbox>>,
    aliases: Vec<Arc<EmailAlias>>,
    reserved: Reserved,
}

impl Scene {
    fn new(when_revoked: &str) -> Self {
        let spec = format!(
            "{{domain: e.com, autoProvision: {{namespaceSelector: {{matchLabels: {{plan: paid}}}}, whenRevoked: {when_revoked}}}}}"
        );
        let mut domain = EmailDomain::new("d", serde_yaml::from_str(&spec).unwrap());
        domain.metadata.namespace = Some("mail".into());
        let reserved = Reserved::with(&["ceo".to_owned()]);
        Self { domain, namespaces: vec![], mailboxes: vec![], aliases: vec![], reserved }
    }

    /// A namespace, made in this second.
    fn namespace(mut self, name: &str, plan: &str, (username, second): (&str, i64)) -> Self {
        let mut metadata = json!({
            "name": name, "labels": {"plan": plan},
            "creationTimestamp": Timestamp::from_second(second).unwrap().to_string(),
        });
        if !username.is_empty() {
            metadata["annotations"] = json!({crate::crd::USERNAME: username});
        }
        self.namespaces.push(Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap()));
        self
    }

    /// A mailbox `namespace/name` with this local part; `said` holds words that change it.
    fn mailbox(mut self, (namespace, name): (&str, &str), local: &str, said: &[&str]) -> Self {
        let state = if said.contains(&"off") { "LoginDisabled" } else { "Active" };
        let domain = if said.contains(&"elsewhere") { "other" } else { "d" };
        let mut value = json!({
            "metadata": {"namespace": namespace, "name": name, "labels": {
                "app.kubernetes.io/managed-by": "mailcow-operator", "email.askrobots.com/provisioned-by": "mail.d",
            }},
            "spec": {"localPart": local, "domainRef": {"name": domain, "namespace": "mail"}, "state": state,
                "system": !said.contains(&"unsystem"), "deletionPolicy": "Retain"},
        });
        if said.contains(&"of x") {
            value["spec"]["domainRef"]["namespace"] = json!("x");
        }
        if said.contains(&"deletable") {
            value["spec"]["deletionPolicy"] = json!("Delete");
        }
        if said.contains(&"made") {
            value["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if said.contains(&PLACED) {
            value["status"] = json!({"address": format!("{}@e.com", local.to_lowercase())});
        }
        if said.contains(&THERE) {
            value["status"]["quota"] = json!({"limit": "1Gi", "used": "0"});
        }
        if said.contains(&"going") {
            value["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        if said.contains(&"unlabelled") {
            value["metadata"]["labels"] = json!({});
        }
        self.mailboxes.push(Arc::new(serde_json::from_value(value).unwrap()));
        self
    }

    /// The last namespace is being deleted.
    fn terminating(mut self) -> Self {
        let last = Arc::make_mut(self.namespaces.last_mut().unwrap());
        last.metadata.deletion_timestamp = last.metadata.creation_timestamp.clone();
        self
    }

    fn alias(mut self, namespace: &str, local: &str, said: &[&str]) -> Self {
        let mut value = json!({
            "metadata": {"namespace": namespace, "name": local},
            "spec": {"localPart": local, "domainRef": {"name": "d", "namespace": "mail"}, "goto": ["a@b.c"]},
        });
        if said.contains(&PLACED) {
            value["status"] = json!({"address": format!("{local}@e.com")});
        }
        if said.contains(&THERE) {
            value["status"]["aliasId"] = json!(7);
        }
        self.aliases.push(Arc::new(serde_json::from_value(value).unwrap()));
        self
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            domain: &self.domain,
            namespaces: &self.namespaces,
            mailboxes: &self.mailboxes,
            aliases: &self.aliases,
            reserved: &self.reserved,
        }
    }

    fn decide(&self) -> Decision {
        decide(&self.facts())
    }

    /// The steps and the refusals, in short.
    fn said(&self) -> Vec<String> {
        let decision = self.decide();
        let steps = decision.steps.iter().map(|step| {
            let word = match step {
                Step::Create(_) => "create",
                Step::Deactivate(_) => "deactivate",
                Step::Reactivate(_) => "reactivate",
            };
            let mailbox = step.mailbox();
            format!("{word} {}/{} {} {:?}", mailbox.namespace, mailbox.name, mailbox.local_part, mailbox.state)
        });
        let refused = decision.refused.iter().map(|refused| format!("{:?} {}", refused.reason, refused.namespace));
        steps.chain(refused).collect()
    }

    /// What the last mailbox may do.
    fn entitlement(&self) -> Entitlement {
        entitlement(&self.facts(), self.mailboxes.last().unwrap())
    }
}

fn scene() -> Scene {
    Scene::new("Deactivate")
}

const OURS: (&str, &str) = ("a", "mail.d");

#[test]
fn entitled_namespaces_get_one_mailbox_each() {
    let scene =
        scene().namespace("a", "paid", ("", 1)).namespace("b", "paid", ("Bob", 1)).namespace("c", "free", ("", 1));
    assert_eq!(scene.said(), ["create a/mail.d a Active", "create b/mail.d bob Active"]);
    let decision = scene.decide();
    assert_eq!((decision.entitled, decision.mailboxes, decision.revoked), (2, 0, 0));
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let scene = scene().namespace("a", "paid", ("", 1)).mailbox(OURS, "a", &[]);
    assert_eq!(scene.said(), Vec::<String>::new());
    assert_eq!(scene.decide().mailboxes, 1);
}

#[test]
fn what_somebody_took_away_is_put_back() {
    for said in ["off", "unsystem", "unlabelled", "deletable"] {
        let scene = scene().namespace("a", "paid", ("", 1)).mailbox(OURS, "a", &[PLACED, said]);
        assert_eq!(scene.said(), ["reactivate a/mail.d a Active"], "{said}");
    }
}

#[test]
fn a_revoked_namespace_loses_the_login_or_keeps_it() {
    let with = |when: &str, said: &[&str]| {
        let scene = Scene::new(when).namespace("a", "free", ("", 1)).mailbox(OURS, "a", said);
        (scene.said(), scene.decide().revoked)
    };
    assert_eq!(with("Deactivate", &[PLACED]), (vec!["deactivate a/mail.d a LoginDisabled".to_owned()], 1));
    // Labels and system are the tenant's to change, and save nobody.
    let forged = with("Deactivate", &[PLACED, "unlabelled", "unsystem"]);
    assert_eq!(forged.0, ["deactivate a/mail.d a LoginDisabled"]);
    assert_eq!(with("Deactivate", &[PLACED, "off"]), (vec![], 1));
    assert_eq!(with("Keep", &[PLACED]), (vec![], 1));
    // What was never let in is nobody's mailbox.
    assert_eq!(with("Deactivate", &[]), (vec![], 0));
}

#[test]
fn nothing_is_done_where_a_namespace_or_a_mailbox_is_going() {
    let mut scene = scene().namespace("a", "free", ("", 1)).mailbox(OURS, "a", &[PLACED, "going"]);
    assert!(scene.said().is_empty() && scene.decide().is_leaving);
    scene.namespaces.clear();
    assert_eq!(scene.decide(), Decision::default());
    let entitled = |name| Scene::new("Deactivate").namespace(name, "paid", ("", 1));
    assert_eq!(entitled("a").terminating().decide(), Decision::default());
    let off = entitled("a").mailbox(OURS, "a", &[PLACED, "going", "off"]);
    assert!(off.said().is_empty() && off.decide().is_leaving);
    let both = off.namespace("b", "paid", ("", 1)).mailbox(("b", "mail.d"), "b", &[PLACED, "going"]);
    assert!(both.decide().is_leaving);
}

#[test]
fn names_that_cannot_be_had_are_refused() {
    for (username, reason) in
        [("a b", "Invalid"), ("a+b", "Invalid"), ("Postmaster", "Reserved"), ("CEO", "Reserved"), ("ädä", "Invalid")]
    {
        let scene = scene().namespace("a", "paid", (username, 1));
        assert_eq!(scene.said(), [format!("{reason} a")], "{username}");
        assert!(scene.decide().refused[0].message.contains(crate::crd::USERNAME));
    }
}

#[test]
fn of_several_the_first_gets_the_name() {
    let both = |first: i64, second: i64| {
        scene().namespace("a", "paid", ("ada", first)).namespace("b", "paid", ("Ada", second))
    };
    assert_eq!(both(1, 2).said(), ["create a/mail.d ada Active", "Taken b"]);
    assert_eq!(both(2, 1).said(), ["create b/mail.d ada Active", "Taken a"]);
    assert_eq!(both(1, 1).said(), ["create a/mail.d ada Active", "Taken b"]);
    assert!(both(1, 2).decide().refused[0].message.contains("taken by the namespace a"));
    // Who has it keeps it from one who is older.
    let held = both(1, 2).mailbox(("b", "mail.d"), "ada", &[PLACED]);
    assert_eq!(held.said(), ["Taken a"]);
    // Also when he is no longer entitled.
    let kept = scene().namespace("a", "paid", ("ada", 1)).namespace("b", "free", ("ada", 2));
    assert_eq!(kept.mailbox(("b", "mail.d"), "ada", &[PLACED, "off"]).said(), ["Taken a"]);
    // So does whose mailbox is made, and not let in yet; but not one who made himself a mailbox of another name.
    let made = |local: &str| both(1, 2).mailbox(("b", "mail.d"), local, &["made"]).said();
    assert_eq!(made("ada"), ["Taken a"]);
    assert_eq!(made("bob"), ["create a/mail.d ada Active", "NameInUse b"]);
}

#[test]
fn who_gets_no_mailbox_is_in_nobodys_way() {
    let first = |plan: &str| scene().namespace("a", plan, ("ada", 1));
    let second = |scene: Scene| scene.namespace("b", "paid", ("ada", 2)).said();
    assert_eq!(second(first("free")), ["create b/mail.d ada Active"]);
    assert_eq!(second(first("paid").terminating()), ["create b/mail.d ada Active"]);
}

#[test]
fn addresses_of_others_are_taken() {
    let with = |name: &str| scene().namespace("a", "paid", (name, 1));
    assert_eq!(with("eve").mailbox(("mail", "eve"), "Eve", &[]).said(), ["Taken a"]);
    assert_eq!(with("eve").mailbox(("x", "eve"), "eve", &[PLACED, THERE]).said(), ["Taken a"]);
    assert_eq!(with("eve").alias("mail", "eve", &[]).said(), ["Taken a"]);
    assert_eq!(with("eve").alias("x", "eve", &[PLACED, THERE]).said(), ["Taken a"]);
    // The message says whose it is.
    let why = |scene: Scene| scene.decide().refused[0].message.clone();
    assert!(why(with("eve").mailbox(("mail", "eva"), "eve", &[])).contains("taken by the EmailMailbox mail/eva;"));
    assert!(why(with("eve").alias("mail", "eve", &[])).contains("taken by the EmailAlias mail/eve;"));
    // One that nobody let in, a guest's that is not on Mailcow, whatever keeps it from there, and one of another domain
    // are in nobody's way.
    for nobody in [
        with("eve").mailbox(("mail", "eve"), "eve", &["of x", PLACED, THERE]),
        with("eve").mailbox(("x", "eve"), "eve", &[]),
        with("eve").alias("x", "eve", &[]),
        with("eve").mailbox(("x", "eve"), "eve", &[PLACED]),
        with("eve").alias("x", "eve", &[PLACED]),
        with("eve").mailbox(("mail", "eve"), "eve", &["elsewhere", PLACED, THERE]),
    ] {
        assert_eq!(nobody.said(), ["create a/mail.d eve Active"]);
    }
}

#[test]
fn an_object_of_the_same_name_is_not_taken_over() {
    for said in [&["elsewhere"][..], &["elsewhere", PLACED], &["of x"], &["of x", PLACED]] {
        let scene = scene().namespace("a", "paid", ("", 1)).mailbox(OURS, "a", said);
        assert_eq!(scene.said(), ["NameInUse a"]);
    }
    let other = scene().namespace("a", "paid", ("", 1)).mailbox(OURS, "other", &[]);
    assert_eq!(other.said(), ["NameInUse a"]);
    assert!(other.decide().refused[0].message.contains("mail.d"));
}

#[test]
fn who_has_an_address_keeps_it_when_another_is_asked_for() {
    let scene = scene().namespace("a", "paid", ("new", 1)).mailbox(OURS, "old", &[PLACED]);
    assert_eq!(scene.said(), Vec::<String>::new());
    assert_eq!(scene.entitlement(), Entitlement::Admitted);
}

#[test]
fn a_spelling_that_cannot_be_changed_stays() {
    let scene = scene().namespace("a", "free", ("", 1)).mailbox(OURS, "A", &[PLACED]);
    assert_eq!(scene.said(), ["deactivate a/mail.d A LoginDisabled"]);
}

#[test]
fn only_what_the_domain_makes_is_let_in() {
    use Entitlement::{Admitted, Leaving, Refused};
    let with = |plan: &str, when: &str, said: &[&str]| {
        Scene::new(when).namespace("a", plan, ("", 1)).mailbox(OURS, "a", said).entitlement()
    };
    for (plan, when, said, expected) in [
        ("paid", "Deactivate", &[][..], Admitted),
        ("paid", "Deactivate", &[PLACED], Admitted),
        ("paid", "Deactivate", &["unlabelled"], Admitted),
        ("paid", "Deactivate", &["unsystem", PLACED], Refused),
        ("paid", "Deactivate", &["elsewhere", PLACED], Refused),
        ("free", "Deactivate", &[], Refused),
        ("free", "Deactivate", &["off"], Refused),
        ("free", "Keep", &[], Refused),
        ("free", "Keep", &["off"], Refused),
        ("free", "Deactivate", &[PLACED], Leaving),
        ("free", "Deactivate", &[PLACED, "off"], Admitted),
        ("free", "Keep", &[PLACED], Admitted),
    ] {
        assert_eq!(with(plan, when, said), expected, "{plan} {when} {said:?}");
    }
}

#[test]
fn nobody_makes_himself_another_address() {
    let paid = |name: &str| scene().namespace("a", "paid", (name, 1));
    let refused = |scene: Scene| assert_eq!(scene.entitlement(), Entitlement::Refused);
    // Another name of the object, another local part, one that is reserved, one that can't be, one that is taken.
    refused(paid("a").mailbox(("a", "mine"), "a", &[PLACED]));
    refused(paid("a").mailbox(OURS, "ceo", &[]));
    refused(paid("a").mailbox(OURS, "b", &[]));
    refused(paid("ceo").mailbox(OURS, "ceo", &[]));
    refused(paid("a+b").mailbox(OURS, "a+b", &[]));
    refused(paid("eve").mailbox(("mail", "eve"), "eve", &[]).mailbox(OURS, "eve", &[]));
    refused(paid("eve").alias("mail", "eve", &[]).mailbox(OURS, "eve", &[]));
    refused(paid("b").namespace("b", "paid", ("", 0)).mailbox(("b", "mail.d"), "b", &[PLACED]).mailbox(OURS, "b", &[]));
    refused(paid("b").namespace("b", "paid", ("", 0)).mailbox(OURS, "b", &["elsewhere"]));
    // A namespace that is not known, a domain that makes none.
    refused(scene().mailbox(OURS, "a", &[PLACED]));
    let mut without = paid("a").mailbox(OURS, "a", &[PLACED]);
    without.domain.spec.auto_provision = None;
    refused(without);
}
