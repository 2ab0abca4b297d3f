//! Tags of domains and mailboxes.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::json::{Json, list};
use crate::state::State;
use crate::writer::{Done, Stop, Writer};

const LIMIT: usize = 25;

/// Whether a tag that is there already is an error: for domains it hits a primary key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twice {
    Crashes,
    IsIgnored,
}

/// The tags of a request: a string is one tag. What PHP holds for empty keeps its place and is passed over.
pub(crate) fn requested(value: &Json) -> Vec<String> {
    value.clone().into_items().iter().map(|tag| if tag.truthy() { tag.to_text() } else { String::new() }).collect()
}

/// The tags of an edit, which takes lists only.
pub(crate) fn listed(value: &Json) -> Vec<String> {
    if value.is_array() { requested(value) } else { Vec::new() }
}

/// Whether `utf8mb4_general_ci`, the default collation of the tables, takes two tags for the same.
fn is_same(one: &str, other: &str) -> bool {
    let folded = |text: &str| -> String {
        let letters = text.trim_end_matches(' ').nfd().filter(|c| !is_combining_mark(*c));
        letters.flat_map(char::to_lowercase).map(|c| if c == 'ß' { 's' } else { c }).collect()
    };
    folded(one) == folded(other)
}

/// Adds tags to a set; those beyond the limit are refused with a warning.
pub(crate) fn append(
    w: &mut Writer<'_>,
    set: impl Fn(&mut State) -> Option<&mut BTreeSet<String>>,
    tags: &[String],
    twice: Twice,
) -> Done {
    for (index, tag) in tags.iter().enumerate().filter(|(_, tag)| !tag.is_empty()) {
        if index > LIMIT {
            w.warning(list!["tag_limit_exceeded", format!("limit {LIMIT}")]);
            break;
        }
        let Some(set) = set(w.state) else { break };
        // The key of the table does not look at case and accents.
        if !set.iter().any(|known| is_same(known, tag)) {
            set.insert(tag.clone());
        } else if twice == Twice::Crashes {
            return Err(Stop::crash());
        }
    }
    Ok(())
}

/// `delete/domain/tag/{domain}`
pub(crate) fn delete_of_domain(w: &mut Writer<'_>, name: &str, tags: &[Json]) -> Done {
    if tags.is_empty() {
        return Err(Stop::Refused);
    }
    let Some(domain) = w.state.domain_mut(name) else {
        w.danger("access_denied");
        return Ok(());
    };
    for tag in tags {
        domain.tags.retain(|known| !is_same(known, &tag.to_text()));
    }
    w.success(list!["domain_modified", name]);
    Ok(())
}

/// `delete/mailbox/tag/{mailbox}`
pub(crate) fn delete_of_mailbox(w: &mut Writer<'_>, name: &str, tags: &[Json]) -> Done {
    if tags.is_empty() {
        return Err(Stop::Refused);
    }
    if !w.state.has_mailbox(name) {
        w.danger("access_denied");
        return Ok(());
    }
    if let Some(mailbox) = w.state.mailbox_mut(name) {
        for tag in tags {
            mailbox.tags.retain(|known| !is_same(known, &tag.to_text()));
        }
    }
    w.success(list!["mailbox_modified", name]);
    Ok(())
}

/// Whether any of the wanted tags (separated by commas) is part of any of these.
pub(crate) fn matches(tags: &BTreeSet<String>, wanted: &str) -> bool {
    wanted.split(',').any(|want| tags.iter().any(|tag| tag.contains(want.trim())))
}

/// The key `tags`, which is left out when there is none.
pub(crate) fn show(object: &mut Json, tags: &BTreeSet<String>) {
    if !tags.is_empty() {
        object.set("tags", tags.iter().map(Json::from).collect::<Vec<_>>());
    }
}
