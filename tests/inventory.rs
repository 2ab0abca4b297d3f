//! The inventory against a server that counts: few questions are single, many become one list, nothing is mistaken.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, StreamExt};
use mailcow_operator::inventory::{Age, Inventory, Moved, ObjectCounts};
use mailcow_operator::mail::{Address, Catch, DomainName};
use mailcow_operator::mailcow::{Client, Connection};
use mailcow_operator::plan::{Change, MailboxEdit};
use mailcow_operator::publisher::Publisher;
use mailcow_simulator::{Fault, Options, Simulator, Trouble};
use secrecy::SecretString;

async fn world(keep: Duration) -> (Simulator, Arc<Inventory>) {
    let (server, inventory, _) = published(keep).await;
    (server, inventory)
}

/// The same with what is published.
async fn published(keep: Duration) -> (Simulator, Arc<Inventory>, UnboundedReceiver<Arc<Moved>>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Simulator::start(Options::default()).await.unwrap();
    server.edit(|state| {
        state.seed_domain("example.com");
        state.seed_domain("other.org");
        for n in 0..100 {
            state.seed_mailbox(&format!("m{n}@example.com"));
            state.seed_alias(&format!("a{n}@example.com"), "m0@example.com");
        }
        state.seed_mailbox("m0@other.org");
    });
    let connection =
        Connection { url: server.url(), api_key: SecretString::from(server.api_key()), ca: None, mail_host: None };
    let client = Client::new(&connection, Arc::new(|_, _, _| ())).unwrap();
    let changes = Publisher::default();
    let news = changes.subscribe();
    (server, Arc::new(Inventory::new(Arc::new(client), keep, LONG).publishing_to(changes)), news)
}

/// What was published since it was last looked at.
fn news_of(news: &mut UnboundedReceiver<Arc<Moved>>) -> Moved {
    let mut all = Moved::default();
    all.extend(std::iter::from_fn(|| news.next().now_or_never().flatten()));
    all
}

/// What is published of mailboxes.
fn moved_mailboxes(names: &[&str]) -> Moved {
    Moved { mailboxes: names.iter().map(|&name| name.to_owned()).collect(), ..Moved::default() }
}

const LONG: Duration = Duration::from_hours(1);

fn mailbox(n: u32) -> Address {
    Address::parse(&format!("m{n}@example.com")).unwrap()
}

#[tokio::test]
async fn questions_are_single_until_a_list_costs_less() {
    let (server, inventory) = world(LONG).await;
    inventory.domain(&DomainName::parse("example.com").unwrap(), Age::Recent).await.unwrap();
    server.clear_log();
    for n in 0..100 {
        let have = inventory.mailbox(&mailbox(n), Age::Recent).await.unwrap().unwrap();
        assert_eq!(have, inventory.client().mailbox(&mailbox(n)).await.unwrap().unwrap(), "a list shows the same");
    }
    // The comparison above costs one get each. A list of a hundred takes as long as 34 gets.
    assert_eq!(server.reads(), 100 + 33 + 1);
    assert_eq!(inventory.mailbox(&mailbox(100), Age::Recent).await.unwrap(), None);
    server.clear_log();
    for n in 0..100 {
        let catch = Catch::parse(&format!("a{n}@example.com")).unwrap();
        let have = inventory.alias(&catch, Age::Recent).await.unwrap().unwrap();
        assert_eq!(have.goto, ["m0@example.com".to_owned()].into());
    }
    assert_eq!(server.reads(), 8 + 1);
}

#[tokio::test]
async fn many_at_once_wait_for_the_same_list() {
    let (server, inventory) = world(LONG).await;
    inventory.prepare(|| ObjectCounts {
        mailboxes: BTreeMap::from([(mailbox(0).domain().clone(), 100)]),
        ..ObjectCounts::default()
    });
    let asked = (0..100).map(|n| {
        let inventory = inventory.clone();
        tokio::spawn(async move { inventory.mailbox(&mailbox(n), Age::Recent).await.unwrap().is_some() })
    });
    for task in asked.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
    let lists = server.requests().iter().filter(|request| request.path.contains("/all")).count();
    assert_eq!(lists, 1, "{:?}", server.requests());
}

#[tokio::test]
async fn asking_now_asks_and_is_remembered() {
    let (server, inventory) = world(LONG).await;
    for n in 0..20 {
        inventory.mailbox(&mailbox(n), Age::Recent).await.unwrap();
    }
    server.edit(|state| state.mailbox_mut("m1@example.com").unwrap().name = "by hand".to_owned());
    assert_ne!(inventory.mailbox(&mailbox(1), Age::Recent).await.unwrap().unwrap().name, "by hand");
    assert_eq!(inventory.mailbox(&mailbox(1), Age::Now).await.unwrap().unwrap().name, "by hand");
    assert_eq!(inventory.mailbox(&mailbox(1), Age::Recent).await.unwrap().unwrap().name, "by hand");
}

