//! Why a command did not succeed, and the exit code for it.

use std::error::Error as StdError;
use std::process::ExitCode;

use kube::core::Status;

/// Why a command did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Wrong input, a refusal, or something that does not exist: exit code 1.
    Wrong(Vec<String>),
    /// The answer is "no", and it was printed: exit code 1.
    No,
    /// A server can't be reached: exit code 3.
    Unreachable(String),
}

impl Failure {
    /// One problem with exit code 1.
    pub(super) fn wrong(why: impl Into<String>) -> Self {
        Self::Wrong(vec![why.into()])
    }

    /// The problems to print.
    pub(super) fn problems(&self) -> &[String] {
        match self {
            Self::Wrong(all) => all,
            Self::No => &[],
            Self::Unreachable(why) => std::slice::from_ref(why),
        }
    }

    /// The exit code.
    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Wrong(_) | Self::No => ExitCode::from(1),
            Self::Unreachable(_) => ExitCode::from(3),
        }
    }
}

impl From<Vec<String>> for Failure {
    fn from(problems: Vec<String>) -> Self {
        Self::Wrong(problems)
    }
}

/// A request to the Kubernetes API, as messages name it.
#[derive(Clone, Debug)]
pub(super) struct ApiCall<'a> {
    /// The verb in RBAC: `list`, `patch` and so on.
    pub(super) verb: &'a str,
    /// The plural of the kind.
    pub(super) resource: &'a str,
    /// The namespace; `None` for all of them.
    pub(super) namespace: Option<&'a str>,
}

impl ApiCall<'_> {
    /// Where it is done.
    fn place(&self) -> String {
        self.namespace.map_or("in all namespaces".to_owned(), |namespace| format!("in the namespace {namespace}"))
    }

    /// Why the request failed.
    pub(super) fn failed(&self, error: &kube::Error) -> Failure {
        match error {
            kube::Error::Api(status) => self.refused(status),
            kube::Error::SerdeError(error) => Failure::wrong(format!(
                "the answer for {} is not readable: {error}; is kubectl-email older than the CRDs in the cluster?",
                self.resource
            )),
            kube::Error::Auth(_) => {
                Failure::wrong(format!("the kubeconfig's credentials don't work: {}; log in again", root_cause(error)))
            }
            _ => unreachable(error),
        }
    }

    fn refused(&self, status: &Status) -> Failure {
        let Self { verb, resource, .. } = self;
        match status.code {
            401 => Failure::wrong("the cluster refuses the kubeconfig's credentials; log in again"),
            403 => {
                let wide = if self.namespace.is_none() { ", or choose one namespace with -n" } else { "" };
                let role = if matches!(*verb, "get" | "list" | "watch") { "view" } else { "edit or admin" };
                Failure::wrong(format!(
                    "no right to {verb} {resource} {}: {}; ask for a role with this right, such as {role}{wide}",
                    self.place(),
                    status.message
                ))
            }
            404 if *verb == "list" || status.message.contains("could not find the requested resource") => {
                Failure::wrong(format!(
                    "the cluster does not have {resource}: the CRDs are missing; install the chart mailcow-operator, or: kubectl apply --server-side -f crds/"
                ))
            }
            500.. => Failure::Unreachable(format!("the cluster can't {verb} {resource} now: {}", status.message)),
            _ => Failure::wrong(format!("the cluster refused to {verb} {resource}: {}", status.message)),
        }
    }
}

/// The failure of a cluster without an answer.
fn unreachable(error: &kube::Error) -> Failure {
    Failure::Unreachable(format!(
        "the cluster can't be reached: {}; check the address in the kubeconfig and the network, or choose another cluster with --context",
        root_cause(error)
    ))
}

/// The innermost cause; the outer ones only repeat what was tried.
pub(super) fn root_cause(error: &dyn StdError) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// ` Did you mean …?` with the nearest of the known names; empty if none is near.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut rated: Vec<(f64, &str)> = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase()), known))
        .collect();
    rated.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    rated.dedup_by(|a, b| a.1 == b.1);
    let near: Vec<&str> = rated.into_iter().filter(|(rate, _)| *rate > 0.8).map(|(_, known)| known).take(3).collect();
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str, call: &ApiCall<'_>) -> String {
        let status = Status { code, message: message.into(), ..Status::default() };
        call.failed(&kube::Error::Api(Box::new(status))).problems()[0].clone()
    }

    #[test]
    fn a_missing_right_is_named_with_verb_resource_and_place() {
        let call = ApiCall { verb: "patch", resource: "emailaliases", namespace: Some("mail") };
        let why = refused(403, "User \"u\" cannot patch", &call);
        assert!(why.starts_with("no right to patch emailaliases in the namespace mail: User"), "{why}");
        assert!(why.ends_with("such as edit or admin"), "{why}");
        let all = ApiCall { verb: "list", resource: "emaildomains", namespace: None };
        assert!(refused(403, "no", &all).ends_with("such as view, or choose one namespace with -n"));
    }

    #[test]
    fn missing_definitions_are_not_missing_objects() {
        let list = ApiCall { verb: "list", resource: "emaildomains", namespace: None };
        assert!(refused(404, "404 page not found", &list).contains("the CRDs are missing"));
        let get = ApiCall { verb: "get", ..list };
        assert!(refused(404, "emaildomains \"x\" not found", &get).contains("not found"));
    }

    #[test]
    fn the_nearest_names_are_proposed() {
        let known = ["example-com", "example-org", "shop"];
        assert_eq!(nearest("exmaple-com", known), "; did you mean example-com or example-org?");
        assert_eq!(nearest("zzz", known), "");
    }
}
