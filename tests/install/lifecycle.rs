//! Install, upgrade, uninstall, install again: nothing of anybody's is lost on the way.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ground::{Folder, wait_until};
use serde_yaml::Value;

use crate::release::{LIMIT, RELEASE, Release, chart, kubectl};

const OBJECTS: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: example}
spec: {domain: example.com}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: ada}
spec: {localPart: ada, domainRef: {name: example}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {localPart: sales, domainRef: {name: example}, goto: [ada@example.com]}
";

/// A field that the chart before the upgrade does not have.
const NEW_FIELD: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailDomain
metadata: {name: example}
spec: {domain: example.com, globalAddressList: true}
";

/// What users have: names and uids of objects of the four kinds, Secrets and definitions.
async fn possessions(release: &Release) -> String {
    let columns = "-o=custom-columns=K:.kind,N:.metadata.name,U:.metadata.uid";
    let own = release.kubectl(&["-n", &release.users, "get", "email,secrets", columns, "--no-headers"]).await;
    own + &release.kubectl(&["get", "crds", columns, "--no-headers"]).await
}

#[tokio::test]
async fn a_release_comes_and_goes_and_nothing_of_anybodys_is_lost() {
    let mut release = Release::prepare().await;
    let folder = Folder::new("chart", false).unwrap();
    let before = earlier_chart(folder.path());
    release.helm("install", &before, &[]).await.unwrap();
    release.connect().await;
    release.apply(OBJECTS).await;
    let refused = release.plane.apply(NEW_FIELD, &release.users).await.unwrap_err().to_string();
    assert!(refused.contains("globalAddressList"), "{refused}");

    // An upgrade brings the definitions with it.
    release.helm("upgrade", &chart(), &[]).await.unwrap();
    let taken = wait_until(LIMIT, "the new field to be taken", async || {
        release.plane.apply(NEW_FIELD, &release.users).await.map_err(|error| error.to_string())
    });
    taken.await.unwrap();
    release.run().await;
    for object in ["edom/example", "embx/ada", "ealias/sales"] {
        release.ready(object).await;
    }
    assert!(release.mailcow.writes() > 0);

    // Another upgrade: a new pod, and nothing to do.
    release.mailcow.clear_log();
    release.helm("upgrade", &chart(), &["--set", "resync=5m"]).await.unwrap();
    release.run().await;
    nothing_to_do(&release).await;
    let had = possessions(&release).await;
    assert_eq!(had.lines().count(), 8, "three objects, a Secret and four definitions:\n{had}");

    // Neither does it cost anybody an object when the definitions are taken out of the release, nor when they come back.
    for install in ["false", "true"] {
        release.helm("upgrade", &chart(), &["--set", &format!("crds.install={install}")]).await.unwrap();
        assert_eq!(possessions(&release).await, had, "with crds.install={install}");
    }

    release.operator.as_mut().unwrap().stop(LIMIT).await.unwrap();
    let said = release.uninstall().await;
    assert!(said.contains("uninstalled"), "{said}");
    let left =
        release.kubectl(&["-n", &release.namespace, "get", "deploy,sa,role,rolebinding,configmap", "-o", "name"]).await;
    assert!(!left.contains(RELEASE), "{left}");
    assert_eq!(possessions(&release).await, had, "an uninstall takes nothing of anybody's");
    assert_eq!(release.mailcow.writes(), 0);
    assert!(release.mailcow.inspect(|state| state.mailbox("ada@example.com").is_some()));

    // Under another name Helm wants to be told that the definitions may be taken over.
    let other = ["install", "other", &*chart().display().to_string(), "-n", &release.namespace, "--dry-run=server"]
        .map(str::to_owned);
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    let refused = release.plane.helm(&other).await.unwrap_err().to_string();
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    release.plane.helm(&[&other[..], &["--take-ownership"]].concat()).await.unwrap();

    release.helm("install", &chart(), &[]).await.unwrap();
    release.run().await;
    nothing_to_do(&release).await;
    assert_eq!(possessions(&release).await, had);
}

/// Waits until the operator has looked at everything, and sees to it that it wrote nothing.
async fn nothing_to_do(release: &Release) {
    release.operator.as_ref().unwrap().logged("Mailcow answers", LIMIT).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(release.mailcow.reads() > 0, "it has looked");
    assert_eq!(release.mailcow.writes(), 0, "{:?}", release.mailcow.requests());
    for object in ["edom/example", "embx/ada", "ealias/sales"] {
        release.ready(object).await;
    }
}

#[tokio::test]
async fn a_release_with_listed_namespaces_in_a_restricted_one_has_its_first_domain_ready_in_seconds() {
    let mut release = Release::prepare().await;
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    release.kubectl(&["label", "namespace", &release.namespace, enforce]).await;
    let (listed, url) =
        (format!("watchNamespaces={{{}}}", release.users), format!("mailcow.url={}", release.mailcow.url()));
    let key = format!("mailcow.apiKey={}", release.mailcow.api_key());
    let begun = Instant::now();
    let values = ["--set", &listed, "--set", &url, "--set", &key];
    let notes = release.helm("install", &chart(), &values).await.unwrap();
    assert!(
        notes.contains(&format!("watches {}", release.users)) && !notes.contains(release.mailcow.api_key()),
        "{notes}"
    );
    let installed = begun.elapsed();
    release.run().await;
    release.apply(OBJECTS.split("---").next().unwrap()).await;
    release.ready("edom/example").await;
    println!("helm install took {installed:.1?}; the first domain was Ready {:.1?} after it began", begun.elapsed());
    let everywhere = release
        .kubectl(&["get", "clusterrolebindings", "-l", "app.kubernetes.io/name=mailcow-operator", "-o", "name"])
        .await;
    assert_eq!(everywhere, "");
    release.apply(OBJECTS).await;
    release.ready("embx/ada").await;
    the_pod_is_as_restricted_as_it_has_to_be(&release).await;
}

/// The API server takes the Deployment's pod where it takes restricted ones only.
async fn the_pod_is_as_restricted_as_it_has_to_be(release: &Release) {
    let deployment = release.kubectl(&["-n", &release.namespace, "get", "deploy", RELEASE, "-o", "json"]).await;
    let deployment: serde_json::Value = serde_json::from_str(&deployment).unwrap();
    let mut pod = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": release.namespace},
        "spec": deployment["spec"]["template"]["spec"],
    });
    let create = ["create", "--dry-run=server", "-f", "-"];
    kubectl(&release.plane, &create, &pod.to_string()).await.unwrap();
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refused = kubectl(&release.plane, &create, &pod.to_string()).await.unwrap_err();
    assert!(refused.contains("violates PodSecurity"), "{refused}");
}

