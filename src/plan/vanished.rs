//! Our entries that are missing on a server: a few are recreated, many at once are not. An old dump, an empty database
//! or a wrong URL look like that, and recreating everything, empty, would hide the loss.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::mail::sha256;

/// Up to this many missing entries are always recreated.
const FEW: usize = 10;
/// More than one in this many of our entries on a server is many.
const SHARE: usize = 10;
/// How long a confirmation is valid; it names a day.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Our entries in one domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Mailboxes.
    pub mailboxes: usize,
    /// Aliases.
    pub aliases: usize,
}

/// One domain on one server: what statuses report as in sync, and what Mailcow has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DomainCounts {
    /// Whether an `EmailDomain` was in sync.
    pub is_expected: bool,
    /// Entries that were in sync in it.
    pub expected: Held,
    /// Number of entries on Mailcow, of any owner; `None` if it does not have the domain.
    pub shown: Option<Held>,
    /// Entries that were seen to be missing, one by one.
    pub seen_missing: Held,
}

impl DomainCounts {
    /// Number of entries that were in sync.
    fn expected(&self) -> usize {
        usize::from(self.is_expected) + self.expected.mailboxes + self.expected.aliases
    }

    /// Number of missing entries that store mail, and of aliases; a lower bound, because entries of others in the
    /// domain may hide some.
    fn missing(&self) -> (usize, usize) {
        let Some(shown) = self.shown else {
            return (usize::from(self.is_expected) + self.expected.mailboxes, self.expected.aliases);
        };
        let missing = |expected: usize, shown: usize, seen: usize| expected.saturating_sub(shown).max(seen);
        (
            missing(self.expected.mailboxes, shown.mailboxes, self.seen_missing.mailboxes),
            missing(self.expected.aliases, shown.aliases, self.seen_missing.aliases),
        )
    }
}

/// Number of our entries on a server, and of the missing ones: domains, mailboxes and aliases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vanished {
    /// Entries that were in sync.
    pub expected: usize,
    /// Entries of these that Mailcow no longer has.
    pub missing: usize,
}

impl Vanished {
    /// For all domains of a server. Aliases alone store no mail, and are deleted with a mailbox on purpose: they count
    /// only together with an entry that stores mail.
    pub fn count<'a>(domains: impl IntoIterator<Item = &'a DomainCounts>) -> Self {
        let (mut expected, mut of_mail, mut aliases) = (0, 0, 0);
        for domain in domains {
            let missing = domain.missing();
            expected += domain.expected();
            of_mail += missing.0;
            aliases += missing.1;
        }
        Self { expected, missing: if of_mail == 0 { 0 } else { of_mail + aliases } }
    }

    /// Whether so many are missing that nothing is recreated before somebody confirms it.
    pub fn is_many(self) -> bool {
        self.missing > FEW && self.missing * SHARE > self.expected
    }

    /// The value that confirms the recreation: the number of entries, the day, and a digest of both with the server's
    /// URL. It is valid for this day and the next, for at most this number of entries, and for this server only.
    pub fn consent(self, url: &str, now: Timestamp) -> String {
        consent(self.missing, url, now)
    }

    /// Whether somebody confirmed the recreation.
    pub fn is_consented(self, consented: Option<&str>, url: &str, now: Timestamp) -> bool {
        let Some(consented) = consented.map(str::trim) else { return false };
        let named = consented.split('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let days = [Some(now), now.checked_sub(DAY).ok()];
        self.missing <= named && days.into_iter().flatten().any(|day| consent(named, url, day) == consented)
    }
}

fn consent(missing: usize, url: &str, now: Timestamp) -> String {
    let day = now.strftime("%Y%m%d");
    let digest = sha256(&format!("{url} {missing} {day}"));
    format!("{missing}-{day}-{}", digest.chars().take(8).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(expected: usize, shown: Option<usize>) -> DomainCounts {
        let held = |mailboxes| Held { mailboxes, aliases: 0 };
        DomainCounts { is_expected: true, expected: held(expected), shown: shown.map(held), ..DomainCounts::default() }
    }

    fn is_many(domains: &[DomainCounts]) -> bool {
        Vanished::count(domains).is_many()
    }

    #[test]
    fn more_than_ten_and_more_than_a_tenth_are_many() {
        assert!(!is_many(&[domain(10, Some(0))]), "ten are few, whatever their share");
        assert!(is_many(&[domain(11, Some(0))]));
        assert!(!is_many(&[domain(110, Some(99)), domain(0, Some(0))]), "eleven of 112 are less than a tenth");
        assert!(!is_many(&[domain(109, Some(98))]), "eleven of 110 are a tenth");
        assert!(is_many(&[domain(108, Some(97))]), "eleven of 109 are more than a tenth");
        assert!(!is_many(&[]));
    }

    #[test]
    fn a_domain_that_is_gone_takes_with_it_what_was_in_it() {
        let all = Vanished::count(&[domain(10, None), domain(5, Some(5))]);
        assert_eq!(all, Vanished { expected: 17, missing: 11 });
        assert!(all.is_many());
    }

    #[test]
    fn aliases_count_only_beside_something_that_holds_mail() {
        let aliases = |mailboxes| DomainCounts {
            expected: Held { mailboxes, aliases: 15 },
            shown: Some(Held { mailboxes: 5, aliases: 0 }),
            ..DomainCounts::default()
        };
        assert_eq!(Vanished::count(&[aliases(5)]), Vanished { expected: 20, missing: 0 });
        assert_eq!(Vanished::count(&[aliases(6)]), Vanished { expected: 21, missing: 16 });
    }

    #[test]
    fn what_others_have_in_a_domain_does_not_hide_what_was_seen_to_be_missing() {
        let crowded = domain(20, Some(500));
        assert_eq!(Vanished::count(&[crowded]).missing, 0);
        let seen = DomainCounts { seen_missing: Held { mailboxes: 12, aliases: 1 }, ..crowded };
        assert_eq!(Vanished::count(&[seen]).missing, 13);
    }

    #[test]
    fn a_consent_is_for_so_many_things_of_one_server_and_two_days() {
        let all = Vanished { expected: 100, missing: 40 };
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let (today, url) = (at(1_796_000_000), "https://mail.example.com");
        let text = all.consent(url, today);
        let holds = |missing, url: &str, now| Vanished { missing, ..all }.is_consented(Some(&text), url, now);
        assert!(holds(40, url, today) && holds(3, url, today), "it goes on holding while there is less and less");
        assert!(holds(40, url, at(1_796_000_000 + 86_400)) && !holds(40, url, at(1_796_000_000 + 2 * 86_400)));
        assert!(!holds(41, url, today) && !holds(40, "https://other.example.com", today));
        for other in [None, Some(""), Some("true"), Some("40"), Some("400-20261128-00000000")] {
            assert!(!all.is_consented(other, url, today), "{other:?}");
        }
    }
}
