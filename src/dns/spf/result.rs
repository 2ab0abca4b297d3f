//! Who sends, and what `check_host()` says about it (RFC 7208, sections 2 and 4).

use std::net::IpAddr;

/// A result of `check_host()` (section 2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpfResult {
    /// No record, or no domain to check.
    None,
    /// The domain says nothing about the client.
    Neutral,
    /// The client may send.
    Pass,
    /// The client may not send.
    Fail,
    /// The client probably may not send.
    SoftFail,
    /// DNS gave no answer.
    TempError,
    /// The record is broken.
    PermError,
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The client's address.
    pub ip: IpAddr,
    /// The address in MAIL FROM; empty for a bounce, which stands for `postmaster@<helo>` (section 2.4).
    pub mail_from: String,
    /// The name in HELO or EHLO.
    pub helo: String,
}

impl Sender {
    /// The local part and the domain that the check is about.
    pub(super) fn address(&self) -> (&str, &str) {
        let (local, domain) = self.mail_from.rsplit_once('@').unwrap_or(("", &self.mail_from));
        let domain = if domain.is_empty() { &self.helo } else { domain };
        (if local.is_empty() { "postmaster" } else { local }, domain)
    }
}

/// What `check_host()` said, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The result.
    pub result: SpfResult,
    /// The term that decided, as `term in domain`; `None` when none did.
    pub term: Option<String>,
    /// What is wrong, for `TempError` and `PermError`.
    pub problem: Option<String>,
    /// The explanation that the domain gives for a `Fail` (section 6.2).
    pub explanation: Option<String>,
    /// Terms that looked up.
    pub lookups: usize,
    /// Lookups that found nothing.
    pub voids: usize,
}

impl Evaluation {
    /// A result with nothing else to say.
    pub(in crate::dns) fn of(result: SpfResult) -> Self {
        Self { result, term: None, problem: None, explanation: None, lookups: 0, voids: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounce_stands_for_the_postmaster_of_helo() {
        let sender = |from: &str| Sender { ip: [192, 0, 2, 1].into(), mail_from: from.into(), helo: "h.test".into() };
        assert_eq!(sender("").address(), ("postmaster", "h.test"));
        assert_eq!(sender("@e.test").address(), ("postmaster", "e.test"));
        assert_eq!(sender("a@b@e.test").address(), ("a@b", "e.test"));
    }
}
