//! Several namespaces that share an installation: who may attach to a domain, who has it, whose policies hold.

use kube::Api;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox, PolicySource};

use crate::world::{Email, LIMIT, World, message};

/// Two namespaces of guests beside the one with the operator.
struct Guests {
    world: World,
    paid: String,
    free: String,
}

impl Guests {
    async fn new() -> Self {
        let mut world = World::everywhere("guests").await;
        world.connect().await;
        world.start_operator(&["--default-drift-policy", "Report"]);
        let paid = world.plane.namespace("paid").await.unwrap();
        let free = world.plane.namespace("free").await.unwrap();
        world.kubectl(&["label", "namespace", &paid, "plan=paid"]).await;
        Self { world, paid, free }
    }

    async fn apply(&self, namespace: &str, manifests: &str) {
        self.world.plane.apply(manifests, namespace).await.unwrap();
    }

    async fn get<K: Email>(&self, namespace: &str, name: &str) -> K {
        Api::namespaced(self.world.kube.clone(), namespace).get(name).await.unwrap()
    }

    fn mailbox(&self, name: &str) -> String {
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: {name}}}\n\
             spec: {{localPart: {name}, domainRef: {{name: shared, namespace: {}}}, displayName: {name}}}\n---\n",
            self.world.namespace
        )
    }

    /// Changes who is let in.
    async fn allow(&self, allowed: &str) {
        let patch = format!("{{\"spec\":{{\"allowedNamespaces\":{allowed}}}}}");
        self.world.kubectl(&["patch", "edom", "shared", "--type=merge", "-p", &patch]).await;
    }
}

fn domain(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailDomain\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"
    )
}

#[tokio::test]
async fn guests_get_what_they_are_allowed_and_no_more() {
    let guests = Guests::new().await;
    only_those_whom_the_domain_lets_in_attach_to_it(&guests).await;
    who_is_let_in_no_longer_keeps_what_he_has(&guests).await;
    the_first_has_the_domain_and_the_other_learns_nothing_of_him(&guests).await;
    a_namespace_says_what_its_objects_dont(&guests).await;
    what_a_guest_lets_go_counts_until_it_is_gone(&guests).await;
}

async fn only_those_whom_the_domain_lets_in_attach_to_it(guests: &Guests) {
    let world = &guests.world;
    let by_label =
        "{domain: shared.example, allowedNamespaces: {from: Selector, selector: {matchLabels: {plan: paid}}}}";
    world.apply(&domain("shared", by_label)).await;
    world.ready::<EmailDomain>("shared").await;
    let alias = format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: sales}}\n\
         spec: {{localPart: orders, domainRef: {{name: shared, namespace: {}}}, gotoMailboxRefs: [{{name: ada}}]}}",
        world.namespace
    );
    let reserved = guests.mailbox("postmaster");
    guests.apply(&guests.paid, &format!("{}{reserved}{alias}", guests.mailbox("ada"))).await;
    let refused =
        world.until_in::<EmailMailbox>(&guests.paid, "postmaster", ("Ready", "False", "AddressReserved")).await;
    assert!(message(&refused, "Ready").contains("postmaster is reserved"), "{refused:#?}");
    assert!(world.mailcow.inspect(|state| state.mailbox("postmaster@shared.example").is_none()));
    world.kubectl(&["-n", &guests.paid, "delete", "embx", "postmaster"]).await;
    guests.apply(&guests.free, &guests.mailbox("eve")).await;
    world.until_in::<EmailMailbox>(&guests.paid, "ada", ("Ready", "True", "InSync")).await;
    world.until_in::<EmailAlias>(&guests.paid, "sales", ("Ready", "True", "InSync")).await;
    let eve = world.until_in::<EmailMailbox>(&guests.free, "eve", ("Ready", "False", "NamespaceNotAllowed")).await;
    assert!(message(&eve, "Ready").contains("allowedNamespaces"), "{eve:#?}");
    world.until_in::<EmailMailbox>(&guests.free, "eve", ("ResolvedRefs", "False", "NamespaceNotAllowed")).await;
    assert!(world.mailcow.inspect(|state| state.mailbox("eve@shared.example").is_none()));
    // The same is said where there is no such domain.
    let nothing = guests.mailbox("mallory").replace("name: shared,", "name: nothing,");
    guests.apply(&guests.free, &nothing).await;
    let mallory = world.until_in::<EmailMailbox>(&guests.free, "mallory", ("Ready", "False", "NamespaceNotAllowed"));
    let said = message(&mallory.await, "Ready").replace("EmailDomain nothing", "EmailDomain shared");
    assert_eq!(said, message(&eve, "Ready"));
    // Becoming one who is let in is noticed by itself.
    world.kubectl(&["label", "namespace", &guests.free, "plan=paid"]).await;
    world.until_in::<EmailMailbox>(&guests.free, "eve", ("Ready", "True", "InSync")).await;
    let attached = |d: &EmailDomain| {
        let counted = d.status.as_ref().and_then(|status| status.attached.clone()).unwrap_or_default();
        (counted.mailboxes, counted.aliases) == (2, 1)
    };
    world.until("shared", "guests are counted", attached).await;
}

