//! How much a namespace may have in a domain that another namespace shares with it (`spec.allowedNamespaces.limits`). A
//! lower limit removes nothing, but nothing is added.

use crate::crd::{NamespaceLimits, Per};
use crate::mail::{InvalidQuota, Quota, RateLimit};

/// A limit that would be exceeded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// The number of mailboxes or aliases.
    #[error(
        "{limit} of the EmailDomain allows this namespace {most} {things}, and {count} others exist or were created earlier; delete one, or ask the namespace of the domain"
    )]
    Count {
        /// The field with the limit.
        limit: &'static str,
        /// `mailboxes` or `aliases`.
        things: &'static str,
        /// The maximum number.
        most: u32,
        /// The number of others.
        count: usize,
    },
    /// The sum of quotas.
    #[error(
        "{limit} of the EmailDomain allows the mailboxes of this namespace {most} in total, of which {left} is left; lower spec.quota ({asked}), or ask the namespace of the domain"
    )]
    Quota {
        /// The field with the limit.
        limit: &'static str,
        /// The maximum sum.
        most: Quota,
        /// How much is left.
        left: Quota,
        /// The wanted quota, as text.
        asked: String,
    },
    /// The number of messages.
    #[error(
        "spec.rateLimit: {limit} of the EmailDomain allows {most}; lower it, or ask the namespace of the domain. Everything else is written, and the mailbox has no higher limit"
    )]
    Rate {
        /// The field with the limit.
        limit: &'static str,
        /// The limit, as text.
        most: String,
    },
    /// The limit is invalid.
    #[error("spec.allowedNamespaces.limits.totalQuota of the EmailDomain: {0}")]
    Unreadable(InvalidQuota),
}

/// Another mailbox or alias of the same namespace in the same domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its quota on Mailcow, 0 for an alias; `None` if it does not exist there.
    pub has: Option<Quota>,
    /// What its spec asks for.
    pub wants: Quota,
    /// Whether it is older than the object that is checked.
    pub is_earlier: bool,
}

const MAILBOXES: &str = "spec.allowedNamespaces.limits.mailboxes";
const ALIASES: &str = "spec.allowedNamespaces.limits.aliases";
const TOTAL_QUOTA: &str = "spec.allowedNamespaces.limits.totalQuota";
const RATE: &str = "spec.allowedNamespaces.limits.rateLimit";

/// Whether a mailbox may have the quota `wants`; `has` is its quota on Mailcow, if it exists.
///
/// # Errors
/// [`LimitReached`].
pub fn mailbox(
    limits: &NamespaceLimits,
    wants: Quota,
    has: Option<Quota>,
    others: &[Other],
) -> Result<(), LimitReached> {
    if has.is_none() {
        count(MAILBOXES, "mailboxes", limits.mailboxes, others)?;
    }
    let Some(most) = limits.total_quota.as_deref() else { return Ok(()) };
    let most = Quota::parse(most).map_err(LimitReached::Unreadable)?;
    if !grows(wants, has) {
        return Ok(());
    }
    let taken: u64 = others.iter().map(taken).fold(0, u64::saturating_add);
    let fits = wants != Quota::UNLIMITED && taken.saturating_add(wants.as_bytes()) <= most.as_bytes();
    if fits {
        return Ok(());
    }
    let left = Quota::bytes(most.as_bytes().saturating_sub(taken));
    let asked = if wants == Quota::UNLIMITED { "no limit".to_owned() } else { wants.to_string() };
    Err(LimitReached::Quota { limit: TOTAL_QUOTA, most, left, asked })
}

/// Whether another alias may be created.
///
/// # Errors
/// [`LimitReached`].
pub fn alias(limits: &NamespaceLimits, others: &[Other]) -> Result<(), LimitReached> {
    count(ALIASES, "aliases", limits.aliases, others)
}

