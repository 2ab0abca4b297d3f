//! What changed itself comes before what others caused, within a namespace.

use std::time::Duration;

use mailcow_operator::crd::EmailAlias;
use mailcow_simulator::CostModel;

use crate::world::{DOMAIN, World, is_current, says};

const ALIASES: usize = 40;
const BY_HAND: &str = "away@by-hand.example";

fn alias(name: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: {name}}}\n\
         spec: {{localPart: {name}, domainRef: {{name: example}}, goto: [x@away.example]}}\n---\n"
    )
}

#[tokio::test]
async fn a_new_alias_does_not_wait_until_all_others_of_its_namespace_are_corrected() {
    // Each correction rebuilds the view of Mailcow's groupware, one after the other.
    let cost = CostModel { rebuild_pair_nanos: 5_000, ..CostModel::hash_only(Duration::from_millis(5)) };
    let mut world = World::costly("priority", cost).await;
    world.mailcow.edit(|state| state.seed_bulk(1, 100));
    world.connect().await;
    world.start_operator(&["--poll-interval", "1s"]);
    world.apply(DOMAIN).await;
    world.apply(&(0..ALIASES).map(|n| alias(&format!("out{n}"))).collect::<String>()).await;
    for n in 0..ALIASES {
        world.ready::<EmailAlias>(&format!("out{n}")).await;
    }
    let changed = |world: &World| {
        world.mailcow.inspect(|state| state.aliases.values().filter(|alias| alias.goto == BY_HAND).count())
    };
    // Two such writes for one object are five seconds apart.
    tokio::time::sleep(Duration::from_secs(6)).await;
    world.mailcow.edit(|state| {
        let ours = state.aliases.values_mut().filter(|alias| alias.address.starts_with("out"));
        ours.for_each(|alias| BY_HAND.clone_into(&mut alias.goto));
    });
    assert_eq!(changed(&world), ALIASES);
    let begun = ground::wait_until(Duration::from_secs(20), "the first correction", async || {
        if changed(&world) < ALIASES { Ok(()) } else { Err("none") }
    });
    begun.await.unwrap();
    world.apply(&alias("new")).await;
    world.until::<EmailAlias>("new", "Ready", |new| is_current(new) && says(new, "Ready", "True")).await;
    let left = changed(&world);
    assert!(left >= ALIASES / 4, "the new alias waited until {left} of {ALIASES} were left");
    ground::wait_until(Duration::from_mins(1), "all corrections", async || {
        if changed(&world) == 0 { Ok(()) } else { Err(changed(&world)) }
    })
    .await
    .unwrap();
}
