//! How long a real server takes, as it was measured on two cores, and what waits for what.

use std::time::Duration;

use crate::call::Call;
use crate::state::State;

/// Costs in microseconds, unless their name says otherwise. [`CostModel::measured`] is the real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CostModel {
    /// Before any request does anything.
    pub startup: u64,
    /// For each mailbox that is shown whole: alone, in a list or on a page.
    pub mailbox_row: u64,
    /// For each mailbox in a reduced list.
    pub reduced_row: u64,
    /// For each mailbox that is shown whole and each mailbox of its domain, whose quotas are summed for it,
    /// in nanoseconds.
    pub mailbox_pair_nanos: u64,
    /// For each domain that is shown.
    pub domain_row: u64,
    /// For each domain that is shown and each mailbox of it, in nanoseconds.
    pub domain_mailbox_nanos: u64,
    /// For each domain that is shown and each mailbox of the server, in nanoseconds.
    pub domain_scan_nanos: u64,
    /// For each alias in a list, and for each mailbox in lists of filters or limits, whether it has one or
    /// not.
    pub small_row: u64,
    /// To hash a password.
    pub hash: u64,
    /// For each mailbox that is edited.
    pub edit: u64,
    /// To refresh `SOGo`'s view for one mailbox.
    pub refresh: u64,
    /// The same for each alias of the server, in nanoseconds.
    pub refresh_alias_nanos: u64,
    /// To make a DKIM key.
    pub dkim_key: u64,
    /// For each pair of a mailbox and an alias when `SOGo`'s view is rebuilt, in nanoseconds. No other
    /// write to mailboxes, aliases or domains goes on meanwhile.
    pub rebuild_pair_nanos: u64,
    /// How long a write waits for such a rebuild before the database gives up; 0 for ever.
    pub lock_timeout: u64,
    /// To run a command in a container (one for each deleted mailbox).
    pub container: u64,
    /// How many of a thousand edits and deletes of mailboxes end in a deadlock; off by default.
    pub deadlocks_per_mille: u32,
}

impl CostModel {
    /// The costs measured on the real server: reads and lists in the recordings of topic 29, writes and
    /// `SOGo`'s view in those before.
    pub fn measured() -> Self {
        Self {
            startup: 10_000,
            mailbox_row: 3_900,
            reduced_row: 1_650,
            mailbox_pair_nanos: 700,
            domain_row: 1_500,
            domain_mailbox_nanos: 6_000,
            domain_scan_nanos: 2_000,
            small_row: 700,
            hash: 55_000,
            edit: 5_000,
            refresh: 12_000,
            refresh_alias_nanos: 5_000,
            dkim_key: 120_000,
            rebuild_pair_nanos: 1_300,
            lock_timeout: 50_000_000,
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
            mailbox_pair_nanos: 0,
            domain_row: 0,
            domain_mailbox_nanos: 0,
            domain_scan_nanos: 0,
            small_row: 0,
            hash: u64::try_from(hash.as_micros()).unwrap_or(u64::MAX),
            edit: 0,
            refresh: 0,
            refresh_alias_nanos: 0,
            dkim_key: 0,
            rebuild_pair_nanos: 0,
            lock_timeout: 0,
            container: 0,
            deadlocks_per_mille: 0,
        }
    }

    pub(crate) fn hash(&self) -> Duration {
        Duration::from_micros(self.hash)
    }

    /// What a read costs whose answer shows so many rows; `path` are the pieces behind `/api/v1/`.
    pub fn read(&self, state: &State, path: &[String], rows: usize) -> Duration {
        let piece = |n: usize| path.get(n).map_or("", String::as_str);
        let rows = count(rows);
        let all = count(state.mailboxes.len());
        // Of a list over several domains, each mailbox is summed up with those of its own.
        let named = state.domain(piece(3)).or_else(|| state.domain(piece(2)));
        let of_domain = match (named, state.mailbox(piece(2))) {
            (Some(domain), _) => count(state.mailboxes_of(&domain.name).count()),
            (None, Some(mailbox)) => count(state.mailboxes_of(&mailbox.domain).count()),
            (None, None) => all / count(state.domains.len()).max(1),
        };
        let whole = self.mailbox_row + of_domain * self.mailbox_pair_nanos / 1000;
        let domain = self.domain_row + (of_domain * self.domain_mailbox_nanos + all * self.domain_scan_nanos) / 1000;
        let micros = match (piece(1), piece(2)) {
            ("mailbox" | "domain", "template") => 0,
            ("mailbox", "reduced") => rows * self.reduced_row,
            ("mailbox", _) => rows * whole,
            ("domain", _) => rows * domain,
            ("alias", "all") => rows * self.small_row,
            ("filters" | "rl-mbox" | "syncjobs", "all") => all * self.small_row,
            _ => 0,
        };
        Duration::from_micros(self.startup + micros)
    }

