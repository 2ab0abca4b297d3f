//! What a mailbox may send as: what its own namespace owns on the server ([`crate::tenancy::Holdings`]), limited to
//! entries that Mailcow knows, because Mailcow drops others.

use std::collections::BTreeSet;

use crate::controller::driver::context::Context;
use crate::controller::driver::converge::{Stop, server};
use crate::controller::driver::holdings;
use crate::crd::{DEFAULT_SERVER, EmailDomain, EmailMailbox, EmailMailboxStatus};
use crate::inventory::{Age, Inventory};
use crate::mail::{Address, Mailbox, MailboxHave};
use crate::mailcow::Error;
use crate::outcome::{Outcome, Reason};
use crate::plan::{self, Change, MailboxEdit};
use crate::status::MailboxSeen;
use crate::tenancy::{Holdings, MaySend};

/// What a mailbox may send as, and what its spec granted before.
pub(crate) struct Senders {
    holdings: Holdings,
    /// What its spec granted before.
    granted: BTreeSet<String>,
    own: Address,
}

impl Senders {
    /// For a mailbox in a domain.
    pub(crate) fn of(
        ctx: &Context,
        object: &EmailMailbox,
        domain: &EmailDomain,
        own: &Address,
        granted: &[String],
    ) -> Self {
        let granted: BTreeSet<String> = granted.iter().cloned().collect();
        let asks = !granted.is_empty() || object.spec.sender_acl.as_ref().is_some_and(|acl| !acl.is_empty());
        let holdings = if asks { holdings::of(ctx, object, &domain.spec.server) } else { Holdings::default() };
        Self { holdings, granted, own: own.clone() }
    }

    fn may_send(&self, entry: &str) -> MaySend {
        self.holdings.may_send(entry, &self.own, self.granted.contains(entry))
    }

    /// Removes entries that the mailbox's namespace does not own, and reports them.
    pub(crate) fn leave_out_others(&self, want: &mut Mailbox) -> Option<Outcome> {
        let wanted = want.sender_acl.as_mut()?;
        let of = |word: MaySend, wanted: &BTreeSet<String>| -> BTreeSet<String> {
            wanted.iter().filter(|entry| self.may_send(entry) == word).cloned().collect()
        };
        let (refused, pending) = (of(MaySend::No, wanted), of(MaySend::NotYet, wanted));
        wanted.retain(|entry| !refused.contains(entry) && !pending.contains(entry));
        let refused = (!refused.is_empty()).then(|| not_allowed(&refused));
        refused.or_else(|| (!pending.is_empty()).then(|| not_yet(&pending)))
    }

