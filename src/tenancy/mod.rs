//! Who may do what where several share an installation: which namespace may attach to a domain, who of several that
//! claim a domain has it, which policies hold where a spec says none. Deciding only.

mod admission;
mod claim;
mod policy;

pub use admission::admits;
pub use claim::{Claim, rival};
pub use policy::{Annotated, Defaults, Given, policies};
