//! A DNS server for tests and the demo: zones come from the test and change while it runs, and it can be told to
//! misbehave.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use nameserver::{Fault, RecordType, Server};
//!
//! let server = Server::start("127.0.0.2:0".parse()?).await?;
//! server.set_zone("example.test", "@ MX 10 mail\nmail A 192.0.2.1")?;
//! server.fault("mail.example.test", Some(RecordType::AAAA), Fault::ServFail);
//! println!("listening on {} (UDP and TCP)", server.address());
//! # Ok(())
//! # }
//! ```
//!
//! A server is an authority for its zones (AA=1, referrals at delegations, SOA beside negative answers, wildcards).
//! [`Server::start_recursive`] makes one that answers as a resolver does: AA=0, RA=1, aliases followed across its
//! zones.

mod fault;
mod server;
mod wire;
mod zone;

pub use fault::Fault;
pub use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
pub use server::{Seen, Server};
pub use zone::{BadZone, name};
