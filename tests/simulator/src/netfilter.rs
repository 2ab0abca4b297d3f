//! Mailcow's netfilter: an address from which too many requests fail to authenticate is shut out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The settings of netfilter, as they are on a new server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netfilter {
    /// How many failures shut an address out.
    pub max_attempts: u32,
    /// After how long without a failure they are counted from the beginning.
    pub retry_window: Duration,
    /// How long an address is shut out the first time. Each further time it is twice as long.
    pub ban_time: Duration,
    /// How long it is at most.
    pub max_ban_time: Duration,
    /// The address that requests come from in netfilter's eyes. Private addresses and those of the machine
    /// itself, as in tests, are never shut out.
    pub seen_as: Option<IpAddr>,
}

impl Default for Netfilter {
    fn default() -> Self {
        Self {
            max_attempts: 10,
            retry_window: Duration::from_mins(10),
            ban_time: Duration::from_mins(30),
            max_ban_time: Duration::from_secs(10_000),
            seen_as: None,
        }
    }
}

impl Netfilter {
    /// The address that counts; `None` for one that is never shut out.
    fn address(&self, from: IpAddr) -> Option<IpAddr> {
        let address = self.seen_as.unwrap_or(from).to_canonical();
        let is_private = match address {
            IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified(),
        };
        (!is_private && !address.is_loopback()).then_some(address)
    }
}

/// What is counted for one address.
struct Counted {
    attempts: u32,
    last: Instant,
    bans: u32,
    shut_out_until: Option<Instant>,
}

/// The failures and bans by address.
#[derive(Default)]
pub(crate) struct Bans {
    by_address: HashMap<IpAddr, Counted>,
}

impl Bans {
    /// How much longer an address is shut out.
    pub(crate) fn left(&mut self, settings: &Netfilter, from: IpAddr, now: Instant) -> Option<Duration> {
        let counted = self.by_address.get_mut(&settings.address(from)?)?;
        let left = counted.shut_out_until?.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            counted.shut_out_until = None;
            counted.attempts = 0;
            counted.bans += 1;
        }
        left
    }

    /// Counts a request that failed to authenticate.
    pub(crate) fn failed(&mut self, settings: &Netfilter, from: IpAddr, now: Instant) {
        let Some(address) = settings.address(from) else { return };
        let fresh = Counted { attempts: 0, last: now, bans: 0, shut_out_until: None };
        let counted = self.by_address.entry(address).or_insert(fresh);
        if now.duration_since(counted.last) > settings.retry_window {
            counted.attempts = 0;
        }
        counted.attempts += 1;
        counted.last = now;
        if counted.attempts >= settings.max_attempts {
            let longer = settings.ban_time.saturating_mul(1 << counted.bans.min(16));
            let lasts = longer.min(settings.max_ban_time).max(settings.ban_time);
            counted.shut_out_until = now.checked_add(lasts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Netfilter {
        Netfilter { seen_as: Some(IpAddr::from([198, 51, 100, 7])), ..Netfilter::default() }
    }

    #[test]
    fn the_tenth_failure_shuts_out_and_the_next_time_for_longer() {
        let (settings, from, start) = (settings(), IpAddr::from([127, 0, 0, 1]), Instant::now());
        let mut bans = Bans::default();
        for _ in 0..9 {
            bans.failed(&settings, from, start);
        }
        assert_eq!(bans.left(&settings, from, start), None);
        bans.failed(&settings, from, start);
        assert_eq!(bans.left(&settings, from, start), Some(settings.ban_time));
        let later = start + settings.ban_time;
        assert_eq!(bans.left(&settings, from, later), None);
        for _ in 0..10 {
            bans.failed(&settings, from, later);
        }
        assert_eq!(bans.left(&settings, from, later), Some(settings.ban_time * 2));
    }

    #[test]
    fn failures_that_lie_apart_and_private_addresses_do_not_count() {
        let (settings, from, start) = (settings(), IpAddr::from([127, 0, 0, 1]), Instant::now());
        let mut bans = Bans::default();
        for n in 0..30_u32 {
            bans.failed(&settings, from, start + (settings.retry_window + Duration::from_secs(1)) * n);
        }
        assert_eq!(bans.left(&settings, from, start), None);
        let private = Netfilter { seen_as: Some(IpAddr::from([172, 22, 1, 1])), ..settings };
        for _ in 0..30 {
            bans.failed(&private, from, start);
        }
        assert_eq!(bans.left(&private, from, start), None);
    }
}
