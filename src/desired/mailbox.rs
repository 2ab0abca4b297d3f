//! `EmailMailbox` and its domain → the mailbox that should exist.

use super::Invalid;
use super::domain::{domain_name, quota};
use crate::crd::{EmailDomainSpec, EmailMailboxSpec, MailboxState};
use crate::mail::{Access, Address, DomainName, Mailbox, Mark, Quota, Tags, Tls};
use std::collections::BTreeSet;

/// Default quota of a mailbox, if neither it nor its domain has one.
const DEFAULT_QUOTA: Quota = Quota::gib(1);

/// The whole address.
///
/// # Errors
/// When the local part or the domain can't be used.
pub fn mailbox_address(spec: &EmailMailboxSpec, domain: &EmailDomainSpec) -> Result<Address, Invalid> {
    let invalid = Invalid::of("spec.localPart");
    if spec.local_part.contains('/') {
        let why = "it must not contain a slash: Mailcow's API can't address such a mailbox; use - or _ instead";
        return Err(invalid(why.to_owned()));
    }
    if spec.local_part == "0" {
        return Err(invalid("it must not be just 0, because Mailcow treats it as empty".to_owned()));
    }
    Address::new(&spec.local_part, domain_name(domain)?).map_err(|error| invalid(error.to_string()))
}

/// The mailbox that should exist, with the owner's mark. Which tags an earlier spec placed is not known here.
///
/// # Errors
/// When a value can't be used.
pub fn mailbox(spec: &EmailMailboxSpec, domain: &EmailDomainSpec, mark: Mark) -> Result<Mailbox, Invalid> {
    let defaults = domain.mailbox_defaults.clone().unwrap_or_default();
    let tls = spec.tls.clone().unwrap_or_default();
    let wanted = match quota("spec.quota", spec.quota.as_deref())? {
        Some(quota) => quota,
        None => quota("the domain's spec.mailboxDefaults.quota", defaults.quota.as_deref())?.unwrap_or(DEFAULT_QUOTA),
    };
    Ok(Mailbox {
        address: mailbox_address(spec, domain)?,
        name: spec.display_name.clone(),
        quota: wanted,
        is_default_quota: spec.quota.is_none(),
        access: match spec.state {
            MailboxState::Active => Access::Active,
            MailboxState::LoginDisabled => Access::LoginDisabled,
            MailboxState::Inactive => Access::Inactive,
        },
        rate_limit: spec.rate_limit.as_ref().or(defaults.rate_limit.as_ref()).map(Into::into),
        protocols: spec.protocols.as_ref().or(defaults.protocols.as_ref()).map(|list| list.iter().copied().collect()),
        tls: Tls { incoming: tls.enforce_incoming, outgoing: tls.enforce_outgoing },
        force_password_change: spec.force_password_change,
        sender_acl: spec.sender_acl.as_deref().map(senders).transpose()?,
        tags: Tags { wanted: spec.tags.clone(), placed: Vec::new() },
        mark,
    })
}

/// Addresses, `@domain` and `*`, as Mailcow shows them.
fn senders(entries: &[String]) -> Result<BTreeSet<String>, Invalid> {
    let bad = |error: &dyn std::fmt::Display| Invalid::of("spec.senderAcl")(error.to_string());
    let canonical = |entry: &String| match entry.strip_prefix('@') {
        _ if entry == "*" => Ok(entry.clone()),
        Some(name) => DomainName::parse(name).map(|name| format!("@{name}")).map_err(|error| bad(&error)),
        None => Address::parse(entry).map(|address| address.to_string()).map_err(|error| bad(&error)),
    };
    entries.iter().map(canonical).collect()
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
    fn limits_and_protocols_come_from_the_mailbox_then_the_domain_or_are_not_managed() {
        let defaults = "domain: e.com\nmailboxDefaults: {rateLimit: {messages: 5, per: Hour}, protocols: [IMAP]}";
        let inherited = want(ADA, defaults).unwrap();
        assert_eq!(inherited.protocols, Some([crate::crd::Protocol::Imap].into()));
        assert!(inherited.rate_limit.is_some());
        assert_eq!(want(&format!("{ADA}\nprotocols: []"), defaults).unwrap().protocols, Some([].into()));
        let plain = want(ADA, "domain: e.com").unwrap();
        assert_eq!((plain.protocols, plain.rate_limit, plain.sender_acl), (None, None, None));
    }

    #[test]
    fn senders_are_written_as_mailcow_shows_them() {
        let of = |list: &str| want(&format!("{ADA}\nsenderAcl: {list}"), "domain: e.com");
        let shown = of("['B@E.com', '@BÜCHER.example', '*']").unwrap().sender_acl.unwrap();
        assert_eq!(shown, ["b@e.com", "@xn--bcher-kva.example", "*"].map(String::from).into());
        assert_eq!(of("['@-']").unwrap_err().field, "spec.senderAcl");
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
