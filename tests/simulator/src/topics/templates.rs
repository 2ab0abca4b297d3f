//! Templates: where `add/domain` and `add/mailbox` take what a request leaves out.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{ACLS, PROTOCOLS, State, Template};
use crate::writer::{Done, Writer};

const MIB: i64 = 1 << 20;

fn to_json(template: &Template) -> Json {
    obj! {
        "id" => template.id,
        "template" => &template.name,
        "type" => template.kind,
        "attributes" => &template.attributes,
        "created" => &template.created,
        "modified" => template.modified.clone(),
    }
}

/// `get/{domain|mailbox}/template/{id|all}`
pub(crate) fn get(state: &State, kind: &str, which: &str) -> Json {
    let mut of_kind = state.templates.values().filter(|t| t.kind == kind);
    if which == "all" {
        return Json::List(of_kind.map(to_json).collect());
    }
    let id = Json::from(which).to_int();
    of_kind.find(|t| t.id == id).map_or(Json::Null, to_json)
}

/// The attributes that apply to a new object: those of the template whose id it names, or of the first.
pub(crate) fn attributes(state: &State, kind: &str, wanted: &Json) -> Json {
    let id = wanted.to_int();
    let named = state.templates.get(&id).filter(|t| t.kind == kind);
    let first = || state.templates.values().find(|t| t.kind == kind);
    named.or_else(first).map_or(Json::Null, |t| t.attributes.clone())
}

/// `add/domain/template`
pub(crate) fn add_domain(w: &mut Writer<'_>, attr: &Json) -> Done {
    add(w, attr, "domain", domain_attributes(attr, false))
}

/// `add/mailbox/template`
pub(crate) fn add_mailbox(w: &mut Writer<'_>, attr: &Json) -> Done {
    add(w, attr, "mailbox", mailbox_attributes(attr))
}

fn add(w: &mut Writer<'_>, attr: &Json, kind: &'static str, attributes: Option<Json>) -> Done {
    let name = attr.get("template");
    if !name.truthy() {
        w.danger("template_name_invalid");
    } else if w.state.templates.values().any(|t| t.kind == kind && t.name.eq_ignore_ascii_case(&name.to_text())) {
        w.danger(list!["template_exists", name]);
    } else if let Some(attributes) = attributes {
        let id = w.state.next_template_id;
        w.state.next_template_id += 1;
        let template = Template { id, name: name.to_text(), kind, attributes, created: clock::now(), modified: None };
        w.state.templates.insert(id, template);
        w.success(list!["template_added", name]);
    } else {
        w.danger("quarantine_category_invalid");
    }
    Ok(())
}

/// The attributes of a domain template. A number that an edit leaves out becomes 0, on add the default.
fn domain_attributes(attr: &Json, edit: bool) -> Option<Json> {
    let mut attributes = obj! { "tags" => tags(attr) };
    for (key, default, unit) in [
        ("max_num_aliases_for_domain", 400, 1),
        ("max_num_mboxes_for_domain", 10, 1),
        ("def_quota_for_mbox", 3072, MIB),
        ("max_quota_for_mbox", 10_240, MIB),
        ("max_quota_for_domain", 10_240, MIB),
    ] {
        let sent = attr.get(key);
        let number = if edit || sent.truthy() { sent.to_int() } else { default };
        attributes.set(key, number * unit);
    }
    rate_limit(&mut attributes, attr);
    for (key, default) in
        [("active", 1), ("gal", 1), ("backupmx", 0), ("relay_all_recipients", 0), ("relay_unknown_only", 0)]
    {
        attributes.set(key, if attr.is_set(key) { attr.get(key).to_int() } else { default });
    }
    let selector = attr.get("dkim_selector");
    attributes.set("dkim_selector", if attr.is_set("dkim_selector") { selector.clone() } else { Json::from("dkim") });
    attributes.set("key_size", if attr.is_set("key_size") { attr.get("key_size").to_int() } else { 2048 });
    Some(attributes)
}

/// The attributes of a new mailbox template; `None` when the quarantine category is none.
fn mailbox_attributes(attr: &Json) -> Option<Json> {
    let mut attributes = obj! { "quota" => attr.get("quota").to_int() * MIB, "tags" => tags(attr) };
    for (key, default) in
        [("tagged_mail_handler", "none"), ("quarantine_notification", "hourly"), ("quarantine_category", "reject")]
    {
        attributes.set(key, if attr.get(key).truthy() { attr.get(key).clone() } else { Json::from(default) });
    }
    if !is_category(attributes.get("quarantine_category")) {
        return None;
    }
    rate_limit(&mut attributes, attr);
    for (key, default) in MAILBOX_SWITCHES {
        attributes.set(key, if attr.is_set(key) { attr.get(key).to_int() } else { default });
    }
    if !protocols(&mut attributes, attr) {
        for protocol in PROTOCOLS {
            attributes.set(&format!("{protocol}_access"), 1);
        }
    }
    if !acl(&mut attributes, attr) {
        for acl in ACLS.iter().filter(|acl| **acl != "pw_reset") {
            attributes.set(&format!("acl_{acl}"), 0);
        }
    }
    Some(attributes)
}

