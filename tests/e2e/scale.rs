//! Many objects at once, run by hand: `cargo test --release --test e2e -- --ignored --nocapture scale`.

use std::time::Instant;

use mailcow_operator::crd::EmailMailbox;

use crate::world::{DOMAIN, World};

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn a_thousand_mailboxes_and_a_restart() {
    let mut world = World::new("scale").await;
    world
        .apply(
            &DOMAIN
                .replace("{domain: example.com}", "{domain: example.com, limits: {mailboxes: 5000, totalQuota: 5Ti}}"),
        )
        .await;
    world.ready::<mailcow_operator::crd::EmailDomain>("example").await;
    world.mailcow.clear_log();
    let mailbox = |n| {
        format!(
            "---\napiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: m{n}}}\nspec: {{localPart: m{n}, domainRef: {{name: example}}}}\n"
        )
    };
    let manifests = (0..1000).map(mailbox).collect::<Vec<_>>().concat();
    let started = Instant::now();
    world.apply(&manifests).await;
    println!("applied in {:?}", started.elapsed());
    all_ready(&world).await;
    let operator = world.operator.as_ref().unwrap();
    println!(
        "all Ready in {:?}; requests {} reads {} writes {}; RSS {} KiB",
        started.elapsed(),
        world.mailcow.requests().len(),
        world.mailcow.reads(),
        world.mailcow.writes(),
        operator.rss_kib().unwrap()
    );
    world.mailcow.clear_log();
    world.operator = None;
    let started = Instant::now();
    world.start_operator(&[]);
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    println!(
        "restart, after {:?}: reads {} writes {}; RSS {} KiB",
        started.elapsed(),
        world.mailcow.reads(),
        world.mailcow.writes(),
        world.operator.as_ref().unwrap().rss_kib().unwrap()
    );
    assert_eq!(world.mailcow.writes(), 0);
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
