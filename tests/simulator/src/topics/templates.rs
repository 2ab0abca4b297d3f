//! Templates: where `add/domain` and `add/mailbox` take what a request leaves out.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::state::{State, Template};
use crate::topics::tags;
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

/// The attributes that apply to a new object: those of the template it names, or of the first.
pub(crate) fn attributes(state: &State, kind: &str, wanted: &Json) -> Json {
    let mut of_kind: Vec<&Template> = state.templates.values().filter(|t| t.kind == kind).collect();
    let id = wanted.to_int();
    of_kind.sort_by_key(|t| t.id != id);
    of_kind.first().map_or(Json::Null, |t| t.attributes.clone())
}

/// `add/domain/template`
pub(crate) fn add_domain(w: &mut Writer<'_>, attr: &Json) -> Done {
    let number = |key: &str, otherwise: i64| if attr.is_set(key) { attr.get(key).to_int() } else { otherwise };
    let mut attributes = obj! {
        "tags" => tags::requested(attr.get("tags")),
        "max_num_aliases_for_domain" => number("max_num_aliases_for_domain", 400),
        "max_num_mboxes_for_domain" => number("max_num_mboxes_for_domain", 10),
    };
    for (key, otherwise) in
        [("def_quota_for_mbox", 3072), ("max_quota_for_mbox", 10_240), ("max_quota_for_domain", 10_240)]
    {
        attributes.set(key, number(key, otherwise) * MIB);
    }
    let text = |key: &str, otherwise: &str| {
        if attr.is_set(key) { attr.get(key).to_text() } else { otherwise.to_owned() }
    };
    attributes.set("rl_frame", text("rl_frame", "s"));
    attributes.set("rl_value", text("rl_value", ""));
    for (key, otherwise) in
        [("active", 1), ("gal", 1), ("backupmx", 0), ("relay_all_recipients", 0), ("relay_unknown_only", 0)]
    {
        attributes.set(key, number(key, otherwise));
    }
    attributes.set("dkim_selector", text("dkim_selector", "dkim"));
    attributes.set("key_size", number("key_size", 2048));
    insert(w, attr, "domain", attributes);
    Ok(())
}

/// `add/mailbox/template`
pub(crate) fn add_mailbox(w: &mut Writer<'_>, attr: &Json) -> Done {
    let number = |key: &str, otherwise: i64| if attr.is_set(key) { attr.get(key).to_int() } else { otherwise };
    let text = |key: &str, otherwise: &str| {
        if attr.is_set(key) { attr.get(key).to_text() } else { otherwise.to_owned() }
    };
    let mut attributes = obj! {
        "quota" => number("quota", 0) * MIB,
        "tags" => tags::requested(attr.get("tags")),
        "tagged_mail_handler" => text("tagged_mail_handler", "none"),
        "quarantine_notification" => text("quarantine_notification", "hourly"),
        "quarantine_category" => text("quarantine_category", "reject"),
        "rl_frame" => text("rl_frame", "s"),
        "rl_value" => text("rl_value", ""),
    };
    for (key, otherwise) in [
        ("force_pw_update", 0),
        ("force_tfa", 0),
        ("sogo_access", 1),
        ("active", 1),
        ("tls_enforce_in", 0),
        ("tls_enforce_out", 0),
    ] {
        attributes.set(key, number(key, otherwise));
    }
    let listed = |key: &str, name: &str| attr.get(key).clone().into_items().contains(&Json::from(name));
    for protocol in crate::state::PROTOCOLS {
        let on = !attr.is_set("protocol_access") || listed("protocol_access", protocol);
        attributes.set(&format!("{protocol}_access"), i64::from(on));
    }
    for acl in crate::state::ACLS {
        let on = !attr.is_set("acl") || listed("acl", acl);
        attributes.set(&format!("acl_{acl}"), i64::from(on));
    }
    insert(w, attr, "mailbox", attributes);
    Ok(())
}

fn insert(w: &mut Writer<'_>, attr: &Json, kind: &'static str, attributes: Json) {
    let name = attr.get("template").to_text();
    let id = w.state.next_template_id;
    w.state.next_template_id += 1;
    let created = clock::now();
    let template = Template { id, name: name.clone(), kind, attributes, created, modified: None };
    w.state.templates.insert(id, template);
    w.success(list!["template_added", name]);
}

/// `edit/mailbox/template`: without all fields nothing is saved.
pub(crate) fn edit_mailbox(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        if attr.is_set("quarantine_category") {
            let fresh = fresh_mailbox_attributes(w, attr);
            if let Some(template) = w.state.templates.get_mut(&item.to_int()) {
                template.attributes = fresh;
                template.modified = Some(clock::now());
            }
        } else {
            w.danger("quarantine_category_invalid");
        }
        w.success(list!["template_modified", attr.get("template").to_text()]);
    }
    Ok(())
}

fn fresh_mailbox_attributes(w: &mut Writer<'_>, attr: &Json) -> Json {
    let mut scratch = State::fresh();
    let mut writer = Writer::new(&mut scratch, w.log.clone());
    drop(add_mailbox(&mut writer, attr));
    scratch.templates.pop_last().map_or(Json::Null, |(_, t)| t.attributes)
}

/// `delete/domain/template`
pub(crate) fn delete_domain(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        remove(w, "domain", item.to_int());
        w.success(list!["template_removed", item.to_text()]);
    }
    Ok(())
}

/// `delete/mailbox/template`
pub(crate) fn delete_mailbox(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        remove(w, "mailbox", item.to_int());
        w.success("template_removed");
    }
    Ok(())
}

fn remove(w: &mut Writer<'_>, kind: &str, id: i64) {
    let shipped = id <= 2;
    if !shipped && w.state.templates.get(&id).is_some_and(|t| t.kind == kind) {
        w.state.templates.remove(&id);
    }
}
