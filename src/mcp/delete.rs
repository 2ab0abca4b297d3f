//! Deletions: planned by a model, confirmed by a person. A client that can't ask a person deletes nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest,
    InputRequiredResult, InputResponses,
};
use rmcp::{Peer, RoleServer};
use serde_json::json;

use super::answers::{Deleted, PlannedDelete};
use super::arguments::{ApplyDelete, Kind, Object};
use super::call::Call;
use super::loss::{Loss, Lossy};
use super::plans::{LIFETIME, Plan, Plans};
use super::text::Namespace;
use super::tool_error::{ErrorKind, ToolError};
use crate::crd::{CONFIRM_DELETE, EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

/// How long a person may think.
const THINK: Duration = Duration::from_mins(5);
/// Tries of a deletion whose object changes meanwhile, as by a report of the operator.
const TRIES: usize = 5;
/// The name of the question and of its only field.
const CONFIRM: &str = "confirm";

/// How a person is asked.
pub(crate) enum Ask<'a> {
    /// The client can't.
    Never,
    /// With a request to the client (before 2026-07-28).
    Request(&'a Peer<RoleServer>),
    /// With a result that the client answers by a second call (2026-07-28).
    Result {
        /// The answers that came with the call.
        responses: Option<InputResponses>,
        /// The state that came with them.
        state: Option<String>,
    },
}

/// What came of a deletion.
pub(crate) enum Applied {
    /// It is done.
    Done(Deleted),
    /// A person must answer first.
    Question(Box<InputRequiredResult>),
}

/// `plan_delete`
pub(crate) async fn plan(call: &Call<'_>, plans: &Plans, object: &Object) -> Result<PlannedDelete, ToolError> {
    call.scope.check(&object.namespace)?;
    match object.kind {
        Kind::EmailDomain => planned::<EmailDomain>(call, plans, object).await,
        Kind::EmailMailbox => planned::<EmailMailbox>(call, plans, object).await,
        Kind::EmailAlias => planned::<EmailAlias>(call, plans, object).await,
        Kind::EmailForwardingRule => planned::<EmailForwardingRule>(call, plans, object).await,
    }
}

async fn planned<K: Lossy>(call: &Call<'_>, plans: &Plans, wanted: &Object) -> Result<PlannedDelete, ToolError> {
    let object: K = call.caller.get(wanted.namespace.as_str(), wanted.name.as_str()).await?;
    let loss = object.loss();
    let plan = Plan {
        kind: K::WHICH,
        namespace: object.place(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        generation: object.meta().generation,
        loss: loss.clone(),
    };
    let digest = plans.keep(plan, call.caller.who(), Instant::now());
    Ok(PlannedDelete {
        kind: K::WHICH,
        namespace: object.place(),
        name: object.name_any(),
        digest,
        expires_in_seconds: u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX),
        destroys_mail: loss.destroys_mail,
        would_be_lost: loss.words,
        what_to_do: "tell the person what would be lost; if they want it, call apply_delete, which asks them itself where it is offered".to_owned(),
    })
}

/// `apply_delete`
pub(crate) async fn apply(
    call: &Call<'_>,
    plans: &Plans,
    wanted: &ApplyDelete,
    ask: Ask<'_>,
) -> Result<Applied, ToolError> {
    let digest = wanted.digest.as_str();
    let plan = plans.find(digest, call.caller.who(), Instant::now()).ok_or_else(unknown_digest)?;
    let namespace = Namespace::try_from(plan.namespace.clone()).map_err(|_| unknown_digest())?;
    call.scope.check(&namespace)?;
    match plan.kind {
        Kind::EmailDomain => applied::<EmailDomain>(call, plans, digest, &plan, ask).await,
        Kind::EmailMailbox => applied::<EmailMailbox>(call, plans, digest, &plan, ask).await,
        Kind::EmailAlias => applied::<EmailAlias>(call, plans, digest, &plan, ask).await,
        Kind::EmailForwardingRule => applied::<EmailForwardingRule>(call, plans, digest, &plan, ask).await,
    }
}

/// The same for all reasons, so that digests of others can't be told from none.
fn unknown_digest() -> ToolError {
    ToolError::new(
        ErrorKind::Conflict,
        "the digest is unknown, used, older than ten minutes or of another caller; call plan_delete again",
    )
}

async fn applied<K: Lossy>(
    call: &Call<'_>,
    plans: &Plans,
    digest: &str,
    plan: &Plan,
    ask: Ask<'_>,
) -> Result<Applied, ToolError> {
    if matches!(ask, Ask::Never) {
        return Err(ask_by_kubectl::<K>(plan));
    }
    let object = planned_object::<K>(call, plan).await?;
    if !call.caller.may::<K>("delete", &plan.namespace, &plan.name).await? {
        return Err(ToolError::new(
            ErrorKind::Forbidden,
            format!(
                "Kubernetes does not let you delete the {} {}/{}; ask an administrator",
                K::KIND,
                plan.namespace,
                plan.name
            ),
        ));
    }
    let loss = object.loss();
    let answer = match ask {
        Ask::Never => return Err(ask_by_kubectl::<K>(plan)),
        Ask::Request(peer) => Some(ask_client(call, peer, question::<K>(plan, &loss)?).await?),
        Ask::Result { responses, state } => {
            let question_of = format!("{digest}\n{}\n{}", plan.uid, loss.destroys_mail);
            let is_ours = state.is_some_and(|state| plans.is_sealed(&state, call.caller.who(), &question_of));
            let answer = responses.and_then(|mut responses| responses.remove(CONFIRM)).filter(|_| is_ours);
            let Some(answer) = answer else {
                let request = InputRequest::Elicitation(ElicitRequest::new(question::<K>(plan, &loss)?));
                let sealed = plans.seal(call.caller.who(), &question_of);
                let requests = BTreeMap::from([(CONFIRM.to_owned(), request)]);
                return Ok(Applied::Question(Box::new(InputRequiredResult::new(Some(requests), Some(sealed)))));
            };
            serde_json::from_value::<ElicitResult>(answer).ok()
        }
    };
    confirmed(answer.as_ref(), &loss.confirmation)?;
    call.check()?;
    if !plans.take(digest) {
        return Err(unknown_digest());
    }
    // From here on the deletion goes on to its end, whatever the client does.
    let gone = deleted::<K>(call, plan, loss.annotation.as_deref()).await?;
    let what_to_do = if gone {
        "you don't have to do anything"
    } else {
        "the operator finishes the deletion on Mailcow; call explain to see what it waits for"
    };
    Ok(Applied::Done(Deleted {
        kind: K::WHICH,
        namespace: plan.namespace.clone(),
        name: plan.name.clone(),
        gone,
        what_to_do: what_to_do.to_owned(),
    }))
}

/// The object of the plan, if nobody has changed or replaced it.
async fn planned_object<K: Lossy>(call: &Call<'_>, plan: &Plan) -> Result<K, ToolError> {
    let object: K = call.caller.get(&plan.namespace, &plan.name).await?;
    let loss = object.loss();
    let is_same = object.uid().as_deref() == Some(plan.uid.as_str())
        && object.meta().generation == plan.generation
        && (loss.destroys_mail, &loss.confirmation) == (plan.loss.destroys_mail, &plan.loss.confirmation);
    if is_same {
        return Ok(object);
    }
    let message = "the object has changed since the plan; nothing was deleted. Call plan_delete again";
    Err(ToolError::new(ErrorKind::Conflict, message))
}

/// What a person reads, and the field that they fill in. It quotes nothing that strangers wrote.
fn question<K: Lossy>(plan: &Plan, loss: &Loss) -> Result<ElicitRequestParams, ToolError> {
    let message = format!(
        "Delete the {} {}/{}? {}. Type {} to delete it.",
        K::KIND,
        plan.namespace,
        plan.name,
        loss.words.join(". "),
        loss.confirmation
    );
    let description = format!("Type {} to delete it; anything else deletes nothing.", loss.confirmation);
    let schema = ElicitationSchema::builder()
        .required_string_with(CONFIRM, |field| field.title("Confirmation").description(description))
        .build()
        .map_err(|why| ToolError::new(ErrorKind::NotConfirmed, format!("the person can't be asked: {why}")))?;
    Ok(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema: schema })
}

