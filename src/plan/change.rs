//! Changes as data: requests to Mailcow, one each.

use std::collections::{BTreeMap, BTreeSet};

use crate::crd::{Protocol, Sink};
use crate::mail::{
    Access, Address, Alias, Catch, Dkim, DomainName, Goto, Limits, Mailbox, Quota, RateLimit, Relay, Tls,
};

/// One request to Mailcow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Create a domain, with its DKIM key, its rate limit and the mark.
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
    /// Remove the mark from a domain.
    UnmarkDomain {
        /// Its name.
        name: DomainName,
        /// The mark's tag.
        tag: String,
    },
    /// Remove tags from a domain.
    UntagDomain {
        /// Its name.
        name: DomainName,
        /// The tags.
        tags: Vec<String>,
    },
    /// Set a domain's rate limit.
    LimitDomain {
        /// Its name.
        name: DomainName,
        /// The limit.
        rate: RateLimit,
    },
    /// Create a DKIM key if there is none.
    AddDkim {
        /// The domain.
        name: DomainName,
        /// The key.
        dkim: Dkim,
    },
    /// Delete a domain; its DKIM key stays.
    DeleteDomain(DomainName),
    /// Create a mailbox.
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
    /// Set whether a mailbox's mail must be encrypted in transit.
    EncryptMailbox {
        /// Its address.
        address: Address,
        /// The differences; `None`: unchanged.
        tls: Tls<Option<bool>>,
    },
    /// Remove marks that are tags from a mailbox.
    UnmarkMailbox {
        /// Its address.
        address: Address,
        /// The marks' tags.
        tags: Vec<String>,
    },
    /// Remove tags from a mailbox.
    UntagMailbox {
        /// Its address.
        address: Address,
        /// The tags.
        tags: Vec<String>,
    },
    /// Replace a mailbox's custom attributes.
    SetAttributes {
        /// Its address.
        address: Address,
        /// All of them.
        attributes: BTreeMap<String, String>,
    },
    /// Set a mailbox's password; the password itself is not in the plan.
    SetPassword(Address),
    /// Delete a mailbox and its mail.
    DeleteMailbox(Address),
    /// Create an alias.
    AddAlias(Alias),
    /// Change fields of an alias.
    EditAlias {
        /// Its number, as read with this address.
        id: u64,
        /// Its address.
        catch: Catch,
        /// The fields that differ.
        edit: AliasEdit,
    },
    /// Delete an alias.
    DeleteAlias {
        /// Its number, as read with this address.
        id: u64,
        /// Its address.
        catch: Catch,
    },
    /// Create an active prefilter; this deactivates every other prefilter of the mailbox.
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
    /// Activate a prefilter as it is; this deactivates every other prefilter of the mailbox.
    ActivateFilter {
        /// Its number.
        id: u64,
        /// The mailbox.
        mailbox: Address,
    },
    /// Delete a filter.
    DeleteFilter {
        /// Its number.
        id: u64,
        /// The mailbox.
        mailbox: Address,
    },
    /// Create an app password for IMAP only; the password itself is not in the plan. Mailcow's answer does not name it.
    AddAppPassword {
        /// The mailbox.
        mailbox: Address,
        /// Its name on Mailcow, which begins with our mark.
        name: String,
    },
    /// Delete an app password.
    DeleteAppPassword {
        /// Its number, as read for this mailbox.
        id: u64,
        /// The mailbox.
        mailbox: Address,
    },
}

/// Fields of a domain to set; `None`: unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DomainEdit {
    /// Its description.
    pub description: Option<String>,
    /// Whether it receives mail.
    pub active: Option<bool>,
    /// The limits that differ.
    pub limits: Limits<Option<u32>, Option<Quota>>,
    /// Whether its users find each other in the address book.
    pub address_list: Option<bool>,
    /// How its mail is relayed. Mailcow does not accept `host` for a new domain (recording `02_domain`).
    pub relay: Relay<Option<bool>, Option<u32>>,
    /// The mark to add as a tag.
    pub mark: Option<String>,
    /// Tags to add; none of them may exist yet (recording `02_domain/edit_tags_duplicate`).
    pub tags: Vec<String>,
}

