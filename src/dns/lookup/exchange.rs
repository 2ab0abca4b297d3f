//! One question to one server: UDP, then TCP when the answer is cut short (RFC 7766).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time;

/// The largest datagram to ask for, in bytes (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// Why a server gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing came in time.
    Silent,
    /// It can't be reached.
    Network,
    /// What came is no DNS message.
    Malformed,
    /// An answer that is of no use: an error code, or no authority.
    Useless(String),
}

impl Failure {
    /// The same in words.
    pub(super) fn words(&self) -> String {
        match self {
            // One word for all three: how a port behaves that someone else's record points to is confidential.
            Self::Silent | Self::Network | Self::Malformed => "does not answer".to_owned(),
            Self::Useless(what) => what.clone(),
        }
    }
}

/// How to put a question.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryOptions {
    /// RD: set for resolvers, clear for a zone's own servers.
    pub(super) recursion: bool,
    /// How long each of UDP and TCP may take.
    pub(super) timeout: Duration,
}

/// Asks one server once.
///
/// # Errors
/// When nothing usable comes back; an error code is a message, not an error.
pub(super) async fn exchange(server: SocketAddr, query: &Query, options: QueryOptions) -> Result<Message, Failure> {
    let reply = transfer(server, query, options, true).await?;
    if reply.metadata.response_code == ResponseCode::FormErr {
        return transfer(server, query, options, false).await;
    }
    Ok(reply)
}

async fn transfer(server: SocketAddr, query: &Query, options: QueryOptions, edns: bool) -> Result<Message, Failure> {
    let request = request(query, options.recursion, edns);
    let bytes = request.to_vec().map_err(|_| Failure::Malformed)?;
    let reply = within(options.timeout, over_udp(server, &bytes, &request)).await?;
    if !reply.metadata.truncation {
        return Ok(reply);
    }
    within(options.timeout, over_tcp(server, &bytes, &request)).await
}

async fn within<T>(timeout: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    time::timeout(timeout, work).await.unwrap_or(Err(Failure::Silent))
}

fn request(query: &Query, recursion: bool, edns: bool) -> Message {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = recursion;
    message.metadata.authentic_data = recursion; // asks a resolver to say whether it vouches (RFC 6840, section 5.7)
    message.add_query(query.clone());
    if edns {
        let mut options = Edns::new();
        options.set_max_payload(PAYLOAD).set_version(0);
        message.set_edns(options);
    }
    message
}

/// Whether a message answers the request; messages from others are ignored.
fn answers(reply: &Message, request: &Message) -> bool {
    let same_question = reply.queries.len() == 1
        && reply
            .queries
            .iter()
            .zip(&request.queries)
            .all(|(got, asked)| got.name.eq_ignore_root(&asked.name) && got.query_type == asked.query_type);
    let without_question = reply.queries.is_empty() && reply.metadata.response_code != ResponseCode::NoError;
    reply.metadata.id == request.metadata.id
        && reply.metadata.message_type == MessageType::Response
        && (same_question || without_question)
}

async fn over_udp(server: SocketAddr, bytes: &[u8], request: &Message) -> Result<Message, Failure> {
    let local =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)) };
    let socket = UdpSocket::bind(local).await.map_err(network)?;
    socket.connect(server).await.map_err(network)?;
    socket.send(bytes).await.map_err(network)?;
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(network)?;
        match Message::from_vec(buffer.get(..length).unwrap_or_default()) {
            Ok(reply) if answers(&reply, request) => return Ok(reply),
            Err(_) if buffer.get(..2) == bytes.get(..2) => return Err(Failure::Malformed),
            Ok(_) | Err(_) => {}
        }
    }
}

async fn over_tcp(server: SocketAddr, bytes: &[u8], request: &Message) -> Result<Message, Failure> {
    let mut stream = TcpStream::connect(server).await.map_err(network)?;
    let length = u16::try_from(bytes.len()).map_err(|_| Failure::Malformed)?;
    stream.write_all(&[&length.to_be_bytes()[..], bytes].concat()).await.map_err(network)?;
    let length = stream.read_u16().await.map_err(network)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(network)?;
    match Message::from_vec(&buffer) {
        Ok(reply) if answers(&reply, request) && !reply.metadata.truncation => Ok(reply),
        _ => Err(Failure::Malformed),
    }
}

fn network(_: io::Error) -> Failure {
    Failure::Network
}
