//! mailcow-operator: declarative email hosting on Mailcow.

pub mod crd;
pub mod dns;
pub mod mail;