const MAILBOX_SWITCHES: [(&str, i64); 6] = [
    ("force_pw_update", 0),
    ("force_tfa", 0),
    ("sogo_access", 1),
    ("active", 1),
    ("tls_enforce_in", 0),
    ("tls_enforce_out", 0),
];

fn tags(attr: &Json) -> Json {
    if attr.is_set("tags") { attr.get("tags").clone() } else { list![] }
}

fn rate_limit(attributes: &mut Json, attr: &Json) {
    for (key, default) in [("rl_frame", "s"), ("rl_value", "")] {
        attributes.set(key, if attr.get(key).truthy() { attr.get(key).clone() } else { Json::from(default) });
    }
}

/// Sets all protocols from `protocol_access`; false when it is left out.
fn protocols(attributes: &mut Json, attr: &Json) -> bool {
    let listed = attr.get("protocol_access").clone().into_items();
    if attr.is_set("protocol_access") {
        for protocol in PROTOCOLS {
            attributes.set(&format!("{protocol}_access"), i64::from(listed.contains(&Json::from(protocol))));
        }
    }
    attr.is_set("protocol_access")
}

/// Sets all rights from `acl`; false when it is left out.
fn acl(attributes: &mut Json, attr: &Json) -> bool {
    let listed = attr.get("acl").clone().into_items();
    if attr.is_set("acl") {
        for acl in ACLS {
            attributes.set(&format!("acl_{acl}"), i64::from(listed.contains(&Json::from(acl))));
        }
    }
    attr.is_set("acl")
}

fn is_category(value: &Json) -> bool {
    ["add_header", "reject", "all"].contains(&value.to_text().as_str())
}

/// `edit/domain/template`
pub(crate) fn edit_domain(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    edit(w, items, attr, "domain", |_| domain_attributes(attr, true))
}

/// `edit/mailbox/template`: what is left out is looked for beside the template's attributes instead of in
/// them, and so gets lost.
pub(crate) fn edit_mailbox(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    edit(w, items, attr, "mailbox", |row| {
        let mut attributes = obj! { "quota" => attr.get("quota").to_int() * MIB, "tags" => attr.get("tags") };
        for key in ["tagged_mail_handler", "quarantine_notification", "quarantine_category", "rl_frame", "rl_value"] {
            attributes.set(key, Some(attr.get(key)).filter(|sent| sent.truthy()));
        }
        if !is_category(attributes.get("quarantine_category")) {
            return None;
        }
        for (key, _) in MAILBOX_SWITCHES {
            attributes.set(key, attr.is_set(key).then(|| attr.get(key).to_int()));
        }
        for known in [protocols(&mut attributes, attr), acl(&mut attributes, attr)] {
            if let (false, Json::Map(columns)) = (known, row) {
                for (key, value) in columns {
                    attributes.set(key, value);
                }
            }
        }
        Some(attributes)
    })
}

fn edit(
    w: &mut Writer<'_>,
    items: &[Json],
    attr: &Json,
    kind: &str,
    attributes: impl Fn(&Json) -> Option<Json>,
) -> Done {
    let mut name = attr.get("template").clone();
    for item in items {
        let Some(before) = w.state.templates.get(&item.to_int()).filter(|t| t.kind == kind).cloned() else {
            w.danger("template_id_invalid");
            continue;
        };
        if before.name == "Default" || name == Json::Null {
            name = Json::from(&before.name);
        }
        let Some(attributes) = attributes(&to_json(&before)) else {
            w.danger("quarantine_category_invalid");
            continue;
        };
        let mut after = Template { name: name.to_text(), attributes, ..before.clone() };
        if after != before {
            after.modified = Some(clock::now());
        }
        w.state.templates.insert(after.id, after);
    }
    w.success(list!["template_modified", name]);
    Ok(())
}

/// `delete/domain/template`: only the first is looked at.
pub(crate) fn delete_domain(w: &mut Writer<'_>, items: &[Json]) -> Done {
    if let Some(item) = items.first() {
        remove(w, "domain", item.to_int());
        w.success(list!["template_removed", php::html_escape(&item.to_text())]);
    }
    Ok(())
}

/// `delete/mailbox/template`
pub(crate) fn delete_mailbox(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        remove(w, "mailbox", item.to_int());
    }
    w.success("template_removed");
    Ok(())
}

/// Takes a template away, unless it is called Default.
fn remove(w: &mut Writer<'_>, kind: &str, id: i64) {
    if w.state.templates.get(&id).is_some_and(|t| t.kind == kind && !t.name.eq_ignore_ascii_case("Default")) {
        w.state.templates.remove(&id);
    }
}
