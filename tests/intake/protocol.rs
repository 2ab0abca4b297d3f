//! What the worker promises, on a real Dovecot and a sink that misbehaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ground::{Deed, HttpSink, Received};
use mailcow_operator::intake::report::{AttemptResult, EventReason, Report};

use super::dovecot::{self, Dovecot};
use super::world::{Worker, folders, mailbox, message, options, queue, session, until, webhook, work};

const USER: &str = "dev@acme.test";
const QUEUE: &str = "Ops/Tasks/team/bugs@tracker";

struct Ground {
    dovecot: Dovecot,
    sink: HttpSink,
}

impl Ground {
    async fn new() -> Self {
        let dovecot = Dovecot::start();
        dovecot.add_mailbox(USER, &[QUEUE]);
        Self { dovecot, sink: HttpSink::start().await.unwrap() }
    }

    fn work(&self) -> mailcow_operator::intake::queue::Work {
        let mailboxes = vec![mailbox(USER, self.dovecot.port, vec![queue("bugs", "tracker")])];
        work(mailboxes, vec![webhook("tracker", &self.sink.url())])
    }

    fn worker(&self) -> Worker {
        Worker::start(self.work(), options())
    }

    fn deliver(&self, subject: &str) {
        self.dovecot.deliver("ada@example.com", &[USER], &message(subject));
    }

    async fn folders(&self) -> BTreeMap<&'static str, u32> {
        folders(USER, self.dovecot.port, QUEUE).await
    }

    async fn settled(&self, wanted: &[(&'static str, u32)]) {
        let wanted: BTreeMap<&str, u32> = wanted.iter().copied().collect();
        until(&format!("{wanted:?}"), async || self.folders().await == wanted).await;
    }
}

#[tokio::test]
async fn a_mail_becomes_one_request_and_goes_to_done() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let mut worker = ground.worker();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let since = Instant::now();
    ground.deliver("bug");
    until("the request", async || ground.sink.count() == 1).await;
    let took = since.elapsed();
    ground.settled(&[("Done", 1)]).await;
    let received = &ground.sink.received()[0];
    assert_eq!((received.method.as_str(), received.subject()), ("POST", "bug".to_owned()));
    assert_eq!(received.json()["Kubernetes"]["rule"], "bugs");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let mut person = session(USER, ground.dovecot.port).await;
    person.select("INBOX").await.unwrap();
    assert!(person.list(1, 1).await.unwrap()[0].flags.iter().all(|flag| flag != "\\Seen"), "the inbox is not touched");
    person.select(&format!("{QUEUE}/Done")).await.unwrap();
    assert!(person.list(1, 1).await.unwrap()[0].flags.iter().all(|flag| flag != "\\Seen"));
    until("the report", async || {
        worker
            .reports()
            .iter()
            .any(|report| matches!(report, Report::Folder(folder) if folder.delivered == 1 && folder.waiting == 0))
    })
    .await;
    assert!(
        worker
            .reports()
            .iter()
            .any(|report| matches!(report, Report::Attempt(a) if a.result == AttemptResult::Delivered))
    );
    assert!(worker.reports().iter().any(|report| matches!(report, Report::Scan(scan) if scan.failure.is_none())));
    worker.stop().await;
    assert_eq!(ground.sink.count(), 1);
}

#[tokio::test]
async fn mail_that_came_before_the_worker_is_delivered_too() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let mut lmtp = ground.dovecot.lmtp();
    for number in 0..40 {
        lmtp.deliver("ada@example.com", &[USER], &message(&format!("m{number}"))).unwrap();
    }
    let worker = ground.worker();
    ground.settled(&[("Done", 40)]).await;
    let mut subjects: Vec<String> = ground.sink.received().iter().map(Received::subject).collect();
    subjects.sort();
    subjects.dedup();
    assert_eq!((subjects.len(), ground.sink.count()), (40, 40));
    worker.stop().await;
}

#[tokio::test]
async fn a_try_that_fails_is_repeated_with_the_same_id_and_a_new_time() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|_, before| match before {
        0 => Deed::Refuse(500, ""),
        1 => Deed::Cut,
        2 => Deed::TakeAndCut,
        3 => Deed::TakeAndBabble,
        4 => Deed::TakeLate(Duration::from_secs(3)),
        _ => Deed::Take(204),
    });
    let worker = ground.worker();
    ground.deliver("bug");
    ground.settled(&[("Done", 1)]).await;
    let received = ground.sink.received();
    let ids: std::collections::BTreeSet<&str> = received.iter().map(Received::id).collect();
    let times: std::collections::BTreeSet<&String> =
        received.iter().map(|one| &one.headers["webhook-timestamp"]).collect();
    let attempts: Vec<i64> = received.iter().map(|one| one.json()["Kubernetes"]["attempt"].as_i64().unwrap()).collect();
    assert_eq!((ids.len(), attempts), (1, vec![1, 2, 3, 4, 5, 6]));
    assert!(times.len() >= 5 && received.iter().all(|one| one.headers.contains_key("webhook-signature")), "{times:?}");
    worker.stop().await;
}

