//! Figures of a large installation. The test writes what the operator would have written, so that it takes minutes and not
//! an hour. The operator's first start shows whether it finds anything to do.

use std::collections::HashMap;

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::PostParams;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailMailbox, FINALIZER};
use mailcow_simulator::{Json, State};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::bench::{NO_LOOK, OPTIONS, Size, bare_look, create, look, new_ones, restart};
use crate::figures::{row, settled};
use crate::world::{Email, World};

/// A text about the first objects, as it is about others.
fn numbered(text: &str, size: Size, n: usize) -> String {
    let domain = size.domain(n);
    text.replace("m0@d0.example", &format!("m{n}@{domain}.example"))
        .replace("a0@d0.example", &format!("a{n}@{domain}.example"))
}

/// Creates objects with our finalizer; gives their metadata by number.
async fn create_finalized<K>(world: &World, count: usize, yaml: impl Fn(usize) -> String) -> HashMap<usize, ObjectMeta>
where
    K: Email + Serialize + DeserializeOwned,
{
    let api = world.api::<K>();
    let one = async |n: usize| {
        let mut object: K = serde_yaml::from_str(&yaml(n)).unwrap();
        object.meta_mut().finalizers = Some(vec![FINALIZER.to_owned()]);
        let made = api.create(&PostParams::default(), &object).await.unwrap();
        (n, ObjectMeta { managed_fields: None, ..made.meta().clone() })
    };
    stream::iter(1..count).map(one).buffer_unordered(16).collect().await
}

/// Gives objects the status of the first one, with what is their own in it.
async fn write_statuses<K>(world: &World, size: Size, first: &K, statuses: Vec<(usize, ObjectMeta, Value)>)
where
    K: Email + Serialize + DeserializeOwned,
{
    let api = world.api::<K>();
    let first = serde_json::to_value(first).unwrap().to_string();
    let one = async |(n, meta, own): (usize, ObjectMeta, Value)| {
        let mut object: Value = serde_json::from_str(&numbered(&first, size, n)).unwrap();
        for (field, value) in own.as_object().into_iter().flatten() {
            object["status"][field] = value.clone();
        }
        let name = meta.name.clone().unwrap();
        object["metadata"] = json!(meta);
        api.replace_status(&name, &PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    };
    stream::iter(statuses).map(one).buffer_unordered(16).collect::<()>().await;
}

/// Copies the first mailbox to another address, with another owner.
fn copy_mailbox(state: &mut State, size: Size, n: usize, (from, to): (&str, &str)) {
    let mut copy = state.mailbox("m0@d0.example").unwrap().clone();
    copy.username = numbered(&copy.username, size, n);
    copy.local_part = format!("m{n}");
    copy.domain = format!("{}.example", size.domain(n));
    copy.name = format!("Number {n}");
    copy.tags = copy.tags.iter().map(|tag| tag.replace(from, to)).collect();
    for (_, value) in &mut copy.custom_attributes {
        if let Json::Text(text) = value {
            *text = text.replace(from, to);
        }
    }
    let address = copy.username.clone();
    *state.seed_mailbox(&address) = copy;
}

/// The same for the first alias; gives its number.
fn copy_alias(state: &mut State, size: Size, n: usize, (from, to): (&str, &str)) -> i64 {
    let mut copy = state.alias("a0@d0.example").unwrap().clone();
    copy.address = numbered(&copy.address, size, n);
    copy.goto = numbered(&copy.goto, size, n);
    copy.domain = format!("{}.example", size.domain(n));
    copy.private_comment = copy.private_comment.map(|comment| comment.replace(from, to));
    copy.id = state.seed_alias(&copy.address, &copy.goto);
    let id = copy.id;
    state.aliases.insert(id, copy);
    id
}

/// Everything in sync, as if the operator had made it. All mailboxes have one password, from one Secret.
async fn everything_in_sync(world: &mut World, size: Size) {
    world.connect().await;
    world.apply("{apiVersion: v1, kind: Secret, metadata: {name: shared}, stringData: {password: Some-Words-1}}").await;
    world.start_operator(&[&OPTIONS[..], &NO_LOOK].concat());
    let yaml = |n| {
        size.yaml_of_mailbox(n)
            .replace("displayName:", "passwordSecretRef: {name: shared, key: password}, displayName:")
    };
    create::<EmailDomain>(world, size.domains, |n| size.yaml_of_domain(n)).await;
    create::<EmailMailbox>(world, 1, yaml).await;
    create::<EmailAlias>(world, 1, |n| size.yaml_of_alias(n)).await;
    let (mailbox, alias) = (world.ready::<EmailMailbox>("m0").await, world.ready::<EmailAlias>("a0").await);
    for n in 0..size.domains {
        world.ready::<EmailDomain>(&format!("d{n}")).await;
    }
    world.operator = None;
    let mailboxes = create_finalized::<EmailMailbox>(world, size.mailboxes, yaml).await;
    let aliases = create_finalized::<EmailAlias>(world, size.aliases, |n| size.yaml_of_alias(n)).await;
    let mark = |name: String, uid: &str| format!("/{name}/{uid}");
    let uid = |meta: &ObjectMeta| meta.uid.clone().unwrap();
    let ids: Vec<i64> = world.mailcow.edit(|state| {
        let from = mark("m0".to_owned(), &mailbox.uid().unwrap());
        (1..size.mailboxes)
            .for_each(|n| copy_mailbox(state, size, n, (&from, &mark(format!("m{n}"), &uid(&mailboxes[&n])))));
        let from = mark("a0".to_owned(), &alias.uid().unwrap());
        (1..size.aliases)
            .map(|n| copy_alias(state, size, n, (&from, &mark(format!("a{n}"), &uid(&aliases[&n])))))
            .collect()
    });
    let of_mailboxes = (1..size.mailboxes).map(|n| (n, mailboxes[&n].clone(), json!({}))).collect();
    write_statuses(world, size, &mailbox, of_mailboxes).await;
    let of_aliases =
        (1..size.aliases).zip(ids).map(|(n, id)| (n, aliases[&n].clone(), json!({"aliasId": id}))).collect();
    write_statuses(world, size, &alias, of_aliases).await;
}

/// On an API server that keeps no objects in memory: with 200,000 it needs more than 14 GiB for that. Its lists take longer
/// then.
async fn large(size: Size) {
    let of = format!("{}+{}+{}", size.domains, size.mailboxes, size.aliases);
    let options = ground::Options { api_server_flags: vec!["--watch-cache=false".to_owned()], ..Default::default() };
    let mut world = World::alone_with("large", options).await;
    everything_in_sync(&mut world, size).await;
    world.mailcow.clear_log();
    world.start_operator(&[&OPTIONS[..], &NO_LOOK].concat());
    let took = settled(&world, &size.passes()).await;
    row(&world, &format!("{of}: the first start"), took);
    restart(&mut world, size, &of).await;
    new_ones(&mut world, size, &of).await;
    look(&mut world, size, &of).await;
    bare_look(&mut world, size).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_large_ten_thousand_of_each() {
    large(Size { domains: 100, mailboxes: 10_000, aliases: 10_000 }).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_large_fifty_thousand_of_each() {
    large(Size { domains: 100, mailboxes: 50_000, aliases: 50_000 }).await;
}

#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_large_a_hundred_thousand_of_each() {
    large(Size { domains: 100, mailboxes: 100_000, aliases: 100_000 }).await;
}
