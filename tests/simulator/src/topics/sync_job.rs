//! Jobs that fetch mail from elsewhere.

use crate::clock;
use crate::json::{Json, list, obj};
use crate::php;
use crate::state::State;
use crate::writer::{Done, Stop, Writer};

const TABLE: &str = "syncjob";

/// The keys of a job whose values are kept as texts.
const TEXTS: [&str; 8] =
    ["host1", "user1", "password1", "subfolder2", "exclude", "enc1", "custom_params", "maxbytespersecond"];

/// The keys that hold 0 or 1.
const SWITCHES: [&str; 8] =
    ["delete2duplicates", "delete1", "delete2", "automap", "skipcrossduplicates", "subscribeall", "dry", "active"];

/// Options of imapsync that may stand in `custom_params`: the everyday part of Mailcow's list.
const OPTIONS: [&str; 21] = [
    "abort",
    "addheader",
    "automap",
    "debug",
    "domino1",
    "domino2",
    "dry",
    "exchange1",
    "exchange2",
    "exclude",
    "gmail1",
    "gmail2",
    "include",
    "maxage",
    "maxsize",
    "minage",
    "nofoldersizes",
    "office1",
    "regextrans2",
    "skipsize",
    "useuid",
];

/// `add/syncjob`
pub(crate) fn add(w: &mut Writer<'_>, attr: &Json) -> Done {
    let username = attr.get("username").to_text();
    if !php::is_email(&username) {
        w.danger("no_user_defined");
        return Err(Stop::Refused);
    }
    if !w.state.has_mailbox(&username) {
        w.danger("access_denied");
        return Err(Stop::Refused);
    }
    let mut job = obj! {
        "user2" => &username,
        "host1" => attr.get("host1").to_text().to_lowercase(),
        "authmech1" => "PLAIN",
        "regextrans2" => "",
        "authmd51" => 0,
        "domain2" => "",
        "custom_params" => php::trim(&attr.get("custom_params").to_text()),
        "subfolder2" => attr.get("subfolder2").to_text(),
    };
    for key in ["user1", "password1", "exclude", "maxage", "maxbytespersecond", "mins_interval", "port1", "enc1"] {
        job.set(key, attr.get(key));
    }
    for key in ["timeout1", "timeout2"] {
        job.set(key, attr.get(key).to_int());
    }
    for key in SWITCHES {
        job.set(key, attr.get(key).to_int());
    }
    let Some(mut job) = checked(w, job) else { return Err(Stop::Refused) };
    let same = |row: &&Json| ["user2", "user1", "host1"].iter().all(|key| same_text(row, &job, key));
    if w.state.tables.all(TABLE).iter().any(same) {
        let source = format!("{} / {}", job.get("host1").to_text(), job.get("user1").to_text());
        w.danger(list!["object_exists", php::html_escape(&source)]);
        return Err(Stop::Refused);
    }
    // Columns that may not be null.
    if ["user1", "password1", "exclude"].iter().any(|key| !job.is_set(key)) {
        return Err(Stop::crash());
    }
    job.set("is_running", 0);
    for key in ["last_run", "success", "exit_status", "modified"] {
        job.set(key, Json::Null);
    }
    job.set("created", clock::now());
    job.set("log", "");
    w.state.tables.insert(TABLE, "id", as_row(job));
    w.success(list!["mailbox_modified", &username]);
    Ok(())
}

fn same_text(a: &Json, b: &Json, key: &str) -> bool {
    a.get(key).to_text().eq_ignore_ascii_case(&b.get(key).to_text())
}

/// Values in the types of their columns.
fn as_row(mut job: Json) -> Json {
    for key in ["maxage", "mins_interval", "port1", "timeout1", "timeout2"] {
        let number = job.get(key).to_int();
        job.set(key, number);
    }
    for key in TEXTS {
        let text = job.get(key).to_text();
        job.set(key, text);
    }
    job
}

/// What is checked on add and on edit; values out of range fall back to a default. `None` when something
/// is refused, which is reported.
fn checked(w: &mut Writer<'_>, mut job: Json) -> Option<Json> {
    if let Some(problem) = option_problem(&job.get("custom_params").to_text()) {
        w.danger(problem);
        return None;
    }
    for (key, most, otherwise) in [
        ("maxage", 32_000, "0"),
        ("timeout1", 32_000, "600"),
        ("timeout2", 32_000, "600"),
        ("maxbytespersecond", 125_000_000, "0"),
    ] {
        if php::int_within(job.get(key), 1, most).is_none() {
            job.set(key, otherwise);
        }
    }
    let fits = php::int_within(job.get("port1"), 1, 65_535).is_some()
        && php::int_within(job.get("mins_interval"), 1, 43_800).is_some()
        && ["TLS", "SSL", "PLAIN"].contains(&job.get("enc1").to_text().as_str())
        && may_be_expression(&job.get("exclude").to_text());
    if !fits {
        w.danger("access_denied");
        return None;
    }
    Some(job)
}

