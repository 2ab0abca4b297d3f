//! Bearer tokens: the Kubernetes API says whose they are. A token is sent to the API server's `TokenReview` and to nobody
//! else, and is kept nowhere but as a digest for a few seconds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Api;
use kube::api::PostParams;

use super::identity::{Identity, NotServed, identity};
use crate::mail::sha256;

/// Longest token; bytes.
const LONGEST: usize = 16 << 10;
/// How long a valid token counts without being asked again: a revoked one works no longer than this.
const FRESH: Duration = Duration::from_secs(10);
/// Most tokens that are known at once.
const MOST: usize = 1_024;
/// Time limit of a review.
const LIMIT: Duration = Duration::from_secs(4);

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// What is wrong, then what to do.
    pub(crate) message: String,
}

impl Refusal {
    /// A refusal.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<NotServed> for Refusal {
    fn from(why: NotServed) -> Self {
        let status = match why {
            NotServed::Invalid | NotServed::Audience => StatusCode::UNAUTHORIZED,
            NotServed::System | NotServed::Name => StatusCode::FORBIDDEN,
        };
        Self::new(status, why.to_string())
    }
}

/// Knows whose a token is.
pub(crate) struct Authenticator {
    client: kube::Client,
    audience: String,
    known: Mutex<HashMap<String, (Instant, Identity)>>,
}

impl Authenticator {
    /// An authenticator for tokens of an audience.
    pub(crate) fn new(client: kube::Client, audience: String) -> Self {
        Self { client, audience, known: Mutex::default() }
    }

    /// The user of a request.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn identity(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        let token = bearer(headers)?;
        let digest = sha256(token);
        if let Some(identity) = self.known(&digest) {
            return Ok(identity);
        }
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(vec![self.audience.clone()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let params = PostParams::default();
        let answer = tokio::time::timeout(LIMIT, api.create(&params, &review)).await;
        let unreachable = || {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the token can't be checked, because the Kubernetes API gives no answer; try again later",
            )
        };
        let reviewed = answer.map_err(|_| unreachable())?.map_err(|error| {
            // Its words may have the request, so only its code is logged.
            let code = if let kube::Error::Api(status) = &error { status.code } else { 0 };
            tracing::warn!(
                code,
                "the Kubernetes API reviews no tokens: check the rights of the server's ServiceAccount"
            );
            unreachable()
        })?;
        let identity = identity(&reviewed.status.unwrap_or_default(), &self.audience)?;
        self.keep(digest, identity.clone());
        Ok(identity)
    }

    fn known(&self, digest: &str) -> Option<Identity> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, identity)| identity.clone())
    }

    fn keep(&self, digest: String, identity: Identity) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < FRESH);
        if known.len() < MOST {
            known.insert(digest, (Instant::now(), identity));
        }
    }
}

/// The bearer token of a request (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing = || {
        Refusal::new(
            StatusCode::UNAUTHORIZED,
            "send the header Authorization: Bearer with a token of the cluster for the audience of this server",
        )
    };
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().ok_or_else(missing)?;
    if all.next().is_some() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "there is more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(missing)?;
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    let is_good = !token.is_empty() && token.len() <= LONGEST && token.bytes().all(is_token);
    if scheme.eq_ignore_ascii_case("bearer") && is_good { Ok(token) } else { Err(missing()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(values: &[&[u8]]) -> Result<String, StatusCode> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        bearer(&headers).map(ToOwned::to_owned).map_err(|refusal| refusal.status)
    }

    #[test]
    fn one_token_in_the_right_form_is_read() {
        assert_eq!(read(&[b"Bearer a.b-c_d"]), Ok("a.b-c_d".to_owned()));
        assert_eq!(read(&[b"bearer abc="]), Ok("abc=".to_owned()));
        for bad in
            [&b"Bearer"[..], b"Bearer ", b"Basic YTpi", b"Bearer a b", b"a.b.c", b"Bearer \xff", b"Bearer a,b", b""]
        {
            assert_eq!(read(&[bad]), Err(StatusCode::UNAUTHORIZED), "{bad:?}");
        }
        assert_eq!(read(&[]), Err(StatusCode::UNAUTHORIZED));
        assert_eq!(read(&[b"Bearer a", b"Bearer b"]), Err(StatusCode::BAD_REQUEST));
        let long = format!("Bearer {}", "a".repeat(LONGEST + 1));
        assert_eq!(read(&[long.as_bytes()]), Err(StatusCode::UNAUTHORIZED));
    }
}
