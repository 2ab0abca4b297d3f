//! Objects as resources: `email://namespace/kind/name` reads as `explain` answers.

use rmcp::model::{Resource, ResourceTemplate};

use super::arguments::{Kind, MOST_ITEMS, Object};
use super::caller::Caller;
use super::managed::Managed;
use super::read::page;
use super::scope::Scope;
use super::text::{Namespace, ObjectName};
use super::tool_error::{ErrorKind, ToolError};
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

/// The scheme of our resources.
const SCHEME: &str = "email://";
/// What they contain.
pub(crate) const MIME_TYPE: &str = "application/json";

/// The template of our resources.
pub(crate) fn template() -> ResourceTemplate {
    ResourceTemplate::new("email://{namespace}/{kind}/{name}", "email")
        .with_title("Mail object")
        .with_description(
            "State of an EmailDomain, EmailMailbox, EmailAlias or EmailForwardingRule, as the tool explain answers it",
        )
        .with_mime_type(MIME_TYPE)
}

/// The object of a URI; `None` if it is none of ours.
pub(crate) fn object(uri: &str) -> Option<Object> {
    let mut parts = uri.strip_prefix(SCHEME)?.split('/');
    let namespace = Namespace::try_from(parts.next()?.to_owned()).ok()?;
    let kind = Kind::named(parts.next()?)?;
    let name = ObjectName::try_from(parts.next()?.to_owned()).ok()?;
    parts.next().is_none().then_some(Object { kind, namespace, name })
}

/// A page of the objects that the caller may list, and where the next one begins.
pub(crate) async fn list(
    caller: &Caller,
    scope: &Scope,
    cursor: Option<&str>,
) -> Result<(Vec<Resource>, Option<String>), ToolError> {
    let bad =
        || ToolError::argument("cursor", cursor, "must be nextCursor of the page before, unchanged", "EmailDomain");
    let (kind, rest) = cursor.map_or(("EmailDomain", ""), |cursor| cursor.split_once(':').unwrap_or((cursor, "")));
    let kind = Kind::named(kind).ok_or_else(bad)?;
    let places = scope.places(None)?;
    let rest = (!rest.is_empty()).then_some(rest);
    let found = match kind {
        Kind::EmailDomain => of::<EmailDomain>(caller, &places, rest).await,
        Kind::EmailMailbox => of::<EmailMailbox>(caller, &places, rest).await,
        Kind::EmailAlias => of::<EmailAlias>(caller, &places, rest).await,
        Kind::EmailForwardingRule => of::<EmailForwardingRule>(caller, &places, rest).await,
    };
    let (items, next) = match found {
        // What the caller may not list is left out.
        Err(error) if error.error == ErrorKind::Forbidden => (Vec::new(), None),
        found => found?,
    };
    let following = Kind::ALL.into_iter().skip_while(|other| *other != kind).nth(1);
    let next = match next {
        Some(next) => Some(format!("{}:{next}", kind.as_str())),
        None => following.map(|kind| kind.as_str().to_owned()),
    };
    Ok((items, next))
}

async fn of<K: Managed>(
    caller: &Caller,
    places: &[Option<String>],
    cursor: Option<&str>,
) -> Result<(Vec<Resource>, Option<String>), ToolError> {
    let page = page::<K>(caller, places, MOST_ITEMS, cursor, |_| true).await?;
    let items = page.items.iter().map(|object| {
        let name = object.meta().name.clone().unwrap_or_default();
        let uri = format!("{SCHEME}{}/{}/{name}", object.place(), K::KIND);
        Resource::new(uri, name).with_mime_type(MIME_TYPE)
    });
    Ok((items.collect(), page.next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_one_object_of_ours() {
        let found = object("email://mail/EmailMailbox/ada").unwrap();
        assert_eq!((found.kind, found.namespace.as_str(), found.name.as_str()), (Kind::EmailMailbox, "mail", "ada"));
        for bad in [
            "email://mail/Secret/ada",
            "email://mail/EmailMailbox/ada/status",
            "email://mail/EmailMailbox/",
            "email://../EmailMailbox/ada",
            "email://mail/EmailMailbox/..%2fsecrets",
            "email:///EmailMailbox/ada",
            "file:///etc/passwd",
            "email://mail/EmailMailbox/ada?x=y",
            "email://mail/emailmailbox/ada",
            "",
        ] {
            assert!(object(bad).is_none(), "{bad}");
        }
    }
}
