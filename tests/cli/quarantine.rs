//! `quarantine`: list, show, release and delete, on the connection of the operator and with a key.

use mailcow_simulator::{Postfix, Rspamd};

use crate::world::World;

#[tokio::test]
async fn quarantined_mail_is_listed_shown_released_and_deleted() {
    let world = World::prepare("quarantine").await;
    world.connect().await;
    let ids = world.mailcow.edit(|state| {
        state.seed_domain("example.com");
        state.seed_mailbox("ada@example.com");
        (state.release.postfix, state.release.rspamd) = (Postfix::Up, Rspamd::Up);
        ["ada@example.com", "bob@example.com", "x@other.example"]
            .map(|to| state.seed_quarantine(to, "spam@far.example", "Buy \u{1b}[2J now", 21.5))
    });
    let done = world.email(&["quarantine", "list"]).await.succeeded();
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[0].starts_with("ID") && lines[1].starts_with(&ids[2].to_string()), "the newest first: {}", done.out);
    assert!(!done.out.contains('\u{1b}'));
    let listed =
        world.email(&["quarantine", "list", "--recipient", "EXAMPLE.com", "-o", "json"]).await.succeeded().json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!((&listed[1]["recipient"], &listed[1]["score"]), (&"ada@example.com".into(), &21.5.into()));

    let first = ids[0].to_string();
    let shown = world.email(&["quarantine", "show", &first]).await.succeeded();
    assert!(!shown.out.is_empty());
    let done = world.email(&["quarantine", "release", &first]).await.succeeded();
    assert_eq!(done.out, format!("{first} released\n"));
    assert_eq!(world.mailcow.inspect(|state| state.release.sent.len()), 1);
    let done = world.email(&["quarantine", "release", &first]).await;
    assert_eq!(done.code, 1);
    done.shows(&[&format!("no mail {first} is in the quarantine")]);

    let done = world.email(&["quarantine", "delete", "--sender", "spam@"]).await;
    assert_eq!(done.code, 1, "nobody was asked");
    done.shows(&["2 mails would be deleted", "--yes"]);
    assert_eq!(world.mailcow.inspect(|state| state.quarantine.len()), 2);
    world.email(&["quarantine", "delete", "--sender", "spam@", "--yes"]).await.succeeded();
    assert_eq!(world.mailcow.inspect(|state| state.quarantine.len()), 0);
    let done = world.email(&["quarantine", "list"]).await;
    assert_eq!((done.code, done.out.as_str()), (0, ""));
    assert_eq!(world.email(&["quarantine", "delete"]).await.code, 2);

    let key = world.folder().join("key");
    std::fs::write(&key, world.mailcow.read_only_key()).unwrap();
    let (url, key) = (world.mailcow.url(), key.display().to_string());
    let done = world.email(&["quarantine", "delete", "1", "--mailcow-url", &url, "--mailcow-api-key-file", &key]).await;
    assert_eq!(done.code, 1);
    done.shows(&["is read-only; use the read-write key"]);
}
