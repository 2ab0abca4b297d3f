//! The oracles are tested: each has to find what is planted. An accomplice in the test acts by the operator's own doors
//! (the proxy with the operator's token, Mailcow with its key), so that to an oracle the operator itself has done it; and
//! where the operator as a process is judged, a shell script stands in for it.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use mailcow_simulator::State;
use serde_json::{Value, json};

use crate::campaign::{self, OPERATOR, Outcome};
use crate::ledger::Oracle;
use crate::pace;
use crate::schedule::{Resync, Schedule};
use crate::story::{CALM, Story};
use crate::world::World;

/// How long a rest may take where it never comes.
const SHORT: Duration = Duration::from_secs(4);

/// Does something in the operator's name.
impl World {
    async fn as_operator_on_mailcow(&self, path: &str, body: Value) {
        let server = &self.servers[0];
        let request = reqwest::Client::new().post(format!("{}/api/v1/{path}", server.url()));
        let request = request.header("X-API-Key", server.api_key()).header("Content-Type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
        assert!(answer.contains("success"), "{path}: {answer}");
    }

    async fn as_operator_on_kubernetes(&self, plural: &str, name: &str, status: Value) {
        let client = ground::client(&self.kubeconfig).await.unwrap();
        let namespace = &self.namespaces[0];
        let path = format!("/apis/email.askrobots.com/v1alpha1/namespaces/{namespace}/{plural}/{name}/status");
        let request = http::Request::patch(path).header("Content-Type", "application/merge-patch+json");
        let request = request.body(json!({"status": status}).to_string().into_bytes()).unwrap();
        drop(client.request_text(request).await);
    }

    /// The status as it is.
    fn status(&self, kind: &'static str, name: &str) -> Value {
        self.site.mirror.newest(kind, &self.namespaces[0], name).map(|life| life.object["status"].clone()).unwrap()
    }
}

async fn wait(seconds: f32) {
    tokio::time::sleep(Duration::from_secs_f32(seconds)).await;
}

/// Watches for a while, as a rest does.
async fn look_on(world: &World, seconds: u64) {
    let started = Instant::now();
    while pace::elapsed(started) < Duration::from_secs(seconds + 1) {
        wait(0.5).await;
        world.judge();
    }
}

/// Writes the same again and again.
async fn write_on(server: String, key: String) {
    for _ in 0..80 {
        let request = reqwest::Client::new().post(format!("{server}/api/v1/edit/mailbox"));
        let request = request.header("X-API-Key", &key).header("Content-Type", "application/json");
        drop(request.body(json!({"items": [ADA], "attr": {"name": "Ada"}}).to_string()).send().await);
        wait(0.25).await;
    }
}

/// Runs the calm story with something done by an accomplice in it.
async fn accomplice(act: for<'a> fn(&'a World) -> BoxFuture<'a, ()>) -> Outcome {
    let schedule = Schedule::quiet(CALM.name, Resync::Never);
    let reference = campaign::reference(&CALM, Resync::Never).await;
    assert!(reference.alarms.is_empty(), "{:#?}", reference.alarms);
    let story = Story { accomplice: Some(act), ..CALM };
    campaign::run_against(&story, &schedule, reference.rests.clone(), (OPERATOR.0, SHORT)).await
}

fn finds(outcome: &Outcome, oracle: Oracle, text: &str) {
    let found = outcome.alarms.iter().any(|alarm| alarm.oracle == oracle && alarm.text.contains(text));
    assert!(found, "{oracle:?} did not find {text:?}: {:#?}", outcome.alarms);
}

fn run(test: impl Future<Output = ()>) {
    crate::world::runtime().block_on(test);
}

const ADA: &str = "ada@example.com";
const ZOE: &str = "zoe@stranger.example";

#[test]
fn a_calm_story_raises_no_alarm() {
    run(async {
        let outcome = accomplice(|_| Box::pin(async {})).await;
        assert!(outcome.alarms.is_empty(), "{:#?}", outcome.alarms);
        // Those of the domain, the mailbox and the alias; what a rule says may wait for its mailbox.
        assert!(outcome.status_writes >= 3, "{}", outcome.status_writes);
    });
}

