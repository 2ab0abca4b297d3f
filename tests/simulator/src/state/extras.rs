//! What hangs on mailboxes and domains: filters, resources, time-limited aliases.

/// Whether a filter runs before or after the user's own script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterKind {
    /// `prefilter`
    Before,
    /// `postfilter`
    After,
}

impl FilterKind {
    /// Reads `prefilter` or `postfilter`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "prefilter" => Some(Self::Before),
            "postfilter" => Some(Self::After),
            _ => None,
        }
    }

    /// The name Mailcow gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "prefilter",
            Self::After => "postfilter",
        }
    }
}

/// A Sieve script of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SieveFilter {
    /// Its id, never used again.
    pub id: i64,
    /// The mailbox, spelt as it was sent.
    pub username: String,
    /// Before or after the user's own script.
    pub kind: FilterKind,
    /// The script.
    pub script: String,
    /// What it is for.
    pub description: String,
    /// At most one of a kind is active.
    pub active: bool,
}

/// A room or a thing that can be booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its address.
    pub name: String,
    /// The domain it belongs to.
    pub domain: String,
    /// What it is.
    pub description: String,
    /// `location`, `group` or `thing`.
    pub kind: String,
    /// How often it can be booked at one time.
    pub multiple_bookings: i64,
    /// 1 when it is active.
    pub active: i64,
}

/// An alias that ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedAlias {
    /// Its made-up address.
    pub address: String,
    /// The mailbox behind it.
    pub goto: String,
    /// What it is for.
    pub description: String,
    /// When it ends, in seconds since 1970.
    pub validity: i64,
    /// Whether it does not end at all.
    pub permanent: bool,
    /// When it was created.
    pub created: String,
    /// When it last changed.
    pub modified: Option<String>,
}
