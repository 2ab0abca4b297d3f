//! What each test has: the chart with task delivery in a namespace of its own, a namespace of somebody who uses it, a
//! Mailcow, and the operator with the chart's rights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ground::{ControlPlane, Dns, Installation, Operator, wait_until};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use mailcow_operator::crd::{EmailForwardingRule, EmailMailbox};
use mailcow_simulator::{AppPassword, Options, Simulator};
use serde_json::Value;

/// Far more than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// A domain and a mailbox.
pub(crate) const OBJECTS: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: example}
spec: {domain: example.com, dns: {required: []}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: support}
spec: {localPart: support, domainRef: {name: example}}
---
";

/// A rule that makes a task of each mail.
pub(crate) const BUGS: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: bugs}
spec: {mailboxRef: {name: support}, actions: [{createTask: {sink: tracker, title: 'Bug: {subject}', labels: [mail]}}]}
---
";

/// What a test has for itself.
pub(crate) struct Site {
    pub(crate) plane: &'static ControlPlane,
    /// The namespace of the release.
    pub(crate) namespace: String,
    /// A namespace of somebody who uses it.
    pub(crate) users: String,
    /// The name of what the chart makes.
    pub(crate) fullname: String,
    pub(crate) kube: kube::Client,
    pub(crate) mailcow: Simulator,
    pub(crate) operator: Option<Operator>,
    /// The kubeconfig of the operator's service account.
    operators: PathBuf,
    /// The kubeconfig of the worker's service account.
    pub(crate) workers: PathBuf,
    sinks: PathBuf,
    dns: Dns,
}

impl Site {
    /// Everything running, with these sinks, in YAML.
    pub(crate) async fn new(name: &str, sinks: &str) -> Self {
        let mut site = Self::without_operator(name, sinks).await;
        site.start_operator();
        site
    }

    /// The same, and nothing running but Mailcow.
    pub(crate) async fn without_operator(name: &str, sinks: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::shared().await.unwrap();
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator");
        // The rights to the Secrets of sinks come from their names in the values.
        let values = [
            ("featureGates.TaskDelivery", "true"),
            ("sinks[0].name", "tracker"),
            ("sinks[0].webhook.url", "https://tracker.example.com/hooks"),
            ("sinks[0].webhook.signingKeys[0].secretName", "tracker-hook"),
            ("sinks[0].namespaces[0]", "*"),
            ("sinks[1].name", "calendar"),
            ("sinks[1].caldav.url", "https://cloud.example.com/tasks/"),
            ("sinks[1].caldav.basicAuth.secretName", "nextcloud"),
            ("sinks[1].namespaces[0]", "*"),
        ];
        let Installation { namespace, account, chart } = plane.install_operator(&chart, &values, name).await.unwrap();
        let worker = chart.service_accounts.iter().find(|name| name.ends_with("-intake")).unwrap().clone();
        let file = std::env::temp_dir().join(format!("{namespace}-sinks.yaml"));
        std::fs::write(&file, sinks).unwrap();
        Self {
            users: plane.namespace(&format!("{name}-users")).await.unwrap(),
            kube: plane.admin().await.unwrap(),
            mailcow: Simulator::start(Options::default()).await.unwrap(),
            operator: None,
            operators: plane.service_account_kubeconfig(&namespace, &account).await.unwrap(),
            workers: plane.service_account_kubeconfig(&namespace, &worker).await.unwrap(),
            sinks: file,
            dns: Dns::start().await.unwrap(),
            fullname: account,
            namespace,
            plane,
        }
    }

    /// Starts the operator as the chart does.
    pub(crate) fn start_operator(&mut self) {
        self.start_operator_with_gates("TaskDelivery=true");
    }

    /// The same with other feature gates.
    pub(crate) fn start_operator_with_gates(&mut self, gates: &str) {
        let (kubeconfig, sinks) = (self.operators.display().to_string(), self.sinks.display().to_string());
        let secret = format!("{}-app-passwords", self.fullname);
        let key = std::env::temp_dir().join(format!("{}-key", self.namespace));
        std::fs::write(&key, self.mailcow.api_key()).unwrap();
        let (url, key) = (self.mailcow.url(), key.display().to_string());
        let mut args = vec!["run", "--operator-namespace", &self.namespace, "--lease-name", &self.fullname];
        args.extend(["--watch-namespaces", &self.users, "--mailcow-url", &url, "--mailcow-api-key-file", &key]);
        args.extend(["--feature-gates", gates, "--app-password-secret", &secret, "--sinks-file", &sinks]);
        args.extend(["--listen", "127.0.0.1:0", "--cluster-id", "testing", "--resync", "3s", "--poll-interval", "1s"]);
        args.extend(["--request-interval", "1s"]);
        let dns = self.dns.operator_args();
        args.extend(dns.iter().map(String::as_str));
        let env = [("KUBECONFIG", kubeconfig.as_str()), ("MALLOC_ARENA_MAX", "1"), ("POD_NAME", "the-pod")];
        let binary = Path::new(env!("CARGO_BIN_EXE_mailcow-operator"));
        self.operator = Some(Operator::start(binary, &args, &env).unwrap());
    }

