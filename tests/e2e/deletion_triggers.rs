//! What goes wakes those that shared it or waited for it, at once: no poll and no back-off has to pass.

use ground::wait_until;
use kube::Api;
use kube::api::PostParams;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, StatusCondition};
use std::time::{Duration, Instant};

use crate::world::{ADA, DOMAIN, Email, LIMIT, World, many, message, says};

/// An operator that looks at Mailcow, and at objects in sync, so seldom that only what happens triggers anything.
async fn world(name: &str) -> World {
    let mut world = World::without_mailcow(name).await;
    world.connect().await;
    world.start_operator(&["--resync", "6h", "--poll-interval", "1h"]);
    world
}

fn mailbox(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: {name}}}\nspec: {{domainRef: {{name: example}}, {spec}}}\n---\n"
    )
}

fn alias(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: {name}}}\nspec: {{domainRef: {{name: example}}, {spec}}}\n---\n"
    )
}

/// Waits until objects have a later time of creation, which is in seconds.
async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

/// Where an alias goes, as Mailcow has it.
fn goto(world: &World, address: &str) -> Vec<String> {
    world.mailcow.inspect(|state| {
        let found = state.aliases.values().find(|alias| alias.address == address);
        let mut goto: Vec<String> =
            found.map(|alias| alias.goto.split(',').map(ToOwned::to_owned).collect()).unwrap_or_default();
        goto.sort();
        goto
    })
}

