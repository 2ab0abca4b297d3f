//! Clocks of servers beside the clock of this machine.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::finding::Findings;

/// Clocks may differ by this much.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(60);

/// Compares the clock of `server` with that of this machine. `depends` says what depends on it.
pub(super) fn check(found: &mut Findings, name: &'static str, server: &str, there: Timestamp, depends: &str) {
    let apart = there.duration_since(crate::clock::now().0);
    if apart.abs() > TOLERANCE {
        found.bad(
            name,
            format!("the clocks of {server} and of this machine are {} s apart", apart.as_secs().abs()),
            format!("set the wrong one, for example: timedatectl set-ntp true; {depends}"),
        );
    } else {
        found.good(name, format!("{server} and this machine agree"));
    }
}