#[test]
fn an_end_that_differs_is_found() {
    run(async {
        let outcome = accomplice(|world| {
            Box::pin(
                world.as_operator_on_mailcow("edit/mailbox", json!({"items": [ADA], "attr": {"name": "Somebody"}})),
            )
        });
        finds(&outcome.await, Oracle::End, "mailbox ada@example.com");
        let outcome = accomplice(|world| {
            Box::pin(async {
                let mut status = world.status("EmailAlias", "sales");
                status["address"] = "other@example.com".into();
                world.as_operator_on_kubernetes("emailaliases", "sales", status).await;
            })
        });
        finds(&outcome.await, Oracle::End, "EmailAlias {0}/sales status.address");
    });
}

#[test]
fn writing_on_and_on_is_found() {
    run(async {
        let outcome = accomplice(|world| {
            Box::pin(async {
                let (server, key) = (world.servers[0].url(), world.servers[0].api_key().to_owned());
                tokio::spawn(write_on(server, key));
            })
        });
        let outcome = outcome.await;
        finds(&outcome, Oracle::Stays, "mailcow 0: edit/mailbox");
        finds(&outcome, Oracle::Healthy, "again and again");
    });
}

#[test]
fn an_untrue_status_is_found_as_it_is_written_and_while_it_stands() {
    run(async {
        let outcome = accomplice(|world| {
            Box::pin(async {
                world
                    .as_operator_on_mailcow("edit/mailbox", json!({"items": [ADA], "attr": {"name": "Somebody"}}))
                    .await;
                // What the object's own write has just done excuses nothing.
                let mut status = world.status("EmailMailbox", "ada");
                status["messages"] = 7.into();
                world.as_operator_on_kubernetes("emailmailboxes", "ada", status).await;
                look_on(world, 9).await;
            })
        });
        let outcome = outcome.await;
        finds(&outcome, Oracle::Never, "EmailMailbox {0}/ada is told Ready=True: displayName");
        finds(&outcome, Oracle::Never, "EmailMailbox {0}/ada says Ready=True: displayName");
    });
}

#[test]
fn what_nobody_asked_for_is_found() {
    run(async {
        let outcome = accomplice(|world| {
            Box::pin(async {
                let of_zoe = |state: &State| {
                    let filter = state.filters.values().find(|filter| filter.username == ZOE).map(|filter| filter.id);
                    let password = state.app_passwords.values().find(|its| its.mailbox == ZOE).map(|its| its.id);
                    (filter, password)
                };
                let (filter, password) = world.servers[0].inspect(of_zoe);
                world.as_operator_on_mailcow("delete/filter", json!([filter])).await;
                world.as_operator_on_mailcow("delete/app-passwd", json!([password])).await;
                world.as_operator_on_mailcow("edit/mailbox", json!({"items": [ZOE], "attr": {"name": "Ours"}})).await;
                world.as_operator_on_mailcow("delete/mailbox", json!([ZOE])).await;
                world.as_operator_on_mailcow("delete/dkim", json!(["example.com"])).await;
                let mark = "mailcow-operator/testing/elsewhere/bob/7d0a2f0e-58a4-4f6e-9a6b-0d1d3f1f9d11";
                let mark = json!({"items": [ADA], "attr": {"attribute": ["managed-by"], "value": [mark]}});
                world.as_operator_on_mailcow("edit/mailbox/custom-attribute", mark).await;
            })
        });
        let outcome = outcome.await;
        finds(&outcome, Oracle::Never, "a person's filter of zoe@stranger.example");
        finds(&outcome, Oracle::Never, "a person's app password of zoe@stranger.example");
        finds(&outcome, Oracle::Never, "zoe@stranger.example was touched");
        finds(&outcome, Oracle::Never, "EmailMailbox zoe@stranger.example was deleted");
        finds(&outcome, Oracle::Never, "the DKIM key of example.com");
        finds(&outcome, Oracle::Never, "ada@example.com went from {0}/ada, which still exists, to elsewhere/bob");
    });
}

#[test]
fn a_deletion_against_the_policy_is_found() {
    run(async {
        // Of an object that is not being deleted.
        let outcome = accomplice(|world| Box::pin(world.as_operator_on_mailcow("delete/mailbox", json!([ADA]))));
        finds(&outcome.await, Oracle::Never, "EmailMailbox ada@example.com was deleted");
    });
}

