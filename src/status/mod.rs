//! Result → status. Pure: the status is a function of its last value, the result, and `now`.

mod alias;
mod conditions;
mod delivery;
mod domain;
mod domain_dns;
mod event;
mod mailbox;
mod provisioning;
mod rule;
mod script;

pub use alias::{AliasSeen, alias};
pub use conditions::{Conditioned, ReconcileRequest, is_reported, is_true, pending, ready};
pub use delivery::delivery;
pub use domain::{DomainSeen, domain, is_ours};
pub use domain_dns::{DomainDnsSeen, Publishing, domain_dns};
pub use event::{Event, Occurrence, ready_changed};
pub use mailbox::{MailboxSeen, mailbox};
pub use provisioning::Provisioning;
pub use rule::{InScript, RuleSeen, rule};
pub use script::{
    RuleVersion, ScriptSeen, SeenRule, holds, in_script, is_made_from, is_out, script, script_outcome,
    script_to_be_written,
};
