//! Quotas: bytes inside, whole MiB for Mailcow, Kubernetes quantities for users.

use serde::{Deserialize, Serialize};

use std::fmt;

const KI: u64 = 1 << 10;
const MI: u64 = 1 << 20;
const GI: u64 = 1 << 30;
const TI: u64 = 1 << 40;

/// Why a text is not a quota.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a quota: write a whole number of Ki, Mi, Gi or Ti, such as 1Gi")]
pub struct InvalidQuota(pub String);

/// An amount of mail in bytes; as a limit, 0 means unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Quota(u64);

impl Quota {
    /// No limit.
    pub const UNLIMITED: Self = Self(0);

    /// An amount in bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// An amount in MiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib * MI)
    }

    /// An amount in GiB.
    pub const fn gib(gib: u64) -> Self {
        Self(gib * GI)
    }

    /// Reads `0`, or a whole number with `Ki`, `Mi`, `Gi` or `Ti`.
    ///
    /// # Errors
    /// When it is something else, or more than fits into 63 bits.
    pub fn parse(text: &str) -> Result<Self, InvalidQuota> {
        let bad = || InvalidQuota(text.to_owned());
        if text == "0" {
            return Ok(Self(0));
        }
        let (digits, unit) = text.split_at_checked(text.len().saturating_sub(2)).ok_or_else(bad)?;
        let unit = match unit {
            "Ki" => KI,
            "Mi" => MI,
            "Gi" => GI,
            "Ti" => TI,
            _ => return Err(bad()),
        };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        number.checked_mul(unit).filter(|bytes| i64::try_from(*bytes).is_ok()).map(Self).ok_or_else(bad)
    }

    /// The amount in bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }

    /// The amount in MiB, rounded down: the unit that Mailcow takes.
    pub const fn as_mib(self) -> u64 {
        self.0 / MI
    }
}

impl fmt::Display for Quota {
    /// Whole units as a Kubernetes quantity (`1Gi`), else one decimal of the largest unit (`1.5Gi`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((unit, name)) =
            [(TI, "Ti"), (GI, "Gi"), (MI, "Mi"), (KI, "Ki")].into_iter().find(|(u, _)| self.0 >= *u)
        else {
            return write!(f, "{}", self.0);
        };
        let tenths = self.0 / (unit / 10).max(1);
        match self.0 % unit {
            0 => write!(f, "{}{name}", self.0 / unit),
            _ if tenths.is_multiple_of(10) => write!(f, "{}{name}", tenths / 10),
            _ => write!(f, "{}.{}{name}", tenths / 10, tenths % 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_bytes() {
        assert_eq!(Quota::parse("1Gi").unwrap(), Quota::mib(1024));
        assert_eq!(Quota::parse("512Mi").unwrap().as_mib(), 512);
        assert_eq!(Quota::parse("0").unwrap(), Quota::UNLIMITED);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "1", "1G", "-1Gi", "1.5Gi", "Gi", "Ü", "99999999999999999Ti", "1 Gi"] {
            assert!(Quota::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn people_read_the_largest_unit() {
        let shown = |bytes| Quota::bytes(bytes).to_string();
        assert_eq!(shown(GI), "1Gi");
        assert_eq!(shown(GI + GI / 2), "1.5Gi");
        assert_eq!(shown(400_000_000), "381.4Mi");
        assert_eq!(shown(17), "17");
        assert_eq!(shown(0), "0");
    }
}
