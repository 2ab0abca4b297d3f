//! A script as a value: what the compiler builds and the printer writes.

/// The result of one rule: a test and what happens when it is true.
pub(super) struct Block {
    /// A comment for readers of the script.
    pub(super) comment: String,
    /// When it applies.
    pub(super) test: Test,
    /// What happens, in order.
    pub(super) commands: Vec<Command>,
}

/// A command of the subset.
pub(super) enum Command {
    /// `redirect`, which removes the mail from the inbox unless it is a copy.
    Redirect {
        /// The address.
        to: String,
        /// `:copy`
        copy: bool,
    },
    /// `fileinto :create`, which removes the mail from the inbox unless it is a copy.
    FileInto {
        /// The folder.
        folder: String,
        /// `:copy`
        copy: bool,
    },
    /// `discard`
    Discard,
    /// `discard` unless the test is true.
    DiscardUnless(Test),
    /// `stop`
    Stop,
}

/// A test of the subset.
pub(super) enum Test {
    /// `true`
    True,
    /// `not`
    Not(Box<Self>),
    /// `allof`; at least two.
    All(Vec<Self>),
    /// `anyof`; at least two.
    Any(Vec<Self>),
    /// `exists`
    Exists(String),
    /// `size :over`, in KiB.
    Over(u64),
    /// `size :under`, in KiB.
    Under(u64),
    /// A comparison of texts.
    Compare {
        /// What is compared.
        what: What,
        /// The match type.
        how: How,
        /// What it is compared with; at least one.
        keys: Vec<String>,
    },
}

/// The part of a message that a comparison uses.
pub(super) enum What {
    /// `header`
    Header(String),
    /// `header :index 1`
    FirstHeader(&'static str),
    /// `address`
    Address(Slice, &'static str),
    /// `envelope`
    Envelope(Slice, &'static str),
}

/// Part of an address.
#[derive(Clone, Copy)]
pub(super) enum Slice {
    /// `:all`
    All,
    /// `:domain`
    Domain,
}

/// A match type.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// `:is`
    Is,
    /// `:contains`
    Contains,
    /// `:matches`
    Matches,
    /// `:regex`
    Regex,
}
