//! An HTTP server that takes webhooks, and does with each request what a test wants: answer, answer late, hang, break
//! the connection after it took the message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// `POST` or `PUT`.
    pub(crate) method: String,
    /// Header fields; names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// When it came.
    pub(crate) at: Instant,
    /// Whether the sink made a task of it, had there been none with this id.
    pub(crate) taken: bool,
}

impl Received {
    /// The id of the webhook.
    pub(crate) fn id(&self) -> &str {
        self.headers.get("webhook-id").map(String::as_str).unwrap_or_default()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The subject.
    pub(crate) fn subject(&self) -> String {
        self.json()["Subject"].as_str().unwrap().to_owned()
    }
}

/// What to do with a request.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
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

type Judge = dyn Fn(&Received, usize) -> Deed + Send + Sync;

/// A running sink.
pub(crate) struct HttpSink {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    judge: Arc<Mutex<Arc<Judge>>>,
    task: AbortHandle,
}

impl HttpSink {
    /// Starts one that takes everything.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let judge: Arc<Mutex<Arc<Judge>>> = Arc::new(Mutex::new(Arc::new(|_: &Received, _| Deed::Take(200))));
        let (known, deeds) = (Arc::clone(&received), Arc::clone(&judge));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                connections.spawn(serve(stream, Arc::clone(&known), Arc::clone(&deeds)));
            }
        });
        Self { port, received, judge, task: task.abort_handle() }
    }

    /// From now on requests are judged by this: the request, and how many with its id came before.
    pub(crate) fn judge(&self, judge: impl Fn(&Received, usize) -> Deed + Send + Sync + 'static) {
        *self.judge.lock().unwrap() = Arc::new(judge);
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Requests so far, without copying them.
    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }
}

impl Drop for HttpSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, known: Arc<Mutex<Vec<Received>>>, judge: Arc<Mutex<Arc<Judge>>>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(mut received) = request(&mut stream).await {
        let before = known.lock().unwrap().iter().filter(|other| other.id() == received.id()).count();
        let deed = {
            let judge = Arc::clone(&judge.lock().unwrap());
            judge(&received, before)
        };
        received.taken = match deed {
            Deed::Take(status) => (200..300).contains(&status),
            Deed::TakeLate(_) | Deed::TakeAndCut | Deed::TakeAndBabble => true,
            Deed::Refuse(..) | Deed::Cut | Deed::Hang => false,
        };
        known.lock().unwrap().push(received);
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
