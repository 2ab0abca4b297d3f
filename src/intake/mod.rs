//! Mail → task or note, once. The worker reads queue folders by IMAP and delivers each message to its sink.

pub mod queue;
pub mod report;
pub mod sink;
pub mod state;
