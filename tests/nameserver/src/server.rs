//! The server: two sockets on one port, and what they answer from.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{LowerName, Name, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use crate::fault::{Fault, Faults};
use crate::wire::{self, Transport};
use crate::zone::{BadZone, Reply, Zone, alias_target, name};

/// A question that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    pub kind: RecordType,
    /// Whether it came over TCP.
    pub tcp: bool,
    /// Whether recursion was desired.
    pub recursion_desired: bool,
}

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    recursive: bool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    zones: Vec<Zone>,
    signed: Vec<LowerName>,
    faults: Faults,
    seen: Vec<Seen>,
}

impl Server {
    /// Starts an authority; port 0 takes a free one, the same for UDP and TCP.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::run(address, false).await
    }

    /// Starts a server that answers as a resolver does: AA=0, RA=1, NXDOMAIN outside its zones.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn start_recursive(address: SocketAddr) -> io::Result<Self> {
        Self::run(address, true).await
    }

    async fn run(address: SocketAddr, recursive: bool) -> io::Result<Self> {
        let (udp, tcp) = bind(address).await?;
        let address = udp.local_addr()?;
        let state = Arc::new(State { recursive, inner: Mutex::default() });
        let tasks = vec![
            tokio::spawn(serve_udp(Arc::new(udp), Arc::clone(&state))),
            tokio::spawn(serve_tcp(tcp, Arc::clone(&state))),
        ];
        Ok(Self { address, state, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a zone or replaces it, from a master file.
    ///
    /// # Errors
    /// When the text is no zone.
    pub fn set_zone(&self, origin: &str, text: &str) -> Result<(), BadZone> {
        self.replace(Zone::parse(origin, text)?);
        Ok(())
    }

    /// Adds a zone or replaces it, from records.
    pub fn set_records(&self, origin: &str, records: Vec<Record>) {
        self.replace(Zone::new(origin, records));
    }

    fn replace(&self, zone: Zone) {
        let mut inner = self.state.lock();
        inner.zones.retain(|old| old.origin() != zone.origin());
        inner.zones.push(zone);
    }

    /// Vouches for the answers of a zone (AD=1) as a validating resolver does for a signed one.
    pub fn vouch_for(&self, origin: &str) {
        self.state.lock().signed.push(LowerName::from(name(origin)));
    }

    /// Forgets a zone.
    pub fn remove_zone(&self, origin: &str) {
        let origin = LowerName::from(name(origin));
        self.state.lock().zones.retain(|zone| *zone.origin() != origin);
    }

    /// Misbehaves for a name, and for one type only when it is given.
    pub fn fault(&self, at: &str, kind: Option<RecordType>, fault: Fault) {
        self.state.lock().faults.set(LowerName::from(name(at)), kind, fault);
    }

    /// Misbehaves for every question.
    pub fn fault_everywhere(&self, fault: Fault) {
        self.state.lock().faults.set_everywhere(fault);
    }

    /// Behaves again.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// The questions so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    /// How many questions of this type came for this name.
    pub fn count(&self, at: &str, kind: RecordType) -> usize {
        let wanted = name(at).to_lowercase().to_string();
        self.state.lock().seen.iter().filter(|seen| seen.kind == kind && seen.name == wanted).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    for _ in 0..16 {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if address.port() != 0 => return Err(error),
            Err(_) => {}
        }
    }
    Err(io::Error::other("no port is free for both UDP and TCP"))
}

async fn serve_udp(socket: Arc<UdpSocket>, state: Arc<State>) {
    let mut buffer = vec![0; 4096];
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let (bytes, socket, state) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&state));
        tokio::spawn(async move {
            if let Some(reply) = state.handle(&bytes, Transport::Udp).await {
                drop(socket.send_to(&reply, peer).await);
            }
        });
    }
}

async fn serve_tcp(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_connection(stream, Arc::clone(&state)));
    }
}

