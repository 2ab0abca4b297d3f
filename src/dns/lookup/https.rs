//! The policy that a host serves over HTTPS, as senders fetch it (RFC 8461, section 3.3): the certificate has to be valid
//! for the host, no redirect is followed, and time and size are bounded.

use std::error::Error;
use std::io;
use std::net::SocketAddr;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, header};
use rustls::CertificateError;

use super::super::answer::{Outcome, Page};
use super::{Lookup, SERVER_TIMEOUT};

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
            .timeout(SERVER_TIMEOUT)
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

/// Distinguishes an untrusted certificate from an unreachable server. Details of the connection and the names in a
/// certificate are left out, because others choose where the operator connects to.
fn unreached(error: &reqwest::Error) -> Outcome {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(rustls::Error::InvalidCertificate(problem)) = cause.downcast_ref() {
            return Outcome::Untrusted(untrusted(problem).to_owned());
        }
        // An I/O error shows its cause itself, not as its source.
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| cause.source());
    }
    Outcome::Failed("no server there answers over HTTPS".to_owned())
}

fn untrusted(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it is for another name",
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "its authority is not trusted",
        CertificateError::Revoked => "it is revoked",
        _ => "it is not valid",
    }
}
