//! Rights between namespaces: which namespace may use a domain, who owns a domain, which policies apply, which
//! namespace gets an automatic mailbox. Only decisions.

mod admission;
mod claim;
mod entitlement;
mod limits;
mod local_part;
mod policy;
mod provision;
mod provisioned;
mod sender;

pub use admission::admits;
pub use claim::{Claim, KEPT, Standing, WaitsFor, standing, waits_for};
pub use entitlement::{Entitlement, entitlement};
pub use limits::{LimitReached, Other, alias as alias_limit, grows, lowered_rate, mailbox as mailbox_limit, rate};
pub use local_part::{Reserved, asked};
pub use policy::{Annotated, Defaults, Given, policies};
pub use provision::{Decision, Facts, Step, decide};
pub use provisioned::{Provisioned, asks_for, is_placed, name as provisioned_name};
pub use sender::{Held, Holdings, MaySend, held};