async fn serve_connection(mut stream: TcpStream, state: Arc<State>) {
    while let Ok(length) = stream.read_u16().await {
        let mut bytes = vec![0; usize::from(length)];
        if stream.read_exact(&mut bytes).await.is_err() {
            return;
        }
        let Some(reply) = state.handle(&bytes, Transport::Tcp).await else {
            tokio::time::sleep(Duration::from_mins(1)).await;
            return;
        };
        let mut framed = u16::try_from(reply.len()).unwrap_or_default().to_be_bytes().to_vec();
        framed.extend(reply);
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes to send back, if any.
    async fn handle(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let request = wire::request(bytes)?;
        let query = request.queries.first()?.clone();
        let (reply, fault, signed) = {
            let mut inner = self.lock();
            inner.seen.push(Seen {
                name: query.name.to_lowercase().to_string(),
                kind: query.query_type,
                tcp: transport == Transport::Tcp,
                recursion_desired: request.metadata.recursion_desired,
            });
            let fault = inner.faults.find(&LowerName::from(&query.name), query.query_type);
            let asked = LowerName::from(&query.name);
            let signed = inner.signed.iter().any(|zone| zone.zone_of(&asked));
            (inner.answer(&query.name, query.query_type, self.recursive), fault, signed)
        };
        let mut message = wire::response(&request, reply, self.recursive);
        message.metadata.authentic_data = self.recursive && signed && request.metadata.authentic_data;
        match fault {
            Some(fault) => misbehave(fault, message, &request, transport).await,
            None => Some(wire::encode(&message, &request, transport)),
        }
    }
}

impl Inner {
    fn answer(&self, asked: &Name, kind: RecordType, recursive: bool) -> Reply {
        let Some(zone) = self.zone_of(asked) else {
            return Reply::code(if recursive { ResponseCode::NXDomain } else { ResponseCode::Refused });
        };
        let mut reply = zone.answer(asked, kind);
        if !recursive {
            return reply;
        }
        for _ in 0..16 {
            let next = match reply.answers.last() {
                Some(last) if kind != RecordType::CNAME => alias_target(last),
                _ => None,
            };
            let Some((target, zone)) = next.and_then(|target| self.zone_of(&target).map(|zone| (target, zone))) else {
                break;
            };
            let more = zone.answer(&target, kind);
            reply = Reply { answers: [reply.answers, more.answers.clone()].concat(), ..more };
        }
        reply
    }

    fn zone_of(&self, asked: &Name) -> Option<&Zone> {
        let asked = LowerName::from(asked);
        let holders = self.zones.iter().filter(|zone| zone.origin().zone_of(&asked));
        holders.max_by_key(|zone| zone.origin().num_labels())
    }
}

async fn misbehave(fault: Fault, mut message: Message, request: &Message, transport: Transport) -> Option<Vec<u8>> {
    let udp = transport == Transport::Udp;
    match fault {
        Fault::Silent => return None,
        Fault::TruncateForEver if !udp => return None,
        Fault::Truncate | Fault::TruncateForEver if udp => message = wire::truncated(&message),
        Fault::Truncate | Fault::TruncateForEver => {}
        Fault::Slow(delay) => tokio::time::sleep(delay).await,
        Fault::NotAuthoritative => message.metadata.authoritative = false,
        Fault::WrongId => message.metadata.id = message.metadata.id.wrapping_add(1),
        Fault::WrongQuestion => message.queries.iter_mut().for_each(|query| query.name = name("wrong.test")),
        Fault::Garbage => {
            let id = message.metadata.id.to_be_bytes();
            return Some([&id[..], &[0xff; 7]].concat());
        }
        Fault::Wrong(records) => {
            message.metadata.response_code = ResponseCode::NoError;
            message.answers = records;
            message.authorities.clear();
        }
        Fault::ServFail | Fault::Refused => {
            message = wire::truncated(&message);
            message.metadata.truncation = false;
            message.metadata.authoritative = false;
            message.metadata.response_code =
                if matches!(fault, Fault::Refused) { ResponseCode::Refused } else { ResponseCode::ServFail };
        }
    }
    Some(wire::encode(&message, request, transport))
}
