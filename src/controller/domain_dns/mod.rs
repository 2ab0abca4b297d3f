//! DNS of a domain: verification of its records, and their publication.

pub(crate) mod endpoints;
pub(crate) mod publish;
pub(crate) mod published;
pub(crate) mod verification;
