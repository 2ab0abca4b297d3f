//! `reconcile`, `pause`, `resume`, `rotate` and `replay`: the annotations and Secrets that ask the operator or the worker of
//! task delivery for something, by name.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::cluster::{Cluster, Scope};
use super::failure::{ApiCall, Failure, root_cause};
use super::flags::{Output, Selection, some_time};
use super::kinds::{Kind, Named, Target, condition, find, is_current, list};
use super::show::Show;
use crate::crd::{CORRECT, MAILBOX_LABEL, PASSWORD, PAUSED, RECONCILE_REQUESTED_AT, REPLAY};

/// Number of objects that are changed or watched at once.
const AT_ONCE: usize = 16;

/// Which objects, and whether to wait for them.
#[derive(Clone, Debug, Args)]
pub struct OperationFlags {
    /// KIND/NAME…, KIND NAME…, or KIND with -l or --all. Kinds: edom, embx, ealias, efr; email for all.
    #[arg(value_name = "KIND/NAME", add = super::completion::objects())]
    pub objects: Vec<String>,
    /// Which objects.
    #[command(flatten)]
    pub selection: Selection,
    /// All objects of the namespace, or with -A of all namespaces.
    #[arg(long)]
    pub all: bool,
    /// Wait until the operator has done it.
    #[arg(short, long)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = some_time)]
    pub timeout: Duration,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// A reconcile now; with `correct` it also writes the spec where `driftPolicy: Report` keeps changes.
    Reconcile { correct: bool },
    /// No more writes to Mailcow.
    Pause,
    /// Writes to Mailcow again.
    Resume,
    /// A new generated password.
    Rotate { yes: bool },
    /// Another try of failed deliveries.
    Replay,
}

impl Operation {
    const fn done(self) -> &'static str {
        match self {
            Self::Reconcile { .. } => "reconcile requested",
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Rotate { .. } => "new password requested",
            Self::Replay => "replay requested",
        }
    }
}

/// An object that was changed, and what shows that the operator followed.
struct Requested {
    target: Target,
    awaited: Awaited,
}

#[derive(Clone, Debug)]
enum Awaited {
    /// This value of the request is echoed.
    Echo(String),
    Paused,
    Resumed,
    /// Another version of the password than this.
    Password(Option<String>),
    /// This value is the last replay that the worker has handled.
    Replayed(String),
}

/// How it ended for an object.
struct Finished {
    target: Target,
    /// `None`: nothing was waited for.
    result: Option<Result<(), String>>,
    /// Whether it was a replay.
    is_replay: bool,
}

/// Runs the command.
pub(super) async fn run(
    cluster: &Cluster,
    operation: Operation,
    flags: &OperationFlags,
    show: &Show,
) -> Result<(), Failure> {
    let targets = targets(cluster, operation, flags).await?;
    if let Operation::Rotate { yes: false } = operation
        && targets.len() > 1
    {
        return Err(Failure::wrong(format!(
            "this would replace {} passwords; mail clients must then get the new ones: repeat it with --yes",
            targets.len()
        )));
    }
    let mut failures = Vec::new();
    let mut changed = Vec::new();
    let mut results =
        stream::iter(targets.into_iter().map(|target| change(cluster, operation, target))).buffered(AT_ONCE);
    while let Some(result) = results.next().await {
        match result {
            Ok(one) => {
                if flags.output == Output::Text {
                    Show::write(&format!("{} {}\n", one.target.reference(), operation.done()))?;
                }
                changed.push(one);
            }
            Err(failure @ Failure::Unreachable(_)) => return Err(failure),
            Err(failure) => failures.extend(failure.problems().to_vec()),
        }
    }
    drop(results);
    let ended = if flags.wait { wait(cluster, changed, flags.timeout, show).await } else { unwaited(changed) };
    let value: Value = ended.iter().map(Finished::json).collect();
    Show::answer(flags.output, &value, || ended.iter().filter_map(Finished::line).collect())?;
    for one in &ended {
        if let Some(Err(why)) = &one.result {
            failures.push(format!("{} in {}: {why}", one.target.reference(), one.target.namespace()));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Wrong(failures)) }
}

