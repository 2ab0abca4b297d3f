//! What the chart renders with the values in `tests/chart`, as a real API server judges it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use ground::ControlPlane;
use mailcow_operator::config::Settings;
use serde::Deserialize;
use serde_yaml::Value;

use crate::release::{chart, kubectl};

/// Kinds of the Prometheus Operator, as far as it matters that they exist.
fn monitoring(kind: &str, plural: &str) -> String {
    format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {plural}.monitoring.coreos.com}}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {{kind: {kind}, plural: {plural}}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
---
"
    )
}

/// How many objects of each kind there are.
fn kinds(rendered: &str) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for document in serde_yaml::Deserializer::from_str(rendered) {
        let document = Value::deserialize(document).unwrap();
        if let Some(kind) = document["kind"].as_str() {
            *counted.entry(kind.to_owned()).or_default() += 1;
        }
    }
    counted
}

#[tokio::test]
async fn the_api_server_takes_whatever_the_chart_renders() {
    let plane = ControlPlane::shared().await.unwrap();
    let definitions =
        monitoring("ServiceMonitor", "servicemonitors") + &monitoring("PrometheusRule", "prometheusrules");
    plane.apply(&definitions, "default").await.unwrap();
    let established = ["servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com"];
    plane.established(&established.map(ToOwned::to_owned)).await.unwrap();
    for namespace in ["mail-system", "team-a", "team-b"] {
        kubectl(plane, &["create", "namespace", namespace], "").await.unwrap();
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let (chart, values) = (chart().display().to_string(), file.display().to_string());
        let rendered = plane.helm(&["template", "mail", &chart, "-n", "mail-system", "-f", &values]).await.unwrap();
        let args = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let said = kubectl(plane, &args, &rendered).await.unwrap_or_else(|error| panic!("{values}: {error}"));
        let taken = said.lines().filter(|line| line.ends_with("(server dry run)")).count();
        assert_eq!(taken, kinds(&rendered).values().sum::<usize>(), "{values}:\n{said}");
    }
}

