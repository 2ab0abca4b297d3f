//! `docs/` says what the code says: every reason and every DNS warning stands there, and what stands there exists.

#![expect(clippy::unwrap_used, reason = "a page that can't be read is a failed test")]

mod pages;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailForwardingRuleSpec, EmailMailbox};
use mailcow_operator::desired;
use mailcow_operator::gates::Gates;
use mailcow_operator::mail::{Address, Sinks};
use serde::Deserialize as _;

use crate::pages::{IN_ORDER, commands};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The words in the first column of the tables below a heading.
fn first_column(text: &str, heading: &str) -> BTreeSet<String> {
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(ToOwned::to_owned).collect()
}

/// The words of `Reason`, from its source.
fn reasons() -> BTreeSet<String> {
    let source = read("src/outcome.rs");
    let body = source.split("impl Reason {").nth(1).unwrap().split("\n}").next().unwrap();
    body.lines().filter_map(|line| line.split_once("=> \"")?.1.split('"').next()).map(ToOwned::to_owned).collect()
}

/// The words of `Occurrence`, from its source, and the types of their events.
fn occurrences() -> BTreeSet<(String, &'static str)> {
    let source = read("src/status/event.rs");
    let arms = source.lines().filter_map(|line| line.split_once("=> ("));
    let found = arms.filter_map(|(_, values)| {
        let type_ = if values.starts_with("true") { "Warning" } else { "Normal" };
        let value = values.split(", ").nth(1)?;
        let word = value.trim_start_matches("Reason::").trim_end_matches(".as_str()").trim_matches('"');
        (!word.contains('(')).then(|| (word.to_owned(), type_))
    });
    found.collect()
}

#[test]
fn every_event_and_its_type_are_documented() {
    let text = read("docs/conditions.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Events")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"));
    let type_ = |rest: &str| if rest.starts_with("Warning`") { "Warning" } else { "Normal" };
    let documented: BTreeSet<_> = rows.map(|(word, rest)| (word.to_owned(), type_(rest))).collect();
    assert_eq!(documented, occurrences());
}

/// The first words of `warn("Word", …)` and `warning("Word", …)` in a folder's sources.
fn warnings(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            warnings(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let production = text.split("\n#[cfg(test)]").next().unwrap();
        for call in ["warn(", "warning(", "kept(before, "] {
            let quoted = production.split(call).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            found.extend(quoted.filter_map(|rest| rest.split('"').next()).map(ToOwned::to_owned));
        }
    }
}

/// Every page that people read.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/reference"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    pages.sort();
    pages
}

#[test]
fn every_reason_is_explained_and_no_other() {
    let reasons = reasons();
    assert!(reasons.len() > 30, "{reasons:?}");
    assert_eq!(first_column(&read("docs/conditions.md"), "Reasons"), reasons);
}

#[test]
fn every_feature_gate_is_explained_and_no_other() {
    let gates = Gates::default();
    let names: BTreeSet<String> = gates.iter().map(|(name, _)| name.to_owned()).collect();
    let page = read("docs/concepts.md");
    assert_eq!(first_column(&page, "Feature gates"), names);
    for (name, is_on) in gates.iter() {
        let row = format!("| `{name}` | {} |", if is_on { "on" } else { "off" });
        assert!(page.contains(&row), "{row}");
    }
}

/// Names below the group in a folder's sources: annotations, labels and the finalizer.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            names(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let words = text.split("\"email.askrobots.com/").skip(1).filter_map(|rest| rest.split('"').next());
        found.extend(words.filter(|word| *word != "v1alpha1").map(|word| format!("email.askrobots.com/{word}")));
    }
}

#[test]
fn every_annotation_label_and_finalizer_is_explained() {
    let mut found = BTreeSet::new();
    names(&root().join("src"), &mut found);
    assert!(found.len() > 10, "{found:?}");
    let all = ["concepts", "policies", "provisioning"].map(|page| read(&format!("docs/{page}.md"))).concat();
    let missing: Vec<_> = found.iter().filter(|name| !all.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_warning_about_dns_is_explained_and_no_other() {
    let mut found = BTreeSet::new();
    warnings(&root().join("src/dns"), &mut found);
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(first_column(&read("docs/dns.md"), "Warnings"), found);
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        // Not what looks like one in code.
        let prose: String = text.split('`').step_by(2).collect();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            assert!(page.parent().unwrap().join(target).exists(), "{}: {target}", page.display());
        }
    }
}

