//! Which of the Mailcow servers an instance serves, and the Leases that keep other instances from them.

use std::collections::BTreeSet;

use crate::crd::DEFAULT_SERVER;

/// The configured servers, and which of them this instance serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    known: BTreeSet<String>,
    /// `None`: all.
    listed: Option<BTreeSet<String>>,
}

impl Served {
    /// Of the `known` servers the `listed` ones; all if none is listed.
    ///
    /// # Errors
    /// A listed server is not known.
    pub fn new<'a>(known: impl IntoIterator<Item = &'a str>, listed: &[String]) -> Result<Self, String> {
        let known: BTreeSet<String> = known.into_iter().map(ToOwned::to_owned).collect();
        if let Some(unknown) = listed.iter().find(|server| !known.contains(*server)) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            return Err(format!(
                "--serve: the server {unknown} is not configured; configured are: {}; use one of these, or add --mailcow-server {unknown}=SECRET (mailcow.servers in the chart), also where other servers are served",
                known.join(", ")
            ));
        }
        Ok(Self { known, listed: (!listed.is_empty()).then(|| listed.iter().cloned().collect()) })
    }

    /// Whether this instance serves every object.
    pub fn is_everything(&self) -> bool {
        self.listed.is_none()
    }

    /// Whether this instance serves the objects on a server. Those on an unknown server belong to whoever serves the
    /// default server, so that exactly one instance reports them.
    pub fn has(&self, server: &str) -> bool {
        let Some(listed) = &self.listed else { return true };
        listed.contains(if self.known.contains(server) { server } else { DEFAULT_SERVER })
    }

    /// The configured servers that this instance serves.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str).filter(|server| self.has(server))
    }

    /// The configured servers that other instances serve.
    pub fn others(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str).filter(|server| !self.has(server))
    }

    /// The names of the Leases that this instance needs, one for each server that it serves. That of the default server has
    /// the name `name` itself, as with a single server. The order is the same for every list, so that instances with
    /// overlapping lists can't wait for each other.
    pub fn leases(&self, name: &str) -> Vec<String> {
        let default = self.names().filter(|server| *server == DEFAULT_SERVER).map(|_| name.to_owned());
        let further = self.names().filter(|server| *server != DEFAULT_SERVER);
        default.chain(further.map(|server| format!("{name}-{server}-server"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["default", "a", "z"];

    fn served(listed: &[&str]) -> Result<Served, String> {
        Served::new(KNOWN, &listed.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_server_is_served_unless_some_are_listed() {
        let all = served(&[]).unwrap();
        assert!(all.is_everything() && KNOWN.iter().all(|name| all.has(name)) && all.has("unknown"));
        assert_eq!(all.others().count(), 0);
        let some = served(&["z", "a"]).unwrap();
        assert!(!some.is_everything() && some.has("a") && some.has("z") && !some.has("default"));
        assert_eq!(some.others().collect::<Vec<_>>(), ["default"]);
    }

    #[test]
    fn exactly_one_instance_reports_what_is_on_an_unknown_server() {
        let instances = [served(&["default"]), served(&["a"]), served(&["z"])].map(Result::unwrap);
        for server in ["default", "a", "z", "unknown"] {
            assert_eq!(instances.iter().filter(|instance| instance.has(server)).count(), 1, "{server}");
        }
        assert!(instances[0].has("unknown"));
    }

    #[test]
    fn an_unknown_name_is_an_error_that_says_what_to_do() {
        let error = served(&["a", "b"]).unwrap_err();
        assert!(error.contains("the server b is not configured; configured are: a, default, z;"), "{error}");
        assert!(error.contains("--mailcow-server b=SECRET") && error.contains("mailcow.servers"), "{error}");
    }

    #[test]
    fn each_server_has_a_lease_and_that_of_the_default_server_has_the_plain_name() {
        assert_eq!(Served::new(["default"], &[]).unwrap().leases("l"), ["l"], "as with a single server");
        assert_eq!(served(&[]).unwrap().leases("l"), ["l", "l-a-server", "l-z-server"]);
        assert_eq!(served(&["z"]).unwrap().leases("l"), ["l-z-server"]);
    }

    #[test]
    fn leases_are_taken_in_one_order_whatever_the_order_of_the_list() {
        assert_eq!(served(&["z", "default", "a", "z"]).unwrap().leases("l"), ["l", "l-a-server", "l-z-server"]);
        assert_eq!(served(&["z", "default"]).unwrap().leases("l"), ["l", "l-z-server"]);
    }

    #[test]
    fn no_lease_of_a_server_is_that_of_the_intake_worker() {
        let leases = Served::new(["default", "intake"], &[]).unwrap().leases("mailcow-operator");
        assert!(!leases.contains(&"mailcow-operator-intake".to_owned()), "{leases:?}");
    }
}
