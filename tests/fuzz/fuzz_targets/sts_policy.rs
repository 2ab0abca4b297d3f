//! MTA-STS policies.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(policy) = mailcow_operator::dns::Policy::parse(data) {
        policy.covers("mail.host.test");
    }
});
