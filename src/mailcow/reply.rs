//! Reads Mailcow's answers to writes. Only this module reads message texts.
//!
//! A write is answered with status 200 whatever came of it, in one of four shapes: an array of entries, a bare success
//! object, a bare error object, or nothing at all (an uncaught exception: the outcome is unknown).

use serde::Deserialize;
use serde_json::Value;

use super::error::Error;
use super::request::Request;
use crate::mail::Quota;

/// One entry of an answer; its `log` repeats the request and is never read.
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    msg: Value,
}

impl Entry {
    /// The code and its arguments, as texts.
    fn words(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        match &self.msg {
            Value::Array(parts) => parts.iter().map(text).collect(),
            Value::Null => Vec::new(),
            other => vec![text(other)],
        }
    }
}

/// Whether a write was done: no refusal, and the expected success for the right entry.
///
/// # Errors
/// [`Error::Refused`], [`Error::Busy`], or [`Error::OutcomeUnknown`] for an answer that tells nothing.
pub(super) fn write_outcome(body: &[u8], request: &Request) -> Result<(), Error> {
    let Request { success, about, action, .. } = request;
    let unknown = |why: &str| Error::OutcomeUnknown { action: action.clone(), why: why.to_owned(), is_empty: false };
    if body.iter().all(u8::is_ascii_whitespace) {
        let (action, why) = (action.clone(), "the answer was empty".to_owned());
        return Err(Error::OutcomeUnknown { action, why, is_empty: true });
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| unknown("the answer was not JSON"))?;
    let entries: Vec<Entry> = match value {
        Value::Array(_) => serde_json::from_value(value),
        other => serde_json::from_value(other).map(|entry| vec![entry]),
    }
    .map_err(|_| unknown("the answer had another format than Mailcow's"))?;
    if let Some(refusal) = entries.iter().find(|entry| matches!(entry.kind.as_str(), "danger" | "error")) {
        return Err(refused(&refusal.words(), action));
    }
    // A deadlock in the last step comes as type `success` with the SQLSTATE as its text.
    if let Some(deadlock) = entries.iter().map(Entry::words).find(|words| is_sqlstate(words)) {
        return Err(unknown(&deadlock.join(" ")));
    }
    let failure =
        entries.iter().map(Entry::words).find(|words| words.first().is_some_and(|c| c == "release_send_failed"));
    if let Some(failure) = failure {
        return Err(refused(&failure, action));
    }
    let mut confirmed = entries.iter().map(Entry::words).filter(|words| words.first().is_some_and(|c| c == success));
    match confirmed.clone().count() {
        0 => Err(unknown("the answer has no confirmation")),
        _ if about.is_empty() => Ok(()),
        _ if confirmed.any(|words| words.get(1).is_some_and(|thing| is_same(thing, about))) => Ok(()),
        _ => Err(unknown("the answer confirms another entry")),
    }
}

/// Whether an answer names the entry: some answers are escaped for HTML (recording `16_path_encoding/delete_*`).
fn is_same(named: &str, thing: &str) -> bool {
    let plain = named.replace("&#039;", "'").replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    plain.replace("&amp;", "&").eq_ignore_ascii_case(thing)
}

fn is_sqlstate(words: &[String]) -> bool {
    words.first().is_some_and(|code| code.starts_with("SQLSTATE"))
}

fn refused(words: &[String], action: &str) -> Error {
    let action = action.to_owned();
    let code = words.first().cloned().unwrap_or_default();
    if is_sqlstate(words) {
        return Error::Busy { action, why: code };
    }
    Error::Refused { action, message: in_words(&code, words.get(1..).unwrap_or_default()), code }
}

/// Mailcow's codes in plain words; an unknown code is shown unchanged.
fn in_words(code: &str, args: &[String]) -> String {
    let arg = |n: usize| args.get(n).map_or("?", String::as_str);
    // Mailcow uses MiB; a spec uses quantities.
    let quantity =
        |n: usize| arg(n).trim().parse().map_or_else(|_| format!("{} MiB", arg(n)), |mib| Quota::mib(mib).to_string());
    match code {
        "access_denied" => "it does not exist on Mailcow, or the API key has no right to it".to_owned(),
        "app_passwd_id_invalid" => "it does not exist on Mailcow".to_owned(),
        "aliases_in_use" => format!("limits.aliases is below the {} existing aliases", arg(0)),
        "comment_too_long" => "the comment is longer than 160 characters".to_owned(),
        "defquota_empty" | "maxquota_empty" => "a domain must not have a quota of 0".to_owned(),
        "dkim_domain_or_sel_invalid" => "it already has a DKIM key, or the selector or size is not allowed".to_owned(),
        "domain_cannot_match_hostname" => "the domain must not be Mailcow's own host name".to_owned(),
        "domain_exists" => "a domain or an alias domain with this name already exists".to_owned(),
        "domain_invalid" => "the domain name is malformed, or does not exist on Mailcow".to_owned(),
        "domain_not_empty" => "the domain still has mailboxes or resources".to_owned(),
        "domain_not_found" => format!("the domain {} does not exist on Mailcow", arg(0)),
        "domain_quota_m_in_use" => format!("limits.totalQuota is below the {} of the existing mailboxes", quantity(0)),
        "goto_empty" => "there is no target address".to_owned(),
        "goto_invalid" => "a goto address is not allowed".to_owned(),
        "is_alias" | "is_alias_or_mailbox" | "is_spam_alias" | "object_exists" => {
            format!("{} already exists as a mailbox or an alias", arg(0))
        }
        "mailbox_defquota_exceeds_mailbox_maxquota" => "mailboxDefaults.quota is above limits.mailboxQuota".to_owned(),
        "mailbox_quota_exceeds_domain_quota" => "limits.mailboxQuota is above limits.totalQuota".to_owned(),
        "mailboxes_in_use" => format!("limits.mailboxes is below the {} existing mailboxes", arg(0)),
        "alias_invalid" | "mailbox_invalid" | "username_invalid" => "the address is malformed".to_owned(),
        "mailbox_quota_exceeded" => format!("the quota is above the domain's limit of {} for a mailbox", quantity(0)),
        "mailbox_quota_left_exceeded" => {
            format!("the quota is above what the domain has left ({})", quantity(0))
        }
        "max_alias_exceeded" => "the domain has reached its limit of aliases; raise limits.aliases".to_owned(),
        "max_mailbox_exceeded" => {
            format!("the domain has {} of {} mailboxes; raise limits.mailboxes", arg(0), arg(1))
        }
        "max_quota_in_use" => format!("limits.mailboxQuota is below the quota of a mailbox ({})", quantity(0)),
        "password_complexity" => "the password does not meet the server's password policy".to_owned(),
        "rl_timeframe" => "the period of the rate limit is not allowed".to_owned(),
        "sender_acl_invalid" => {
            format!("{} in senderAcl is not a mailbox, alias or domain on Mailcow", arg(0))
        }
        "release_send_failed" => format!("the mail could not be delivered ({})", arg(0)),
        "sieve_error" => format!("Mailcow refuses the Sieve script: {}", arg(0)),
        "tag_limit_exceeded" => "there are too many tags".to_owned(),
        _ if args.is_empty() => code.to_owned(),
        _ => format!("{code}: {}", args.join(", ")),
    }
}

