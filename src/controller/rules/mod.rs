//! Rules for incoming mail: their drivers, the script of each mailbox, and the sinks of the installation.

pub(crate) mod known_links;
pub(crate) mod links;
pub(crate) mod rule;
pub(crate) mod rule_set;
pub(crate) mod scope;
pub(crate) mod script;
pub(crate) mod script_reads;
