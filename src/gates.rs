//! Feature gates, as in Kubernetes: features of the operator that can be turned on and off.

use std::fmt;
use std::str::FromStr;

/// A feature that can be turned on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Everything: without it the operator reads and writes nothing.
    EmailHosting,
    /// `EmailForwardingRule` objects and their scripts.
    ForwardingRules,
    /// The actions `createTask` and `createNote`, and the worker that takes their copies out.
    TaskDelivery,
    /// `spec.dns.publish` of domains.
    DnsPublishing,
    /// `spec.autoProvision` of domains.
    AutoProvisioning,
}

/// Every gate with its name and its default.
const ALL: [(Gate, &str, bool); 5] = [
    (Gate::EmailHosting, "EmailHosting", true),
    (Gate::ForwardingRules, "ForwardingRules", true),
    (Gate::TaskDelivery, "TaskDelivery", false),
    (Gate::DnsPublishing, "DNSPublishing", false),
    (Gate::AutoProvisioning, "AutoProvisioning", false),
];

/// Which gates are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gates([(Gate, &'static str, bool); 5]);

impl Default for Gates {
    fn default() -> Self {
        Self(ALL)
    }
}

impl Gates {
    /// Whether the feature is on. Without `EmailHosting` all are off.
    pub fn has(&self, gate: Gate) -> bool {
        let is_on = |gate| self.0.iter().any(|(known, _, is_on)| *known == gate && *is_on);
        is_on(Gate::EmailHosting) && is_on(gate)
    }

    /// Every gate's name, and whether the feature is on.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.0.iter().map(|(gate, name, _)| (*name, self.has(*gate)))
    }
}

/// Why gates can't be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not `Name=true` or `Name=false`.
    #[error("{0:?} is not Name=true or Name=false")]
    Malformed(String),
    /// No gate has the name.
    #[error(
        "there is no feature gate {0:?}, only EmailHosting, ForwardingRules, TaskDelivery, DNSPublishing and AutoProvisioning"
    )]
    Unknown(String),
    /// The gate is given more than once.
    #[error("the feature gate {0} is given twice")]
    Twice(&'static str),
}

impl FromStr for Gates {
    type Err = Unreadable;

    /// Parses `Name=true,Other=false`; gates that are not given keep their default.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut gates = Self::default();
        let mut given = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let malformed = || Unreadable::Malformed(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(malformed)?;
            let gate = gates.0.iter_mut().find(|(_, known, _)| *known == name);
            let (_, known, is_on) = gate.ok_or_else(|| Unreadable::Unknown(name.to_owned()))?;
            if given.contains(known) {
                return Err(Unreadable::Twice(known));
            }
            given.push(*known);
            *is_on = value.parse().map_err(|_| malformed())?;
        }
        Ok(gates)
    }
}

impl fmt::Display for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.iter().map(|(name, is_on)| format!("{name}={is_on}")).collect();
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let gates: Gates = "ForwardingRules=false, DNSPublishing=true".parse().unwrap();
        assert!(!gates.has(Gate::ForwardingRules) && gates.has(Gate::DnsPublishing) && !gates.has(Gate::TaskDelivery));
        assert_eq!("".parse(), Ok(Gates::default()));
        assert!(!Gates::default().has(Gate::AutoProvisioning));
    }

    #[test]
    fn without_email_hosting_there_is_nothing() {
        let gates: Gates = "EmailHosting=false,AutoProvisioning=true".parse().unwrap();
        assert!(gates.iter().all(|(_, is_on)| !is_on));
    }

    #[test]
    fn gates_are_read_strictly() {
        let read = |text: &str| text.parse::<Gates>().unwrap_err();
        assert_eq!(read("ForwardingRules"), Unreadable::Malformed("ForwardingRules".into()));
        assert_eq!(read("ForwardingRules=yes"), Unreadable::Malformed("ForwardingRules=yes".into()));
        assert_eq!(read("Forwarding=true"), Unreadable::Unknown("Forwarding".into()));
        assert_eq!(read("TaskDelivery=true,TaskDelivery=true"), Unreadable::Twice("TaskDelivery"));
    }

    #[test]
    fn they_are_shown_as_they_are_written() {
        let gates: Gates = "TaskDelivery=true".parse().unwrap();
        assert_eq!(gates.to_string().parse(), Ok(gates));
    }
}
