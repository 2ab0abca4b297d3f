//! From a zone's answer to bytes.

use hickory_proto::op::{Message, MessageType, ResponseCode};

use crate::zone::Reply;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In a datagram.
    Udp,
    /// On a connection.
    Tcp,
}

/// Puts a response together.
pub(crate) fn response(request: &Message, reply: Reply, recursive: bool) -> Message {
    let mut message = Message::response(request.metadata.id, request.metadata.op_code);
    message.metadata.recursion_desired = request.metadata.recursion_desired;
    message.metadata.recursion_available = recursive;
    message.metadata.authoritative = reply.authoritative && !recursive;
    message.metadata.response_code = reply.code;
    message.add_queries(request.queries.clone());
    message.add_answers(reply.answers);
    message.add_authorities(reply.authorities);
    message.add_additionals(reply.additionals);
    if let Some(edns) = &request.edns {
        let mut own = hickory_proto::op::Edns::new();
        own.set_max_payload(1232).set_version(edns.version());
        message.set_edns(own);
    }
    message
}

/// Encodes a response, truncated when it does not fit.
pub(crate) fn encode(message: &Message, request: &Message, transport: Transport) -> Vec<u8> {
    let limit = match transport {
        Transport::Udp => usize::from(request.edns.as_ref().map_or(512, |edns| edns.max_payload().clamp(512, 1232))),
        Transport::Tcp => usize::from(u16::MAX),
    };
    match message.to_vec() {
        Ok(bytes) if bytes.len() <= limit => bytes,
        Ok(_) if transport == Transport::Udp => truncated(message).to_vec().unwrap_or_default(),
        _ => {
            let mut failed = truncated(message);
            failed.metadata.truncation = false;
            failed.metadata.response_code = ResponseCode::ServFail;
            failed.to_vec().unwrap_or_default()
        }
    }
}

/// The same response with no records and TC=1.
pub(crate) fn truncated(message: &Message) -> Message {
    let mut short = message.clone();
    short.answers.clear();
    short.authorities.clear();
    short.additionals.clear();
    short.metadata.truncation = true;
    short
}

/// Reads a question; anything else is not answered.
pub(crate) fn request(bytes: &[u8]) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    (message.metadata.message_type == MessageType::Query && message.queries.len() == 1).then_some(message)
}
