//! `DNSEndpoint` objects of external-dns: one for each purpose, written when they differ.

use kube::api::{ApiResource, DynamicObject, ListParams, Patch};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::controller::domain_dns::published::{
    NotPublished, applied, is_ours, is_owned_by, metadata, object_name, owner, remove, selector, taken,
};
use crate::controller::driver::context::Context;
use crate::crd::{EmailDomain, RemovalPolicy};
use crate::dns::publish::{Decision, Endpoint, Published, Purpose, decide, purposes, questions};
use crate::dns::{Known, Wanted, expected};
use crate::outcome::{Reason, Why};

const GROUP: &str = "externaldns.k8s.io";
const VERSION: &str = "v1alpha1";
const KIND: &str = "DNSEndpoint";

/// Applies the objects; records that are held back stay as they are.
///
/// # Errors
/// [`NotPublished`].
pub(crate) async fn apply(ctx: &Context, object: &EmailDomain, wanted: &Wanted) -> Result<String, NotPublished> {
    is_installed(ctx).await?;
    let api = api(ctx, object);
    let there = list(&api, object).await?;
    let purposes = purposes(&expected(wanted), &wanted.spec.apex_txt);
    let mut held = Vec::new();
    for purpose in &purposes {
        let mine = there.iter().find(|found| found.name_any() == object_name(object, &purpose.word()));
        if let Some(why) = apply_one(ctx, &api, object, wanted, purpose, mine).await? {
            held.push((why.reason, format!("{}: {}", purpose.kind.as_str(), why.message)));
        }
    }
    for stale in
        there.iter().filter(|found| !purposes.iter().any(|p| found.name_any() == object_name(object, &p.word())))
    {
        leave_one(&api, object, stale).await?;
    }
    let Some((reason, _)) = held.first() else {
        return Ok(format!("{} DNSEndpoint objects contain the records for external-dns", purposes.len()));
    };
    let words = held.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ");
    Err(NotPublished(Why::new(*reason, format!("not published: {words}"))))
}

/// Writes one object if it differs; returns why it is held back, if it is.
async fn apply_one(
    ctx: &Context,
    api: &Api<DynamicObject>,
    object: &EmailDomain,
    wanted: &Wanted,
    purpose: &Purpose,
    there: Option<&DynamicObject>,
) -> Result<Option<Why>, NotPublished> {
    let name = object_name(object, &purpose.word());
    let standing = there.map(endpoints).unwrap_or_default();
    let is_strange =
        |e: &Endpoint| e.dns_name != wanted.domain.as_str() && !is_below(&e.dns_name, wanted.domain.as_str());
    if standing.iter().any(is_strange) || (there.is_none() && api.get_opt(&name).await?.is_some()) {
        return Ok(Some(taken(KIND, &name)));
    }
    let held = if standing == purpose.endpoints { None } else { hold(ctx, wanted, purpose, &standing).await };
    let endpoints = if held.is_some() { &standing } else { &purpose.endpoints };
    if endpoints.is_empty() {
        return Ok(held);
    }
    let is_done = there.is_some_and(|there| standing == *endpoints && is_owned_by(there, object) == is_tied(object));
    if !is_done {
        write(api, object, &name, &purpose.word(), endpoints, there.is_some()).await?;
    }
    Ok(held)
}

/// Why the records may not go to external-dns now, because of the current DNS answers.
async fn hold(ctx: &Context, wanted: &Wanted, purpose: &Purpose, standing: &[Endpoint]) -> Option<Why> {
    let mut known = Known::default();
    for question in questions(wanted, purpose) {
        let answers = ctx.lookup.ask(&question).await;
        known.learn(question, answers);
    }
    let decisions = (0..known.views()).map(|view| {
        decide(wanted, purpose, Published { endpoints: standing }, &known.view(view))
            .unwrap_or_else(|need| Decision::Hold(format!("not asked: {need:?}")))
    });
    decisions.into_iter().find_map(|decision| match decision {
        Decision::Hold(why) => Some(Why::new(Reason::HeldBack, why)),
        Decision::Publish => None,
    })
}

/// Removes what was published, if the policy says so.
///
/// # Errors
/// [`NotPublished`].
pub(crate) async fn leave(ctx: &Context, object: &EmailDomain) -> Result<(), NotPublished> {
    match is_installed(ctx).await {
        Ok(()) => {}
        // The objects were deleted with their CRD.
        Err(NotPublished(why)) if why.reason == Reason::DnsEndpointNotInstalled => return Ok(()),
        // Published objects that still have to be removed are not forgotten.
        Err(hindered) => return Err(hindered),
    }
    let api = api(ctx, object);
    for found in list(&api, object).await? {
        leave_one(&api, object, &found).await?;
    }
    Ok(())
}

