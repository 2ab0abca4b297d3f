//! Everything that is not compared to the letter, with the reason.

use serde_json::Value;

/// How a value that changes from run to run is compared.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Both are dates, or both are null.
    Date,
    /// Texts of the same length with the same beginning.
    Length(usize),
    /// Both are numbers.
    Number,
    /// Both are texts.
    Text,
}

/// Values that change from run to run: their key, where (a topic, a line of one, or everywhere), how they
/// are compared, and why.
pub(crate) const VOLATILE: &[(&str, &str, Shape, &str)] = &[
    ("created", "", Shape::Date, "the time of the run"),
    ("modified", "", Shape::Date, "the time of the run"),
    ("passwd_update", "", Shape::Date, "the time of the run"),
    ("system_time", "", Shape::Text, "the time of the run"),
    ("validity", "", Shape::Number, "the time of the run"),
    ("pubkey", "", Shape::Length(20), "each key is new; those of one size are of one length"),
    ("dkim_txt", "", Shape::Length(40), "holds the key"),
    ("password", "08_others", Shape::Length(18), "a salted hash"),
    ("password", "16_path_encoding/get_app", Shape::Length(18), "a salted hash"),
    ("password", "21_app_passwords/list", Shape::Length(18), "a salted hash"),
    ("password", "24_rename_mailbox/app-passwd", Shape::Length(18), "a salted hash"),
    ("qhash", "", Shape::Length(0), "a hash over a random value"),
    ("msg", "08_others/quarantine_one", Shape::Text, "a mail with the date of the run"),
    ("address", "05_alias/tla_get", Shape::Length(0), "a made-up name"),
    ("2", "09_quirks/parallel_add_alias", Shape::Text, "ids go by who comes first"),
    ("2", "11_contention", Shape::Text, "ids count what was there before the recording"),
    ("2", "12_deadlocks", Shape::Text, "ids count what was there before the recording"),
];

/// Lines of the imported key, whose public half is known and compared to the letter.
pub(crate) const KNOWN_KEYS: &[&str] = &["get_imported", "ro_get"];

/// Lines that are not compared: their topic, what their name begins with, and why.
pub(crate) const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("01_auth", "gzip", "compression is nginx's work, in front of the API"),
    ("07_sieve", "presets_sieve", "texts of the UI"),
    ("08_others", "logs_api", "the log of requests is not shown over the API"),
    ("11_contention", "get/domain/all", "the recording leaves the list out"),
    ("16_path_encoding", "get_mailbox_backtick_raw", "no HTTP library here takes a bare backtick in a path"),
    ("16_path_encoding", "get_alias_backtick_raw", "the same"),
    ("24_rename_mailbox", "sql_sogo_after", "the table behind SOGo is not kept, only its cost"),
];

/// Lines of which only the status and headers are compared.
pub(crate) const BODY_LEFT_OUT: &[(&str, &str, &str)] = &[
    ("10_backend_trouble", "php_down_get", "a whole page of nginx in the real one's words"),
    ("30_php_down", "get", "the same page"),
    ("30_php_down", "get_version", "the same page"),
];

/// Lines whose length is not compared, since a text in them is not.
pub(crate) const LENGTH_LEFT_OUT: &[(&str, &str)] = &[("08_others", "quarantine_one")];

/// Whether two values are equal but for what changes from run to run.
pub(crate) fn is_volatile(topic: &str, line: &str, key: &str) -> Option<Shape> {
    let known_key = matches!(key, "pubkey" | "dkim_txt") && KNOWN_KEYS.contains(&line);
    let found = VOLATILE.iter().find(|(name, place, ..)| *name == key && is_at(place, topic, line));
    found.filter(|_| !known_key).map(|(_, _, shape, _)| *shape)
}

/// Compares two values by their shape.
pub(crate) fn same_shape(shape: Shape, ours: &Value, theirs: &Value) -> bool {
    match (shape, ours, theirs) {
        (_, Value::Null, Value::Null)
        | (Shape::Date | Shape::Number, Value::Number(_), Value::Number(_))
        | (Shape::Text, Value::String(_), Value::String(_)) => true,
        (Shape::Date, Value::String(a), Value::String(b)) => a.len() == b.len(),
        (Shape::Length(same), Value::String(a), Value::String(b)) => {
            a.len() == b.len() && a.get(..same) == b.get(..same)
        }
        _ => ours == theirs,
    }
}

fn is_at(place: &str, topic: &str, line: &str) -> bool {
    let (of, name) = place.split_once('/').unwrap_or((place, ""));
    of.is_empty() || of == topic && line.starts_with(name)
}