#[tokio::test]
async fn what_the_sink_refuses_goes_to_failed_with_an_event_and_comes_back_on_request() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|_, _| Deed::Refuse(422, ""));
    let mut worker = ground.worker();
    ground.deliver("poison");
    ground.settled(&[("Failed", 1)]).await;
    let event = worker.event(EventReason::DeliveryFailed).await;
    assert!(event.message.contains("poison") && event.message.contains("422: no") && event.warning, "{event:?}");
    assert_eq!(ground.sink.count(), 1, "not tried again");
    let first = ground.sink.received()[0].id().to_owned();
    ground.sink.judge(|_, _| Deed::Take(200));
    let mut work = ground.work();
    work.mailboxes[0].folders[0].replay.rule = Some("2026-11-28T12:00:00Z".into());
    worker.set(work);
    ground.settled(&[("Done", 1)]).await;
    assert_eq!(ground.sink.received()[1].id(), first, "a replay is a new attempt of the same identity");
    worker.event(EventReason::Replayed).await;
    assert!(worker.reports().iter().any(|report| matches!(report, Report::Replayed { messages: 1, .. })));
    worker.stop().await;
}

#[tokio::test]
async fn tries_are_counted_in_the_mailbox_and_end_in_failed() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|_, _| Deed::Refuse(503, ""));
    ground.deliver("never");
    let mut work = ground.work();
    work.mailboxes[0].folders[0].limits.tries = 4;
    for number in 1..=2 {
        let worker = Worker::start(work.clone(), options());
        until("a try", async || ground.sink.count() >= number).await;
        worker.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut worker = Worker::start(work, options());
    ground.settled(&[("Failed", 1)]).await;
    let tries = ground.sink.count();
    assert!((3..=4).contains(&tries), "a process that ends in the middle counts its try: {tries}");
    worker.event(EventReason::DeliveryFailed).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_sink_that_asks_for_time_gets_it() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|_, before| if before == 0 { Deed::Refuse(429, "retry-after: 4\r\n") } else { Deed::Take(200) });
    let worker = ground.worker();
    ground.deliver("a");
    until("the first try", async || ground.sink.count() == 1).await;
    ground.deliver("b");
    ground.settled(&[("Done", 2)]).await;
    let received = ground.sink.received();
    let paused = received.iter().skip(1).map(|one| one.at - received[0].at).min().unwrap();
    assert!(paused >= Duration::from_secs(3), "the whole sink is left alone: {paused:?}");
    worker.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_gone_gets_nothing_until_it_changes() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|_, _| Deed::Refuse(410, ""));
    let mut worker = ground.worker();
    ground.deliver("a");
    ground.settled(&[("Failed", 1)]).await;
    ground.deliver("b");
    worker.event(EventReason::SinkDisabled).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((ground.sink.count(), ground.folders().await), (1, BTreeMap::from([("", 1), ("Failed", 1)])));
    ground.sink.judge(|_, _| Deed::Take(200));
    let mut work = ground.work();
    work.sinks.insert("tracker".into(), webhook("tracker", &format!("{}?new", ground.sink.url())));
    worker.set(work);
    ground.settled(&[("Failed", 1), ("Done", 1)]).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_gone_stays_so_for_the_next_worker_until_somebody_asks() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.deliver("a");
    let mut work = ground.work();
    work.disabled.insert("tracker".into());
    let mut worker = Worker::start(work.clone(), options());
    until("the report", async || {
        let blocked = |report: &Report| match report {
            Report::Folder(folder) => {
                folder.blocked.as_ref().is_some_and(|why| why.reason == EventReason::SinkDisabled)
            }
            _ => false,
        };
        worker.reports().iter().any(blocked)
    })
    .await;
    worker.event(EventReason::SinkDisabled).await;
    assert_eq!((ground.sink.count(), ground.folders().await), (0, BTreeMap::from([("", 1)])));
    work.mailboxes[0].folders[0].replay.rule = Some("1".into());
    worker.set(work);
    ground.settled(&[("Done", 1)]).await;
    until("the report that it works", async || {
        let last = worker.reports().iter().rev().find_map(|report| match report {
            Report::Folder(folder) => Some(folder.blocked.is_none()),
            _ => None,
        });
        last == Some(true)
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_sink_that_hangs_holds_up_no_other() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let other = HttpSink::start().await.unwrap();
    ground.sink.judge(|_, _| Deed::Hang);
    let second = queue("orders", "board");
    ground.dovecot.add_mailbox(USER, &[QUEUE, &second.folder]);
    let mut work = ground.work();
    work.mailboxes[0].folders.push(second.clone());
    work.sinks.insert("board".into(), webhook("board", &other.url()));
    let worker = Worker::start(work, options());
    until("the folders", async || folders(USER, ground.dovecot.port, &second.folder).await.is_empty()).await;
    let mut slowest = Duration::ZERO;
    for number in 0..15 {
        let since = Instant::now();
        ground.deliver(&format!("m{number}"));
        until("the other sink", async || other.count() == number + 1).await;
        slowest = slowest.max(since.elapsed());
    }
    println!("slowest beside a sink that hangs: {slowest:?}");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    worker.kill();
}

#[tokio::test]
async fn redirects_are_not_followed() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let secret = HttpSink::start().await.unwrap();
    let location: &'static str = format!("location: http://127.0.0.1:{}/metadata\r\n", secret.port).leak();
    ground.sink.judge(move |_, before| if before == 0 { Deed::Refuse(307, location) } else { Deed::Take(200) });
    let worker = ground.worker();
    ground.deliver("a");
    ground.settled(&[("Done", 1)]).await;
    assert_eq!((ground.sink.count(), secret.count()), (2, 0));
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_that_dies_after_the_sink_took_the_mail_repeats_with_the_same_id() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|_, before| if before == 0 { Deed::TakeLate(Duration::from_secs(30)) } else { Deed::Take(200) });
    let worker = ground.worker();
    ground.deliver("a");
    until("the sink has it", async || ground.sink.count() == 1).await;
    worker.kill();
    let worker = ground.worker();
    ground.settled(&[("Done", 1)]).await;
    let received = ground.sink.received();
    assert_eq!(received[0].id(), received[1].id());
    worker.stop().await;
}

