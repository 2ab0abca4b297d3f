//! A sink of task delivery: an HTTP server that takes requests, and does with each what a test wants: answer, answer late,
//! hang, break the connection after it took the message.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::{Error, Result};

/// A request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST` or `PUT`.
    pub method: String,
    /// Header fields; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// When it came.
    pub at: Instant,
    /// Whether the sink made a task of it, had there been none with this id.
    pub taken: bool,
}

impl Received {
    /// The id of the webhook.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// A header field; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The subject of a webhook's mail; empty if there is none.
    pub fn subject(&self) -> String {
        self.json()["Subject"].as_str().unwrap_or_default().to_owned()
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Take it and answer with this status.
    Take(u16),
    /// Take it, and answer after this time.
    TakeLate(Duration),
    /// Take it, and break the connection without an answer.
    TakeAndCut,
    /// Take it, and answer with bytes that are no HTTP.
    TakeAndBabble,
    /// Answer with this status and header fields; take nothing.
    Refuse(u16, &'static str),
    /// Break the connection; take nothing.
    Cut,
    /// Answer nothing; take nothing.
    Hang,
}

/// Decides by a request and the number of requests with its id before it.
type Judge = dyn Fn(&Received, usize) -> Deed + Send + Sync;

/// A running sink.
pub struct HttpSink {
    /// Its port on 127.0.0.1.
    pub port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    judge: Arc<Mutex<Arc<Judge>>>,
    is_brief: Arc<AtomicBool>,
    task: AbortHandle,
}

impl HttpSink {
    /// Starts one that takes everything.
    ///
    /// # Errors
    /// When it can't listen.
    pub async fn start() -> Result<Self> {
        let bound = TcpListener::bind("127.0.0.1:0").await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        let (port, listener) = bound.map_err(Error::system("listen"))?;
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let judge: Arc<Mutex<Arc<Judge>>> = Arc::new(Mutex::new(Arc::new(|_: &Received, _| Deed::Take(200))));
        let is_brief = Arc::new(AtomicBool::new(false));
        let task = accept(listener, &received, &judge, &is_brief);
        Ok(Self { port, received, judge, is_brief, task })
    }

    /// Keeps only the mailbox and the subject of each request from now on: a campaign has many.
    pub fn keep_little(&self) {
        self.is_brief.store(true, Ordering::Relaxed);
    }

    /// Ends at once, in the middle of whatever it does, is away for a while, and knows what it took.
    pub async fn crash(&mut self, away: Duration) {
        self.task.abort();
        tokio::time::sleep(away).await;
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.task = accept(listener, &self.received, &self.judge, &self.is_brief);
    }

    /// From now on requests are judged by this: the request, and how many with its id came before.
    pub fn judge(&self, judge: impl Fn(&Received, usize) -> Deed + Send + Sync + 'static) {
        *self.judge.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(judge);
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests so far, without copying them.
    pub fn count(&self) -> usize {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// From now on it answers with this status, and takes nothing unless it is a success.
    pub fn answer(&self, status: u16) {
        self.judge(
            move |_, _| if (200..300).contains(&status) { Deed::Take(status) } else { Deed::Refuse(status, "") },
        );
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }
}

impl Drop for HttpSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn accept(
    listener: TcpListener,
    received: &Arc<Mutex<Vec<Received>>>,
    judge: &Arc<Mutex<Arc<Judge>>>,
    is_brief: &Arc<AtomicBool>,
) -> AbortHandle {
    let (known, deeds, is_brief) = (Arc::clone(received), Arc::clone(judge), Arc::clone(is_brief));
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let is_brief = is_brief.load(Ordering::Relaxed);
            connections.spawn(serve(stream, Arc::clone(&known), Arc::clone(&deeds), is_brief));
        }
    });
    task.abort_handle()
}

async fn serve(stream: TcpStream, known: Arc<Mutex<Vec<Received>>>, judge: Arc<Mutex<Arc<Judge>>>, is_brief: bool) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(mut received) = request(&mut stream).await {
        let before = known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|other| other.id() == received.id())
            .count();
        let deed = {
            let judge = Arc::clone(&judge.lock().unwrap_or_else(PoisonError::into_inner));
            judge(&received, before)
        };
        received.taken = match deed {
            Deed::Take(status) => (200..300).contains(&status),
            Deed::TakeLate(_) | Deed::TakeAndCut | Deed::TakeAndBabble => true,
            Deed::Refuse(..) | Deed::Cut | Deed::Hang => false,
        };
        if is_brief {
            let json = received.json();
            let brief = serde_json::json!({
                "Subject": json["Subject"], "Kubernetes": {"mailbox": json["Kubernetes"]["mailbox"]}
            });
            received.body = brief.to_string().into_bytes();
        }
        known.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        let answer = match deed {
            Deed::Take(status) => format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n"),
            Deed::TakeLate(wait) => {
                tokio::time::sleep(wait).await;
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned()
            }
            Deed::TakeAndBabble => "this is no HTTP at all\r\n\r\n".to_owned(),
            Deed::Refuse(status, headers) => {
                format!("HTTP/1.1 {status} x\r\n{headers}content-length: 2\r\n\r\nno")
            }
            Deed::TakeAndCut | Deed::Cut => return,
            Deed::Hang => {
                tokio::time::sleep(Duration::from_mins(10)).await;
                return;
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|count| *count > 0)?;
    let mut words = line.split(' ');
    let method = words.next()?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { method, headers, body, at: Instant::now(), taken: false })
}
