//! What each test gets for itself: a namespace with a Helm release, a Mailcow, DNS, and an operator that runs as the
//! release's Deployment says. The control plane and the CRDs are shared by the whole run.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use ground::{ControlPlane, Dns, Folder, Operator, wait_until};
use mailcow_simulator::{Options, Simulator};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Far more than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// A domain and a mailbox.
pub(crate) const DOMAIN: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: example}
spec: {domain: example.com}
---
";
pub(crate) const ADA: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: ada, labels: {team: a}}
spec: {localPart: ada, domainRef: {name: example}}
---
";

static CRDS: OnceCell<()> = OnceCell::const_new();

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator")
}

/// The shared control plane with the CRDs.
pub(crate) async fn plane() -> &'static ControlPlane {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plane = ControlPlane::shared().await.unwrap();
    CRDS.get_or_init(async || drop(plane.install_operator(&chart(), &[], "crds").await.unwrap())).await;
    plane
}

/// A control plane without anything of ours. It ends with the process.
pub(crate) async fn bare_plane() -> &'static ControlPlane {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Box::leak(Box::new(ControlPlane::start(ground::Options::default()).await.unwrap()))
}

/// The exit code and the output of a call.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Finished {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The call succeeded and complained of nothing.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:#?}");
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// All of these words are somewhere in the output.
    pub(crate) fn shows(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.out.contains(word) || self.err.contains(word), "{word} is missing: {self:#?}");
        }
        self
    }
}

/// The program with these arguments and an environment of its own.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-email"));
    command.args(arguments).env_remove("KUBECONFIG").env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Calls the program with a text on its standard input.