    /// What to remember before `want` is written: everything that may be on Mailcow from then on.
    pub(crate) fn before_writing(&self, want: &Mailbox) -> Vec<String> {
        self.granted
            .iter()
            .chain(want.sender_acl.iter().flatten())
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// What to remember once Mailcow shows the wanted state.
    pub(crate) fn after_writing(&self, want: &Mailbox, have: Option<&MailboxHave>) -> Vec<String> {
        let is_there = |entry: &&String| match have.and_then(|have| have.sender_acl.as_ref()) {
            Some(acl) => acl.contains(*entry),
            None => true,
        };
        match &want.sender_acl {
            Some(wanted) => wanted.iter().cloned().collect(),
            None => self.granted.iter().filter(is_there).cloned().collect(),
        }
    }
}

/// Removes rights that the spec granted and the namespace no longer owns. This also happens while the object is paused,
/// only reports drift, or is refused for any reason.
///
/// # Errors
/// When Mailcow can't be asked.
pub(crate) async fn take_away(
    ctx: &Context,
    object: &EmailMailbox,
    before: &EmailMailboxStatus,
    seen: &mut MailboxSeen,
) -> Result<(), Stop> {
    let Some(address) = before.address.as_deref().and_then(|text| Address::parse(text).ok()) else { return Ok(()) };
    let name = before.server.as_deref().unwrap_or(DEFAULT_SERVER);
    // A domain that is made again on the server of another instance takes its mailboxes there.
    if before.granted_senders.is_empty() || ctx.servers.is_of_another(name) {
        return Ok(());
    }
    let holdings = holdings::of(ctx, object, name);
    let lost = |entry: &String| {
        before.granted_senders.contains(entry) && holdings.may_send(entry, &address, true) != MaySend::Yes
    };
    if !before.granted_senders.iter().any(lost) {
        return Ok(());
    }
    let server = server(ctx, name)?;
    let mark = ctx.mark(object);
    let have = server.mailbox(&address, Age::Now).await?;
    let have = have.filter(|have| have.mark().is_some_and(|there| there.same_owner(&mark)));
    // Versions of Mailcow that can't show the entries have what was last written.
    let is_hidden = have.as_ref().is_some_and(|have| have.sender_acl.is_none());
    let written = || before.sender_acl.as_ref().unwrap_or(&before.granted_senders).iter().cloned().collect();
    if let Some(acl) = have.map(|have| have.sender_acl.unwrap_or_else(written)) {
        // Keep what somebody granted by hand meanwhile.
        let rest: BTreeSet<String> = acl.iter().filter(|entry| !lost(entry)).cloned().collect();
        if rest.len() < acl.len() {
            tracing::info!("removing sender addresses that no longer belong to the mailbox's namespace");
            let edit = MailboxEdit { sender_acl: Some(rest.clone()), ..MailboxEdit::default() };
            server.execute(&[Change::EditMailbox { address: address.clone(), edit }], None).await?;
            let shown = server.mailbox(&address, Age::Now).await?;
            let stuck = plan::stuck_entries(&address, rest.clone(), shown.as_ref());
            server.execute(&stuck, None).await?;
        }
        seen.sender_acl = is_hidden.then(|| rest.into_iter().collect());
    }
    seen.granted_senders.retain(|entry| !lost(entry));
    Ok(())
}

/// Removes sender addresses that Mailcow would not keep: those that an alias allows anyway, and those that don't exist
/// yet. Reports the latter.
///
/// # Errors
/// When Mailcow can't be asked.
pub(crate) async fn take_out_unkept(server: &Inventory, want: &mut Mailbox) -> Result<Option<Outcome>, Error> {
    let Some(wanted) = &want.sender_acl else { return Ok(None) };
    let (kept, missing) = server.kept_senders(wanted, &want.address).await?;
    want.sender_acl = Some(kept);
    Ok((!missing.is_empty()).then(|| not_found(&missing)))
}

/// The entries that the mailbox names now; none while it is being deleted.
pub(crate) fn named(object: &EmailMailbox) -> BTreeSet<String> {
    let is_deleted = object.metadata.deletion_timestamp.is_some();
    let granted = object.status.iter().flat_map(|status| &status.granted_senders);
    let entries = object.spec.sender_acl.iter().flatten().chain(granted).filter(|_| !is_deleted);
    entries.map(|entry| entry.to_lowercase()).collect()
}

fn listed(entries: &BTreeSet<String>) -> String {
    entries.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn not_allowed(entries: &BTreeSet<String>) -> Outcome {
    let message = format!(
        "spec.senderAcl: {} is not allowed: list only domains, mailboxes and aliases that this namespace has on the server (and * only in the platform's namespaces), or remove it from the list. Everything else is written",
        listed(entries)
    );
    Outcome::stalled(Reason::SenderNotAllowed, message)
}

fn not_yet(entries: &BTreeSet<String>) -> Outcome {
    let message = format!(
        "spec.senderAcl: {} is not on Mailcow yet; the status of this namespace's object says why. Everything else is written",
        listed(entries)
    );
    Outcome::waiting(Reason::SenderNotFound, message)
}

fn not_found(missing: &BTreeSet<String>) -> Outcome {
    let message = format!(
        "spec.senderAcl: {} is not a mailbox, alias or domain on Mailcow; create it, or remove it from the list. Everything else is written",
        listed(missing)
    );
    Outcome::waiting(Reason::SenderNotFound, message)
}
