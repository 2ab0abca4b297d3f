//! TLS-RPT records.

#![no_main]

mod world;

libfuzzer_sys::fuzz_target!(|data: &[u8]| world::text(mailcow_operator::dns::tls_rpt, data));
