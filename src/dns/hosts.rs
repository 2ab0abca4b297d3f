//! Hosts and their addresses, as several rows need them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::answer::Answer;
use super::known::{Known, Need};
use super::wanted::Wanted;

/// The addresses that Mailcow sends from, or why they are not known.
pub(super) fn egress(wanted: &Wanted, known: &Known) -> Result<Result<Vec<IpAddr>, String>, Need> {
    if !wanted.egress.is_empty() {
        return Ok(Ok(wanted.egress.clone()));
    }
    let answers = known.host(wanted.mail_host.as_str())?;
    if let Some(why) = answers.iter().find_map(|answer| answer.failure()) {
        return Ok(Err(why.to_owned()));
    }
    Ok(Ok(addresses(&answers).into_iter().collect()))
}

/// The addresses in some answers.
pub(super) fn addresses(answers: &[&Answer]) -> BTreeSet<IpAddr> {
    answers.iter().flat_map(|answer| answer.addresses()).copied().collect()
}

/// Why one of some answers is none.
pub(super) fn failure<'a>(answers: &[&'a Answer]) -> Option<&'a str> {
    answers.iter().find_map(|answer| answer.failure())
}

/// What is wrong with a mail host that has no address.
pub(super) fn no_address(host: &str) -> String {
    format!("{host} has no address to send from")
}

/// Addresses for people.
pub(super) fn listed(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