/// The objects that the flags name.
async fn targets(cluster: &Cluster, operation: Operation, flags: &OperationFlags) -> Result<Vec<Target>, Failure> {
    let selection = &flags.selection;
    let is_selected = flags.all || selection.selector.is_some();
    let mut named = Named::parse(&flags.objects).map_err(Failure::wrong)?;
    // A name that is given twice is done once.
    let mut seen = BTreeSet::new();
    named.objects.retain(|object| seen.insert(object.clone()));
    if matches!(operation, Operation::Rotate { .. }) {
        if flags.objects.is_empty() {
            named.kinds = vec![Kind::Mailbox];
        }
        if named.kinds.iter().chain(named.objects.iter().map(|(kind, _)| kind)).any(|kind| *kind != Kind::Mailbox) {
            return Err(Failure::wrong("only mailboxes have passwords: name them as embx/NAME"));
        }
    }
    if operation == Operation::Replay {
        if flags.objects.is_empty() {
            named.kinds = vec![Kind::Rule];
        }
        let has_mail = |kind: &Kind| matches!(kind, Kind::Mailbox | Kind::Rule);
        if !named.kinds.iter().chain(named.objects.iter().map(|(kind, _)| kind)).all(has_mail) {
            return Err(Failure::wrong("only rules and mailboxes have deliveries: name them as efr/NAME or embx/NAME"));
        }
    }
    if named.objects.is_empty() && !is_selected {
        return Err(Failure::wrong("name the objects as KIND/NAME, or select them with -l LABELS or --all"));
    }
    if !named.objects.is_empty() && is_selected {
        return Err(Failure::wrong("give names, or select with -l or --all, but not both"));
    }
    if !named.objects.is_empty() && selection.all_namespaces {
        return Err(Failure::wrong("-A is for -l and --all; names are those of one namespace (-n)"));
    }
    let mut found = Vec::new();
    for (kind, name) in &named.objects {
        found.push(find(cluster, *kind, name).await?);
    }
    if named.objects.is_empty() {
        let scope: Scope = cluster.scope(selection);
        for kind in &named.kinds {
            found.extend(list(cluster, *kind, &scope, selection.selector.as_deref()).await?);
        }
        if operation == Operation::Replay {
            found.retain(|target| no_delivery(target).is_none());
        }
        if found.is_empty() {
            let which = if operation == Operation::Replay { " with deliveries of tasks or notes" } else { "" };
            return Err(Failure::wrong(format!("no object{which} is selected")));
        }
    }
    Ok(found)
}

