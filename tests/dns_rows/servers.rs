//! A mail host's servers: HTTPS with a policy, SMTP with STARTTLS, and the authority of their certificates.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A certificate authority of the test's own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name, as a server shows it.
    pub(crate) fn issue(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

/// A port that nobody listens at.
pub(crate) async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// An HTTPS server with one answer.
pub(crate) struct WebServer {
    pub(crate) port: u16,
    answer: Arc<Mutex<String>>,
    visits: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

fn answer(status: u16, media_type: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Said\r\nContent-Type: {media_type}\r\nLocation: /elsewhere\r\n");
    format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

impl WebServer {
    pub(crate) async fn start(config: &Arc<ServerConfig>, status: u16, media_type: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(Mutex::new(answer(status, media_type, body)));
        let visits = Arc::new(AtomicUsize::new(0));
        let (acceptor, said, count) = (TlsAcceptor::from(config.clone()), answer.clone(), visits.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let text = said.lock().unwrap().clone();
                tokio::spawn(one_answer(acceptor.clone(), stream, text));
            }
        });
        Self { port, answer, visits, task }
    }

    pub(crate) fn serve(&self, status: u16, media_type: &str, body: &str) {
        *self.answer.lock().unwrap() = answer(status, media_type, body);
    }

    pub(crate) fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn one_answer(acceptor: TlsAcceptor, stream: TcpStream, text: String) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut request = vec![0; 4096];
    let _ = stream.read(&mut request).await;
    let path = "GET /.well-known/mta-sts.txt HTTP/1.1\r\n";
    assert!(request.starts_with(path.as_bytes()), "{}", String::from_utf8_lossy(&request));
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// An SMTP server that shows its certificate after STARTTLS.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    offers: Arc<AtomicBool>,
    visits: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl MailServer {
    pub(crate) async fn start(config: &Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (offers, visits) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (acceptor, offering, count) = (TlsAcceptor::from(config.clone()), offers.clone(), visits.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(conversation(acceptor.clone(), stream, offering.load(Ordering::SeqCst)));
            }
        });
        Self { port, offers, visits, task }
    }

    pub(crate) fn without_starttls(&self) {
        self.offers.store(false, Ordering::SeqCst);
    }

    pub(crate) fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn conversation(acceptor: TlsAcceptor, stream: TcpStream, offers: bool) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.host.test ESMTP\r\n").await.ok()?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let said: &[u8] = match line.trim_end() {
            "STARTTLS" => break,
            _ if offers => b"250-mail.host.test\r\n250-SIZE 1000\r\n250 STARTTLS\r\n",
            _ => b"250 mail.host.test\r\n",
        };
        stream.write_all(said).await.ok()?;
    }
    stream.write_all(b"220 go ahead\r\n").await.ok()?;
    let mut secured = acceptor.accept(stream.into_inner()).await.ok()?;
    let mut rest = Vec::new();
    secured.read_to_end(&mut rest).await.ok()?;
    Some(())
}
