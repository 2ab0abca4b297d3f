//! The certificates that a mail host presents on port 25 after STARTTLS (RFC 3207). They are not verified here: DANE
//! compares keys, not authorities (RFC 7672, section 3.1).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::answer::Outcome;
use super::{Lookup, SERVER_TIMEOUT};

/// At most this much of the server's talk is read, in bytes.
const MOST_BYTES: u64 = 16_384;

impl Lookup {
    /// The certificates that a host presents on port 25, its own first.
    pub(super) async fn certificates(&self, host: &str) -> Outcome {
        let addresses = match self.addresses_of(host, self.options.smtp_port).await {
            Ok(addresses) => addresses,
            Err(why) => return Outcome::Failed(why),
        };
        for address in addresses {
            if let Ok(Ok(certificates)) = timeout(SERVER_TIMEOUT, presented(host, address)).await {
                return Outcome::Certificates(certificates);
            }
        }
        Outcome::Failed(NO_STARTTLS.to_owned())
    }
}

/// Why there are no certificates. Details are left out, because others choose where the operator connects to.
const NO_STARTTLS: &str = "no server there presents a certificate on port 25";

async fn presented(host: &str, address: SocketAddr) -> io::Result<Vec<Vec<u8>>> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    reply(&mut stream, "220").await?;
    stream.write_all(b"EHLO mailcow-operator.invalid\r\n").await?;
    let offers = reply(&mut stream, "250").await?;
    if !offers.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS")) {
        return Err(io::Error::other("the server does not offer STARTTLS"));
    }
    stream.write_all(b"STARTTLS\r\n").await?;
    reply(&mut stream, "220").await?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config()?));
    let secured = connector.connect(name, stream.into_inner()).await?;
    let certificates = secured.get_ref().1.peer_certificates().unwrap_or_default();
    Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect())
}

/// Reads a reply of one or more lines (RFC 5321, section 4.2.1), and gives what follows the code.
async fn reply(stream: &mut BufReader<TcpStream>, code: &str) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut limited = stream.take(MOST_BYTES);
    loop {
        let mut line = String::new();
        limited.read_line(&mut line).await?;
        let line = line.trim_end();
        let Some(rest) = line.strip_prefix(code) else { return Err(io::Error::other("unexpected reply")) };
        lines.push(rest.get(1..).unwrap_or_default().to_owned());
        if !rest.starts_with('-') {
            return Ok(lines);
        }
    }
}

fn config() -> io::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(io::Error::other)?.dangerous();
    Ok(builder.with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))).with_no_client_auth())
}

/// Accepts every certificate whose key the server has; the TLSA row judges it.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
