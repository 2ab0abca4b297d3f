//! How Dovecot really behaves, and that the session reads it right. Each test is a fact that the worker rests on.

use std::time::Duration;

use mailcow_operator::intake::imap::{Endpoint, Error, Idle, Session};
use mailcow_operator::intake::queue::{ImapServer, ImapTls};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::dovecot::{self, Dovecot};
use super::world::{message, session};

const USER: &str = "dev@acme.test";
const QUEUE: &str = "Ops/Tasks/team/bugs@tracker";

/// A mailbox with messages in its queue folder.
fn prepared(count: usize) -> Dovecot {
    let server = Dovecot::start();
    server.add_mailbox(USER, &[QUEUE]);
    for number in 0..count {
        server.deliver("ada@example.com", &[USER], &message(&format!("m{number}")));
    }
    server
}

/// A client that shows every line.
pub(crate) struct Raw(BufReader<TcpStream>);

impl Raw {
    /// A session of a mailbox.
    pub(crate) async fn open(server: &Dovecot, user: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let mut raw = Self(BufReader::new(stream));
        let mut greeting = String::new();
        raw.0.read_line(&mut greeting).await.unwrap();
        raw.send(&format!("LOGIN {user} secret")).await;
        raw
    }

    /// Sends a command; gives all lines until it ends.
    pub(crate) async fn send(&mut self, command: &str) -> String {
        self.0.get_mut().write_all(format!("x {command}\r\n").as_bytes()).await.unwrap();
        let mut all = String::new();
        loop {
            let mut line = Vec::new();
            let count = self.0.read_until(b'\n', &mut line).await.unwrap();
            let line = String::from_utf8_lossy(&line).into_owned();
            all.push_str(&line);
            if line.starts_with("x ") || count == 0 {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn a_list_has_all_that_decides() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(2);
    let mut ours = session(USER, server.port).await;
    let selected = ours.select(QUEUE).await.unwrap();
    assert!(selected.messages == 2 && selected.uid_validity > 0 && selected.uid_next == 3, "{selected:?}");
    let listed = ours.list(1, 2).await.unwrap();
    assert_eq!(listed.iter().map(|message| message.uid).collect::<Vec<_>>(), [1, 2]);
    assert!(
        listed.iter().all(|m| m.stable_id.len() > 10 && m.size > 100 && m.mod_seq > 0 && m.arrived > 1_700_000_000)
    );
    assert!(listed[0].stable_id != listed[1].stable_id);
    assert_eq!(ours.list_from(2).await.unwrap().len(), 1);
    assert_eq!(ours.list_from(3).await.unwrap().len(), 0, "`3:*` also names the last message");
    assert!(
        matches!(ours.list(1, 10).await, Err(Error::Refused { not_understood: true, .. })),
        "beyond the last message"
    );
    let bodies = ours.bodies(&[1, 2], None).await.unwrap();
    assert!(String::from_utf8_lossy(&bodies[&1]).contains("Hello from m0"));
    assert!(!ours.list(1, 2).await.unwrap().iter().any(|m| m.flags.iter().any(|flag| flag == "\\Seen")));
}

#[tokio::test]
async fn a_claim_on_a_message_that_was_moved_away_is_a_plain_ok() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(2);
    let (mut ours, mut other) = (session(USER, server.port).await, session(USER, server.port).await);
    let mut raw = Raw::open(&server, USER).await;
    ours.select(QUEUE).await.unwrap();
    let listed = ours.list(1, 2).await.unwrap();
    raw.send(&format!("SELECT \"{QUEUE}\" (CONDSTORE)")).await;
    raw.send("FETCH 1:* (UID MODSEQ)").await;
    other.select(QUEUE).await.unwrap();
    other.move_to(&[1], "Elsewhere").await.unwrap();
    let answer = raw.send(&format!("UID STORE 1 (UNCHANGEDSINCE {}) +FLAGS ($IntakeTry1)", listed[0].mod_seq)).await;
    assert!(answer.contains("x OK") && !answer.contains("MODIFIED") && !answer.contains("FETCH"), "{answer}");
    let claimed = ours.claim(&[1, 2], "$IntakeTry1", listed[1].mod_seq).await.unwrap();
    assert_eq!(claimed, [2], "only what is shown with the keyword is won");
}

#[tokio::test]
async fn of_two_sessions_one_wins_each_message() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(60);
    let claims = async |mut ours: Session| {
        ours.select(QUEUE).await.unwrap();
        let listed = ours.list(1, 60).await.unwrap();
        let mut won = Vec::new();
        for message in listed {
            won.extend(ours.claim(&[message.uid], "$IntakeTry1", message.mod_seq).await.unwrap());
            tokio::task::yield_now().await;
        }
        won
    };
    let (a, b) = (session(USER, server.port).await, session(USER, server.port).await);
    let (a, b) = tokio::join!(claims(a), claims(b));
    let mut all = [a.clone(), b.clone()].concat();
    all.sort_unstable();
    let won = all.len();
    all.dedup();
    // Dovecot's condition is not airtight: in a close race both may win, as 1 of 60 did in one run. Then both send the
    // message with the same identity.
    println!("{} messages were won by both", won - all.len());
    assert_eq!(all, (1..=60).collect::<Vec<u32>>(), "{a:?} {b:?}");
    assert!(won - all.len() <= 6, "{a:?} {b:?}");
}

#[tokio::test]
async fn a_message_that_is_gone_has_no_body_and_can_not_be_moved() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(3);
    let (mut ours, mut other) = (session(USER, server.port).await, session(USER, server.port).await);
    let mut raw = Raw::open(&server, USER).await;
    ours.select(QUEUE).await.unwrap();
    raw.send(&format!("SELECT \"{QUEUE}\"")).await;
    other.select(QUEUE).await.unwrap();
    other.delete(&[2]).await.unwrap();
    let answer = raw.send("UID FETCH 2 (RFC822.SIZE INTERNALDATE BODY.PEEK[])").await;
    println!("a FETCH of what is gone: {answer}");
    let bodies = ours.bodies(&[1, 2, 3], None).await.unwrap();
    assert_eq!(bodies.keys().copied().collect::<Vec<_>>(), [1, 3]);
    let moved = ours.move_to(&[1, 2], "Elsewhere").await;
    println!("a MOVE of what is gone: {moved:?}");
    assert!(matches!(moved, Err(Error::Refused { no_folder: false, .. }) | Ok(_)), "{moved:?}");
    ours.select(QUEUE).await.unwrap();
    let left = ours.existing(&[1, 2, 3]).await.unwrap();
    assert!(!left.contains(&2) && left.contains(&3));
}

