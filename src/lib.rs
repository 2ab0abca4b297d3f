//! mailcow-operator: declarative email hosting on Mailcow.

pub mod clock;
pub mod config;
pub mod controller;
pub mod crd;
pub mod desired;
pub mod dns;
pub mod inventory;
pub mod mail;
pub mod mailcow;
pub mod outcome;
pub mod plan;
pub mod sieve;
pub mod status;
pub mod telemetry;
