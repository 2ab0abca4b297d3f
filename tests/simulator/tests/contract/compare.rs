//! Compares an answer with the recorded one.

use serde_json::Value;

use crate::client::Received;
use crate::exceptions::{self, Shape};

/// What differs; `None` when nothing does.
pub(crate) fn difference(topic: &str, line: &str, recorded: &Value, received: &Received) -> Option<String> {
    let status = recorded["status"].as_u64().unwrap_or(200);
    if u64::from(received.status) != status {
        return Some(format!("status {} instead of {status}: {}", received.status, short(&received.body)));
    }
    if let Some(how) = header_difference(recorded, received) {
        return Some(how);
    }
    if exceptions::BODY_LEFT_OUT.iter().any(|(of, name, _)| *of == topic && *name == line) {
        return None;
    }
    body_difference(topic, line, recorded, received).or_else(|| length_difference(topic, line, recorded, received))
}

fn header_difference(recorded: &Value, received: &Received) -> Option<String> {
    let Value::Object(headers) = &recorded["headers"] else { return None };
    let wanted = headers.get("content-type").and_then(Value::as_str);
    let got = received.header("content-type");
    if wanted.is_some() && got != wanted {
        return Some(format!("content-type {got:?} instead of {wanted:?}"));
    }
    let (cookie, wanted) = (received.header("set-cookie").is_some(), headers.contains_key("set-cookie"));
    (cookie != wanted).then(|| format!("a cookie: {cookie} instead of {wanted}"))
}

fn body_difference(topic: &str, line: &str, recorded: &Value, received: &Received) -> Option<String> {
    let wanted = &recorded["body"];
    if *wanted == "(empty body)" {
        return (!received.body.is_empty()).then(|| format!("not empty: {}", short(&received.body)));
    }
    if recorded["empty_body"] == Value::Bool(true) {
        return (!received.body.is_empty()).then(|| format!("not empty: {}", short(&received.body)));
    }
    let Ok(got) = serde_json::from_str::<Value>(&received.body) else {
        let same = wanted.as_str() == Some(received.body.as_str());
        return (!same).then(|| format!("{:?} instead of {}", short(&received.body), short(&wanted.to_string())));
    };
    // Some lines were recorded without the field.
    let got = if wanted[0]["msg"].is_null() || wanted[0].get("log").is_some() { got } else { without_log(got) };
    value_difference(topic, line, "", &got, wanted)
}

/// An answer with the log fields left out, as races are recorded.
pub(crate) fn without_log(mut body: Value) -> Value {
    if let Value::Array(entries) = &mut body {
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            entry.remove("log");
        }
    }
    body
}

/// The first place where two values differ.
pub(crate) fn value_difference(topic: &str, line: &str, at: &str, got: &Value, wanted: &Value) -> Option<String> {
    let key = at.rsplit('.').next().unwrap_or_default();
    let shape = exceptions::is_volatile(topic, line, key);
    match (got, wanted) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = b.keys().find(|key| !a.contains_key(*key));
            let extra = a.keys().find(|key| !b.contains_key(*key));
            if let Some(key) = missing.or(extra) {
                let which = if missing.is_some() { "missing" } else { "too much" };
                return Some(format!("{at}.{key} is {which}"));
            }
            a.iter().find_map(|(key, value)| value_difference(topic, line, &format!("{at}.{key}"), value, &b[key]))
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                return Some(format!("{at} has {} instead of {}: {}", a.len(), b.len(), short(&got.to_string())));
            }
            let pairs = a.iter().zip(b).enumerate();
            pairs.into_iter().find_map(|(n, (a, b))| value_difference(topic, line, &format!("{at}.{n}"), a, b))
        }
        _ => {
            let same = got == wanted || shape.is_some_and(|shape: Shape| exceptions::same_shape(shape, got, wanted));
            (!same).then(|| format!("{at}: {} instead of {}", short(&got.to_string()), short(&wanted.to_string())))
        }
    }
}

fn length_difference(topic: &str, line: &str, recorded: &Value, received: &Received) -> Option<String> {
    let wanted = usize::try_from(recorded["bytes"].as_u64()?).ok()?;
    let exempt = exceptions::LENGTH_LEFT_OUT.iter().any(|(of, name)| *of == topic && *name == line);
    let got = received.body.len();
    // Keys and hashes are of one length, but not the number of slashes in them, each of which is escaped.
    let exempt = exempt || received.body.contains("\"pubkey\"") || received.body.contains("{BLF-CRYPT}");
    (got != wanted && !exempt).then(|| format!("{got} bytes instead of {wanted}"))
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}
