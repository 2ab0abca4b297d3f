//! Publishing of records: as endpoints of external-dns, zone lines, Terraform, a table, or JSON.
//!
//! ```text
//! [Expected] ──endpoints──▶ [Endpoint] ──decide(current answers)──▶ publish, or hold back and say why
//!            ──zone, terraform, table, json──▶ text
//! ```

mod decide;
mod endpoint;
mod text;
mod zone;

pub use decide::{Decision, Published, decide, questions};
pub use endpoint::{Endpoint, Purpose, purposes};
pub use text::{json, table, terraform};
pub use zone::zone;
