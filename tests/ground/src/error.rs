//! What can go wrong on the test ground, said so that a failed test explains itself.

use std::time::Duration;

/// Shorthand for results of the test ground.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the ground itself, not of what is tested on it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("could not {action}: {source}")]
    System {
        /// What was tried, as a verb phrase.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A command ended with a failure.
    #[error("{command} failed:\n{output}")]
    Command {
        /// The command as it was called.
        command: String,
        /// What it wrote to standard error.
        output: String,
    },
    /// A server of the control plane ended by itself.
    #[error("{component} ended while it was needed; the end of its log:\n{log}")]
    Ended {
        /// The server's name.
        component: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// Something did not happen in time.
    #[error("waited {limit:?} for {what}; last seen: {last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
        /// What the last attempt saw.
        last: String,
    },
    /// The API server or the client refused.
    #[error("could not {action}: {message}")]
    Kubernetes {
        /// What was tried, as a verb phrase.
        action: String,
        /// The refusal.
        message: String,
    },
    /// A text was not what it should be.
    #[error("could not read {what}: {message}")]
    Unreadable {
        /// The text.
        what: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    /// For `map_err` on system calls: `.map_err(Error::system("open the log"))`.
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::System { action: action.into(), source }
    }

    /// For `map_err` on calls of the Kubernetes client.
    pub(crate) fn kubernetes<E: std::fmt::Display>(action: impl Into<String>) -> impl FnOnce(E) -> Self {
        |error| Self::Kubernetes { action: action.into(), message: error.to_string() }
    }
}