async fn ask_client(
    call: &Call<'_>,
    peer: &Peer<RoleServer>,
    question: ElicitRequestParams,
) -> Result<ElicitResult, ToolError> {
    let answer = tokio::select! {
        answer = peer.create_elicitation_with_timeout(question, Some(THINK)) => answer,
        () = call.cancelled.cancelled() => return Err(ToolError::cancelled()),
    };
    answer.map_err(|_| {
        ToolError::new(
            ErrorKind::NotConfirmed,
            "the client gave no answer of a person within five minutes; nothing was deleted",
        )
    })
}

/// Whether a person confirmed it.
fn confirmed(answer: Option<&ElicitResult>, confirmation: &str) -> Result<(), ToolError> {
    let refused = |message: &str| Err(ToolError::new(ErrorKind::NotConfirmed, message));
    let Some(answer) = answer else { return refused("the client's answer can't be read; nothing was deleted") };
    if answer.action != ElicitationAction::Accept {
        return refused("the person declined; nothing was deleted. Don't ask again unless they want it");
    }
    let typed = answer.content.as_ref().and_then(|content| content[CONFIRM].as_str()).unwrap_or_default();
    if typed.trim() != confirmation {
        return refused("the person did not type the confirmation; nothing was deleted");
    }
    Ok(())
}

