//! Who may ask what, in the order in which Mailcow checks it, and the way from there to the topics.

use crate::answer::{Entry, Reply};
use crate::call::{Call, Place};
use crate::json::{Json, list, obj};
use crate::reads;
use crate::state::{Access, Backend, State};
use crate::writer::{Stop, Writer};
use crate::writes::{self, Ended, Route};

/// What goes back over the wire.
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    /// The cookie of a session that was just opened.
    pub(crate) cookie: Option<String>,
}

/// A request that got past the checks.
pub(crate) enum Passed {
    Read,
    Search(Json),
    Write { route: &'static Route, request: Json, access: Option<Access> },
}

/// Answers a request in one go.
pub(crate) fn answer(state: &mut State, call: &Call) -> Answer {
    match admit(state, call) {
        Ok((passed, cookie)) => Answer { reply: run(state, call, passed), cookie },
        Err(answer) => *answer,
    }
}

/// Runs what [`admit`] let through.
pub(crate) fn run(state: &mut State, call: &Call, passed: Passed) -> Reply {
    match passed {
        Passed::Read => reads::answer(state, call),
        Passed::Search(request) => reads::search(state, call, &request),
        Passed::Write { route, request, access } => {
            let ended = writes::run(state, route, call, &request, access);
            finish(state, call, route, ended)
        }
    }
}

/// Everything that is checked before a request does anything.
pub(crate) fn admit(state: &mut State, call: &Call) -> Result<(Passed, Option<String>), Box<Answer>> {
    let refused = match call.place {
        Place::Unreadable => Some(nginx_page(400, "Bad Request")),
        Place::Elsewhere => Some(nginx_page(404, "Not Found")),
        Place::Api => trouble_behind(state.backend, call),
    };
    if let Some(reply) = refused {
        return Err(Box::new(Answer { reply, cookie: None }));
    }
    let session = call.cookie.as_deref().and_then(|cookie| state.sessions.get_mut(cookie)).map(|s| s.access);
    let authenticated = authenticate(state, call);
    let access = match &authenticated {
        Ok(access) => access.or(session.flatten()),
        Err(_) => None,
    };
    let cookie = if session.is_some() { None } else { Some(state.sessions.open(access)) };
    let passed = match authenticated {
        Err(reply) => Err(reply),
        Ok(_) => check(call, access),
    };
    match passed {
        Ok(passed) => Ok((passed, cookie)),
        Err(reply) => Err(Box::new(Answer { reply, cookie })),
    }
}

/// What nginx says by itself.
fn nginx_page(status: u16, what: &str) -> Reply {
    let page = format!(
        "<html>\r\n<head><title>{status} {what}</title></head>\r\n<body>\r\n<center><h1>{status} {what}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    Reply::html(status, &page)
}

fn trouble_behind(backend: Backend, call: &Call) -> Option<Reply> {
    let page = |what: &str, error: &str| {
        let text = format!(
            "<center style='font-family:sans-serif;'>Connection to {what} failed.<br /><br />The following \
             error was reported:<br/>{error}</center>\n"
        );
        Some(Reply::html(500, &text))
    };
    match backend {
        Backend::DockerapiDown => page("dockerapi container", "111 - Connection refused"),
        Backend::RedisDown => page("Redis", "Connection refused"),
        Backend::DatabaseDown => page("database", "  SQLSTATE[HY000] [2002] No such file or directory"),
        // The page about it is a file, and nginx takes only reads for files.
        Backend::PhpDown if !matches!(call.method.as_str(), "GET" | "HEAD") => Some(nginx_page(405, "Not Allowed")),
        Backend::PhpDown => Some(Reply::html(502, "<!DOCTYPE html>\n<html><title>Preparing</title></html>\n")),
        Backend::Up | Backend::DockerapiFails | Backend::DockerapiSlow(_) => None,
    }
}

/// The access a key gives; no key is no error yet.
fn authenticate(state: &State, call: &Call) -> Result<Option<Access>, Reply> {
    let refuse = |msg: &str| {
        let mut reply = Reply::error(401, msg);
        reply.html = true;
        Err(reply)
    };
    let sent: String =
        call.key.iter().flat_map(|key| key.chars()).filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if sent.is_empty() {
        return Ok(None);
    }
    match state.api_keys.iter().find(|key| key.active && key.key.eq_ignore_ascii_case(&sent)) {
        None => refuse("authentication failed"),
        Some(key) if !key.allows(call.from) => refuse(&format!("api access denied for ip {}", call.from)),
        Some(key) => Ok(Some(key.access)),
    }
}

/// Methods, rights and bodies.
fn check(call: &Call, access: Option<Access>) -> Result<Passed, Reply> {
    if call.fetch_dest.as_deref().is_some_and(|dest| dest != "empty") {
        return Err(Reply::json(403, String::new()));
    }
    match call.action() {
        "get" if call.method != "GET" => Err(Reply::error(405, "only GET method is allowed")),
        "get" | "search" if access.is_none() => Err(Reply::empty()),
        "get" => Ok(Passed::Read),
        "search" => check_search(call),
        "add" | "edit" | "delete" => check_write(call, access),
        _ if access.is_none() && call.method == "GET" => Err(Reply::empty()),
        _ => Err(not_found()),
    }
}

fn check_search(call: &Call) -> Result<Passed, Reply> {
    let request = Json::parse(&call.body).filter(|body| *body != Json::Null);
    match request {
        None if call.is_json() => Err(Reply::error(400, "Request body doesn't contain valid json!")),
        _ if call.method != "POST" => Err(Reply::error(405, "only POST method is allowed")),
        request => Ok(Passed::Search(request.unwrap_or_default())),
    }
}

fn not_found() -> Reply {
    Reply::error(404, "route not found")
}

fn check_write(call: &Call, access: Option<Access>) -> Result<Passed, Reply> {
    let denied = match access {
        Some(Access::ReadWrite) => false,
        Some(Access::ReadOnly) => true,
        // Adding is left to the functions, which deny it one by one.
        None => call.action() != "add",
    };
    if denied {
        return Err(Reply::error(403, "API read/write access denied"));
    }
    let request = request_of(call)?;
    if call.method != "POST" {
        return Err(Reply::error(405, "only POST method is allowed"));
    }
    let route = writes::find(call).ok_or_else(not_found)?;
    Ok(Passed::Write { route, request, access })
}

/// What a write was asked for: `attr` and `items` in one object.
fn request_of(call: &Call) -> Result<Json, Reply> {
    if call.is_json() && !(call.method == "GET" && call.body.is_empty()) {
        let body = Json::parse(&call.body).filter(|body| *body != Json::Null);
        let Some(body) = body else {
            return Err(Reply::error(400, "Request body doesn't contain valid json!"));
        };
        return Ok(match call.action() {
            "add" => obj! { "attr" => body },
            "delete" => obj! { "items" => body },
            _ => obj! { "attr" => body.get("attr"), "items" => body.get("items") },
        });
    }
    let field = |name: &str| call.form_field(name).and_then(|text| Json::parse(&text));
    let needed = if call.action() == "delete" { "items" } else { "attr" };
    match field(needed) {
        None => Err(Reply::error(200, "Cannot find attributes in post data")),
        Some(_) => Ok(obj! { "attr" => field("attr"), "items" => field("items") }),
    }
}

/// Turns the end of a write into an answer. What a session's earlier write broke off with shows first.
pub(crate) fn finish(state: &mut State, call: &Call, route: &Route, ended: Ended) -> Reply {
    let Ended { entries, end, .. } = ended;
    let session = call.cookie.as_deref().and_then(|cookie| state.sessions.get_mut(cookie));
    match end {
        Ok(()) => {
            let mut all = session.map(|s| std::mem::take(&mut s.stale)).unwrap_or_default();
            all.extend(entries);
            Reply::entries(&all)
        }
        Err(Stop::Refused) if entries.is_empty() => Reply::error(200, &format!("Cannot {} item", route.action())),
        Err(Stop::Refused) => Reply::entries(&entries),
        Err(Stop::Crash(error)) => {
            if let Some(session) = session {
                session.stale.extend(entries);
                let msg = list!["mysql_error", obj! { "errorInfo" => error }];
                session.stale.push(Entry { kind: "danger", log: list!["exception_handler"], msg });
            }
            Reply::empty()
        }
    }
}

/// The answer of a write that was told to fail on a lock of the database.
pub(crate) fn lock_failure(state: &mut State, call: &Call, text: &str) -> Reply {
    let Some(route) = writes::find(call) else { return not_found() };
    let Ok(request) = request_of(call) else { return Reply::empty() };
    let log = route.echo(call, &request);
    let mut writer = Writer::new(state, log);
    if call.action() == "edit" {
        writer.danger(text);
        Reply::entries(&writer.entries)
    } else {
        Reply::empty()
    }
}

/// Adds to the answer of a write that the refresh of `SOGo`'s view met a locked row.
pub(crate) fn with_sogo_failure(state: &mut State, call: &Call, reply: &Reply, text: &str) -> Reply {
    let (Some(route), Ok(request)) = (writes::find(call), request_of(call)) else { return reply.clone() };
    let log = route.echo(call, &request);
    let mut writer = Writer::new(state, log);
    writer.success(text);
    let Some(entry) = writer.entries.pop() else { return reply.clone() };
    let mut entries = Json::parse(&reply.body).unwrap_or_default().into_items();
    entries.push(entry.to_json());
    Reply::json(reply.status, crate::json_text::compact(&Json::List(entries)))
}
