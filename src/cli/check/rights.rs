//! The rights that the operator has, or that an installer needs, verb by verb.

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::cli::cluster::Cluster;
use crate::config::{Served, Settings};
use crate::crd::{DEFAULT_SERVER, GROUP};
use crate::gates::Gate;

/// Reviews at once.
const AT_ONCE: usize = 16;

/// A right: what is done with which resource, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Right {
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    /// `None`: all namespaces, or a resource without a namespace.
    namespace: Option<String>,
    name: Option<String>,
}

impl Right {
    /// In words.
    pub(super) fn words(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let (plural, sub) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        let sub = if sub.is_empty() { String::new() } else { format!("/{sub}") };
        let place =
            self.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in the namespace {namespace}"));
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        format!("{} {plural}{group}{sub}{name}{place}", self.verb)
    }

    fn attributes(&self) -> ResourceAttributes {
        let (resource, subresource) = self.resource.split_once('/').unwrap_or((self.resource, ""));
        ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()).filter(|sub| !sub.is_empty()),
            verb: Some(self.verb.to_owned()),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            ..ResourceAttributes::default()
        }
    }
}

/// The rights that the chart gives an operator with these options.
pub(super) fn of_operator(settings: &Settings, served: &Served) -> Vec<Right> {
    let mut all = Vec::new();
    let places: Vec<Option<String>> = if settings.watch_namespaces.is_empty() {
        vec![None]
    } else {
        settings.watch_namespaces.iter().cloned().map(Some).collect()
    };
    let mut add = |group, resource, verbs: &[&'static str], namespace: &Option<String>, name: Option<&str>| {
        for verb in verbs {
            let (namespace, name) = (namespace.clone(), name.map(ToOwned::to_owned));
            all.push(Right { group, resource, verb, namespace, name });
        }
    };
    for place in &places {
        for kind in ["emaildomains", "emailmailboxes", "emailaliases", "emailforwardingrules"] {
            add(GROUP, kind, &["get", "list", "watch", "patch"], place, None);
        }
        for status in
            ["emaildomains/status", "emailmailboxes/status", "emailaliases/status", "emailforwardingrules/status"]
        {
            add(GROUP, status, &["patch"], place, None);
        }
        add(GROUP, "emailmailboxes/finalizers", &["update"], place, None);
        add("", "secrets", &["get", "list", "watch", "create", "patch"], place, None);
        add("events.k8s.io", "events", &["create", "patch"], place, None);
        if settings.feature_gates.has(Gate::DnsPublishing) {
            add("externaldns.k8s.io", "dnsendpoints", &["get", "list", "create", "patch", "delete"], place, None);
            add("", "configmaps", &["get", "create", "patch", "delete"], place, None);
        }
        if settings.feature_gates.has(Gate::AutoProvisioning) && place.is_none() {
            add(GROUP, "emailmailboxes", &["create"], place, None);
        }
    }
    if settings.watch_namespaces.is_empty() {
        add("", "namespaces", &["get", "list", "watch"], &None, None);
    }
    if settings.cluster_id.is_none() {
        add("", "namespaces", &["get"], &Some("kube-system".to_owned()), Some("kube-system"));
    }
    let own = Some(settings.operator_namespace.clone());
    let further =
        settings.mailcow_servers.iter().filter(|server| served.has(&server.name)).map(|server| &server.secret);
    for secret in settings.mailcow_secret.iter().filter(|_| served.has(DEFAULT_SERVER)).chain(further) {
        add("", "secrets", &["get", "watch"], &own, Some(secret));
    }
    add("coordination.k8s.io", "leases", &["create"], &own, None);
    for lease in served.leases(&settings.leader.lease_name) {
        add("coordination.k8s.io", "leases", &["get", "update"], &own, Some(&lease));
    }
    all
}

/// The rights that an installation of the chart needs.
pub(super) fn of_installer(namespace: &str) -> Vec<Right> {
    let wide = [
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ];
    let own = [
        ("apps", "deployments"),
        ("", "serviceaccounts"),
        ("", "secrets"),
        ("", "configmaps"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("networking.k8s.io", "networkpolicies"),
    ];
    let wide = wide.into_iter().map(|(group, resource)| (group, resource, None));
    let own = own.into_iter().map(|(group, resource)| (group, resource, Some(namespace.to_owned())));
    wide.chain(own)
        .map(|(group, resource, namespace)| Right { group, resource, verb: "create", namespace, name: None })
        .collect()
}

/// The rights that somebody lacks: a user of RBAC, or the present user.
///
/// # Errors
/// When the present user may not ask, or the API server does not answer.
pub(super) async fn lacking(
    cluster: &Cluster,
    user: Option<&str>,
    rights: Vec<Right>,
) -> Result<Vec<Right>, kube::Error> {
    let asked = rights.into_iter().map(|right| async {
        let allowed = match user {
            Some(user) => others(cluster, user, &right).await?,
            None => own(cluster, &right).await?,
        };
        Ok((right, allowed))
    });
    let all: Vec<Result<(Right, bool), kube::Error>> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let all = all.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(|(_, allowed)| !allowed).map(|(right, _)| right).collect())
}

async fn others(cluster: &Cluster, user: &str, right: &Right) -> Result<bool, kube::Error> {
    let namespace = user.split(':').nth(2).unwrap_or_default();
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let spec = SubjectAccessReviewSpec {
        user: Some(user.to_owned()),
        groups: Some(groups.into()),
        resource_attributes: Some(right.attributes()),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

async fn own(cluster: &Cluster, right: &Right) -> Result<bool, kube::Error> {
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(right.attributes()),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_named_as_rbac_names_it() {
        let arguments =
            ["run", "--watch-namespaces=a", "--operator-namespace=o", "--mailcow-secret=s"].map(ToOwned::to_owned);
        let settings = Settings::of_process(&arguments, &[]).unwrap();
        let words = |settings: &Settings| {
            let rights = of_operator(settings, &settings.served().unwrap());
            rights.iter().map(Right::words).collect::<Vec<_>>()
        };
        let all = words(&settings);
        for expected in [
            "patch emaildomains.email.askrobots.com/status in the namespace a",
            "get secrets s in the namespace o",
            "update leases.coordination.k8s.io mailcow-operator in the namespace o",
            "get namespaces kube-system in the namespace kube-system",
        ] {
            assert!(all.iter().any(|word| word == expected), "{expected}: {all:#?}");
        }
        assert!(!all.iter().any(|word| word.contains("configmaps")), "publishing is off");
        let of_a = ["--mailcow-server=a=of-a,b=of-b", "--serve=a"].map(ToOwned::to_owned);
        let some = words(&Settings::of_process(&[&arguments[..], &of_a[..]].concat(), &[]).unwrap());
        let has = |word: &str| some.iter().any(|other| other == word);
        assert!(has("get secrets of-a in the namespace o") && !has("get secrets of-b in the namespace o"));
        assert!(has("update leases.coordination.k8s.io mailcow-operator-a-server in the namespace o"), "{some:#?}");
        assert!(!has("get secrets s in the namespace o"), "that of the default server");
    }
}
