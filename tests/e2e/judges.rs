//! What kstatus, Flux, Argo CD and `kubectl wait` make of our objects in every state: real statuses of a live operator,
//! judged by the tools' own code.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use ground::wait_until;
use kube::api::{Api, DynamicObject, WatchEvent, WatchParams};
use kube::core::ApiResource;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::world::{LIMIT, World};

/// The folder of files for Argo CD and Flux.
const GITOPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gitops");
/// Where the states and the verdicts are kept to look at.
const KEPT: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/judges");

/// Each state that an object can be in: what kstatus and Flux, and what Argo CD, have to say of it.
const STATES: [(&str, &str, &str); 13] = [
    ("unseen", "InProgress", "Progressing"),
    ("changed", "InProgress", "Progressing"),
    ("waiting", "InProgress", "Progressing"),
    ("unconfigured", "InProgress", "Progressing"),
    ("down", "InProgress", "Progressing"),
    ("held", "InProgress", "Suspended"),
    ("ready", "Current", "Healthy"),
    ("paused", "Current", "Healthy"),
    ("stalled", "Failed", "Degraded"),
    ("drifted", "Failed", "Degraded"),
    ("removing", "Terminating", "Progressing"),
    ("stuck", "Terminating", "Progressing"),
    ("undeletable", "Terminating", "Progressing"),
];

/// What one tool says of one object.
#[derive(Debug, Deserialize)]
struct Verdict {
    status: String,
    message: String,
}

/// What all say of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdicts {
    kstatus: Verdict,
    flux: Verdict,
    flux_exprs: Option<Verdict>,
    argocd: Verdict,
}

