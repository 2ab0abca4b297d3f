//! `report`: what a maintainer needs for a bug report, without secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::LogParams;
use kube::{Api, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::cluster::{Cluster, Scope};
use super::failure::{Failure, root_cause};
use super::flags::{ClusterFlags, Selection};
use super::kinds::{Kind, Target, list};
use super::operator::{self, Installed};
use super::show::Show;
use super::whole_file::{self, Readers};
use crate::crd::MAILBOX_LABEL;

/// What stands in the place of a secret.
const REDACTED: &str = "REDACTED";
/// Lines of a log, at most.
const LOG_LINES: i64 = 5000;
/// A shorter text in a Secret may stand anywhere by chance.
const SHORTEST: usize = 6;
/// Keys of Secrets with values that everybody may know.
const PUBLIC_KEYS: [&str; 10] =
    ["url", "ca.crt", "mailHost", "username", "imapHost", "imapPort", "smtpHost", "smtpPort", "email", "namespace"];
/// Words in names of fields whose values are secrets.
const SECRET_WORDS: [&str; 6] = ["password", "apikey", "api-key", "api_key", "token", "authorization"];

/// Options of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportFlags {
    /// The file to write. Default: kubectl-email-report.tar.gz.
    #[arg(short, long, value_name = "FILE", default_value = "kubectl-email-report.tar.gz")]
    pub output: PathBuf,
    /// Which objects: those of the namespace, or of all.
    #[command(flatten)]
    pub selection: Selection,
    /// The namespace of the operator. Default: it is looked for.
    #[arg(long, value_name = "NAME")]
    pub operator_namespace: Option<String>,
}

/// The files of the report, by name, and the secrets that must not be in them.
#[derive(Default)]
struct Report {
    files: BTreeMap<String, String>,
    /// What could not be read.
    missing: Vec<String>,
    secrets: Vec<String>,
}

/// Runs the command.
pub(super) async fn run(flags: &ClusterFlags, report: &ReportFlags, show: &Show) -> Result<(), Failure> {
    let cluster = Cluster::connect(flags).await?;
    let mut gathered = Report::default();
    show.progress("reading the cluster");
    let version = cluster.client.apiserver_version().await;
    let version = version.map_or_else(|error| root_cause(&error), |version| version.git_version);
    gathered.add("versions.json", &json!({"kubectl-email": env!("CARGO_PKG_VERSION"), "kubernetes": version}));
    let scope = cluster.scope(&report.selection);
    let mut named = BTreeSet::new();
    for kind in Kind::ALL {
        match list(&cluster, kind, &scope, report.selection.selector.as_deref()).await {
            Ok(found) => {
                named.extend(found.iter().filter_map(named_secret));
                let objects: Vec<Value> =
                    found.iter().filter_map(|target| serde_json::to_value(&target.object).ok()).collect();
                gathered.add(&format!("{}.yaml", kind.plural()), &Value::Array(objects));
            }
            Err(unreachable @ Failure::Unreachable(_)) => return Err(unreachable),
            Err(failure) => gathered.missing.extend(failure.problems().to_vec()),
        }
    }
    let all = match operator::all(&cluster, report.operator_namespace.as_deref()).await {
        Ok(all) if all.is_empty() => {
            gathered.missing.push("no Deployment of mailcow-operator is in the cluster".to_owned());
            all
        }
        Ok(all) => all,
        Err(failure) => {
            gathered.missing.extend(failure.problems().to_vec());
            Vec::new()
        }
    };
    for installed in &all {
        show.progress(&format!("reading the operator {}", installed.name()));
        gathered.operator(&cluster, installed).await;
    }
    gathered.events(&cluster, &scope).await;
    let is_of_mailbox = |secret: &Secret| {
        let name = (secret.namespace().unwrap_or_default(), secret.name_any());
        secret.labels().contains_key(MAILBOX_LABEL) || named.contains(&name)
    };
    gathered.known_secrets(&cluster, &scope, is_of_mailbox).await;
    let places: BTreeSet<String> = all.iter().map(Installed::namespace).collect();
    for place in places {
        gathered.known_secrets(&cluster, &Scope::In(place), |_| true).await;
    }
    show.progress("");
    gathered.redact();
    gathered.check()?;
    let missing = std::mem::take(&mut gathered.missing);
    gathered.add("missing.json", &json!(missing));
    gathered.write(&report.output)?;
    for one in &missing {
        show.warning(&format!("not in the report: {one}"));
    }
    show.note("it has no Secrets, but names, addresses and log lines: look at it before you publish it");
    Ok(Show::write(&format!("{}\n", report.output.display()))?)
}

