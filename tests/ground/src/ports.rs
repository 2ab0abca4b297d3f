//! Free TCP ports on the loopback address.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::{Error, Result};

/// Below the ports the system hands out to outgoing connections, so that a server that was stopped finds its port
/// still free when it comes back.
const RANGE: Range<u16> = 20_000..32_000;
const TRIES: usize = 100;
/// What this process was given: whoever asked may not listen yet.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port nobody listens on, and that was not given before.
///
/// # Errors
/// When a hundred tries met none.
pub fn free_port() -> Result<u16> {
    let mut refusal = std::io::Error::other("no port was tried");
    for _ in 0..TRIES {
        let port = rand::random_range(RANGE);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) => return Ok(port),
            Ok(_) => {}
            Err(error) => refusal = error,
        }
    }
    Err(Error::system("find a free port")(refusal))
}
