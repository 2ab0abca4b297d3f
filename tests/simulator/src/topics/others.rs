//! Routes an operator hardly needs: domain administrators, notifications, and lists that are empty.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::State;
use crate::topics::{acl, auth, bcc, maps, policy, relay, sync_job, tables, tags};
use crate::writer::{Done, Stop, Writer};

/// Categories whose objects are not simulated: nothing is ever found in them.
const EMPTY: [&str; 7] =
    ["active-user-sieve", "oauth2-client", "presets", "resource", "rsetting", "rspamd", "u2f-registration"];

/// `get/…` of all other categories; `None` when there is no such route.
pub(crate) fn get(state: &State, category: &str, object: &str) -> Option<Json> {
    match (category, object) {
        ("domain-admin", "all") => {
            Some(Json::List(state.domain_admins.keys().map(|name| admin(state, name)).collect()))
        }
        ("domain-admin", name) if state.domain_admins.contains_key(name) => Some(admin(state, name)),
        ("domain-admin", _) | ("logs", "api" | "dovecot" | "postfix" | "rspamd-history" | "sogo") => Some(Json::Null),
        ("fail2ban", _) => Some(obj! { "regex" => Json::Null, "whitelist" => "", "blacklist" => "" }),
        ("admin", "all") => Some(list![person("admin", 1)]),
        ("identity-provider", _) => Some(auth::get_provider(state)),
        ("bcc", which) => Some(bcc::get(state, which)),
        ("bcc-destination-options", _) => Some(bcc::options(state)),
        ("relayhost", which) => Some(relay::get_host(state, which)),
        ("transport", which) => Some(relay::get_transport(state, which)),
        ("recipient_map", which) => Some(maps::get_recipient(state, which)),
        ("tls-policy-map", which) => Some(tables::get(state, category, which)),
        ("fwdhost", which) => Some(tables::get_fwdhost(state, which)),
        ("policy_bl_domain", object) => Some(policy::of_domain(state, "bl", object)),
        ("policy_wl_domain", object) => Some(policy::of_domain(state, "wl", object)),
        ("policy_bl_mailbox", object) => Some(policy::of_mailbox(state, "bl", object)),
        ("policy_wl_mailbox", object) => Some(policy::of_mailbox(state, "wl", object)),
        ("syncjobs", which) => Some(sync_job::get(state, which)),
        _ => EMPTY.contains(&category).then_some(Json::Null),
    }
}

fn person(name: &str, active: i64) -> Json {
    obj! {
        "username" => name,
        "tfa_active" => 0,
        "tfa_active_int" => 0,
        "active" => active,
        "active_int" => active,
        "created" => clock::now(),
        "attributes" => obj! { "force_tfa" => "0", "force_pw_update" => "0" },
    }
}

fn admin(state: &State, name: &str) -> Json {
    let mut shown = person(name, 1);
    let selected = state.domain_admins.get(name).cloned().unwrap_or_default();
    shown.set("selected_domains", selected);
    shown.set("unselected_domains", "");
    shown
}

/// `add/domain-admin`
pub(crate) fn add_admin(w: &mut Writer<'_>, attr: &Json) -> Done {
    let name = attr.get("username").to_text();
    if w.state.domain_admins.contains_key(&name) {
        w.danger(list!["object_exists", &name]);
        return Ok(());
    }
    if w.password_ok(attr.get("password"), attr.get("password2")) {
        w.state.domain_admins.insert(name.clone(), tags::requested(attr.get("domains")));
        w.state.domain_admin_acls.insert(name.clone(), acl::of_new_domain_admin());
        w.success(list!["domain_admin_added", &name]);
    }
    Ok(())
}

/// `edit/domain-admin`
pub(crate) fn edit_admin(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let name = item.to_text();
        if !w.state.domain_admins.contains_key(&name) {
            w.danger(list!["username_invalid", &name]);
            continue;
        }
        if attr.is_set("domains") {
            w.state.domain_admins.insert(name.clone(), tags::requested(attr.get("domains")));
        }
        w.success(list!["domain_admin_modified", &name]);
    }
    Ok(())
}

/// `delete/domain-admin`
pub(crate) fn delete_admin(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let name = item.to_text();
        if w.state.domain_admins.remove(&name).is_some() {
            w.state.domain_admin_acls.remove(&name);
            w.success(list!["domain_admin_removed", php::html_escape(&name)]);
        } else {
            w.danger(list!["username_invalid", &name]);
        }
    }
    Ok(())
}

/// `add/mta-sts`: says nothing.
pub(crate) fn add_mta_sts(_w: &mut Writer<'_>, _attr: &Json) -> Done {
    Ok(())
}

/// `edit/domain/footer`
pub(crate) fn edit_footer(w: &mut Writer<'_>, items: &[Json], _attr: &Json) -> Done {
    for item in items {
        let name = php::to_punycode(&item.to_text());
        if w.state.domain(&name).is_some() {
            w.success(list!["domain_footer_modified", php::html_escape(&name)]);
        } else {
            w.danger("domain_invalid");
        }
    }
    Ok(())
}

/// `edit/quota_notification`
pub(crate) fn edit_quota_notification(w: &mut Writer<'_>, _items: &[Json], _attr: &Json) -> Done {
    w.success("saved_settings");
    Ok(())
}

/// `edit/quota_notification_bcc`: breaks off on the shape everybody sends.
pub(crate) fn edit_quota_bcc(_w: &mut Writer<'_>, _items: &[Json], _attr: &Json) -> Done {
    Err(Stop::crash())
}