#[tokio::test]
async fn two_workers_share_the_mail() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let workers = [ground.worker(), ground.worker()];
    let mut lmtp = ground.dovecot.lmtp();
    for number in 0..60 {
        lmtp.deliver("ada@example.com", &[USER], &message(&format!("m{number}"))).unwrap();
    }
    // In a close race both may win a claim; the identity is the same. Both then move it, which may leave it twice in Done.
    let mut folders = BTreeMap::new();
    until("all in Done", async || {
        let now = ground.folders().await;
        if now != folders {
            println!("{now:?}");
        }
        folders = now;
        folders.len() == 1 && folders.get("Done").is_some_and(|done| *done >= 60)
    })
    .await;
    let ids: std::collections::BTreeSet<String> =
        ground.sink.received().iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(ids.len(), 60);
    assert!(ground.sink.count() < 100, "{}", ground.sink.count());
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn the_senders_message_id_decides_nothing() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let worker = ground.worker();
    let same = b"From: a@b.test\nSubject: same\nMessage-ID: <same@b.test>\n\nx\n";
    let none = b"From: a@b.test\nSubject: none\n\nx\n";
    for message in [same.as_slice(), same, none, none, same] {
        ground.dovecot.deliver("a@b.test", &[USER], message);
    }
    ground.settled(&[("Done", 5)]).await;
    let ids: std::collections::BTreeSet<String> =
        ground.sink.received().iter().map(|one| one.id().to_owned()).collect();
    assert_eq!((ids.len(), ground.sink.count()), (5, 5));
    worker.stop().await;
}