/// Commands that a test runs: a part of the command, the file that runs it, and a word that stands there.
const RUN: &[(&str, &str, &str)] = &[
    ("reconcile-requested-at=\"correct", "tests/e2e/vanished.rs", "correct-1"),
    ("make demo", ".ci/run", "make --no-print-directory demo"),
    ("make test", ".ci/run", "make --no-print-directory test"),
    ("helm install mailcow-operator charts/mailcow-operator", "tests/install/lifecycle.rs", "helm(\"install\""),
    ("helm upgrade mailcow-operator charts/mailcow-operator", "tests/install/lifecycle.rs", "helm(\"upgrade\""),
    ("helm uninstall mailcow-operator", "tests/install/lifecycle.rs", "uninstall()"),
    ("create secret generic mailcow-operator-mailcow --from", "tests/install/release.rs", "\"secret\", \"generic\""),
    ("kubectl apply -f examples/mcp/agent.yaml", "tests/mcp/server.rs", "examples/mcp/agent.yaml"),
    ("kubectl config view --minify --flatten > agent.kubeconfig", "tests/mcp/server.rs", "\"--minify\", \"--flatten\""),
    ("kubectl --kubeconfig agent.kubeconfig config", "tests/mcp/server.rs", "agent.kubeconfig"),
    ("create secret generic tracker-hook", "tests/delivery/way.rs", "tracker-hook"),
    ("create secret generic nextcloud", "tests/delivery/rights.rs", "kubernetes.io/basic-auth"),
    ("get efr bugs -o jsonpath", "tests/delivery/way.rs", "status.delivered"),
    ("annotate efr bugs email.askrobots.com/replay", "tests/delivery/way.rs", "email.askrobots.com/replay"),
    ("annotate embx support email.askrobots.com/replay", "tests/delivery/way.rs", "email.askrobots.com/replay"),
    (
        "annotate embx support email.askrobots.com/replace-app-password",
        "tests/delivery/app_passwords.rs",
        "email.askrobots.com/replace-app-password",
    ),
    ("kubectl email rules check", "tests/cli/rules.rs", "\"check\""),
    ("kubectl email rules compile", "tests/cli/rules.rs", "\"compile\""),
    ("kubectl email rules test", "tests/cli/rules.rs", "\"test\""),
    ("kubectl email status", "tests/cli/status.rs", "\"status\""),
    ("kubectl email dns", "tests/cli/dns.rs", "\"dns\""),
    ("kubectl email check", "tests/cli/check.rs", "\"check\""),
    ("kubectl email quarantine list", "tests/cli/quarantine.rs", "\"quarantine\", \"list\""),
    ("kubectl email report", "tests/cli/report.rs", "\"report\""),
    ("kubectl email plan", "tests/cli/plan.rs", "\"plan\""),
    ("kubectl email export", "tests/cli/export.rs", "\"export\""),
    ("kubectl email reconcile", "tests/cli/operations.rs", "\"reconcile\""),
    ("kubectl email pause", "tests/cli/operations.rs", "\"pause\""),
    ("kubectl email resume", "tests/cli/operations.rs", "\"resume\""),
    ("kubectl email rotate", "tests/cli/operations.rs", "\"rotate\""),
    ("kubectl email replay", "tests/cli/operations.rs", "\"replay\""),
];

fn is_run_in_order(path: &Path, command: &str) -> bool {
    IN_ORDER.iter().any(|(page, start)| path.ends_with(page) && command.starts_with(start))
}

#[test]
fn every_command_is_run_by_a_test_or_says_why_not() {
    let mut used = BTreeSet::new();
    for path in pages() {
        let all = commands(&std::fs::read_to_string(&path).unwrap());
        for command in all.iter().filter(|command| !is_run_in_order(&path, command)) {
            let known = RUN.iter().find(|(part, ..)| command.contains(part));
            let (part, file, word) = known.unwrap_or_else(|| {
                panic!(
                    "{}: {command}\nis in no test that RUN names; name one, or say <!-- not run: reason -->",
                    path.display()
                )
            });
            assert!(read(file).contains(word), "{file} does not run {command}: there is no {word}");
            used.insert(*part);
        }
    }
    let unused: Vec<_> = RUN.iter().filter(|(part, ..)| !used.contains(part)).collect();
    assert!(unused.is_empty(), "no page has {unused:?}");
}

#[test]
fn a_command_is_found_and_one_that_is_not_run_is_left_out() {
    let page =
        "a\n```console\n$ one  two \\\n  three   # why\nsaid\n```\n<!-- not run: slow -->\n```console\nfour\n```\n";
    assert_eq!(commands(page), ["one two three"]);
}

/// The manifests of our kinds in a page.
fn manifests(page: &str) -> Vec<serde_yaml::Value> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let documents = blocks.flat_map(serde_yaml::Deserializer::from_str);
    let values = documents.map(|document| serde_yaml::Value::deserialize(document).unwrap());
    values.filter(|value| value["apiVersion"] == "email.askrobots.com/v1alpha1").collect()
}

#[test]
fn manifests_in_pages_are_what_the_kinds_take() {
    let mut count = 0;
    for path in pages() {
        for manifest in manifests(&std::fs::read_to_string(&path).unwrap()) {
            let said = format!("{}: {manifest:?}", path.display());
            taken(manifest).unwrap_or_else(|error| panic!("{said}: {error}"));
            count += 1;
        }
    }
    assert!(count > 5, "{count}");
}

/// Reads a manifest as the operator does.
fn taken(document: serde_yaml::Value) -> Result<(), serde_yaml::Error> {
    match document["kind"].as_str() {
        Some("EmailDomain") => serde_yaml::from_value::<EmailDomain>(document).map(drop),
        Some("EmailMailbox") => serde_yaml::from_value::<EmailMailbox>(document).map(drop),
        Some("EmailAlias") => serde_yaml::from_value::<EmailAlias>(document).map(drop),
        _ => serde_yaml::from_value::<EmailForwardingRule>(document).map(drop),
    }
}

#[test]
fn the_recipes_for_rules_are_taken() {
    let sink = |name: &str| format!("- {{name: {name}, webhook: {{url: 'https://t.example'}}, namespaces: ['*']}}\n");
    let sinks = Sinks::parse(&[sink("tracker"), sink("wiki")].concat()).unwrap();
    let page = read("docs/rules.md");
    let recipes = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let specs: Vec<EmailForwardingRuleSpec> = recipes
        .map(|recipe| {
            let value: serde_json::Value = serde_yaml::from_str(recipe).unwrap();
            serde_json::from_value(value["spec"].clone()).unwrap()
        })
        .collect();
    assert_eq!(specs.len(), 7);
    let mailbox = Address::parse("ada@example.com").unwrap();
    for spec in &specs {
        desired::rule("mail/r", 0, spec, &mailbox, &sinks).unwrap();
    }
}
