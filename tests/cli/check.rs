//! `check`: injected faults, each of which has to be named together with what mends it.

use std::net::IpAddr;
use std::sync::Arc;

use ground::ControlPlane;
use mailcow_simulator::{Fault, Netfilter, Options, Trouble};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::world::{ADA, DOMAIN, Finished, LIMIT, World, bare_plane, call};

/// The values that every release has here: DNS is asked through the test's resolver only.
const VALUES: [&str; 1] = ["dns.mode=recursive"];

/// The faults so far: name, and the words that are missing in the finding.
struct Table {
    world: World,
    rows: Vec<(&'static str, Vec<String>, String)>,
}

impl Table {
    async fn check(&self, more: &[&str]) -> Finished {
        self.world.email(&[&["check", "--operator-namespace", &self.world.namespace], more].concat()).await
    }

    /// Runs the check while a fault is there; it has to say all of these words in one finding.
    async fn judge(&mut self, fault: &'static str, words: &[&str]) {
        let done = self.check(&["-o", "json"]).await;
        self.note(fault, words, &done);
    }

    fn note(&mut self, fault: &'static str, words: &[&str], done: &Finished) {
        let findings: Vec<Value> = serde_json::from_str(&done.out).unwrap_or_default();
        let bad = findings.iter().filter(|finding| finding["verdict"] == "Bad" || finding["verdict"] == "Warning");
        let texts: Vec<String> = bad
            .map(|finding| {
                format!("{} → {}", finding["message"].as_str().unwrap(), finding["remedy"].as_str().unwrap_or(""))
            })
            .collect();
        let missing = |text: &String| {
            words.iter().filter(|word| !text.contains(**word)).map(|word| (*word).to_owned()).collect::<Vec<_>>()
        };
        let best = texts.iter().min_by_key(|text| missing(text).len());
        let shown = best.cloned().unwrap_or_else(|| format!("{done:?}"));
        let missing = best.map_or_else(|| words.iter().map(|word| (*word).to_owned()).collect(), missing);
        self.rows.push((fault, missing, shown));
    }

    async fn connect(&self) {
        self.world.connect().await;
    }

    async fn upgrade(&self, values: &[&str]) {
        self.world.helm("upgrade", &[&VALUES[..], values].concat()).await;
        self.world.pods_ready().await;
    }
}

/// A server that gives the same answer to every request.
async fn answering(head: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, head, body));
        }
    });
    url
}

/// Answers all requests of a connection.
async fn answer(mut stream: TcpStream, head: &'static str, body: &'static str) {
    let mut buffer = [0; 4096];
    let length = body.len();
    let text =
        format!("HTTP/1.1 200 OK\r\n{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) && stream.write_all(text.as_bytes()).await.is_ok() {
    }
}

/// The test's certificate authority.
fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let pem = certificate.pem();
    (Issuer::new(params, key), pem)
}

/// Puts TLS before a server, with a certificate for `name` that is valid in these years.
async fn tls(issuer: &Issuer<'static, KeyPair>, name: &str, years: (i32, i32), to: std::net::SocketAddr) -> String {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    let chain = vec![certificate.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut there = TcpStream::connect(to).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut there).await;
            });
        }
    });
    format!("https://localhost:{port}")
}

