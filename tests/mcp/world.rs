//! What each test gets: namespaces, accounts with rights, and, where a test needs it, the operator with a Mailcow.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ground::{ControlPlane, Dns, Installation, Operator, free_port};
use mailcow_simulator::{Options, Simulator};
use serde_json::{Value, json};

use crate::client::{Client, Person, Seen, Version};

/// Far more than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);
/// The audience of the tokens.
pub(crate) const AUDIENCE: &str = "mailcow-operator-mcp";
/// The kinds, as resources.
pub(crate) const RESOURCES: [&str; 4] = ["emaildomains", "emailmailboxes", "emailaliases", "emailforwardingrules"];

/// What a test has for itself.
pub(crate) struct World {
    /// The control plane.
    pub(crate) plane: &'static ControlPlane,
    /// As the admin.
    kube: kube::Client,
    /// Namespaces of the test.
    pub(crate) namespaces: Vec<String>,
    /// Everything that a server answered or logged.
    pub(crate) seen: Seen,
    installed: Installation,
    server: Option<(Operator, String)>,
    operator: Option<(Operator, Simulator, Dns)>,
}

impl World {
    /// Namespaces, the chart with its server for agents, and nothing running.
    pub(crate) async fn new(names: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::shared().await.unwrap();
        let mut namespaces = Vec::new();
        for name in names {
            namespaces.push(plane.operator_namespace(name).await.unwrap());
        }
        let callers = format!("{{{}}}", namespaces.join(","));
        let values = [
            ("mcp.enabled", "true"),
            ("mcp.callers.serviceAccountNamespaces", callers.as_str()),
            ("crds.install", "true"),
        ];
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator");
        let installed = plane.install_operator(&chart, &values, "mcp-release").await.unwrap();
        let kube = plane.admin().await.unwrap();
        Self { plane, kube, namespaces, seen: Seen::default(), installed, server: None, operator: None }
    }

