//! Rooms and things.

use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{Resource, State};
use crate::writer::{Done, Writer};

/// `add/resource`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let domain = php::to_punycode(&attr.get("domain").to_text());
    let description = attr.get("description").to_text();
    let local: String = description.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = format!("{local}@{domain}");
    if w.state.domain(&domain).is_none() {
        w.danger("access_denied");
    } else if w.state.resources.contains_key(&name) || w.state.mailbox(&name).is_some() {
        w.danger(list!["object_exists", &name]);
    } else {
        let resource = Resource {
            name: name.clone(),
            domain,
            description,
            kind: attr.get("kind").to_text(),
            multiple_bookings: attr.get("multiple_bookings").to_int(),
            active: attr.get("active").to_int(),
        };
        w.state.resources.insert(name.clone(), resource);
        w.state.take_alias_id();
        w.touch(&name);
        w.success(list!["resource_added", php::html_escape(&name)]);
    }
    Ok(())
}

/// `delete/resource`
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let name = item.to_text();
        if w.state.resources.remove(&name).is_some() {
            w.touch(&name);
            w.success(list!["resource_removed", php::html_escape(&name)]);
        } else {
            w.danger("access_denied");
        }
    }
    Ok(())
}

/// `get/resource/all`
pub(crate) fn all(state: &State) -> Json {
    let shown = state.resources.values().map(|resource| {
        obj! {
            "name" => &resource.name,
            "kind" => &resource.kind,
            "multiple_bookings" => resource.multiple_bookings,
            "description" => &resource.description,
            "active" => resource.active,
            "active_int" => resource.active,
            "domain" => &resource.domain,
            "local_part" => php::cut_address(&resource.name).0,
        }
    });
    Json::List(shown.collect())
}
