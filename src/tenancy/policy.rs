//! The policies in effect for an object: its spec, its namespace, the installation, its kind; the most specific wins.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::crd::{
    AdoptionPolicy, Chosen, DEFAULT_ADOPTION, DEFAULT_DELETION, DEFAULT_DRIFT, DeletionPolicy, DriftPolicy, Policies,
    PolicySource,
};

/// The policies in an object's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// `spec.deletionPolicy`.
    pub deletion: Option<DeletionPolicy>,
    /// `spec.adoptionPolicy`.
    pub adoption: Option<AdoptionPolicy>,
    /// `spec.driftPolicy`.
    pub drift: Option<DriftPolicy>,
    /// The deletion policy of its kind.
    pub of_kind: DeletionPolicy,
}

/// The policies of the installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Option `--default-deletion-policy`.
    pub deletion: Option<DeletionPolicy>,
    /// Option `--default-adoption-policy`.
    pub adoption: Option<AdoptionPolicy>,
    /// Option `--default-drift-policy`.
    pub drift: Option<DriftPolicy>,
}

/// Annotations of a namespace.
pub type Annotated<'a> = Option<&'a BTreeMap<String, String>>;

/// The policies in effect.
pub fn policies(given: Given, namespace: Annotated<'_>, installation: Defaults) -> Policies {
    let deletion = annotation(namespace, DEFAULT_DELETION);
    let adoption = annotation(namespace, DEFAULT_ADOPTION);
    let drift = annotation(namespace, DEFAULT_DRIFT);
    let bad = [error_of(deletion.as_ref()), error_of(adoption.as_ref()), error_of(drift.as_ref())];
    let warnings: Vec<String> = bad.into_iter().flatten().collect();
    // Somebody set a deletion policy, but it is invalid: in doubt nothing is lost.
    let deletion = deletion.map(|said| said.unwrap_or(DeletionPolicy::Retain));
    let (adoption, drift) = (adoption.and_then(Result::ok), drift.and_then(Result::ok));
    Policies {
        deletion: choose(given.deletion, deletion, installation.deletion, given.of_kind),
        adoption: choose(given.adoption, adoption, installation.adoption, AdoptionPolicy::default()),
        drift: choose(given.drift, drift, installation.drift, DriftPolicy::default()),
        warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
    }
}

fn error_of<T>(said: Option<&Result<T, String>>) -> Option<String> {
    said?.as_ref().err().cloned()
}

fn choose<T>(spec: Option<T>, namespace: Option<T>, installation: Option<T>, of_kind: T) -> Chosen<T> {
    let said =
        [(spec, PolicySource::Spec), (namespace, PolicySource::Namespace), (installation, PolicySource::Installation)];
    let first = said.into_iter().find_map(|(value, from)| value.map(|value| Chosen { value, from }));
    first.unwrap_or(Chosen { value: of_kind, from: PolicySource::Kind })
}

/// The value of an annotation, or why it is invalid.
fn annotation<T: DeserializeOwned>(namespace: Annotated<'_>, name: &str) -> Option<Result<T, String>> {
    let text = namespace?.get(name)?;
    let read = serde_json::from_value(Value::String(text.clone()));
    Some(read.map_err(|error| format!("the annotation {name} of the namespace is invalid: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use PolicySource::{Installation, Kind, Namespace, Spec};

    const NOTHING: Given = Given { deletion: None, adoption: None, drift: None, of_kind: DeletionPolicy::Delete };

    fn annotated(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_most_specific_wins_and_says_where_it_came_from() {
        let retain = annotated(DEFAULT_DELETION, "Retain");
        let installation = Defaults { deletion: Some(DeletionPolicy::Deactivate), ..Defaults::default() };
        let given = Given { deletion: Some(DeletionPolicy::Delete), ..NOTHING };
        for (given, namespace, installation, value, from) in [
            (given, Some(&retain), installation, DeletionPolicy::Delete, Spec),
            (NOTHING, Some(&retain), installation, DeletionPolicy::Retain, Namespace),
            (NOTHING, None, installation, DeletionPolicy::Deactivate, Installation),
            (NOTHING, None, Defaults::default(), DeletionPolicy::Delete, Kind),
        ] {
            assert_eq!(policies(given, namespace, installation).deletion, Chosen { value, from });
        }
        let report = annotated(DEFAULT_DRIFT, "Report");
        let drift = policies(NOTHING, Some(&report), Defaults::default()).drift;
        assert_eq!(drift, Chosen { value: DriftPolicy::Report, from: Namespace });
    }

    #[test]
    fn every_policy_may_come_from_everywhere_and_none_from_another_ones_place() {
        let namespace = BTreeMap::from(
            [(DEFAULT_DELETION, "Deactivate"), (DEFAULT_ADOPTION, "Force"), (DEFAULT_DRIFT, "Report")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let (deletion, adoption, drift) = (DeletionPolicy::Deactivate, AdoptionPolicy::Force, DriftPolicy::Report);
        let said = |from| Policies {
            deletion: Chosen { value: deletion, from },
            adoption: Chosen { value: adoption, from },
            drift: Chosen { value: drift, from },
            warning: None,
        };
        let given = Given { deletion: Some(deletion), adoption: Some(adoption), drift: Some(drift), ..NOTHING };
        let installation = Defaults { deletion: Some(deletion), adoption: Some(adoption), drift: Some(drift) };
        assert_eq!(policies(given, None, Defaults::default()), said(Spec));
        assert_eq!(policies(NOTHING, Some(&namespace), Defaults::default()), said(Namespace));
        assert_eq!(policies(NOTHING, None, installation), said(Installation));
        let nothing = policies(NOTHING, Some(&BTreeMap::new()), Defaults::default());
        assert_eq!((nothing.adoption.value, nothing.drift.value), (AdoptionPolicy::default(), DriftPolicy::default()));
        assert_eq!((nothing.adoption.from, nothing.drift.from, nothing.warning), (Kind, Kind, None));
    }

    #[test]
    fn a_word_that_cannot_be_read_keeps_and_is_told() {
        let typo = annotated(DEFAULT_DELETION, "Retian");
        let said = policies(NOTHING, Some(&typo), Defaults::default());
        assert_eq!(said.deletion, Chosen { value: DeletionPolicy::Retain, from: Namespace });
        let warning = said.warning.unwrap();
        assert!(warning.contains("Retian") && warning.contains("`Retain`"), "{warning}");
        for name in [DEFAULT_ADOPTION, DEFAULT_DRIFT] {
            let said = policies(NOTHING, Some(&annotated(name, "force")), Defaults::default());
            assert_eq!((said.adoption.from, said.drift.from), (Kind, Kind));
            assert!(said.warning.unwrap().contains(name));
        }
    }
}