/// Faults of the connection to Mailcow.
async fn of_mailcow(table: &mut Table) {
    let (url, key) = (table.world.mailcow.url(), table.world.mailcow.api_key().to_owned());
    let secret = "patch secret mailcow-operator-mailcow";
    table.world.connect_with(&url, "WRONG0-WRONG0-WRONG0-WRONG0-WRONG0").await;
    table.judge("wrong key", &["refuses the API key", "authentication failed", secret, "apiKey"]).await;
    let read_only = table.world.mailcow.read_only_key().to_owned();
    table.world.connect_with(&url, &read_only).await;
    table.judge("read-only key", &["the key is read-only", secret, "read-write key"]).await;
    table.connect().await;
    table.world.mailcow.edit(|state| "198.51.100.1".clone_into(&mut state.api_keys[0].allow_from));
    table
        .judge("address not allowed", &["does not allow this address", "127.0.0.1", "Allow API access from these IPs"])
        .await;
    table.world.mailcow.edit(|state| "127.0.0.1".clone_into(&mut state.api_keys[0].allow_from));
    table.world.connect_with("mail.example.com", &key).await;
    table.judge("URL without scheme", &["mail.example.com", "https://mail.example.com", secret, "\"url\""]).await;
    table.world.connect_with("https://nosuch.mail.invalid", &key).await;
    table.judge("wrong host", &["host name does not exist in DNS", secret, "\"url\""]).await;
    let page = answering("", "<html>Welcome</html>").await;
    table.world.connect_with(&page, &key).await;
    table.judge("not a Mailcow", &["is not Mailcow's API", secret]).await;
    let off = answering("Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n", "{\"version\":\"2026-07a\"}").await;
    table.world.connect_with(&off, &key).await;
    table
        .judge("clock of Mailcow off", &["the clocks of Mailcow and of this machine are", "timedatectl set-ntp true"])
        .await;
    let old = answering("", "{\"version\":\"2024-11b\"}").await;
    table.world.connect_with(&old, &key).await;
    table.judge("Mailcow too old", &["2024-11b is too old", "./update.sh"]).await;
    let older = answering("", "{\"version\":\"2025-09\"}").await;
    table.world.connect_with(&older, &key).await;
    table
        .judge("Mailcow without some fields", &["2025-09 is older than 2026-01", "senderAllowed", "./update.sh"])
        .await;

    let (issuer, ca) = authority();
    let address = table.world.mailcow.address();
    for (fault, name, years, with_ca, words) in [
        (
            "TLS of a private CA",
            "localhost",
            (2020, 2099),
            false,
            ["certificate authority that is not public", "ca.crt"],
        ),
        ("expired certificate", "localhost", (2020, 2021), true, ["certificate has expired", "acme-mailcow"]),
        (
            "certificate of another name",
            "mail.other.example",
            (2020, 2099),
            true,
            ["is for another host name", "MAILCOW_HOSTNAME"],
        ),
        ("certificate of the future", "localhost", (2098, 2099), true, ["not valid yet", "timedatectl"]),
    ] {
        let url = tls(&issuer, name, years, address).await;
        let authority = if with_ca { format!(", ca.crt: {ca:?}") } else { String::new() };
        table.world.apply(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow-operator-mailcow}}\nstringData: {{url: {url:?}, apiKey: {key:?}{authority}}}")).await;
        table.judge(fault, &words).await;
    }
    let url = tls(&issuer, "localhost", (2020, 2099), address).await;
    table.world.apply(&format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow-operator-mailcow}}\nstringData: {{url: {url:?}, apiKey: {key:?}, ca.crt: {ca:?}}}")).await;
    let done = table.check(&[]).await;
    assert_eq!(done.code, 0, "with its authority it is fine: {done:?}");
    table.world.kubectl(&["delete", "secret", "mailcow-operator-mailcow"]).await;
    table.connect().await;

    let text = |status, body: &str| Trouble::Text { status, body: body.to_owned() };
    table.world.mailcow.fault(Fault::times(9, "get/status", text(429, "")));
    table.judge("rate limited", &["limits the rate of requests", "exempt the operator's address"]).await;
    table.world.mailcow.clear_faults();
    table.world.mailcow.fault(Fault::times(9, "get/status", Trouble::BadGateway));
    table.judge("PHP down", &["a container of Mailcow does not work", "docker compose restart php-fpm-mailcow"]).await;
    table.world.mailcow.clear_faults();
    table.world.mailcow.set_down(true).await.unwrap();
    table.judge("Mailcow down", &["nothing listens there", "docker compose up -d"]).await;
    table.world.mailcow.set_down(false).await.unwrap();
    let banning = Netfilter { max_attempts: 1, seen_as: Some(IpAddr::from([198, 51, 100, 7])), ..Netfilter::default() };
    table.world.mailcow.edit(|state| state.netfilter = Some(banning));
    let request =
        reqwest::Client::new().get(format!("{url}/api/v1/get/status/version", url = table.world.mailcow.url()));
    request.header("X-API-Key", "wrong").send().await.unwrap();
    table.judge("netfilter ban", &["netfilter has banned this address", "unban it in Mailcow"]).await;
    table.world.mailcow.edit(|state| state.netfilter = Some(Netfilter::default()));

    table.world.kubectl(&["delete", "secret", "mailcow-operator-mailcow"]).await;
    let renamed = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow}}\nstringData: {{url: 'https://m.example', apiKey: {key:?}}}"
    );
    table.world.apply(&renamed).await;
    table
        .judge(
            "Secret under another name",
            &["does not exist", "the Secret mailcow has its keys", "existingSecret=mailcow"],
        )
        .await;
    table.world.kubectl(&["delete", "secret", "mailcow"]).await;
    table
        .judge(
            "no Secret",
            &["mailcow-operator-mailcow does not exist", "create secret generic mailcow-operator-mailcow"],
        )
        .await;
    let misnamed = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: mailcow-operator-mailcow}}\nstringData: {{url: 'https://m.example', api-key: {key:?}}}"
    );
    table.world.apply(&misnamed).await;
    table
        .judge("Secret with a wrong key", &["does not have the key apiKey", "api-key; did you mean apiKey?", secret])
        .await;
    table.world.kubectl(&["delete", "secret", "mailcow-operator-mailcow"]).await;
    table.connect().await;
}

