//! Certificates as a mail host shows them, in DER.

#![no_main]

mod world;

use mailcow_operator::dns::{Kind, Outcome, tlsa};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    world::judge(tlsa, Kind::Certificate, &Outcome::Certificates(vec![data.to_vec()]));
});
