//! DKIM keys: one for each domain, and they outlive it.

use crate::json::{Json, list, obj};
use crate::php;
use crate::state::{DkimKey, State};
use crate::topics::dkim_keys;
use crate::writer::{Done, Writer};

/// `add/dkim`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    add_all(w, attr);
    Ok(())
}

/// Makes a key for each domain of a list.
pub(crate) fn add_all(w: &mut Writer<'_>, attr: &Json) {
    let selector = attr.get("dkim_selector").to_text();
    let size = usize::try_from(attr.get("key_size").to_int()).unwrap_or(0);
    for name in php::pieces(&attr.get("domains").to_text()) {
        let name = php::to_punycode(&name);
        if !w.state.knows_domain(&name) {
            w.danger(list!["access_denied", &name]);
        } else if w.state.dkim.contains_key(&name) || !is_selector(&selector) || !dkim_keys::can_make(size) {
            w.danger(list!["dkim_domain_or_sel_invalid", &name]);
        } else {
            let pubkey = w.state.dkim_pool.pop_front().unwrap_or_else(|| dkim_keys::make(size));
            let key = DkimKey { selector: selector.clone(), pubkey };
            w.state.dkim.insert(name.clone(), key);
            w.success(list!["dkim_added", &name]);
        }
    }
}

/// The key that comes with a new domain, unless an old one was left behind.
pub(crate) fn of_new_domain(w: &mut Writer<'_>, name: &str, size: &Json, selector: &Json) {
    if w.state.dkim.contains_key(name) {
        w.success("domain_add_dkim_available");
    } else {
        let key = obj! { "key_size" => size, "dkim_selector" => selector, "domains" => name };
        w.within(list!["dkim", "add", &key], |w| add_all(w, &key));
    }
}

fn is_selector(selector: &str) -> bool {
    !selector.is_empty() && selector.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// `delete/dkim`: success even where there was none.
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        let name = item.to_text();
        if php::is_domain_name(&name) {
            w.state.dkim.remove(&php::to_punycode(&name));
            w.success(list!["dkim_removed", &name]);
        } else {
            w.danger(list!["dkim_domain_or_sel_invalid", &name]);
        }
    }
    Ok(())
}

/// `add/dkim_duplicate`
pub(crate) fn duplicate(w: &mut Writer<'_>, attr: &Json) -> Done {
    let from = attr.get("from_domain").to_text();
    for to in attr.get("to_domain").clone().into_items() {
        let to = to.to_text();
        match w.state.dkim.get(&from).cloned() {
            Some(key) if w.state.knows_domain(&to) => {
                w.state.dkim.insert(to.clone(), key);
                w.success(list!["dkim_duplicated", &from, &to]);
            }
            _ => w.danger(list!["dkim_domain_or_sel_invalid", &from]),
        }
    }
    Ok(())
}

/// `add/dkim_import`
pub(crate) fn import(w: &mut Writer<'_>, attr: &Json) -> Done {
    let name = php::to_punycode(&attr.get("domain").to_text());
    let selector = attr.get("dkim_selector").to_text();
    let Some(pubkey) = dkim_keys::public_of(&attr.get("private_key_file").to_text()) else {
        w.danger(list!["private_key_error", "error:1E08010C:DECODER routines::unsupported"]);
        return Ok(());
    };
    if !w.state.knows_domain(&name) {
        w.danger(list!["access_denied", &name]);
    } else if w.state.dkim.contains_key(&name) && !attr.get("overwrite_existing").truthy() {
        w.danger(list!["dkim_domain_or_sel_exists", &name]);
    } else {
        let log = list!["dkim", "delete", obj! { "domains" => &name }];
        w.within(log, |w| w.success(list!["dkim_removed", &name]));
        w.state.dkim.insert(name.clone(), DkimKey { selector, pubkey });
        w.success(list!["dkim_added", &name]);
    }
    Ok(())
}

/// `get/dkim/{domain}`
pub(crate) fn get(state: &State, name: &str) -> Json {
    let Some(key) = state.dkim.get(&php::to_punycode(name)) else { return Json::Null };
    // The size is guessed from the length of the text.
    let length = match key.pubkey.len() {
        ..391 => "1024",
        391..564 => "2048",
        564..736 => "3072",
        736.. => "4096",
    };
    obj! {
        "pubkey" => &key.pubkey,
        "length" => length,
        "dkim_txt" => format!("v=DKIM1;k=rsa;t=s;s=email;p={}", key.pubkey),
        "dkim_selector" => &key.selector,
        "privkey" => "",
    }
}
