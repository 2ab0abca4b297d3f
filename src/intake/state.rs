//! What to do with a message in a queue folder.

/// The most tries of a message.
pub const MOST_TRIES: u32 = 10;
