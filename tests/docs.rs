//! `docs/` says what the code says: every reason and every DNS warning stands there, and what stands there exists.

#![expect(clippy::unwrap_used, reason = "a page that can't be read is a failed test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mailcow_operator::crd::EmailForwardingRuleSpec;
use mailcow_operator::desired;
use mailcow_operator::mail::{Address, Sinks};

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
        for call in ["warn(\"", "warning(\"", "kept(before, \""] {
            let words = production.split(call).skip(1).filter_map(|rest| rest.split('"').next());
            found.extend(words.map(ToOwned::to_owned));
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
