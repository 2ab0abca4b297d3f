//! How long a real server takes, as it was measured on two cores, and what waits for what.

use std::time::Duration;

use crate::call::Call;
use crate::state::State;

/// Costs in microseconds. [`CostModel::measured`] is the real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostModel {
    /// Before any request does anything.
    pub startup: u64,
    /// For each mailbox in a full list.
    pub mailbox_row: u64,
    /// For each mailbox in a reduced list.
    pub reduced_row: u64,
    /// For each pair of mailboxes of one domain in a full list.
    pub mailbox_pair: u64,
    /// For each domain in a list.
    pub domain_row: u64,
    /// For each alias, filter or limit in a list.
    pub small_row: u64,
    /// To hash a password.
    pub hash: u64,
    /// To refresh `SOGo`'s view for one mailbox.
    pub refresh: u64,
    /// To make a DKIM key.
    pub dkim_key: u64,
    /// For each pair of a mailbox and an alias when `SOGo`'s view is rebuilt, in nanoseconds. No other
    /// write to mailboxes, aliases or domains goes on meanwhile.
    pub rebuild_pair_nanos: u64,
    /// To run a command in a container (one for each deleted mailbox).
    pub container: u64,
    /// How many of a thousand edits and deletes of mailboxes end in a deadlock; off by default.
    pub deadlocks_per_mille: u32,
}

impl CostModel {
    /// The costs measured on the real server.
    pub fn measured() -> Self {
        Self {
            startup: 5_000,
            mailbox_row: 1_000,
            reduced_row: 300,
            mailbox_pair: 1,
            domain_row: 1_500,
            small_row: 200,
            hash: 55_000,
            refresh: 15_000,
            dkim_key: 120_000,
            rebuild_pair_nanos: 1_300,
            container: 40_000,
            deadlocks_per_mille: 0,
        }
    }

    /// Only the time between the checks and the writes of `add/mailbox`, in which others get in.
    pub fn hash_only(hash: Duration) -> Self {
        Self {
            startup: 0,
            mailbox_row: 0,
            reduced_row: 0,
            mailbox_pair: 0,
            domain_row: 0,
            small_row: 0,
            hash: u64::try_from(hash.as_micros()).unwrap_or(u64::MAX),
            refresh: 0,
            dkim_key: 0,
            rebuild_pair_nanos: 0,
            container: 0,
            deadlocks_per_mille: 0,
        }
    }

    pub(crate) fn hash(&self) -> Duration {
        Duration::from_micros(self.hash)
    }

    /// What a read costs.
    pub(crate) fn read(&self, state: &State, call: &Call) -> Duration {
        let domain = state.domain(call.piece(3));
        let mailboxes = count(domain.map_or(state.mailboxes.len(), |d| state.mailboxes_of(&d.name).count()));
        let per_domain = mailboxes / count(if domain.is_some() { 1 } else { state.domains.len().max(1) }).max(1);
        let aliases = count(match domain {
            Some(domain) => state.aliases.values().filter(|a| a.domain == domain.name).count(),
            None => state.aliases.len(),
        });
        let micros = match (call.piece(1), call.piece(2)) {
            ("mailbox", "all") => mailboxes * (self.mailbox_row + per_domain * self.mailbox_pair),
            ("mailbox", "reduced") => mailboxes * self.reduced_row,
            ("domain", "all") => count(state.domains.len()) * self.domain_row,
            ("alias", "all") => aliases.saturating_sub(mailboxes) * self.small_row,
            ("filters" | "rl-mbox", "all") => count(state.mailboxes.len()) * self.small_row,
            _ => 0,
        };
        Duration::from_micros(self.startup + micros)
    }

    /// What a write costs: what it does by itself, and how long `SOGo`'s view is locked for it.
    pub(crate) fn write(&self, state: &State, call: &Call, items: usize) -> (Duration, Duration) {
        let items = count(items.max(1));
        let own_rows = count(state.mailboxes.len());
        let pairs = own_rows * count(state.aliases.len()).saturating_sub(own_rows);
        let rebuild = Duration::from_nanos(pairs.saturating_mul(self.rebuild_pair_nanos));
        let refresh = Duration::from_micros(self.refresh);
        let hash = if call.body.contains("password") { self.hash } else { 0 };
        let route = (call.action(), call.piece(1));
        let own = self.startup
            + match route {
                ("edit", "mailbox") => hash,
                ("add", "domain" | "dkim") if !call.body.contains("\"key_size\":0") => self.dkim_key,
                ("delete", "mailbox") => self.container * items,
                _ => 0,
            };
        let deactivates = call.body.contains("\"active\":0") || call.body.contains("\"active\":\"0\"");
        let locked = match route {
            ("add", "mailbox") => refresh,
            ("edit", "mailbox") if deactivates => rebuild,
            ("edit", "mailbox") => refresh * u32::try_from(items).unwrap_or(u32::MAX),
            ("add" | "edit", "alias") if all_local(state, call) => refresh,
            ("delete", "mailbox") => rebuild * u32::try_from(items).unwrap_or(u32::MAX),
            ("delete" | "add" | "edit", "alias" | "alias-domain") | ("edit" | "delete", "domain") => rebuild,
            _ => Duration::ZERO,
        };
        (Duration::from_micros(own), locked)
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Whether every target an alias write names is an active mailbox here.
fn all_local(state: &State, call: &Call) -> bool {
    let Some(request) = crate::json::Json::parse(&call.body) else { return false };
    let attr = if call.action() == "edit" { request.get("attr") } else { &request };
    let gotos = crate::php::pieces(&attr.get("goto").to_text());
    gotos.iter().all(|goto| state.mailbox(goto).is_some_and(|m| m.active == 1))
        && (call.action() == "edit" || !gotos.is_empty())
}
