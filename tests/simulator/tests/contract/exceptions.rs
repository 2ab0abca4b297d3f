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

/// Values that change from run to run: their key, the topic (all when empty), how they are compared.
pub(crate) const VOLATILE: &[(&str, &str, Shape, &str)] = &[
    ("created", "", Shape::Date, "the time of the run"),
    ("modified", "", Shape::Date, "the time of the run"),
    ("passwd_update", "", Shape::Date, "the time of the run"),
    ("system_time", "", Shape::Text, "the time of the run"),
    ("validity", "", Shape::Number, "the time of the run"),
    ("pubkey", "", Shape::Length(20), "each key is new; those of one size are of one length"),
    ("dkim_txt", "", Shape::Length(40), "holds the key"),
    ("password", "08_others", Shape::Length(19), "a salted hash"),
    ("qhash", "", Shape::Length(0), "a hash over a random value"),
    ("msg", "08_others", Shape::Text, "a mail with the date of the run"),
];

/// Lines of the imported key, whose public half is known and compared to the letter.
pub(crate) const KNOWN_KEYS: &[&str] = &["get_imported", "ro_get"];

/// Lines that cannot be compared.
pub(crate) const LEFT_OUT: &[(&str, &str, &str)] = &[
    ("01_auth", "gzip", "compression is nginx's work, in front of the API"),
];

/// Lines of which only the status and headers are compared.
pub(crate) const BODY_LEFT_OUT: &[(&str, &str, &str)] =
    &[("10_backend_trouble", "php_down_get", "a whole page of nginx in the real one's words")];

/// Lines whose length is not compared.
pub(crate) const LENGTH_LEFT_OUT: &[(&str, &str)] = &[];

/// Whether two values are equal but for what changes from run to run.
pub(crate) fn is_volatile(topic: &str, line: &str, key: &str) -> Option<Shape> {
    let known_key = matches!(key, "pubkey" | "dkim_txt") && KNOWN_KEYS.contains(&line);
    let found = VOLATILE.iter().find(|(name, of, ..)| *name == key && (of.is_empty() || *of == topic));
    found.filter(|_| !known_key).map(|(_, _, shape, _)| *shape)
}

/// Compares two values by their shape.
pub(crate) fn same_shape(shape: Shape, ours: &Value, theirs: &Value) -> bool {
    match (shape, ours, theirs) {
        (_, Value::Null, Value::Null) => true,
        (Shape::Date, Value::Number(_), Value::Number(_)) | (Shape::Number, Value::Number(_), Value::Number(_)) => true,
        (Shape::Date, Value::String(a), Value::String(b)) => a.len() == b.len(),
        (Shape::Text, Value::String(_), Value::String(_)) => true,
        (Shape::Length(same), Value::String(a), Value::String(b)) => {
            a.len() == b.len() && a.get(..same) == b.get(..same)
        }
        _ => ours == theirs,
    }
}
