//! Refusals of writes by the Kubernetes API: distinguished from temporary trouble, and cleaned for a status.

use k8s_openapi::api::core::v1::Secret;

use crate::outcome::{Outcome, Reason, Why};

/// Status codes that stay the same until somebody changes the object, a right, a quota or a policy: admission webhooks
/// use any of them.
const REFUSALS: [u16; 5] = [400, 403, 405, 413, 422];
/// The longest shown part of an answer; characters.
const LONGEST: usize = 400;
/// Shorter values in a Secret are no secrets, and would cut words to pieces.
const SHORTEST_VALUE: usize = 6;

/// Why a call failed.
pub(crate) fn why(error: &kube::Error) -> Why {
    match error {
        kube::Error::Api(answer) if REFUSALS.contains(&answer.code) => {
            let message = format!(
                "Kubernetes refuses a write of the operator; change the quota, the policy or the right that forbids it; the operator retries: {}",
                cleaned(&answer.message)
            );
            Why::new(Reason::RefusedByKubernetes, message)
        }
        error => {
            let message = format!("the Kubernetes API failed; the operator retries: {}", cleaned(&error.to_string()));
            Why::new(Reason::KubernetesApiError, message)
        }
    }
}

/// Whether the object would be larger than etcd stores, or than the API server reads.
pub(crate) fn is_too_large(error: &kube::Error) -> bool {
    let kube::Error::Api(answer) = error else { return false };
    // etcd's own error, and that of gRPC before a request reaches it.
    let of_etcd = ["request is too large", "larger than max"];
    answer.code == 413 || (answer.code == 500 && of_etcd.iter().any(|text| answer.message.contains(text)))
}

/// The same as the outcome of a reconcile.
pub(crate) fn outcome(error: &kube::Error) -> Outcome {
    let why = why(error);
    if why.reason == Reason::RefusedByKubernetes { Outcome::Stalled(why) } else { Outcome::Unknown(why) }
}

/// An answer without the values that it quotes, and shortened: they may contain anything that was sent.
pub(crate) fn cleaned(message: &str) -> String {
    let mut cleaned = String::new();
    let mut rest = message;
    while let Some((before, value)) = rest.split_once(" value: ") {
        cleaned.push_str(before);
        cleaned.push_str(" value");
        rest = after_value(value);
    }
    cleaned.push_str(rest);
    if cleaned.chars().count() > LONGEST {
        cleaned = cleaned.chars().take(LONGEST).chain(['…']).collect();
    }
    cleaned
}

/// What follows a value: a quoted text, or anything up to a colon.
fn after_value(text: &str) -> &str {
    let Some(quoted) = text.strip_prefix('"') else {
        return text.find(": ").and_then(|end| text.get(end..)).unwrap_or_default();
    };
    let mut is_escaped = false;
    let end = quoted.find(|c| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.and_then(|end| quoted.get(end + 1..)).unwrap_or_default()
}

/// The error without any data of the Secret, plain or encoded: a policy may repeat what it judged.
pub(crate) fn without_values(error: kube::Error, secret: &Secret) -> kube::Error {
    let kube::Error::Api(mut answer) = error else { return error };
    for value in secret.data.iter().flat_map(|data| data.values()).filter(|value| value.0.len() >= SHORTEST_VALUE) {
        let plain = String::from_utf8_lossy(&value.0).into_owned();
        let encoded = serde_json::to_value(value).ok().and_then(|value| value.as_str().map(ToOwned::to_owned));
        for text in encoded.into_iter().chain([plain]) {
            answer.message = answer.message.replace(&text, "…");
        }
    }
    kube::Error::Api(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use kube::core::Status;
    use std::collections::BTreeMap;

    fn answered(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure(message, "Reason").with_code(code)))
    }

    #[test]
    fn a_refusal_is_told_from_trouble_that_passes() {
        for (code, reason) in [
            (403, Reason::RefusedByKubernetes),
            (422, Reason::RefusedByKubernetes),
            (409, Reason::KubernetesApiError),
            (404, Reason::KubernetesApiError),
            (500, Reason::KubernetesApiError),
        ] {
            assert_eq!(why(&answered(code, "m")).reason, reason, "{code}");
        }
        assert!(
            matches!(outcome(&answered(403, "exceeded quota: q")), Outcome::Stalled(why) if why.message.contains("exceeded quota: q"))
        );
        assert!(matches!(outcome(&answered(500, "m")), Outcome::Unknown(_)));
    }

    #[test]
    fn an_object_that_is_too_large_is_told_from_other_trouble() {
        for (code, message, expected) in [
            (500, "etcdserver: request is too large", true),
            (500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2 vs. 1)", true),
            (413, "Request entity too large: limit is 3145728", true),
            (500, "etcdserver: request timed out", false),
            (422, "must be smaller: too large", false),
        ] {
            assert_eq!(is_too_large(&answered(code, message)), expected, "{message}");
        }
    }

    #[test]
    fn quoted_values_are_not_shown() {
        for (said, shown) in [
            (r#"data[a]: Invalid value: "s3cret\"x": must be short"#, "data[a]: Invalid value: must be short"),
            (
                r#"spec: Invalid value: {"a":"s3cret"}: no, spec.b: Unsupported value: 7: no"#,
                "spec: Invalid value: no, spec.b: Unsupported value: no",
            ),
            ("Invalid value: s3cret", "Invalid value"),
            ("exceeded quota: secrets=1", "exceeded quota: secrets=1"),
        ] {
            assert_eq!(cleaned(said), shown);
        }
        assert_eq!(cleaned(&"x".repeat(9999)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn what_a_secret_holds_is_not_shown_whoever_answers_with_it() {
        let data = BTreeMap::from([("password".to_owned(), ByteString(b"s3cret-word".to_vec()))]);
        let secret = Secret { data: Some(data), ..Secret::default() };
        let said = answered(403, "denied: {\"password\":\"czNjcmV0LXdvcmQ=\"} or s3cret-word");
        let shown = without_values(said, &secret).to_string();
        assert!(!shown.contains("s3cret") && !shown.contains("czNj") && shown.contains("denied"), "{shown}");
    }
}
