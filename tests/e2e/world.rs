//! What each test gets for itself: a namespace, a Mailcow and an operator that watches only that namespace. The control
//! plane and the chart are shared by the whole run.

use std::collections::HashSet;
use std::fmt::Debug;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ground::{ControlPlane, Dns, Installation, Operator, wait_until};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, StatusCondition};
use mailcow_simulator::{Options, Simulator};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

/// Far more than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

static INSTALLED: OnceCell<Installed> = OnceCell::const_new();

/// What the whole run shares beside the control plane.
#[derive(Clone)]
struct Installed {
    kubeconfig: PathBuf,
    rendered: String,
    namespace: String,
    account: String,
}

/// The shared control plane with the chart, and the kubeconfig of the chart's service account.
async fn installed() -> (Plane, Installed) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plane = ControlPlane::shared().await.unwrap();
    let gates = [("featureGates.DNSPublishing", "true")];
    let installed = INSTALLED.get_or_init(|| install(plane, "release", &gates)).await;
    (Plane::Shared(plane), installed.clone())
}

async fn install(plane: &ControlPlane, release: &str, values: &[(&str, &str)]) -> Installed {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator");
    let Installation { namespace, account, chart } = plane.install_operator(&chart, values, release).await.unwrap();
    assert_eq!(chart.crds.len(), 4);
    let kubeconfig = plane.service_account_kubeconfig(&namespace, &account).await.unwrap();
    Installed { kubeconfig, rendered: chart.rendered, namespace, account }
}

/// A control plane that others use too, or a world's own, which ends with it.
pub(crate) enum Plane {
    Shared(&'static ControlPlane),
    Own(Box<ControlPlane>),
}

impl Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match self {
            Self::Shared(plane) => plane,
            Self::Own(plane) => plane,
        }
    }
}