    /// The same with the operator and a Mailcow for the first namespace.
    pub(crate) async fn with_operator(names: &[&str]) -> Self {
        let mut world = Self::new(names).await;
        let namespace = world.namespaces[0].clone();
        let mailcow = Simulator::start(Options::default()).await.unwrap();
        let dns = Dns::start().await.unwrap();
        let (url, key) = (mailcow.url(), mailcow.api_key().to_owned());
        world
            .apply(&namespace, &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow}}\nstringData: {{url: {url:?}, apiKey: {key:?}}}"))
            .await;
        let account = world.installed.chart.service_accounts.iter().find(|name| !name.ends_with("-mcp")).unwrap();
        let kubeconfig = world.plane.service_account_kubeconfig(&world.installed.namespace, account).await.unwrap();
        let kubeconfig = kubeconfig.display().to_string();
        let mut args = vec!["run", "--operator-namespace", &namespace, "--watch-namespaces", &namespace];
        args.extend(["--listen", "127.0.0.1:0", "--cluster-id", "testing", "--mailcow-secret", "mailcow"]);
        let asked = dns.operator_args();
        args.extend(asked.iter().map(String::as_str));
        let env = [("KUBECONFIG", kubeconfig.as_str()), ("POD_NAME", "the-pod")];
        let operator = Operator::start(binary(), &args, &env).unwrap();
        world.operator = Some((operator, mailcow, dns));
        world
    }

    /// The Mailcow.
    pub(crate) fn mailcow(&self) -> &Simulator {
        &self.operator.as_ref().unwrap().1
    }

    /// Applies manifests as the admin.
    pub(crate) async fn apply(&self, namespace: &str, manifests: &str) {
        self.plane.apply(manifests, namespace).await.unwrap();
    }

    /// Runs kubectl as the admin; gives what it wrote.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        let output = self.plane.kubectl(args).await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// A `ServiceAccount` in the first namespace without rights.
    pub(crate) async fn account(&self, name: &str) -> String {
        let namespace = &self.namespaces[0];
        self.apply(namespace, &format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}}}")).await;
        name.to_owned()
    }

    /// Gives an account verbs on resources of ours in a namespace.
    pub(crate) async fn grant(&self, account: &str, namespace: &str, verbs: &[&str], resources: &[&str]) {
        let rules = json!([{"apiGroups": ["email.askrobots.com"], "resources": resources, "verbs": verbs}]);
        self.bind(account, namespace, &rules).await;
    }

    /// A Secret with a password in each namespace of the test, which the account may read and nobody may ever see.
    pub(crate) async fn plant_secrets(&self, account: &str) {
        for namespace in &self.namespaces {
            let password = format!("planted-{:032x}", rand::random::<u128>());
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ada-mailbox"},
                "stringData": {"password": password}});
            self.apply(namespace, &secret.to_string()).await;
            let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]);
            self.bind(account, namespace, &rules).await;
        }
    }

    async fn bind(&self, account: &str, namespace: &str, rules: &Value) {
        let name = format!("{account}-{:08x}", rand::random::<u32>());
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules});
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.namespaces[0]}]});
        self.apply(namespace, &format!("{role}\n---\n{binding}")).await;
    }

    /// An account that may do everything with the four kinds in all namespaces of the test.
    pub(crate) async fn agent(&self, name: &str) -> String {
        let account = self.account(name).await;
        for namespace in &self.namespaces {
            self.grant(&account, namespace, &["get", "list", "create", "patch", "delete"], &RESOURCES).await;
        }
        account
    }

    /// The kubeconfig of an account.
    pub(crate) async fn kubeconfig(&self, account: &str) -> PathBuf {
        self.plane.service_account_kubeconfig(&self.namespaces[0], account).await.unwrap()
    }

    /// A token of an account for an audience.
    pub(crate) async fn token(&self, account: &str, audience: &str) -> String {
        let args = ["-n", &self.namespaces[0], "create", "token", account, "--audience", audience];
        let token = self.kubectl(&args).await.trim().to_owned();
        assert_eq!(token.matches('.').count(), 2, "{token}");
        token
    }

    /// The kubeconfig of the server's own `ServiceAccount`, with the rights that the chart gives it.
    pub(crate) async fn server_kubeconfig(&self) -> PathBuf {
        let account = self.installed.chart.service_accounts.iter().find(|name| name.ends_with("-mcp")).unwrap();
        self.plane.service_account_kubeconfig(&self.installed.namespace, account).await.unwrap()
    }

    /// Starts the server over HTTP and gives its URL.
    pub(crate) async fn serve(&mut self, more: &[&str]) -> String {
        let kubeconfig = self.server_kubeconfig().await.display().to_string();
        let listen = format!("127.0.0.1:{}", free_port().unwrap());
        let mut args = vec!["mcp", "--listen", &listen];
        args.extend(more);
        let server = Operator::start(binary(), &args, &[("KUBECONFIG", kubeconfig.as_str())]).unwrap();
        server.logged("serving tools for agents", LIMIT).await.unwrap();
        let url = format!("http://{listen}/mcp");
        self.server = Some((server, url.clone()));
        url
    }

    /// The server over HTTP.
    pub(crate) fn server(&self) -> &Operator {
        &self.server.as_ref().unwrap().0
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        self.server.as_ref().unwrap().1.clone()
    }

    /// What it logged; `None` if it does not run.
    pub(crate) fn logs(&self) -> Option<String> {
        self.server.as_ref().map(|(server, _)| server.logs())
    }

    /// A client on the server's standard input and output.
    pub(crate) async fn stdio(&self, account: &str, args: &[&str], version: Version, person: Person) -> Client {
        Client::stdio(&self.kubeconfig(account).await, args, (version, person), &self.seen).await
    }

    /// All objects of the four kinds in a namespace, with uids and generations.
    pub(crate) async fn objects(&self, namespace: &str) -> Value {
        let mut objects = Vec::new();
        for resource in RESOURCES {
            let list = self.read(namespace, resource).await.unwrap();
            objects.extend(list["items"].as_array().unwrap().iter().map(|item| {
                let metadata = &item["metadata"];
                json!([
                    item["kind"],
                    metadata["name"],
                    metadata["uid"],
                    metadata["generation"],
                    metadata["annotations"],
                    metadata["deletionTimestamp"],
                    item["spec"]
                ])
            }));
        }
        objects.into()
    }

    /// Reads `resource` or `resource/name` as the admin; `None` if there is none. Thousands of calls would be too slow
    /// with kubectl.
    pub(crate) async fn read(&self, namespace: &str, what: &str) -> Option<Value> {
        let path = format!("/apis/email.askrobots.com/v1alpha1/namespaces/{namespace}/{what}");
        let question = axum::http::Request::get(path).body(Vec::new()).unwrap();
        match self.kube.request(question).await {
            Ok(answer) => Some(answer),
            Err(kube::Error::Api(refused)) if refused.code == 404 => None,
            Err(error) => panic!("{namespace} {what}: {error}"),
        }
    }
}

/// The program under test.
pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_mailcow-operator"))
}
