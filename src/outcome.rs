//! What came of a step, and the closed list of reasons that conditions, events and metrics share.

/// Why a condition is as it is: one CamelCase word each.
///
/// The doc comment of each variant is the text that the documentation shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Mailcow shows what the spec asks; it was read back.
    InSync,
    /// The first reconcile of the object has not finished yet.
    Pending,
    /// No Mailcow server is configured. Everything else goes on.
    MailcowNotConfigured,
    /// `spec.server` of the domain names a server that is not configured.
    ServerNotFound,
    /// Mailcow can't be reached, is slow or answers with a server error. Nothing is deleted; it is tried again.
    MailcowUnreachable,
    /// Mailcow refuses the API key or the address that the operator calls from. It is not tried again until the key
    /// changes or a long wait has passed, since Mailcow bans addresses.
    KeyOrSourceRejected,
    /// The API key may only read.
    KeyReadOnly,
    /// Mailcow answered with something that is no answer of its API: is the URL right?
    UnexpectedAnswer,
    /// Mailcow refused the change; its reason is in the message.
    RefusedByMailcow,
    /// Mailcow's password policy refuses the password in the Secret.
    PasswordRejected,
    /// Mailcow took a field and does not show it; writing has stopped.
    FieldNotApplied,
    /// The server's version of Mailcow does not have a field that the spec asks for.
    FieldNotSupported,
    /// Mailcow was changed by hand and `driftPolicy: Report` leaves it so.
    Drifted,
    /// Much of what the server held is gone from it at once; nothing is made again, empty, before a person looked.
    VanishedFromMailcow,
    /// An identity provider checks the mailbox's password; it is not written.
    PasswordManagedElsewhere,
    /// Mailcow has another DKIM key than `spec.dkim` asks for; an existing key is never replaced.
    DkimKeyDiffers,
    /// The thing on Mailcow carries another owner's mark.
    OwnedByAnother,
    /// The thing exists on Mailcow and `adoptionPolicy: Never` forbids to take it.
    NotAdopted,
    /// Another object claims the same name or address, or mail would loop with other aliases or rules.
    Conflict,
    /// The referenced `EmailDomain` does not exist.
    DomainNotFound,
    /// No `EmailDomain` of that name in another namespace lets this one attach to it.
    NamespaceNotAllowed,
    /// The referenced `EmailDomain` is not on Mailcow yet.
    DomainNotReady,
    /// A referenced `EmailMailbox` does not exist.
    MailboxNotFound,
    /// A referenced `EmailMailbox` is not on Mailcow yet.
    MailboxNotReady,
    /// An entry of `senderAcl` is no mailbox, alias or domain on Mailcow yet.
    SenderNotFound,
    /// The mailbox was renamed in Mailcow.
    MailboxRenamed,
    /// The Secret does not exist.
    SecretNotFound,
    /// The Secret lacks the key, or the key is empty or no text.
    SecretKeyInvalid,
    /// A Secret of the generated name exists and was not made by the operator.
    SecretNotOurs,
    /// A value in the spec can't be used; the message names the field.
    InvalidSpec,
    /// Deleting would destroy mail; the annotation `email.askrobots.com/confirm-delete` is needed.
    ConfirmationNeeded,
    /// A system mailbox is never deleted on Mailcow.
    SystemMailbox,
    /// The domain can't be deleted while it holds mailboxes.
    DomainNotEmpty,
    /// The annotation `email.askrobots.com/paused` stops all writes.
    Paused,
    /// The mailbox has an active filter that a person made; it is not replaced.
    FilterSlotTaken,
    /// The mailbox's script has no room for the rule: it is at most 65,535 bytes, and sends one message to at
    /// most 99 addresses and folders.
    DoesNotFit,
    /// The installation has no sink of the name.
    SinkNotFound,
    /// The sink is not for rules of this namespace.
    SinkNotAllowed,
    /// The domain has no managed mailbox yet.
    NoMailbox,
    /// What the spec asks for is off in this installation, by its feature gate or for this namespace.
    FeatureDisabled,
    /// The local part is reserved for the namespace of the domain.
    AddressReserved,
    /// The mailbox is nearly full; soon it takes no more mail.
    QuotaNearlyFull,
    /// The rule is switched off.
    Disabled,
    /// Every reference was found.
    ResolvedRefs,
    /// The rule is valid.
    Accepted,
    /// The rule is in the mailbox's script on Mailcow.
    Programmed,
    /// Every required DNS record is as it should be.
    Verified,
    /// A required DNS record is not as it should be; the message names it.
    NotVerified,
    /// No DNS answer could be trusted lately.
    CheckFailing,
    /// The ownership of the domain is not proven by its TXT record; nothing is written to Mailcow.
    OwnershipNotVerified,
    /// `spec.dns.gate` waits until DNS is verified.
    DnsNotVerified,
    /// The records are handed on as `spec.dns.publish` asks.
    Published,
    /// Some records are not published, because DNS holds others; the message names them.
    HeldBack,
    /// `DNSEndpoint` of external-dns is not installed.
    DnsEndpointNotInstalled,
    /// The operator may not write what `spec.dns.publish` asks for.
    PublishingNotAllowed,
    /// An object of the name that records would be published under exists and is not ours.
    PublishedNameTaken,
    /// Every entitled namespace has its mailbox.
    Provisioned,
    /// Some entitled namespaces get no mailbox; the status names them and says why.
    NotAllProvisioned,
    /// The operator looks at listed namespaces only, or may not read namespaces: it is not known who is entitled.
    NamespacesNotReadable,
    /// The Kubernetes API failed; it is tried again.
    KubernetesApiError,
    /// Kubernetes refuses what the operator writes: a quota, an admission policy or a missing right; the message has its
    /// words. It is tried again with back-off.
    RefusedByKubernetes,
}

