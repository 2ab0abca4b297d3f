//! What an answer of a sink means.

use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;

use super::sink::SinkKind;

/// The result of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The sink has the message.
    Delivered,
    /// The sink will never take this message; why.
    Permanent(String),
    /// The sink is gone for good (410); why.
    Gone(String),
    /// It may take it later.
    Temporary {
        /// Why not now.
        why: String,
        /// How long the sink wants to be left alone, in seconds.
        retry_after: Option<i64>,
    },
}

/// Judges a status code. `retry_after` is the header, `now` the current second since 1970, `words` what the sink wrote.
pub fn judge(kind: &SinkKind, status: u16, retry_after: Option<&str>, words: &str, now: i64) -> Verdict {
    let said = if words.is_empty() { String::new() } else { format!(": {words}") };
    let why = format!("it answered {status}{said}");
    match (kind, status) {
        (_, 200..=299) | (SinkKind::Caldav(_), 412) => Verdict::Delivered,
        (_, 410) => Verdict::Gone(why),
        (_, 400 | 403 | 406 | 413 | 422) | (SinkKind::Caldav(_), 415) => Verdict::Permanent(why),
        (_, 300..=399) => {
            let why = format!("it answered {status}, a redirect; configure the URL that it redirects to");
            Verdict::Temporary { why, retry_after: None }
        }
        _ => Verdict::Temporary { why, retry_after: retry_after.and_then(|text| seconds(text, now)) },
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn seconds(text: &str, now: i64) -> Option<i64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds));
    }
    let date: Timestamp = rfc2822::parse(text).ok()?.timestamp();
    Some((date.as_second() - now).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::sink::{Caldav, Webhook};

    fn webhook() -> SinkKind {
        SinkKind::Webhook(Webhook { url: String::new(), signing_secrets: vec![], raw_email: false })
    }

    fn caldav() -> SinkKind {
        SinkKind::Caldav(Caldav { url: String::new(), inline_attachments: 0 })
    }

    #[test]
    fn each_status_has_one_meaning() {
        let of = |kind: &SinkKind, status| match judge(kind, status, None, "", 0) {
            Verdict::Delivered => "delivered",
            Verdict::Permanent(_) => "permanent",
            Verdict::Gone(_) => "gone",
            Verdict::Temporary { .. } => "temporary",
        };
        for (status, meaning) in [
            (200, "delivered"),
            (202, "delivered"),
            (204, "delivered"),
            (301, "temporary"),
            (307, "temporary"),
            (400, "permanent"),
            (401, "temporary"),
            (403, "permanent"),
            (404, "temporary"),
            (406, "permanent"),
            (408, "temporary"),
            (409, "temporary"),
            (410, "gone"),
            (412, "temporary"),
            (413, "permanent"),
            (422, "permanent"),
            (429, "temporary"),
            (500, "temporary"),
            (503, "temporary"),
        ] {
            assert_eq!(of(&webhook(), status), meaning, "{status}");
        }
        assert_eq!(
            (of(&caldav(), 201), of(&caldav(), 412), of(&caldav(), 415)),
            ("delivered", "delivered", "permanent")
        );
    }

    #[test]
    fn a_sink_may_ask_for_time() {
        let after = |text: &str| match judge(&webhook(), 429, Some(text), "", 1_795_863_600) {
            Verdict::Temporary { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Sat, 28 Nov 2026 11:01:00 GMT"), Some(60));
        assert_eq!(after("Sat, 28 Nov 2020 11:01:00 GMT"), Some(0));
        assert_eq!((after("soon"), after("-5")), (None, None));
    }

    #[test]
    fn what_the_sink_wrote_goes_along() {
        let verdict = judge(&webhook(), 422, None, "label \"x\" is unknown", 0);
        assert_eq!(verdict, Verdict::Permanent("it answered 422: label \"x\" is unknown".into()));
    }
}