pub(crate) async fn call_with(arguments: &[&str], input: &str) -> Finished {
    let mut child = program(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move {
        // A call that is refused early reads nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    Finished::of(output.unwrap())
}

/// Calls the program.
pub(crate) async fn call(arguments: &[&str]) -> Finished {
    call_with(arguments, "").await
}

/// What a test has for itself.
pub(crate) struct World {
    pub(crate) plane: &'static ControlPlane,
    /// The namespace of the release and of the objects.
    pub(crate) namespace: String,
    pub(crate) mailcow: Simulator,
    pub(crate) dns: Dns,
    pub(crate) operator: Option<Operator>,
    folder: Folder,
}

impl World {
    /// Everything running, Mailcow connected.
    pub(crate) async fn new(name: &str) -> Self {
        let mut world = Self::prepare(name).await;
        world.connect().await;
        world.start().await;
        world
    }

    /// Installed, but neither connected nor running.
    pub(crate) async fn prepare(name: &str) -> Self {
        Self::with(name, Options::default(), &[]).await
    }

    /// The same with a Mailcow of these options, and further values of the chart.
    pub(crate) async fn with(name: &str, options: Options, values: &[&str]) -> Self {
        Self::on(plane().await, name, options, values).await
    }

    /// The same on another control plane.
    pub(crate) async fn on(plane: &'static ControlPlane, name: &str, options: Options, values: &[&str]) -> Self {
        let namespace = plane.namespace(name).await.unwrap();
        let (mailcow, dns) = (Simulator::start(options).await.unwrap(), Dns::start().await.unwrap());
        let world = Self { plane, namespace, mailcow, dns, operator: None, folder: Folder::new("cli", false).unwrap() };
        world.helm("install", values).await;
        world
    }

    /// Runs `helm install` or `helm upgrade` of the release.
    pub(crate) async fn helm(&self, verb: &str, values: &[&str]) {
        let chart = chart().display().to_string();
        let mut sets = vec![
            format!("dns.resolvers={{{}}}", self.dns.resolver.address()),
            format!("dns.mailHost={}", ground::MAIL_HOST),
            "dns.allowPrivate=true".to_owned(),
            "crds.install=false".to_owned(),
            "rbac.aggregate=false".to_owned(),
            "clusterId=testing".to_owned(),
            format!("watchNamespaces={{{}}}", self.namespace),
        ];
        sets.extend(values.iter().map(|value| (*value).to_owned()));
        let mut args = vec![verb, "mailcow-operator", &chart, "-n", &self.namespace];
        args.extend(sets.iter().flat_map(|set| ["--set", set.as_str()]));
        self.plane.helm(&args).await.unwrap();
    }

    /// Makes the Secret with the connection.
    pub(crate) async fn connect(&self) {
        self.connect_with(&self.mailcow.url(), self.mailcow.api_key()).await;
    }

    /// The same with this URL and key.
    pub(crate) async fn connect_with(&self, url: &str, key: &str) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow-operator-mailcow}}\nstringData: {{url: {url:?}, apiKey: {key:?}}}"
        ))
        .await;
    }

    /// Starts the operator as the Deployment says.
    pub(crate) async fn start(&mut self) {
        let workload = self.plane.workload(&self.namespace, "mailcow-operator", &self.folder).await.unwrap();
        let account = self.plane.service_account_kubeconfig(&self.namespace, &workload.service_account).await.unwrap();
        let (account, port) = (account.display().to_string(), self.dns.authority.address().port().to_string());
        let mut env: Vec<(&str, &str)> =
            workload.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        env.extend([
            ("KUBECONFIG", &*account),
            ("LISTEN", "127.0.0.1:0"),
            ("POD_NAME", "the-pod"),
            ("DNS_AUTHORITATIVE_PORT", &port),
            ("REQUEST_INTERVAL", "1s"),
        ]);
        let port = |arg: &str| {
            if arg.starts_with("--health-listen=") { "--health-listen=127.0.0.1:0" } else { arg }.to_owned()
        };
        let args: Vec<String> = workload.args.iter().map(|arg| port(arg)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.operator = Some(Operator::start(Path::new(env!("CARGO_BIN_EXE_mailcow-operator")), &args, &env).unwrap());
    }

    /// Lets a user read these kinds in a namespace.
    pub(crate) async fn let_read(&self, user: &str, namespace: &str, resources: &str) {
        let name = format!("{user}-reads-{}", resources.replace(|c: char| !c.is_ascii_lowercase(), ""));
        let group = "rbac.authorization.k8s.io";
        let role = format!(
            "apiVersion: {group}/v1\nkind: Role\nmetadata: {{name: {name}}}\nrules: [{{apiGroups: [email.askrobots.com], resources: [{resources}], verbs: [get, list]}}]\n---\n\
             apiVersion: {group}/v1\nkind: RoleBinding\nmetadata: {{name: {name}}}\nroleRef: {{apiGroup: {group}, kind: Role, name: {name}}}\n\
             subjects: [{{apiGroup: {group}, kind: User, name: {user}}}]\n"
        );
        self.plane.apply(&role, namespace).await.unwrap();
        let kind = resources.split(',').next().unwrap().replace("'*'", "emaildomains");
        wait_until(LIMIT, "the right", async || {
            let args = ["-n", namespace, "auth", "can-i", "list", &format!("{kind}.email.askrobots.com"), "--as", user];
            let output = self.plane.kubectl(&args).await.map_err(|error| error.to_string())?;
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        })
        .await
        .unwrap();
    }

    /// The options that name Mailcow, with a key in a file.
    pub(crate) fn access(&self, key: &str) -> [String; 4] {
        let file = self.folder().join("api-key");
        std::fs::write(&file, key).unwrap();
        let file = file.display().to_string();
        ["--mailcow-url".to_owned(), self.mailcow.url(), "--mailcow-api-key-file".to_owned(), file]
    }

    /// Applies manifests into the namespace; they have to be taken.
    pub(crate) async fn apply(&self, manifests: &str) {
        self.plane.apply(manifests, &self.namespace).await.unwrap();
    }

    /// Runs kubectl in the namespace as an administrator; it has to succeed.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        let output = self.plane.kubectl(&[&["-n", &self.namespace], args].concat()).await.unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The arguments that name the cluster and the namespace.
    pub(crate) fn place(&self) -> [String; 4] {
        let kubeconfig = self.plane.admin_kubeconfig().display().to_string();
        ["--kubeconfig".to_owned(), kubeconfig, "-n".to_owned(), self.namespace.clone()]
    }

    /// Calls the program in the namespace as an administrator.
    pub(crate) async fn email(&self, arguments: &[&str]) -> Finished {
        self.email_with(arguments, "").await
    }

    /// The same with a text on its standard input.
    pub(crate) async fn email_with(&self, arguments: &[&str], input: &str) -> Finished {
        let place = self.place();
        let place: Vec<&str> = place.iter().map(String::as_str).collect();
        call_with(&[arguments, &place].concat(), input).await
    }

    /// Waits until an object is Ready for its current generation.
    pub(crate) async fn ready(&self, object: &str) {
        self.until(object, "Ready", "True").await;
    }

    /// Waits until a condition of an object has this status for the current generation.
    pub(crate) async fn until(&self, object: &str, kind: &str, status: &str) {
        let what = format!("{object} to have {kind}={status}");
        let path = format!(
            "jsonpath={{.metadata.generation}} {{.status.observedGeneration}} {{.status.conditions[?(@.type==\"{kind}\")].status}}"
        );
        let found = wait_until(LIMIT, &what, async || {
            let done = self.kubectl(&["get", object, "-o", &path]).await;
            let words: Vec<&str> = done.split(' ').collect();
            if words.len() == 3 && words[0] == words[1] && words[2] == status { Ok(()) } else { Err(done) }
        });
        if let Err(error) = found.await {
            panic!("{error}\n{}", self.operator.as_ref().map(Operator::logs).unwrap_or_default());
        }
    }

    /// Marks the release's pod as ready, because no node runs it here, and waits until its Deployment shows that.
    pub(crate) async fn pods_ready(&self) {
        wait_until(LIMIT, "a ready pod", async || {
            let pods = self.kubectl(&["get", "pods", "-o", "name"]).await;
            let ready = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
            for pod in pods.lines() {
                // It may be gone since.
                let args = ["-n", &self.namespace, "patch", pod, "--subresource=status", "--type=merge", "-p", ready];
                self.plane.kubectl(&args).await.map_err(|error| error.to_string())?;
            }
            let path = "jsonpath={.metadata.generation} {.status.observedGeneration} {.status.readyReplicas} {.status.updatedReplicas}";
            let shown = self.kubectl(&["get", "deployment", "mailcow-operator", "-o", path]).await;
            let words: Vec<&str> = shown.split(' ').collect();
            if words.len() == 4 && words[0] == words[1] && words[2] == "1" && words[3] == "1" { Ok(()) } else { Err(shown) }
        })
        .await
        .unwrap();
    }

    /// A folder for files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}