/// A Role without a verb for a resource, until it is put back.
async fn without_verb(
    table: &mut Table,
    fault: &'static str,
    (role, resource, verb): (&str, &str, &str),
    words: &[&str],
) {
    let before = table.world.kubectl(&["get", "role", role, "-o", "json"]).await;
    let mut value: Value = serde_json::from_str(&before).unwrap();
    for rule in value["rules"].as_array_mut().unwrap() {
        if rule["resources"].as_array().unwrap().iter().any(|one| one == resource) {
            let verbs = rule["verbs"].as_array_mut().unwrap();
            verbs.retain(|one| one != verb);
            // A rule needs a verb.
            if verbs.is_empty() {
                verbs.push("deletecollection".into());
            }
        }
    }
    value["metadata"].as_object_mut().unwrap().remove("managedFields");
    let output = table.world.plane.kubectl_with(&["replace", "-f", "-"], &value.to_string()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The authorizer follows its watch.
    let noticed = ground::wait_until(LIMIT, fault, async || {
        let done = table.check(&["-o", "json"]).await;
        if done.out.contains(words[0]) { Ok(()) } else { Err(done.out) }
    });
    noticed.await.unwrap();
    table.judge(fault, &[words, &["helm upgrade mailcow-operator"]].concat()).await;
    value["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let mut old: Value = serde_json::from_str(&before).unwrap();
    old["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let output = table.world.plane.kubectl_with(&["replace", "-f", "-"], &old.to_string()).await.unwrap();
    assert!(output.status.success());
}

/// Faults of the installation.
async fn of_the_installation(table: &mut Table) {
    for (fault, place, words) in [
        (
            "no right to list aliases",
            ("mailcow-operator", "emailaliases", "list"),
            "may not list emailaliases.email.askrobots.com",
        ),
        (
            "no right to write statuses",
            ("mailcow-operator", "emaildomains/status", "patch"),
            "may not patch emaildomains.email.askrobots.com/status",
        ),
        ("no right to read passwords", ("mailcow-operator", "secrets", "get"), "may not get secrets in the namespace"),
        (
            "no right to watch mailboxes",
            ("mailcow-operator", "emailmailboxes", "watch"),
            "may not watch emailmailboxes.email.askrobots.com",
        ),
        (
            "no right to the Lease",
            ("mailcow-operator-leader", "leases", "update"),
            "may not update leases.coordination.k8s.io mailcow-operator",
        ),
    ] {
        without_verb(table, fault, place, &[words]).await;
    }
    table.upgrade(&["tenancy=Shared", "admissionPolicies.enabled=false"]).await;
    table.judge("policies off", &["admission policies are off", "admissionPolicies.enabled=true"]).await;
    let rule = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailForwardingRule\nmetadata: {name: r}\nspec: {mailboxRef: {name: ada}, actions: [{ignore: {}}]}";
    table.world.apply(rule).await;
    table.upgrade(&["featureGates.ForwardingRules=false"]).await;
    table.judge("gate off", &["feature gate ForwardingRules is off", "featureGates.ForwardingRules=true"]).await;
    table.world.kubectl(&["delete", "efr", "r", "--wait=false"]).await;
    let closed = ground::free_port().unwrap();
    let sink = format!("sinks[0].webhook.url=http://127.0.0.1:{closed}/hook,sinks[0].webhook.allowPrivate=true");
    table.upgrade(&["sinks[0].name=tracker", &sink, "sinks[0].namespaces={*}"]).await;
    table.judge("webhook sink unreachable", &["the sink tracker can't be reached", "start the tool"]).await;
    let dead = format!("dns.resolvers={{127.0.0.1:{}}}", ground::free_port().unwrap());
    table.upgrade(&[&dead]).await;
    table.judge("DNS blocked", &["no answer for mail.host.test from here", "allow port 53"]).await;
    table.upgrade(&[]).await;

    let stray = DOMAIN.replace("name: example", "name: stray").replace("example.com", "example.org, server: internal");
    table.world.apply(&stray).await;
    table
        .judge(
            "server not configured",
            &["the server internal, which is not configured", "mailcow.servers[0].name=internal"],
        )
        .await;
    table.world.kubectl(&["delete", "edom", "stray", "--timeout=30s"]).await;
    let other = table.world.plane.namespace("elsewhere").await.unwrap();
    table.world.plane.apply(DOMAIN, &other).await.unwrap();
    table.judge("namespace not watched", &["nobody works on 1 object", &other, "watchNamespaces="]).await;
    table.world.plane.kubectl(&["-n", &other, "delete", "edom", "--all"]).await.unwrap();

    let deployment = table.world.kubectl(&["get", "deployment", "mailcow-operator", "-o", "json"]).await;
    let mut second: Value = serde_json::from_str(&deployment).unwrap();
    let spec = second["spec"].clone();
    let labels = second["metadata"]["labels"].clone();
    second = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "second", "labels": labels}, "spec": spec});
    second["spec"]["replicas"] = 0.into();
    table.world.apply(&second.to_string()).await;
    table.judge("two operators", &["two operators work on the same objects", "second", "helm uninstall"]).await;
    table.world.kubectl(&["delete", "deployment", "second"]).await;

    table.world.kubectl(&["scale", "deployment", "mailcow-operator", "--replicas=0"]).await;
    table.judge("scaled to zero", &["is scaled to 0 replicas", "kubectl scale deployment mailcow-operator"]).await;
    table.world.kubectl(&["scale", "deployment", "mailcow-operator", "--replicas=1"]).await;
    let waiting = r#"{"status":{"phase":"Pending","containerStatuses":[{"name":"operator","image":"i","imageID":"","ready":false,"restartCount":0,"state":{"waiting":{"reason":"ErrImagePull","message":"not found"}}}]}}"#;
    ground::wait_until(LIMIT, "a pod that can't pull its image", async || {
        let pods = table.world.kubectl(&["get", "pods", "-o", "name"]).await;
        let Some(pod) = pods.lines().next() else { return Err("none yet".to_owned()) };
        let args = ["-n", &table.world.namespace, "patch", pod, "--subresource=status", "--type=merge", "-p", waiting];
        let output = table.world.plane.kubectl(&args).await.map_err(|error| error.to_string())?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    })
    .await
    .unwrap();
    table.judge("image can't be pulled", &["has no ready pod", "ErrImagePull", "kubectl describe pod"]).await;
    table.world.pods_ready().await;

    let operator = table.world.operator.as_mut().unwrap();
    operator.stop(LIMIT).await.unwrap();
    let old = r#"{"spec":{"renewTime":"2020-01-01T00:00:00.000000Z","holderIdentity":"the-pod"}}"#;
    table.world.kubectl(&["patch", "lease", "mailcow-operator", "--type=merge", "-p", old]).await;
    table.judge("no leader", &["no operator has held the Lease", "the last one was the-pod", "kubectl logs"]).await;

    let namespace = table.world.plane.namespace("empty").await.unwrap();
    let done = table.world.email(&["check", "-o", "json", "--operator-namespace", &namespace]).await;
    table.note("not installed", &["no Deployment of mailcow-operator", "helm install mailcow-operator"], &done);
}