#[tokio::test]
async fn automatic_mail_makes_no_task_unless_the_rule_wants_it() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let mut worker = ground.worker();
    let auto = b"From: a@b.test\nSubject: away\nAuto-Submitted: auto-replied\n\nx\n";
    let own = format!(
        "From: a@b.test\nSubject: own\nReferences: <1@{}>\n\nx\n",
        mailcow_operator::intake::identity::OWN_DOMAIN
    );
    ground.dovecot.deliver("a@b.test", &[USER], auto);
    ground.dovecot.deliver("", &[USER], &message("bounce"));
    ground.dovecot.deliver("a@b.test", &[USER], own.as_bytes());
    ground.deliver("person");
    ground.settled(&[("Done", 1), ("Skipped", 3)]).await;
    assert_eq!(ground.sink.received()[0].subject(), "person");
    worker.event(EventReason::AutomaticMailSkipped).await;
    let mut work = ground.work();
    work.mailboxes[0].folders[0].automatic = true;
    worker.set(work);
    tokio::time::sleep(Duration::from_millis(300)).await;
    ground.dovecot.deliver("a@b.test", &[USER], auto);
    ground.dovecot.deliver("", &[USER], &message("bounce"));
    ground.dovecot.deliver("a@b.test", &[USER], own.as_bytes());
    ground.settled(&[("Done", 3), ("Skipped", 4)]).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_flood_waits_and_others_do_not() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let mut work = ground.work();
    work.mailboxes[0].folders[0].limits.per_sender_and_hour = 3;
    let mut worker = Worker::start(work, options());
    for number in 0..6 {
        ground.deliver(&format!("flood{number}"));
    }
    ground.dovecot.deliver("bob@example.net", &[USER], b"From: bob@example.net\nSubject: calm\n\nx\n");
    ground.settled(&[("", 3), ("Done", 4)]).await;
    assert!(ground.sink.received().iter().any(|one| one.subject() == "calm"));
    let event = worker.event(EventReason::RateLimited).await;
    assert!(event.message.contains("more than 3 messages of one sender"), "{event:?}");
    worker.stop().await;
}

#[tokio::test]
async fn done_is_emptied_and_failed_never() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|one, _| if one.subject() == "bad" { Deed::Refuse(400, "") } else { Deed::Take(200) });
    let worker = ground.worker();
    ground.deliver("good");
    ground.deliver("bad");
    ground.settled(&[("Done", 1), ("Failed", 1)]).await;
    worker.stop().await;
    // A day later, as the server's files say.
    for folder in ["Done", "Failed"] {
        let folder = ground.dovecot.maildir(USER).join(format!(".Ops.Tasks.team.bugs@tracker.{folder}"));
        for part in ["cur", "new"] {
            for entry in std::fs::read_dir(folder.join(part)).unwrap().flatten() {
                let status = std::process::Command::new("touch").args(["-d", "3 days ago"]).arg(entry.path()).status();
                assert!(status.unwrap().success());
            }
        }
        for cache in ["dovecot.index", "dovecot.index.log", "dovecot.index.cache"] {
            let _ = std::fs::remove_file(folder.join(cache));
        }
    }
    let mut work = ground.work();
    work.mailboxes[0].folders[0].keep_done = Some(Duration::from_hours(24));
    let worker = Worker::start(work, options());
    ground.settled(&[("Failed", 1)]).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_folder_that_is_deleted_and_made_again_is_worked_on() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let worker = ground.worker();
    ground.deliver("a");
    ground.settled(&[("Done", 1)]).await;
    let folder = ground.dovecot.maildir(USER).join(".Ops.Tasks.team.bugs@tracker");
    std::fs::remove_dir_all(&folder).unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    ground.deliver("b");
    ground.settled(&[("Done", 2)]).await;
    assert_eq!(ground.sink.count(), 2);
    worker.stop().await;
}

#[tokio::test]
async fn lost_uids_double_nothing() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let is_open = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&is_open);
    ground.sink.judge(move |_, _| if open.load(Ordering::Relaxed) { Deed::Take(200) } else { Deed::TakeAndCut });
    let mut worker = ground.worker();
    ground.deliver("a");
    until("a try", async || ground.sink.count() >= 1).await;
    let folder = ground.dovecot.maildir(USER).join(".Ops.Tasks.team.bugs@tracker");
    for name in ["dovecot-uidlist", "dovecot.index", "dovecot.index.log", "dovecot.index.cache"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    is_open.store(true, Ordering::Relaxed);
    let settled = tokio::time::timeout(Duration::from_secs(25), ground.settled(&[("Done", 1)])).await;
    let tries: Vec<_> = ground.sink.received().iter().map(|one| (one.at, one.id().to_owned())).collect();
    assert!(settled.is_ok(), "{:?} {tries:?} {:#?}", ground.folders().await, worker.reports());
    let ids: std::collections::BTreeSet<String> =
        ground.sink.received().iter().map(|one| one.id().to_owned()).collect();
    println!("ids after lost UIDs: {ids:?}");
    assert_eq!(ids.len(), 1);
    worker.stop().await;
}

