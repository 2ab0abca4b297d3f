//! The tools that create and change objects. All are safe to repeat: an object that exists is never changed by a tool that
//! creates.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::Resource;
use serde_json::{Map, Value, json};

use super::answers::{Change, Explained, Written};
use super::arguments::{
    AddAlias, CreateDomain, CreateForwardingRule, CreateMailbox, Seconds, SetMailboxState, USUAL_WAIT, at,
    usual_example,
};
use super::call::Call;
use super::caller::MANAGER;
use super::managed::{Managed, credentials};
use super::read::condition;
use super::text::{LocalPart, Namespace, ObjectName};
use super::tool_error::{ErrorKind, ToolError, shown};
use super::untrusted::Untrusted;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::mail::DomainName;

/// Tools that keep objects of users as a Git repository has them, by a part of their field manager's name.
const GITOPS: [&str; 4] = ["argocd", "kustomize-controller", "helm-controller", "helm"];

/// `create_domain`
pub(crate) async fn create_domain(call: &Call<'_>, wanted: CreateDomain) -> Result<Written, ToolError> {
    call.scope.check(&wanted.namespace)?;
    let name = match wanted.name {
        Some(name) => name,
        None => default_name(&dashed(wanted.domain.as_str()))?,
    };
    let limits = object([
        ("mailboxes", json!(wanted.max_mailboxes)),
        ("aliases", json!(wanted.max_aliases)),
        ("mailboxQuota", json!(wanted.max_mailbox_quota)),
        ("totalQuota", json!(wanted.total_quota)),
    ]);
    let spec = object([
        ("domain", json!(wanted.domain)),
        ("description", json!(wanted.description)),
        ("server", json!(wanted.server)),
        ("limits", if limits.is_empty() { Value::Null } else { Value::Object(limits) }),
    ]);
    let change = create::<EmailDomain>(call, &wanted.namespace, &name, spec).await?;
    let (domain, answer) = written::<EmailDomain>(call, &wanted.namespace, &name, change, wanted.wait_seconds).await?;
    let what_to_do = match domain {
        Some(domain) if domain.is_ready() => {
            "call get_domain_dns and have a person publish the records; then create mailboxes"
        }
        _ => "call explain later; create mailboxes once the domain is ready",
    };
    Ok(Written { what_to_do: what_to_do.to_owned(), ..answer })
}

/// `create_mailbox`
pub(crate) async fn create_mailbox(call: &Call<'_>, wanted: CreateMailbox) -> Result<Written, ToolError> {
    call.scope.check(&wanted.namespace)?;
    let name = named(wanted.name, Some(&wanted.local_part))?;
    let spec = object([
        ("localPart", json!(wanted.local_part)),
        ("domainRef", reference(&wanted.domain, wanted.domain_namespace.as_ref())),
        ("displayName", json!(wanted.display_name)),
        ("quota", json!(wanted.quota)),
    ]);
    let change = create::<EmailMailbox>(call, &wanted.namespace, &name, spec).await?;
    let (mailbox, answer) =
        written::<EmailMailbox>(call, &wanted.namespace, &name, change, wanted.wait_seconds).await?;
    let secret = mailbox.as_ref().map_or_else(|| format!("{name}-mailbox"), credentials);
    let what_to_do = if answer.ready {
        format!("a person reads the password from the Secret {secret}; it is in no answer of this server")
    } else {
        "call explain later; the password is generated into the Secret once the mailbox is ready".to_owned()
    };
    Ok(Written { credentials_secret: Some(secret), what_to_do, ..answer })
}

