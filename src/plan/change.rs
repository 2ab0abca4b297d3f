//! Changes as data: what is to be asked of Mailcow, one request each.

use std::collections::{BTreeMap, BTreeSet};

use crate::crd::{Protocol, Sink};
use crate::mail::{
    Access, Address, Alias, Catch, Dkim, DomainName, Goto, Limits, Mailbox, Quota, RateLimit, Relay, Tls,
};

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
    /// Take the mark off a domain.
    UnmarkDomain {
        /// Its name.
        name: DomainName,
        /// The mark's tag.
        tag: String,
    },
    /// Take tags off a domain.
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
    /// Set whether a mailbox's mail must be encrypted on its way.
    EncryptMailbox {
        /// Its address.
        address: Address,
        /// What differs; `None` is left alone.
        tls: Tls<Option<bool>>,
    },
    /// Take the marks off a mailbox that are tags.
    UnmarkMailbox {
        /// Its address.
        address: Address,
        /// The marks' tags.
        tags: Vec<String>,
    },
    /// Take tags off a mailbox.
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
    /// Set a mailbox's password; the password itself travels beside the plan.
    SetPassword(Address),
    /// Remove a mailbox and the mail in it.
    DeleteMailbox(Address),
    /// Make an alias.
    AddAlias(Alias),
    /// Change fields of an alias.
    EditAlias {
        /// Its number, as it was seen with this address.
        id: u64,
        /// What it catches.
        catch: Catch,
        /// The fields that differ.
        edit: AliasEdit,
    },
    /// Remove an alias.
    DeleteAlias {
        /// Its number, as it was seen with this address.
        id: u64,
        /// What it catches.
        catch: Catch,
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
    /// Whether its mailboxes find each other in the address book.
    pub address_list: Option<bool>,
    /// How its mail is relayed. `host` is not taken for a new domain (recording `02_domain`).
    pub relay: Relay<Option<bool>, Option<u32>>,
    /// The mark to add as a tag.
    pub mark: Option<String>,
    /// Tags to add; none of them may be there yet (recording `02_domain/edit_tags_duplicate`).
    pub tags: Vec<String>,
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
    /// The ways in which it can be reached.
    pub protocols: Option<BTreeSet<Protocol>>,
    /// Whether its owner has to choose a new password.
    pub force_password_change: Option<bool>,
    /// All that it may send as. Not taken for a new mailbox (recording `04_mailbox`).
    pub sender_acl: Option<BTreeSet<String>>,
    /// Tags to add.
    pub tags: Vec<String>,
}

/// Fields of an alias to set; `None` is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AliasEdit {
    /// Where its mail goes.
    pub goto: Option<Goto>,
    /// The sink that it goes to and stays with: every edit has to say it again, else nothing of it is saved (recording
    /// `05_alias/edit_null_alias_other_field`).
    pub kept_sink: Option<Sink>,
    /// Whether it takes mail.
    pub active: Option<bool>,
    /// Whether the groupware offers it as a sender.
    pub visible_in_sogo: Option<bool>,
    /// Whether those it goes to may send as it.
    pub sender_allowed: Option<bool>,
    /// The comment that the domain's people see; empty takes it away.
    pub public_comment: Option<String>,
    /// The comment for administrators.
    pub private_comment: Option<String>,
}

impl Change {
    /// Whether it makes anew what holds mail: where it was there before, that mail is lost.
    pub fn makes_a_store_of_mail(&self) -> bool {
        matches!(self, Self::AddDomain { .. } | Self::AddMailbox(_))
    }

    /// The fields of the spec that the change sets, for people.
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