#[tokio::test]
async fn more_mailboxes_than_connections_take_turns() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let users: Vec<String> = (0..12).map(|number| format!("u{number}@acme.test")).collect();
    for user in &users {
        ground.dovecot.add_mailbox(user, &[QUEUE]);
    }
    let mailboxes =
        users.iter().map(|user| mailbox(user, ground.dovecot.port, vec![queue("bugs", "tracker")])).collect();
    let options = mailcow_operator::intake::queue::Options { connections: 3, ..options() };
    let worker = Worker::start(work(mailboxes, vec![webhook("tracker", &ground.sink.url())]), options);
    for round in 1..=2 {
        for user in &users {
            ground.dovecot.deliver("ada@example.com", &[user], &message(&format!("{user}{round}")));
        }
        until("all mailboxes", async || ground.sink.count() == users.len() * round).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_rule_that_goes_and_comes_back_loses_nothing() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    let worker = ground.worker();
    ground.deliver("a");
    ground.settled(&[("Done", 1)]).await;
    worker.set(work(vec![], vec![webhook("tracker", &ground.sink.url())]));
    tokio::time::sleep(Duration::from_secs(1)).await;
    ground.deliver("b");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(ground.sink.count(), 1);
    worker.set(ground.work());
    ground.settled(&[("Done", 2)]).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_server_that_crashes_is_found_again() {
    if !dovecot::is_there() {
        return;
    }
    let mut ground = Ground::new().await;
    let worker = ground.worker();
    ground.deliver("a");
    ground.settled(&[("Done", 1)]).await;
    ground.dovecot.crash();
    ground.deliver("b");
    ground.settled(&[("Done", 2)]).await;
    worker.stop().await;
}

#[tokio::test]
async fn copies_of_a_former_action_are_reported_and_a_replay_takes_them() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|one, _| if one.subject() == "bad" { Deed::Refuse(422, "") } else { Deed::Refuse(503, "") });
    let worker = ground.worker();
    ground.deliver("bad");
    ground.deliver("waits");
    ground.settled(&[("", 1), ("Failed", 1)]).await;
    worker.stop().await;
    // The sink of the action changes.
    let other = HttpSink::start().await.unwrap();
    let new = queue("bugs", "board");
    let mut work = work(
        vec![mailbox(USER, ground.dovecot.port, vec![new.clone()])],
        vec![webhook("tracker", &ground.sink.url()), webhook("board", &other.url())],
    );
    let mut worker = Worker::start(work.clone(), options());
    let mut orphaned = None;
    until("the report", async || {
        orphaned = worker.reports().iter().find_map(|report| match report {
            Report::Orphaned { folders, .. } => folders.first().cloned(),
            _ => None,
        });
        orphaned.is_some()
    })
    .await;
    let orphaned = orphaned.unwrap();
    assert_eq!((orphaned.folder.as_str(), orphaned.waiting, orphaned.failed), (QUEUE, 1, 1));
    assert_eq!(other.count(), 0, "nobody asked for them");
    // With two actions nobody knows where they belong.
    let third = queue("bugs", "wiki");
    work.mailboxes[0].folders.push(third.clone());
    work.mailboxes[0].folders.iter_mut().for_each(|folder| folder.replay.rule = Some("1".into()));
    worker.set(work.clone());
    until("both replays", async || {
        worker.reports().iter().filter(|report| matches!(report, Report::Replayed { messages: 0, .. })).count() == 2
    })
    .await;
    ground.settled(&[("", 1), ("Failed", 1)]).await;
    // With one they go there.
    work.mailboxes[0].folders.truncate(1);
    work.mailboxes[0].folders[0].replay.rule = Some("2".into());
    worker.set(work);
    until("both tasks", async || other.count() == 2).await;
    until("the queue", async || folders(USER, ground.dovecot.port, &new.folder).await.get("Done") == Some(&2)).await;
    ground.settled(&[]).await;
    until("the report of none", async || {
        let last = worker.reports().iter().rev().find_map(|report| match report {
            Report::Orphaned { folders, .. } => Some(folders.len()),
            _ => None,
        });
        last == Some(0)
    })
    .await;
    worker.stop().await;
}

#[tokio::test]
async fn a_replay_that_is_done_is_not_repeated_for_another_request() {
    if !dovecot::is_there() {
        return;
    }
    let ground = Ground::new().await;
    ground.sink.judge(|_, _| Deed::Refuse(422, ""));
    ground.deliver("poison");
    let mut work = ground.work();
    work.mailboxes[0].folders[0].replay.mailbox = Some("m".into());
    work.mailboxes[0].folders[0].replay.rule = Some("r".into());
    let mut worker = Worker::start(work.clone(), options());
    ground.settled(&[("Failed", 1)]).await;
    let tries = ground.sink.count();
    // The rule's request is handled; the mailbox's is not yet.
    work.mailboxes[0].folders[0].replay.rule = None;
    worker.set(work);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ground.sink.count(), tries);
    let replays = worker.reports().iter().filter(|report| matches!(report, Report::Replayed { .. })).count();
    assert_eq!(replays, 1);
    worker.stop().await;
}