impl Reason {
    /// Every reason.
    pub(crate) const ALL: [Self; 61] = [
        Self::InSync,
        Self::Pending,
        Self::MailcowNotConfigured,
        Self::ServerNotFound,
        Self::MailcowUnreachable,
        Self::KeyOrSourceRejected,
        Self::KeyReadOnly,
        Self::UnexpectedAnswer,
        Self::RefusedByMailcow,
        Self::PasswordRejected,
        Self::FieldNotApplied,
        Self::FieldNotSupported,
        Self::Drifted,
        Self::VanishedFromMailcow,
        Self::PasswordManagedElsewhere,
        Self::DkimKeyDiffers,
        Self::OwnedByAnother,
        Self::NotAdopted,
        Self::Conflict,
        Self::DomainNotFound,
        Self::NamespaceNotAllowed,
        Self::DomainNotReady,
        Self::MailboxNotFound,
        Self::MailboxNotReady,
        Self::SenderNotFound,
        Self::MailboxRenamed,
        Self::SecretNotFound,
        Self::SecretKeyInvalid,
        Self::SecretNotOurs,
        Self::InvalidSpec,
        Self::ConfirmationNeeded,
        Self::SystemMailbox,
        Self::DomainNotEmpty,
        Self::Paused,
        Self::FilterSlotTaken,
        Self::DoesNotFit,
        Self::SinkNotFound,
        Self::SinkNotAllowed,
        Self::NoMailbox,
        Self::FeatureDisabled,
        Self::Disabled,
        Self::ResolvedRefs,
        Self::Accepted,
        Self::Programmed,
        Self::Verified,
        Self::NotVerified,
        Self::CheckFailing,
        Self::OwnershipNotVerified,
        Self::DnsNotVerified,
        Self::Published,
        Self::HeldBack,
        Self::DnsEndpointNotInstalled,
        Self::PublishingNotAllowed,
        Self::PublishedNameTaken,
        Self::Provisioned,
        Self::NotAllProvisioned,
        Self::NamespacesNotReadable,
        Self::KubernetesApiError,
        Self::AddressReserved,
        Self::QuotaNearlyFull,
        Self::RefusedByKubernetes,
    ];