#[tokio::test]
async fn a_folder_that_was_deleted_and_made_again_is_another_one() {
    if !dovecot::is_there() {
        return;
    }
    let mut server = prepared(2);
    let mut ours = session(USER, server.port).await;
    let before = ours.select(QUEUE).await.unwrap();
    let mut raw = Raw::open(&server, USER).await;
    raw.send(&format!("DELETE \"{QUEUE}\"")).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    server.deliver("ada@example.com", &[USER], &message("new"));
    let old = ours.list(1, 2).await;
    println!("the old session lists {old:?} and has selected {:?}", ours.selected());
    let after = match ours.select(QUEUE).await {
        Ok(after) => after,
        // The server may have ended the session instead.
        Err(_) => session(USER, server.port).await.select(QUEUE).await.unwrap(),
    };
    assert!(after.uid_validity != before.uid_validity && after.messages == 1, "{before:?} {after:?}");
    server.crash();
}

#[tokio::test]
async fn folders_that_are_not_there_are_made() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(1);
    let mut ours = session(USER, server.port).await;
    assert!(matches!(ours.select("Nowhere").await, Err(Error::Refused { no_folder: true, .. })));
    assert_eq!(ours.counts("Nowhere").await.unwrap(), None);
    ours.select(QUEUE).await.unwrap();
    assert_eq!(ours.move_to(&[1], &format!("{QUEUE}/Done")).await.unwrap(), [1]);
    assert_eq!(ours.counts(&format!("{QUEUE}/Done")).await.unwrap().unwrap().messages, 1);
    ours.create(QUEUE).await.unwrap();
    ours.create(QUEUE).await.unwrap();
}