/// Asks the judges about objects; `exprs` is a file with a Kustomization whose health checks Flux uses.
async fn judged(objects: &[Value], exprs: &Path) -> Vec<Verdicts> {
    let mut judges = tokio::process::Command::new(ground::judges().await.unwrap().join("judges"))
        .args([Path::new(GITOPS).join("argocd-cm.yaml").as_path(), exprs])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = judges.stdin.take().unwrap();
    let text = serde_json::to_vec(objects).unwrap();
    let feed = async move { stdin.write_all(&text).await };
    let (written, output) = tokio::join!(feed, judges.wait_with_output());
    written.unwrap();
    let output = output.unwrap();
    assert!(output.status.success(), "the judges failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The kinds, with their short names.
fn kinds() -> [(&'static str, ApiResource); 4] {
    [
        ("edom", ApiResource::erase::<EmailDomain>(&())),
        ("embx", ApiResource::erase::<EmailMailbox>(&())),
        ("ealias", ApiResource::erase::<EmailAlias>(&())),
        ("efr", ApiResource::erase::<EmailForwardingRule>(&())),
    ]
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether a condition is True of the current spec.
fn is_true(object: &Value, kind: &str) -> bool {
    let generation = &object["metadata"]["generation"];
    condition(object, kind).is_some_and(|c| c["status"] == "True" && c["observedGeneration"] == *generation)
        && object["status"]["observedGeneration"] == *generation
}

fn is_going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// One object of each kind, with these parts of their specs.
fn four(name: &str, [domain, mailbox, alias, rule]: [&str; 4]) -> String {
    let one = |kind: &str, spec: String| {
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"
        )
    };
    [
        one("EmailDomain", format!("domain: {name}.example, {domain}")),
        one("EmailMailbox", format!("localPart: ada, domainRef: {{name: {name}}}, {mailbox}")),
        one("EmailAlias", format!("localPart: sales, domainRef: {{name: {name}}}, {alias}")),
        one("EmailForwardingRule", format!("mailboxRef: {{name: {name}}}, {rule}")),
    ]
    .concat()
}

const GOTO: &str = "goto: [x@other.org]";
const FORWARD: &str = "actions: [{forward: {to: [x@other.org]}}]";

/// A world, every version of every object that it ever held, and those that stand for a state.
struct Court {
    world: World,
    versions: Arc<Mutex<Vec<Value>>>,
    states: Vec<(&'static str, Value)>,
}

impl Court {
    async fn new() -> Self {
        let world = World::without_mailcow("judges").await;
        let versions = Arc::new(Mutex::new(Vec::new()));
        for (_, resource) in kinds() {
            let api: Api<DynamicObject> = Api::namespaced_with(world.kube.clone(), &world.namespace, &resource);
            tokio::spawn(record(api, Arc::clone(&versions)));
        }
        Self { world, versions, states: Vec::new() }
    }

    async fn get(&self, (short, name): (&str, &str)) -> Option<Value> {
        let (_, resource) = kinds().into_iter().find(|(known, _)| *known == short).unwrap();
        let api: Api<DynamicObject> = Api::namespaced_with(self.world.kube.clone(), &self.world.namespace, &resource);
        api.get_opt(name).await.unwrap().map(|object| serde_json::to_value(object).unwrap())
    }

    /// Waits until it is so of an object, and takes that as an example of the state.
    async fn take(&mut self, state: &'static str, thing: (&str, &str), is_so: impl Fn(&Value) -> bool) {
        let what = format!("{state} of {thing:?}");
        let found = wait_until(LIMIT, &what, async || {
            let object = self.get(thing).await.unwrap_or_default();
            if is_so(&object) { Ok(object) } else { Err(format!("{:#}", object["status"]["conditions"])) }
        });
        match found.await {
            Ok(object) => self.states.push((state, object)),
            Err(error) => panic!("{error}\n{}", self.world.logs()),
        }
    }

    /// The same of all four kinds, and of `kubectl wait`, which has to agree.
    async fn take_all(&mut self, state: &'static str, name: &str, is_so: impl Fn(&Value) -> bool) {
        for (short, _) in kinds() {
            self.take(state, (short, name), &is_so).await;
        }
        let said = self.all("wait", name, &["--for=condition=Ready", "--timeout=0"]).await;
        let count = if ["ready", "paused"].contains(&state) { 4 } else { 0 };
        assert_eq!(said.matches("condition met").count(), count, "{state}: {said}");
    }

    /// Does something to all four.
    async fn all(&self, verb: &str, name: &str, args: &[&str]) -> String {
        let things = kinds().map(|(short, _)| format!("{short}/{name}"));
        let things: Vec<&str> = things.iter().map(String::as_str).collect();
        self.world.kubectl(&[&[verb], &*things, args].concat()).await
    }

    /// Changes the spec of each of the four.
    async fn change(&self, name: &str, text: &str) {
        let specs = [
            format!(r#"{{"description":"{text}"}}"#),
            format!(r#"{{"displayName":"{text}"}}"#),
            format!(r#"{{"publicComment":"{text}"}}"#),
            format!(r#"{{"actions":[{{"forward":{{"to":["{text}@other.org"]}}}}]}}"#),
        ];
        let changes = kinds().into_iter().zip(specs).map(|((short, _), spec)| async move {
            let patch = format!(r#"{{"spec":{spec}}}"#);
            let said = self.world.kubectl(&["patch", short, name, "--type=merge", "-p", &patch]).await;
            assert!(said.contains("patched"), "{said}");
        });
        futures::future::join_all(changes).await;
    }
}

/// Keeps every version that the API server tells of.
async fn record(api: Api<DynamicObject>, versions: Arc<Mutex<Vec<Value>>>) {
    let mut events = std::pin::pin!(api.watch(&WatchParams::default(), "0").await.unwrap());
    while let Ok(Some(event)) = events.try_next().await {
        if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
            let object = serde_json::to_value(object).unwrap();
            versions.lock().unwrap_or_else(PoisonError::into_inner).push(object);
        }
    }
}

/// Before there is a Mailcow.
async fn early_states(court: &mut Court) {
    court.world.apply(&four("plain", ["", "", GOTO, FORWARD])).await;
    court.take_all("unseen", "plain", |object| condition(object, "Ready").is_none()).await;
    court.world.start_operator(&["--poll-interval", "1s"]);
    let is_unconfigured = |o: &Value| condition(o, "Ready").is_some_and(|c| c["reason"] == "MailcowNotConfigured");
    court.take_all("unconfigured", "plain", is_unconfigured).await;
    court.world.connect().await;
    court.take_all("ready", "plain", |object| is_true(object, "Ready")).await;
}

/// What waits for something else, what a person has to mend.
async fn bad_states(court: &mut Court) {
    let report = "driftPolicy: Report, ";
    let all = [
        four("report", [report, report, &format!("{report}{GOTO}"), &format!("{report}{FORWARD}")]),
        // A quota above the domain's, which Mailcow refuses, and a pattern that is no POSIX.
        four("bad", [
            "limits: {mailboxQuota: 1Gi}",
            "quota: 5Gi",
            GOTO,
            r"match: {all: [{field: Subject, operator: Regex, values: ['\d']}]}, actions: [{ignore: {}}]",
        ]),
        four("late", ["dns: {gate: Ready}", "passwordSecretRef: {name: none, key: p}", GOTO, FORWARD])
            .replace("domainRef: {name: late}, goto", "domainRef: {name: none}, goto")
            .replace("mailboxRef: {name: late}", "mailboxRef: {name: none}"),
        "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailDomain\nmetadata: {name: second}\nspec: {domain: plain.example}\n---\n".to_owned(),
        format!("apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: second}}\nspec: {{domainRef: {{name: plain}}, localPart: sales, {GOTO}}}\n"),
    ];
    court.world.apply(&all.concat()).await;
    court
        .take_all("waiting", "late", |object| {
            is_true(object, "Reconciling") && condition(object, "Ready").is_some_and(|c| c["reason"] != "Pending")
        })
        .await;
    for thing in [("edom", "second"), ("embx", "bad"), ("ealias", "second"), ("efr", "bad")] {
        court.take("stalled", thing, |object| is_true(object, "Stalled")).await;
    }
    court.take_all("ready", "report", |object| is_true(object, "Ready")).await;
}

async fn drifted_states(court: &mut Court) {
    court.world.mailcow.edit(|state| {
        for domain in state.domains.values_mut().filter(|domain| domain.name == "report.example") {
            domain.active = 0;
        }
        state.mailbox_mut("ada@report.example").unwrap().active = 0;
        for alias in state.aliases.values_mut().filter(|alias| alias.address == "sales@report.example") {
            alias.active = 0;
        }
        for filter in state.filters.values_mut().filter(|filter| filter.username == "ada@report.example") {
            filter.script.push_str("# by hand\n");
        }
    });
    court.world.kubectl(&["annotate", "efr", "report", "email.askrobots.com/reconcile-requested-at=1"]).await;
    court.take_all("drifted", "report", |object| is_true(object, "Drifted")).await;
}

async fn paused_states(court: &mut Court) {
    court.all("annotate", "plain", &["email.askrobots.com/paused=true"]).await;
    court.take_all("paused", "plain", |object| is_true(object, "Paused") && is_true(object, "Ready")).await;
    court.change("plain", "new").await;
    court.take_all("held", "plain", |object| condition(object, "Ready").is_some_and(|c| c["reason"] == "Paused")).await;
    court.all("annotate", "plain", &["email.askrobots.com/paused-"]).await;
    court.take_all("ready", "plain", |object| is_true(object, "Ready")).await;
}

/// A deletion that a person has to confirm, or that is paused.
async fn stuck_states(court: &mut Court) {
    let delete = "deletionPolicy: Delete";
    let (alias, rule) = (format!("{delete}, {GOTO}"), format!("{delete}, {FORWARD}"));
    // Its MX record is all that it asks for, and is there.
    let domain = format!("{delete}, dns: {{required: [MX]}}");
    court.world.dns.zone("stuck.example", "@ MX 10 mail.host.test.").unwrap();
    court.world.apply(&four("stuck", [&domain, delete, &alias, &rule])).await;
    court.take("ready", ("edom", "stuck"), |object| is_true(object, "Ready") && is_true(object, "DNSVerified")).await;
    court.take_all("ready", "stuck", |object| is_true(object, "Ready")).await;
    court.world.mailcow.edit(|state| state.seed_usage("ada@stuck.example", 3, 4096));
    for short in ["ealias", "efr"] {
        court.world.kubectl(&["annotate", short, "stuck", "email.askrobots.com/paused=true"]).await;
        court.take("paused", (short, "stuck"), |object| is_true(object, "Paused")).await;
    }
    court.all("delete", "stuck", &["--wait=false"]).await;
    court
        .take_all("stuck", "stuck", |object| {
            is_going(object) && condition(object, "Ready").is_some_and(|c| c["status"] == "False")
        })
        .await;
}

/// While Mailcow is away, and while the operator is.
async fn last_states(court: &mut Court) {
    court.world.mailcow.set_down(true).await.unwrap();
    court.change("plain", "newer").await;
    let is_unknown = |object: &Value| condition(object, "Ready").is_some_and(|c| c["reason"] == "MailcowUnreachable");
    court.take_all("down", "plain", is_unknown).await;
    court.world.operator = None;
    court.change("plain", "newest").await;
    court.take_all("changed", "plain", |object| !is_going(object)).await;
    court.all("delete", "plain", &["--wait=false"]).await;
    court.take_all("removing", "plain", is_going).await;
    court.world.start_operator(&[]);
    court
        .take_all("undeletable", "plain", |object| {
            is_going(object)
                && is_unknown(object)
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
}

#[tokio::test]
async fn every_judge_agrees_on_every_state() {
    let mut court = Court::new().await;
    early_states(&mut court).await;
    bad_states(&mut court).await;
    drifted_states(&mut court).await;
    paused_states(&mut court).await;
    stuck_states(&mut court).await;
    last_states(&mut court).await;
    let none = written("no-exprs.yaml", "spec: {}\n");
    named_states(&court.states, &none).await;
    let versions = court.versions.lock().unwrap_or_else(PoisonError::into_inner).clone();
    every_version(&versions, &none).await;
    waiting_for_dns(&versions).await;
}

/// Writes a file among what is kept.
fn written(name: &str, text: &str) -> PathBuf {
    std::fs::create_dir_all(KEPT).unwrap();
    let path = Path::new(KEPT).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Of each state, every judge says what is expected of it.
async fn named_states(states: &[(&str, Value)], exprs: &Path) {
    let objects: Vec<Value> = states.iter().map(|(_, object)| object.clone()).collect();
    let mut table = "| state | kind | kstatus | Flux | Argo CD | message |\n|---|---|---|---|---|---|\n".to_owned();
    let mut wrong = Vec::new();
    for ((state, object), said) in states.iter().zip(judged(&objects, exprs).await) {
        let kind = object["kind"].as_str().unwrap();
        written(&format!("{state}.{kind}.json"), &serde_json::to_string_pretty(object).unwrap());
        let row = format!(
            "| {state} | {kind} | {} | {} | {} | {} |\n",
            said.kstatus.status, said.flux.status, said.argocd.status, said.argocd.message
        );
        let (_, kstatus, argocd) = STATES.iter().find(|(name, _, _)| name == state).unwrap();
        if [&said.kstatus.status, &said.flux.status] != [kstatus, kstatus] || said.argocd.status != *argocd {
            wrong.push(row.clone());
        }
        let is_to_confirm = *state == "stuck" && kind == "EmailMailbox";
        assert!(!is_to_confirm || said.argocd.message.contains("confirm-delete"), "{row}");
        table.push_str(&row);
    }
    written("verdicts.md", &table);
    assert!(wrong.is_empty(), "not as expected:\n{}", wrong.concat());
    for (state, _, _) in STATES {
        let kinds = states.iter().filter(|(taken, _)| *taken == state).count();
        assert!(kinds >= 4, "{state} was seen on {kinds} kinds");
    }
}

/// The health checks that the documentation gives for Flux wait for DNS as well.
async fn waiting_for_dns(versions: &[Value]) {
    let page = include_str!("../../docs/gitops.md");
    let block = page.split("```yaml\n").find(|block| block.contains("healthCheckExprs")).unwrap();
    let exprs = written("exprs.yaml", block.split("```").next().unwrap());
    let mut current = 0;
    for (object, said) in versions.iter().zip(judged(versions, &exprs).await) {
        assert_eq!(said.flux_exprs.is_some(), object["kind"] == "EmailDomain");
        let Some(said) = said.flux_exprs else { continue };
        let is_current = is_true(object, "Ready") && is_true(object, "DNSVerified") && !is_going(object);
        assert_eq!(said.status == "Current", is_current, "{said:?}\n{object:#}");
        let is_failed = is_true(object, "Stalled") && !is_going(object);
        assert_eq!(said.status == "Failed", is_failed, "{said:?}\n{object:#}");
        current += usize::from(is_current);
    }
    assert!(current > 0, "no domain was verified");
}

/// What the operator writes of an object, as the API server keeps book: its status and finalizer.
fn writes_no_spec(object: &Value) {
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        if entry["manager"].as_str().unwrap().starts_with("mailcow-operator") {
            let fields: Vec<&String> = entry["fieldsV1"].as_object().unwrap().keys().collect();
            let of_metadata = entry["fieldsV1"]["f:metadata"].as_object().map_or(0, serde_json::Map::len);
            let is_finalizer = fields == ["f:metadata"]
                && of_metadata == 1
                && entry["fieldsV1"]["f:metadata"]["f:finalizers"].is_object();
            assert!(is_finalizer || fields == ["f:status"], "{entry:#}");
        }
    }
}

/// Whatever the operator ever said: nobody took an object for done that was not, or for failed that was not.
async fn every_version(versions: &[Value], exprs: &Path) {
    let is_pending =
        |o: &Value| condition(o, "Ready").is_some_and(|c| c["reason"] == "Pending" && c["status"] == "Unknown");
    assert!(versions.len() > 100 && versions.iter().any(is_pending), "{}", versions.len());
    for (object, said) in versions.iter().zip(judged(versions, exprs).await) {
        writes_no_spec(object);
        let expected = match (is_going(object), is_true(object, "Ready"), is_true(object, "Stalled")) {
            (true, _, _) => "Terminating",
            (false, true, false) => "Current",
            (false, false, true) => "Failed",
            (false, false, false) => "InProgress",
            (false, true, true) => panic!("Ready and Stalled: {object:#}"),
        };
        let argocd = match said.argocd.status.as_str() {
            "Healthy" => "Current",
            "Degraded" => "Failed",
            "Progressing" if is_going(object) => "Terminating",
            "Progressing" | "Suspended" => "InProgress",
            other => other,
        };
        let all = [&*said.kstatus.status, &*said.flux.status, argocd];
        assert_eq!(all, [expected; 3], "{said:#?}\n{object:#}");
    }
}
