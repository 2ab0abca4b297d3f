//! The Kubernetes API goes away and comes back while there is much to do.

use std::time::{Duration, Instant};

use mailcow_operator::crd::{EmailDomain, EmailMailbox};

use crate::world::{World, many};

const MAILBOXES: usize = 60;

/// Waits until so many mailboxes are on Mailcow. An operator that can't renew its Lease in time ends, and is started again
/// as a kubelet does.
async fn on_mailcow(world: &mut World, count: usize) {
    let started = Instant::now();
    while world.mailcow.inspect(|state| state.mailboxes.len()) < count {
        if world.operator.as_mut().unwrap().exit_status().unwrap().is_some() {
            world.start_operator(&[]);
        }
        assert!(started.elapsed() < Duration::from_mins(2), "{count} in time\n{}", world.logs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_api_server_and_etcd_may_be_killed_in_the_middle_of_the_work() {
    let mut world = World::alone("outage").await;
    world.connect().await;
    world.apply(&many(MAILBOXES)).await;
    world.start_operator(&[]);
    on_mailcow(&mut world, 5).await;
    world.plane.restart_apiserver().await.unwrap();
    on_mailcow(&mut world, MAILBOXES / 2).await;
    world.plane.restart_etcd().await.unwrap();
    on_mailcow(&mut world, MAILBOXES).await;
    world.ready::<EmailDomain>("example").await;
    for n in 0..MAILBOXES {
        let mailbox = world.ready::<EmailMailbox>(&format!("m{n}")).await;
        assert!(mailbox.status.unwrap().password_version.is_some());
    }
    let adds = world.mailcow.requests().iter().filter(|request| request.path == "add/mailbox").count();
    assert_eq!(adds, MAILBOXES, "each was made once");
}