/// Faults of the CRDs, on a control plane of its own.
async fn of_definitions(table: &mut Table, plane: &'static ControlPlane) {
    let name = "emailmailboxes.email.askrobots.com";
    let crd = table.world.kubectl(&["get", "crd", name, "-o", "json"]).await;
    let mut old: Value = serde_json::from_str(&crd).unwrap();
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    old.pointer_mut(status).unwrap().as_object_mut().unwrap().remove("script").unwrap();
    old["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let output = plane.kubectl_with(&["replace", "-f", "-"], &old.to_string()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let noticed = ground::wait_until(LIMIT, "the API server to publish the old schema", async || {
        let done = table.check(&["-o", "json"]).await;
        if done.out.contains("older than this program") { Ok(done) } else { Err(done.out) }
    });
    let done = noticed.await.unwrap();
    table.note(
        "old CRDs",
        &["CRD of EmailMailbox is older", "status.script", "kubectl apply --server-side -f crds/"],
        &done,
    );
}

#[tokio::test]
async fn the_cause_of_every_injected_fault_is_named_with_what_mends_it() {
    let plane = bare_plane().await;
    let chart = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/mailcow-operator");
    let admin = plane.admin_kubeconfig().display().to_string();
    let without = call(&["check", "-o", "json", "--kubeconfig", &admin]).await;
    plane.install_operator(&chart, &[], "crds").await.unwrap();
    let mut world = World::on(plane, "check", Options::default(), &VALUES).await;
    world.connect().await;
    world.start().await;
    world.pods_ready().await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.ready("embx/ada").await;
    let mut table = Table { world, rows: Vec::new() };
    let done = table.check(&[]).await;
    assert_eq!(done.code, 0, "nothing is wrong: {done:?}");
    done.shows(&["Mailcow version", "the-pod works", "has all that it needs", "0 wrong"]);

    table.note("no CRDs", &["does not have EmailDomain", "kubectl apply --server-side -f crds/"], &without);
    table.world.mailcow.edit(|state| state.seed_usage("ada@example.com", 3, (1 << 30) - 1));
    table.world.email(&["reconcile", "embx/ada", "--wait"]).await;
    table.world.until("embx/ada", "QuotaNearlyFull", "True").await;
    table.judge("quota full", &["nearly full", "ada@example.com", "raise spec.quota"]).await;
    of_mailcow(&mut table).await;
    of_definitions(&mut table, plane).await;
    of_the_installation(&mut table).await;

    let all = table.rows.len();
    let missed: Vec<_> = table.rows.iter().filter(|(_, missing, _)| !missing.is_empty()).collect();
    for (fault, missing, shown) in &table.rows {
        println!("| {fault} | {} | {shown} |", if missing.is_empty() { "named" } else { "MISSED" });
    }
    assert!(all >= 25 && missed.is_empty(), "{} of {all}: {missed:#?}", all - missed.len());
}

