//! The way to an IMAP server: TCP and TLS.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Error;
use crate::certificates;
use crate::intake::queue::{ImapServer, ImapTls};

/// How long a connection may be silent before the kernel asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// A stream of bytes in both directions.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An IMAP server with its TLS configuration, which is large and therefore made once.
#[derive(Clone)]
pub struct Endpoint {
    /// The server.
    pub server: Arc<ImapServer>,
    tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.server.host, self.server.port)
    }
}

impl Endpoint {
    /// Prepares connections; opens none yet.
    ///
    /// # Errors
    /// When the CA can't be used.
    pub fn new(server: Arc<ImapServer>) -> Result<Self, Error> {
        let tls = match server.tls {
            ImapTls::Plaintext => None,
            ImapTls::Implicit | ImapTls::StartTls => Some(Arc::new(config(&server.ca).map_err(Error::Invalid)?)),
        };
        Ok(Self { server, tls })
    }

    /// Opens a TCP connection.
    pub(super) async fn tcp(&self) -> Result<TcpStream, Error> {
        let ImapServer { host, port, tls, .. } = &*self.server;
        let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| unreachable(&error))?;
        let is_local = tcp.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
        if *tls == ImapTls::Plaintext && !is_local {
            return Err(Error::Invalid("a connection without TLS is allowed only to this machine".to_owned()));
        }
        tcp.set_nodelay(true).map_err(|error| unreachable(&error))?;
        keep_alive(&tcp);
        Ok(tcp)
    }

    /// Encrypts a connection.
    pub(super) async fn encrypted(&self, tcp: TcpStream) -> Result<Box<dyn Stream>, Error> {
        let Some(config) = &self.tls else { return Ok(Box::new(tcp)) };
        let host = &self.server.host;
        let name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => {
                ServerName::try_from(host.clone()).map_err(|_| Error::Invalid(format!("{host:?} is no host name")))?
            }
        };
        let connected = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
        Ok(Box::new(connected.map_err(|error| refused(&error))?))
    }
}

fn config(ca: &[u8]) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let own = match std::str::from_utf8(ca) {
        Ok(text) if text.trim().is_empty() => Vec::new(),
        Ok(text) => certificates::read(text)?,
        Err(_) => return Err("ca.crt is not PEM text".to_owned()),
    };
    let verifier = Verifier::new_with_extra_roots(own, Arc::clone(&provider)).map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?.dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    // Sessions live for hours; tickets would only cost memory.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn unreachable(error: &io::Error) -> Error {
    Error::Unreachable(error.to_string())
}

/// Distinguishes a certificate that is not accepted from a connection that broke.
fn refused(error: &io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(problem)) => Error::Certificate(words(problem)),
        _ => Error::Unreachable(error.to_string()),
    }
}

fn words(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its authority is not trusted; configure the CA".to_owned()
        }
        other => other.to_string(),
    }
}

/// A server that went away without a word is noticed. It is only a help: each command has a time limit anyway.
fn keep_alive(tcp: &TcpStream) {
    let socket = socket2::SockRef::from(tcp);
    let _ = socket.set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 4));
}