/// The chart of the last release, or else as it was before its definitions last changed, or else as it is; always
/// without one field of the definitions.
fn earlier_chart(folder: &Path) -> PathBuf {
    let copied = earlier_commit().and_then(|commit| {
        let script = r#"git archive "$1" charts/mailcow-operator | tar -x -C "$2""#;
        println!("upgrading from the chart of {commit}");
        shell(script, &[&commit, &folder.display().to_string()])
    });
    if copied.is_none() {
        println!("skipped: this clone has no older chart; upgrading from the chart as it is, with one field less");
        shell(r#"mkdir -p "$1/charts" && cp -r charts/mailcow-operator "$1/charts""#, &[&folder.display().to_string()])
            .unwrap();
    }
    let chart = folder.join("charts/mailcow-operator");
    let file = chart.join("files/crds/emaildomains.yaml");
    let mut definition: Value = serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["spec"]["properties"].as_mapping_mut().unwrap().remove("globalAddressList");
    std::fs::write(&file, serde_yaml::to_string(&definition).unwrap()).unwrap();
    chart
}

fn earlier_commit() -> Option<String> {
    let last_release = "git describe --tags --abbrev=0 HEAD^";
    let before_last_change =
        r#"git rev-parse --verify --quiet "$(git log -1 --format=%H -- charts/mailcow-operator/files/crds)^""#;
    shell(last_release, &[]).or_else(|| shell(before_last_change, &[])).filter(|commit| !commit.is_empty())
}

/// Runs a script in the repository; what it wrote, if it went well.
fn shell(script: &str, args: &[&str]) -> Option<String> {
    let script = format!("set -euo pipefail; {script}");
    let mut command = Command::new("bash");
    command.args(["-c", &script, "script"]).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