#[tokio::test]
async fn the_stable_id_outlives_moves_and_lost_uids() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(1);
    let mut ours = session(USER, server.port).await;
    ours.select(QUEUE).await.unwrap();
    let id = ours.list(1, 1).await.unwrap()[0].stable_id.clone();
    ours.add_keyword(&[1], "$IntakeTry1").await.unwrap();
    let failed = format!("{QUEUE}/Failed");
    ours.move_to(&[1], &failed).await.unwrap();
    ours.select(&failed).await.unwrap();
    let moved = ours.list(1, 1).await.unwrap()[0].clone();
    assert!(moved.stable_id == id && moved.flags.iter().any(|flag| flag == "$IntakeTry1"), "{moved:?} {id}");
    ours.move_to(&[moved.uid], QUEUE).await.unwrap();
    let before = ours.select(QUEUE).await.unwrap();
    assert_eq!(ours.list(1, 1).await.unwrap()[0].stable_id, id);
    drop(ours);
    let folder = server.maildir(USER).join(".Ops.Tasks.team.bugs@tracker");
    for entry in std::fs::read_dir(&folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("dovecot") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let mut ours = session(USER, server.port).await;
    let after = ours.select(QUEUE).await.unwrap();
    let listed = ours.list(1, 1).await.unwrap();
    assert_ne!(before.uid_validity, after.uid_validity);
    // Of a message that came back to a folder, only dovecot-uidlist has the id.
    assert_ne!(listed[0].stable_id, id);
}

#[tokio::test]
async fn a_search_for_a_keyword_makes_it_and_a_long_one_is_refused() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(1);
    let mut raw = Raw::open(&server, USER).await;
    raw.send(&format!("SELECT \"{QUEUE}\"")).await;
    raw.send("SEARCH UNKEYWORD $Never").await;
    let again = raw.send(&format!("SELECT \"{QUEUE}\"")).await;
    println!("after the search: {}", again.lines().find(|line| line.contains("FLAGS")).unwrap_or_default());
    let long = raw.send(&format!("STORE 1 +FLAGS ({})", "k".repeat(51))).await;
    assert!(long.contains("x NO"), "{long}");
    let fits = raw
        .send(
            "STORE 1 +FLAGS ($IntakeTry1 $IntakeTry2 $IntakeTry3 $IntakeTry4 $IntakeTry5 $IntakeTry6 \
                        $IntakeTry7 $IntakeTry8 $IntakeTry9 $IntakeTry10 $IntakeDelivered)",
        )
        .await;
    assert!(fits.contains("x OK"), "{fits}");
    let names = std::fs::read_dir(server.maildir(USER).join(".Ops.Tasks.team.bugs@tracker/cur")).unwrap();
    let name = names.flatten().next().unwrap().file_name().to_string_lossy().into_owned();
    let letters = name.rsplit_once(":2,").unwrap().1.chars().filter(char::is_ascii_lowercase).count();
    assert_eq!(letters, 11, "all of the worker's keywords are in the file's name: {name}");
}

#[tokio::test]
async fn two_recipients_of_one_transaction_have_no_delivered_to() {
    if !dovecot::is_there() {
        return;
    }
    let server = Dovecot::start();
    for user in [USER, "ops@acme.test"] {
        server.add_mailbox(user, &[QUEUE]);
    }
    server.deliver("ada@example.com", &[USER], &message("one"));
    server.deliver("ada@example.com", &[USER, "ops@acme.test"], &message("two"));
    let mut ours = session(USER, server.port).await;
    ours.select(QUEUE).await.unwrap();
    let bodies = ours.bodies(&[1, 2], None).await.unwrap();
    let has = |uid: u32| String::from_utf8_lossy(&bodies[&uid]).contains("Delivered-To:");
    assert!(has(1) && !has(2));
}