#[tokio::test]
async fn an_unknown_domain_is_empty_and_not_everything() {
    let (_server, inventory) = world(LONG).await;
    for n in 0..20 {
        let nowhere = Address::parse(&format!("m{n}@nowhere.net")).unwrap();
        assert_eq!(inventory.mailbox(&nowhere, Age::Recent).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_list_that_fails_is_an_error_and_never_read_as_all_gone() {
    let (server, inventory) = world(LONG).await;
    inventory.prepare(|| ObjectCounts {
        mailboxes: BTreeMap::from([(mailbox(0).domain().clone(), 100)]),
        ..ObjectCounts::default()
    });
    for trouble in [Trouble::ServerError, Trouble::Reset, Trouble::Empty { done: false }] {
        server.fault(Fault::once("get/mailbox/all", trouble));
        assert!(inventory.mailbox(&mailbox(9), Age::Recent).await.is_err());
        // Three failures in a row would be the server's.
        inventory.client().version().await.unwrap();
    }
    assert!(inventory.mailbox(&mailbox(9), Age::Recent).await.unwrap().is_some());
}

/// On the real one a list of all 8,000 mailboxes of a domain takes longer than anybody waits for a read.
#[tokio::test]
async fn a_domain_of_thousands_is_listed_page_by_page_and_a_try_that_failed_is_gone_on_with() {
    let (server, inventory) = world(LONG).await;
    server.edit(|state| {
        for n in 100..2000 {
            state.seed_mailbox(&format!("m{n}@example.com"));
        }
    });
    let name = DomainName::parse("example.com").unwrap();
    inventory.prepare(|| ObjectCounts {
        domains: 1,
        mailboxes: BTreeMap::from([(name, 2000)]),
        ..ObjectCounts::default()
    });
    let pages = || server.requests().iter().filter(|request| request.path.contains("search/mailbox")).count();
    let first = tokio::spawn({
        let inventory = inventory.clone();
        async move { inventory.mailbox(&mailbox(1), Age::Recent).await }
    });
    while pages() < 5 {
        tokio::task::yield_now().await;
    }
    server.fault(Fault::once("search/mailbox", Trouble::ServerError));
    assert!(first.await.unwrap().is_err(), "a list that stopped is no answer");
    let seen = pages();
    for n in [0, 1, 1000, 1999] {
        assert!(inventory.mailbox(&mailbox(n), Age::Recent).await.unwrap().is_some(), "{n}");
    }
    assert_eq!(inventory.mailbox(&mailbox(2000), Age::Recent).await.unwrap(), None);
    // Ten of each page are shown twice; the page that failed was asked for twice.
    assert_eq!(pages(), 2000_usize.div_ceil(190) + 1);
    assert!(pages() > seen && server.requests().iter().all(|request| !request.path.contains("get/mailbox")));
}

#[tokio::test]
async fn an_edit_of_an_alias_has_the_mailboxes_it_goes_to_asked_for_again() {
    let (server, inventory, _news) = started().await;
    let senders = async || inventory.mailbox(&mailbox(0), Age::Recent).await.unwrap().unwrap().sender_acl;
    server.edit(|state| {
        state.mailbox_mut("m0@example.com").unwrap().sender_acl = vec!["a1@example.com".to_owned()];
        let alias = state.aliases.values_mut().find(|alias| alias.address == "a1@example.com").unwrap();
        alias.private_comment = Some("edited".to_owned());
    });
    assert_eq!(senders().await, Some(BTreeSet::new()), "as remembered");
    inventory.alias(&Catch::parse("a1@example.com").unwrap(), Age::Now).await.unwrap();
    assert_eq!(senders().await, Some(["a1@example.com".to_owned()].into()), "asked for again");
}

/// Everything of example.com was asked for, as at a start with a hundred of each in sync.
async fn started() -> (Simulator, Arc<Inventory>, UnboundedReceiver<Arc<Moved>>) {
    let (server, inventory, news) = published(LONG).await;
    asked_for_all(&inventory).await;
    (server, inventory, news)
}

/// Asks for everything of example.com.
async fn asked_for_all(inventory: &Inventory) {
    let name = DomainName::parse("example.com").unwrap();
    let (mailboxes, aliases) = (BTreeMap::from([(name.clone(), 100)]), BTreeMap::from([(name.clone(), 100)]));
    inventory.prepare(|| ObjectCounts { domains: 1, mailboxes, aliases });
    assert!(inventory.domain(&name, Age::Recent).await.unwrap().is_some());
    for n in 0..100 {
        assert!(inventory.mailbox(&mailbox(n), Age::Recent).await.unwrap().is_some());
        let catch = Catch::parse(&format!("a{n}@example.com")).unwrap();
        assert!(inventory.alias(&catch, Age::Recent).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_start_costs_the_lists_and_not_the_objects() {
    let (server, inventory, mut news) = started().await;
    let actions: Vec<String> = server.requests().iter().map(|request| request.path.clone()).collect();
    assert_eq!(server.reads(), 4, "domain, key, mailboxes, aliases: {actions:?}");
    server.clear_log();
    inventory.refresh().await.unwrap();
    assert_eq!(news_of(&mut news), Moved::default());
    assert_eq!(server.reads(), 4, "and so does a poll");
}

#[tokio::test]
async fn a_poll_names_what_was_changed_and_nothing_else() {
    let (server, inventory, mut news) = started().await;
    server.edit(|state| {
        state.mailbox_mut("m1@example.com").unwrap().name = "by hand".to_owned();
        state.mailbox_mut("m2@example.com").unwrap().messages += 1;
        state.mailboxes.retain(|key, _| !key.eq_ignore_ascii_case("m3@example.com"));
        state.seed_alias("new@example.com", "m0@example.com");
        state.domain_mut("example.com").unwrap().description = "by hand".to_owned();
    });
    inventory.refresh().await.unwrap();
    let moved = news_of(&mut news);
    assert_eq!(moved.domains, HashSet::from(["example.com".to_owned()]));
    assert_eq!(moved.mailboxes, HashSet::from(["m1@example.com".to_owned(), "m3@example.com".to_owned()]));
    assert_eq!(moved.aliases, HashSet::from(["new@example.com".to_owned()]));
    inventory.refresh().await.unwrap();
    assert_eq!(news_of(&mut news), Moved::default(), "it is published once");
}

/// Few of ours are left in the domain, so it is no longer listed; what the list knew must not go unpolled.
#[tokio::test]
async fn whoever_was_in_a_list_that_is_given_up_asks_again_and_is_polled() {
    let (server, inventory, mut news) = started().await;
    let name = DomainName::parse("example.com").unwrap();
    inventory.count_ours(&ObjectCounts {
        domains: 1,
        mailboxes: BTreeMap::from([(name.clone(), 2)]),
        aliases: BTreeMap::from([(name, 100)]),
    });
    inventory.refresh().await.unwrap();
    let moved = news_of(&mut news);
    assert!(moved.mailboxes.contains("m1@example.com") && moved.aliases.is_empty(), "{moved:?}");
    assert!(inventory.mailbox(&mailbox(1), Age::Recent).await.unwrap().is_some());
    server.edit(|state| state.mailbox_mut("m1@example.com").unwrap().name = "by hand".to_owned());
    inventory.refresh().await.unwrap();
    assert_eq!(news_of(&mut news), moved_mailboxes(&["m1@example.com"]));
}

#[tokio::test]
async fn our_own_writes_are_no_news() {
    let (_server, inventory, mut news) = started().await;
    let edit = MailboxEdit { name: Some("ours".to_owned()), ..MailboxEdit::default() };
    let change = Change::EditMailbox { address: mailbox(1), edit };
    inventory.execute(std::slice::from_ref(&change), None).await.unwrap();
    assert_eq!(inventory.mailbox(&mailbox(1), Age::Now).await.unwrap().unwrap().name, "ours");
    inventory.refresh().await.unwrap();
    assert_eq!(news_of(&mut news), Moved::default());
}

/// Whoever reads something first keeps the next poll from seeing that it is not as it was.
#[tokio::test]
async fn what_is_found_by_a_read_for_another_object_is_published() {
    let keep = Duration::from_millis(100);
    let (server, inventory, mut news) = published(keep).await;
    asked_for_all(&inventory).await;
    server.edit(|state| state.mailbox_mut("m1@example.com").unwrap().name = "by hand".to_owned());
    tokio::time::sleep(keep * 3).await;
    // The list, which is too old by now, is asked for because of another mailbox.
    inventory.mailbox(&mailbox(2), Age::Recent).await.unwrap();
    assert_eq!(news_of(&mut news), moved_mailboxes(&["m1@example.com"]));

    let (server, inventory, mut news) = started().await;
    server.edit(|state| state.mailbox_mut("m1@example.com").unwrap().name = "by hand".to_owned());
    // By itself, as an alias or a rule asks for a mailbox.
    inventory.mailbox(&mailbox(1), Age::Now).await.unwrap();
    assert_eq!(news_of(&mut news), moved_mailboxes(&["m1@example.com"]));
    server.edit(|state| state.domains.clear());
    let name = DomainName::parse("example.com").unwrap();
    assert_eq!(inventory.domain(&name, Age::Now).await.unwrap(), None);
    assert_eq!(news_of(&mut news).domains, HashSet::from(["example.com".to_owned()]));
}

#[tokio::test]
async fn a_poll_that_fails_loses_nothing_of_what_was_known() {
    let (server, inventory, mut news) = started().await;
    server.edit(|state| state.mailbox_mut("m1@example.com").unwrap().name = "by hand".to_owned());
    let cut = Trouble::Text { status: 200, body: "[{\"username\":\"m1@example.com\",\"act".to_owned() };
    for trouble in [Trouble::ServerError, Trouble::Reset, cut, Trouble::Empty { done: false }] {
        server.fault(Fault::once("get/mailbox/all", trouble));
        assert!(inventory.refresh().await.is_err());
        assert!(inventory.mailbox(&mailbox(2), Age::Recent).await.unwrap().is_some());
        assert_eq!(news_of(&mut news), Moved::default());
    }
    inventory.refresh().await.unwrap();
    assert_eq!(news_of(&mut news), moved_mailboxes(&["m1@example.com"]));
}

#[tokio::test]
async fn who_waits_for_a_list_that_could_not_be_read_is_triggered_once_it_can_be() {
    let (server, inventory, mut news) = published(LONG).await;
    let name = DomainName::parse("example.com").unwrap();
    inventory.prepare(|| ObjectCounts {
        domains: 1,
        mailboxes: BTreeMap::from([(name.clone(), 100)]),
        ..ObjectCounts::default()
    });
    let odd = Trouble::Text { status: 200, body: r#"[{"username": ["m1@example.com"]}]"#.to_owned() };
    server.fault(Fault::times(3, "get/mailbox/all", odd));
    for n in [1, 2] {
        assert!(inventory.mailbox(&mailbox(n), Age::Recent).await.unwrap_err().is_unreadable());
    }
    inventory.refresh_unread().await.unwrap_err();
    assert_eq!(news_of(&mut news), Moved::default(), "it still can't be");
    inventory.refresh_unread().await.unwrap();
    assert_eq!(news_of(&mut news), moved_mailboxes(&["m1@example.com", "m2@example.com"]));
    server.clear_log();
    inventory.refresh_unread().await.unwrap();
    assert_eq!((server.reads(), news_of(&mut news)), (0, Moved::default()), "nothing is left to be asked for");
}

/// A page of a proxy, say, while Mailcow is updated: every answer is one.
#[tokio::test]
async fn a_server_in_whose_place_something_else_answers_is_in_trouble_until_it_answers_itself() {
    let (server, inventory) = world(LONG).await;
    let recoveries = inventory.client().recoveries();
    let page = || Trouble::Text { status: 200, body: "<html>Back in five minutes</html>".to_owned() };
    server.fault(Fault::times(3, "get/", page()));
    for n in 0..2 {
        assert!(inventory.mailbox(&mailbox(n), Age::Recent).await.unwrap_err().is_unreadable());
    }
    assert!(inventory.domain(mailbox(0).domain(), Age::Recent).await.unwrap_err().is_unreadable());
    assert!(inventory.client().is_in_trouble() && *recoveries.borrow() == 0);
    server.clear_log();
    assert!(inventory.mailbox(&mailbox(9), Age::Recent).await.unwrap_err().is_unreadable());
    assert_eq!(server.reads(), 0, "one call at a time tries it");
    while inventory.refresh_unread().await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((*recoveries.borrow(), inventory.client().is_in_trouble()), (1, false));
}

/// Figures, not a test: how a whole poll grows.
#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn bench_a_hundred_thousand_mailboxes() {
    for mailboxes in [10_000, 100_000] {
        let (server, inventory) = world(LONG).await;
        server.edit(|state| state.seed_bulk(100, mailboxes));
        let names: Vec<_> = (0..100).map(|n| DomainName::parse(&format!("d{n}.seed.test")).unwrap()).collect();
        let ours: BTreeMap<_, _> = names.iter().map(|name| (name.clone(), mailboxes / 100)).collect();
        inventory.prepare(|| ObjectCounts { domains: 100, mailboxes: ours.clone(), aliases: ours });
        let started = std::time::Instant::now();
        for name in &names {
            inventory.domain(name, Age::Recent).await.unwrap().unwrap();
            inventory.mailbox(&Address::new("nobody", name.clone()).unwrap(), Age::Recent).await.unwrap();
            inventory.alias(&Catch::All(name.clone()), Age::Recent).await.unwrap();
        }
        let row = |what: &str, took: Duration| {
            let (seconds, reads) = (took.as_secs_f64(), server.reads());
            println!(
                "| {mailboxes} mailboxes and as many aliases in 100 domains: {what} | {seconds:.2} s | {reads} | 0 | | |"
            );
        };
        row("first reads", started.elapsed());
        server.clear_log();
        let started = std::time::Instant::now();
        inventory.refresh().await.unwrap();
        row("poll", started.elapsed());
    }
}
