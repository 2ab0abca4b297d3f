//! What a mailbox may send as: nothing of a domain that another namespace has.

use std::collections::BTreeSet;

use super::context::Context;
use super::references;
use crate::crd::{EmailDomain, EmailMailbox};
use crate::mail::Mailbox;
use crate::outcome::{Outcome, Reason};

/// Leaves out of what the mailbox may send as what would be in another namespace's name, and says so.
pub(super) fn leave_out_others(ctx: &Context, object: &EmailMailbox, want: &mut Mailbox) -> Option<Outcome> {
    let wanted = want.sender_acl.as_mut().filter(|wanted| !wanted.is_empty())?;
    let own = want.address.domain().to_string();
    let is_here = |domain: &EmailDomain| domain.metadata.namespace == object.metadata.namespace;
    let here = ctx.stores.domains.state_filter(|domain| is_here(domain) && references::domain_is_there(domain).is_ok());
    let elsewhere = ctx.stores.domains.state_filter(|domain| !is_here(domain) && was_there(domain));
    let mut others: BTreeSet<&str> = elsewhere.iter().filter_map(|domain| name(domain)).collect();
    others.retain(|domain| *domain != own && !here.iter().any(|here| name(here) == Some(*domain)));
    let left_out = of_others(wanted, &others);
    wanted.retain(|entry| !left_out.contains(entry));
    (!left_out.is_empty()).then(|| told(&left_out))
}

/// Those entries that are, or take in, addresses of these domains.
fn of_others(wanted: &BTreeSet<String>, others: &BTreeSet<&str>) -> BTreeSet<String> {
    let is_theirs = |entry: &&String| match entry.rsplit_once('@') {
        Some((_, domain)) => others.contains(domain),
        None => !others.is_empty(),
    };
    wanted.iter().filter(is_theirs).cloned().collect()
}

fn told(left_out: &BTreeSet<String>) -> Outcome {
    let entries = left_out.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let message = format!(
        "spec.senderAcl: {entries} would let the mailbox send in the name of another namespace's domain; take it out: everything else is written"
    );
    Outcome::stalled(Reason::OwnedByAnother, message)
}

/// Whether the domain was seen on Mailcow as this object's.
fn was_there(domain: &EmailDomain) -> bool {
    domain.status.as_ref().is_some_and(|status| status.usage.is_some())
}

fn name(domain: &EmailDomain) -> Option<&str> {
    domain.status.as_ref()?.domain.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_in_others_is_left_out() {
        let wanted: BTreeSet<String> =
            ["*", "@b.example", "@a.example", "x@a.example", "x@c.example"].map(ToOwned::to_owned).into();
        let left_out = |others: &[&str]| of_others(&wanted, &others.iter().copied().collect());
        assert_eq!(left_out(&["a.example"]).into_iter().collect::<Vec<_>>(), ["*", "@a.example", "x@a.example"]);
        assert_eq!(left_out(&["other.example"]).into_iter().collect::<Vec<_>>(), ["*"]);
        assert!(left_out(&[]).is_empty(), "where nobody else is, anything goes");
    }
}
