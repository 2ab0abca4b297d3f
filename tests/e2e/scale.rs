//! A rule of a whole domain with many mailboxes: figures, not a test (`make bench`).

use std::time::Instant;

use mailcow_operator::crd::{EmailForwardingRule, EmailMailbox};

use crate::figures::{print_routes, row, settled};
use crate::world::{DOMAIN, World};

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_a_domains_rule_on_a_thousand_mailboxes() {
    let mut world = World::new("scalerule").await;
    let domain = "{domain: example.com, limits: {mailboxes: 5000, totalQuota: 5Ti}}";
    world.apply(&DOMAIN.replace("{domain: example.com}", domain)).await;
    world.ready::<mailcow_operator::crd::EmailDomain>("example").await;
    let mailbox = |n| {
        format!(
            "---\napiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: m{n}}}\nspec: {{localPart: m{n}, domainRef: {{name: example}}}}\n"
        )
    };
    world.apply(&(0..1000).map(mailbox).collect::<Vec<_>>().concat()).await;
    all_ready(&world).await;
    let rule = |to: &str| {
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {{name: all}}\nspec: {{domainRef: {{name: example}}, actions: [{{forward: {{to: [{to}]}}}}]}}\n"
        )
    };
    for to in ["a@other.org", "b@other.org", "m0@example.com"] {
        world.mailcow.clear_log();
        let started = Instant::now();
        world.apply(&rule(to)).await;
        // The mailbox that the rule forwards to has none.
        let all = if to.starts_with("m0") { 999 } else { 1000 };
        while world.mailcow.inspect(|state| with_target(state, to)) < all {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        row(&world, &format!("a domain's rule to {to}: in {all} scripts"), started.elapsed());
        while !crate::world::says(&world.api::<EmailForwardingRule>().get("all").await.unwrap(), "Ready", "True") {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        row(&world, &format!("a domain's rule to {to}: Ready"), started.elapsed());
    }
    world.mailcow.clear_log();
    world.operator = None;
    world.start_operator(&[]);
    let all = [("EmailDomain", 1), ("EmailMailbox", 1000), ("Script", 1000), ("EmailForwardingRule", 1)];
    let took = settled(&world, &all).await;
    row(&world, "a restart with it, nothing to do", took);
    print_routes(&world);
    assert_eq!(world.mailcow.writes(), 0);
    let started = Instant::now();
    world.kubectl(&["delete", "efr", "all", "--wait=true"]).await;
    row(&world, "it is deleted", started.elapsed());
    assert!(world.mailcow.inspect(|state| state.filters.is_empty()));
}

/// How many active filters hold the target.
fn with_target(state: &mailcow_simulator::State, to: &str) -> usize {
    state.filters.values().filter(|f| f.active && f.script.contains(to)).count()
}

async fn all_ready(world: &World) {
    let api = world.api::<EmailMailbox>();
    loop {
        let list = api.list(&kube::api::ListParams::default()).await.unwrap();
        let ready = list.items.iter().filter(|m| crate::world::says(*m, "Ready", "True")).count();
        if ready == 1000 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}
