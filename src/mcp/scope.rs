//! Which namespaces the server serves.

use super::text::Namespace;
use super::tool_error::ToolError;

/// The namespaces that tools may read and write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    /// Only these; all if there are none.
    pub(crate) fn new(namespaces: Vec<String>) -> Self {
        Self(namespaces)
    }

    /// The namespaces; none: all.
    pub(crate) fn namespaces(&self) -> &[String] {
        &self.0
    }

    /// Whether the namespace is served.
    ///
    /// # Errors
    /// With the namespaces that are.
    pub(crate) fn check(&self, namespace: &Namespace) -> Result<(), ToolError> {
        if self.0.is_empty() || self.0.iter().any(|served| served == namespace.as_str()) {
            return Ok(());
        }
        let rule = format!("this server serves only the namespaces {}", self.0.join(", "));
        Err(ToolError::argument("namespace", Some(namespace.as_str()), rule, &self.0[0]))
    }

    /// The places to list: one namespace, each that is served, or all at once.
    pub(crate) fn places(&self, namespace: Option<&Namespace>) -> Result<Vec<Option<String>>, ToolError> {
        match namespace {
            Some(namespace) => self.check(namespace).map(|()| vec![Some(namespace.to_string())]),
            None if self.0.is_empty() => Ok(vec![None]),
            None => Ok(self.0.iter().cloned().map(Some).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_namespace_is_refused_with_those_that_are_served() {
        let scope = Scope::new(vec!["a".to_owned(), "b".to_owned()]);
        let namespace = |name: &str| Namespace::try_from(name.to_owned()).unwrap();
        assert!(scope.check(&namespace("a")).is_ok());
        let error = scope.check(&namespace("kube-system")).unwrap_err();
        assert!(error.message.contains("a, b"), "{error:?}");
        assert!(scope.places(Some(&namespace("c"))).is_err());
        assert_eq!(scope.places(None).unwrap().len(), 2);
        assert_eq!(Scope::default().places(None).unwrap(), [None]);
    }
}