#[tokio::test]
async fn what_is_switched_on_is_rendered_and_nothing_else() {
    let plane = ControlPlane::shared().await.unwrap();
    let rendered = async |name: &str| {
        let values = format!("{}/tests/chart/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        kinds(&plane.helm(&["template", "mail", &chart().display().to_string(), "-f", &values]).await.unwrap())
    };
    let plain = rendered("defaults").await;
    assert_eq!((plain["CustomResourceDefinition"], plain["Deployment"], plain["ClusterRoleBinding"]), (4, 1, 1));
    assert_eq!(plain["NetworkPolicy"], 1);
    for kind in ["PodDisruptionBudget", "PrometheusRule", "Secret", "Service", "ServiceMonitor"] {
        assert!(!plain.contains_key(kind), "{kind}");
    }
    let listed = rendered("namespaces").await;
    assert!(!listed.contains_key("ClusterRoleBinding"));
    assert_eq!((listed["Role"], listed["RoleBinding"]), (4, 4));
    let replicas = rendered("replicas").await;
    assert_eq!((replicas["PodDisruptionBudget"], replicas["NetworkPolicy"], replicas["Role"]), (1, 1, 3));
    assert!(!replicas.contains_key("CustomResourceDefinition"));
    let everything = rendered("everything").await;
    for kind in ["NetworkPolicy", "PodDisruptionBudget", "Secret", "Service", "ServiceMonitor"] {
        assert_eq!(everything[kind], 1, "{kind}");
    }
    let files = chart().join("files");
    let expected = |file: &str, kind: &str, plain: usize| {
        let there = usize::from(files.join(file).exists());
        assert_eq!(everything.get(kind).copied().unwrap_or_default(), plain + there, "{kind} with {file}");
    };
    expected("alerts.yaml", "PrometheusRule", 0);
    expected("dashboard.json", "ConfigMap", 1);
}

#[tokio::test]
async fn task_delivery_is_there_with_its_gate_and_nothing_of_it_without() {
    let plane = ControlPlane::shared().await.unwrap();
    let rendered = async |more: &[&str]| {
        let chart = chart().display().to_string();
        plane.helm(&[&["template", "mail", &chart, "-n", "mail-system"], more].concat()).await.unwrap()
    };
    let values = format!("{}/tests/chart/delivery.yaml", env!("CARGO_MANIFEST_DIR"));
    let on = rendered(&["-f", &values]).await;
    for off in [
        rendered(&[]).await,
        rendered(&["-f", &values, "--set", "featureGates.TaskDelivery=false"]).await,
        rendered(&["-f", &values, "--set", "featureGates.ForwardingRules=false"]).await,
        rendered(&["-f", &values, "--set", "featureGates.EmailHosting=false"]).await,
    ] {
        for word in ["intake", "app-password"] {
            let objects = off.lines().filter(|line| !line.trim_start().starts_with(['#', '"']) && line.contains(word));
            // The definitions, the alerts and the dashboard speak of it.
            let left: Vec<&str> = objects.filter(|line| !line.contains("mailcow_operator_intake")).collect();
            let left: Vec<&&str> = left.iter().filter(|line| !line.contains("description:")).collect();
            assert!(left.is_empty(), "{left:#?}");
        }
    }
    let counted = kinds(&on);
    assert_eq!((counted["Deployment"], counted["ServiceAccount"], counted["NetworkPolicy"]), (2, 2, 2));
    assert_eq!((counted["Service"], counted["ServiceMonitor"]), (2, 2));
    let documents: Vec<Value> =
        serde_yaml::Deserializer::from_str(&on).map(|document| Value::deserialize(document).unwrap()).collect();
    let is_of_worker =
        |document: &&Value| document["metadata"]["name"].as_str().is_some_and(|name| name.contains("intake"));
    let wide = documents.iter().filter(|document| document["kind"] == "ClusterRole").filter(is_of_worker).count();
    assert_eq!(wide, 0, "watchNamespaces lists namespaces");
    // Two Deployments never take each other's pods.
    let selectors: Vec<Value> = documents
        .iter()
        .filter(|document| document["kind"] == "Deployment")
        .map(|document| document["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"].clone())
        .collect();
    assert_ne!(selectors[0], selectors[1]);
    // kubectl email finds the operator, and nothing else, by these labels.
    let renamed = rendered(&["-f", &values, "--set", "nameOverride=mail,mcp.enabled=true"]).await;
    let components: BTreeSet<String> = serde_yaml::Deserializer::from_str(&renamed)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|document| document["kind"] == "Deployment")
        .map(|document| document["metadata"]["labels"].clone())
        .inspect(|labels| assert_eq!(labels["app.kubernetes.io/part-of"], "mailcow-operator"))
        .map(|labels| labels["app.kubernetes.io/component"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(components, ["intake", "mcp", "operator"].map(ToOwned::to_owned).into());
    for secret in ["tracker-hook", "tracker-token", "tracker-ca", "radicale", "mail-mailcow-operator-app-passwords-7"] {
        assert!(on.contains(&format!("- {secret}\n")), "{secret}");
    }
    // The worker starts again with another certificate authority, and may reach STARTTLS at its own port.
    let checksum = |rendered: &str| {
        rendered.lines().find(|line| line.contains("checksum/imap-ca: ")).map(|line| line.trim().to_owned())
    };
    let renewed = rendered(&["-f", &values, "--set", "intake.imap.caCert=renewed"]).await;
    assert!(checksum(&on).is_some() && checksum(&on) != checksum(&renewed), "{:?}", checksum(&on));
    assert!(on.contains("{port: 143, protocol: TCP}") && !on.contains("{port: 993, protocol: TCP}"));
    let refused = async |set: &str| {
        let chart = chart().display().to_string();
        plane.helm(&["template", "mail", &chart, "-f", &values, "--set", set]).await.unwrap_err().to_string()
    };
    for (set, field) in [
        ("sinks[0].webhook.signingKey=x", "signingKey"),
        ("sinks[0].webhook.basicAuth.secretName=x", "/sinks/0"),
        ("sinks[1].caldav.url=https://c.example/t", "/sinks/1/caldav/url"),
        ("sinks[0].webhook.signingKeys[0].secretName=Bad", "secretName"),
        ("intake.imap.tls=none", "/intake/imap/tls"),
        ("intake.connections=0", "/intake/connections"),
    ] {
        let said = refused(set).await;
        assert!(said.contains(field), "{set}: {said}");
    }
}

/// The rendered documents.
fn documents(rendered: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(rendered).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// The options of the rendered operator.
fn options(documents: &[Value]) -> Settings {
    let is_operator = |document: &&Value| {
        document["kind"] == "Deployment" && document["metadata"]["labels"]["app.kubernetes.io/component"] == "operator"
    };
    let deployment = documents.iter().find(is_operator).unwrap();
    let args = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let args: Vec<String> = args.as_sequence().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
    Settings::of_process(&args, &[]).unwrap()
}

/// The names of what the operator may do with a resource in its own namespace.
fn names(documents: &[Value], resource: &str, verb: &str) -> BTreeSet<String> {
    let has = |list: &Value, what: &str| list.as_sequence().is_some_and(|list| list.iter().any(|it| it == what));
    let roles = documents.iter().filter(|document| document["kind"] == "Role");
    let roles = roles.filter(|role| role["metadata"]["name"].as_str().is_some_and(|name| !name.contains("-intake")));
    let given = roles.flat_map(|role| role["rules"].as_sequence().unwrap());
    let given = given.filter(|rule| has(&rule["resources"], resource) && has(&rule["verbs"], verb));
    let listed = given.flat_map(|rule| rule["resourceNames"].as_sequence().into_iter().flatten());
    listed.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn releases_with_servers_of_their_own_share_no_object_and_may_hold_their_leases() {
    let plane = ControlPlane::shared().await.unwrap();
    let chart = chart().display().to_string();
    let instance = format!("{}/tests/chart/instance.yaml", env!("CARGO_MANIFEST_DIR"));
    let rendered = async |release: &str, set: &[&str]| {
        let args = ["template", release, &chart, "-n", "mail-system"];
        plane.helm(&[&args[..], set].concat()).await
    };
    let servers = "mailcow.servers[0].name=internal,mailcow.servers[0].existingSecret=mailcow-internal,\
                   mailcow.servers[1].name=partners,mailcow.servers[1].existingSecret=mailcow-partners";
    let first =
        ["--set", servers, "--set", "serve={default},leaseName=mailcow-operator,featureGates.TaskDelivery=true"];
    let all = ["--set", servers];
    let first = documents(&rendered("mail", &first).await.unwrap());
    let second = documents(&rendered("partners", &["-f", &instance]).await.unwrap());
    let all = documents(&rendered("mailcow-operator", &all).await.unwrap());
    let identity = |document: &Value| {
        let of = |field: &str| document["metadata"][field].as_str().unwrap_or_default().to_owned();
        (document["kind"].as_str().unwrap_or_default().to_owned(), of("namespace"), of("name"))
    };
    let there: BTreeSet<_> = first.iter().map(identity).collect();
    let shared: Vec<_> = second.iter().map(identity).filter(|object| there.contains(object)).collect();
    assert!(shared.is_empty(), "{shared:#?}");
    for (documents, leases) in [
        (&first, &["mailcow-operator"][..]),
        (&second, &["mailcow-operator-internal-server", "mailcow-operator-partners-server"]),
        (&all, &["mailcow-operator", "mailcow-operator-internal-server", "mailcow-operator-partners-server"]),
    ] {
        let settings = options(documents);
        assert_eq!(settings.served().unwrap().leases(&settings.leader.lease_name), leases);
        let rights = names(documents, "leases", "update");
        assert_eq!(rights.iter().map(String::as_str).collect::<Vec<_>>(), leases);
    }
    let secrets = names(&second, "secrets", "watch");
    assert!(secrets.contains("mailcow-internal") && secrets.contains("mailcow-partners"), "{secrets:?}");
    assert!(!secrets.contains("partners-mailcow-operator-mailcow"), "that of the default server: {secrets:?}");
    for (set, word) in [
        ("serve={default}", "serve needs leaseName"),
        ("serve={elsewhere},leaseName=l", "the server elsewhere is not in mailcow.servers"),
        ("serve={default,default},leaseName=l", "serve"),
        ("leaseName=Not_A_Name", "leaseName"),
    ] {
        let said = rendered("mail", &["--set", set]).await.unwrap_err().to_string();
        assert!(said.contains(word), "{set}: {said}");
    }
}

/// What the rendered `NetworkPolicy` lets out to an address and port.
fn lets_out(rendered: &str, address: &str, port: u16) -> bool {
    let documents = serde_yaml::Deserializer::from_str(rendered).map(|d| Value::deserialize(d).unwrap());
    let policy = documents.into_iter().find(|d| d["kind"] == "NetworkPolicy").unwrap();
    let ip: IpAddr = address.parse().unwrap();
    let holds = |cidr: &Value| {
        let (network, length) = cidr.as_str().unwrap().split_once('/').unwrap();
        let length: u32 = length.parse().unwrap();
        match (network.parse().unwrap(), ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                u32::from(ip).checked_shr(32 - length) == u32::from(network).checked_shr(32 - length)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                u128::from(ip).checked_shr(128 - length) == u128::from(network).checked_shr(128 - length)
            }
            _ => false,
        }
    };
    let is_in =
        |block: &Value| holds(&block["cidr"]) && !block["except"].as_sequence().into_iter().flatten().any(&holds);
    policy["spec"]["egress"].as_sequence().unwrap().iter().any(|rule| {
        let has_port = rule["ports"].as_sequence().unwrap().iter().any(|p| p["port"] == u64::from(port));
        let to = rule["to"].as_sequence();
        has_port && to.is_none_or(|to| to.iter().any(|to| to["ipBlock"].is_mapping() && is_in(&to["ipBlock"])))
    })
}

#[tokio::test]
async fn what_dns_leads_to_is_public_and_what_the_operator_needs_is_let_out() {
    let plane = ControlPlane::shared().await.unwrap();
    let rendered = async |more: &[&str]| {
        let chart = chart().display().to_string();
        plane.helm(&[&["template", "mail", &chart], more].concat()).await.unwrap()
    };
    let narrow = format!("{}/tests/chart/namespaces.yaml", env!("CARGO_MANIFEST_DIR"));
    let (plain, narrow) = (rendered(&[]).await, rendered(&["-f", &narrow]).await);
    for (address, port, by_default, narrowed) in [
        ("9.9.9.9", 53, true, true),
        ("9.9.9.9", 443, true, true),
        ("9.9.9.9", 25, true, true),
        ("2620:fe::fe", 25, true, true),
        ("9.9.9.9", 80, false, false),
        ("10.96.0.1", 443, true, true),
        ("10.96.0.1", 6443, true, true),
        ("10.1.2.3", 6443, true, false),
        ("10.1.2.3", 443, true, false),
        ("10.1.2.3", 53, true, false),
        ("10.1.2.3", 25, false, false),
        ("192.168.1.1", 25, false, false),
        ("100.64.1.1", 25, false, false),
        ("169.254.169.254", 443, false, false),
        ("169.254.169.254", 25, false, false),
        ("fd00::1", 25, false, false),
        ("fd00:ec2::254", 443, false, false),
        ("::ffff:10.0.0.1", 25, false, false),
    ] {
        assert_eq!(lets_out(&plain, address, port), by_default, "{address} {port} by default");
        assert_eq!(lets_out(&narrow, address, port), narrowed, "{address} {port} with peers named");
    }
    let private = rendered(&["--set", "dns.allowPrivate=true"]).await;
    assert!(lets_out(&private, "10.1.2.3", 25));
    let off = rendered(&["--set", "networkPolicy.enabled=false"]).await;
    assert!(!kinds(&off).contains_key("NetworkPolicy"));
}

#[test]
fn every_value_is_described() {
    let values = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let lines: Vec<&str> = values.lines().map(str::trim).collect();
    let is_value = |line: &str| !line.starts_with('#') && line.split_once(": ").is_some();
    // Of a part that is described as a whole, the first needs no words of its own.
    let is_told =
        |before: &[&str]| before[1].starts_with('#') || before[1].ends_with(':') && before[0].starts_with('#');
    let bare = lines.windows(3).filter(|three| is_value(three[2]) && !is_told(&three[..2])).map(|three| three[2]);
    // Lines of a value of several lines.
    let bare: Vec<&str> = bare.filter(|line| !line.starts_with("limits:") && !line.starts_with("requests:")).collect();
    assert!(bare.is_empty(), "values.yaml does not say what these do: {bare:#?}");
    assert!(lines.iter().filter(|line| is_value(line)).count() > 50);
}
