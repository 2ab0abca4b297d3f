//! The Kubernetes API goes away and comes back while there is much to do.

use std::time::Duration;

use mailcow_operator::crd::{EmailDomain, EmailMailbox};

use crate::world::{World, many};

const MAILBOXES: usize = 60;

/// Waits until so many mailboxes are on Mailcow.
async fn on_mailcow(world: &World, count: usize) {
    let wait = async {
        while world.mailcow.inspect(|state| state.mailboxes.len()) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_mins(1);
    tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| panic!("{count} in time\n{}", world.logs()));
}

#[tokio::test]
async fn the_api_server_and_etcd_may_be_killed_in_the_middle_of_the_work() {
    let mut world = World::alone("outage").await;
    world.connect().await;
    world.apply(&many(MAILBOXES)).await;
    world.start_operator(&[]);
    on_mailcow(&world, 5).await;
    world.plane.restart_apiserver().await.unwrap();
    on_mailcow(&world, MAILBOXES / 2).await;
    world.plane.restart_etcd().await.unwrap();
    on_mailcow(&world, MAILBOXES).await;
    world.ready::<EmailDomain>("example").await;
    for n in 0..MAILBOXES {
        let mailbox = world.ready::<EmailMailbox>(&format!("m{n}")).await;
        assert!(mailbox.status.unwrap().password_version.is_some());
    }
    let adds = world.mailcow.requests().iter().filter(|request| request.path == "add/mailbox").count();
    assert_eq!(adds, MAILBOXES, "each was made once");
}