#[tokio::test]
async fn what_a_deleted_mailbox_was_part_of_is_put_right_and_nobody_did_it_by_hand() {
    let world = world("shared").await;
    let ada = mailbox("ada", "localPart: ada, deletionPolicy: Delete");
    let refs = "gotoMailboxRefs: [{name: ada}, {name: support}]";
    let all = [
        DOMAIN.to_owned(),
        ada.clone(),
        mailbox("support", "localPart: support"),
        alias("sales", &format!("localPart: sales, {refs}")),
        alias("reported", &format!("localPart: reported, driftPolicy: Report, {refs}")),
        alias("plain", "localPart: plain, goto: [ada@example.com, support@example.com]"),
        alias("alone", "localPart: alone, gotoMailboxRefs: [{name: ada}]"),
    ];
    let aliases = ["sales", "reported", "plain"];
    world.apply(&all.concat()).await;
    // A busy machine takes its time for so many.
    wait_until(Duration::from_mins(1), "all to be ready", async || {
        let all = world.api::<EmailAlias>().list(&kube::api::ListParams::default()).await.unwrap();
        let ready = all.items.iter().filter(|alias| says(*alias, "Ready", "True")).count();
        if ready == 4 { Ok(()) } else { Err(format!("{ready} of 4")) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
    world.kubectl(&["delete", "embx", "ada"]).await;
    world.gone::<EmailMailbox>("ada").await;
    world.condition::<EmailAlias>("sales", ("Ready", "False", "MailboxNotFound")).await;
    let is_shown = |alias: &EmailAlias| alias.status.as_ref().is_some_and(|it| it.goto == ["support@example.com"]);
    world.until("sales", "showing what Mailcow has now", is_shown).await;
    world.apply(&ada).await;
    world.ready::<EmailMailbox>("ada").await;
    for name in aliases {
        let address = format!("{name}@example.com");
        wait_until(Duration::from_mins(1), &format!("{address} to be whole and to say so"), async || {
            let said = world.api::<EmailAlias>().get(name).await.unwrap();
            let goto = goto(&world, &address);
            let is_whole = goto == ["ada@example.com", "support@example.com"];
            if says(&said, "Ready", "True") && is_whole { Ok(()) } else { Err(format!("{goto:?} {said:#?}")) }
        })
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
    }
    world.until("alone", "made again", |_: &EmailAlias| goto(&world, "alone@example.com") == ["ada@example.com"]).await;
    world.ready::<EmailAlias>("alone").await;
    let events = world.kubectl(&["get", "events"]).await;
    assert!(!events.contains("by hand"), "{events}");
}

#[tokio::test]
async fn a_rule_is_in_force_again_when_its_mailbox_was_made_again() {
    let world = world("rulesagain").await;
    let ada = mailbox("ada", "localPart: ada, deletionPolicy: Delete");
    let rule = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {name: all}\nspec: {mailboxRef: {name: ada}, actions: [{forward: {to: [x@other.org]}}]}";
    world.apply(&format!("{DOMAIN}{ada}{rule}")).await;
    world.ready::<EmailForwardingRule>("all").await;
    world.kubectl(&["delete", "embx", "ada"]).await;
    world.apply(&ada).await;
    world.ready::<EmailMailbox>("ada").await;
    wait_until(LIMIT, "the script to be back", async || {
        let count = world.mailcow.inspect(|state| state.filters.len());
        if count == 1 { Ok(()) } else { Err(format!("{count} filters")) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
    world.ready::<EmailForwardingRule>("all").await;
}

#[tokio::test]
async fn what_belongs_to_a_deleted_domain_waits_for_it_and_advises_nothing_else() {
    let world = world("nodomain").await;
    let domain = DOMAIN.replace("{domain: example.com}", "{domain: example.com, limits: {mailboxes: 1}}");
    world.apply(&format!("{domain}{ADA}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world
        .apply(&format!("{}{}", mailbox("bob", "localPart: bob"), alias("sales", "localPart: s, goto: [a@b.example]")))
        .await;
    let refused = world.condition::<EmailMailbox>("bob", ("Stalled", "True", "RefusedByMailcow")).await;
    assert!(message(&refused, "Ready").contains("raise limits.mailboxes"), "{refused:?}");
    world.ready::<EmailAlias>("sales").await;
    world.kubectl(&["delete", "edom", "example"]).await;
    for name in ["ada", "bob"] {
        let waiting = world.condition::<EmailMailbox>(name, ("Ready", "False", "DomainNotFound")).await;
        assert!(message(&waiting, "Ready").contains("example"), "{waiting:?}");
    }
    world.condition::<EmailAlias>("sales", ("Ready", "False", "DomainNotFound")).await;
    world.apply(&DOMAIN.replace("{domain: example.com}", "{domain: example.com, limits: {mailboxes: 2}}")).await;
    world.ready::<EmailMailbox>("bob").await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailAlias>("sales").await;
}

#[tokio::test]
async fn whoever_waited_for_an_address_or_a_domain_has_it_as_soon_as_it_is_free() {
    let world = world("freed").await;
    let adopting = "adoptionPolicy: IfUnowned";
    let second = DOMAIN
        .replace("{name: example}", "{name: second}")
        .replace("{domain: example.com}", &format!("{{domain: Example.com, {adopting}}}"));
    world.apply(&format!("{DOMAIN}{ADA}{}", alias("sales", "localPart: sales, goto: [a@b.example]"))).await;
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailAlias>("sales").await;
    world.apply(&mailbox("ada2", &format!("localPart: Ada, {adopting}"))).await;
    // Of objects created in the same second, the first by name has the address.
    next_second().await;
    world.apply(&alias("sales2", "localPart: Sales, goto: [c@d.example]")).await;
    world.apply(&alias("ada-alias", "localPart: ada, goto: [c@d.example]")).await;
    next_second().await;
    world.apply(&mailbox("sales-mailbox", "localPart: sales")).await;
    let loser = world.condition::<EmailMailbox>("ada2", ("Ready", "False", "OwnedByAnother")).await;
    assert!(message(&loser, "Ready").contains("the EmailMailbox ada, which still exists"), "{loser:?}");
    let loser = world.condition::<EmailAlias>("sales2", ("Ready", "False", "OwnedByAnother")).await;
    assert!(message(&loser, "Ready").contains("the EmailAlias sales, which still exists"), "{loser:?}");
    let loser = world.condition::<EmailAlias>("ada-alias", ("Ready", "False", "Conflict")).await;
    assert!(message(&loser, "Ready").contains("the EmailMailbox ada already claims ada@example.com"), "{loser:?}");
    let loser = world.condition::<EmailMailbox>("sales-mailbox", ("Ready", "False", "Conflict")).await;
    assert!(message(&loser, "Ready").contains("the EmailAlias sales already claims sales@example.com"), "{loser:?}");
    world.kubectl(&["delete", "embx", "ada"]).await;
    world.ready::<EmailMailbox>("ada2").await;
    world.kubectl(&["delete", "ealias", "sales"]).await;
    world.ready::<EmailAlias>("sales2").await;
    world.kubectl(&["delete", "ealias", "sales2"]).await;
    world.ready::<EmailMailbox>("sales-mailbox").await;
    world.apply(&second).await;
    world.condition::<EmailDomain>("second", ("Ready", "False", "Conflict")).await;
    world.kubectl(&["delete", "edom", "example"]).await;
    world.ready::<EmailDomain>("second").await;
}

/// Pairs of objects for one address each, in one file. The one that loses by its name comes first in it.
fn pairs(count: usize) -> String {
    let pair = |n: usize| {
        [
            mailbox(&format!("zed{n}"), &format!("localPart: m{n}")),
            mailbox(&format!("abe{n}"), &format!("localPart: M{n}")),
            alias(&format!("zed-alias{n}"), &format!("localPart: a{n}, goto: [z@other.example]")),
            alias(&format!("abe-alias{n}"), &format!("localPart: a{n}, goto: [a@other.example]")),
            alias(&format!("zed-mixed{n}"), &format!("localPart: x{n}, goto: [z@other.example]")),
            mailbox(&format!("abe-mixed{n}"), &format!("localPart: x{n}")),
        ]
        .concat()
    };
    let domain = "{domain: example.com, limits: {mailboxes: 50, totalQuota: 50Gi}}";
    DOMAIN.replace("{domain: example.com}", domain) + &(0..count).map(pair).collect::<String>()
}

#[tokio::test]
async fn of_two_objects_for_one_address_in_one_file_the_first_by_time_and_name_has_it() {
    let mut world = World::without_mailcow("pairs").await;
    world.connect().await;
    world.apply(&pairs(6)).await;
    world.start_operator(&["--resync", "6h", "--poll-interval", "1h"]);
    for n in 0..6 {
        let abe = winner::<EmailMailbox, EmailMailbox>(&world, &format!("abe{n}"), &format!("zed{n}")).await;
        assert_eq!(abe, is_first::<EmailMailbox, EmailMailbox>(&world, &format!("abe{n}"), &format!("zed{n}")).await);
        let (one, other) = (format!("abe-alias{n}"), format!("zed-alias{n}"));
        let abe = winner::<EmailAlias, EmailAlias>(&world, &one, &other).await;
        assert_eq!(abe, is_first::<EmailAlias, EmailAlias>(&world, &one, &other).await);
        let (one, other) = (format!("abe-mixed{n}"), format!("zed-mixed{n}"));
        let abe = winner::<EmailMailbox, EmailAlias>(&world, &one, &other).await;
        assert_eq!(abe, is_first::<EmailMailbox, EmailAlias>(&world, &one, &other).await);
    }
}

#[tokio::test]
async fn of_two_objects_that_come_while_the_operator_runs_one_has_the_address_and_the_other_says_who() {
    let world = world("pairslive").await;
    world.apply(&pairs(4)).await;
    for n in 0..4 {
        winner::<EmailMailbox, EmailMailbox>(&world, &format!("abe{n}"), &format!("zed{n}")).await;
        winner::<EmailAlias, EmailAlias>(&world, &format!("abe-alias{n}"), &format!("zed-alias{n}")).await;
        winner::<EmailMailbox, EmailAlias>(&world, &format!("abe-mixed{n}"), &format!("zed-mixed{n}")).await;
    }
}

/// Whether `one` was made before `other`, by the second and then by name.
async fn is_first<A: Email, Z: Email>(world: &World, one: &str, other: &str) -> bool {
    let a = world.api::<A>().get(one).await.unwrap().meta().creation_timestamp.clone().unwrap();
    let z = world.api::<Z>().get(other).await.unwrap().meta().creation_timestamp.clone().unwrap();
    (a.0, one) < (z.0, other)
}

/// Waits until one of both is Ready and the other names it; gives whether `one` is.
async fn winner<A: Email, Z: Email>(world: &World, one: &str, other: &str) -> bool {
    let is_ready = |conditions: &[StatusCondition]| conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    let lost = |conditions: &[StatusCondition], winner: &str| {
        let ready = conditions.iter().find(|c| c.type_ == "Ready");
        let reasons = ["Conflict", "OwnedByAnother"];
        ready.is_some_and(|c| {
            c.status == "False" && reasons.contains(&c.reason.as_str()) && c.message.contains(&format!(" {winner}"))
        })
    };
    wait_until(LIMIT, &format!("one of {one} and {other} to have the address"), async || {
        let a = world.api::<A>().get(one).await.unwrap().conditions();
        let z = world.api::<Z>().get(other).await.unwrap().conditions();
        match (is_ready(&a) && lost(&z, one), is_ready(&z) && lost(&a, other)) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            _ => Err(format!("{a:#?}\n{z:#?}")),
        }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()))
}

fn attached(domain: &EmailDomain) -> u32 {
    domain.status.as_ref().and_then(|status| status.attached.as_ref()).map(|there| there.mailboxes).unwrap_or_default()
}

#[tokio::test]
async fn a_domain_with_ten_changes_a_second_is_reconciled_all_the_same() {
    let world = world("busy").await;
    world.apply(&many(200)[..many(200).find("---").unwrap()]).await;
    world.ready::<EmailDomain>("example").await;
    let mailboxes: Api<EmailMailbox> = world.api();
    let is_described =
        || world.mailcow.inspect(|state| state.domain("example.com").unwrap().description.contains("Busy"));
    let started = Instant::now();
    for n in 0..80 {
        let spec = serde_json::json!({"localPart": format!("m{n}"), "domainRef": {"name": "example"}});
        let mailbox = EmailMailbox::new(&format!("m{n}"), serde_json::from_value(spec).unwrap());
        mailboxes.create(&PostParams::default(), &mailbox).await.unwrap();
        if n == 20 {
            let patch = r#"{"spec":{"description":"Busy"}}"#;
            world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", patch]).await;
        }
        tokio::time::sleep((started + Duration::from_millis(100) * (n + 1)).saturating_duration_since(Instant::now()))
            .await;
    }
    assert!(is_described(), "its own change waits for nothing\n{}", world.logs());
    world.until("example", "all are counted", |domain: &EmailDomain| attached(domain) == 80).await;
}

#[tokio::test]
async fn a_domain_and_its_five_hundred_mailboxes_in_one_file_don_t_wait_for_the_end_of_it() {
    let world = world("onefile").await;
    let manifests = many(500);
    let applied = async {
        world.apply(&manifests).await;
        Instant::now()
    };
    let first_ready = async {
        loop {
            let there = world.api::<EmailMailbox>().get_opt("m0").await.unwrap();
            if there.is_some_and(|mailbox| says(&mailbox, "Ready", "True")) {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (applied, first_ready) = tokio::join!(applied, first_ready);
    assert!(first_ready < applied, "the first was ready {:?} after the end", first_ready - applied);
    wait_until(Duration::from_mins(3), "all to be ready", async || {
        let all = world.api::<EmailMailbox>().list(&kube::api::ListParams::default()).await.unwrap();
        let ready = all.items.iter().filter(|mailbox| says(*mailbox, "Ready", "True")).count();
        if ready == 500 { Ok(()) } else { Err(format!("{ready} of 500")) }
    })
    .await
    .unwrap_or_else(|error| panic!("{error}\n{}", world.logs()));
}
