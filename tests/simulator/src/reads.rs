//! The reading routes.

use crate::answer::Reply;
use crate::call::Call;
use crate::json::Json;
use crate::json_text;
use crate::state::State;
use crate::topics::{
    alias, alias_domain, app_password, dkim, domain_view, filter, mailbox_view, others, policy, quarantine, rate_limit,
    resource, search, status, templates, timed_alias,
};

/// Answers `get/…`.
pub(crate) fn answer(state: &State, call: &Call) -> Reply {
    let (category, object, extra) = (call.piece(1), call.piece(2), call.piece(3));
    let tags = call.parameter("tags");
    let found = match (category, object) {
        ("domain", "template") => templates::get(state, "domain", extra),
        ("mailbox", "template") => templates::get(state, "mailbox", extra),
        ("domain", "all") => domain_view::all(state, tags.as_deref()),
        ("domain", name) => domain_view::get(state, name),
        ("mailbox", "all") => Json::List(mailbox_view::list(state, extra, tags.as_deref(), false)),
        ("mailbox", "reduced") => Json::List(mailbox_view::list(state, extra, tags.as_deref(), true)),
        ("mailbox", domain) if tags.is_some() => {
            let tags = tags.unwrap_or_default();
            return Reply::read_list(&mailbox_view::of_domain_by_tags(state, domain, &tags));
        }
        ("mailbox", address) => mailbox_view::get(state, address),
        ("alias", "all") => alias::all(state, Some(extra).filter(|e| !e.is_empty())),
        ("alias", which) => alias::get(state, which),
        ("alias-domain", "all") => alias_domain::all(state, extra),
        ("alias-domain", name) => alias_domain::get(state, name),
        ("time_limited_aliases", address) => timed_alias::get(state, address),
        ("filters", "all") => filter::all(state),
        ("filters", address) => filter::of_mailbox(state, address),
        ("global_filters", which) => match filter::global(state, which) {
            Some(found) => found,
            None => return Reply::empty(),
        },
        ("dkim", name) => dkim::get(state, name),
        ("rl-domain", "all") => rate_limit::all_domains(state),
        ("rl-mbox", "all") => rate_limit::all_mailboxes(state),
        ("rl-domain", name) => rate_limit::get_of_domain(state, name),
        ("rl-mbox", name) => rate_limit::get_of_mailbox(state, name),
        ("app-passwd", "all") => app_password::of_mailbox(state, extra),
        // Mailcow breaks off here.
        ("app-passwd", _) => return Reply::empty(),
        ("quarantine", which) => return Reply::read_list(&quarantine::get(state, which)),
        ("passwordpolicy", _) => mailbox_view::password_policy(state),
        ("last-login", address) => mailbox_view::last_login(state, address),
        ("spam-score", address) => policy::get_score(state, address),
        ("resource", "all") => resource::all(state),
        ("status", which) => match status::get(which) {
            // The one category whose answers are compact, with slashes as they are.
            Some(found) => return Reply::json(200, json_text::compact(&found).replace("\\/", "/")),
            None => return Reply::empty(),
        },
        ("mailq", _) => return Reply::read_list(&Json::List(Vec::new())),
        _ => match others::get(state, category, object) {
            Some(found) => found,
            None => return Reply::error(404, "route not found"),
        },
    };
    Reply::read(&found)
}

/// Answers `search/…`.
pub(crate) fn search(state: &State, call: &Call, request: &Json) -> Reply {
    match call.piece(1) {
        "mailbox" => Reply::read(&search::mailboxes(state, request)),
        _ => Reply::error(404, "Invalid search category"),
    }
}