/// `add_alias`
pub(crate) async fn add_alias(call: &Call<'_>, wanted: AddAlias) -> Result<Written, ToolError> {
    call.scope.check(&wanted.namespace)?;
    let is_all = wanted.catch_all == Some(true);
    if wanted.local_part.is_some() == is_all {
        return Err(ToolError::argument(
            "localPart",
            None,
            "give exactly one of localPart and catchAll: true",
            "sales",
        ));
    }
    let given = [wanted.goto.is_some(), wanted.goto_mailboxes.is_some(), wanted.sink.is_some()];
    if given.into_iter().filter(|given| *given).count() != 1 {
        let rule = "give exactly one of goto, gotoMailboxes and sink";
        return Err(ToolError::argument("goto", None, rule, r#"["ada@example.com"]"#));
    }
    let name = match (wanted.name, &wanted.local_part) {
        (None, None) => default_name(&format!("catch-all-{}", wanted.domain))?,
        (name, local) => named(name, local.as_ref())?,
    };
    let references =
        wanted.goto_mailboxes.map(|names| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>());
    let spec = object([
        ("domainRef", reference(&wanted.domain, wanted.domain_namespace.as_ref())),
        ("localPart", json!(wanted.local_part)),
        ("catchAll", if is_all { json!(true) } else { Value::Null }),
        ("goto", json!(wanted.goto)),
        ("gotoMailboxRefs", json!(references)),
        ("sink", json!(wanted.sink)),
        ("publicComment", json!(wanted.public_comment)),
    ]);
    let change = create::<EmailAlias>(call, &wanted.namespace, &name, spec).await?;
    let (_, answer) = written::<EmailAlias>(call, &wanted.namespace, &name, change, wanted.wait_seconds).await?;
    Ok(answer)
}

/// `create_forwarding_rule`
pub(crate) async fn create_rule(call: &Call<'_>, wanted: CreateForwardingRule) -> Result<Written, ToolError> {
    call.scope.check(&wanted.namespace)?;
    if wanted.mailbox.is_some() == wanted.domain.is_some() {
        return Err(ToolError::argument("mailbox", None, "give exactly one of mailbox and domain", "ada"));
    }
    let domain = wanted.domain.as_ref().map(|domain| reference(domain, wanted.domain_namespace.as_ref()));
    let spec = object([
        ("mailboxRef", json!(wanted.mailbox.map(|name| json!({"name": name})))),
        ("domainRef", json!(domain)),
        ("enabled", json!(wanted.enabled)),
        ("priority", json!(wanted.priority)),
        ("match", json!(wanted.matches)),
        ("actions", json!(wanted.actions)),
        ("onMatch", json!(wanted.on_match)),
    ]);
    let change = create::<EmailForwardingRule>(call, &wanted.namespace, &wanted.name, spec).await?;
    let (_, answer) =
        written::<EmailForwardingRule>(call, &wanted.namespace, &wanted.name, change, wanted.wait_seconds).await?;
    let what_to_do = if answer.ready { "try it with test_forwarding_rules".to_owned() } else { answer.what_to_do };
    Ok(Written { what_to_do, ..answer })
}

/// `set_mailbox_state`
pub(crate) async fn set_state(call: &Call<'_>, wanted: SetMailboxState) -> Result<Written, ToolError> {
    call.scope.check(&wanted.namespace)?;
    let before: EmailMailbox = call.caller.get(wanted.namespace.as_str(), wanted.name.as_str()).await?;
    let mut change = Change::Unchanged;
    let managers = before.meta().managed_fields.iter().flatten();
    let owners: Vec<&ManagedFieldsEntry> = managers.filter(|entry| has_state(entry)).collect();
    if before.spec.state != wanted.state {
        if let Some(other) = owners.iter().find(|entry| is_applied_by_another(entry)) {
            let manager = other.manager.as_deref().unwrap_or_default();
            let message = format!(
                "the field state is kept by {manager:?} with server-side apply, which would undo the change; change it in the manifest that {manager:?} applies"
            );
            return Err(ToolError::new(ErrorKind::Conflict, message));
        }
        call.check()?;
        let patch = json!({"metadata": {"uid": before.meta().uid}, "spec": {"state": wanted.state}});
        call.caller.patch::<EmailMailbox>(wanted.namespace.as_str(), wanted.name.as_str(), &patch).await?;
        change = Change::Changed;
    }
    let (_, answer) =
        written::<EmailMailbox>(call, &wanted.namespace, &wanted.name, change, wanted.wait_seconds).await?;
    let by_gitops = before.meta().managed_fields.iter().flatten().find_map(gitops);
    let what_to_do = match by_gitops {
        Some(manager) if change == Change::Changed => {
            format!(
                "{manager:?} also manages this object and may undo the change: have a person change the manifest too"
            )
        }
        _ => answer.what_to_do,
    };
    Ok(Written { what_to_do, ..answer })
}

fn has_state(entry: &ManagedFieldsEntry) -> bool {
    entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get("f:state").is_some())
}

fn is_applied_by_another(entry: &ManagedFieldsEntry) -> bool {
    entry.operation.as_deref() == Some("Apply") && entry.manager.as_deref() != Some(MANAGER)
}

fn gitops(entry: &ManagedFieldsEntry) -> Option<&str> {
    entry.manager.as_deref().filter(|manager| GITOPS.iter().any(|tool| manager.contains(tool)))
}

/// Creates an object, or finds it as wanted.
async fn create<K: Managed>(
    call: &Call<'_>,
    namespace: &Namespace,
    name: &ObjectName,
    spec: Map<String, Value>,
) -> Result<Change, ToolError> {
    let (namespace, name, spec) = (namespace.as_str(), name.as_str(), Value::Object(spec));
    call.check()?;
    // The read comes first: a cluster that can't be reached is reported sooner by a read than by a write.
    match call.caller.get::<K>(namespace, name).await {
        Ok(existing) => return unchanged(&existing, &spec),
        Err(error) if matches!(error.error, ErrorKind::NotFound | ErrorKind::Forbidden) => {}
        Err(error) => return Err(error),
    }
    call.check()?;
    match call.caller.create::<K>(namespace, name, &spec).await {
        Ok(_) => Ok(Change::Created),
        Err(error) if error.error == ErrorKind::Conflict => match call.caller.get::<K>(namespace, name).await {
            Ok(existing) => unchanged(&existing, &spec),
            Err(_) => Err(exists::<K>(namespace, name, "you may not read it")),
        },
        Err(error) => Err(with_arguments(error, &spec)),
    }
}

/// An error of the API server with the names, values and examples of the arguments that it is about.
fn with_arguments(mut error: ToolError, spec: &Value) -> ToolError {
    for problem in &mut error.problems {
        problem.value = at(spec, &problem.field).filter(|value| !value.is_null()).map(|value| match value {
            Value::String(text) => shown(text),
            other => shown(&other.to_string()),
        });
        problem.field = argument_of(&problem.field);
        let name = problem.field.split(['.', '[']).next().unwrap_or_default();
        problem.example = usual_example(name).map(ToOwned::to_owned);
    }
    error
}

/// The argument that a field of a spec was made of.
fn argument_of(field: &str) -> String {
    let names = [
        ("domainRef.namespace", "domainNamespace"),
        ("domainRef", "domain"),
        ("mailboxRef", "mailbox"),
        ("gotoMailboxRefs", "gotoMailboxes"),
        ("limits.mailboxes", "maxMailboxes"),
        ("limits.aliases", "maxAliases"),
        ("limits.mailboxQuota", "maxMailboxQuota"),
        ("limits.totalQuota", "totalQuota"),
    ];
    let found = names.iter().find_map(|(of_spec, argument)| Some((argument, field.strip_prefix(of_spec)?)));
    found.map_or_else(|| field.to_owned(), |(argument, rest)| format!("{argument}{}", rest.trim_end_matches(".name")))
}

/// No change, if the existing object is as wanted.
fn unchanged<K: Managed>(existing: &K, wanted: &Value) -> Result<Change, ToolError> {
    let (namespace, name) = (existing.place(), existing.meta().name.clone().unwrap_or_default());
    if existing.meta().deletion_timestamp.is_some() {
        return Err(exists::<K>(&namespace, &name, "it is being deleted; wait until it is gone"));
    }
    let has = serde_json::to_value(existing).unwrap_or_default();
    let differing: Vec<&str> = wanted
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(field, value)| !is_part(value, &has["spec"][field.as_str()]))
        .map(|(field, _)| field.as_str())
        .collect();
    if differing.is_empty() {
        return Ok(Change::Unchanged);
    }
    Err(exists::<K>(&namespace, &name, &format!("it differs in {}", differing.join(", "))))
}

