//! Values in little memory. Of objects and of entries on Mailcow there may be hundreds of thousands.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What can be packed.
pub(crate) trait Packable: Serialize + DeserializeOwned + PartialEq {
    /// A typical value as JSON, always the same. What a value has in common with it takes hardly any memory.
    fn typical() -> &'static [u8];
}

/// A packed value: its compressed JSON. Equal values are packed alike; clones share it.
#[derive(Debug)]
pub(crate) struct Packed<T>(Arc<[u8]>, PhantomData<fn() -> T>);

impl<T> Clone for Packed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<T> PartialEq for Packed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Packable> Packed<T> {
    /// Packs a value.
    pub(crate) fn pack(value: &T) -> Self {
        let json = readable(serde_json::to_vec(value));
        let packed = Self(lz4_flex::block::compress_prepend_size_with_dict(&json, T::typical()).into(), PhantomData);
        debug_assert!(packed.unpack() == *value, "a value is not what was packed: {}", String::from_utf8_lossy(&json));
        packed
    }

    /// The value.
    pub(crate) fn unpack(&self) -> T {
        let json = lz4_flex::block::decompress_size_prepended_with_dict(&self.0, T::typical());
        readable(serde_json::from_slice(&readable(json)))
    }
}

/// What the operator itself wrote to memory.
fn readable<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| unreachable!("a value in memory can't be read: {error}"))
}
