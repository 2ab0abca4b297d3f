//! mailcow-operator: declarative email hosting on Mailcow.

pub mod crd;
pub mod mail;
pub mod mailcow;
pub mod outcome;
pub mod plan;