impl Report {
    fn add(&mut self, name: &str, value: &Value) {
        let mut value = value.clone();
        tidy(&mut value);
        let is_yaml = std::path::Path::new(name).extension().is_some_and(|ending| ending == "yaml");
        let text = if is_yaml { serde_yaml::to_string(&value).unwrap_or_default() } else { format!("{value:#}\n") };
        self.files.insert(name.to_owned(), text);
    }

    fn add_all<T: Serialize>(&mut self, name: &str, found: Result<Vec<T>, Failure>) {
        match found {
            Ok(found) => self.add(name, &serde_json::to_value(found).unwrap_or_default()),
            Err(failure) => self.missing.extend(failure.problems().to_vec()),
        }
    }

    /// The Deployment, its pods with their logs, and the Leases.
    async fn operator(&mut self, cluster: &Cluster, installed: &Installed) {
        let namespace = installed.namespace();
        let folder = format!("operator/{}", installed.name());
        self.add(
            &format!("{folder}/deployment.yaml"),
            &serde_json::to_value(&installed.deployment).unwrap_or_default(),
        );
        let scope = Scope::In(namespace.clone());
        self.add_all(&format!("{folder}/leases.yaml"), cluster.list::<Lease>(&scope, None).await);
        let spec = installed.deployment.spec.clone().unwrap_or_default();
        let labels = spec.selector.match_labels.unwrap_or_default();
        let selector = labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
        let pods = cluster.list::<Pod>(&scope, Some(&selector)).await;
        let names: Vec<String> =
            pods.as_ref().map(|pods| pods.iter().map(ResourceExt::name_any).collect()).unwrap_or_default();
        self.add_all(&format!("{folder}/pods.yaml"), pods);
        let api: Api<Pod> = cluster.api(&namespace);
        for name in names {
            for previous in [false, true] {
                let params = LogParams { previous, tail_lines: Some(LOG_LINES), ..LogParams::default() };
                let file = format!("{folder}/{name}{}.log", if previous { ".previous" } else { "" });
                match api.logs(&name, &params).await {
                    Ok(text) => drop(self.files.insert(file, text)),
                    Err(_) if previous => {}
                    Err(error) => self.missing.push(format!("the log of {name}: {}", root_cause(&error))),
                }
            }
        }
    }

    async fn events(&mut self, cluster: &Cluster, scope: &Scope) {
        let events = cluster.list::<Event>(scope, None).await.map(|mut events| {
            events.retain(|event| {
                let regarding = event.regarding.as_ref().and_then(|regarding| regarding.api_version.as_deref());
                regarding.is_some_and(|version| version.starts_with(crate::crd::GROUP))
            });
            events
        });
        self.add_all("events.yaml", events);
    }

    /// Remembers the values of Secrets that the user may read: they are only used to make sure that none is in the report.
    async fn known_secrets(&mut self, cluster: &Cluster, scope: &Scope, matters: impl Fn(&Secret) -> bool) {
        let Ok(found) = cluster.list::<Secret>(scope, None).await else {
            let place = scope.namespace().map_or("all namespaces".to_owned(), |name| format!("the namespace {name}"));
            self.missing.push(format!(
                "Secrets may not be read in {place}: their values were not compared with the report, and only fields with names such as password were taken out"
            ));
            return;
        };
        let values = found.into_iter().filter(matters).flat_map(|secret| secret.data.unwrap_or_default());
        let secret = values.filter(|(key, _)| !PUBLIC_KEYS.contains(&key.as_str()));
        let texts = secret.filter_map(|(_, value)| String::from_utf8(value.0).ok());
        let texts = texts.map(|text| text.trim().to_owned()).filter(|text| text.len() >= SHORTEST);
        self.secrets.extend(texts);
    }