/// What a person does where a client can't ask them.
fn ask_by_kubectl<K: Lossy>(plan: &Plan) -> ToolError {
    let resource = K::plural(&());
    let (namespace, name) = (&plan.namespace, &plan.name);
    // The operator destroys mail only with this annotation.
    let confirm = plan.loss.annotation.as_ref().map(|value| {
        format!("kubectl -n {namespace} annotate --overwrite {resource} {name} {CONFIRM_DELETE}={value} && ")
    });
    let message = format!(
        "this client can't ask a person (it has no elicitation), so nothing was deleted. A person can run: {}kubectl -n {namespace} delete {resource} {name}",
        confirm.unwrap_or_default()
    );
    ToolError::new(ErrorKind::NotConfirmed, message)
}

/// Deletes the object. Where mail would be destroyed, the operator wants the address in an annotation: the person typed it.
async fn deleted<K: Lossy>(call: &Call<'_>, plan: &Plan, annotation: Option<&str>) -> Result<bool, ToolError> {
    let annotate = async |value: Option<&str>| {
        let patch = json!({"metadata": {"uid": plan.uid, "annotations": {CONFIRM_DELETE: value}}});
        call.caller.patch::<K>(&plan.namespace, &plan.name, &patch).await
    };
    if annotation.is_some() {
        annotate(annotation).await?;
    }
    let mut last = None;
    for _ in 0..TRIES {
        let object: K = planned_object(call, plan).await?;
        let version = object.resource_version().unwrap_or_default();
        match call.caller.delete::<K>(&plan.namespace, &plan.name, &plan.uid, &version).await {
            Ok(gone) => return Ok(gone),
            // The operator has reported something meanwhile.
            Err(error) if error.error == ErrorKind::Conflict => last = Some(error),
            Err(error) => {
                last = Some(error);
                break;
            }
        }
    }
    if annotation.is_some() {
        // A confirmation that nobody used must not stay.
        let _ = annotate(None).await;
    }
    Err(last.unwrap_or_else(unknown_digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(action: ElicitationAction, content: serde_json::Value) -> ElicitResult {
        ElicitResult::new(action).with_content(content)
    }

    #[test]
    fn only_the_typed_confirmation_confirms() {
        use ElicitationAction::{Accept, Cancel, Decline};
        let is_confirmed = |answer: &ElicitResult| confirmed(Some(answer), "ada@example.com").is_ok();
        assert!(is_confirmed(&answer(Accept, json!({"confirm": " ada@example.com "}))));
        for (action, content) in [
            (Accept, json!({})),
            (Accept, json!(null)),
            (Accept, json!("ada@example.com")),
            (Accept, json!({"confirm": true})),
            (Accept, json!({"confirm": "yes"})),
            (Accept, json!({"confirm": ""})),
            (Accept, json!({"confirm": "ADA@example.com"})),
            (Accept, json!({"confirm": ["ada@example.com"]})),
            (Accept, json!({"Confirm": "ada@example.com"})),
            (Decline, json!({"confirm": "ada@example.com"})),
            (Cancel, json!({"confirm": "ada@example.com"})),
        ] {
            assert!(!is_confirmed(&answer(action, content.clone())), "{content}");
        }
        assert!(confirmed(None, "").is_err());
        assert!(confirmed(Some(&ElicitResult::new(Accept)), "x").is_err());
    }
}
