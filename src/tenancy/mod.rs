//! Who may do what where several share an installation: which namespace may attach to a domain, who of several that
//! claim a domain has it, which policies hold where a spec says none, which namespace gets a mailbox by itself. Deciding
//! only.

mod admission;
mod claim;
mod local_part;
mod policy;
mod provision;
mod provisioned;

pub use admission::admits;
pub use claim::{Claim, KEPT, Standing, WaitsFor, standing};
pub use local_part::{Reserved, asked};
pub use policy::{Annotated, Defaults, Given, policies};
pub use provision::{Decision, Facts, Step, decide};
pub use provisioned::{Entitlement, Provisioned, asks_for, entitlement, is_placed, name as provisioned_name};
