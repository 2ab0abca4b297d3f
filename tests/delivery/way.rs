//! The way from a mail to a task: LMTP, a rule's script, IMAP, a signed request, and the status of the rule.

use std::time::Duration;

use ground::{HttpSink, Operator};
use mailcow_operator::crd::DeliveredStatus;
use mailcow_operator::intake::payload::Signer;
use secrecy::SecretString;

use super::dovecot::{self, Dovecot};
use super::site::{BUGS, OBJECTS, Site};

const KEY: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

fn mail(subject: &str) -> String {
    format!(
        "Message-ID: <{:016x}@vendor.test>\nDate: Sat, 28 Nov 2026 12:00:00 +0000\nFrom: Alice <alice@vendor.test>\n\
         To: support@example.com\nSubject: {subject}\n\nIt crashes at start.\n",
        rand::random::<u64>()
    )
}

/// Everything running: a site with a rule, a Dovecot with its script, a sink, and the worker.
struct Way {
    site: Site,
    dovecot: Dovecot,
    receiver: HttpSink,
    worker: Operator,
}

impl Way {
    /// Nothing where there is no Dovecot.
    async fn new(name: &str) -> Option<Self> {
        Self::signed(name, true).await
    }

    async fn signed(name: &str, has_key: bool) -> Option<Self> {
        if !dovecot::is_there() {
            return None;
        }
        let receiver = HttpSink::start().await.unwrap();
        let sinks = format!(
            "[{{name: tracker, webhook: {{url: '{}', allowPrivate: true, signingKeys: [{{secretName: tracker-hook}}]}}, namespaces: ['*']}}]",
            receiver.url()
        );
        let site = Site::new(name, &sinks).await;
        if has_key {
            make_key(&site).await;
        }
        site.apply(&format!("{OBJECTS}{BUGS}")).await;
        site.settled().await;
        let dovecot = Dovecot::start(&site.mailcow);
        site.until("the script on Mailcow", async || {
            let scripts = site.mailcow.inspect(|state| state.filters.values().filter(|f| f.active).count());
            if scripts == 1 { Ok(()) } else { Err(format!("{scripts} scripts")) }
        })
        .await;
        dovecot.take_filters(&site.mailcow);
        let worker = site.start_worker(dovecot.port);
        Some(Self { site, dovecot, receiver, worker })
    }

    fn deliver(&self, subject: &str) {
        self.dovecot.deliver("support@example.com", &mail(subject));
    }

    async fn delivered(&self, what: &str, is_so: impl Fn(&DeliveredStatus) -> bool) -> DeliveredStatus {
        let found = ground::wait_until(super::site::LIMIT, what, async || {
            let status = self.site.rule("bugs").await.status.unwrap_or_default().delivered;
            match status {
                Some(status) if is_so(&status) => Ok(status),
                other => Err(format!("{other:?}")),
            }
        });
        found.await.unwrap_or_else(|error| {
            panic!("{error}\n--- worker\n{}\n--- dovecot\n{}", self.worker.logs(), self.dovecot.log())
        })
    }
}

async fn make_key(site: &Site) {
    // As docs/intake.md says.
    let key = format!("--from-literal=key={KEY}");
    site.kubectl_in(&site.namespace, &["create", "secret", "generic", "tracker-hook", &key]).await;
}

