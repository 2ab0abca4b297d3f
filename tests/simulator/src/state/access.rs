//! API keys and the sessions that cookies open.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;

use crate::answer::Entry;

/// What a key or session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only.
    ReadOnly,
    /// Reads and writes.
    ReadWrite,
}

/// A row of Mailcow's table of API keys.
#[derive(Clone)]
pub struct ApiKey {
    /// The key itself.
    pub key: String,
    /// What it may do.
    pub access: Access,
    /// Addresses and networks it may come from, separated by blanks, commas or semicolons.
    pub allow_from: String,
    /// Whether the address is not looked at.
    pub skip_ip_check: bool,
    /// Whether it may be used at all.
    pub active: bool,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("access", &self.access).finish_non_exhaustive()
    }
}

impl ApiKey {
    /// A key that may come from this machine.
    pub fn new(key: &str, access: Access) -> Self {
        Self { key: key.to_owned(), access, allow_from: "127.0.0.1,::1".to_owned(), skip_ip_check: false, active: true }
    }

    /// Whether a request from that address may use it.
    pub fn allows(&self, from: IpAddr) -> bool {
        self.skip_ip_check || self.allow_from.split([' ', ',', ';', '\n']).any(|part| network_holds(part.trim(), from))
    }
}

fn network_holds(network: &str, address: IpAddr) -> bool {
    let (base, length) = network.split_once('/').unwrap_or((network, ""));
    let Ok(base) = base.parse::<IpAddr>() else { return false };
    let (base, address, width) = match (base, address) {
        (IpAddr::V4(b), IpAddr::V4(a)) => (u128::from(b.to_bits()), u128::from(a.to_bits()), 32),
        (IpAddr::V6(b), IpAddr::V6(a)) => (b.to_bits(), a.to_bits(), 128_u32),
        _ => return false,
    };
    let length = if length.is_empty() { Ok(width) } else { length.parse::<u32>() };
    let Ok(length) = length else { return false };
    let shift = width.saturating_sub(length);
    shift >= 128 || base >> shift == address >> shift
}

/// A session that a cookie names.
pub(crate) struct Session {
    pub(crate) access: Option<Access>,
    /// Entries an earlier request of this session broke off with; the next write shows them.
    pub(crate) stale: Vec<Entry>,
}

/// The sessions by cookie; the oldest go when there are too many.
#[derive(Default)]
pub(crate) struct Sessions {
    by_cookie: HashMap<String, Session>,
    order: VecDeque<String>,
}

const MAX_SESSIONS: usize = 20_000;

impl Sessions {
    pub(crate) fn open(&mut self, access: Option<Access>) -> String {
        let cookie = format!("{:032x}", rand::random::<u128>());
        self.by_cookie.insert(cookie.clone(), Session { access, stale: Vec::new() });
        self.order.push_back(cookie.clone());
        if self.order.len() > MAX_SESSIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_cookie.remove(&oldest);
        }
        cookie
    }

    pub(crate) fn get_mut(&mut self, cookie: &str) -> Option<&mut Session> {
        self.by_cookie.get_mut(cookie)
    }
}