/// Mailcow writes `{}`, and sometimes `[]`, for an object that does not exist.
pub(super) fn is_nothing(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(success: &'static str, about: &str) -> Request {
        let action = "add the domain example.com".to_owned();
        Request { route: "", name: None, body: Value::Null, success, about: about.to_owned(), action }
    }

    fn read(body: &str) -> Result<(), Error> {
        write_outcome(body.as_bytes(), &of("domain_added", "e.com"))
    }

    #[test]
    fn a_success_for_another_thing_confirms_nothing() {
        // Recording 15_alias_id_lookup/edit_existing_5th_by_address.
        let body = r#"[{"type":"success","log":[],"msg":["alias_modified","a1@two.test"]}]"#;
        let error = write_outcome(body.as_bytes(), &of("alias_modified", "5th@one.test")).unwrap_err();
        assert!(matches!(&error, Error::OutcomeUnknown { .. }) && !error.to_string().contains("two.test"), "{error}");
        write_outcome(body.as_bytes(), &of("alias_modified", "a1@two.test")).unwrap();
    }

    #[test]
    fn names_in_answers_may_be_escaped_for_html() {
        for (named, thing) in [("al-a&amp;b@enc.test", "al-a&b@enc.test"), ("O&#039;Neil@enc.test", "o'neil@enc.test")]
        {
            let body = format!(r#"[{{"type":"success","log":[],"msg":["alias_removed","{named}"]}}]"#);
            write_outcome(body.as_bytes(), &of("alias_removed", thing)).unwrap();
        }
        let body = r#"[{"type":"success","log":[],"msg":["delete_filter",1]}]"#;
        write_outcome(body.as_bytes(), &of("delete_filter", "1")).unwrap();
    }

    #[test]
    fn the_expected_success_is_found_among_others() {
        let body = r#"[{"type":"success","log":[],"msg":["dkim_added","e.com"]},{"type":"success","log":[],"msg":["domain_added","e.com"]}]"#;
        assert_eq!(read(body), Ok(()));
    }

    #[test]
    fn a_refusal_beside_a_success_is_a_refusal() {
        let body = r#"[{"type":"danger","log":[],"msg":"goto_invalid"},{"type":"success","log":[],"msg":["domain_added","e.com"]}]"#;
        assert!(matches!(read(body), Err(Error::Refused { code, .. }) if code == "goto_invalid"));
    }

    #[test]
    fn nothing_and_nothing_much_are_unknown_outcomes() {
        for body in ["", " \n", r#"{"type":"success","msg":"Task completed"}"#, "<html>", "[]", "[1]"] {
            assert!(matches!(read(body), Err(Error::OutcomeUnknown { .. })), "{body:?}");
        }
    }

    #[test]
    fn a_bare_error_is_a_refusal() {
        assert!(matches!(read(r#"{"type":"error","msg":"Cannot add item"}"#), Err(Error::Refused { .. })));
    }

    #[test]
    fn a_deadlock_may_be_tried_again() {
        let body = r#"[{"type":"danger","log":[],"msg":"SQLSTATE[40001]: Serialization failure"}]"#;
        let error = read(body).unwrap_err();
        assert!(matches!(&error, Error::Busy { .. }) && error.is_transient());
        let late =
            r#"[{"type":"success","msg":["domain_added","e.com"]},{"type":"success","msg":"SQLSTATE[40001]: x"}]"#;
        assert!(matches!(read(late), Err(Error::OutcomeUnknown { .. })));
    }

    #[test]
    fn the_log_with_the_request_never_reaches_the_text() {
        let body = r#"[{"type":"danger","log":["mailbox","add",{"password":"hunter2hunter2"}],"msg":["max_mailbox_exceeded",3,3]}]"#;
        let text = format!("{:?} {}", read(body), read(body).unwrap_err());
        assert!(!text.contains("hunter2") && text.contains("3 of 3"), "{text}");
    }

    #[test]
    fn arguments_of_any_type_are_shown() {
        let body = r#"[{"type":"danger","log":[],"msg":["something_new",null,{"a":1},2]}]"#;
        assert!(read(body).unwrap_err().to_string().contains(r#"something_new: null, {"a":1}, 2"#));
    }
}