/// Leaves out the options that this build shows and an older one, for a comparison, does not.
fn leave_out_unknown(args: &mut Vec<&str>, older: &Path) {
    let options = |binary: &Path| -> HashSet<String> {
        let help = std::process::Command::new(binary).args(["run", "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        help.split([' ', '\n', ',', '=']).filter(|word| word.starts_with("--")).map(ToOwned::to_owned).collect()
    };
    let new = &options(Path::new(env!("CARGO_BIN_EXE_mailcow-operator"))) - &options(older);
    let mut is_left_out = false;
    args.retain(|arg| {
        let (name, has_value) = arg.split_once('=').map_or((*arg, false), |(name, _)| (name, true));
        if name.starts_with("--") {
            is_left_out = new.contains(name);
            let keep = !is_left_out;
            is_left_out &= !has_value;
            return keep;
        }
        !is_left_out
    });
}

/// What a test has for itself.
pub(crate) struct World {
    /// The control plane.
    pub(crate) plane: Plane,
    installed: Installed,
    /// The namespace that the operator looks at.
    pub(crate) namespace: String,
    /// The namespaces that the chart lists; none where it gives rights everywhere.
    pub(crate) listed: Vec<String>,
    /// As an administrator.
    pub(crate) kube: kube::Client,
    /// The server.
    pub(crate) mailcow: Simulator,
    /// The DNS that the operator asks.
    pub(crate) dns: Dns,
    /// The program under test.
    pub(crate) binary: PathBuf,
    /// That program, running.
    pub(crate) operator: Option<Operator>,
    /// Whether the operator looks at every namespace.
    everywhere: bool,
}

impl World {
    /// Everything running, Mailcow configured.
    pub(crate) async fn new(name: &str) -> Self {
        let mut world = Self::without_mailcow(name).await;
        world.connect().await;
        world.start_operator(&[]);
        world
    }

    /// Nothing running but an unconfigured Mailcow.
    pub(crate) async fn without_mailcow(name: &str) -> Self {
        let (plane, installed) = installed().await;
        Self::on(plane, installed, name).await
    }

    /// The same with a Mailcow that takes its time.
    pub(crate) async fn costly(name: &str, cost: mailcow_simulator::CostModel) -> Self {
        let options = Options { latency: Some(cost), ..Options::default() };
        Self { mailcow: Simulator::start(options).await.unwrap(), ..Self::without_mailcow(name).await }
    }

    /// The same on a control plane of its own, which may be broken.
    pub(crate) async fn alone(name: &str) -> Self {
        Self::alone_with(name, ground::Options::default()).await
    }

    /// The same with options of the control plane.
    pub(crate) async fn alone_with(name: &str, options: ground::Options) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::start(options).await.unwrap();
        let gates = [("featureGates.DNSPublishing", "true"), ("featureGates.AutoProvisioning", "true")];
        let installed = install(&plane, "release", &gates).await;
        Self::on(Plane::Own(Box::new(plane)), installed, name).await
    }

    /// The same with an operator that looks at every namespace.
    pub(crate) async fn everywhere(name: &str) -> Self {
        Self { everywhere: true, ..Self::alone(name).await }
    }

    /// With the rights that the chart gives when nothing is set, and nothing running.
    pub(crate) async fn with_default_rights(name: &str) -> Self {
        let (plane, _) = installed().await;
        let installed = install(&plane, &format!("{name}-release"), &[]).await;
        Self::on(plane, installed, name).await
    }

    /// With the rights that the chart gives in two listed namespaces, the first of them the world's own, and nothing
    /// running.
    pub(crate) async fn listing(first: &str, second: &str) -> Self {
        let mut world = Self::without_mailcow(first).await;
        world.listed = vec![world.namespace.clone(), world.plane.namespace(second).await.unwrap()];
        let listed = format!("{{{}}}", world.listed.join(","));
        let values = [("watchNamespaces", listed.as_str()), ("clusterId", "testing")];
        world.installed = install(&world.plane, &format!("{first}-release"), &values).await;
        world
    }

    /// The name of what the chart made, and of its service account as `namespace:name`.
    pub(crate) fn release(&self) -> (String, String) {
        let Installed { namespace, account, .. } = &self.installed;
        (account.clone(), format!("{namespace}:{account}"))
    }

    async fn on(plane: Plane, installed: Installed, name: &str) -> Self {
        let namespace = plane.operator_namespace(name).await.unwrap();
        let mailcow = Simulator::start(Options::default()).await.unwrap();
        let dns = Dns::start().await.unwrap();
        Self {
            kube: plane.admin().await.unwrap(),
            plane,
            installed,
            namespace,
            listed: Vec::new(),
            mailcow,
            dns,
            binary: PathBuf::from(env!("CARGO_BIN_EXE_mailcow-operator")),
            operator: None,
            everywhere: false,
        }
    }

    /// Makes the Secret with the connection.
    pub(crate) async fn connect(&self) {
        self.connect_with(&self.mailcow.url(), self.mailcow.api_key()).await;
    }

    /// Makes or changes the Secret with the connection.
    pub(crate) async fn connect_with(&self, url: &str, key: &str) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow}}\nstringData: {{url: {url:?}, apiKey: {key:?}}}"
        ))
        .await;
    }

    /// Starts the operator with the connection from the Secret, and further arguments.
    pub(crate) fn start_operator(&mut self, more: &[&str]) {
        self.start_operator_with(&[&["--mailcow-secret", "mailcow"], more].concat());
    }

    /// Starts the operator with these arguments beside what every test needs.
    pub(crate) fn start_operator_with(&mut self, more: &[&str]) {
        self.start(more, "127.0.0.1:0");
    }

    /// Starts an operator that serves metrics and health there.
    pub(crate) fn start_operator_listening(&mut self, listen: &str) {
        self.start(&["--mailcow-secret", "mailcow"], listen);
    }

    /// The kubeconfig with the rights that the chart gives.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.installed.kubeconfig
    }

    fn start(&mut self, more: &[&str], listen: &str) {
        self.operator = Some(self.process(more, listen));
    }

    /// An operator beside the one under test, with these arguments beside what every test needs.
    pub(crate) fn another_operator(&self, more: &[&str]) -> Operator {
        self.process(more, "127.0.0.1:0")
    }

    fn process(&self, more: &[&str], listen: &str) -> Operator {
        let kubeconfig = self.installed.kubeconfig.display().to_string();
        let namespace = self.namespace.clone();
        let mut args = vec!["run", "--operator-namespace", &namespace];
        if !self.everywhere {
            args.extend(["--watch-namespaces", &namespace]);
        }
        args.extend(["--listen", listen, "--cluster-id", "testing"]);
        // Tests ask again sooner than people do.
        if !more.contains(&"--request-interval") {
            args.extend(["--request-interval", "1s"]);
        }
        if !more.contains(&"--feature-gates") {
            args.extend(["--feature-gates", "DNSPublishing=true"]);
        }
        let dns = self.dns.operator_args();
        args.extend(dns.iter().map(String::as_str).chain(more.iter().copied()));
        if self.binary != Path::new(env!("CARGO_BIN_EXE_mailcow-operator")) {
            leave_out_unknown(&mut args, &self.binary);
        }
        // As the chart sets it. A pod that restarts has the Lease still, so that nobody waits for it.
        let env = [("KUBECONFIG", kubeconfig.as_str()), ("MALLOC_ARENA_MAX", "1"), ("POD_NAME", "the-pod")];
        Operator::start(&self.binary, &args, &env).unwrap()
    }

    /// The same things in another namespace, with a kind of its own: for objects of guests.
    pub(crate) async fn until_in<K: Email>(
        &self,
        namespace: &str,
        name: &str,
        (kind, status, reason): (&str, &str, &str),
    ) -> K {
        let api: Api<K> = Api::namespaced(self.kube.clone(), namespace);
        let is_so = |object: &K| {
            let found = object.conditions().into_iter().find(|c| c.type_ == kind);
            found.is_some_and(|c| c.status == status && c.reason == reason) && is_current(object)
        };
        wait_until(LIMIT, &format!("{kind}={status} {reason} on {namespace}/{name}"), async || {
            match api.get_opt(name).await {
                Ok(Some(object)) if is_so(&object) => Ok(object),
                other => Err(format!("{other:#?}")),
            }
        })
        .await
        .unwrap_or_else(|error| {
            panic!(
                "{error}
{}",
                self.logs()
            )
        })
    }

    /// Applies manifests into the namespace; they have to be taken.
    pub(crate) async fn apply(&self, manifests: &str) {
        self.plane.apply(manifests, &self.namespace).await.unwrap();
    }

    /// Runs kubectl in the namespace as an administrator; gives what it wrote, errors too.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        let output = self.plane.kubectl(&[&["-n", &self.namespace], args].concat()).await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Applies manifests that have to be refused, and gives the words.
    pub(crate) async fn refused(&self, manifest: &str) -> String {
        let output = self.plane.kubectl_with(&["-n", &self.namespace, "create", "-f", "-"], manifest).await.unwrap();
        assert!(!output.status.success(), "it was taken:\n{manifest}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Has the API server judge the whole chart, Deployment and all, without keeping it.
    pub(crate) async fn judge_chart(&self) -> String {
        let args = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let output = self.plane.kubectl_with(&args, &self.installed.rendered).await.unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// The API of a kind in the namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.kube.clone(), &self.namespace)
    }

    /// Waits until `Ready` is True for the current generation, and gives the object.
    pub(crate) async fn ready<K: Email>(&self, name: &str) -> K {
        self.until(name, "Ready=True", |object: &K| says(object, "Ready", "True")).await
    }

    /// Waits until a condition has this status and reason, and gives the object.
    pub(crate) async fn condition<K: Email>(&self, name: &str, (kind, status, reason): (&str, &str, &str)) -> K {
        let what = format!("{kind}={status} with reason {reason}");
        self.until(name, &what, |object: &K| {
            let found = object.conditions().into_iter().find(|c| c.type_ == kind);
            found.is_some_and(|c| c.status == status && c.reason == reason) && is_current(object)
        })
        .await
    }

    /// Waits until something is true of an object, and gives it.
    pub(crate) async fn until<K: Email>(&self, name: &str, what: &str, is_so: impl Fn(&K) -> bool) -> K {
        let api = self.api::<K>();
        let what = format!("{what} on {} {name}", K::kind(&()));
        let found = wait_until(LIMIT, &what, async || {
            let object = api.get(name).await.map_err(|error| error.to_string())?;
            if is_so(&object) { Ok(object) } else { Err(format!("{:#?}", object.conditions())) }
        });
        match found.await {
            Ok(object) => object,
            Err(error) => panic!("{error}\n{}", self.logs()),
        }
    }

    /// Asks for a check of the domain `example` at once, and waits until it is done.
    pub(crate) async fn checked(&self, request: &str) -> EmailDomain {
        let annotation = format!("email.askrobots.com/reconcile-requested-at={request}");
        self.kubectl(&["annotate", "--overwrite", "edom", "example", &annotation]).await;
        let is_done =
            |d: &EmailDomain| d.status.as_ref().and_then(|s| s.last_handled_reconcile_at.as_deref()) == Some(request);
        self.until("example", "the request is echoed", is_done).await
    }

    /// Waits until the object is gone.
    pub(crate) async fn gone<K: Email>(&self, name: &str) {
        let api = self.api::<K>();
        let what = format!("{name} to be gone");
        let found = wait_until(LIMIT, &what, async || match api.get_opt(name).await {
            Ok(None) => Ok(()),
            Ok(Some(object)) => Err(format!("{:#?}", object.conditions())),
            Err(error) => Err(error.to_string()),
        });
        if let Err(error) = found.await {
            panic!("{error}\n{}", self.logs());
        }
    }

    /// The events of the namespace, each on a line: type, reason, object, note.
    pub(crate) async fn events(&self) -> String {
        let columns = "-o=custom-columns=T:.type,R:.reason,O:.regarding.name,N:.note";
        self.kubectl(&["get", "events.events.k8s.io", columns, "--no-headers"]).await
    }

    /// Waits for an event, and gives its line.
    pub(crate) async fn event(&self, reason: &str, object: &str) -> String {
        let what = format!("an event {reason} on {object}");
        let found = wait_until(LIMIT, &what, async || {
            let all = self.events().await;
            let is_it = |line: &&str| {
                let mut words = line.split_whitespace().skip(1);
                words.next() == Some(reason) && words.next() == Some(object)
            };
            all.lines().find(is_it).map(ToOwned::to_owned).ok_or(all.clone())
        });
        found.await.unwrap_or_else(|error| panic!("{error}\n{}", self.logs()))
    }

    /// What the operator wrote.
    pub(crate) fn logs(&self) -> String {
        self.operator.as_ref().map(Operator::logs).unwrap_or_default()
    }

    /// Everything that the API server holds in the namespace, as YAML, without Secrets.
    pub(crate) async fn everything(&self) -> String {
        let kinds = "emaildomains,emailmailboxes,emailaliases,emailforwardingrules,events,configmaps";
        self.kubectl(&["get", kinds, "-o", "yaml"]).await
    }
}

/// One of our kinds.
pub(crate) trait Email:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
    /// The conditions in its status.
    fn conditions(&self) -> Vec<StatusCondition>;
    /// The generation that its status speaks of.
    fn observed(&self) -> Option<i64>;
}

