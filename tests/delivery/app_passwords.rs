//! App passwords are made, kept, replaced and removed, whatever is lost in between.

use mailcow_simulator::{Fault, Trouble};

use super::site::{BUGS, OBJECTS, Site};

const TRACKER: &str = "[{name: tracker, webhook: {url: 'https://tracker.example.com/hooks'}, namespaces: ['*']},
    {name: board, email: {address: in@board.example}, namespaces: ['*']}]";

async fn with_rule(name: &str) -> Site {
    let site = Site::new(name, TRACKER).await;
    site.apply(&format!("{OBJECTS}{BUGS}")).await;
    site
}

async fn gone(site: &Site) {
    site.until("no app password on either side", async || {
        let (there, entries) = (site.app_passwords(), site.entries().await);
        if there.is_empty() && entries.is_empty() { Ok(()) } else { Err(format!("{there:?}, {}", entries.len())) }
    })
    .await;
}

#[tokio::test]
async fn a_mailbox_with_a_rule_for_a_webhook_has_one_and_loses_it_with_the_rule() {
    let site = Site::new("apppw", TRACKER).await;
    let board = BUGS.replace("name: bugs", "name: board").replace("sink: tracker", "sink: board");
    site.apply(&format!("{OBJECTS}{board}")).await;
    site.until("the rule for a sink that takes email", async || {
        let script = site.mailbox().await.status.and_then(|status| status.script);
        script.filter(|script| script.hash.is_some()).map(drop).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    assert!(site.app_passwords().is_empty(), "nothing is taken out of the mailbox for it");
    site.apply(BUGS).await;
    let (id, password) = site.settled().await;
    assert!(!site.opens(&password, "smtp").await && !site.opens(&password, "pop3").await);
    let [(_, entry)] = site.entries().await.try_into().unwrap_or_else(|all| panic!("{all:?}"));
    assert_eq!(
        (&*entry["address"].to_string(), &*entry["server"].to_string()),
        ("\"support@example.com\"", "\"default\"")
    );
    assert_eq!(entry["host"], ground::MAIL_HOST);
    let name = &site.app_passwords()[0].name;
    assert!(name.starts_with(&format!("mailcow-operator/testing/{}/support/", site.users)), "{name}");
    site.delivery("").await;
    // It is kept, and written nowhere else.
    site.mailcow.clear_log();
    tokio::time::sleep(std::time::Duration::from_secs(7)).await;
    assert_eq!((site.settled().await, site.mailcow.writes()), ((id, password.clone()), 0));
    let everything = site.kubectl(&["get", "email,secrets,events", "-o", "yaml"]).await;
    let logs = site.operator.as_ref().unwrap().logs();
    assert!(!everything.contains(&password) && !logs.contains(&password));
    // A restart makes no other.
    site.mailcow.clear_log();
    let mut site = site;
    site.operator = None;
    site.start_operator();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!((site.settled().await, site.mailcow.writes()), ((id, password), 0));
    site.kubectl(&["delete", "efr", "bugs", "--wait=false"]).await;
    gone(&site).await;
    site.until("no status.delivery", async || match site.mailbox().await.status.and_then(|status| status.delivery) {
        None => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn one_that_is_lost_changed_or_asked_for_is_replaced() {
    let site = with_rule("apppwlost").await;
    let (mut id, mut password) = site.settled().await;
    let mut renewed = async |what: &str| {
        let (new_id, new_password) = site
            .until(&format!("another one after {what}"), async || {
                let (now, password) = site.settled().await;
                if now == id { Err("the same".to_owned()) } else { Ok((now, password)) }
            })
            .await;
        assert_ne!(new_password, password, "{what}");
        assert!(!site.opens(&password, "imap").await, "the old one is gone after {what}");
        (id, password) = (new_id, new_password);
    };
    site.mailcow.edit(|state| state.app_passwords.clear());
    renewed("it was deleted on Mailcow").await;
    site.mailcow
        .edit(|state| state.app_passwords.values_mut().for_each(|p| p.modified = Some("2026-11-28 12:00:00".into())));
    renewed("it was changed on Mailcow").await;
    site.mailcow.edit(|state| state.app_passwords.values_mut().for_each(|p| p.active = 0));
    renewed("it was switched off on Mailcow").await;
    let secrets: Vec<String> = (0..8).map(|n| format!("{}-app-passwords-{n}", site.fullname)).collect();
    let names: Vec<&str> = secrets.iter().map(String::as_str).collect();
    site.kubectl_in(&site.namespace, &[&["delete", "secret", "--ignore-not-found"], &names[..]].concat()).await;
    renewed("the Secret was deleted").await;
    let ask = "email.askrobots.com/replace-app-password=1";
    site.kubectl(&["annotate", "embx", "support", ask]).await;
    renewed("somebody asked for it").await;
    let events = site.kubectl(&["get", "events.events.k8s.io", "-o=custom-columns=R:.reason,N:.note"]).await;
    // Repetitions are counted at the first one.
    assert!(events.contains("AppPasswordReplaced"), "{events}");
    site.mailcow.clear_log();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(site.mailcow.writes(), 0, "an annotation that stays asks once");
}

#[tokio::test]
async fn what_a_broken_answer_or_a_crash_leaves_half_made_converges() {
    let mut site = Site::without_operator("apppwhalf", TRACKER).await;
    for trouble in
        [Trouble::Reset, Trouble::Cut { done: true }, Trouble::Cut { done: false }, Trouble::Empty { done: true }]
    {
        site.mailcow.fault(Fault::once("add/app-passwd", trouble));
    }
    site.start_operator();
    site.apply(&format!("{OBJECTS}{BUGS}")).await;
    site.settled().await;
    site.mailcow.fault(Fault::once("delete/app-passwd", Trouble::Reset));
    site.kubectl(&["annotate", "embx", "support", "email.askrobots.com/replace-app-password=1"]).await;
    site.until("the second one", async || match site.entries().await.first() {
        Some((_, entry)) if entry["replacedFor"] == "1" => Ok(()),
        other => Err(format!("{}", other.is_some())),
    })
    .await;
    site.settled().await;
    // Killed while it writes: whatever was done, one is left that works.
    for n in 2..6 {
        site.mailcow.fault(Fault::once("add/app-passwd", Trouble::Slow(std::time::Duration::from_millis(300))));
        let number = n.to_string();
        let ask = format!("email.askrobots.com/replace-app-password={number}");
        site.kubectl(&["annotate", "--overwrite", "embx", "support", &ask]).await;
        tokio::time::sleep(std::time::Duration::from_millis(200 * n)).await;
        site.operator.as_mut().unwrap().kill();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        site.start_operator();
        site.until("the asked one", async || match site.entries().await.first() {
            Some((_, entry)) if entry["replacedFor"].as_str() == Some(number.as_str()) => Ok(()),
            other => Err(format!("{}", other.is_some())),
        })
        .await;
        site.settled().await;
    }
}

#[tokio::test]
async fn a_secret_that_may_not_be_written_is_told_and_leaves_nothing_on_mailcow() {
    let site = Site::new("apppwrefused", TRACKER).await;
    let role = format!("{}-app-passwords", site.fullname);
    site.kubectl_in(&site.namespace, &["delete", "rolebinding", &role]).await;
    // The chart's ClusterRole gives the same right in all namespaces.
    let clusterwide = site.fullname.clone();
    site.plane.kubectl(&["delete", "clusterrolebinding", &clusterwide]).await.unwrap();
    let account = format!("--serviceaccount={}:{}", site.namespace, site.fullname);
    let elsewhere = format!("--clusterrole={clusterwide}");
    site.kubectl(&["create", "rolebinding", "operator", &elsewhere, &account]).await;
    site.apply(&format!("{OBJECTS}{BUGS}")).await;
    let message = site.delivery("RefusedByKubernetes").await;
    assert!(message.contains("app-passwords"), "{message}");
    site.until("nothing left on Mailcow", async || match site.app_passwords().as_slice() {
        [] => Ok(()),
        some => Err(format!("{some:?}")),
    })
    .await;
    let own = format!("--role={role}");
    site.kubectl_in(&site.namespace, &["create", "rolebinding", "again", &own, &account]).await;
    site.settled().await;
    site.delivery("").await;
}

#[tokio::test]
async fn it_goes_with_the_mailbox_and_those_of_people_stay() {
    let site = with_rule("apppwgone").await;
    site.settled().await;
    let theirs = r#"{"username":"support@example.com","app_name":"my phone","app_passwd":"my-Phone-12","app_passwd2":"my-Phone-12","active":1,"protocols":["imap_access"]}"#;
    let key = site.mailcow.api_key().to_owned();
    let url = format!("{}/api/v1/add/app-passwd", site.mailcow.url());
    let add = reqwest::Client::new().post(url).header("X-API-Key", key).header("Content-Type", "application/json");
    add.body(theirs).send().await.unwrap();
    site.kubectl(&["delete", "embx", "support", "--timeout=40s"]).await;
    site.until("only that of a person", async || match (site.app_passwords().as_slice(), site.entries().await.len()) {
        ([one], 0) if one.name == "my phone" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test]
async fn a_mailbox_without_imap_and_one_that_is_off_say_so() {
    let site = with_rule("apppwimap").await;
    site.settled().await;
    let patch = |spec: &str| format!(r#"{{"spec":{spec}}}"#);
    let imap = patch(r#"{"protocols":["SMTP"]}"#);
    site.kubectl(&["patch", "embx", "support", "--type=merge", "-p", &imap]).await;
    let message = site.delivery("ImapDisabled").await;
    assert!(message.contains("spec.protocols") && message.contains("copies wait"), "{message}");
    let off = patch(r#"{"protocols":null,"state":"LoginDisabled"}"#);
    site.kubectl(&["patch", "embx", "support", "--type=merge", "-p", &off]).await;
    site.until("the protocol back on Mailcow", async || {
        // A field that is left out keeps its value on Mailcow.
        site.mailcow
            .edit(|state| state.mailbox_mut("support@example.com").unwrap().attributes.switch("imap_access", 1));
        let delivery = site.mailbox().await.status.and_then(|status| status.delivery);
        match delivery.and_then(|delivery| delivery.reason) {
            Some(reason) if reason == "MailboxInactive" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    site.kubectl(&["patch", "embx", "support", "--type=merge", "-p", &patch(r#"{"state":"Active"}"#)]).await;
    site.delivery("").await;
    site.settled().await;
}

#[tokio::test]
async fn they_go_when_the_feature_is_turned_off() {
    let mut site = with_rule("apppwoff").await;
    site.settled().await;
    site.operator = None;
    // The chart takes the right to the Secrets away together with the feature.
    let role = format!("{}-app-passwords", site.fullname);
    site.kubectl_in(&site.namespace, &["delete", "rolebinding", &role]).await;
    site.start_operator_with_gates("TaskDelivery=false");
    site.until("nothing left on Mailcow, and no status.delivery", async || {
        let delivery = site.mailbox().await.status.and_then(|status| status.delivery);
        match (site.app_passwords().as_slice(), delivery) {
            ([], None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // On again: what is left in the Secret is not taken for a password that works.
    site.operator = None;
    let (own, account) = (format!("--role={role}"), format!("--serviceaccount={}:{}", site.namespace, site.fullname));
    site.kubectl_in(&site.namespace, &["create", "rolebinding", &role, &own, &account]).await;
    site.start_operator();
    site.settled().await;
}
