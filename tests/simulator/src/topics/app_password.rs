//! Passwords for single applications.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{AppPassword, AppSecret, State};
use crate::writer::{Done, Stop, Writer};

/// The longest name the table takes, in characters, after it was escaped for HTML.
const MAX_NAME: usize = 255;

/// The protocols in the order they are shown. Other names than these long ones are passed over.
const PROTOCOLS: [&str; 6] = ["imap_access", "smtp_access", "dav_access", "eas_access", "pop3_access", "sieve_access"];

/// The mailbox a request names; the API itself where it names none.
enum Owner {
    Mailbox(String),
    Api,
}

/// The owner; `None` for a mailbox that does not exist, which is reported.
fn owner(w: &mut Writer<'_>, attr: &Json) -> Option<Owner> {
    let username = attr.get("username").to_text();
    if !php::is_email(&username) {
        return Some(Owner::Api);
    }
    if w.state.has_mailbox(&username) {
        return Some(Owner::Mailbox(username));
    }
    w.danger("access_denied");
    None
}

/// `add/app-passwd`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let Some(owner) = owner(w, attr) else { return Err(Stop::Refused) };
    let Owner::Mailbox(mailbox) = owner else {
        w.danger("access_denied");
        return Err(Stop::Refused);
    };
    if !w.password_ok(attr.get("app_passwd"), attr.get("app_passwd2")) {
        return Err(Stop::Refused);
    }
    let name = escaped(&attr.get("app_name").to_text());
    if !Json::from(&name).truthy() {
        w.danger("app_name_empty");
        return Err(Stop::Refused);
    }
    fits(&name)?;
    let id = w.state.next_app_password_id;
    w.state.next_app_password_id += 1;
    let password = AppPassword {
        id,
        name,
        domain: w.state.mailbox(&mailbox).map(|m| m.domain.clone()).unwrap_or_default(),
        mailbox,
        hash: made_up_hash(),
        secret: AppSecret(attr.get("app_passwd").to_text()),
        protocols: protocols(attr),
        active: attr.get("active").to_int(),
        created: clock::now(),
        modified: None,
    };
    w.state.app_passwords.insert(id, password);
    w.success("app_passwd_added");
    Ok(())
}

fn escaped(name: &str) -> String {
    php::html_escape(php::trim(name))
}

fn fits(name: &str) -> Done {
    if name.chars().count() > MAX_NAME { Err(Stop::too_long("name")) } else { Ok(()) }
}

fn protocols(attr: &Json) -> Vec<String> {
    let sent: Vec<String> = attr.get("protocols").clone().into_items().iter().map(Json::to_text).collect();
    PROTOCOLS.into_iter().filter(|known| sent.iter().any(|name| name == known)).map(str::to_owned).collect()
}

/// The app password that an item names.
fn find<'a>(state: &'a State, item: &Json) -> Option<&'a AppPassword> {
    let id = php::leading_id(&item.to_text())?;
    state.app_passwords.get(&id).filter(|password| state.has_mailbox(&password.mailbox))
}

/// Looks like a hash of bcrypt.
pub(crate) fn made_up_hash() -> String {
    const LETTERS: &[u8] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let letters = (0..53).map(|_| char::from(LETTERS[usize::from(rand::random::<u8>() % 64)]));
    format!("{{BLF-CRYPT}}$2y$10${}", letters.collect::<String>())
}

/// `edit/app-passwd`. The app password goes to the mailbox that is named, and breaks off where none is. A name
/// that is kept is escaped as it is shown, and then once more.
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    let Some(owner) = owner(w, attr) else { return Err(Stop::Refused) };
    let all: Vec<String> = items.iter().map(Json::to_text).collect();
    for item in items {
        let Some(before) = find(w.state, item).cloned() else {
            w.danger(list!["app_passwd_id_invalid", item]);
            continue;
        };
        let mut after = before.clone();
        let kept = escaped(&before.name);
        let name = Some(attr.get("app_name")).filter(|sent| sent.truthy()).map_or(kept, Json::to_text);
        after.name = escaped(&name);
        if attr.is_set("protocols") {
            after.protocols = protocols(attr);
        }
        if attr.is_set("active") {
            after.active = attr.get("active").to_int();
        }
        let (new, again) = (attr.get("app_passwd"), attr.get("app_passwd2"));
        let new_password = new.truthy() && again.truthy();
        if new_password && !w.password_ok(new, again) {
            continue;
        }
        let Owner::Mailbox(mailbox) = &owner else { return Err(Stop::crash()) };
        if new_password && mailbox.eq_ignore_ascii_case(&before.mailbox) {
            after.hash = made_up_hash();
            after.secret = AppSecret(new.to_text());
        }
        after.mailbox.clone_from(mailbox);
        fits(&after.name)?;
        if after != before {
            after.modified = Some(clock::now());
        }
        w.state.app_passwords.insert(after.id, after);
        w.success(list!["object_modified", php::html_escape(&all.join(", "))]);
    }
    Ok(())
}

/// `delete/app-passwd`, whosever they are: stops at the first that is missing.
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let Some(id) = find(w.state, item).map(|password| password.id) else {
            w.danger("app_passwd_id_invalid");
            return Err(Stop::Refused);
        };
        w.state.app_passwords.remove(&id);
        w.success(list!["app_passwd_removed", php::html_escape(&item.to_text())]);
    }
    Ok(())
}

/// `get/app-passwd/all/{mailbox}`
pub(crate) fn of_mailbox(state: &State, mailbox: &str) -> Json {
    let of = state.app_passwords.values().filter(|p| p.mailbox.eq_ignore_ascii_case(mailbox));
    Json::List(of.filter(|p| state.has_mailbox(&p.mailbox)).map(show).collect())
}

fn show(password: &AppPassword) -> Json {
    let mut shown = obj! {
        "id" => password.id,
        "name" => escaped(&password.name),
        "mailbox" => &password.mailbox,
        "domain" => &password.domain,
        "password" => &password.hash,
        "created" => &password.created,
        "modified" => password.modified.clone(),
    };
    for protocol in PROTOCOLS {
        shown.set(protocol, i64::from(password.protocols.iter().any(|p| p == protocol)));
    }
    shown.set("active", password.active);
    shown
}
