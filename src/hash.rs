//! Values as numbers.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The value as one number, the same as long as the process runs.
pub(crate) fn hashed(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