#[test]
fn a_change_that_is_not_refused_is_found() {
    run(async {
        let outcome =
            accomplice(|world| Box::pin(world.refused(0, "EmailDomain/example", json!({"description": "Other"}))));
        finds(&outcome.await, Oracle::Never, "EmailDomain/example was not refused");
    });
}

#[test]
fn a_password_that_is_set_twice_is_found() {
    run(async {
        let outcome = accomplice(|world| {
            Box::pin(async {
                world.as_operator_on_mailcow("edit/mailbox", with("Not-Secret-1")).await;
                wait(0.2).await;
                let status = world.status("EmailMailbox", "ada");
                world.as_operator_on_kubernetes("emailmailboxes", "ada", status).await;
                world.as_operator_on_mailcow("edit/mailbox", with("Not-Secret-1")).await;
            })
        });
        finds(&outcome.await, Oracle::Never, "the password of ada@example.com was set twice");
    });
}

/// Ada with a password.
fn with(password: &str) -> Value {
    json!({"items": [ADA], "attr": {"password": password, "password2": password}})
}

/// Puts a password into ada's Secret, and waits until it is set: the how-many-eth.
async fn change_password(world: &World, password: &str, times: u32) {
    let secret =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: ada-mailbox}}\nstringData: {{password: {password}}}");
    world.apply(0, &secret).await;
    let set = || world.servers[0].inspect(|state| state.mailbox(ADA).map_or(0, |ada| ada.password_changes));
    let started = Instant::now();
    while set() < times && pace::elapsed(started) < crate::story::LONG {
        wait(0.1).await;
    }
}

#[test]
fn a_password_that_is_not_that_of_the_secret_is_found() {
    run(async {
        let outcome = accomplice(|world| Box::pin(world.as_operator_on_mailcow("edit/mailbox", with("Not-Secret-1"))));
        let outcome = outcome.await;
        finds(&outcome, Oracle::End, "EmailMailbox {0}/ada has not the password of the Secret ada-mailbox");
        finds(&outcome, Oracle::Never, "ada@example.com got a password that its Secret never held");
        let outcome = accomplice(|world| {
            Box::pin(async {
                change_password(world, "One-Password-1", 2).await;
                change_password(world, "Two-Password-2", 3).await;
                world.as_operator_on_mailcow("edit/mailbox", with("One-Password-1")).await;
            })
        });
        finds(&outcome.await, Oracle::Never, "ada@example.com got an older password");
    });
}

#[test]
fn a_forward_that_no_rule_asks_for_is_found_at_once_and_after_a_while() {
    run(async {
        let outcome = accomplice(|world| {
            Box::pin(async {
                let filter = |to: &str| {
                    json!({"username": ADA, "filter_type": "prefilter", "active": "1", "script_desc": "mailcow-operator",
                        "script_data": format!("# mailcow-operator/testing/x/y/z\nrequire \"copy\";\nredirect :copy \"{to}\";\n")})
                };
                world.as_operator_on_mailcow("add/filter", filter("thief@other.example")).await;
                // The rule that once asked for this one is gone.
                world.delete(0, &["EmailForwardingRule/copy"]).await;
                world.gone("EmailForwardingRule", 0, "copy").await;
                world.as_operator_on_mailcow("add/filter", filter("x@other.example")).await;
                look_on(world, 20).await;
            })
        });
        let outcome = outcome.await;
        finds(&outcome, Oracle::Never, "forwards as no rule ever asked: ada@example.com -> thief@other.example");
        finds(&outcome, Oracle::Never, "no rule asks for the forward ada@example.com -> x@other.example");
    });
}

#[test]
fn a_panic_and_an_end_by_itself_are_found() {
    run(async {
        let folder = ground::Folder::new("stand-in", false).unwrap();
        let script = format!(
            "#!/bin/sh\necho \"thread 'main' panicked at src/nothing.rs:1:1:\" >&2\n{} \"$@\" &\nsleep 6\nkill -9 $!\nexit 3\n",
            OPERATOR.0
        );
        let file = folder.write("operator", script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let schedule = Schedule::quiet(CALM.name, Resync::Never);
        let outcome = campaign::run_against(&CALM, &schedule, Vec::new(), (&file.display().to_string(), SHORT)).await;
        finds(&outcome, Oracle::Healthy, "panicked at");
        finds(&outcome, Oracle::Healthy, "ended by itself: exit status: 3");
    });
}