    /// What a write costs by itself, before it comes to `SOGo`'s view.
    pub(crate) fn write(&self, call: &Call, items: usize) -> Duration {
        let items = count(items.max(1));
        let hash = if call.body.contains("\"password\"") { self.hash } else { 0 };
        let own = match (call.action(), call.piece(1)) {
            ("edit", "mailbox") => (self.edit + hash) * items,
            ("add", "domain" | "dkim") if !call.body.contains("\"key_size\":0") => self.dkim_key,
            ("delete", "mailbox") => self.container * items,
            _ => 0,
        };
        Duration::from_micros(self.startup + own)
    }

    /// How long a write works on `SOGo`'s view, on a server as it is after it.
    pub(crate) fn view(&self, state: &State, work: ViewWork) -> Duration {
        let mailboxes = count(state.mailboxes.len());
        let aliases = count(state.aliases.len()).saturating_sub(mailboxes);
        let refresh = self.refresh * 1000 + aliases * self.refresh_alias_nanos;
        let rebuild = (mailboxes * aliases).saturating_mul(self.rebuild_pair_nanos);
        Duration::from_nanos(count(work.refreshes) * refresh + count(work.rebuilds).saturating_mul(rebuild))
    }
}

/// What a write has to do to `SOGo`'s view: refresh the rows of single mailboxes, or rebuild all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewWork {
    pub(crate) refreshes: usize,
    pub(crate) rebuilds: usize,
}

impl ViewWork {
    /// The work for the mailboxes a write touched: one that is there and active is refreshed; for any other,
    /// and for none at all, everything is rebuilt.
    pub(crate) fn of(state: &State, touched: &[String]) -> Self {
        let mut work = Self::default();
        for (n, address) in touched.iter().enumerate() {
            let is_room = state.resources.contains_key(address);
            if touched[..n].contains(address) {
                continue;
            }
            if is_room || state.mailbox(address).is_some_and(|mailbox| mailbox.active == 1) {
                work.refreshes += 1;
            } else {
                work.rebuilds += 1;
            }
        }
        if touched.is_empty() {
            work.rebuilds = 1;
        }
        work
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_active_mailbox_rebuilds_all() {
        let mut state = State::fresh();
        state.seed_domain("acme.test");
        for name in ["a", "b", "c"] {
            state.seed_mailbox(&format!("{name}@acme.test"));
        }
        if let Some(mailbox) = state.mailbox_mut("c@acme.test") {
            mailbox.active = 0;
        }
        let work = |touched: &[&str]| {
            let touched: Vec<String> = touched.iter().map(|name| (*name).to_owned()).collect();
            let work = ViewWork::of(&state, &touched);
            (work.refreshes, work.rebuilds)
        };
        assert_eq!(work(&["a@acme.test", "b@acme.test", "a@acme.test"]), (2, 0));
        assert_eq!(work(&["a@acme.test", "c@acme.test", "x@far.example"]), (1, 2));
        assert_eq!(work(&[]), (0, 1));
    }

    #[test]
    fn a_rebuild_takes_as_long_as_it_was_measured() {
        let rebuild = |mailboxes: usize| {
            let mut state = State::fresh();
            state.seed_bulk(1, mailboxes);
            CostModel::measured().view(&state, ViewWork { refreshes: 0, rebuilds: 1 }).as_secs_f64()
        };
        assert!((1.2..1.8).contains(&rebuild(1000)), "{}", rebuild(1000));
        assert!((28.0..36.0).contains(&rebuild(5000)), "{}", rebuild(5000));
    }
}
