//! The policy that a host serves over HTTPS, as senders fetch it (RFC 8461, section 3.3): the certificate has to be valid
//! for the host, no redirect is followed, and time and size are bounded.

use std::error::Error as _;
use std::net::SocketAddr;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, header};

use super::super::answer::{Outcome, Page};
use super::{Lookup, PATIENCE};

/// At most this much of a body is read, in bytes (RFC 8461, section 3.3, advises a bound).
const MOST_BYTES: usize = 65_536;

impl Lookup {
    /// Fetches `/.well-known/mta-sts.txt` from a host.
    pub(super) async fn policy(&self, host: &str) -> Outcome {
        let addresses = match self.addresses_of(host, self.options.https_port).await {
            Ok(addresses) => addresses,
            Err(why) => return Outcome::Failed(why),
        };
        match self.fetch(host, &addresses).await {
            Ok(page) => Outcome::Page(page),
            Err(error) => unreached(&error),
        }
    }

    async fn fetch(&self, host: &str, addresses: &[SocketAddr]) -> reqwest::Result<Page> {
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .https_only(true)
            .no_proxy()
            .timeout(PATIENCE)
            .resolve_to_addrs(host, addresses)
            .user_agent(concat!("mailcow-operator/", env!("CARGO_PKG_VERSION")));
        if let Some(authority) = &self.options.certificate_authority {
            builder = builder.add_root_certificate(Certificate::from_pem(authority.as_bytes())?);
        }
        let url = format!("https://{host}/.well-known/mta-sts.txt");
        page(builder.build()?.get(url).send().await?).await
    }
}

async fn page(mut response: Response) -> reqwest::Result<Page> {
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    let mut page = Page {
        status: response.status().as_u16(),
        media_type: media_type.trim().to_ascii_lowercase(),
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await? {
        page.body.extend_from_slice(&chunk);
        if page.body.len() >= MOST_BYTES {
            page.body.truncate(MOST_BYTES);
            break;
        }
    }
    Ok(page)
}

/// Tells a certificate that can't be trusted from a server that can't be reached.
fn unreached(error: &reqwest::Error) -> Outcome {
    let mut deepest = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        deepest = cause.to_string();
        next = cause.source();
    }
    if let Some((_, why)) = deepest.split_once("invalid peer certificate: ") {
        return Outcome::Untrusted(why.to_owned());
    }
    Outcome::Failed(if error.is_timeout() { "timed out".to_owned() } else { deepest })
}