fn exists<K: Managed>(namespace: &str, name: &str, how: &str) -> ToolError {
    let message = format!(
        "the {} {namespace}/{name} exists, and {how}; nothing was changed. Use another name, or have a person change the object",
        K::KIND
    );
    ToolError::new(ErrorKind::Conflict, message)
}

/// Whether a value is contained in another: the API server fills in defaults.
fn is_part(wanted: &Value, has: &Value) -> bool {
    match (wanted, has) {
        (Value::Object(wanted), Value::Object(has)) => {
            wanted.iter().all(|(key, value)| is_part(value, has.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(wanted), Value::Array(has)) => {
            wanted.len() == has.len() && wanted.iter().zip(has).all(|(wanted, has)| is_part(wanted, has))
        }
        (Value::Array(empty), Value::Null) => empty.is_empty(),
        (Value::Bool(false), Value::Null) => true,
        (wanted, has) => wanted == has,
    }
}

/// Waits for the object and describes it.
async fn written<K: Managed>(
    call: &Call<'_>,
    namespace: &Namespace,
    name: &ObjectName,
    change: Change,
    wait: Option<Seconds>,
) -> Result<(Option<K>, Written), ToolError> {
    let limit = Duration::from_secs(wait.map_or(USUAL_WAIT, Seconds::get).into());
    let object = call.until_ready::<K>(namespace.as_str(), name.as_str(), limit).await?;
    let ready = object.as_ref().is_some_and(K::is_ready);
    let what_to_do = match &object {
        None => "the object is written; you may not read it, so it is not known whether it is ready",
        Some(_) if ready => "you don't have to do anything",
        Some(_) => "call explain later; waitsFor says what it waits for",
    };
    let answer = Written {
        kind: K::WHICH,
        namespace: namespace.to_string(),
        name: name.to_string(),
        change,
        ready,
        address: object.as_ref().and_then(K::address),
        waits_for: object.as_ref().filter(|_| !ready).map(waits_for),
        credentials_secret: None,
        what_to_do: what_to_do.to_owned(),
    };
    Ok((object, answer))
}

/// What an object that is not ready waits for.
fn waits_for<K: Managed>(object: &K) -> Explained {
    match object.condition("Ready").filter(|_| object.is_current()) {
        Some(ready) => condition(ready),
        None => Explained {
            type_: "Ready".to_owned(),
            status: "Unknown".to_owned(),
            reason: "Pending".to_owned(),
            message: Untrusted::new("the operator has not seen this change yet"),
            what_to_do: Some(
                "wait; if this lasts for minutes, check that the operator runs and watches the namespace".to_owned(),
            ),
        },
    }
}

/// An object without the fields that are not given.
fn object<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn reference(domain: &ObjectName, namespace: Option<&Namespace>) -> Value {
    Value::Object(object([("name", json!(domain)), ("namespace", json!(namespace))]))
}

/// The name of an object, from a local part if none is given.
fn named(name: Option<ObjectName>, local: Option<&LocalPart>) -> Result<ObjectName, ToolError> {
    match name {
        Some(name) => Ok(name),
        None => default_name(&local.map_or_else(String::new, |local| local.as_str().to_ascii_lowercase())),
    }
}

fn default_name(text: &str) -> Result<ObjectName, ToolError> {
    ObjectName::try_from(text.to_owned()).map_err(|_| {
        ToolError::argument("name", Some(text), "the default is not a valid name of an object; give a name", "ada")
    })
}

/// A domain as the name of an object.
fn dashed(domain: &str) -> String {
    DomainName::parse(domain).map_or_else(|_| domain.to_owned(), |domain| domain.as_str().replace('.', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::tool_error::Problem;

    #[test]
    fn an_existing_object_is_as_wanted_if_it_has_all_that_was_given() {
        let has = json!({"a": 1, "b": {"c": 2, "d": 3}, "l": [{"x": 1, "y": 2}]});
        for wanted in [
            json!({"a": 1}),
            json!({"b": {"c": 2}}),
            json!({"l": [{"x": 1}]}),
            json!({"new": []}),
            json!({"not": false}),
        ] {
            assert!(is_part(&wanted, &has), "{wanted}");
        }
        for wanted in [json!({"a": 2}), json!({"b": {"c": 3}}), json!({"l": []}), json!({"new": 1})] {
            assert!(!is_part(&wanted, &has), "{wanted}");
        }
    }

    #[test]
    fn a_name_is_derived_where_it_can_be() {
        assert_eq!(dashed("Bücher.example"), "xn--bcher-kva-example");
        let local = |text: &str| LocalPart::try_from(text.to_owned()).unwrap();
        assert_eq!(named(None, Some(&local("Ada"))).unwrap().as_str(), "ada");
        assert_eq!(named(None, Some(&local("o'hara"))).unwrap_err().problems[0].field, "name");
    }

    #[test]
    fn what_the_api_server_refuses_is_named_as_the_argument() {
        for (field, argument) in [
            ("localPart", "localPart"),
            ("domainRef.name", "domain"),
            ("domainRef.namespace", "domainNamespace"),
            ("gotoMailboxRefs[1].name", "gotoMailboxes[1]"),
            ("limits.totalQuota", "totalQuota"),
            ("actions[0].forward.to", "actions[0].forward.to"),
            ("spec", "spec"),
        ] {
            assert_eq!(argument_of(field), argument);
        }
        let problem =
            Problem { field: "localPart".to_owned(), value: None, rule: "no slash".to_owned(), example: None };
        let error = ToolError { problems: vec![problem], ..ToolError::new(ErrorKind::Refused, "m") };
        let problem = with_arguments(error, &json!({"localPart": "a/b"})).problems.remove(0);
        assert_eq!((problem.value.as_deref(), problem.example.as_deref()), (Some("a/b"), Some("ada")));
    }

    #[test]
    fn only_the_given_fields_are_written() {
        assert_eq!(Value::Object(object([("a", json!(1)), ("b", Value::Null)])), json!({"a": 1}));
        let name = ObjectName::try_from("d".to_owned()).unwrap();
        assert_eq!(reference(&name, None), json!({"name": "d"}));
    }
}
