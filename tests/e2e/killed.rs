//! The operator is killed after each of the writes of a run: what comes after converges, and nothing is doubled or lost.

use std::time::Duration;

use mailcow_operator::crd::{EmailAlias, EmailForwardingRule, EmailMailbox};

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
/// Add the domain, add the mailbox, mark it, add the alias, add the filter.
const WRITES: usize = 5;

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
