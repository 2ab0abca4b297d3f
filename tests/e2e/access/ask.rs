//! One request of somebody to the API server, and what became of it.

use axum::http::Request;
use kube::Client;
use serde_json::{Value, json};

/// A request; a write is only tried (`dryRun`), so it changes nothing.
#[derive(Clone)]
pub(super) struct Ask {
    method: &'static str,
    path: String,
    body: Option<Value>,
    user: Option<&'static str>,
}

/// What became of a request.
pub(super) struct Answer {
    /// `yes`, `no` (RBAC), `policy` (an admission policy refused it), or something unexpected in full.
    pub(super) word: String,
    /// The words of a refusal.
    pub(super) message: String,
}

impl Ask {
    fn new(method: &'static str, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, user: None }
    }

    /// Reads something; `path` may have a query.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path.into(), None)
    }

    /// Creates something in a collection.
    pub(super) fn create(collection: &str, body: Value) -> Self {
        Self::new("POST", format!("{collection}?dryRun=All"), Some(body))
    }

    /// Replaces an object.
    pub(super) fn update(path: &str, body: Value) -> Self {
        Self::new("PUT", format!("{path}?dryRun=All"), Some(body))
    }

    /// Changes some fields of an object (merge patch).
    pub(super) fn patch(path: &str, body: Value) -> Self {
        Self::new("PATCH", format!("{path}?dryRun=All"), Some(body))
    }

    /// Deletes an object, or of a collection those that `query` selects.
    pub(super) fn delete(path: &str, query: &str) -> Self {
        Self::new("DELETE", format!("{path}?dryRun=All{query}"), None)
    }

    /// Whether RBAC allows it, where there is no request that would show it.
    pub(super) fn may(attributes: &Value) -> Self {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        });
        Self::new("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(), Some(body))
    }

    /// The same as kubectl asks: with unknown fields refused.
    pub(super) fn strictly(self) -> Self {
        Self { path: format!("{}&fieldValidation=Strict", self.path), ..self }
    }

    /// The same, to be done and not only tried.
    pub(super) fn in_earnest(self) -> Self {
        Self { path: self.path.replace("dryRun=All", ""), ..self }
    }

    /// The same, asked by somebody whom the client may impersonate.
    pub(super) fn asked_by(self, user: &'static str) -> Self {
        Self { user: Some(user), ..self }
    }

    /// Sends it.
    pub(super) async fn send(&self, client: &Client) -> Answer {
        let kind = if self.method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let mut request = Request::builder().method(self.method).uri(&self.path).header("Content-Type", kind);
        if let Some(user) = self.user {
            request = request.header("Impersonate-User", user);
        }
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default().into_bytes();
        let result = client.request_text(request.body(body).unwrap()).await;
        let (word, message) = match result {
            Ok(text) if text.contains(r#""allowed":false"#) => ("no".to_owned(), String::new()),
            Ok(_) => ("yes".to_owned(), String::new()),
            Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("AdmissionPolicy") => {
                ("policy".to_owned(), status.message.clone())
            }
            Err(kube::Error::Api(status)) if status.code == 403 => ("no".to_owned(), status.message.clone()),
            // kubectl says the same by strict validation.
            Err(kube::Error::Api(status)) if status.code == 422 => ("invalid".to_owned(), status.message.clone()),
            Err(kube::Error::Api(status)) if status.code == 400 && status.message.contains("unknown field") => {
                ("invalid".to_owned(), status.message.clone())
            }
            // Only who may write meets another who writes; admission has not been asked then, so no row that is about
            // policies replaces an object.
            Err(kube::Error::Api(status)) if status.code == 409 && self.method == "PUT" => {
                ("yes".to_owned(), String::new())
            }
            Err(error) => (format!("{} {}: {error}", self.method, self.path), error.to_string()),
        };
        Answer { word, message }
    }
}
