//! What a write needs: the state, the entries it reports and the way Mailcow logs its call.

use crate::answer::Entry;
use crate::json::{Json, list};
use crate::php;
use crate::state::State;

/// How a write ended early.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Stop {
    /// PHP broke off: empty body. In a cookie's session the error shows in the next write.
    Crash(Json),
    /// The function said no without an entry: `Cannot add item` and the like.
    Refused,
}

impl Stop {
    /// A crash of which nothing is known but that it happens.
    pub(crate) fn crash() -> Self {
        Self::Crash(Json::Null)
    }

    /// A crash on a value that does not fit its column.
    pub(crate) fn too_long(column: &str) -> Self {
        let text = format!("Data too long for column '{column}' at row 1");
        Self::Crash(list!["22001", 1406, text])
    }
}

/// The end of a write.
pub(crate) type Done = Result<(), Stop>;

/// One call of a writing function.
pub(crate) struct Writer<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) entries: Vec<Entry>,
    /// The echo of the call.
    pub(crate) log: Json,
    /// The mailboxes whose rows in `SOGo`'s view the call changes.
    pub(crate) touched: Vec<String>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(state: &'a mut State, log: Json) -> Self {
        Self { state, entries: Vec::new(), log, touched: Vec::new() }
    }

    pub(crate) fn success(&mut self, msg: impl Into<Json>) {
        self.report("success", msg);
    }

    pub(crate) fn danger(&mut self, msg: impl Into<Json>) {
        self.report("danger", msg);
    }

    pub(crate) fn warning(&mut self, msg: impl Into<Json>) {
        self.report("warning", msg);
    }

    pub(crate) fn report(&mut self, kind: &'static str, msg: impl Into<Json>) {
        let log = self.log.clone();
        self.entries.push(Entry { kind, log, msg: msg.into() });
    }

    /// Notes that rows in `SOGo`'s view change: those of an alias' targets, or of one mailbox.
    pub(crate) fn touch(&mut self, targets: &str) {
        let special = |target: &str| ["null@localhost", "spam@localhost", "ham@localhost"].contains(&target);
        let targets = targets.split(',').map(php::trim).filter(|target| php::is_email(target) && !special(target));
        self.touched.extend(targets.map(str::to_owned));
    }

    /// Runs another function of Mailcow from within, under its own echo.
    pub(crate) fn within<T>(&mut self, log: Json, call: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.log, log);
        let result = call(self);
        self.log = outer;
        result
    }

    /// Checks a new password; reports what is wrong with it.
    pub(crate) fn password_ok(&mut self, password: &Json, again: &Json) -> bool {
        let log = list!["password_check", Json::Null, Json::Null];
        let problem = password_problem(self.state, &password.to_text(), &again.to_text());
        let Some(problem) = problem else { return true };
        self.within(log, |w| w.danger(problem));
        false
    }
}

fn password_problem(state: &State, password: &str, again: &str) -> Option<&'static str> {
    let policy = &state.password_policy;
    let has = |test: fn(char) -> bool| password.chars().any(test);
    let weak = password.is_empty()
        || again.is_empty()
        || password.chars().count() < policy.length
        || policy.chars && !has(char::is_alphabetic)
        || policy.special_chars && !has(|c| !c.is_alphanumeric())
        || policy.lowerupper && !(has(char::is_lowercase) && has(char::is_uppercase))
        || policy.numbers && !has(|c| c.is_ascii_digit());
    if weak {
        Some("password_complexity")
    } else if password != again {
        Some("password_mismatch")
    } else {
        None
    }
}

/// The echo of a call with passwords starred out.
pub(crate) fn masked(attr: &Json) -> Json {
    let mut masked = attr.clone();
    for key in ["password", "password2", "app_passwd", "app_passwd2"] {
        if masked.is_set(key) {
            masked.set(key, "*");
        }
    }
    masked
}