/// Whether a mailbox that wants a quota takes more than `has`, its quota on Mailcow. One that does not is within the limits,
/// whatever others have.
pub fn grows(wants: Quota, has: Option<Quota>) -> bool {
    has.is_none_or(|has| has != Quota::UNLIMITED && (wants > has || wants == Quota::UNLIMITED))
}

fn count(limit: &'static str, things: &'static str, most: Option<u32>, others: &[Other]) -> Result<(), LimitReached> {
    let Some(most) = most else { return Ok(()) };
    let count = others.iter().filter(|other| other.has.is_some() || other.is_earlier).count();
    if count < usize::try_from(most).unwrap_or(usize::MAX) {
        return Ok(());
    }
    Err(LimitReached::Count { limit, things, most, count })
}

/// How much of the sum another mailbox takes, in bytes: its quota, or what it requested earlier.
fn taken(other: &Other) -> u64 {
    let bytes = |quota: Quota| if quota == Quota::UNLIMITED { u64::MAX } else { quota.as_bytes() };
    let wanted = if other.is_earlier { bytes(other.wants) } else { 0 };
    other.has.map_or(0, bytes).max(wanted)
}

/// The rate limit of a guest's mailbox. `own` comes from its spec, `default` is the domain's default for guests, and
/// `of_domain` is the domain's own limit, which also applies to mailboxes without one.
///
/// # Errors
/// [`LimitReached::Rate`] where the spec asks for more than it may.
pub fn rate(
    most: Option<RateLimit>,
    of_domain: Option<RateLimit>,
    own: Option<RateLimit>,
    default: Option<RateLimit>,
) -> Result<Option<RateLimit>, LimitReached> {
    let bounds = [("spec.rateLimit", of_domain), (RATE, most)];
    let bounds = bounds.map(|(name, bound)| (name, bound.filter(|bound| *bound != RateLimit::Unlimited)));
    let exceeded = |rate: RateLimit| {
        // A mailbox without a limit has its domain's limit.
        let rate = if rate == RateLimit::Unlimited { bounds[0].1.unwrap_or(rate) } else { rate };
        bounds
            .iter()
            .find_map(|(name, bound)| bound.filter(|bound| !is_within(rate, *bound)).map(|bound| (*name, bound)))
    };
    match own {
        Some(own) => match exceeded(own) {
            None => Ok(Some(own)),
            Some((limit, bound)) => Err(LimitReached::Rate { limit, most: words(bound) }),
        },
        None => Ok(match default {
            Some(default) if exceeded(default).is_none() => Some(default),
            _ if exceeded(RateLimit::Unlimited).is_none() => default.map(|_| RateLimit::Unlimited),
            _ => bounds[1].1,
        }),
    }
}

/// The rate limit that a guest's mailbox gets in place of `has`, if that is more than it may have: the highest that is
/// within both bounds. Arguments as in [`rate`].
pub fn lowered_rate(most: Option<RateLimit>, of_domain: Option<RateLimit>, has: RateLimit) -> Option<RateLimit> {
    let bounds: Vec<RateLimit> = [of_domain, most].into_iter().flatten().collect();
    // A mailbox without a limit has its domain's limit.
    let counted = if has == RateLimit::Unlimited { of_domain.unwrap_or(has) } else { has };
    if bounds.iter().all(|bound| is_within(counted, *bound)) {
        return None;
    }
    bounds.into_iter().reduce(|one, other| match (one, other) {
        (RateLimit::Unlimited, bound) | (bound, RateLimit::Unlimited) => bound,
        (RateLimit::Limit { messages, per }, RateLimit::Limit { messages: most, per: within }) => {
            let per = if seconds(per) < seconds(within) { within } else { per };
            RateLimit::Limit { messages: messages.min(most), per }
        }
    })
}

/// Whether a limit is at least as strict as another one, in every period that the other one counts.
fn is_within(rate: RateLimit, bound: RateLimit) -> bool {
    match (rate, bound) {
        (_, RateLimit::Unlimited) => true,
        (RateLimit::Unlimited, RateLimit::Limit { .. }) => false,
        (RateLimit::Limit { messages, per }, RateLimit::Limit { messages: most, per: within }) => {
            let times = u64::from(seconds(within)).div_ceil(u64::from(seconds(per)));
            u64::from(messages) * times <= u64::from(most)
        }
    }
}

