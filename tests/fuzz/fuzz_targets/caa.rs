//! CAA records: the first byte is the flag, the tag ends at the first blank.

#![no_main]

mod world;

use mailcow_operator::dns::{Caa, Kind, Outcome, caa};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((flag, rest)) = data.split_first() else { return };
    let mut parts = rest.splitn(2, |byte| *byte == b' ');
    let tag = String::from_utf8_lossy(parts.next().unwrap_or_default()).to_ascii_lowercase();
    let value = parts.next().unwrap_or_default().to_vec();
    let record = Caa { critical: flag & 0x80 != 0, tag, value };
    world::judge(caa, Kind::Caa, &Outcome::Caa(vec![record]));
});
