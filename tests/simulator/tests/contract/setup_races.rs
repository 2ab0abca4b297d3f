//! The ends of races, which differ from run to run.

use mailcow_simulator::{FilterKind, SieveFilter, Simulator, State};
use serde_json::Value;

use crate::recording::Line;

/// Ends of races that were not recorded in this run of it, but are what happens when the requests come
/// one after the other, or what another recording shows.
const OTHER_ENDS: &[(&str, &str)] = &[
    ("parallel_add_mailbox_same", "object_exists"),
    ("parallel_add_mailbox_over_limit", "max_mailbox_exceeded"),
    ("parallel_add_mailbox_over_quota", "mailbox_quota_left_exceeded"),
    ("parallel_add_domain_same", "domain_exists"),
    ("parallel_add_alias_over_limit", "alias_added"),
    ("parallel_add_alias_over_limit", "max_alias_exceeded"),
    ("parallel_add_dkim_same", "dkim_domain_or_sel_invalid"),
    ("parallel_delete_same", "access_denied"),
    ("parallel_edit_and_delete", "access_denied"),
    ("parallel_delete_domain_and_add_mailbox", "domain_not_empty"),
    ("parallel_delete_domain_and_add_mailbox", "object_exists"),
    ("parallel_delete_domain_and_add_mailbox", "access_denied"),
];

/// Whether an answer is another end of a race than the recorded ones.
pub(crate) fn allowed(line: &str, answer: &Value) -> bool {
    let msg = &answer[0]["msg"];
    let code = msg.as_str().or_else(|| msg[0].as_str()).unwrap_or_default();
    OTHER_ENDS.contains(&(line, code))
}

/// Before a line that looks at the end of a race: sets the end that was recorded.
pub(crate) fn before(topic: &str, line: &Line, simulator: &Simulator) {
    if topic != "09_quirks" {
        return;
    }
    let recorded = &line.response["body"];
    simulator.edit(|state| match line.name.as_str() {
        "after_parallel_alias_same" => adopt_alias_ids(state, recorded),
        "after_parallel_alias_over_limit" => {
            let wanted = recorded["aliases_in_domain"].as_i64().expect("a number");
            let there = state.aliases.values().filter(|a| a.domain == "lim3.test" && !a.is_own_row()).count();
            for n in i64::try_from(there).expect("a few")..wanted {
                state.seed_alias(&format!("late{n}@lim3.test"), "u1@p.test");
            }
        }
        "dkim_after_parallel" => {
            let key = state.dkim.get_mut("p.test").expect("a key");
            recorded["dkim_selector"].as_str().expect("a selector").clone_into(&mut key.selector);
        }
        "after_parallel_edit" => adopt_mailbox(state, recorded),
        "after_parallel_filters" => adopt_filters(state, recorded),
        "roundtrip_comment_0" => state.next_alias_id = 43,
        _ => {}
    });
}

/// Gives aliases the ids and the order in which they came.
fn adopt_alias_ids(state: &mut State, recorded: &Value) {
    for alias in recorded.as_array().expect("a list") {
        let (id, address) = (alias["id"].as_i64().expect("an id"), alias["address"].as_str().expect("an address"));
        let now = state.alias(address).expect("the alias was made").id;
        let mut alias = state.aliases.remove(&now).expect("it is there");
        if let Some(mut other) = state.aliases.remove(&id) {
            other.id = now;
            state.aliases.insert(now, other);
        }
        alias.id = id;
        state.aliases.insert(id, alias);
    }
}

fn adopt_mailbox(state: &mut State, recorded: &Value) {
    let mailbox = state.mailbox_mut(recorded["username"].as_str().expect("a name")).expect("a mailbox");
    recorded["name"].as_str().expect("a name").clone_into(&mut mailbox.name);
    mailbox.quota = recorded["quota"].as_i64().expect("a number");
    let attributes = &recorded["attributes"];
    attributes["relayhost"].as_str().expect("an id").clone_into(&mut mailbox.attributes.relayhost);
    for (switch, value) in &mut mailbox.attributes.switches {
        attributes[*switch].as_str().expect("a switch").clone_into(value);
    }
}

fn adopt_filters(state: &mut State, recorded: &Value) {
    let text = |filter: &Value, key: &str| filter[key].as_str().expect("a text").to_owned();
    state.filters.clear();
    for filter in recorded.as_array().expect("a list") {
        let id = filter["id"].as_i64().expect("an id");
        let adopted = SieveFilter {
            id,
            username: text(filter, "username"),
            kind: FilterKind::parse(&text(filter, "filter_type")).expect("a kind"),
            script: text(filter, "script_data"),
            description: text(filter, "script_desc"),
            active: filter["active"] == 1,
        };
        state.filters.insert(id, adopted);
    }
}
