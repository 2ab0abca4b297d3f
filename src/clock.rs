//! The only reader of the wall clock; everything that decides takes `now` as a value.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

/// Now, cut to whole seconds: what the Kubernetes API keeps of a time.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Now, in microseconds: what a Lease keeps of a time.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn precisely() -> MicroTime {
    MicroTime(Timestamp::now())
}
