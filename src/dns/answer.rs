//! Questions and answers.

use std::net::IpAddr;

use super::name;
use crate::crd::{DnsSource, DnsWarning};

/// A record type in a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail exchangers.
    Mx,
    /// Texts.
    Txt,
    /// Names of an address.
    Ptr,
    /// Hosts and ports of a service.
    Srv,
    /// Certificate authorities that may issue.
    Caa,
    /// Keys of a TLS server.
    Tlsa,
    /// The MTA-STS policy that the host serves over HTTPS (RFC 8461, section 3.3).
    Policy,
    /// The certificate that the host presents on port 25 (RFC 3207).
    Certificate,
    /// Whether a validating resolver confirms the MX records.
    SecureMx,
    /// Whether a validating resolver confirms the addresses.
    SecureHost,
    /// Whether a validating resolver confirms the TLSA records.
    SecureTlsa,
}

/// A question to DNS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// The name, canonical.
    pub name: String,
    /// The type.
    pub kind: Kind,
}

impl Question {
    /// A question about a name in any case, with or without the last dot.
    pub fn new(name: &str, kind: Kind) -> Self {
        Self { name: name::canonical(name), kind }
    }
}

/// One mail exchanger.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// The host, canonical; empty for the null MX (RFC 7505).
    pub exchange: String,
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    /// Lower is tried first.
    pub priority: u16,
    /// The share among records of one priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host, canonical; empty when the service is declared to be off.
    pub target: String,
}

/// One CAA record (RFC 8659).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caa {
    /// Whether an authority that does not know the tag must not issue.
    pub critical: bool,
    /// `issue`, `issuewild`, `iodef`, …, in lower case.
    pub tag: String,
    /// The value.
    pub value: Vec<u8>,
}

/// One TLSA record (RFC 6698).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tlsa {
    /// Certificate usage.
    pub usage: u8,
    /// 0: the whole certificate; 1: its key.
    pub selector: u8,
    /// 0: the bytes; 1: SHA-256; 2: SHA-512.
    pub matching: u8,
    /// What has to match.
    pub data: Vec<u8>,
}

/// What an HTTPS server sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Page {
    /// The HTTP status.
    pub status: u16,
    /// The media type without parameters, in lower case; empty when there is none.
    pub media_type: String,
    /// The start of the body, at most 64 KiB.
    pub body: Vec<u8>,
}

/// The outcome of a question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A or AAAA records.
    Addresses(Vec<IpAddr>),
    /// MX records, sorted by preference.
    Mx(Vec<Mx>),
    /// TXT records, each one's strings joined with nothing between.
    Txt(Vec<Vec<u8>>),
    /// PTR records.
    Names(Vec<String>),
    /// SRV records.
    Srv(Vec<Srv>),
    /// CAA records.
    Caa(Vec<Caa>),
    /// TLSA records.
    Tlsa(Vec<Tlsa>),
    /// What the HTTPS server sent.
    Page(Page),
    /// The certificates that a server presents, its own first, in DER.
    Certificates(Vec<Vec<u8>>),
    /// The server's certificate is not trusted, and why.
    Untrusted(String),
    /// Whether the resolver confirms the answer.
    Secure(bool),
    /// The name exists, but has no record of this type.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// The CNAME records form a loop, or there are more than 8.
    CnameLoop,
    /// No reliable answer, and why.
    Failed(String),
}

/// An answer and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What came back.
    pub outcome: Outcome,
    /// The targets of the CNAME records that were followed, in order.
    pub cnames: Vec<String>,
    /// Who answered.
    pub source: DnsSource,
    /// The servers that gave this answer, as `host (address)`.
    pub servers: Vec<String>,
    /// Other observations on the way: lame servers, a fallback.
    pub notes: Vec<DnsWarning>,
}

impl Answer {
    /// An answer without CNAME records or notes.
    pub fn new(outcome: Outcome, source: DnsSource) -> Self {
        Self { outcome, cnames: Vec::new(), source, servers: Vec::new(), notes: Vec::new() }
    }

    /// The addresses; none when there is no record.
    pub fn addresses(&self) -> &[IpAddr] {
        match &self.outcome {
            Outcome::Addresses(addresses) => addresses,
            _ => &[],
        }
    }

    /// The texts; none when there is no record.
    pub(super) fn texts(&self) -> &[Vec<u8>] {
        match &self.outcome {
            Outcome::Txt(texts) => texts,
            _ => &[],
        }
    }

    /// Why there is no answer, if there is none.
    pub fn failure(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Failed(why) => Some(why),
            _ => None,
        }
    }

    /// Whether there are records of the type.
    pub(super) fn has_records(&self) -> bool {
        !self.is_void() && !matches!(self.outcome, Outcome::CnameLoop | Outcome::Failed(_))
    }

    /// Whether DNS says that there is no such record (a void lookup of RFC 7208, section 4.6.4).
    pub(super) fn is_void(&self) -> bool {
        matches!(self.outcome, Outcome::NoData | Outcome::NxDomain)
    }
}
