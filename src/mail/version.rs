//! Mailcow's versions, such as `2026-07a`, and which version added what (from Mailcow's git history).

use std::fmt;

/// A version: a year, a month, and a letter for a later release of the month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    year: u16,
    month: u8,
    letter: Option<char>,
}

impl Version {
    /// Reads a version; `None` for one of another form, such as that of a development branch.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, rest) = text.trim().split_once('-')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (month, letter) = rest.split_at_checked(digits)?;
        let month = month.parse().ok().filter(|month| (1..=12).contains(month))?;
        Some(Self { year: year.parse().ok()?, month, letter: letter.chars().next() })
    }

    /// Whether a server with this version lists mailboxes in pages.
    pub fn has_pages(self) -> bool {
        self >= Self { year: 2026, month: 3, letter: None }
    }

    /// Whether a server with this version has the field.
    pub fn has(self, feature: Feature) -> bool {
        self >= feature.since()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}{}", self.year, self.month, self.letter.map(String::from).unwrap_or_default())
    }
}

/// A field that not every release has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Whether the targets of an alias may send as it.
    SenderAllowed,
    /// Switches for `ActiveSync` and for calendars and address books.
    EasAndDav,
}

impl Feature {
    /// The first release with this field.
    pub const fn since(self) -> Version {
        match self {
            Self::SenderAllowed | Self::EasAndDav => Version { year: 2026, month: 1, letter: None },
        }
    }

    /// The field of the spec.
    pub const fn field(self) -> &'static str {
        match self {
            Self::SenderAllowed => "senderAllowed",
            Self::EasAndDav => "protocols without EAS or DAV",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_year_month_and_letter() {
        let versions = ["2025-12b", "2026-01", "2026-01a", "2026-07", "2026-07a"].map(|t| Version::parse(t).unwrap());
        assert!(versions.is_sorted());
        assert!(!versions[0].has(Feature::SenderAllowed) && versions[1].has(Feature::SenderAllowed));
        assert_eq!(versions[4].to_string(), "2026-07a");
    }

    #[test]
    fn what_is_no_release_has_no_order() {
        for text in ["", "master", "nightly-42", "2026-13", "2026-", "06424670f"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
