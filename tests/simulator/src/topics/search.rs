//! `search/mailbox`: lists page by page, as the tables of Mailcow's UI ask for them.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use crate::json::{Json, obj};
use crate::state::{Mailbox, State};
use crate::topics::domain_view::{self, Usage};
use crate::topics::mailbox_view;

/// A column of the table: its number in requests, its name, and whether the database has it. Those it does
/// not have are only there to sort by.
struct Column {
    number: i64,
    name: &'static str,
    is_stored: bool,
}

const fn stored(number: i64, name: &'static str) -> Column {
    Column { number, name, is_stored: true }
}

const fn computed(number: i64, name: &'static str) -> Column {
    Column { number, name, is_stored: false }
}

const COLUMNS: [Column; 9] = [
    stored(2, "username"),
    stored(3, "quota"),
    computed(4, "last_mail_login"),
    computed(5, "last_pw_change"),
    computed(6, "in_use"),
    stored(7, "name"),
    computed(20, "messages"),
    computed(23, "tags"),
    stored(24, "active"),
];

/// The column of a number; an unknown one stands for the first.
fn column(number: &Json) -> &'static Column {
    let known = COLUMNS.iter().find(|column| number.is_numeric() && column.number == number.to_int());
    known.unwrap_or(&COLUMNS[0])
}

/// Whether a switch of a request is on: `true`, or the text.
fn is_on(value: &Json) -> bool {
    *value == Json::Bool(true) || *value == Json::from("true")
}

