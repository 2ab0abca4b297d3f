//! Desired × observed → changes. Only decisions: no waiting, no I/O, no clock.
//!
//! A plan is empty when Mailcow already shows what is wanted. After executing one, the same function is asked again
//! about what was read back: what it still wants then is what Mailcow did not apply.

mod alias;
mod app_password;
mod change;
mod domain;
mod filter;
mod mailbox;
mod ownership;
mod vanished;

pub use alias::{alias, alias_removal};
pub use app_password::{AppPasswordPlan, app_password, app_password_name, unneeded_app_passwords};
pub use change::{AliasEdit, Change, DomainEdit, MailboxEdit};
pub use domain::{dkim_agrees, domain, domain_removal};
pub use filter::{filter, filter_removal, filter_was_changed};
pub use mailbox::{mailbox, mailbox_removal, stuck_entries, stuck_senders};
pub use ownership::{Claim, Refusal, claim, refuse_if_owner_exists};
pub use vanished::{DomainCounts, Held, Vanished};

use crate::outcome::Outcome;

/// The changes for a removal, or an outcome that must come first.
pub type Removal = Result<Vec<Change>, Outcome>;
