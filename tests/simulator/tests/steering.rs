//! What a test can do to a simulated server besides talking to it.

#![expect(clippy::expect_used, reason = "a test stops where something is not as it must be")]

mod asking;

use std::time::{Duration, Instant};

use asking::{ask, ask_with_key};
use mailcow_simulator::{Access, ApiKey, CostModel, Fault, Options, Simulator, Trouble};

async fn started() -> Simulator {
    let simulator = Simulator::start(Options::default()).await.expect("it starts");
    simulator.edit(|state| {
        state.seed_domain("acme.test");
        state.seed_mailbox("alice@acme.test");
    });
    simulator
}

const RENAME: &str = r#"{"items":["alice@acme.test"],"attr":{"name":"Alice"}}"#;

fn name(simulator: &Simulator) -> String {
    simulator.inspect(|state| state.mailbox("alice@acme.test").map(|m| m.name.clone()).unwrap_or_default())
}

#[tokio::test]
async fn faults_hit_the_requests_they_are_ordered_for() {
    let simulator = started().await;
    simulator.fault(Fault::once("edit/mailbox", Trouble::Deadlock));
    let read = ask(&simulator, "GET", "get/mailbox/alice@acme.test", "").await.expect("an answer");
    assert!(read.starts_with("HTTP/1.1 200") && read.contains("alice@acme.test"));
    let failed = ask(&simulator, "POST", "edit/mailbox", RENAME).await.expect("an answer");
    assert!(failed.contains("danger") && failed.contains("SQLSTATE[40001]"), "{failed}");
    assert_eq!(name(&simulator), "");
    simulator.fault(Fault::once("edit/", Trouble::Empty { done: true }));
    let empty = ask(&simulator, "POST", "edit/mailbox", RENAME).await.expect("an answer");
    assert!(empty.starts_with("HTTP/1.1 200") && empty.ends_with("\r\n\r\n"), "{empty}");
    assert_eq!(name(&simulator), "Alice");
    for (trouble, status) in [(Trouble::ServerError, 500), (Trouble::BadGateway, 502), (Trouble::Unauthorized, 401)] {
        simulator.fault(Fault::once("get/", trouble));
        let answer = ask(&simulator, "GET", "get/domain/all", "").await.expect("an answer");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert_eq!((simulator.reads(), simulator.writes()), (4, 2));
    simulator.clear_log();
    assert!(simulator.requests().is_empty());
}

#[tokio::test]
async fn an_answer_can_be_cut() {
    let simulator = started().await;
    simulator.fault(Fault::once("edit/mailbox", Trouble::Reset));
    let cut = ask(&simulator, "POST", "edit/mailbox", RENAME).await.unwrap_or_default();
    let body = cut.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(!body.ends_with(']'), "{cut}");
    assert_eq!(name(&simulator), "Alice", "the request was carried out");
    assert_eq!(simulator.requests()[0].status, 0);
}

#[tokio::test]
async fn a_half_deleted_mailbox_has_no_name_and_goes_at_the_second_try() {
    let simulator = started().await;
    simulator.fault(Fault::once("delete/mailbox", Trouble::HalfDelete));
    let delete = r#"["alice@acme.test"]"#;
    let empty = ask(&simulator, "POST", "delete/mailbox", delete).await.expect("an answer");
    assert!(empty.ends_with("\r\n\r\n"), "{empty}");
    let read = ask(&simulator, "GET", "get/mailbox/alice@acme.test", "").await.expect("an answer");
    assert!(read.contains("\"username\": null"), "{read}");
    let gone = ask(&simulator, "POST", "delete/mailbox", delete).await.expect("an answer");
    assert!(gone.contains("mailbox_removed") && gone.contains("warning"), "{gone}");
}

#[tokio::test]
async fn it_goes_down_and_comes_back_with_all_it_had() {
    let simulator = started().await;
    simulator.set_down(true).await.expect("it goes down");
    assert!(ask(&simulator, "GET", "get/domain/all", "").await.is_err());
    simulator.set_down(false).await.expect("it comes back");
    let read = ask(&simulator, "GET", "get/domain/acme.test", "").await.expect("an answer");
    assert!(read.contains("acme.test"));
}

#[tokio::test]
async fn keys_can_be_added_and_hide_their_text() {
    let simulator = started().await;
    let mut key = ApiKey::new("OTHER-KEY", Access::ReadOnly);
    assert!(!format!("{key:?}").contains("OTHER"));
    "10.0.0.0/8".clone_into(&mut key.allow_from);
    simulator.add_key(key);
    let refused = ask_with_key(&simulator, "OTHER-KEY", "GET", "get/domain/all", "").await.expect("an answer");
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("127.0.0.1"), "{refused}");
    let denied = ask_with_key(&simulator, simulator.read_only_key(), "POST", "edit/mailbox", RENAME).await;
    assert!(denied.expect("an answer").starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn an_address_with_ten_wrong_keys_is_shut_out() {
    let simulator = started().await;
    simulator.edit(|state| {
        let netfilter = state.netfilter.as_mut().expect("a new server has netfilter");
        netfilter.seen_as = Some([198, 51, 100, 7].into());
        netfilter.ban_time = Duration::from_millis(300);
    });
    for _ in 0..10 {
        let refused = ask_with_key(&simulator, "WRONG", "GET", "get/domain/all", "").await.expect("an answer");
        assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    }
    let begun = Instant::now();
    let silence = ask(&simulator, "GET", "get/domain/all", "").await.unwrap_or_default();
    assert!(silence.is_empty() || !silence.contains("acme.test"), "{silence}");
    assert!(begun.elapsed() > Duration::from_millis(100), "nothing comes back at once: {:?}", begun.elapsed());
    let again = ask(&simulator, "GET", "get/domain/all", "").await.expect("an answer");
    assert!(again.contains("acme.test"), "the ban is over: {again}");
}

#[tokio::test]
async fn the_journal_hides_bodies_from_debug() {
    let simulator = started().await;
    let add = r#"{"local_part":"b","domain":"acme.test","password":"topsecret","password2":"topsecret"}"#;
    let added = ask(&simulator, "POST", "add/mailbox", add).await.expect("an answer");
    assert!(added.contains("mailbox_added") && !added.contains("topsecret"), "{added}");
    let requests = simulator.requests();
    assert!(requests[0].body.contains("topsecret") && !format!("{requests:?}").contains("topsecret"));
}

#[tokio::test]
async fn a_rebuild_of_the_view_of_sogo_holds_up_other_writes() {
    let cost = CostModel { rebuild_pair_nanos: 60_000, refresh: 0, container: 0, ..CostModel::measured() };
    let options = Options { latency: Some(cost), ..Options::default() };
    let simulator = Simulator::start(options).await.expect("it starts");
    simulator.edit(|state| state.seed_bulk(1, 100));
    let started = Instant::now();
    let delete = ask(&simulator, "POST", "delete/mailbox", r#"["u1@d0.seed.test"]"#);
    let edit = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let rename = r#"{"items":["u2@d0.seed.test"],"attr":{"name":"x"}}"#;
        let answer = ask(&simulator, "POST", "edit/domain", r#"{"items":["d0.seed.test"],"attr":{}}"#).await;
        drop(ask(&simulator, "POST", "edit/mailbox", rename).await);
        (answer, started.elapsed())
    };
    let read = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(ask(&simulator, "GET", "get/mailbox/u3@d0.seed.test", "").await);
        started.elapsed()
    };
    let (deleted, (edited, edit_took), read_took) = tokio::join!(delete, edit, read);
    assert!(deleted.expect("an answer").contains("mailbox_removed"));
    assert!(edited.expect("an answer").contains("domain_modified"));
    assert!(edit_took > Duration::from_millis(1100), "two rebuilds of 600 ms: {edit_took:?}");
    assert!(read_took < Duration::from_millis(550), "reads do not wait: {read_took:?}");
}

#[tokio::test]
async fn a_large_server_is_seeded_and_listed_quickly() {
    let simulator = started().await;
    let started = Instant::now();
    simulator.edit(|state| state.seed_bulk(50, 5000));
    let list = ask(&simulator, "GET", "get/mailbox/all", "").await.expect("an answer");
    assert!(list.len() > 6_000_000);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}
