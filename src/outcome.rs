//! Outcomes of steps, and the closed list of reasons that conditions, events and metrics share.

/// Why a condition is as it is: one CamelCase word each.
///
/// The doc comment of each variant is the text that the documentation shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Mailcow matches the spec; this was read back.
    InSync,
    /// The first reconcile of the object has not finished yet.
    Pending,
    /// No Mailcow server is configured. Everything else continues.
    MailcowNotConfigured,
    /// `spec.server` of the domain names a server that is not configured.
    ServerNotFound,
    /// Mailcow can't be reached, is slow or answers with a server error. Nothing is deleted; the operator retries.
    MailcowUnreachable,
    /// Mailcow refuses the API key or the IP address of the operator. The operator sends nothing until the key changes
    /// or a long wait has passed, because Mailcow bans addresses.
    KeyOrSourceRejected,
    /// The API key is read-only.
    KeyReadOnly,
    /// The answer is not from Mailcow's API, or not readable: check the URL.
    UnexpectedAnswer,
    /// Mailcow refused the change; its reason is in the message.
    RefusedByMailcow,
    /// Mailcow's password policy refuses the password in the Secret.
    PasswordRejected,
    /// The previous write of the object blocked Mailcow a moment ago; the next one follows in a few seconds.
    WrittenLately,
    /// Mailcow accepted a field but does not show it; writing has stopped.
    FieldNotApplied,
    /// The server's version of Mailcow does not have a field that the spec asks for.
    FieldNotSupported,
    /// Somebody changed Mailcow by hand, and `driftPolicy: Report` keeps the change.
    Drifted,
    /// Many entries vanished from the server at once; nothing is recreated until somebody confirms it.
    VanishedFromMailcow,
    /// An identity provider checks the mailbox's password; it is not written.
    PasswordManagedElsewhere,
    /// Mailcow has another DKIM key than `spec.dkim` asks for; the operator never replaces a key.
    DkimKeyDiffers,
    /// The entry on Mailcow has another owner's mark.
    OwnedByAnother,
    /// The entry exists on Mailcow, and `adoptionPolicy: Never` forbids its adoption.
    NotAdopted,
    /// Another object claims the same name or address, or the object closes a forwarding loop.
    Conflict,
    /// The referenced `EmailDomain` does not exist.
    DomainNotFound,
    /// No `EmailDomain` of that name in another namespace allows this one.
    NamespaceNotAllowed,
    /// The referenced `EmailDomain` is not on Mailcow yet.
    DomainNotReady,
    /// A referenced `EmailMailbox` does not exist.
    MailboxNotFound,
    /// A referenced `EmailMailbox` is not on Mailcow yet.
    MailboxNotReady,
    /// An entry of `senderAcl` is not a mailbox, alias or domain on Mailcow yet.
    SenderNotFound,
    /// An entry of `senderAcl` is not a domain, mailbox or alias that the mailbox's namespace owns on the server.
    SenderNotAllowed,
    /// The mailbox was renamed in Mailcow.
    MailboxRenamed,
    /// The Secret does not exist.
    SecretNotFound,
    /// The Secret does not have the key, or the key is empty or not text.
    SecretKeyInvalid,
    /// A Secret with the generated name exists, but the operator did not create it.
    SecretNotOurs,
    /// A value in the spec is invalid; the message names the field.
    InvalidSpec,
    /// The deletion would destroy mail; it needs the annotation `email.askrobots.com/confirm-delete`.
    ConfirmationNeeded,
    /// A system mailbox is never deleted on Mailcow.
    SystemMailbox,
    /// The domain can't be deleted while it has mailboxes.
    DomainNotEmpty,
    /// The annotation `email.askrobots.com/paused` stops all writes.
    Paused,
    /// The mailbox has an active filter that somebody else made; it is not replaced.
    FilterSlotTaken,
    /// The mailbox's script has no room for the rule: it is at most 65,535 bytes, and sends one message to at
    /// most 99 addresses and folders.
    DoesNotFit,
    /// The installation has no sink with this name.
    SinkNotFound,
    /// Rules of this namespace may not use the sink.
    SinkNotAllowed,
    /// Task delivery reads a mailbox by IMAP, and IMAP is off for it.
    ImapDisabled,
    /// Task delivery can't log in, because the mailbox is not active.
    MailboxInactive,
    /// The domain has no managed mailbox yet.
    NoMailbox,
    /// What the spec asks for is off in this installation, by its feature gate or for this namespace.
    FeatureDisabled,
    /// The local part is reserved for the namespace of the domain.
    AddressReserved,
    /// `allowedNamespaces.limits` or `rateLimit` of the domain is reached; the message says which limit.
    NamespaceLimitReached,
    /// The mailbox is nearly full and will soon bounce mail.
    QuotaNearlyFull,
    /// The rule is disabled.
    Disabled,
    /// Every reference exists.
    ResolvedRefs,
    /// The rule is valid.
    Accepted,
    /// The rule is in the mailbox's script on Mailcow.
    Programmed,
    /// Every required DNS record is correct.
    Verified,
    /// A required DNS record is not correct; the message names it.
    NotVerified,
    /// No reliable DNS answer lately.
    CheckFailing,
    /// The ownership of the domain is not proven by its TXT record; nothing is written to Mailcow.
    OwnershipNotVerified,
    /// `spec.dns.gate` waits until DNS is verified.
    DnsNotVerified,
    /// The records are published as `spec.dns.publish` says.
    Published,
    /// Some records are not published, because DNS has other values; the message names them.
    HeldBack,
    /// `DNSEndpoint` of external-dns is not installed.
    DnsEndpointNotInstalled,
    /// The operator may not write the objects for `spec.dns.publish`.
    PublishingNotAllowed,
    /// An object with the name for the published records exists and is not ours.
    PublishedNameTaken,
    /// Every entitled namespace has its mailbox.
    Provisioned,
    /// Some entitled namespaces get no mailbox; the status names them with the cause.
    NotAllProvisioned,
    /// The operator can't read namespaces, because of `watchNamespaces` or missing rights, so it is unknown which are
    /// entitled.
    NamespacesNotReadable,
    /// The Kubernetes API failed; the operator retries.
    KubernetesApiError,
    /// Kubernetes refuses a write of the operator, because of a quota, an admission policy or a missing right; the
    /// message has its answer. The operator retries with back-off.
    RefusedByKubernetes,
}

