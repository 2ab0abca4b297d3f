//! Maps of what comes and goes don't keep the room of the most they ever held.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

/// Of a map with room for so many times what is in it, the rest is given back.
const SPARSE: usize = 4;
/// Room for so many entries is never given back.
const FEW: usize = 256;

/// A collection that keeps its room when entries go.
pub trait Shrink {
    /// Entries, and room for so many.
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

/// Gives the room back that a collection no longer needs. Cheap: to be called whenever an entry goes.
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
