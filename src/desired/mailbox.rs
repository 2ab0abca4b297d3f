//! `EmailMailbox` and its domain → the mailbox that should exist.

use super::Invalid;
use super::domain::{domain_name, quota};
use crate::crd::{EmailDomainSpec, EmailMailboxSpec, MailboxState};
use crate::mail::{Access, Address, Mailbox, Mark, Quota};

/// Quota of a mailbox when neither it nor its domain says.
const DEFAULT_QUOTA: Quota = Quota::gib(1);

/// The whole address.
///
/// # Errors
/// When the local part or the domain can't be used.
pub fn mailbox_address(spec: &EmailMailboxSpec, domain: &EmailDomainSpec) -> Result<Address, Invalid> {
    Address::new(&spec.local_part, domain_name(domain)?)
        .map_err(|error| Invalid::of("spec.localPart")(error.to_string()))
}

/// The mailbox that should exist, with the owner's mark.
///
/// # Errors
/// When a value can't be used.
pub fn mailbox(spec: &EmailMailboxSpec, domain: &EmailDomainSpec, mark: Mark) -> Result<Mailbox, Invalid> {
    let default = domain.mailbox_defaults.as_ref().and_then(|defaults| defaults.quota.as_deref());
    let wanted = match quota("spec.quota", spec.quota.as_deref())? {
        Some(quota) => quota,
        None => quota("the domain's spec.mailboxDefaults.quota", default)?.unwrap_or(DEFAULT_QUOTA),
    };
    Ok(Mailbox {
        address: mailbox_address(spec, domain)?,
        name: spec.display_name.clone(),
        quota: wanted,
        access: match spec.state {
            MailboxState::Active => Access::Active,
            MailboxState::LoginDisabled => Access::LoginDisabled,
            MailboxState::Inactive => Access::Inactive,
        },
        rate_limit: spec.rate_limit.as_ref().map(Into::into),
        mark,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(mailbox_yaml: &str, domain_yaml: &str) -> Result<Mailbox, Invalid> {
        let spec: EmailMailboxSpec = serde_yaml::from_str(mailbox_yaml).unwrap();
        let domain: EmailDomainSpec = serde_yaml::from_str(domain_yaml).unwrap();
        mailbox(&spec, &domain, Mark::new("c", "n", "m", "u"))
    }

    const ADA: &str = "localPart: Ada\ndomainRef: {name: d}";

    #[test]
    fn the_quota_comes_from_the_mailbox_then_the_domain_then_1gi() {
        let defaults = "domain: e.com\nmailboxDefaults: {quota: 2Gi}";
        assert_eq!(want(&format!("{ADA}\nquota: 5Mi"), defaults).unwrap().quota, Quota::mib(5));
        assert_eq!(want(ADA, defaults).unwrap().quota, Quota::gib(2));
        assert_eq!(want(ADA, "domain: e.com").unwrap().quota, Quota::gib(1));
        assert_eq!(want(&format!("{ADA}\nquota: '0'"), "domain: e.com").unwrap().quota, Quota::UNLIMITED);
    }

    #[test]
    fn addresses_are_lower_case() {
        assert_eq!(want(ADA, "domain: E.com").unwrap().address.to_string(), "ada@e.com");
    }

    #[test]
    fn the_third_state_is_receiving_without_login() {
        let state = |word: &str| want(&format!("{ADA}\nstate: {word}"), "domain: e.com").unwrap().access;
        assert_eq!(state("LoginDisabled"), Access::LoginDisabled);
        assert_eq!(state("Inactive"), Access::Inactive);
        assert_eq!(want(ADA, "domain: e.com").unwrap().access, Access::Active);
    }

    #[test]
    fn a_bad_local_part_names_its_field() {
        let error = want("localPart: a..b\ndomainRef: {name: d}", "domain: e.com").unwrap_err();
        assert_eq!(error.field, "spec.localPart");
    }
}