    /// Starts a worker as the chart does, with IMAP at a port of this machine.
    pub(crate) fn start_worker(&self, imap: u16) -> Operator {
        let (kubeconfig, sinks) = (self.workers.display().to_string(), self.sinks.display().to_string());
        let (secret, lease) = (format!("{}-app-passwords", self.fullname), format!("{}-intake", self.fullname));
        let imap = format!("default=127.0.0.1:{imap}");
        let mut args = vec!["intake", "--operator-namespace", &self.namespace, "--lease-name", &lease];
        args.extend(["--watch-namespaces", &self.users, "--app-password-secret", &secret, "--sinks-file", &sinks]);
        args.extend(["--imap", &imap, "--imap-tls", "plaintext", "--scan-interval", "2s", "--listen", "127.0.0.1:0"]);
        let env = [("KUBECONFIG", kubeconfig.as_str()), ("MALLOC_ARENA_MAX", "1"), ("POD_NAME", "the-worker")];
        let binary = Path::new(env!("CARGO_BIN_EXE_mailcow-operator"));
        Operator::start(binary, &args, &env).unwrap()
    }

    /// Applies manifests into the users' namespace.
    pub(crate) async fn apply(&self, manifests: &str) {
        self.plane.apply(manifests, &self.users).await.unwrap();
    }

    /// Runs kubectl as an administrator in the users' namespace; gives what it wrote, errors too.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_in(&self.users, args).await
    }

    /// The same in a namespace.
    pub(crate) async fn kubectl_in(&self, namespace: &str, args: &[&str]) -> String {
        let output = self.plane.kubectl(&[&["-n", namespace], args].concat()).await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Runs `kubectl email` as an administrator in the users' namespace; gives what it wrote, errors too.
    pub(crate) async fn email(&self, args: &[&str]) -> String {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_kubectl-email"));
        command.args(args).args(["-n", &self.users]).env("KUBECONFIG", self.plane.admin_kubeconfig());
        let output = command.output().await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// The app passwords on Mailcow.
    pub(crate) fn app_passwords(&self) -> Vec<AppPassword> {
        self.mailcow.inspect(|state| state.app_passwords.values().cloned().collect())
    }

    /// The entries of all Secrets with app passwords, by uid.
    pub(crate) async fn entries(&self) -> Vec<(String, Value)> {
        let api: Api<Secret> = Api::namespaced(self.kube.clone(), &self.namespace);
        let mut found = Vec::new();
        for n in 0..8 {
            let secret = api.get_opt(&format!("{}-app-passwords-{n}", self.fullname)).await.unwrap();
            for (uid, value) in secret.and_then(|secret| secret.data).unwrap_or_default() {
                found.push((uid, serde_json::from_slice(&value.0).unwrap()));
            }
        }
        found
    }

    /// Whether a password opens a mailbox by a protocol, as Dovecot asks Mailcow.
    pub(crate) async fn opens(&self, password: &str, service: &str) -> bool {
        let body = serde_json::json!({"username": "support@example.com", "password": password, "service": service});
        let url = self.mailcow.password_check_url();
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["success"] == true
    }

    /// Waits until something is so, and gives what it found.
    pub(crate) async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Result<T, String>) -> T {
        match wait_until(LIMIT, what, look).await {
            Ok(found) => found,
            Err(error) => panic!("{error}\n{}", self.operator.as_ref().map(Operator::logs).unwrap_or_default()),
        }
    }

    /// Waits for exactly one app password on Mailcow, which is the one in the Secret and opens IMAP; gives its number and the
    /// password.
    pub(crate) async fn settled(&self) -> (i64, String) {
        self.until("one app password, the same on both sides", async || {
            let (there, entries) = (self.app_passwords(), self.entries().await);
            let ([there], [(_, entry)]) = (there.as_slice(), entries.as_slice()) else {
                return Err(format!("{there:?} and {} entries", entries.len()));
            };
            let version = entry["version"].as_str().unwrap_or_default();
            let password = entry["password"].as_str().unwrap_or_default().to_owned();
            if there.name.ends_with(&format!(" {version}")) && self.opens(&password, "imap").await {
                Ok((there.id, password))
            } else {
                Err(format!("{there:?} for version {version}"))
            }
        })
        .await
    }

    /// The mailbox.
    pub(crate) async fn mailbox(&self) -> EmailMailbox {
        Api::namespaced(self.kube.clone(), &self.users).get("support").await.unwrap()
    }

    /// The rule.
    pub(crate) async fn rule(&self, name: &str) -> EmailForwardingRule {
        Api::namespaced(self.kube.clone(), &self.users).get(name).await.unwrap()
    }

    /// Waits until `status.delivery` of the mailbox has this reason; an empty one: that all is well. Gives the message.
    pub(crate) async fn delivery(&self, reason: &str) -> String {
        self.until(&format!("status.delivery with {reason:?}"), async || {
            let delivery = self.mailbox().await.status.and_then(|status| status.delivery);
            match delivery {
                Some(delivery) if delivery.reason.as_deref().unwrap_or_default() == reason => {
                    Ok(delivery.message.unwrap_or_default())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.sinks);
        let _ = std::fs::remove_file(std::env::temp_dir().join(format!("{}-key", self.namespace)));
    }
}
