//! The manifests in `examples/` are what the kinds take: no unknown field, and every reference leads to another example.

#![expect(clippy::unwrap_used, clippy::panic, reason = "an example that can't be read is a failed test")]

use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use mailcow_operator::desired;
use mailcow_operator::mail::{Address, Sinks};
use serde::Deserialize;
use serde_yaml::Value;

/// All examples, parsed.
#[derive(Default)]
struct Examples {
    domains: Vec<EmailDomain>,
    mailboxes: Vec<EmailMailbox>,
    aliases: Vec<EmailAlias>,
    rules: Vec<EmailForwardingRule>,
    secrets: Vec<Secret>,
}

impl Examples {
    fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        // Those in folders of their own want more than `kubectl apply -f examples/`.
        let folders = [folder.join("dns"), folder];
        let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
        files.sort();
        let mut examples = Self::default();
        for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
            for document in serde_yaml::Deserializer::from_str(&std::fs::read_to_string(file).unwrap()) {
                examples.take(Value::deserialize(document).unwrap(), &file.display().to_string());
            }
        }
        examples
    }

    fn take(&mut self, document: Value, file: &str) {
        match document["kind"].as_str().unwrap() {
            "EmailDomain" => self.domains.push(parsed(document, file)),
            "EmailMailbox" => self.mailboxes.push(parsed(document, file)),
            "EmailAlias" => self.aliases.push(parsed(document, file)),
            "EmailForwardingRule" => self.rules.push(parsed(document, file)),
            "Secret" => self.secrets.push(parsed(document, file)),
            other => panic!("{file}: an example of kind {other}"),
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(document: Value, file: &str) -> T {
    serde_yaml::from_value(document).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn name(object: &impl kube::ResourceExt) -> String {
    object.name_any()
}

#[test]
fn every_kind_has_an_example_that_is_taken() {
    let all = Examples::read();
    let counts = [all.domains.len(), all.mailboxes.len(), all.aliases.len(), all.rules.len(), all.secrets.len()];
    assert_eq!(counts, [2, 2, 3, 2, 1]);
}

#[test]
fn unknown_fields_are_noticed() {
    let wrong = serde_yaml::from_str::<Value>(
        "{apiVersion: email.askrobots.com/v1alpha1, kind: EmailMailbox, metadata: {name: x}, \
         spec: {localPart: x, domainRef: {name: y}, quotas: 1Gi}}",
    );
    assert!(serde_yaml::from_value::<EmailMailbox>(wrong.unwrap()).is_err());
}

#[test]
fn references_lead_to_other_examples() {
    let all = Examples::read();
    let domains: Vec<String> = all.domains.iter().map(name).collect();
    let mailboxes: Vec<String> = all.mailboxes.iter().map(name).collect();
    let secrets: Vec<String> = all.secrets.iter().map(name).collect();
    for mailbox in &all.mailboxes {
        assert!(domains.contains(&mailbox.spec.domain_ref.name));
        assert!(mailbox.spec.password_secret_ref.iter().all(|secret| secrets.contains(&secret.name)));
    }
    for alias in &all.aliases {
        assert!(domains.contains(&alias.spec.domain_ref.name));
        assert!(alias.spec.goto_mailbox_refs.iter().flatten().all(|mailbox| mailboxes.contains(&mailbox.name)));
    }
    assert!(
        all.rules
            .iter()
            .filter_map(|rule| rule.spec.mailbox_ref.as_ref())
            .all(|mailbox| mailboxes.contains(&mailbox.name))
    );
}

#[test]
fn the_example_of_task_delivery_names_sinks_that_its_values_have() {
    let read = |name: &str| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/delivery").join(name);
        std::fs::read_to_string(file).unwrap()
    };
    let values: Value = serde_yaml::from_str(&read("values.yaml")).unwrap();
    assert_eq!(values["featureGates"]["TaskDelivery"], true);
    let sinks = Sinks::parse(&serde_yaml::to_string(&values["sinks"]).unwrap()).unwrap();
    let mailbox = Address::parse("support@example.com").unwrap();
    let mut queues = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&read("rules.yaml")) {
        let rule: EmailForwardingRule = parsed(Value::deserialize(document).unwrap(), "rules.yaml");
        let id = format!("mail/{}", name(&rule));
        let read = desired::rule(&id, 0, &rule.spec, &mailbox, &sinks).unwrap();
        queues.extend(read.queues().map(|queue| (queue.folder.clone(), queue.automatic)));
    }
    let expected =
        [("Ops/Tasks/mail/bugs@tracker".to_owned(), false), ("Ops/Notes/mail/journal@calendar".to_owned(), true)];
    assert_eq!(queues, expected);
}
