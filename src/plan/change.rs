//! Changes as data: what is to be asked of Mailcow, one request each.

use std::collections::BTreeMap;

use crate::mail::{Access, Address, Alias, Dkim, DomainName, Limits, Mailbox, Quota, RateLimit};

/// One request to Mailcow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make a domain, with its DKIM key, its rate limit and the mark.
    AddDomain {
        /// Its name.
        name: DomainName,
        /// Everything else; every limit is always sent (the server's template would fill in others).
        edit: DomainEdit,
        /// Its DKIM key.
        dkim: Dkim,
        /// Its rate limit.
        rate: Option<RateLimit>,
    },
    /// Change fields of a domain. Costs a rebuild of the groupware's view: never without a difference.
    EditDomain {
        /// Its name.
        name: DomainName,
        /// The fields that differ.
        edit: DomainEdit,
    },
    /// Take a tag off a domain.
    UntagDomain {
        /// Its name.
        name: DomainName,
        /// The tag.
        tag: String,
    },
    /// Set a domain's rate limit.
    LimitDomain {
        /// Its name.
        name: DomainName,
        /// The limit.
        rate: RateLimit,
    },
    /// Make a DKIM key where there is none.
    AddDkim {
        /// The domain.
        name: DomainName,
        /// The key.
        dkim: Dkim,
    },
    /// Remove a domain; its DKIM key stays.
    DeleteDomain(DomainName),
    /// Make a mailbox.
    AddMailbox(Mailbox),
    /// Change fields of a mailbox.
    EditMailbox {
        /// Its address.
        address: Address,
        /// The fields that differ.
        edit: MailboxEdit,
    },
    /// Set a mailbox's own rate limit.
    LimitMailbox {
        /// Its address.
        address: Address,
        /// The limit.
        rate: RateLimit,
    },
    /// Replace a mailbox's custom attributes.
    SetAttributes {
        /// Its address.
        address: Address,
        /// All of them.
        attributes: BTreeMap<String, String>,
    },
    /// Set a mailbox's password; the password itself travels beside the plan.
    SetPassword(Address),
    /// Remove a mailbox and the mail in it.
    DeleteMailbox(Address),
    /// Make an alias.
    AddAlias(Alias),
    /// Change fields of an alias.
    EditAlias {
        /// Its number.
        id: u64,
        /// The fields that differ.
        edit: AliasEdit,
    },
    /// Remove an alias.
    DeleteAlias {
        /// Its number.
        id: u64,
    },
    /// Make an active prefilter; this switches every other prefilter of the mailbox off.
    AddFilter {
        /// The mailbox.
        mailbox: Address,
        /// The script.
        script: String,
        /// Its description.
        description: String,
    },
    /// Change a prefilter's script and activate it.
    EditFilter {
        /// Its number.
        id: u64,
        /// The mailbox.
        mailbox: Address,
        /// The script.
        script: String,
        /// Its description.
        description: String,
    },
    /// Activate a prefilter as it is; this switches every other prefilter of the mailbox off.
    ActivateFilter {
        /// Its number.
        id: u64,
        /// The mailbox.
        mailbox: Address,
    },
    /// Remove a filter.
    DeleteFilter {
        /// Its number.
        id: u64,
        /// The mailbox.
        mailbox: Address,
    },
}

/// Fields of a domain to set; `None` is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainEdit {
    /// Text for people.
    pub description: Option<String>,
    /// Whether it takes mail.
    pub active: Option<bool>,
    /// The limits that differ.
    pub limits: Limits<Option<u32>, Option<Quota>>,
    /// A tag to add; it must not be there yet (recording `02_domain/edit_tags_duplicate`).
    pub tag: Option<String>,
}

/// Fields of a mailbox to set; `None` is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxEdit {
    /// The name that people see.
    pub name: Option<String>,
    /// How much it may hold.
    pub quota: Option<Quota>,
    /// Who gets in.
    pub access: Option<Access>,
}

/// Fields of an alias to set; `None` is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasEdit {
    /// Where its mail goes.
    pub goto: Option<Vec<Address>>,
    /// Whether it takes mail.
    pub active: Option<bool>,
    /// The comment for administrators.
    pub private_comment: Option<String>,
}

impl Change {
    /// The fields of the spec that the change sets, for people.
    pub fn fields(&self) -> Vec<&'static str> {
        match self {
            Self::AddDomain { .. } | Self::DeleteDomain(_) => vec!["domain"],
            Self::EditDomain { edit, .. } => edit.fields(),
            Self::UntagDomain { .. } | Self::SetAttributes { .. } => vec!["ownership mark"],
            Self::LimitDomain { .. } | Self::LimitMailbox { .. } => vec!["rateLimit"],
            Self::AddDkim { .. } => vec!["dkim"],
            Self::AddMailbox(_) | Self::DeleteMailbox(_) => vec!["localPart"],
            Self::EditMailbox { edit, .. } => edit.fields(),
            Self::SetPassword(_) => vec!["password"],
            Self::AddAlias(_) | Self::DeleteAlias { .. } => vec!["address"],
            Self::EditAlias { edit, .. } => edit.fields(),
            Self::AddFilter { .. }
            | Self::EditFilter { .. }
            | Self::ActivateFilter { .. }
            | Self::DeleteFilter { .. } => vec!["script"],
        }
    }
}

/// The names of those that are there.
fn named(fields: &[(bool, &'static str)]) -> Vec<&'static str> {
    fields.iter().filter(|(there, _)| *there).map(|(_, name)| *name).collect()
}

impl DomainEdit {
    fn fields(&self) -> Vec<&'static str> {
        named(&[
            (self.description.is_some(), "description"),
            (self.active.is_some(), "active"),
            (self.limits.mailboxes.is_some(), "limits.mailboxes"),
            (self.limits.aliases.is_some(), "limits.aliases"),
            (self.limits.default_quota.is_some(), "mailboxDefaults.quota"),
            (self.limits.mailbox_quota.is_some(), "limits.mailboxQuota"),
            (self.limits.total_quota.is_some(), "limits.totalQuota"),
            (self.tag.is_some(), "ownership mark"),
        ])
    }
}

impl MailboxEdit {
    fn fields(&self) -> Vec<&'static str> {
        named(&[
            (self.name.is_some(), "displayName"),
            (self.quota.is_some(), "quota"),
            (self.access.is_some(), "state"),
        ])
    }
}

impl AliasEdit {
    fn fields(&self) -> Vec<&'static str> {
        named(&[
            (self.goto.is_some(), "goto"),
            (self.active.is_some(), "active"),
            (self.private_comment.is_some(), "ownership mark"),
        ])
    }
}

/// `Some(want)` when it is managed and differs.
pub(super) fn differs<T: PartialEq + Clone>(want: Option<&T>, have: &T) -> Option<T> {
    want.filter(|want| *want != have).cloned()
}