/// Changes one object.
async fn change(cluster: &Cluster, operation: Operation, target: Target) -> Result<Requested, Failure> {
    let annotations = match operation {
        Operation::Reconcile { correct } => {
            let now = crate::clock::precisely().0;
            let value = if correct { format!("{CORRECT}-{now}") } else { now.to_string() };
            json!({RECONCILE_REQUESTED_AT: value})
        }
        Operation::Pause => json!({PAUSED: "true"}),
        Operation::Resume => json!({PAUSED: null}),
        Operation::Rotate { .. } => return rotate(cluster, target).await,
        Operation::Replay => {
            if let Some(why) = no_delivery(&target).or_else(|| paused(&target)) {
                return Err(Failure::wrong(why));
            }
            json!({REPLAY: crate::clock::precisely().0.to_string()})
        }
    };
    let value = |name: &str| annotations[name].as_str().map(ToOwned::to_owned);
    let awaited = match operation {
        Operation::Pause => Awaited::Paused,
        Operation::Replay => Awaited::Replayed(value(REPLAY).unwrap_or_default()),
        Operation::Reconcile { .. } => Awaited::Echo(value(RECONCILE_REQUESTED_AT).unwrap_or_default()),
        Operation::Resume | Operation::Rotate { .. } => Awaited::Resumed,
    };
    let patch = json!({"metadata": {"annotations": annotations}});
    let namespace = target.namespace();
    let call = ApiCall { verb: "patch", resource: target.kind.plural(), namespace: Some(&namespace) };
    let patched =
        target.api(cluster).patch(&target.object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await;
    let object = patched.map_err(|error| call.failed(&error))?;
    Ok(Requested { target: Target { object, ..target }, awaited })
}

/// That an object is paused, and what to do.
fn paused(target: &Target) -> Option<String> {
    let is_paused = target.object.annotations().get(PAUSED).is_some_and(|value| value == "true");
    let (reference, namespace) = (target.reference(), target.namespace());
    is_paused.then(|| format!("{reference} is paused; run: kubectl email resume {reference} -n {namespace}"))
}

/// Why nothing of an object is delivered, so that the worker of task delivery would never answer a replay.
fn no_delivery(target: &Target) -> Option<String> {
    let (reference, data) = (target.reference(), &target.object.data);
    let actions = data.pointer("/spec/actions").and_then(Value::as_array);
    let is_delivery = |action: &Value| action.get("createTask").is_some() || action.get("createNote").is_some();
    let why = match target.kind {
        Kind::Rule if !actions.is_some_and(|actions| actions.iter().any(is_delivery)) => {
            "it has no createTask or createNote".to_owned()
        }
        Kind::Mailbox if data.pointer("/status/delivery").is_none() => {
            "none of its rules has createTask or createNote in force".to_owned()
        }
        _ => match condition(&target.object, "Ready") {
            Some(("False", "FeatureDisabled", message)) => message.to_owned(),
            _ => return None,
        },
    };
    Some(format!("{reference} delivers nothing: {why}"))
}

/// Deletes the generated Secret; the operator then generates another.
async fn rotate(cluster: &Cluster, target: Target) -> Result<Requested, Failure> {
    let (reference, namespace) = (target.reference(), target.namespace());
    let data = &target.object.data;
    let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned);
    if let Some(name) = text("/spec/passwordSecretRef/name") {
        return Err(Failure::wrong(format!(
            "{reference}: its password is in your own Secret {name}; change it there, and the operator sets it"
        )));
    }
    if let Some(why) = paused(&target) {
        return Err(Failure::wrong(why));
    }
    let Some(name) = text("/status/credentialsSecretName") else {
        return Err(Failure::wrong(format!(
            "{reference} has no generated Secret: its user or an identity provider has the password; to set one, use spec.passwordSecretRef"
        )));
    };
    let Some(secret) = cluster.find::<Secret>(&namespace, &name).await? else {
        return Err(Failure::wrong(format!(
            "{reference}: the Secret {name} does not exist; the operator generates it when the mailbox is Ready"
        )));
    };
    if !secret.labels().contains_key(MAILBOX_LABEL) || secret.annotations().contains_key(PASSWORD) {
        return Err(Failure::wrong(format!(
            "{reference}: the Secret {name} has no generated password that is in use; to set one, use spec.passwordSecretRef"
        )));
    }
    let only = DeleteParams {
        preconditions: Some(Preconditions { uid: secret.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    let call = ApiCall { verb: "delete", resource: "secrets", namespace: Some(&namespace) };
    cluster.api::<Secret>(&namespace).delete(&name, &only).await.map_err(|error| call.failed(&error))?;
    let before = text("/status/passwordVersion");
    Ok(Requested { target, awaited: Awaited::Password(before) })
}

fn unwaited(changed: Vec<Requested>) -> Vec<Finished> {
    let finished = |one: Requested| {
        let is_replay = matches!(one.awaited, Awaited::Replayed(_));
        Finished { target: one.target, result: None, is_replay }
    };
    changed.into_iter().map(finished).collect()
}

/// Waits until the operator has followed, for all objects in the same time.
async fn wait(cluster: &Cluster, changed: Vec<Requested>, limit: Duration, show: &Show) -> Vec<Finished> {
    let (all, mut done) = (changed.len(), Vec::new());
    let waiting = changed.into_iter().map(|one| wait_for(cluster, one, limit));
    let mut waiting = stream::iter(waiting).buffer_unordered(AT_ONCE);
    show.progress(&format!("waiting for {all} objects"));
    while let Some(ended) = waiting.next().await {
        done.push(ended);
        show.progress(&format!("{} of {all} done", done.len()));
    }
    show.progress("");
    done.sort_by(|a, b| {
        (a.target.kind, a.target.namespace(), a.target.reference()).cmp(&(
            b.target.kind,
            b.target.namespace(),
            b.target.reference(),
        ))
    });
    done
}

/// Waits for one object. One that is deleted meanwhile is done.
async fn wait_for(cluster: &Cluster, Requested { target, awaited }: Requested, limit: Duration) -> Finished {
    let (api, name) = (target.api(cluster), target.object.name_any());
    let is_replay = matches!(awaited, Awaited::Replayed(_));
    let is_done = |object: Option<&DynamicObject>| object.is_none_or(|object| awaited.is_seen(object));
    match tokio::time::timeout(limit, await_condition(api.clone(), &name, is_done)).await {
        Ok(Ok(None)) => Finished { target, result: Some(Ok(())), is_replay },
        Ok(Ok(Some(object))) => {
            let result = Some(awaited.outcome(&object));
            Finished { target: Target { object, ..target }, result, is_replay }
        }
        Ok(Err(error)) => {
            let why = format!("it can't be watched: {}", root_cause(&error));
            Finished { target, result: Some(Err(why)), is_replay }
        }
        Err(_) => {
            let now = api.get_opt(&name).await.ok().flatten();
            let why = now.as_ref().and_then(|object| awaited.why_not(object));
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            let result = Some(Err(format!("not done within {} s{why}; {}", limit.as_secs(), awaited.question())));
            Finished { target, result, is_replay }
        }
    }
}

impl Awaited {
    /// Whether the operator has followed. An object that can't become ready is done too: somebody must act.
    fn is_seen(&self, object: &DynamicObject) -> bool {
        let is_true = |kind: &str| condition(object, kind).is_some_and(|(status, ..)| status == "True");
        let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str);
        let is_settled = is_current(object) && (is_true("Ready") || is_true("Stalled"));
        match self {
            Self::Paused => is_true("Paused"),
            Self::Resumed => is_settled && !is_true("Paused"),
            Self::Echo(value) => {
                let has_dns = object.data.pointer("/status/dns").is_some();
                let is_echoed = |pointer: &str| text(pointer) == Some(value);
                is_echoed("/status/lastHandledReconcileAt")
                    && (!has_dns || is_echoed("/status/dns/lastHandledReconcileAt"))
                    && (is_settled || is_true("Paused"))
            }
            Self::Password(before) => {
                is_settled && text("/status/passwordVersion").is_some_and(|now| Some(now) != before.as_deref())
            }
            Self::Replayed(value) => text("/status/lastHandledReplay") == Some(value),
        }
    }

    /// Whether the object is ready, or paused. For a replay it does not matter.
    fn outcome(&self, object: &DynamicObject) -> Result<(), String> {
        match condition(object, "Ready") {
            Some(("False" | "Unknown", reason, message))
                if reason != "Paused" && !matches!(self, Self::Replayed(_)) =>
            {
                Err(format!("{reason}: {message}"))
            }
            _ => Ok(()),
        }
    }

    /// What the object says for the wait.
    fn why_not(&self, object: &DynamicObject) -> Option<String> {
        if matches!(self, Self::Replayed(_)) {
            let delivered = object.data.pointer("/status/delivered")?;
            let text = |key: &str| delivered[key].as_str();
            return Some(format!("{}: {}", text("reason")?, text("message")?));
        }
        condition(object, "Ready").map(|(_, reason, message)| format!("{reason}: {message}"))
    }

    /// What to look at when nobody followed.
    const fn question(&self) -> &'static str {
        match self {
            Self::Replayed(_) => "is the worker of task delivery running? see docs/intake.md",
            _ => "is the operator running? run: kubectl email check",
        }
    }
}

impl Finished {
    fn json(&self) -> Value {
        let (status, reason, message) = condition(&self.target.object, "Ready").unwrap_or_default();
        json!({
            "kind": self.target.kind.name(),
            "namespace": self.target.namespace(), "name": self.target.object.name_any(),
            "done": self.result.as_ref().map(Result::is_ok),
            "ready": status, "reason": reason, "message": message,
        })
    }

    fn line(&self) -> Option<String> {
        match self.result {
            Some(Ok(())) if self.is_replay => {
                Some(format!("{}: failed deliveries are tried again\n", self.target.reference()))
            }
            Some(Ok(())) => {
                let paused = condition(&self.target.object, "Paused").is_some_and(|(status, ..)| status == "True");
                Some(format!("{} {}\n", self.target.reference(), if paused { "is paused" } else { "is ready" }))
            }
            Some(Err(_)) | None => None,
        }
    }
}
