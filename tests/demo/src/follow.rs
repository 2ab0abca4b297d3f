//! Follows the objects until all are Ready, and tells each change once.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::stage::{NAMESPACE, Stage};
use crate::voice::{Voice, seconds, table};

/// How long anything may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);
/// Between two looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// What one object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    kind: String,
    name: String,
    ready: String,
    reason: String,
    message: String,
}

impl Row {
    fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ready = condition(object, "Ready").filter(|_| is_current(object));
        let said = |key: &str| ready.map(|ready| text(&ready[key])).filter(|text| !text.is_empty());
        Self {
            kind: text(&object["kind"]),
            name: text(&object["metadata"]["name"]),
            ready: said("status").unwrap_or_else(|| "-".to_owned()),
            reason: said("reason").unwrap_or_else(|| "not seen by the operator yet".to_owned()),
            message: said("message").unwrap_or_default(),
        }
    }

    fn is_ready(&self) -> bool {
        self.ready == "True"
    }

    fn line(&self, since: Duration) -> String {
        let what = format!("{}/{}", self.kind, self.name);
        format!("{:>7}  {what:<32}  Ready={:<8} {}", seconds(since), self.ready, self.reason)
    }
}

/// The condition of an object.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether the status speaks of the current spec.
fn is_current(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// Those that say something else than before.
fn news<'a>(before: &[Row], now: &'a [Row]) -> Vec<&'a Row> {
    now.iter().filter(|row| !before.contains(row)).collect()
}

/// Tells every change of `Ready` until it is True everywhere; gives the number of objects.
pub(crate) async fn until_ready(stage: &mut Stage, voice: &Voice) -> Result<usize> {
    let begun = Instant::now();
    let mut before: Vec<Row> = Vec::new();
    loop {
        stage.check()?;
        let objects = objects(stage).await?;
        let now: Vec<Row> = objects.iter().map(Row::of).collect();
        for row in news(&before, &now) {
            voice.show(&row.line(begun.elapsed()))?;
        }
        if !now.is_empty() && now.iter().all(Row::is_ready) {
            return Ok(now.len());
        }
        if begun.elapsed() > LIMIT {
            return Err(late(stage, &now));
        }
        before = now;
        sleep(PAUSE).await;
    }
}

fn late(stage: &Stage, now: &[Row]) -> Error {
    let waiting = now.iter().filter(|row| !row.is_ready());
    let rows: Vec<[String; 4]> = waiting
        .map(|row| [format!("{}/{}", row.kind, row.name), row.ready.clone(), row.reason.clone(), row.message.clone()])
        .collect();
    Error::Late {
        what: "not everything became Ready",
        seconds: LIMIT.as_secs(),
        state: table(&rows),
        log: stage.log_tail(),
    }
}

/// All objects of the category `email`.
async fn objects(stage: &Stage) -> Result<Vec<Value>> {
    let text = stage.kubectl(&["-n", NAMESPACE, "get", "email", "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&text)
        .map_err(|error| Error::Unreadable { what: "the answer of kubectl get email", why: error.to_string() })?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(ready: &str, observed: i64) -> Value {
        json!({
            "kind": "EmailAlias", "metadata": {"name": "sales", "generation": 2},
            "status": {"observedGeneration": observed, "conditions": [
                {"type": "Synced", "status": "False"}, {"type": "Ready", "status": ready, "reason": "InSync"},
            ]},
        })
    }

    #[test]
    fn a_status_of_an_older_spec_is_not_ready() {
        assert!(Row::of(&object("True", 2)).is_ready());
        assert!(!Row::of(&object("True", 1)).is_ready());
        assert!(!Row::of(&json!({"kind": "EmailAlias"})).is_ready());
    }

    #[test]
    fn only_changes_are_told() {
        let (waiting, ready) = (Row::of(&object("False", 2)), Row::of(&object("True", 2)));
        assert_eq!(news(&[], std::slice::from_ref(&waiting)).len(), 1);
        assert!(news(std::slice::from_ref(&waiting), std::slice::from_ref(&waiting)).is_empty());
        assert_eq!(news(&[waiting], std::slice::from_ref(&ready)), [&ready]);
    }
}
