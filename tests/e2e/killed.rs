//! The operator is killed after each of the writes of a run: what comes after converges, and nothing is doubled or lost.

use std::collections::HashSet;
use std::time::Duration;

use mailcow_operator::crd::{EmailAlias, EmailForwardingRule, EmailMailbox};
use mailcow_simulator::{Fault, Trouble};

use crate::world::{ADA, DOMAIN, LIMIT, World};

const ALIAS: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {domainRef: {name: example}, localPart: sales, gotoMailboxRefs: [{name: ada}]}
---
";
const RULE: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: copy}
spec: {mailboxRef: {name: ada}, actions: [{forward: {to: [x@other.org]}}]}
---
";
/// Add the domain, add the mailbox, add the alias, add the filter.
const WRITES: usize = 4;

/// Waits for the n-th write and kills the operator at once.
async fn kill_after(world: &mut World, writes: usize) {
    let wait = async {
        while world.mailcow.writes() < writes {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.unwrap();
    world.operator.as_mut().unwrap().kill();
    world.operator = None;
}

#[tokio::test]
async fn nothing_is_doubled_or_lost_wherever_it_is_killed() {
    for writes in 1..=WRITES {
        let mut world = World::new("killed").await;
        world.apply(&format!("{DOMAIN}{ADA}{ALIAS}{RULE}")).await;
        kill_after(&mut world, writes).await;
        world.start_operator(&[]);
        let mailbox = world.ready::<EmailMailbox>("ada").await;
        world.ready::<EmailAlias>("sales").await;
        world.ready::<EmailForwardingRule>("copy").await;
        assert!(mailbox.status.unwrap().credentials_secret_name.is_some(), "killed after write {writes}");
        let (domains, mailboxes, aliases, filters) = world.mailcow.inspect(|state| {
            let of_people = state.aliases.values().filter(|alias| alias.address != alias.goto);
            (state.domains.len(), state.mailboxes.len(), of_people.count(), state.filters.len())
        });
        assert_eq!((domains, mailboxes, aliases, filters), (1, 1, 1, 1), "killed after write {writes}");
        let adds = |route: &str| world.mailcow.requests().iter().filter(|request| request.path == route).count();
        assert_eq!((adds("add/domain"), adds("add/mailbox"), adds("add/filter")), (1, 1, 1), "write {writes}");
    }
}

#[tokio::test]
async fn a_mailbox_that_was_just_made_is_ours_whatever_the_policies_say() {
    for is_deleted in [false, true] {
        let mut world = World::new("halfmade").await;
        let ada = ADA.replace("displayName: Ada Lovelace", "adoptionPolicy: Never, deletionPolicy: Delete");
        world.apply(&format!("{DOMAIN}{ada}")).await;
        kill_after(&mut world, 2).await;
        assert!(world.mailcow.inspect(|state| state.mailbox("ada@example.com").is_some()));
        if is_deleted {
            world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
        }
        world.start_operator(&[]);
        if is_deleted {
            world.gone::<EmailMailbox>("ada").await;
            assert!(
                world.mailcow.inspect(|state| state.mailbox("ada@example.com").is_none()),
                "nothing is left behind"
            );
        } else {
            world.ready::<EmailMailbox>("ada").await;
        }
    }
}

/// What is asked for one after the other, and how it is seen that it was done.
struct Step {
    manifests: String,
    is_done: fn(&mailcow_simulator::State) -> bool,
}

fn mailbox(quota: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: ada}}\nspec: {{localPart: ada, domainRef: {{name: example}}, displayName: Ada, quota: {quota}, rateLimit: {{messages: 5, per: Hour}}, deletionPolicy: Delete}}\n---\n"
    )
}

fn creation() -> Step {
    Step {
        manifests: format!("{DOMAIN}{}{ALIAS}{RULE}", mailbox("1Gi")),
        is_done: |state| {
            let is_made = state.mailbox("ada@example.com").is_some_and(|ada| !ada.tags.is_empty());
            is_made && state.alias("sales@example.com").is_some() && state.filters.len() == 1
        },
    }
}

fn change() -> Step {
    let domain = DOMAIN.replace("{domain: example.com}", "{domain: example.com, description: Changed}");
    let alias = ALIAS.replace("localPart: sales", "active: false, localPart: sales");
    let rule = RULE.replace("x@other.org", "y@other.org");
    Step {
        manifests: format!("{domain}{}{alias}{rule}", mailbox("2Gi")),
        is_done: |state| {
            let is_off = state.alias("sales@example.com").is_some_and(|alias| alias.active == 0);
            let script = state.filters.values().next().is_some_and(|filter| filter.script.contains("y@other.org"));
            is_off && script && state.domain("example.com").is_some_and(|domain| domain.description == "Changed")
        },
    }
}

/// Starts the operator again and again, and kills it after each write that was not seen before, mostly while its answer
/// is on the way, until the step is done; gives how many such writes there were. A write that is repeated is let through: what Mailcow does not
/// show, such as a password, has to be sent again after a kill.
async fn killed_through(world: &mut World, is_done: fn(&mailcow_simulator::State) -> bool) -> usize {
    let late = Trouble::LateAnswer(Duration::from_millis(100));
    world.mailcow.fault(Fault { times: 1000, method: "POST".to_owned(), path: String::new(), trouble: late });
    let written = |world: &World| -> HashSet<(String, String)> {
        let requests = world.mailcow.requests();
        requests.into_iter().filter(|r| r.method == "POST").map(|request| (request.path, request.body)).collect()
    };
    let (mut kills, mut hit) = (0, 0);
    while !world.mailcow.inspect(is_done) {
        let before = written(world);
        world.start_operator(&[]);
        let wait = async {
            while written(world).is_subset(&before) && !world.mailcow.inspect(is_done) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("no write in time\n{}", world.logs()));
        world.operator.as_mut().unwrap().kill();
        world.operator = None;
        kills += 1;
        hit += written(world).difference(&before).count();
        assert!(kills < 40, "it never gets on: {:?}", world.mailcow.requests());
    }
    world.mailcow.clear_faults();
    hit
}

#[tokio::test]
async fn killed_after_every_single_write_it_still_gets_there() {
    let mut world = World::without_mailcow("everywrite").await;
    world.connect().await;
    let mut hit = 0;
    for step in [creation(), change()] {
        world.apply(&step.manifests).await;
        hit += killed_through(&mut world, step.is_done).await;
    }
    world.start_operator(&[]);
    world.ready::<EmailMailbox>("ada").await;
    world.ready::<EmailAlias>("sales").await;
    world.ready::<EmailForwardingRule>("copy").await;
    world.operator = None;
    world.mailcow.edit(|state| {
        state.seed_mailbox("stranger@example.com");
    });
    world.kubectl(&["delete", "embx,ealias,efr,edom", "--all", "--wait=false"]).await;
    hit += killed_through(&mut world, |state| {
        state.mailbox("ada@example.com").is_none()
            && state.alias("sales@example.com").is_none()
            && state.domain("example.com").is_some_and(|domain| domain.tags.is_empty())
    })
    .await;
    world.start_operator(&[]);
    world.gone::<EmailMailbox>("ada").await;
    world.gone::<mailcow_operator::crd::EmailDomain>("example").await;
    assert!(world.mailcow.inspect(|state| state.filters.is_empty() && state.has_mailbox("stranger@example.com")));
    println!("killed at {hit} writes");
    assert!(hit >= 10, "{hit}");
}