macro_rules! email {
    ($($kind:ty),*) => {$(
        impl Email for $kind {
            fn conditions(&self) -> Vec<StatusCondition> {
                self.status.clone().unwrap_or_default().conditions
            }

            fn observed(&self) -> Option<i64> {
                self.status.clone().unwrap_or_default().observed_generation
            }
        }
    )*};
}

email!(EmailDomain, EmailMailbox, EmailAlias, EmailForwardingRule);

/// Whether the status speaks of the current spec.
pub(crate) fn is_current(object: &impl Email) -> bool {
    object.observed() == object.meta().generation
}

/// Whether a condition has this status, for the current spec.
pub(crate) fn says(object: &impl Email, kind: &str, status: &str) -> bool {
    is_current(object) && object.conditions().iter().any(|c| c.type_ == kind && c.status == status)
}

/// The message of a condition.
pub(crate) fn message(object: &impl Email, kind: &str) -> String {
    object.conditions().into_iter().find(|c| c.type_ == kind).map(|c| c.message.clone()).unwrap_or_default()
}

/// A domain and a mailbox that the tests use.
pub(crate) const DOMAIN: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: example}
spec: {domain: example.com}
---
";
/// A mailbox of it.
pub(crate) const ADA: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: ada}
spec: {localPart: ada, domainRef: {name: example}, displayName: Ada Lovelace}
---
";

/// The domain with room for just so many mailboxes, and these: `m0`, `m1` and so on, with the names `Number 0` and so on.
pub(crate) fn many(count: usize) -> String {
    let domain = DOMAIN.replace(
        "{domain: example.com}",
        &format!("{{domain: example.com, limits: {{mailboxes: {count}, totalQuota: {count}Gi}}}}"),
    );
    let mailbox = |n| {
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: m{n}}}\nspec: {{localPart: m{n}, domainRef: {{name: example}}, displayName: Number {n}}}\n---\n"
        )
    };
    domain + &(0..count).map(mailbox).collect::<String>()
}