#[tokio::test]
async fn before_the_installation_rights_and_mailcow_are_checked() {
    let world = World::prepare("pre").await;
    let key = world.folder().join("key");
    std::fs::write(&key, world.mailcow.api_key()).unwrap();
    let (url, key) = (world.mailcow.url(), key.display().to_string());
    let access = ["--mailcow-url", &url, "--mailcow-api-key-file", &key];
    let done = world.email(&[&["check", "--pre"], &access[..]].concat()).await;
    assert_eq!(done.code, 0, "{done:?}");
    done.shows(&["you may install the chart", "it may read and write", "is installed already"]);
    let done = world.email(&["check", "--pre", "--as", "jane", "--as-group", "system:authenticated"]).await;
    assert_eq!(done.code, 1, "{done:?}");
    done.shows(&["you may not create customresourcedefinitions.apiextensions.k8s.io", "cluster administrator"]);
}

#[tokio::test]
async fn a_mailcow_of_flags_is_mended_by_flags() {
    let world = World::prepare("flags").await;
    world.connect().await;
    let check = async |key: &str, more: &[&str]| {
        let access = world.access(key);
        let access = access.iter().map(String::as_str);
        let place = ["check", "--operator-namespace", &world.namespace];
        world.email(&place.into_iter().chain(access).chain(more.iter().copied()).collect::<Vec<_>>()).await
    };
    let done = check("WRONG0-WRONG0-WRONG0-WRONG0-WRONG0", &["-o", "json"]).await;
    assert_eq!(done.code, 1, "{done:?}");
    let found = done.json();
    let found = found.as_array().unwrap();
    let about = |name: &str| found.iter().filter(|one| one["check"] == name).collect::<Vec<_>>();
    let [connection] = about("Mailcow connection").try_into().unwrap_or_else(|all| panic!("{all:?}"));
    assert!(connection["message"].as_str().unwrap().contains("refuses the API key"), "{connection}");
    let remedy = connection["remedy"].as_str().unwrap();
    assert!(remedy.contains("--mailcow-api-key-file") && !remedy.contains("patch secret"), "{remedy}");
    // The operator's own Secret is looked at all the same.
    assert_eq!(about("Mailcow Secret")[0]["verdict"], "Good");

    let done = check(world.mailcow.read_only_key(), &["-o", "json"]).await;
    assert!(
        done.out.contains("not for the operator") && !done.out.contains("the operator can change nothing"),
        "{done:?}"
    );
    let done = check(world.mailcow.api_key(), &["--server", "defualt"]).await;
    done.shows(&["has no server defualt; did you mean default?"]);
    let done =
        world.email(&["check", "--mailcow-url", &world.mailcow.url(), "--mailcow-api-key-file", "/nowhere/key"]).await;
    assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
    done.shows(&["/nowhere/key: "]);
}