impl Reason {
    /// Every reason.
    pub(crate) const ALL: [Self; 66] = [
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
        Self::WrittenLately,
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
        Self::SenderNotAllowed,
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
        Self::ImapDisabled,
        Self::MailboxInactive,
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
        Self::NamespaceLimitReached,
        Self::QuotaNearlyFull,
        Self::RefusedByKubernetes,
    ];

    /// Parses a reason, as [`Reason::as_str`] writes it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The reason as text.
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
            Self::WrittenLately => "WrittenLately",
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
            Self::SenderNotAllowed => "SenderNotAllowed",
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
            Self::NamespaceLimitReached => "NamespaceLimitReached",
            Self::QuotaNearlyFull => "QuotaNearlyFull",
            Self::SinkNotFound => "SinkNotFound",
            Self::SinkNotAllowed => "SinkNotAllowed",
            Self::ImapDisabled => "ImapDisabled",
            Self::MailboxInactive => "MailboxInactive",
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

/// State of an object after a reconcile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Mailcow matches the spec; this was read back.
    #[default]
    InSync,
    /// The object waits for something; a watch or the next reconcile continues.
    Waiting(Why),
    /// The state is unknown now; the operator retries with back-off.
    Unknown(Why),
    /// Somebody must act; no retry loop.
    Stalled(Why),
}

/// A reason and a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The reason.
    pub reason: Reason,
    /// The message; never has a secret.
    pub message: String,
}

/// The longest message, in characters. A status has it several times, and the operator holds every status in memory.
const LONGEST_MESSAGE: usize = 2000;

impl Why {
    /// Puts both together. A long message, which lists what somebody wrote into a spec or a Secret, is cut.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
            message.truncate(end);
            message.pop();
            message.push('…');
        }
        Self { reason, message }
    }
}

impl Outcome {
    /// The object waits for something.
    pub fn waiting(reason: Reason, message: impl Into<String>) -> Self {
        Self::Waiting(Why::new(reason, message))
    }

    /// Somebody must act.
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
    fn a_long_message_is_cut_once() {
        let of = |message: &str| Why::new(Reason::Conflict, message).message;
        let fits = "ü".repeat(LONGEST_MESSAGE);
        assert_eq!(of(&fits), fits);
        let cut = of(&format!("{fits}x"));
        assert_eq!((cut.chars().count(), cut.ends_with("ü…")), (LONGEST_MESSAGE, true));
        assert_eq!(of(&cut), cut);
    }

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
