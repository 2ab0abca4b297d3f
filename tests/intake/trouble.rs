//! What a person sees when something is configured wrongly; and that nothing is lost meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ground::{Deed, HttpSink};
use mailcow_operator::intake::report::{EventReason, Report};
use mailcow_operator::intake::sink::{Access, Sink, SinkKind, Webhook};

use super::dovecot::{self, Dovecot};
use super::proxy::{Fault, Proxy};
use super::world::{Worker, folders, mailbox, message, options, queue, until, webhook, work};

const USER: &str = "dev@acme.test";
const QUEUE: &str = "Ops/Tasks/team/bugs@tracker";

fn prepared() -> Dovecot {
    let dovecot = Dovecot::start();
    dovecot.add_mailbox(USER, &[QUEUE]);
    dovecot.deliver("ada@example.com", &[USER], &message("bug"));
    dovecot
}

#[tokio::test]
async fn a_refused_app_password_is_an_event_and_a_new_one_helps_at_once() {
    if !dovecot::is_there() {
        return;
    }
    let (dovecot, sink) = (prepared(), HttpSink::start().await.unwrap());
    let mut wrong = mailbox(USER, dovecot.port, vec![queue("bugs", "tracker")]);
    wrong.password = "old".into();
    let mut worker = Worker::start(work(vec![wrong], vec![webhook("tracker", &sink.url())]), options());
    let event = worker.event(EventReason::LoginRejected).await;
    assert!(event.message.contains("the app password may be wrong") && !event.message.contains("old"), "{event:?}");
    let has_failure = |report: &Report| matches!(report, Report::Scan(scan) if scan.failure.is_some());
    assert!(worker.reports().iter().any(has_failure));
    worker.set(work(
        vec![mailbox(USER, dovecot.port, vec![queue("bugs", "tracker")])],
        vec![webhook("tracker", &sink.url())],
    ));
    until("the new password", async || sink.count() == 1).await;
    // A password that is replaced on the server ends no delivery for ever.
    dovecot.set_password(USER, Some("other"));
    worker.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_missing_or_configured_wrongly_holds_mail_back() {
    if !dovecot::is_there() {
        return;
    }
    let (dovecot, sink) = (prepared(), HttpSink::start().await.unwrap());
    let mailboxes = || vec![mailbox(USER, dovecot.port, vec![queue("bugs", "tracker")])];
    let mut worker = Worker::start(work(mailboxes(), vec![]), options());
    let event = worker.event(EventReason::SinkNotFound).await;
    assert!(event.message.contains("\"tracker\""), "{event:?}");
    let is_blocked =
        |report: &Report| matches!(report, Report::Folder(folder) if folder.blocked.is_some() && folder.waiting == 1);
    until("the report", async || worker.reports().iter().any(is_blocked)).await;
    let webhook_with = |url: &str, access: Access, secret: &str| {
        let webhook = Webhook { url: url.into(), signing_secrets: vec![secret.into()], raw_email: false };
        Arc::new(Sink { name: "tracker".into(), kind: SinkKind::Webhook(webhook), access })
    };
    let private = Access { allow_private: true, ..Access::default() };
    for (bad, words) in [
        (webhook_with(&sink.url(), Access::default(), super::world::SECRET), "not public"),
        (webhook_with(&sink.url(), Access { ca: b"x".to_vec(), ..private.clone() }, super::world::SECRET), "ca.crt"),
        (webhook_with(&sink.url(), private.clone(), "not base64"), "signing secret"),
    ] {
        worker.set(work(mailboxes(), vec![bad]));
        until(words, async || {
            worker
                .events()
                .iter()
                .any(|event| event.reason == EventReason::SinkInvalid && event.message.contains(words))
        })
        .await;
    }
    // A name that leads to an address of this machine is refused too.
    let by_name = webhook_with(&format!("http://localhost:{}/", sink.port), Access::default(), super::world::SECRET);
    worker.set(work(mailboxes(), vec![by_name]));
    until("the name's address", async || worker.reports().iter().any(|report| matches!(report, Report::Attempt(_))))
        .await;
    assert_eq!(sink.count(), 0);
    worker.set(work(mailboxes(), vec![webhook("tracker", &sink.url())]));
    until("the right sink", async || sink.count() == 1).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_sink_that_fails_is_an_event_and_messages_wait() {
    if !dovecot::is_there() {
        return;
    }
    let (dovecot, sink) = (prepared(), HttpSink::start().await.unwrap());
    sink.judge(|_, _| Deed::Refuse(500, ""));
    for number in 0..8 {
        dovecot.deliver("ada@example.com", &[USER], &message(&format!("m{number}")));
    }
    let mailboxes = vec![mailbox(USER, dovecot.port, vec![queue("bugs", "tracker")])];
    let mut worker = Worker::start(work(mailboxes, vec![webhook("tracker", &sink.url())]), options());
    let event = worker.event(EventReason::SinkFailing).await;
    assert!(event.message.contains("it answered 500"), "{event:?}");
    sink.judge(|_, _| Deed::Take(200));
    until("all of them", async || folders(USER, dovecot.port, QUEUE).await == BTreeMap::from([("Done", 9)])).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_server_that_is_away_is_reported_and_found_again() {
    if !dovecot::is_there() {
        return;
    }
    let sink = HttpSink::start().await.unwrap();
    let port = dovecot::free_port();
    let mailboxes = |port| vec![mailbox(USER, port, vec![queue("bugs", "tracker")])];
    let mut worker = Worker::start(work(mailboxes(port), vec![webhook("tracker", &sink.url())]), options());
    until("the report", async || {
        worker.reports().iter().any(|report| {
            matches!(report, Report::Scan(scan) if scan.failure.as_ref().is_some_and(|f| f.reason == EventReason::MailboxUnreachable))
        })
    })
    .await;
    let dovecot = prepared();
    worker.set(work(mailboxes(dovecot.port), vec![webhook("tracker", &sink.url())]));
    until("the task", async || sink.count() == 1).await;
    worker.stop().await;
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test]
async fn a_mailbox_without_a_session_takes_no_place_at_the_sink() {
    if !dovecot::is_there() {
        return;
    }
    let (dovecot, sink) = (prepared(), HttpSink::start().await.unwrap());
    let other = "ops@acme.test";
    dovecot.add_mailbox(other, &[QUEUE]);
    // One request at a time: the first one takes long, the other mailbox waits for the place.
    sink.judge(|received, _| match received.subject().as_str() {
        "slow" => Deed::TakeLate(Duration::from_millis(1_700)),
        _ => Deed::Take(200),
    });
    let mut narrow = (*webhook("tracker", &sink.url())).clone();
    narrow.access.concurrency = 1;
    let proxy = Proxy::start(dovecot.port, |_, _| Fault::None, || {}).await;
    let mailboxes = vec![
        mailbox(other, dovecot.port, vec![queue("bugs", "tracker")]),
        mailbox(USER, proxy.port, vec![queue("bugs", "tracker")]),
    ];
    let worker = Worker::start(work(mailboxes, vec![Arc::new(narrow)]), options());
    until("the first task", async || sink.count() == 1).await;
    dovecot.deliver("ada@example.com", &[other], &message("slow"));
    until("the slow request", async || sink.count() == 2).await;
    dovecot.deliver("ada@example.com", &[USER], &message("waits"));
    tokio::time::sleep(Duration::from_millis(800)).await;
    // Its server is away from now on.
    drop(proxy);
    for number in 0..3 {
        dovecot.deliver("ada@example.com", &[other], &message(&format!("m{number}")));
    }
    until("the mail of the other mailbox", async || sink.count() >= 5).await;
    worker.kill();
}

#[tokio::test]
async fn the_worker_ends_after_its_deliveries_and_reports_them() {
    if !dovecot::is_there() {
        return;
    }
    let (dovecot, sink) = (prepared(), HttpSink::start().await.unwrap());
    sink.judge(|_, _| Deed::TakeLate(Duration::from_millis(1_500)));
    let mailboxes = vec![mailbox(USER, dovecot.port, vec![queue("bugs", "tracker")])];
    let worker = Worker::start(work(mailboxes, vec![webhook("tracker", &sink.url())]), options());
    until("the request", async || sink.count() == 1).await;
    let reports = worker.stop().await;
    assert!(
        reports.iter().any(|report| matches!(report, Report::Folder(folder) if folder.delivered == 1)),
        "{reports:#?}"
    );
    assert_eq!(folders(USER, dovecot.port, QUEUE).await, BTreeMap::from([("Done", 1)]));
}

#[tokio::test]
async fn no_delivery_runs_after_the_end_although_the_session_broke() {
    if !dovecot::is_there() {
        return;
    }
    let (dovecot, sink) = (prepared(), HttpSink::start().await.unwrap());
    sink.judge(|_, _| Deed::TakeLate(Duration::from_millis(1_500)));
    let proxy = Proxy::start(dovecot.port, |_, _| Fault::None, || {}).await;
    let mailboxes = vec![mailbox(USER, proxy.port, vec![queue("bugs", "tracker")])];
    let worker = Worker::start(work(mailboxes, vec![webhook("tracker", &sink.url())]), options());
    until("the request", async || sink.count() == 1).await;
    let since = std::time::Instant::now();
    drop(proxy);
    worker.stop().await;
    // Another instance may work from now on.
    assert!(since.elapsed() >= Duration::from_millis(1_200), "{:?}", since.elapsed());
}
