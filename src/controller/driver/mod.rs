//! The parts of every driver: queue, context, and shared steps.

pub(crate) mod action;
pub(crate) mod address_claims;
pub(crate) mod addresses;
pub(crate) mod backoff;
pub(crate) mod context;
pub(crate) mod converge;
pub(crate) mod drift;
pub(crate) mod forget;
pub(crate) mod guest_limits;
pub(crate) mod holdings;
pub(crate) mod index;
mod indexed;
pub(crate) mod measure;
pub(crate) mod named;
pub(crate) mod on_server;
mod packed;
pub(crate) mod policies;
pub(crate) mod queue;
pub(crate) mod rebuilds;
pub(crate) mod recreation;
pub(crate) mod references;
pub(crate) mod refers;
pub(crate) mod requests;
pub(crate) mod slots;
pub(crate) mod subaddress;
