//! The DNS of the test ground: a resolver and an authority that know the same zones.

use std::net::{Ipv4Addr, SocketAddr};

use nameserver::Server;

use crate::{Error, Result};

/// Host name of the mail server in every world.
pub const MAIL_HOST: &str = "mail.host.test";

/// A resolver and the authority it points to; both end when this is dropped.
#[derive(Debug)]
pub struct Dns {
    /// What the operator is given as its resolver.
    pub resolver: Server,
    /// The zones' own server.
    pub authority: Server,
}

impl Dns {
    /// Starts both, with the mail host's own zone.
    ///
    /// # Errors
    /// When loopback addresses can't be bound.
    pub async fn start() -> Result<Self> {
        let bind = |last: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        let resolver = Server::start_recursive(bind(1)).await.map_err(Error::system("start a resolver"))?;
        let authority = Server::start(bind(2)).await.map_err(Error::system("start a name server"))?;
        let dns = Self { resolver, authority };
        dns.zone("host.test", "mail A 192.0.2.1\nmail AAAA 2001:db8::1\n")?;
        dns.zone("test", "host NS ns1.host.test.\n")?;
        Ok(dns)
    }

    /// Publishes a zone: `text` in master-file form (RFC 1035, section 5), without its name servers.
    ///
    /// # Errors
    /// When the text is malformed.
    pub fn zone(&self, origin: &str, text: &str) -> Result<()> {
        let whole = format!("@ NS ns1.{origin}.\nns1 A 127.0.0.2\n{text}\n");
        for server in [&self.resolver, &self.authority] {
            let unreadable = |error: nameserver::BadZone| Error::Unreadable {
                what: format!("the zone {origin}"),
                message: error.to_string(),
            };
            server.set_zone(origin, &whole).map_err(unreadable)?;
        }
        Ok(())
    }

    /// The operator's options to ask here.
    pub fn operator_args(&self) -> Vec<String> {
        vec![
            format!("--mail-host={MAIL_HOST}"),
            format!("--dns-resolvers={}", self.resolver.address()),
            format!("--dns-authoritative-port={}", self.authority.address().port()),
            "--dns-allow-private".to_owned(),
        ]
    }
}