    /// Takes out every known secret, as it is and in Base64.
    fn redact(&mut self) {
        let forms: Vec<String> = self.secrets.iter().flat_map(|secret| forms(secret)).collect();
        for text in self.files.values_mut() {
            for form in &forms {
                if text.contains(form.as_str()) {
                    *text = text.replace(form.as_str(), REDACTED);
                }
            }
        }
    }

    /// Makes sure that no known secret is left.
    fn check(&self) -> Result<(), Failure> {
        for (name, text) in &self.files {
            if self.secrets.iter().flat_map(|secret| forms(secret)).any(|form| text.contains(form.as_str())) {
                return Err(Failure::wrong(format!(
                    "a secret is left in {name}; nothing was written: please report this as a bug, without the file"
                )));
            }
        }
        Ok(())
    }

    /// Writes the archive; an interruption leaves no half file.
    fn write(&self, path: &std::path::Path) -> Result<(), Failure> {
        whole_file::write(path, Readers::Owner, |file| {
            let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
            for (name, text) in &self.files {
                let mut header = tar::Header::new_gnu();
                header.set_size(text.len() as u64);
                header.set_mode(0o644);
                let name = format!("kubectl-email-report/{name}");
                archive.append_data(&mut header, name, text.as_bytes())?;
            }
            archive.into_inner().and_then(GzEncoder::finish).map(drop)
        })
    }
}

/// The Secret that a mailbox names, by namespace and name.
fn named_secret(target: &Target) -> Option<(String, String)> {
    let object = serde_json::to_value(&target.object).ok()?;
    let name = object["spec"]["passwordSecretRef"]["name"].as_str()?.to_owned();
    Some((target.object.metadata.namespace.clone()?, name))
}

/// The forms in which a secret may stand in a text.
fn forms(secret: &str) -> [String; 3] {
    let quoted = serde_json::to_string(secret).unwrap_or_default();
    [secret.to_owned(), STANDARD.encode(secret), quoted.trim_matches('"').to_owned()]
}

/// Removes bookkeeping, and values of fields whose names say that they are secrets.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("managedFields");
            map.remove("kubectl.kubernetes.io/last-applied-configuration");
            // A variable of a container has its name beside its value.
            let is_secret_variable = map.get("name").and_then(Value::as_str).is_some_and(is_secret);
            for (key, value) in map.iter_mut() {
                if value.is_string() && (is_secret(key) || is_secret_variable && key == "value") {
                    *value = REDACTED.into();
                } else {
                    tidy(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Whether a name says that its value is a secret. References and versions are none.
fn is_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    SECRET_WORDS.iter().any(|word| lower == *word || lower.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_itself_a_secret_is_taken_out_and_the_rest_stays() {
        let mut value = json!({
            "metadata": {"name": "x", "managedFields": [1]},
            "env": [{"name": "API_TOKEN", "value": "s3cret"}, {"name": "LOG", "value": "info"}],
            "spec": {"passwordSecretRef": {"name": "mine", "key": "password"}, "password": "hidden"},
            "status": {"passwordVersion": "1"},
        });
        tidy(&mut value);
        let text = value.to_string();
        assert!(!text.contains("s3cret") && !text.contains("hidden") && !text.contains("managedFields"), "{text}");
        assert!(
            text.contains("\"mine\"") && text.contains("info") && text.contains("\"passwordVersion\":\"1\""),
            "{text}"
        );
    }

    #[test]
    fn a_known_secret_is_taken_out_in_every_form() {
        let secret = "pa\"ss/word".to_owned();
        let text = format!("a {secret} b {} c {}", STANDARD.encode(&secret), serde_json::to_string(&secret).unwrap());
        let mut report =
            Report { files: BTreeMap::from([("f".to_owned(), text)]), missing: vec![], secrets: vec![secret] };
        assert!(report.check().is_err());
        report.redact();
        assert!(report.check().is_ok());
        assert_eq!(report.files["f"].matches(REDACTED).count(), 3, "{}", report.files["f"]);
    }
}
