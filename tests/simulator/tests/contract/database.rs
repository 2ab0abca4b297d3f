//! Compares the database's tables with what was seen in them.

use mailcow_simulator::{Row, Simulator};
use serde_json::Value;

/// Columns whose value is another one in every run.
const VOLATILE: [&str; 3] = ["created", "passwd_update", "validity"];

/// The first difference between recorded rows and those the simulator has for the same statement. What is
/// read of a statement is its table and its condition; the columns are those of the recorded rows.
pub(crate) fn difference(sql: &str, recorded: &[Value], simulator: &Simulator) -> Option<String> {
    let table = word_behind(sql, "from")?;
    let Some(rows) = simulator.inspect(|state| state.table(table)) else {
        return Some(format!("there is no table {table}"));
    };
    let mut ours: Vec<Row> = rows.into_iter().filter(|row| is_wanted(sql, row)).collect();
    if sql.contains("group by") {
        ours = counted(&ours, word_behind(sql, "group by")?);
    }
    if ours.len() != recorded.len() {
        return Some(format!("{} rows instead of {}: {ours:?}", ours.len(), recorded.len()));
    }
    let ours: Vec<String> = ours.iter().map(|row| shown(row, recorded.first())).collect();
    let mut theirs: Vec<String> = recorded.iter().map(as_text).collect();
    let mut ours = ours;
    // Without an order, the rows come as the database likes.
    if !sql.contains("order by") {
        ours.sort();
        theirs.sort();
    }
    let pair = ours.iter().zip(&theirs).find(|(a, b)| a != b)?;
    Some(format!("{} instead of {}", pair.0, pair.1))
}

fn word_behind<'a>(sql: &'a str, keyword: &str) -> Option<&'a str> {
    let (_, rest) = sql.split_once(&format!("{keyword} "))?;
    rest.split_whitespace().next()
}

/// Whether the condition of a statement takes a row: `column=value`, or `column like "%end"`.
fn is_wanted(sql: &str, row: &Row) -> bool {
    let Some((_, condition)) = sql.split_once(" where ") else { return true };
    let value_of = |column: &str| row.get(column.trim()).map(String::as_str).unwrap_or_default();
    let bare = |value: &str| value.trim_start().trim_start_matches(['\'', '"', '%']).to_owned();
    let cut = |value: &str| value.split(['\'', '"', ' ']).next().unwrap_or_default().to_owned();
    match condition.split_once(" like ") {
        Some((column, end)) => value_of(column).ends_with(&cut(&bare(end))),
        None => condition.split_once('=').is_none_or(|(column, value)| value_of(column) == cut(&bare(value))),
    }
}

/// `select count(*) n, column … group by column`: names are the same whatever their case.
fn counted(rows: &[Row], column: &str) -> Vec<Row> {
    let mut groups: Vec<Row> = Vec::new();
    for row in rows {
        let value = row.get(column).cloned().unwrap_or_default();
        let is_it = |other: &&Row| other.get(column).is_some_and(|other| other.eq_ignore_ascii_case(&value));
        if groups.iter().all(|group| !group["column"].eq_ignore_ascii_case(&value)) {
            let count = rows.iter().filter(is_it).count();
            groups.push(Row::from([("n", count.to_string()), ("column", value)]));
        }
    }
    groups
}

/// A row with the columns of the recorded one, in their order.
fn shown(row: &Row, recorded: Option<&Value>) -> String {
    let columns = recorded.and_then(Value::as_object).into_iter().flat_map(|columns| columns.keys());
    let name = || row.get("name").cloned().unwrap_or_default();
    let pairs = columns.filter(|column| !VOLATILE.contains(&column.as_str())).map(|column| {
        let own = row.get(column.as_str()).cloned();
        let value = own.unwrap_or_else(|| match column.as_str() {
            "n" => name().chars().take(80).collect(),
            "l" => name().len().to_string(),
            _ => row.get("column").cloned().unwrap_or_else(|| "no such column".to_owned()),
        });
        // The rows were printed by the database's client, which writes a newline as two characters.
        format!("{column}: {}", without_times(&value).replace('\n', "\\n"))
    });
    pairs.collect::<Vec<_>>().join(", ")
}

fn as_text(recorded: &Value) -> String {
    let columns = recorded.as_object().into_iter().flatten();
    let pairs = columns.filter(|(column, _)| !VOLATILE.contains(&column.as_str()));
    let pairs = pairs.map(|(column, value)| format!("{column}: {}", without_times(value.as_str().unwrap_or_default())));
    pairs.collect::<Vec<_>>().join(", ")
}

/// An object in a column, written in one way and without what changes from run to run.
fn without_times(value: &str) -> String {
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Object(mut object)) => {
            object.retain(|key, _| !VOLATILE.contains(&key.as_str()));
            Value::Object(object).to_string()
        }
        _ => value.to_owned(),
    }
}
