//! A client that acts as another user: each request has the impersonation headers of exactly that user.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use kube::client::Body;

use super::identity::{Identity, NotServed};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");

/// A client with the rights of a user.
///
/// # Errors
/// When a header can't carry a name.
pub(crate) fn client(base: &kube::Client, identity: &Identity) -> Result<kube::Client, NotServed> {
    let headers = headers(identity)?;
    let base = base.clone();
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let base = base.clone();
        impersonate(request.headers_mut(), &headers);
        async move { base.send(request).await }
    });
    Ok(kube::Client::new(service, "default"))
}

fn headers(identity: &Identity) -> Result<HeaderMap, NotServed> {
    let value = |name: &str| HeaderValue::from_str(name).map_err(|_| NotServed::Name);
    let mut headers = HeaderMap::new();
    headers.insert(USER, value(&identity.user)?);
    for group in &identity.groups {
        headers.append(GROUP, value(group)?);
    }
    Ok(headers)
}

/// Replaces every impersonation header.
fn impersonate(request: &mut HeaderMap, headers: &HeaderMap) {
    let old: Vec<HeaderName> =
        request.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in old {
        request.remove(name);
    }
    for (name, value) in headers {
        request.append(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str, groups: &[&str]) -> Identity {
        Identity { user: user.to_owned(), groups: groups.iter().map(|group| (*group).to_owned()).collect() }
    }

    #[test]
    fn a_request_has_the_headers_of_the_user_and_no_others() {
        let mut request = HeaderMap::new();
        request.insert(GROUP, HeaderValue::from_static("system:masters"));
        request.insert("impersonate-extra-scopes", HeaderValue::from_static("all"));
        impersonate(&mut request, &headers(&identity("ada", &["a", "b, system:masters"])).unwrap());
        let groups: Vec<_> = request.get_all(GROUP).iter().map(|value| value.to_str().unwrap()).collect();
        // The API server takes each line as one group.
        assert_eq!(groups, ["a", "b, system:masters"]);
        assert_eq!(request.get(USER).unwrap(), "ada");
        assert_eq!(request.len(), 3);
    }

    #[test]
    fn a_name_with_a_line_break_is_no_header() {
        assert!(headers(&identity("ada\r\nimpersonate-group: system:masters", &[])).is_err());
        assert!(headers(&identity("ada", &["a\nb"])).is_err());
    }
}
