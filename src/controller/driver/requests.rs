//! Limits how often requests by annotation are handled. Each `reconcile-requested-at` reads Mailcow and DNS again, each
//! `replace-app-password` writes to Mailcow.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::hash::hashed;
use crate::kubernetes::object::{Object, annotation};
use crate::shrink::shrink;

/// The last request of each object that was handled within `interval`.
#[derive(Debug)]
pub(crate) struct Requests {
    interval: Duration,
    handled: Mutex<HashMap<u64, Handled>>,
}

#[derive(Debug)]
struct Handled {
    request: u64,
    at: Instant,
}

impl Requests {
    /// Handles a new request of one object at most once per `interval`.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, handled: Mutex::default() }
    }

    /// Whether a driver may act now on the request in the annotation `name`. A new request shortly after another one has
    /// to wait.
    ///
    /// # Errors
    /// How long it has to wait.
    pub(crate) fn may_be_handled<K: Object>(
        &self,
        driver: &'static str,
        object: &K,
        name: &str,
    ) -> Result<(), Duration> {
        let Some(request) = annotation(object, name).map(|request| hashed(&request)) else {
            return Ok(());
        };
        let meta = object.meta();
        let object = hashed(&(driver, &meta.namespace, &meta.name));
        let mut handled = self.handled.lock().unwrap_or_else(PoisonError::into_inner);
        match handled.get(&object) {
            Some(last) if last.request == request => return Ok(()),
            Some(last) => {
                let left = self.interval.saturating_sub(last.at.elapsed());
                if !left.is_zero() {
                    return Err(left);
                }
            }
            None => {}
        }
        // Each new request removes old entries, so the number of entries stays bounded.
        if handled.len() >= handled.capacity() / 2 {
            handled.retain(|_, last| last.at.elapsed() < self.interval);
            shrink(&mut *handled);
        }
        handled.insert(object, Handled { request, at: Instant::now() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{EmailAlias, RECONCILE_REQUESTED_AT};

    fn alias(name: &str, request: Option<&str>) -> EmailAlias {
        let spec = serde_yaml::from_str("{localPart: a, domainRef: {name: d}, goto: [x@e.com]}").unwrap();
        let mut alias = EmailAlias::new(name, spec);
        alias.metadata.namespace = Some("n".into());
        let request = request.map(|value| (RECONCILE_REQUESTED_AT.to_owned(), value.to_owned()));
        alias.metadata.annotations = Some(request.into_iter().collect());
        alias
    }

    #[test]
    fn a_new_request_waits_for_the_interval_of_the_one_before() {
        let interval = Duration::from_millis(50);
        let requests = Requests::new(interval);
        let ask = |driver: &'static str, request: Option<&str>| {
            requests.may_be_handled(driver, &alias("a", request), RECONCILE_REQUESTED_AT)
        };
        assert!(ask("EmailAlias", None).is_ok() && ask("EmailAlias", Some("1")).is_ok());
        assert!(ask("EmailAlias", Some("1")).is_ok(), "the same is no new one");
        assert!(ask("EmailAlias", Some("2")).is_err_and(|wait| wait <= interval));
        assert!(ask("EmailAlias", None).is_ok() && ask("DNS", Some("2")).is_ok());
        let other = |name| requests.may_be_handled("EmailAlias", &alias("a", Some("3")), name);
        assert!(other("x").is_ok() && other(RECONCILE_REQUESTED_AT).is_err());
        std::thread::sleep(interval);
        assert!(ask("EmailAlias", Some("2")).is_ok());
    }

    #[test]
    fn objects_that_come_and_go_leave_nothing() {
        let requests = Requests::new(Duration::ZERO);
        for n in 0..20_000 {
            let alias = alias(&format!("a{n}"), Some("1"));
            assert!(requests.may_be_handled("EmailAlias", &alias, RECONCILE_REQUESTED_AT).is_ok());
        }
        let handled = requests.handled.lock().unwrap();
        assert!(handled.len() < 1024 && handled.capacity() < 2048, "{} {}", handled.len(), handled.capacity());
    }
}
