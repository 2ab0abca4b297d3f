//! The kinds as people name them on a command line.

use kube::core::DynamicObject;
use kube::discovery::ApiResource;
use kube::{Api, ResourceExt};
use serde_json::Value;

use super::cluster::{Cluster, Scope, list_all};
use super::failure::{ApiCall, Failure, nearest};
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox, GROUP};

/// One of the four kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `EmailDomain`
    Domain,
    /// `EmailMailbox`
    Mailbox,
    /// `EmailAlias`
    Alias,
    /// `EmailForwardingRule`
    Rule,
}

impl Kind {
    /// All kinds, in the order in which they depend on each other.
    pub(super) const ALL: [Self; 4] = [Self::Domain, Self::Mailbox, Self::Alias, Self::Rule];

    /// Singular, plural, short name, and a word of its own.
    const fn words(self) -> [&'static str; 5] {
        match self {
            Self::Domain => ["emaildomain", "emaildomains", "edom", "domain", "domains"],
            Self::Mailbox => ["emailmailbox", "emailmailboxes", "embx", "mailbox", "mailboxes"],
            Self::Alias => ["emailalias", "emailaliases", "ealias", "alias", "aliases"],
            Self::Rule => ["emailforwardingrule", "emailforwardingrules", "efr", "rule", "rules"],
        }
    }

    /// The short name, as kubectl takes it.
    pub(super) const fn short(self) -> &'static str {
        self.words()[2]
    }

    /// The plural, as RBAC names it.
    pub(super) const fn plural(self) -> &'static str {
        self.words()[1]
    }

    /// The kind in manifests.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Domain => "EmailDomain",
            Self::Mailbox => "EmailMailbox",
            Self::Alias => "EmailAlias",
            Self::Rule => "EmailForwardingRule",
        }
    }

    /// The kinds of a word; `email` means all.
    pub(super) fn parse(word: &str) -> Result<Vec<Self>, String> {
        let lower = word.to_ascii_lowercase();
        let bare = lower.strip_suffix(GROUP).and_then(|rest| rest.strip_suffix('.')).unwrap_or(&lower);
        if bare == "email" {
            return Ok(Self::ALL.to_vec());
        }
        if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.words().contains(&bare)) {
            return Ok(vec![kind]);
        }
        let near = nearest(bare, Self::ALL.iter().flat_map(|kind| kind.words()));
        Err(format!("there is no kind {word}{near}; the kinds are edom, embx, ealias and efr"))
    }

    fn resource(self) -> ApiResource {
        match self {
            Self::Domain => ApiResource::erase::<EmailDomain>(&()),
            Self::Mailbox => ApiResource::erase::<EmailMailbox>(&()),
            Self::Alias => ApiResource::erase::<EmailAlias>(&()),
            Self::Rule => ApiResource::erase::<EmailForwardingRule>(&()),
        }
    }

    /// The API of the kind.
    pub(super) fn api(self, cluster: &Cluster, scope: &Scope) -> Api<DynamicObject> {
        match scope {
            Scope::In(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &self.resource()),
            Scope::All => Api::all_with(cluster.client.clone(), &self.resource()),
        }
    }
}

/// An object of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its kind.
    pub(super) kind: Kind,
    /// As it was read.
    pub(super) object: DynamicObject,
}

impl Target {
    /// `short/name`
    pub(super) fn reference(&self) -> String {
        format!("{}/{}", self.kind.short(), self.object.name_any())
    }

    /// The namespace.
    pub(super) fn namespace(&self) -> String {
        self.object.namespace().unwrap_or_default()
    }

    /// The API of its kind and namespace.
    pub(super) fn api(&self, cluster: &Cluster) -> Api<DynamicObject> {
        self.kind.api(cluster, &Scope::In(self.namespace()))
    }
}

/// A condition of an object: its status, reason and message.
pub(super) fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let all = object.data.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|condition| condition["type"] == kind)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default();
    Some((text("status"), text("reason"), text("message")))
}

/// Whether the status describes the current spec.
pub(super) fn is_current(object: &DynamicObject) -> bool {
    let observed = object.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    observed.is_some() && observed >= object.metadata.generation
}

