//! New objects and what is cached of Mailcow: an entry that appeared since the last list, and objects that wait for
//! each other.

use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox};

use crate::world::{DOMAIN, World, many, message};

/// Enough of a kind in one domain that the operator lists them instead of asking for each.
const LISTED: usize = 12;

fn mailbox(name: &str, policy: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: {name}}}\nspec: {{localPart: {name}, domainRef: {{name: example}}, adoptionPolicy: {policy}}}\n---\n"
    )
}

fn alias(name: &str, policy: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: {name}}}\nspec: {{localPart: {name}, domainRef: {{name: example}}, goto: [x@other.org], adoptionPolicy: {policy}}}\n---\n"
    )
}

#[tokio::test]
async fn an_entry_that_appeared_since_the_last_list_is_treated_as_the_policy_says() {
    let mut world = World::without_mailcow("appeared").await;
    world.connect().await;
    world.start_operator(&["--poll-interval", "1h"]);
    let aliases: String = (0..LISTED).map(|n| alias(&format!("a{n}"), "Never")).collect();
    let room = format!("mailboxes: {LISTED}, totalQuota: {LISTED}Gi");
    world.apply(&(many(LISTED).replace(&room, "mailboxes: 40, totalQuota: 40Gi") + &aliases)).await;
    for n in 0..LISTED {
        world.ready::<EmailMailbox>(&format!("m{n}")).await;
        world.ready::<EmailAlias>(&format!("a{n}")).await;
    }
    world.mailcow.edit(|state| {
        for name in ["adopted", "refused"] {
            state.seed_mailbox(&format!("{name}@example.com"));
            state.seed_alias(&format!("{name}-alias@example.com"), "x@other.org");
        }
        state.seed_domain("other.example");
    });
    let domain = DOMAIN.replace("example.com", "other.example").replace("name: example", "name: other");
    world.apply(&domain.replace("{domain:", "{adoptionPolicy: IfUnowned, domain:")).await;
    for (name, policy) in [("adopted", "IfUnowned"), ("refused", "Never")] {
        world.apply(&(mailbox(name, policy) + &alias(&format!("{name}-alias"), policy))).await;
    }
    world.ready::<EmailMailbox>("adopted").await;
    world.ready::<EmailAlias>("adopted-alias").await;
    world.ready::<EmailDomain>("other").await;
    let refused = world.condition::<EmailMailbox>("refused", ("Ready", "False", "NotAdopted")).await;
    assert!(message(&refused, "Ready").contains("adoptionPolicy"), "{refused:#?}");
    assert!(refused.status.unwrap().refused.is_none(), "Mailcow's refusal is not what keeps it");
    world.condition::<EmailAlias>("refused-alias", ("Ready", "False", "NotAdopted")).await;
    assert!(world.mailcow.inspect(|state| state.mailbox("refused@example.com").unwrap().tags.is_empty()));
}

#[tokio::test]
async fn what_is_applied_together_costs_one_status_each_and_no_read_before_an_add() {
    let world = World::new("together").await;
    let alias = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {name: sales}\nspec: {localPart: sales, domainRef: {name: example}, gotoMailboxRefs: [{name: m0}]}\n---\n";
    world.apply(&(alias.to_owned() + &many(1))).await;
    world.ready::<EmailDomain>("example").await;
    world.ready::<EmailMailbox>("m0").await;
    world.ready::<EmailAlias>("sales").await;
    let events = world.events().await;
    assert!(!events.lines().any(|line| line.contains("sales") || line.contains("m0")), "{events}");
    let requests = world.mailcow.requests();
    let reads = |path: &str| requests.iter().filter(|it| it.method == "GET" && it.path == path).count();
    assert_eq!(reads("get/mailbox/m0@example.com"), 2, "before the add as nothing was known, and after it");
}
