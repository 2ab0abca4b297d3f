//! `EmailAlias` and what it refers to → the alias that should exist.

use super::Invalid;
use super::domain::domain_name;
use crate::crd::{EmailAliasSpec, EmailDomainSpec};
use crate::mail::{Address, Alias, Catch, Mark};

/// What the alias catches.
///
/// # Errors
/// When the local part or the domain can't be used.
pub fn alias_catch(spec: &EmailAliasSpec, domain: &EmailDomainSpec) -> Result<Catch, Invalid> {
    let name = domain_name(domain)?;
    match &spec.local_part {
        None => Ok(Catch::All(name)),
        Some(local) => {
            Address::new(local, name).map(Catch::One).map_err(|error| Invalid::of("spec.localPart")(error.to_string()))
        }
    }
}

/// The alias that should exist; `mailboxes` are the addresses that `gotoMailboxRefs` stand for.
///
/// # Errors
/// When a value can't be used, or the alias would go to itself.
pub fn alias(spec: &EmailAliasSpec, catch: Catch, mailboxes: &[Address], mark: Mark) -> Result<Alias, Invalid> {
    let given = spec.goto.iter().flatten().map(|text| Address::parse(text));
    let mut goto: Vec<Address> =
        given.collect::<Result<_, _>>().map_err(|error| Invalid::of("spec.goto")(error.to_string()))?;
    goto.extend_from_slice(mailboxes);
    goto.sort();
    goto.dedup();
    if goto.iter().any(|to| catch == Catch::One(to.clone())) {
        let why = format!("{catch} can't go to itself; Mailcow drops such an address silently");
        return Err(Invalid::of("spec.goto")(why));
    }
    Ok(Alias { catch, goto, active: spec.active, mark })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(alias_yaml: &str, mailboxes: &[&str]) -> Result<Alias, Invalid> {
        let spec: EmailAliasSpec = serde_yaml::from_str(alias_yaml).unwrap();
        let domain: EmailDomainSpec = serde_yaml::from_str("domain: e.com").unwrap();
        let mailboxes: Vec<Address> = mailboxes.iter().map(|m| Address::parse(m).unwrap()).collect();
        alias(&spec, alias_catch(&spec, &domain)?, &mailboxes, Mark::new("c", "n", "a", "u"))
    }

    #[test]
    fn addresses_are_sorted_and_each_is_there_once() {
        let alias = want("localPart: s\ndomainRef: {name: d}\ngoto: [z@e.com, A@e.com, a@E.com]", &[]).unwrap();
        let goto: Vec<String> = alias.goto.iter().map(ToString::to_string).collect();
        assert_eq!(goto, ["a@e.com", "z@e.com"]);
    }

    #[test]
    fn a_unicode_domain_becomes_an_a_label() {
        let alias = want("localPart: s\ndomainRef: {name: d}\ngoto: [x@bücher.example]", &[]).unwrap();
        assert_eq!(alias.goto[0].to_string(), "x@xn--bcher-kva.example");
    }

    #[test]
    fn mailboxes_stand_for_their_addresses() {
        let alias = want("catchAll: true\ndomainRef: {name: d}\ngotoMailboxRefs: [{name: m}]", &["m@e.com"]).unwrap();
        assert_eq!((alias.catch.to_string(), alias.goto[0].to_string()), ("@e.com".into(), "m@e.com".into()));
    }

    #[test]
    fn an_alias_to_itself_is_refused() {
        assert_eq!(want("localPart: s\ndomainRef: {name: d}\ngoto: [S@e.com]", &[]).unwrap_err().field, "spec.goto");
    }
}
