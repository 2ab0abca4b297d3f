//! `EmailDomain` → the domain that should exist.

use super::Invalid;
use crate::crd::EmailDomainSpec;
use crate::mail::{Dkim, Domain, DomainName, Limits, Mark, Quota, Relay, Tags};

/// The canonical name.
///
/// # Errors
/// When `spec.domain` is no domain name, or one under which everybody registers names: a claim on it would be one on
/// theirs.
pub fn domain_name(spec: &EmailDomainSpec) -> Result<DomainName, Invalid> {
    let invalid = Invalid::of("spec.domain");
    let name = DomainName::parse(&spec.domain).map_err(|error| invalid(error.to_string()))?;
    match psl::suffix(name.as_str().as_bytes()) {
        Some(suffix) if suffix == name.as_str() => Err(invalid(format!(
            "{name} is a public suffix, under which anybody can register names; use a domain below it"
        ))),
        _ => Ok(name),
    }
}

/// The domain that should exist, with the owner's mark. Which tags an earlier spec placed is not known here.
///
/// # Errors
/// When a value can't be used.
pub fn domain(spec: &EmailDomainSpec, mark: Mark) -> Result<Domain, Invalid> {
    let limits = spec.limits.clone().unwrap_or_default();
    let default_quota = spec.mailbox_defaults.as_ref().and_then(|defaults| defaults.quota.as_deref());
    let is_demanded = spec.dkim.is_some();
    let dkim = spec.dkim.clone().unwrap_or_default();
    let relay = spec.relay.clone().unwrap_or_default();
    Ok(Domain {
        name: domain_name(spec)?,
        description: spec.description.clone(),
        active: spec.active,
        limits: Limits {
            mailboxes: limits.mailboxes,
            aliases: limits.aliases,
            default_quota: quota("spec.mailboxDefaults.quota", default_quota)?,
            mailbox_quota: quota("spec.limits.mailboxQuota", limits.mailbox_quota.as_deref())?,
            total_quota: quota("spec.limits.totalQuota", limits.total_quota.as_deref())?,
        },
        rate_limit: spec.rate_limit.as_ref().map(Into::into),
        address_list: spec.global_address_list,
        relay: Relay {
            backup_mx: relay.backup_mx,
            all_recipients: relay.all_recipients,
            unknown_only: relay.unknown_only,
            host: relay.host,
        },
        tags: Tags { wanted: spec.tags.clone(), placed: Vec::new() },
        dkim: Dkim { selector: dkim.selector, key_size: dkim.key_size, is_demanded },
        mark,
    })
}

/// A quota that may be left out.
pub(super) fn quota(field: &'static str, text: Option<&str>) -> Result<Option<Quota>, Invalid> {
    text.map(Quota::parse).transpose().map_err(|error| Invalid::of(field)(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::Per;
    use crate::mail::RateLimit;

    #[test]
    fn nobody_claims_a_public_suffix() {
        let read = |name: &str| {
            let spec: EmailDomainSpec = serde_yaml::from_str(&format!("domain: {name}")).unwrap();
            domain_name(&spec).map(|name| name.to_string())
        };
        for suffix in ["co.uk", "github.io", "XN--55QX5D.cn", "other.kawasaki.jp"] {
            assert!(read(suffix).unwrap_err().why.contains("public suffix"), "{suffix}");
        }
        for name in ["example.co.uk", "example.github.io", "mail.internal", "city.kawasaki.jp"] {
            assert!(read(name).is_ok(), "{name}");
        }
    }

    fn spec(yaml: &str) -> EmailDomainSpec {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn mark() -> Mark {
        Mark::new("c", "n", "d", "u")
    }

    #[test]
    fn what_is_left_out_is_not_managed() {
        let domain = domain(&spec("domain: Example.COM"), mark()).unwrap();
        assert_eq!(domain.name.as_str(), "example.com");
        assert_eq!((domain.limits, domain.rate_limit, domain.description), (Limits::default(), None, None));
        assert!(domain.active);
        assert_eq!(domain.dkim, Dkim { selector: "dkim".into(), key_size: 2048, is_demanded: false });
    }

    #[test]
    fn everything_given_is_wanted() {
        let yaml = "
domain: example.com
active: false
limits: {mailboxes: 3, aliases: 4, mailboxQuota: 2Gi, totalQuota: 1Ti}
mailboxDefaults: {quota: 512Mi}
rateLimit: {messages: 9, per: Day}
dkim: {selector: s2, keySize: 4096}";
        let domain = domain(&spec(yaml), mark()).unwrap();
        assert_eq!(domain.limits.total_quota, Some(Quota::gib(1024)));
        assert_eq!(domain.limits.default_quota, Some(Quota::mib(512)));
        assert_eq!(domain.rate_limit, Some(RateLimit::Limit { messages: 9, per: Per::Day }));
        assert_eq!((domain.active, domain.dkim.key_size), (false, 4096));
    }

    #[test]
    fn a_bad_value_names_its_field() {
        let error = domain(&spec("domain: example.com\nlimits: {totalQuota: 1GB}"), mark()).unwrap_err();
        assert!(error.to_string().starts_with("spec.limits.totalQuota: "), "{error}");
        assert!(domain_name(&spec("domain: a_b.example")).is_err());
    }
}
