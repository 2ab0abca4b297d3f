//! An operator that looks at listed namespaces, under the Roles that the chart makes in them.

use std::time::Duration;

use kube::Api;
use mailcow_operator::crd::{EmailDomain, EmailMailbox};

use crate::world::{ADA, DOMAIN, LIMIT, World, says};

/// The domain and the mailbox of the tests, in another mail domain.
fn within(domain: &str) -> String {
    format!("{DOMAIN}{ADA}").replace("example.com", domain)
}

async fn another(world: &World, name: &str) -> String {
    world.plane.namespace(name).await.unwrap()
}

/// Waits for the mailbox `ada` in a namespace that is not the world's own.
async fn ada_ready(world: &World, namespace: &str, what: &str, is_so: impl Fn(&EmailMailbox) -> bool) {
    let mailboxes: Api<EmailMailbox> = Api::namespaced(world.kube.clone(), namespace);
    let ready = ground::wait_until(LIMIT, what, async || {
        let ada = mailboxes.get("ada").await.map_err(|error| error.to_string())?;
        if says(&ada, "Ready", "True") && is_so(&ada) { Ok(()) } else { Err(format!("{:#?}", ada.status)) }
    });
    if let Err(error) = ready.await {
        panic!("{error}\n{}", world.logs());
    }
}

#[tokio::test]
async fn listed_namespaces_are_looked_after_and_no_other() {
    let mut world = World::listing("listed-a", "listed-b").await;
    let (second, third) = (world.listed[1].clone(), another(&world, "unlisted").await);
    world.plane.apply(&within("unlisted.example"), &third).await.unwrap();
    world.plane.apply(&within("second.example"), &second).await.unwrap();
    world.connect().await;
    world.start_operator(&["--watch-namespaces", &second]);
    ada_ready(&world, &second, "what was there before", |_| true).await;
    world.apply(&within("first.example")).await;
    world.ready::<EmailDomain>("example").await;
    world.ready::<EmailMailbox>("ada").await;

    let change = r#"{"spec":{"displayName":"Countess of Lovelace"}}"#;
    world.kubectl(&["-n", &second, "patch", "embx", "ada", "--type=merge", "-p", change]).await;
    ada_ready(&world, &second, "a change in the second namespace", |ada| ada.metadata.generation == Some(2)).await;
    let name = world.mailcow.inspect(|state| state.mailbox("ada@second.example").unwrap().name.clone());
    assert_eq!(name, "Countess of Lovelace");

    let password = r#"{"stringData":{"password":"another-Password-2"}}"#;
    let before = world.mailcow.writes();
    world.kubectl(&["-n", &second, "patch", "secret", "ada-mailbox", "--type=merge", "-p", password]).await;
    let rotated = ground::wait_until(LIMIT, "the new password on Mailcow", async || {
        if world.mailcow.writes() > before { Ok(()) } else { Err("no write yet".to_owned()) }
    });
    rotated.await.unwrap();

    let untouched = world
        .kubectl(&[
            "-n",
            &third,
            "get",
            "email",
            "-o",
            "jsonpath={.items[*].status.conditions}{.items[*].metadata.finalizers}",
        ])
        .await;
    assert_eq!(untouched, "", "nobody looks after the third namespace");
    assert!(world.mailcow.inspect(|state| state.mailbox("ada@unlisted.example").is_none()));
    assert!(!world.logs().contains("forbidden"), "{}", world.logs());
    let kubeconfig = format!("--kubeconfig={}", world.kubeconfig().display());
    for (namespace, answer) in [(&second, "yes"), (&third, "no")] {
        for resource in ["secrets", "emaildomains.email.askrobots.com"] {
            let said = world.kubectl(&[&kubeconfig, "-n", namespace, "auth", "can-i", "list", resource]).await;
            assert!(said.lines().any(|line| line == answer), "{resource} in {namespace}: {said}");
        }
    }
}

#[tokio::test]
async fn a_listed_namespace_that_may_not_be_looked_at_holds_up_no_other_and_is_taken_in_later() {
    let mut world = World::listing("open", "closed").await;
    let closed = world.listed[1].clone();
    let (name, account) = world.release();
    world.kubectl(&["-n", &closed, "delete", "rolebinding", &name]).await;
    world.plane.apply(&within("closed.example"), &closed).await.unwrap();
    world.apply(&within("open.example")).await;
    world.connect().await;
    world.start_operator(&["--watch-namespaces", &closed]);
    let said = world.operator.as_ref().unwrap().logged("the operator ignores this namespace", LIMIT).await.unwrap();
    assert!(said.contains(&closed) && said.contains("watchNamespaces"), "{said}");
    world.ready::<EmailMailbox>("ada").await;

    let (role, account) = (format!("--role={name}"), format!("--serviceaccount={account}"));
    world.kubectl(&["-n", &closed, "create", "rolebinding", &name, &role, &account]).await;
    let ended = world.operator.as_mut().unwrap().ended(Duration::from_secs(30)).await.unwrap();
    assert!(ended.success(), "{ended:?}\n{}", world.logs());
    // As the Deployment does.
    world.start_operator(&["--watch-namespaces", &closed]);
    ada_ready(&world, &closed, "the namespace that was closed", |_| true).await;
}

#[tokio::test]
async fn an_operator_that_may_look_nowhere_ends_and_says_so() {
    let mut world = World::listing("nowhere", "nowhere-too").await;
    let (name, _) = world.release();
    for namespace in world.listed.clone() {
        world.kubectl(&["-n", &namespace, "delete", "rolebinding", &name]).await;
    }
    world.start_operator(&["--watch-namespaces", &world.listed[1].clone()]);
    let ended = world.operator.as_mut().unwrap().ended(LIMIT).await.unwrap();
    assert!(!ended.success() && world.logs().contains("may not list them"), "{}", world.logs());
}