    /// The reason of this word, as [`Reason::as_str`] gives it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "InSync",
            Self::Pending => "Pending",
            Self::MailcowNotConfigured => "MailcowNotConfigured",
            Self::ServerNotFound => "ServerNotFound",
            Self::MailcowUnreachable => "MailcowUnreachable",
            Self::KeyOrSourceRejected => "KeyOrSourceRejected",
            Self::KeyReadOnly => "KeyReadOnly",
            Self::UnexpectedAnswer => "UnexpectedAnswer",
            Self::RefusedByMailcow => "RefusedByMailcow",
            Self::PasswordRejected => "PasswordRejected",
            Self::FieldNotApplied => "FieldNotApplied",
            Self::FieldNotSupported => "FieldNotSupported",
            Self::Drifted => "Drifted",
            Self::VanishedFromMailcow => "VanishedFromMailcow",
            Self::PasswordManagedElsewhere => "PasswordManagedElsewhere",
            Self::DkimKeyDiffers => "DkimKeyDiffers",
            Self::OwnedByAnother => "OwnedByAnother",
            Self::NotAdopted => "NotAdopted",
            Self::Conflict => "Conflict",
            Self::DomainNotFound => "DomainNotFound",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::DomainNotReady => "DomainNotReady",
            Self::MailboxNotFound => "MailboxNotFound",
            Self::MailboxNotReady => "MailboxNotReady",
            Self::SenderNotFound => "SenderNotFound",
            Self::MailboxRenamed => "MailboxRenamed",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretKeyInvalid => "SecretKeyInvalid",
            Self::SecretNotOurs => "SecretNotOurs",
            Self::InvalidSpec => "InvalidSpec",
            Self::ConfirmationNeeded => "ConfirmationNeeded",
            Self::SystemMailbox => "SystemMailbox",
            Self::DomainNotEmpty => "DomainNotEmpty",
            Self::Paused => "Paused",
            Self::FilterSlotTaken => "FilterSlotTaken",
            Self::DoesNotFit => "DoesNotFit",
            Self::AddressReserved => "AddressReserved",
            Self::QuotaNearlyFull => "QuotaNearlyFull",
            Self::SinkNotFound => "SinkNotFound",
            Self::SinkNotAllowed => "SinkNotAllowed",
            Self::NoMailbox => "NoMailbox",
            Self::FeatureDisabled => "FeatureDisabled",
            Self::Disabled => "Disabled",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Accepted => "Accepted",
            Self::Programmed => "Programmed",
            Self::Verified => "Verified",
            Self::NotVerified => "NotVerified",
            Self::CheckFailing => "CheckFailing",
            Self::OwnershipNotVerified => "OwnershipNotVerified",
            Self::DnsNotVerified => "DnsNotVerified",
            Self::Published => "Published",
            Self::HeldBack => "HeldBack",
            Self::DnsEndpointNotInstalled => "DnsEndpointNotInstalled",
            Self::PublishingNotAllowed => "PublishingNotAllowed",
            Self::PublishedNameTaken => "PublishedNameTaken",
            Self::Provisioned => "Provisioned",
            Self::NotAllProvisioned => "NotAllProvisioned",
            Self::NamespacesNotReadable => "NamespacesNotReadable",
            Self::KubernetesApiError => "KubernetesApiError",
            Self::RefusedByKubernetes => "RefusedByKubernetes",
        }
    }
}

/// Where an object stands towards Mailcow after a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Mailcow shows what the spec asks; it was read back.
    #[default]
    InSync,
    /// Something else has to come first; a watch or the next pass brings it on.
    Waiting(Why),
    /// It can't be known now; it is tried again with back-off.
    Unknown(Why),
    /// A human must act; no hot loop.
    Stalled(Why),
}

/// A reason and the same in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The word for machines.
    pub reason: Reason,
    /// The sentence for people; never holds a secret.
    pub message: String,
}

impl Why {
    /// Puts both together.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Outcome {
    /// Something else has to come first.
    pub fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self::Waiting(Why::new(reason, message))
    }

    /// A human must act.
    pub fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self::Stalled(Why::new(reason, message))
    }

    /// Why it is not in sync; `None` when it is.
    pub fn why(&self) -> Option<&Why> {
        match self {
            Self::InSync => None,
            Self::Waiting(why) | Self::Unknown(why) | Self::Stalled(why) => Some(why),
        }
    }

    /// The label that metrics use.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Waiting(_) => "waiting",
            Self::Unknown(_) => "unknown",
            Self::Stalled(_) => "stalled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_back_from_its_word() {
        let words = include_str!("outcome.rs").matches(" => \"").count();
        // The labels of outcomes are four more.
        assert_eq!(Reason::ALL.len() + 4, words);
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
    }
}
