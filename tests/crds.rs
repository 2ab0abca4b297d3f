//! `crds/` and the chart's copies are what `src/crd` says. `UPDATE_CRDS=1 cargo test --test crds` rewrites them.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::path::{Path, PathBuf};

use mailcow_operator::crd;

/// File name and text of each definition.
fn generated() -> Vec<(String, String)> {
    crd::definitions()
        .unwrap()
        .iter()
        .map(|crd| (format!("{}.yaml", crd.spec.names.plural), serde_yaml::to_string(crd).unwrap()))
        .collect()
}

/// The chart's copies survive `helm uninstall`.
fn kept(text: &str) -> String {
    text.replacen("metadata:\n", "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n", 1)
}

fn compare(folder: &str, change: fn(&str) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let is_update = std::env::vars().any(|(key, value)| key == "UPDATE_CRDS" && value == "1");
    for (name, text) in generated() {
        let path: PathBuf = folder.join(name);
        if is_update {
            std::fs::write(&path, change(&text)).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(there, change(&text), "{} is stale: UPDATE_CRDS=1 cargo test --test crds", path.display());
    }
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        generated().len(),
        "a file too many in {}",
        folder.display()
    );
}

#[test]
fn the_crds_folder_is_what_the_source_says() {
    compare("crds", ToOwned::to_owned);
}

#[test]
fn the_charts_crds_are_what_the_source_says() {
    compare("charts/mailcow-operator/files/crds", kept);
}

#[test]
fn every_field_has_a_description_and_every_text_and_list_a_bound() {
    for crd in crd::definitions().unwrap() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
        check(spec, &format!("{}.spec", crd.spec.names.kind));
    }
}

#[test]
fn an_object_that_was_not_seen_says_so() {
    for crd in crd::definitions().unwrap() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let default = &schema["openAPIV3Schema"]["properties"]["status"]["default"];
        assert_eq!(default, &serde_json::json!({"observedGeneration": -1}), "{}", crd.spec.names.kind);
    }
}

#[test]
fn people_see_at_once_whether_it_is_ready_and_why_not() {
    for crd in crd::definitions().unwrap() {
        let columns = crd.spec.versions[0].additional_printer_columns.clone().unwrap();
        let first: Vec<&str> = columns.iter().filter(|c| c.priority.is_none()).map(|c| c.name.as_str()).collect();
        assert!(first.windows(2).any(|pair| pair == ["Ready", "Reason"]), "{}: {first:?}", crd.spec.names.kind);
        assert_eq!(first.last(), Some(&"Age"));
    }
}

#[test]
fn descriptions_flow() {
    for (name, text) in generated() {
        for line in text.lines().filter(|line| line.contains("description: ")) {
            assert!(!line.ends_with("|-"), "{name}: a description with line breaks after {line:?}");
        }
    }
}

fn check(schema: &serde_json::Value, path: &str) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        assert!(property["description"].is_string(), "{path} has no description");
        check_bound(property, &path);
        check(property, &path);
    }
}

fn check_bound(schema: &serde_json::Value, path: &str) {
    match schema["type"].as_str() {
        Some("string") => {
            let is_bound = schema["maxLength"].is_number() || schema["enum"].is_array();
            assert!(is_bound, "{path} has no maxLength");
        }
        Some("array") => {
            assert!(schema["maxItems"].is_number(), "{path} has no maxItems");
            check_bound(&schema["items"], &format!("{path}[]"));
            check(&schema["items"], &format!("{path}[]"));
        }
        Some("integer") => assert!(schema["maximum"].is_number(), "{path} has no maximum"),
        _ => {}
    }
}
