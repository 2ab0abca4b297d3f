//! What mailboxes and aliases have in common, so that each takes little memory.

use std::sync::LazyLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crd::{EmailAlias, EmailMailbox};
use crate::packed::Packable;

/// A mailbox in sync.
const MAILBOX: &str = r#"apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata:
  name: person
  namespace: team
  uid: 00000000-0000-0000-0000-000000000000
  resourceVersion: "1000000"
  generation: 1
  creationTimestamp: "2026-01-01T00:00:00Z"
  finalizers: [email.askrobots.com/finalizer]
spec:
  localPart: person
  domainRef: {name: example}
  displayName: A Person
status:
  observedGeneration: 1
  syncedGeneration: 1
  syncedDomainGeneration: 1
  address: person@example.com
  quota: {limit: 1Gi, used: "0", percent: 0}
  messages: 0
  credentialsSecretName: person-mailbox
  passwordVersion: 00000000-0000-0000-0000-000000000000/1000000/0000000000000000
  server: default
  policies:
    deletion: {value: Retain, from: Kind}
    adoption: {value: IfUnowned, from: Kind}
    drift: {value: Correct, from: Kind}
  conditions:
  - {type: Ready, status: "True", reason: InSync, message: Mailcow matches the spec, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
  - {type: Synced, status: "True", reason: InSync, message: Mailcow matches the spec, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
  - {type: ResolvedRefs, status: "True", reason: ResolvedRefs, message: everything that the spec names exists, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
"#;

/// An alias in sync.
const ALIAS: &str = r#"apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata:
  name: person
  namespace: team
  uid: 00000000-0000-0000-0000-000000000000
  resourceVersion: "1000000"
  generation: 1
  creationTimestamp: "2026-01-01T00:00:00Z"
  finalizers: [email.askrobots.com/finalizer]
spec:
  localPart: person
  domainRef: {name: example}
  gotoMailboxRefs: [{name: person}]
status:
  observedGeneration: 1
  syncedGeneration: 1
  address: person@example.com
  aliasId: 1
  goto: [person@example.com]
  gotoSummary: person@example.com
  server: default
  policies:
    deletion: {value: Delete, from: Kind}
    adoption: {value: IfUnowned, from: Kind}
    drift: {value: Correct, from: Kind}
  conditions:
  - {type: Ready, status: "True", reason: InSync, message: Mailcow matches the spec, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
  - {type: Synced, status: "True", reason: InSync, message: Mailcow matches the spec, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
  - {type: ResolvedRefs, status: "True", reason: ResolvedRefs, message: everything that the spec names exists, observedGeneration: 1, lastTransitionTime: "2026-01-01T00:00:00Z"}
"#;

/// A manifest as the JSON of its kind.
fn json<K: Serialize + DeserializeOwned>(manifest: &str) -> Vec<u8> {
    let object = serde_yaml::from_str::<K>(manifest).ok();
    object.and_then(|object| serde_json::to_vec(&object).ok()).unwrap_or_default()
}

impl Packable for EmailMailbox {
    fn typical() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> = LazyLock::new(|| json::<EmailMailbox>(MAILBOX));
        &TYPICAL
    }
}

impl Packable for EmailAlias {
    fn typical() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> = LazyLock::new(|| json::<EmailAlias>(ALIAS));
        &TYPICAL
    }
}