/// Names of objects, with their kinds: `KIND/NAME…`, `KIND NAME…` or `KIND` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Kinds whose objects are selected in another way.
    pub(super) kinds: Vec<Kind>,
    /// Objects by name.
    pub(super) objects: Vec<(Kind, String)>,
}

impl Named {
    /// Reads the arguments as kubectl does.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let Some(first) = arguments.first() else { return Ok(Self { kinds: Kind::ALL.to_vec(), objects: Vec::new() }) };
        let mut named = Self::default();
        if first.contains('/') {
            for argument in arguments {
                let (kind, name) = argument
                    .split_once('/')
                    .filter(|(_, name)| !name.is_empty() && !name.contains('/'))
                    .ok_or_else(|| format!("{argument:?} is not KIND/NAME, such as embx/ada"))?;
                named.objects.extend(Kind::parse(kind)?.into_iter().map(|kind| (kind, name.to_owned())));
            }
            return Ok(named);
        }
        for word in first.split(',') {
            named.kinds.extend(Kind::parse(word)?);
        }
        if let Some(mixed) = arguments.iter().skip(1).find(|argument| argument.contains('/')) {
            return Err(format!("{mixed:?} is KIND/NAME after a KIND without a name; use one form"));
        }
        let rest = arguments.iter().skip(1);
        named.objects = rest.flat_map(|name| named.kinds.iter().map(|kind| (*kind, name.clone()))).collect();
        Ok(named)
    }
}

/// The object of a name.
///
/// # Errors
/// When it does not exist; the nearest names are proposed.
pub(super) async fn find(cluster: &Cluster, kind: Kind, name: &str) -> Result<Target, Failure> {
    let scope = Scope::In(cluster.namespace.clone());
    let api = kind.api(cluster, &scope);
    let call = ApiCall { verb: "get", resource: kind.plural(), namespace: scope.namespace() };
    if let Some(object) = api.get_opt(name).await.map_err(|error| call.failed(&error))? {
        return Ok(Target { kind, object });
    }
    let all = list(cluster, kind, &scope, None).await?;
    let known: Vec<String> = all.iter().map(|target| target.object.name_any()).collect();
    let near = nearest(name, known.iter().map(String::as_str));
    Err(Failure::wrong(format!("there is no {}/{name} in the namespace {}{near}", kind.short(), cluster.namespace)))
}

/// The objects of a kind.
///
/// # Errors
/// When the API server refuses or does not answer.
pub(super) async fn list(
    cluster: &Cluster,
    kind: Kind,
    scope: &Scope,
    selector: Option<&str>,
) -> Result<Vec<Target>, Failure> {
    let found = list_all(&kind.api(cluster, scope), kind.plural(), scope, selector).await?;
    Ok(found.into_iter().map(|object| Target { kind, object }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Named, String> {
        let arguments: Vec<String> = text.split_whitespace().map(ToOwned::to_owned).collect();
        Named::parse(&arguments)
    }

    #[test]
    fn objects_are_named_as_for_kubectl() {
        let one = |kind, name: &str| (kind, name.to_owned());
        let expected = vec![one(Kind::Mailbox, "ada"), one(Kind::Alias, "x")];
        assert_eq!(parse("embx/ada alias/x").unwrap().objects, expected);
        let expected = vec![one(Kind::Mailbox, "ada"), one(Kind::Mailbox, "bob")];
        assert_eq!(parse("EmailMailbox ada bob").unwrap().objects, expected);
        assert_eq!(parse("emaildomains.email.askrobots.com").unwrap().kinds, [Kind::Domain]);
        assert_eq!(parse("").unwrap().kinds, Kind::ALL);
        assert_eq!(parse("edom,rules").unwrap().kinds, [Kind::Domain, Kind::Rule]);
    }

    #[test]
    fn what_is_no_name_is_refused_with_what_was_perhaps_meant() {
        assert!(parse("mailbx/ada").unwrap_err().contains("did you mean mailbox"));
        for bad in ["embx/", "embx/a/b", "embx a edom/b", "pod/x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