/// Fields of a mailbox to set; `None`: unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailboxEdit {
    /// The user's full name.
    pub name: Option<String>,
    /// Its quota.
    pub quota: Option<Quota>,
    /// Its state.
    pub access: Option<Access>,
    /// Its protocols.
    pub protocols: Option<BTreeSet<Protocol>>,
    /// Whether the user must choose a new password.
    pub force_password_change: Option<bool>,
    /// All sender addresses. Mailcow does not accept them for a new mailbox (recording `04_mailbox`).
    pub sender_acl: Option<BTreeSet<String>>,
    /// Tags to add.
    pub tags: Vec<String>,
}

/// Fields of an alias to set; `None`: unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasEdit {
    /// Its targets.
    pub goto: Option<Goto>,
    /// The sink that stays: every edit must repeat it, otherwise nothing is saved (recording
    /// `05_alias/edit_null_alias_other_field`).
    pub kept_sink: Option<Sink>,
    /// Whether it receives mail.
    pub active: Option<bool>,
    /// Whether the groupware offers it as a sender.
    pub visible_in_sogo: Option<bool>,
    /// Whether its targets may send as it.
    pub sender_allowed: Option<bool>,
    /// The comment that the domain's users see; empty removes it.
    pub public_comment: Option<String>,
    /// The comment for administrators.
    pub private_comment: Option<String>,
}

impl Change {
    /// Whether it creates an entry that stores mail: if the entry existed before, its mail is lost.
    pub fn makes_a_store_of_mail(&self) -> bool {
        matches!(self, Self::AddDomain { .. } | Self::AddMailbox(_))
    }

    /// The fields of the spec that the change sets, for messages.
    pub fn fields(&self) -> Vec<&'static str> {
        match self {
            Self::AddDomain { .. } | Self::DeleteDomain(_) => vec!["domain"],
            Self::EditDomain { edit, .. } => edit.fields(),
            Self::UnmarkDomain { .. } | Self::UnmarkMailbox { .. } | Self::SetAttributes { .. } => {
                vec!["ownership mark"]
            }
            Self::UntagDomain { .. } | Self::UntagMailbox { .. } => vec!["tags"],
            Self::EncryptMailbox { tls, .. } => named(&[
                (tls.incoming.is_some(), "tls.enforceIncoming"),
                (tls.outgoing.is_some(), "tls.enforceOutgoing"),
            ]),
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
            Self::AddAppPassword { .. } | Self::DeleteAppPassword { .. } => vec!["app password"],
        }
    }
}

/// The names of the fields that are set.
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
            (self.address_list.is_some(), "globalAddressList"),
            (self.relay.backup_mx.is_some(), "relay.backupMx"),
            (self.relay.all_recipients.is_some(), "relay.allRecipients"),
            (self.relay.unknown_only.is_some(), "relay.unknownOnly"),
            (self.relay.host.is_some(), "relay.host"),
            (!self.tags.is_empty(), "tags"),
            (self.mark.is_some(), "ownership mark"),
        ])
    }
}

impl MailboxEdit {
    fn fields(&self) -> Vec<&'static str> {
        named(&[
            (self.name.is_some(), "displayName"),
            (self.quota.is_some(), "quota"),
            (self.access.is_some(), "state"),
            (self.protocols.is_some(), "protocols"),
            (self.force_password_change.is_some(), "forcePasswordChange"),
            (self.sender_acl.is_some(), "senderAcl"),
            (!self.tags.is_empty(), "tags"),
        ])
    }
}

impl AliasEdit {
    fn fields(&self) -> Vec<&'static str> {
        named(&[
            (self.goto.is_some(), "goto"),
            (self.active.is_some(), "active"),
            (self.visible_in_sogo.is_some(), "visibleInSogo"),
            (self.sender_allowed.is_some(), "senderAllowed"),
            (self.public_comment.is_some(), "publicComment"),
            (self.private_comment.is_some(), "ownership mark"),
        ])
    }
}

/// `Some(want)` when it is managed and differs.
pub(super) fn differs<T: PartialEq + Clone>(want: Option<&T>, have: &T) -> Option<T> {
    want.filter(|want| *want != have).cloned()
}