async fn who_is_let_in_no_longer_keeps_what_he_has(guests: &Guests) {
    let world = &guests.world;
    guests.allow("{\"from\":\"Same\",\"selector\":null}").await;
    world.until_in::<EmailMailbox>(&guests.paid, "ada", ("Ready", "False", "NamespaceNotAllowed")).await;
    world.until_in::<EmailAlias>(&guests.paid, "sales", ("Ready", "False", "NamespaceNotAllowed")).await;
    world.mailcow.clear_log();
    let patch = ["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"displayName":"Somebody Else"}}"#];
    world.kubectl(&[&["-n", &guests.paid], patch.as_slice()].concat()).await;
    let seen = world.until_in::<EmailMailbox>(&guests.paid, "ada", ("Synced", "False", "NamespaceNotAllowed")).await;
    assert_eq!(seen.metadata.generation, Some(2));
    assert_eq!(world.mailcow.writes(), 0, "{:#?}", world.mailcow.requests());
    assert!(world.mailcow.inspect(|state| state.mailbox("ada@shared.example").is_some()));
    // Let in again, what was asked meanwhile is done.
    guests.allow("{\"from\":\"All\",\"selector\":null}").await;
    world.until_in::<EmailMailbox>(&guests.paid, "ada", ("Ready", "True", "InSync")).await;
    assert_eq!(
        world.mailcow.inspect(|state| state.mailbox("ada@shared.example").unwrap().name.clone()),
        "Somebody Else"
    );
}

async fn the_first_has_the_domain_and_the_other_learns_nothing_of_him(guests: &Guests) {
    let world = &guests.world;
    guests.apply(&guests.paid, &domain("mine", "{domain: claimed.example}")).await;
    world.until_in::<EmailDomain>(&guests.paid, "mine", ("Ready", "True", "InSync")).await;
    guests.apply(&guests.free, &domain("taken", "{domain: Claimed.example, adoptionPolicy: Force}")).await;
    let loser = world.until_in::<EmailDomain>(&guests.free, "taken", ("Stalled", "True", "Conflict")).await;
    let text = format!("{:?}", loser.status);
    assert!(!text.contains(&guests.paid) && !text.contains("mine"), "{text}");
    assert!(loser.status.as_ref().unwrap().usage.is_none());
    // A public suffix is nobody's.
    guests.apply(&guests.free, &domain("suffix", "{domain: co.uk}")).await;
    let suffix = world.until_in::<EmailDomain>(&guests.free, "suffix", ("Stalled", "True", "InvalidSpec")).await;
    assert!(message(&suffix, "Ready").contains("public suffix"));
    // When the first lets go, it is kept for that namespace for a while: whoever deletes and applies anew has it again.
    let ask = async |value: &str| {
        let request = format!("email.askrobots.com/reconcile-requested-at={value}");
        world.kubectl(&["-n", &guests.free, "annotate", "--overwrite", "edom", "taken", &request]).await;
        ground::wait_until(LIMIT, "the request is echoed", async || {
            let taken: EmailDomain = guests.get(&guests.free, "taken").await;
            let status = taken.status.clone().unwrap();
            if status.last_handled_reconcile_at.as_deref() == Some(value) {
                Ok(taken)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await
        .unwrap()
    };
    world.kubectl(&["-n", &guests.paid, "delete", "edom", "mine"]).await;
    world.mailcow.clear_log();
    let waiting = ask("1").await;
    assert!(message(&waiting, "Ready").contains("is reserved for it"), "{waiting:?}");
    let kept = waiting.status.unwrap().claim.unwrap().kept_until;
    assert!(kept.is_some());
    assert_eq!(ask("2").await.status.unwrap().claim.unwrap().kept_until, kept, "its time does not begin anew");
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    // While the domain can't be written for the first, it stays his, however often the other, which is older now, asks.
    world.mailcow.set_down(true).await.unwrap();
    guests.apply(&guests.paid, &domain("mine", "{domain: claimed.example}")).await;
    world.until_in::<EmailDomain>(&guests.paid, "mine", ("Ready", "Unknown", "MailcowUnreachable")).await;
    let is_claimed = async |value: &str| {
        let waiting = ask(value).await;
        let said = message(&waiting, "Ready");
        assert!(said.contains("already claims claimed.example"), "{value}: {waiting:#?}\n{}", world.logs());
    };
    is_claimed("3").await;
    is_claimed("4").await;
    world.mailcow.set_down(false).await.unwrap();
    world.until_in::<EmailDomain>(&guests.paid, "mine", ("Ready", "True", "InSync")).await;
    is_claimed("5").await;
}

async fn a_namespace_says_what_its_objects_dont(guests: &Guests) {
    let world = &guests.world;
    let policies = async || {
        let mailbox: EmailMailbox = guests.get(&guests.paid, "ada").await;
        mailbox.status.unwrap().policies.unwrap()
    };
    let said = policies().await;
    assert_eq!((said.deletion.from, said.drift.from), (PolicySource::Kind, PolicySource::Installation));
    let annotate = async |value: &str| {
        let annotation = format!("email.askrobots.com/default-deletion-policy={value}");
        world.kubectl(&["annotate", "--overwrite", "namespace", &guests.paid, &annotation]).await;
    };
    let until = async |what: &str, is_so: &dyn Fn(&mailcow_operator::crd::Policies) -> bool| {
        let found = ground::wait_until(LIMIT, what, async || {
            let said = policies().await;
            if is_so(&said) { Ok(()) } else { Err(format!("{said:?}")) }
        });
        found.await.unwrap();
    };
    annotate("Retian").await;
    until("a typing error is told", &|said| said.warning.as_ref().is_some_and(|text| text.contains("Retian"))).await;
    annotate("Deactivate").await;
    until("the namespace's word holds", &|said| said.deletion.from == PolicySource::Namespace).await;
    world.kubectl(&["-n", &guests.paid, "delete", "embx", "ada"]).await;
    assert!(world.mailcow.inspect(|state| state.mailbox("ada@shared.example").unwrap().active == 0));
    // An alias can't be switched off and kept: it stays.
    world.kubectl(&["-n", &guests.paid, "delete", "ealias", "sales"]).await;
    assert!(world.mailcow.inspect(|state| state.alias("orders@shared.example").is_some()));
}

async fn what_a_guest_lets_go_counts_until_it_is_gone(guests: &Guests) {
    let world = &guests.world;
    let limited = "{domain: limited.example, allowedNamespaces: {from: All, limits: {mailboxes: 1, totalQuota: 2Gi}}}";
    world.apply(&domain("limited", limited)).await;
    world.ready::<EmailDomain>("limited").await;
    let mailbox = |name: &str| guests.mailbox(name).replace("name: shared,", "name: limited,");
    guests.apply(&guests.free, &mailbox("first")).await;
    world.until_in::<EmailMailbox>(&guests.free, "first", ("Ready", "True", "InSync")).await;
    // Let go under Retain, it is still on Mailcow.
    world.kubectl(&["-n", &guests.free, "delete", "embx", "first"]).await;
    assert!(world.mailcow.inspect(|state| state.mailbox("first@limited.example").is_some()));
    guests.apply(&guests.free, &mailbox("second")).await;
    let refused = world.until_in::<EmailMailbox>(&guests.free, "second", ("Ready", "False", "NamespaceLimitReached"));
    let refused = refused.await;
    assert!(message(&refused, "Ready").contains("spec.allowedNamespaces.limits.mailboxes"), "{refused:#?}");
    assert!(world.mailcow.inspect(|state| state.mailbox("second@limited.example").is_none()));
    // Another guest has a limit of its own, and an object of the same name takes up what was let go.
    guests.apply(&guests.paid, &mailbox("third")).await;
    world.until_in::<EmailMailbox>(&guests.paid, "third", ("Ready", "True", "InSync")).await;
    world.kubectl(&["-n", &guests.free, "delete", "embx", "second"]).await;
    guests.apply(&guests.free, &mailbox("first")).await;
    world.until_in::<EmailMailbox>(&guests.free, "first", ("Ready", "True", "InSync")).await;
    let more = r#"{"spec":{"quota":"3Gi"}}"#;
    world.kubectl(&["-n", &guests.free, "patch", "embx", "first", "--type=merge", "-p", more]).await;
    let refused = world.until_in::<EmailMailbox>(&guests.free, "first", ("Ready", "False", "NamespaceLimitReached"));
    assert!(message(&refused.await, "Ready").contains("limits.totalQuota"));
}