#[tokio::test]
async fn news_come_from_all_folders() {
    if !dovecot::is_there() {
        return;
    }
    let second = "Ops/Notes/team/bugs@wiki";
    let server = Dovecot::start();
    server.add_mailbox(USER, &[QUEUE]);
    let mut ours = session(USER, server.port).await;
    ours.create(QUEUE).await.unwrap();
    ours.create(second).await.unwrap();
    ours.select(QUEUE).await.unwrap();
    assert!(ours.notify(&[QUEUE, second]).await.unwrap());
    for folder in [QUEUE, second] {
        server.add_mailbox(USER, &[folder]);
        ours.start_idle().await.unwrap();
        server.deliver("ada@example.com", &[USER], &message("m"));
        let since = Instant::now();
        let news = ours.news(Instant::now() + Duration::from_secs(20)).await.unwrap();
        println!("news of {folder} after {:?}", since.elapsed());
        assert_eq!(news, Idle::Changed(folder.to_owned()));
        ours.stop_idle().await.unwrap();
    }
}

#[tokio::test]
async fn logins_and_certificates_are_judged() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(0);
    let limit = Duration::from_secs(10);
    let open = async |host: &str, port: u16, tls: ImapTls, ca: &str, password: &str| {
        let imap = ImapServer { host: host.into(), port, tls, ca: ca.as_bytes().to_vec() };
        match Endpoint::new(imap.into()) {
            Ok(endpoint) => Session::open(&endpoint, USER, &password.into(), limit).await.map(|_| ()),
            Err(error) => Err(error),
        }
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (plain, tls, ca) = (server.port, server.tls_port, server.ca.as_str());
    assert_eq!(open("localhost", tls, ImapTls::Implicit, ca, "secret").await, Ok(()));
    assert_eq!(open("localhost", plain, ImapTls::StartTls, ca, "secret").await, Ok(()));
    assert_eq!(open("127.0.0.1", plain, ImapTls::Plaintext, "", "secret").await, Ok(()));
    assert!(matches!(open("localhost", tls, ImapTls::Implicit, ca, "wrong").await, Err(Error::Login(_))));
    assert!(matches!(open("localhost", tls, ImapTls::Implicit, "", "secret").await, Err(Error::Certificate(_))));
    assert!(matches!(open("127.0.0.1", tls, ImapTls::Implicit, ca, "secret").await, Err(Error::Certificate(_))));
    assert!(matches!(open("localhost", tls, ImapTls::Implicit, "nonsense", "secret").await, Err(Error::Invalid(_))));
    assert!(matches!(
        open("127.0.0.1", dovecot::free_port(), ImapTls::Plaintext, "", "secret").await,
        Err(Error::Unreachable(_))
    ));
}

#[tokio::test]
async fn a_list_of_folders_has_those_that_can_be_selected() {
    if !dovecot::is_there() {
        return;
    }
    let server = prepared(1);
    let mut raw = Raw::open(&server, USER).await;
    raw.send("CREATE \"Ops/Tasks/other/a@b/Failed\"").await;
    raw.send("CREATE \"Ops/Tasks/&AOQ-/x@y\"").await;
    let mut ours = session(USER, server.port).await;
    let mut names = ours.folders_below("Ops/Tasks").await.unwrap();
    names.sort();
    // Those above a folder are not there by themselves.
    assert_eq!(names, ["Ops/Tasks/&AOQ-/x@y", "Ops/Tasks/other/a@b/Failed", QUEUE]);
    assert_eq!(ours.folders_below("Ops/Notes").await.unwrap(), Vec::<String>::new());
    ours.close().await;
}
