//! Passwords for single applications.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{AppPassword, PROTOCOLS, State};
use crate::topics::tags;
use crate::writer::{Done, Stop, Writer};

/// `add/app-passwd`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let username = attr.get("username").to_text();
    let name = attr.get("app_name").to_text();
    if !w.password_ok(attr.get("app_passwd"), attr.get("app_passwd2")) {
        return Ok(());
    }
    if name.is_empty() {
        w.danger("app_name_empty");
        return Ok(());
    }
    let Some(domain) = w.state.mailbox(&username).map(|m| m.domain.clone()) else {
        w.danger("access_denied");
        return Ok(());
    };
    let id = w.state.next_app_password_id;
    w.state.next_app_password_id += 1;
    let password = AppPassword {
        id,
        name: php::html_escape(&php::html_escape(&name)),
        mailbox: username,
        domain,
        hash: made_up_hash(),
        protocols: tags::requested(attr.get("protocols")),
        active: attr.get("active").to_int(),
        created: clock::now(),
        modified: None,
    };
    w.state.app_passwords.insert(id, password);
    w.success("app_passwd_added");
    Ok(())
}

/// Looks like a hash of bcrypt; the password is not kept.
fn made_up_hash() -> String {
    const LETTERS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let letters = (0..53).map(|_| char::from(LETTERS[usize::from(rand::random::<u8>() % 64)]));
    format!("{{BLF-CRYPT}}$2y$10${}", letters.collect::<String>())
}

/// `edit/app-passwd`: breaks off unless `username` is sent. A name that is kept is escaped once more.
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let Some(mut password) = w.state.app_passwords.get(&item.to_int()).cloned() else {
            w.danger(list!["app_passwd_id_invalid", item]);
            continue;
        };
        let (new, again) = (attr.get("app_passwd"), attr.get("app_passwd2"));
        if new.truthy() {
            if !w.password_ok(new, again) {
                continue;
            }
            password.hash = made_up_hash();
        }
        if !w.state.has_mailbox(&attr.get("username").to_text()) {
            return Err(Stop::crash());
        }
        password.name = php::html_escape(&if attr.get("app_name").truthy() {
            attr.get("app_name").to_text()
        } else {
            password.name.clone()
        });
        if attr.is_set("protocols") {
            password.protocols = tags::requested(attr.get("protocols"));
        }
        if attr.is_set("active") {
            password.active = attr.get("active").to_int();
        }
        password.modified = Some(clock::now());
        w.state.app_passwords.insert(password.id, password);
        w.success(list!["object_modified", item.to_text()]);
    }
    Ok(())
}

/// `delete/app-passwd`: stops at the first that is missing.
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if w.state.app_passwords.remove(&item.to_int()).is_none() {
            w.danger("app_passwd_id_invalid");
            return Ok(());
        }
        w.success(list!["app_passwd_removed", item.to_text()]);
    }
    Ok(())
}

/// `get/app-passwd/all/{mailbox}`
pub(crate) fn of_mailbox(state: &State, mailbox: &str) -> Json {
    let of = state.app_passwords.values().filter(|p| p.mailbox.eq_ignore_ascii_case(mailbox));
    Json::List(of.map(show).collect())
}

fn show(password: &AppPassword) -> Json {
    let mut shown = obj! {
        "id" => password.id,
        "name" => &password.name,
        "mailbox" => &password.mailbox,
        "domain" => &password.domain,
        "password" => &password.hash,
        "created" => &password.created,
        "modified" => password.modified.clone(),
    };
    for protocol in PROTOCOLS {
        let key = format!("{protocol}_access");
        shown.set(&key, i64::from(password.protocols.contains(&key)));
    }
    shown.set("active", password.active);
    shown
}