#[tokio::test]
async fn a_mail_becomes_a_signed_task_once_and_the_rule_says_so() {
    let Some(way) = Way::new("way").await else { return };
    way.deliver("the printer burns");
    let status = way.delivered("one delivered", |status| status.total == 1 && status.waiting == 0).await;
    assert_eq!((status.failed, status.reason.as_deref()), (0, None));
    assert!(status.last_time.is_some());
    let [received] = way.receiver.received().try_into().unwrap_or_else(|all| panic!("{all:?}"));
    let json = received.json();
    assert_eq!(json["Subject"], "the printer burns");
    assert_eq!(json["From"], "alice@vendor.test");
    let kubernetes = &json["Kubernetes"];
    assert_eq!((&kubernetes["title"], &kubernetes["rule"]), (&"Bug: the printer burns".into(), &"bugs".into()));
    assert_eq!(
        (&kubernetes["namespace"], &kubernetes["labels"]),
        (&way.site.users.clone().into(), &vec!["mail"].into())
    );
    let (id, stamp) = (received.header("webhook-id"), received.header("webhook-timestamp"));
    let signed = Signer::new(&[SecretString::from(KEY)]).unwrap().headers(id, stamp.parse().unwrap(), &received.body);
    assert_eq!(received.header("webhook-signature"), signed.last().unwrap().1);
    // Not once more, also after a restart; and the count stays.
    let Way { site, dovecot, receiver, mut worker } = way;
    worker.kill();
    let worker = site.start_worker(dovecot.port);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(receiver.received().len(), 1, "{}", worker.logs());
    let shown = site.kubectl(&["get", "efr", "bugs", "-o", "jsonpath={.status.delivered}"]).await;
    assert!(shown.contains(r#""total":1"#), "{shown}");
    assert!(!worker.logs().contains(KEY) && !site.operator.as_ref().unwrap().logs().contains(KEY));
}

#[tokio::test]
async fn a_worker_that_ends_reports_what_it_has_just_delivered() {
    let Some(mut way) = Way::new("waylast").await else { return };
    // The first status says that the worker reads the mailbox.
    way.delivered("nothing yet", |status| status.total == 0 && status.reason.is_none()).await;
    way.deliver("the last one");
    way.site
        .until("the request", async || if way.receiver.received().len() == 1 { Ok(()) } else { Err("none".to_owned()) })
        .await;
    let _ = way.worker.stop(super::site::LIMIT).await.unwrap();
    let status = way.site.rule("bugs").await.status.and_then(|status| status.delivered).unwrap();
    assert_eq!((status.total, status.waiting), (1, 0), "{}", way.worker.logs());
    assert!(status.last_time.is_some());
}

#[tokio::test]
async fn what_a_sink_refuses_is_in_failed_and_comes_back_when_somebody_asks() {
    let Some(way) = Way::new("wayfailed").await else { return };
    way.receiver.answer(422);
    way.deliver("no such project");
    way.delivered("one failed", |status| status.failed == 1 && status.waiting == 0).await;
    let events = way
        .site
        .until("the event", async || {
            let columns = "-o=custom-columns=T:.type,R:.reason,O:.regarding.name,N:.note";
            let events = way.site.kubectl(&["get", "events.events.k8s.io", columns, "--no-headers"]).await;
            if events.contains("DeliveryFailed") { Ok(events) } else { Err(events) }
        })
        .await;
    assert!(events.lines().any(|line| line.starts_with("Warning") && line.contains("bugs")), "{events}");
    way.receiver.answer(200);
    way.site.kubectl(&["annotate", "efr", "bugs", "email.askrobots.com/replay=1", "--overwrite"]).await;
    way.delivered("it is delivered", |status| status.total == 1 && status.failed == 0).await;
    let ids: Vec<String> = way.receiver.received().iter().map(|one| one.header("webhook-id").to_owned()).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    way.site
        .until("the replay to be echoed", async || {
            let status = way.site.rule("bugs").await.status.unwrap_or_default();
            (status.last_handled_replay.as_deref() == Some("1")).then_some(()).ok_or(format!("{status:?}"))
        })
        .await;
    // As `kubectl email` asks for it.
    way.receiver.answer(400);
    way.deliver("a third one");
    way.delivered("a third failed", |status| status.failed == 1).await;
    way.receiver.answer(200);
    for (object, total) in [("efr/bugs", 2), ("embx/support", 3)] {
        if total == 3 {
            way.receiver.answer(400);
            way.deliver("a fourth one");
            way.delivered("a fourth failed", |status| status.failed == 1).await;
            way.receiver.answer(200);
        }
        let done = way.site.email(&["replay", object, "--wait"]).await;
        assert!(done.ends_with(&format!("{object}: failed deliveries are tried again\n")), "{done}");
        way.delivered("it is delivered", |status| status.total == total && status.failed == 0).await;
    }
    // The same of a mailbox.
    way.receiver.answer(400);
    way.deliver("another one");
    way.delivered("another failed", |status| status.failed == 1).await;
    way.receiver.answer(200);
    way.site.kubectl(&["annotate", "embx", "support", "email.askrobots.com/replay=x", "--overwrite"]).await;
    way.delivered("all are delivered", |status| status.total == 4 && status.failed == 0).await;
    way.site
        .until("the mailbox to echo it", async || {
            let status = way.site.mailbox().await.status.unwrap_or_default();
            (status.last_handled_replay.as_deref() == Some("x")).then_some(()).ok_or(format!("{status:?}"))
        })
        .await;
}

#[tokio::test]
async fn a_sink_without_its_secret_takes_nothing_and_loses_nothing() {
    let Some(way) = Way::signed("waysecret", false).await else { return };
    way.deliver("waits");
    let status = way.delivered("it waits", |status| status.waiting == 1 && status.reason.is_some()).await;
    assert_eq!(status.reason.as_deref(), Some("SinkInvalid"));
    let message = status.message.unwrap();
    assert!(message.contains("the Secret tracker-hook does not exist"), "{message}");
    assert!(way.receiver.received().is_empty());
    make_key(&way.site).await;
    let status = way.delivered("it is delivered", |status| status.total == 1).await;
    assert_eq!((status.reason, way.receiver.received().len()), (None, 1));
}

#[tokio::test]
async fn an_app_password_that_is_wrong_is_told_and_the_next_one_works() {
    let Some(way) = Way::new("waylogin").await else { return };
    way.deliver("before");
    way.delivered("the first", |status| status.total == 1).await;
    way.site
        .mailcow
        .edit(|state| state.mailbox_mut("support@example.com").unwrap().attributes.switch("imap_access", 0));
    way.site.kubectl(&["patch", "embx", "support", "--type=merge", "-p", r#"{"spec":{"protocols":["SMTP"]}}"#]).await;
    way.delivered("IMAP is off", |status| status.reason.as_deref() == Some("ImapDisabled")).await;
    way.deliver("meanwhile");
    let back = r#"{"spec":{"protocols":["IMAP","SMTP"]}}"#;
    way.site.kubectl(&["patch", "embx", "support", "--type=merge", "-p", back]).await;
    way.delivered("the second", |status| status.total == 2 && status.reason.is_none()).await;
    way.site.kubectl(&["annotate", "embx", "support", "email.askrobots.com/replace-app-password=1"]).await;
    way.site.settled().await;
    way.deliver("after");
    way.delivered("the third", |status| status.total == 3 && status.reason.is_none()).await;
    assert_eq!(way.receiver.received().len(), 3);
}
