//! The cluster that the command works on.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

use kube::api::ListParams;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Config, Resource};
use serde::de::DeserializeOwned;

use super::failure::{ApiCall, Failure, nearest};
use super::flags::{ClusterFlags, Selection};
use crate::kubernetes::cluster::merged;

/// How long a connection may take without `--request-timeout`.
const CONNECT: Duration = Duration::from_secs(10);
/// Objects in one answer of the API server.
const PAGE: u32 = 500;

/// A connection to a cluster.
#[derive(Clone)]
pub(super) struct Cluster {
    /// The client.
    pub(super) client: kube::Client,
    /// The namespace of the flags or of the context.
    pub(super) namespace: String,
    /// The address of the API server.
    pub(super) url: String,
}

/// An object of a namespaced kind.
pub(super) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

/// Where objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// In one namespace.
    In(String),
    /// In all namespaces.
    All,
}

impl Scope {
    /// The namespace; `None` for all.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::In(namespace) => Some(namespace),
            Self::All => None,
        }
    }
}

impl Cluster {
    /// Prepares the connection; asks nothing yet.
    ///
    /// # Errors
    /// When no cluster is given, or the kubeconfig can't be used.
    pub(super) async fn connect(flags: &ClusterFlags) -> Result<Self, Failure> {
        let mut config = match kubeconfig(flags)? {
            Some(kubeconfig) => of_kubeconfig(kubeconfig, flags).await?,
            None => Config::incluster().map_err(|_| {
                Failure::Unreachable(
                    "no cluster is given: there is no kubeconfig in ~/.kube/config or KUBECONFIG; use --kubeconfig FILE".to_owned(),
                )
            })?,
        };
        if flags.impersonate.is_none() && !flags.impersonate_groups.is_empty() {
            return Err(Failure::wrong("--as-group needs --as"));
        }
        let groups = &flags.impersonate_groups;
        if flags.impersonate.is_some() {
            config.auth_info = AuthInfo {
                impersonate: flags.impersonate.clone(),
                impersonate_groups: (!groups.is_empty()).then(|| groups.clone()),
                ..config.auth_info
            };
        }
        let limit = Some(flags.request_timeout).filter(|limit| !limit.is_zero());
        config.connect_timeout = Some(limit.unwrap_or(CONNECT).min(CONNECT));
        config.read_timeout = limit;
        // A busy or broken server is reported at once, as kubectl does.
        config.default_retry = false;
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let url = config.cluster_url.to_string();
        let client =
            kube::Client::try_from(config).map_err(|error| Failure::wrong(format!("the kubeconfig: {error}")))?;
        Ok(Self { client, namespace, url })
    }

    /// The API of a kind in a namespace.
    pub(super) fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// The API of a kind.
    pub(super) fn api_in<K: Object>(&self, scope: &Scope) -> Api<K> {
        match scope {
            Scope::In(namespace) => self.api(namespace),
            Scope::All => Api::all(self.client.clone()),
        }
    }

    /// Where the selection looks.
    pub(super) fn scope(&self, selection: &Selection) -> Scope {
        if selection.all_namespaces { Scope::All } else { Scope::In(self.namespace.clone()) }
    }

    /// The objects of a kind, page by page.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub(super) async fn list<K: Object>(&self, scope: &Scope, selector: Option<&str>) -> Result<Vec<K>, Failure> {
        list_all(&self.api_in::<K>(scope), &K::plural(&()), scope, selector).await
    }

    /// An object by its name; `None` when it does not exist.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub(super) async fn find<K: Object>(&self, namespace: &str, name: &str) -> Result<Option<K>, Failure> {
        let call = ApiCall { verb: "get", resource: &K::plural(&()), namespace: Some(namespace) };
        self.api::<K>(namespace).get_opt(name).await.map_err(|error| call.failed(&error))
    }
}

/// The objects of an API, page by page. `resource` is the plural in messages.
///
/// # Errors
/// When the API server refuses or does not answer.
pub(super) async fn list_all<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    resource: &str,
    scope: &Scope,
    selector: Option<&str>,
) -> Result<Vec<K>, Failure> {
    let call = ApiCall { verb: "list", resource, namespace: scope.namespace() };
    let mut params = ListParams::default().limit(PAGE);
    params.label_selector = selector.map(ToOwned::to_owned);
    let mut found = Vec::new();
    loop {
        let page = api.list(&params).await.map_err(|error| call.failed(&error))?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

/// The namespace of the flags or of the kubeconfig's context; without a usable kubeconfig `default`. Asks no server.
pub(super) async fn namespace(flags: &ClusterFlags) -> String {
    if let Some(namespace) = &flags.namespace {
        return namespace.clone();
    }
    match kubeconfig(flags) {
        Ok(Some(kubeconfig)) => {
            let config = of_kubeconfig(kubeconfig, flags).await;
            config.map_or_else(|_| "default".to_owned(), |config| config.default_namespace)
        }
        Ok(None) | Err(_) => "default".to_owned(),
    }
}

/// The kubeconfig: one file of the flags, or all of KUBECONFIG, or the one in the home folder. `None` when there is no
/// file; missing files of KUBECONFIG are ignored, as kubectl does.
fn kubeconfig(flags: &ClusterFlags) -> Result<Option<Kubeconfig>, Failure> {
    let files: Vec<PathBuf> = match (&flags.kubeconfig, std::env::var_os("KUBECONFIG")) {
        (Some(file), _) => vec![file.clone()],
        (None, Some(files)) if !files.is_empty() => {
            let listed = std::env::split_paths(&files);
            listed.filter(|file| !file.as_os_str().is_empty() && file.exists()).collect()
        }
        _ => {
            let usual = std::env::home_dir().map(|home| home.join(".kube/config"));
            usual.into_iter().filter(|file| file.exists()).collect()
        }
    };
    merged(files).map_err(|error| Failure::wrong(error.to_string()))
}

async fn of_kubeconfig(kubeconfig: Kubeconfig, flags: &ClusterFlags) -> Result<Config, Failure> {
    let options =
        KubeConfigOptions { context: flags.context.clone(), cluster: flags.cluster.clone(), user: flags.user.clone() };
    let contexts: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| {
        let asked = flags.context.as_deref().filter(|asked| !contexts.iter().any(|known| known == asked));
        Failure::wrong(match asked {
            Some(asked) => {
                let near = nearest(asked, contexts.iter().map(String::as_str));
                format!("the kubeconfig has no context {asked}{near}")
            }
            None if contexts.is_empty() => "the kubeconfig has no context; use --kubeconfig FILE".to_owned(),
            None => format!("the kubeconfig: {error}"),
        })
    })
}
