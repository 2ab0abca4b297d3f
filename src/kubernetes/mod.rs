//! Kubernetes: watched stores with subscriptions, status and finalizers, events.

pub(crate) mod access;
pub(crate) mod app_passwords;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod events;
pub(crate) mod intern;
pub(crate) mod latest;
pub(crate) mod merged;
pub(crate) mod monotonic;
pub(crate) mod object;
pub(crate) mod printable;
pub(crate) mod refusal;
pub(crate) mod secret_versions;
pub(crate) mod served;
pub(crate) mod store;
pub(crate) mod stores;
pub(crate) mod writer;