const fn seconds(per: Per) -> u32 {
    match per {
        Per::Second => 1,
        Per::Minute => 60,
        Per::Hour => 3600,
        Per::Day => 86_400,
    }
}

fn words(rate: RateLimit) -> String {
    match rate {
        RateLimit::Unlimited => "any number of messages".to_owned(),
        RateLimit::Limit { messages, per } => format!("{messages} messages per {per:?}").to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(yaml: &str) -> NamespaceLimits {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn other(has: Option<u64>, wants: u64, is_earlier: bool) -> Other {
        Other { has: has.map(Quota::gib), wants: Quota::gib(wants), is_earlier }
    }

    #[test]
    fn the_first_ones_and_those_that_are_there_count() {
        let two = limits("{mailboxes: 2, aliases: 1}");
        let ask =
            |has: Option<u64>, others: &[Other]| mailbox(&two, Quota::gib(1), has.map(Quota::gib), others).is_ok();
        let (there, earlier, later) = (other(Some(1), 1, false), other(None, 1, true), other(None, 1, false));
        assert!(ask(None, &[there, later, later]));
        assert!(!ask(None, &[there, earlier]));
        assert!(ask(Some(1), &[there, earlier, earlier]), "what is there stays");
        assert!(alias(&two, &[later]).is_ok() && alias(&two, &[earlier]).is_err());
        assert!(mailbox(&limits("{}"), Quota::UNLIMITED, None, &[there; 9]).is_ok());
    }

    #[test]
    fn quotas_add_up_to_no_more_than_is_allowed() {
        let ten = limits("{totalQuota: 10Gi}");
        let ask = |wants: Quota, has: Option<u64>, others: &[Other]| mailbox(&ten, wants, has.map(Quota::gib), others);
        assert!(ask(Quota::gib(4), None, &[other(Some(6), 1, false)]).is_ok());
        let refused = ask(Quota::gib(5), None, &[other(Some(6), 1, false)]).unwrap_err().to_string();
        assert!(refused.contains("of which 4Gi is left") && refused.contains("limits.totalQuota"), "{refused}");
        assert!(refused.contains("5Gi"), "it says what is asked for: {refused}");
        assert!(ask(Quota::UNLIMITED, None, &[]).unwrap_err().to_string().contains("no limit"));
        assert!(ask(Quota::gib(2), None, &[other(Some(1), 9, true)]).is_err(), "it asked for more before");
        assert!(ask(Quota::gib(2), None, &[other(Some(1), 9, false)]).is_ok());
        assert!(ask(Quota::gib(5), Some(6), &[other(Some(9), 9, true)]).is_ok(), "a lower quota always goes");
        assert!(ask(Quota::UNLIMITED, None, &[]).is_err() && ask(Quota::UNLIMITED, Some(1), &[]).is_err());
        assert!(ask(Quota::gib(1), None, &[Other { has: Some(Quota::UNLIMITED), ..other(None, 1, false) }]).is_err());
    }

    #[test]
    fn what_does_not_grow_is_within_the_limits_whatever_others_have() {
        let full = limits("{mailboxes: 1, totalQuota: 1Gi}");
        let others = [other(Some(9), 9, true); 3];
        let quotas = [Quota::gib(1), Quota::gib(2), Quota::UNLIMITED];
        for (wants, has) in quotas.into_iter().flat_map(|wants| quotas.map(|has| (wants, has))) {
            let expected = grows(wants, Some(has));
            assert_eq!(mailbox(&full, wants, Some(has), &others).is_err(), expected, "{wants} {has}");
        }
        assert!(grows(Quota::gib(1), None) && grows(Quota::gib(2), Some(Quota::gib(1))));
        assert!(!grows(Quota::gib(1), Some(Quota::gib(1))) && !grows(Quota::gib(1), Some(Quota::gib(2))));
        let unreadable = limits("{totalQuota: much}");
        assert!(mailbox(&unreadable, Quota::gib(1), Some(Quota::gib(1)), &[]).is_err(), "that is still reported");
    }

    fn per(messages: u32, per: Per) -> RateLimit {
        RateLimit::Limit { messages, per }
    }

    #[test]
    fn one_limit_is_within_another_if_no_stretch_of_time_lets_more_through() {
        for (rate, bound, expected) in [
            (per(10, Per::Hour), per(10, Per::Hour), true),
            (per(10, Per::Minute), per(599, Per::Hour), false),
            (per(10, Per::Minute), per(600, Per::Hour), true),
            (per(600, Per::Hour), per(10, Per::Minute), false),
            (per(10, Per::Hour), per(10, Per::Minute), true),
            (per(1, Per::Second), per(86_400, Per::Day), true),
            (RateLimit::Unlimited, per(1_000_000, Per::Second), false),
            (RateLimit::Unlimited, RateLimit::Unlimited, true),
        ] {
            assert_eq!(is_within(rate, bound), expected, "{rate:?} {bound:?}");
        }
    }

    #[test]
    fn what_is_more_than_allowed_is_lowered_to_the_highest_that_is_within_both_bounds() {
        let (domain, most) = (Some(per(10, Per::Minute)), Some(per(20, Per::Hour)));
        let unlimited = RateLimit::Unlimited;
        for (most, domain, has, expected) in [
            (most, None, per(20, Per::Hour), None),
            (most, None, per(21, Per::Hour), most),
            (most, None, unlimited, most),
            (None, domain, per(11, Per::Minute), domain),
            (None, domain, unlimited, None),
            (most, domain, unlimited, Some(per(10, Per::Hour))),
            (most, domain, per(1, Per::Second), Some(per(10, Per::Hour))),
            (most, domain, per(9, Per::Hour), None),
            (Some(unlimited), domain, per(99, Per::Second), domain),
            (None, None, unlimited, None),
        ] {
            assert_eq!(lowered_rate(most, domain, has), expected, "{most:?} {domain:?} {has:?}");
            let lowered = expected.unwrap_or(has);
            let lowered = if lowered == unlimited { domain.unwrap_or(lowered) } else { lowered };
            assert!([most, domain].into_iter().flatten().all(|bound| is_within(lowered, bound)), "{lowered:?}");
        }
    }

    #[test]
    fn a_guest_sends_no_more_than_the_domain_and_its_limits_allow() {
        let (domain, most) = (Some(per(100, Per::Hour)), Some(per(20, Per::Hour)));
        let unlimited = Some(RateLimit::Unlimited);
        assert_eq!(rate(most, None, Some(per(20, Per::Hour)), None), Ok(Some(per(20, Per::Hour))));
        let refused = |most, domain, own| rate(most, domain, own, None).unwrap_err().to_string();
        assert!(refused(most, None, Some(per(21, Per::Hour))).contains("limits.rateLimit"));
        assert!(refused(most, None, unlimited).contains("20 messages per hour"));
        assert!(refused(None, domain, Some(per(101, Per::Hour))).contains("spec.rateLimit of the EmailDomain"));
        assert_eq!(rate(None, domain, unlimited, None), Ok(unlimited), "it has the domain's");
        assert!(refused(most, domain, unlimited).contains("limits.rateLimit"));
        // What it does not say is bounded without a word.
        assert_eq!(rate(most, domain, None, None), Ok(most));
        assert_eq!(rate(most, None, None, Some(per(50, Per::Hour))), Ok(most));
        assert_eq!(rate(None, domain, None, Some(per(500, Per::Hour))), Ok(unlimited));
        assert_eq!(rate(None, domain, None, None), Ok(None));
        assert_eq!(rate(None, None, None, Some(per(5, Per::Hour))), Ok(Some(per(5, Per::Hour))));
    }
}