/// Deletes an object, or removes the owner reference that would delete it with the domain.
async fn leave_one(api: &Api<DynamicObject>, object: &EmailDomain, found: &DynamicObject) -> Result<(), NotPublished> {
    if is_tied(object) {
        return Ok(remove(api, found).await?);
    }
    if is_owned_by(found, object) {
        let purpose = found.labels().get("email.askrobots.com/record").cloned().unwrap_or_default();
        write(api, object, &found.name_any(), &purpose, &endpoints(found), true).await?;
    }
    Ok(())
}

async fn write(
    api: &Api<DynamicObject>,
    object: &EmailDomain,
    name: &str,
    purpose: &str,
    endpoints: &[Endpoint],
    is_there: bool,
) -> Result<(), NotPublished> {
    let mut metadata = metadata(object, name, Some(purpose));
    if is_tied(object) {
        metadata["ownerReferences"] = json!([owner(object)]);
    }
    let body = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND,
        "metadata": metadata, "spec": {"endpoints": endpoints},
    });
    tracing::info!(name, "writing a DNSEndpoint");
    api.patch(name, &applied(is_there), &Patch::Apply(body)).await?;
    Ok(())
}

/// Whether published records are deleted with the domain.
fn is_tied(object: &EmailDomain) -> bool {
    object.spec.dns.as_ref().is_some_and(|dns| dns.published_policy == RemovalPolicy::Delete)
}

fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// The endpoints of an object.
fn endpoints(found: &DynamicObject) -> Vec<Endpoint> {
    let all = found.data.pointer("/spec/endpoints").and_then(Value::as_array).cloned().unwrap_or_default();
    all.into_iter().filter_map(|endpoint| serde_json::from_value(endpoint).ok()).collect()
}

/// Asks the API server each time, because the CRD may be installed later.
async fn is_installed(ctx: &Context) -> Result<(), NotPublished> {
    let missing = || {
        let message = "the CRD DNSEndpoint of external-dns is not installed in this cluster; install it, or set spec.dns.publish: ConfigMap";
        NotPublished(Why::new(Reason::DnsEndpointNotInstalled, message))
    };
    match ctx.kube.list_api_group_resources(&format!("{GROUP}/{VERSION}")).await {
        Ok(list) if list.resources.iter().any(|resource| resource.kind == KIND) => Ok(()),
        Ok(_) => Err(missing()),
        // The API server answers in plain text for an unknown group.
        Err(kube::Error::Api(error)) if error.code == 404 => Err(missing()),
        Err(error) => Err(error.into()),
    }
}

async fn list(api: &Api<DynamicObject>, object: &EmailDomain) -> Result<Vec<DynamicObject>, NotPublished> {
    let found = api.list(&ListParams::default().labels(&selector(object))).await?;
    Ok(found.items.into_iter().filter(|found| is_ours(found, object)).collect())
}

fn api(ctx: &Context, object: &EmailDomain) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), "dnsendpoints");
    Api::namespaced_with(ctx.kube.clone(), &object.namespace().unwrap_or_default(), &resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_back_as_they_were_written() {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, KIND), "dnsendpoints");
        let sets = json!([{"dnsName": "d", "recordType": "MX", "targets": ["10 m"], "recordTTL": 0}]);
        let found = DynamicObject::new("x", &resource).data(json!({"spec": {"endpoints": sets}}));
        let read = endpoints(&found);
        assert_eq!((read[0].dns_name.as_str(), read[0].targets.as_slice()), ("d", ["10 m".to_owned()].as_slice()));
    }

    #[test]
    fn names_below_a_domain_end_with_a_dot_and_the_domain() {
        assert!(is_below("_dmarc.example.com", "example.com"));
        assert!(!is_below("notexample.com", "example.com") && !is_below("example.com", "example.com"));
    }

    #[test]
    fn objects_go_with_the_domain_only_when_asked() {
        let domain = |yaml: &str| EmailDomain::new("d", serde_yaml::from_str(yaml).unwrap());
        assert!(!is_tied(&domain("{domain: e.com, dns: {publish: DNSEndpoint}}")));
        assert!(is_tied(&domain("{domain: e.com, dns: {publishedPolicy: Delete}}")));
    }
}
