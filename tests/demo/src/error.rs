//! Why a demo ended early.

/// A demo that ended early; the text is what the person who runs it reads.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The test ground failed.
    #[error(transparent)]
    Ground(#[from] ground::Error),
    /// Nobody reads what is told, or a port is not to be had.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// kubectl refused.
    #[error("kubectl {args} failed:\n{words}")]
    Kubectl {
        /// Its arguments.
        args: String,
        /// What it wrote.
        words: String,
    },
    /// Mailcow's API did not answer.
    #[error("the simulated Mailcow did not answer {path}: {source}")]
    Mailcow {
        /// What was asked.
        path: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// A text was not what it should be.
    #[error("can't read {what}: {why}")]
    Unreadable {
        /// The text.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The operator ended by itself.
    #[error("the operator ended ({status}); the end of its log:\n{log}")]
    Ended {
        /// How.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// Something did not come true in time.
    #[error("{what} within {seconds} s:\n{state}\n\nThe end of the operator's log:\n{log}")]
    Late {
        /// What did not.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// What was seen last.
        state: String,
        /// The last lines of the operator's log.
        log: String,
    },
    /// The operator's program is not where the build puts it.
    #[error("{path} does not exist; build it first: cargo build --workspace --bins")]
    NotBuilt {
        /// Where it should be.
        path: String,
    },
}

/// Shorthand for results of the demo.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;
