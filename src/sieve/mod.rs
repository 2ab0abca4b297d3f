//! Rules of one mailbox → its script (RFC 5228), in the part of Sieve that both Mailcow's check and Dovecot take.

mod compile;
mod print;
mod script;
mod shadow;
mod translate;

pub use compile::{Compiled, MOST_TARGETS, Placed, Script, compile, holds};