#[tokio::test]
async fn who_may_not_look_for_the_operator_learns_the_rest() {
    let world = World::prepare("tenant").await;
    world.apply(&format!("{DOMAIN}{ADA}")).await;
    world.let_read("tenant", &world.namespace, "'*'").await;
    let full = r#"{"status":{"conditions":[{"type":"Ready","status":"False","reason":"RefusedByMailcow","message":"too many","observedGeneration":1,"lastTransitionTime":"2026-01-01T00:00:00Z"}],"observedGeneration":1}}"#;
    world.kubectl(&["patch", "embx", "ada", "--subresource=status", "--type=merge", "-p", full]).await;
    for more in [&[][..], &["--operator-namespace", &world.namespace]] {
        let done = world
            .email(&[&["check", "-o", "json", "--as", "tenant", "--as-group", "system:authenticated"], more].concat())
            .await;
        assert_eq!(done.code, 0, "nothing is wrong that is known: {done:?}");
        let found = done.json();
        let about = |name: &str| found.as_array().unwrap().iter().find(|one| one["check"] == name).cloned();
        let operator = about("operator").unwrap();
        assert_eq!(operator["verdict"], "Skipped", "{operator}");
        assert!(operator["message"].as_str().unwrap().contains("no right to list deployments"), "{operator}");
        assert_eq!(about("refusals").unwrap()["verdict"], "Warning", "{found:#}");
    }
}