/// Which rows a request wants: all parts of `all`, and one of `any` if there are some.
#[derive(Default)]
struct Wanted {
    any: Vec<(&'static Column, String)>,
    all: Vec<(&'static Column, String)>,
}

impl Wanted {
    fn of(request: &Json) -> Self {
        let mut wanted = Self::default();
        let everywhere = request.get("search").get("value").to_text();
        for (number, asked) in request.get("columns").clone().into_items().iter().enumerate() {
            if !is_on(asked.get("searchable")) {
                continue;
            }
            if !everywhere.is_empty() {
                let number = Json::Int(i64::try_from(number).unwrap_or(i64::MAX));
                wanted.any.push((column(&number), everywhere.clone()));
            }
            let text = asked.get("search").get("value").to_text();
            if !text.is_empty() {
                wanted.all.push((column(asked.get("data")), text));
            }
        }
        wanted
    }

    /// A column that the database does not have and that is searched all the same.
    fn unknown(&self) -> Option<&'static str> {
        let in_any = self.any.iter().filter(|(column, _)| column.name != "tags");
        let mut columns = in_any.chain(&self.all).map(|(column, _)| *column);
        columns.find(|column| !column.is_stored).map(|column| column.name)
    }

    fn takes(&self, mailbox: &Mailbox) -> bool {
        let holds = |(column, text): &(&Column, String)| match column.name {
            "tags" => mailbox.tags.iter().any(|tag| is_like(tag, text)),
            name => is_like(&stored_text(mailbox, name), text),
        };
        (self.any.is_empty() || self.any.iter().any(holds)) && self.all.iter().all(holds)
    }
}

fn stored_text(mailbox: &Mailbox, column: &str) -> String {
    match column {
        "quota" => mailbox.quota.to_string(),
        "name" => mailbox.name.clone(),
        "active" => mailbox.active.to_string(),
        _ => mailbox.username.clone(),
    }
}

/// `LIKE '%…%'`: in the wanted text `%` stands for anything and `_` for one character.
fn is_like(text: &str, wanted: &str) -> bool {
    let (text, wanted) = (text.to_lowercase(), wanted.to_lowercase());
    if !wanted.contains(['%', '_']) {
        return text.contains(&wanted);
    }
    let text: Vec<char> = text.chars().collect();
    let wanted: Vec<char> = format!("%{wanted}%").chars().collect();
    // The places in `wanted` that are reached after each character.
    let mut reached = BTreeSet::from([0]);
    skip_wildcards(&mut reached, &wanted);
    for c in text {
        let step = |at: &usize| match wanted.get(*at) {
            Some('%') => Some(*at),
            Some(w) if *w == '_' || *w == c => Some(*at + 1),
            _ => None,
        };
        reached = reached.iter().filter_map(step).collect();
        skip_wildcards(&mut reached, &wanted);
    }
    reached.contains(&wanted.len())
}

fn skip_wildcards(reached: &mut BTreeSet<usize>, wanted: &[char]) {
    for (at, c) in wanted.iter().enumerate() {
        if *c == '%' && reached.contains(&at) {
            reached.insert(at + 1);
        }
    }
}

/// The order of two mailboxes by one column.
fn compare(state: &State, column: &str, a: &Mailbox, b: &Mailbox) -> Ordering {
    let last_login = |m: &Mailbox| {
        let of = state.logins.iter().filter(|l| l.username == m.username && l.service != "SSO");
        of.map(|l| l.at).max()
    };
    match column {
        "quota" => a.quota.cmp(&b.quota),
        "last_mail_login" => last_login(a).cmp(&last_login(b)),
        "last_pw_change" => a.attributes.passwd_update.cmp(&b.attributes.passwd_update),
        // a/b < c/d as a·d < c·b; without a quota there is no share, which comes first.
        "in_use" => (a.quota != 0, i128::from(a.quota_used) * i128::from(b.quota))
            .cmp(&(b.quota != 0, i128::from(b.quota_used) * i128::from(a.quota))),
        "name" => a.name.to_lowercase().cmp(&b.name.to_lowercase()),
        "messages" => a.messages.cmp(&b.messages),
        "active" => a.active.cmp(&b.active),
        "tags" => Ordering::Equal,
        _ => a.username.to_lowercase().cmp(&b.username.to_lowercase()),
    }
}

/// One page, with the counts; an error of the database is one object.
pub(crate) fn mailboxes(state: &State, request: &Json) -> Json {
    let wanted = Wanted::of(request);
    if let Some(column) = wanted.unknown() {
        let text = format!("SQLSTATE[42S22]: Column not found: 1054 Unknown column 'm.{column}' in 'where clause'");
        return obj! { "error" => format!("An SQL error occurred: {text}") };
    }
    let mut found: Vec<&Mailbox> = state.mailboxes.values().filter(|mailbox| wanted.takes(mailbox)).collect();
    let columns = request.get("columns").clone().into_items();
    for order in request.get("order").clone().into_items().iter().rev() {
        let number = order.get("column").to_int();
        let asked = usize::try_from(number).ok().and_then(|number| columns.get(number));
        if !asked.is_some_and(|asked| is_on(asked.get("orderable"))) {
            continue;
        }
        let name = column(&Json::Int(number)).name;
        let ascending = *order.get("dir") == Json::from("asc");
        found.sort_by(|a, b| {
            let order = compare(state, name, a, b);
            if ascending { order } else { order.reverse() }
        });
    }
    let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
    let (start, length) = (request.get("start"), request.get("length"));
    let cut = request.is_set("start") && length.to_int() != -1;
    let from = if cut { usize::try_from(start.to_int()).unwrap_or(0) } else { 0 };
    let most = if cut { usize::try_from(length.to_int()).unwrap_or(0) } else { usize::MAX };
    let page: Vec<&Mailbox> = found.into_iter().skip(from).take(most).collect();
    let mut usages: HashMap<String, Usage> = HashMap::new();
    for mailbox in &page {
        if !usages.contains_key(&mailbox.domain) {
            usages.insert(mailbox.domain.clone(), domain_view::assigned(state, &mailbox.domain));
        }
    }
    let shown = page.into_iter().filter_map(|m| mailbox_view::shown_with(state, m, &usages));
    obj! {
        "draw" => request.get("draw").to_int(),
        "recordsTotal" => count,
        "recordsFiltered" => count,
        "data" => Json::List(shown.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_search_is_part_of_the_text_and_has_wildcards() {
        for wanted in ["", "a@", "A@ACME", "a%me", "_@acme", "%", "acme.test"] {
            assert!(is_like("ada@acme.test", wanted), "{wanted}");
        }
        for wanted in ["b", "acme.test_", "ada__acme__test_"] {
            assert!(!is_like("ada@acme.test", wanted), "{wanted}");
        }
    }
}
