//! Publishes a domain's records: into `DNSEndpoint` objects of external-dns, or into a `ConfigMap`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Patch;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::controller::domain_dns::endpoints;
use crate::controller::domain_dns::published::{
    NotPublished, applied, is_ours, is_owned_by, metadata, object_name, owner, remove, taken,
};
use crate::controller::driver::context::Context;
use crate::crd::{DnsPublish, EmailDomain, EmailDomainStatus};
use crate::dns::{Wanted, expected, publish};
use crate::gates::Gate;
use crate::kubernetes::object::is_paused;
use crate::outcome::{Reason, Why};
use crate::status::Publishing;

/// Publishes as the spec says, and returns the result.
pub(crate) async fn publish(
    ctx: &Context,
    object: &EmailDomain,
    before: &EmailDomainStatus,
    wanted: Option<&Wanted>,
) -> Publishing {
    let to = object.spec.dns.as_ref().map(|dns| dns.publish).unwrap_or_default();
    if to == DnsPublish::None && before.published_to.is_none() {
        return Publishing::Off;
    }
    if !ctx.has(Gate::DnsPublishing) {
        let message = "spec.dns.publish: the feature gate DNSPublishing is off in this installation; remove the field, or set featureGates.DNSPublishing: true in the chart";
        return Publishing::Not(before.published_to, Why::new(Reason::FeatureDisabled, message));
    }
    if is_paused(object) {
        return Publishing::Not(before.published_to, Why::new(Reason::Paused, "paused; nothing is published"));
    }
    let left = before.published_to.filter(|from| *from != to);
    match steps(ctx, object, left, to, wanted).await {
        Ok(None) => Publishing::Off,
        Ok(Some(message)) => Publishing::Done(to, message),
        Err(NotPublished(why)) => Publishing::Not(left.or(Some(to)).filter(|to| *to != DnsPublish::None), why),
    }
}

/// Time until the next try: a minute if the CRD is missing.
pub(crate) fn wait(published: &Publishing) -> Duration {
    match published {
        Publishing::Not(_, why) if why.reason == Reason::DnsEndpointNotInstalled => Duration::from_mins(1),
        Publishing::Off | Publishing::Done(..) | Publishing::Not(..) => Duration::MAX,
    }
}

async fn steps(
    ctx: &Context,
    object: &EmailDomain,
    left: Option<DnsPublish>,
    to: DnsPublish,
    wanted: Option<&Wanted>,
) -> Result<Option<String>, NotPublished> {
    match left {
        Some(DnsPublish::DnsEndpoint) => endpoints::leave(ctx, object).await?,
        Some(DnsPublish::ConfigMap) => leave_config_map(ctx, object).await?,
        Some(DnsPublish::None) | None => {}
    }
    if to == DnsPublish::None {
        return Ok(None);
    }
    let Some(wanted) = wanted else {
        let message = "waiting for the mail host and for the domain on Mailcow; records that are published stay";
        return Err(NotPublished(Why::new(Reason::Pending, message)));
    };
    match to {
        DnsPublish::DnsEndpoint => endpoints::apply(ctx, object, wanted).await.map(Some),
        _ => config_map(ctx, object, wanted).await.map(Some),
    }
}

/// Writes the `ConfigMap` where it differs.
async fn config_map(ctx: &Context, object: &EmailDomain, wanted: &Wanted) -> Result<String, NotPublished> {
    let (api, name) = (config_maps(ctx, object), config_map_name(object));
    let there = api.get_opt(&name).await?;
    if there.as_ref().is_some_and(|map| !is_ours(map, object)) {
        return Err(NotPublished(taken("ConfigMap", &name)));
    }
    let records = expected(wanted);
    let data = BTreeMap::from([
        ("zone", publish::zone(wanted.domain.as_str(), &records)),
        ("terraform", publish::terraform(&records)),
        ("table", publish::table(&records)),
        ("records.json", publish::json(&records)),
    ]);
    let holds = |map: &ConfigMap| {
        let there = map.data.as_ref();
        data.iter().all(|(key, value)| there.and_then(|there| there.get(*key)) == Some(value))
            && is_owned_by(map, object)
    };
    if !there.as_ref().is_some_and(holds) {
        let mut metadata = metadata(object, &name, None);
        metadata["ownerReferences"] = json!([owner(object)]);
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        api.patch(&name, &applied(there.is_some()), &Patch::Apply(body)).await?;
    }
    Ok(format!("{} records are in the ConfigMap {name}", records.len()))
}

/// Removes the `ConfigMap`; does not touch one of another owner.
async fn leave_config_map(ctx: &Context, object: &EmailDomain) -> Result<(), NotPublished> {
    let (api, name) = (config_maps(ctx, object), config_map_name(object));
    if let Some(map) = api.get_opt(&name).await?.filter(|map| is_ours(map, object)) {
        remove(&api, &map).await?;
    }
    Ok(())
}

fn config_maps(ctx: &Context, object: &EmailDomain) -> Api<ConfigMap> {
    Api::namespaced(ctx.kube.clone(), &object.namespace().unwrap_or_default())
}

fn config_map_name(object: &EmailDomain) -> String {
    object_name(object, "dns")
}
