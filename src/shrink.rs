//! Gives back the memory of maps that shrink.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

/// A map with room for this many times its entries is shrunk.
const SPARSE: usize = 4;
/// Room for this many entries is always kept.
const FEW: usize = 256;

/// A collection that keeps its room when entries are removed.
pub trait Shrink {
    /// Number of entries, and room.
    fn size(&self) -> (usize, usize);
    /// Keeps room for what is in it.
    fn shrink_to_fit(&mut self);
}

impl<K: Eq + Hash, V, S: BuildHasher> Shrink for HashMap<K, V, S> {
    fn size(&self) -> (usize, usize) {
        (self.len(), self.capacity())
    }

    fn shrink_to_fit(&mut self) {
        Self::shrink_to_fit(self);
    }
}

impl<K: Eq + Hash, S: BuildHasher> Shrink for HashSet<K, S> {
    fn size(&self) -> (usize, usize) {
        (self.len(), self.capacity())
    }

    fn shrink_to_fit(&mut self) {
        Self::shrink_to_fit(self);
    }
}

/// Gives back room that a collection no longer needs. Cheap: call it whenever an entry is removed.
pub fn shrink(collection: &mut impl Shrink) {
    let (entries, room) = collection.size();
    if room > SPARSE * entries.max(FEW) {
        collection.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_when_most_entries_have_gone() {
        let mut map: HashMap<u32, u32> = (0..100_000).map(|n| (n, n)).collect();
        map.retain(|n, _| *n < 50_000);
        shrink(&mut map);
        assert!(map.capacity() > 50_000, "half full it keeps its room");
        map.retain(|n, _| *n < 10);
        shrink(&mut map);
        assert!(map.capacity() < 4 * FEW, "{}", map.capacity());
    }
}
