//! `EmailAlias` and what it refers to → the alias that should exist.

use std::collections::BTreeSet;

use super::Invalid;
use super::domain::domain_name;
use crate::crd::{EmailAliasSpec, EmailDomainSpec};
use crate::mail::{Address, Alias, Catch, Goto, Mark};

/// The longest comment that a new alias takes, in bytes (recording `05_alias/add_comment_too_long`).
const LONGEST_COMMENT: usize = 160;

/// The address of the alias.
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
    let public_comment = spec.public_comment.clone();
    if public_comment.as_ref().is_some_and(|comment| comment.len() > LONGEST_COMMENT) {
        let why = format!("it is longer than {LONGEST_COMMENT} bytes, the limit of Mailcow");
        return Err(Invalid::of("spec.publicComment")(why));
    }
    Ok(Alias {
        goto: goto(spec, &catch, mailboxes)?,
        catch,
        active: spec.active,
        visible_in_sogo: spec.visible_in_sogo,
        sender_allowed: spec.sender_allowed,
        public_comment,
        mark,
    })
}

fn goto(spec: &EmailAliasSpec, catch: &Catch, mailboxes: &[Address]) -> Result<Goto, Invalid> {
    if let Some(sink) = spec.sink {
        return Ok(Goto::Sink(sink));
    }
    let given = spec.goto.iter().flatten().enumerate();
    let read = |(n, text): (usize, &String)| {
        Address::parse(text).map_err(|error| Invalid::of(format!("spec.goto[{n}]"))(error.to_string()))
    };
    let mut goto: BTreeSet<Address> = given.map(read).collect::<Result<_, _>>()?;
    goto.extend(mailboxes.iter().cloned());
    if goto.iter().any(|to| *catch == Catch::One(to.clone())) {
        let why = format!("{catch} can't forward to itself; Mailcow silently drops such an address");
        return Err(Invalid::of("spec.goto")(why));
    }
    Ok(Goto::Addresses(goto))
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
    fn each_address_is_there_once() {
        let alias = want("localPart: s\ndomainRef: {name: d}\ngoto: [z@e.com, A@e.com, a@E.com]", &[]).unwrap();
        assert_eq!(alias.goto.texts(), ["a@e.com", "z@e.com"].map(String::from).into());
    }

    #[test]
    fn the_bad_one_of_several_is_named() {
        let error = want("localPart: s\ndomainRef: {name: d}\ngoto: [a@e.com, b@e.com, c@-]", &[]).unwrap_err();
        assert_eq!(error.field, "spec.goto[2]");
    }

    #[test]
    fn a_unicode_domain_becomes_an_a_label() {
        let alias = want("localPart: s\ndomainRef: {name: d}\ngoto: [x@bücher.example]", &[]).unwrap();
        assert_eq!(alias.goto.texts(), ["x@xn--bcher-kva.example".to_owned()].into());
    }

    #[test]
    fn mailboxes_stand_for_their_addresses() {
        let alias = want("catchAll: true\ndomainRef: {name: d}\ngotoMailboxRefs: [{name: m}]", &["m@e.com"]).unwrap();
        assert_eq!((alias.catch.to_string(), alias.goto.texts()), ("@e.com".into(), ["m@e.com".to_owned()].into()));
    }

    #[test]
    fn a_sink_is_no_address() {
        let alias = want("localPart: s\ndomainRef: {name: d}\nsink: LearnHam", &[]).unwrap();
        assert_eq!(alias.goto.texts(), ["ham@localhost".to_owned()].into());
    }

    #[test]
    fn a_comment_is_measured_in_bytes() {
        let yaml = format!("localPart: s\ndomainRef: {{name: d}}\nsink: Discard\npublicComment: {}", "ü".repeat(81));
        assert_eq!(want(&yaml, &[]).unwrap_err().field, "spec.publicComment");
    }

    #[test]
    fn an_alias_to_itself_is_refused() {
        assert_eq!(want("localPart: s\ndomainRef: {name: d}\ngoto: [S@e.com]", &[]).unwrap_err().field, "spec.goto");
    }
}