/// What is wrong with the options of imapsync.
fn option_problem(options: &str) -> Option<String> {
    for option in options.split('-').filter(|option| !option.is_empty() && *option != "0") {
        let name = option.split_once('=').map_or(option.trim_end_matches(' '), |(name, _)| name);
        if name.contains(' ') {
            return Some("bad character SPACE".to_owned());
        }
        if !OPTIONS.contains(&name.to_lowercase().as_str()) {
            return Some(format!("bad option {name}"));
        }
    }
    None
}

/// Whether a regular expression closes what it opens, which is all that is looked at here.
fn may_be_expression(expression: &str) -> bool {
    let (mut depth, mut in_class, mut escaped) = (0_i32, false, false);
    for c in expression.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' if !in_class => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return false;
        }
    }
    depth == 0 && !in_class && !escaped
}

/// A job whose mailbox exists.
fn row(state: &State, item: &Json) -> Option<(i64, Json)> {
    let id = php::leading_id(&item.to_text()).filter(|_| item.is_numeric())?;
    let row = state.tables.get(TABLE, id)?;
    state.has_mailbox(&row.get("user2").to_text()).then(|| (id, row.clone()))
}

/// `edit/syncjob`: the mailbox cannot be changed, and two jobs may become the same.
pub(crate) fn edit(w: &mut Writer<'_>, items: &[Json], attr: &Json) -> Done {
    for item in items {
        let Some((id, before)) = row(w.state, item) else {
            w.danger("access_denied");
            continue;
        };
        let mut job = before.clone();
        for key in ["user1", "port1", "password1", "host1", "enc1", "mins_interval"] {
            if attr.get(key).truthy() {
                job.set(key, attr.get(key));
            }
        }
        for key in ["subfolder2", "exclude", "custom_params"] {
            if attr.is_set(key) {
                job.set(key, attr.get(key).to_text());
            }
        }
        for key in SWITCHES {
            if attr.is_set(key) {
                job.set(key, attr.get(key).to_int());
            }
        }
        for key in ["maxage", "maxbytespersecond", "timeout1", "timeout2"] {
            if attr.is_set(key) && *attr.get(key) != Json::from("") {
                job.set(key, attr.get(key).to_int());
            }
        }
        for key in ["last_run", "success"] {
            if attr.is_set(key) {
                job.set(key, Json::Null);
            }
        }
        if let Some(problem) = option_problem(&job.get("custom_params").to_text()) {
            w.danger(problem);
            return Err(Stop::Refused);
        }
        let Some(job) = checked(w, job) else { continue };
        if !php::is_domain_name(&job.get("host1").to_text()) {
            w.danger("access_denied");
            continue;
        }
        let mut after = as_row(job);
        if after != before {
            after.set("modified", clock::now());
            w.state.tables.put(TABLE, id, after);
        }
        w.success(list!["mailbox_modified", before.get("user2")]);
    }
    Ok(())
}

/// `delete/syncjob`
pub(crate) fn delete(w: &mut Writer<'_>, items: &[Json]) -> Done {
    for item in items {
        if !item.is_numeric() {
            return Err(Stop::Refused);
        }
        match row(w.state, item) {
            Some((id, _)) => {
                w.state.tables.remove(TABLE, id);
                w.success(list!["deleted_syncjob", item]);
            }
            None => w.danger("access_denied"),
        }
    }
    Ok(())
}

/// `get/syncjobs/{all|mailbox}`, without passwords.
pub(crate) fn get(state: &State, which: &str) -> Json {
    let mut rows: Vec<&Json> = state.tables.all(TABLE);
    rows.retain(|row| {
        let mailbox = row.get("user2").to_text();
        state.has_mailbox(&mailbox) && (which == "all" || mailbox.eq_ignore_ascii_case(which))
    });
    rows.sort_by_key(|row| {
        let mailbox = php::collated(&row.get("user2").to_text());
        let domain = php::cut_address(&mailbox).1.to_owned();
        (domain, mailbox, row.get("id").to_int())
    });
    Json::List(rows.into_iter().map(|row| row.without("password1")).collect())
}

/// Follows a mailbox to its new name.
pub(crate) fn rename(state: &mut State, old: &str, new: &str) {
    state.tables.replace(TABLE, &["user2"], old, new);
}
