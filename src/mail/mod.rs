//! The types of mail entries: one canonical type on both sides of a plan.
//!
//! A manifest and Mailcow's answer are both parsed into these types once; after that nobody compares strings.
//! `None` in a wanted value means *not managed*: it is never touched.

mod address;
mod alias;
mod app_password;
mod digest;
mod domain;
mod filter;
mod mailbox;
mod mark;
mod quota;
mod rate;
pub mod rule;
mod sink;
mod tags;
mod version;

pub use address::{Address, Catch, DomainName, InvalidAddress};
pub use alias::{Alias, AliasHave, Goto};
pub use app_password::AppPassword;
pub use digest::{cut, hex, sha256};
pub use domain::{Dkim, DkimKey, Domain, DomainHave, Limits, Relay};
pub use filter::Filter;
pub use mailbox::{Access, Login, Mailbox, MailboxHave, Tls};
pub use mark::Mark;
pub use quota::{InvalidQuota, Quota};
pub use rate::RateLimit;
pub use sink::{Authorization, Caldav, InvalidSinks, NoSink, Reach, SecretKey, Sink, SinkKind, Sinks, Webhook};
pub use tags::Tags;
pub use version::{Feature, Version};
