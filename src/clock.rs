//! The only reader of the wall clock; everything that decides takes `now` as a value.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

/// The current time in whole seconds, the precision of the Kubernetes API.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// The current time in microseconds, the precision of a Lease.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn precisely() -> MicroTime {
    MicroTime(Timestamp::now())
}
