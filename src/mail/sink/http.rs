//! Sinks that the worker reaches by HTTP: their URL, and the Secrets that it needs for them. No value of a Secret is
//! here: only its name and its key.

use std::collections::BTreeSet;

use http::Uri;
use serde::Deserialize;

/// The most secrets that requests are signed with.
const MOST_SIGNING_KEYS: usize = 4;
/// Attachments up to this size go into a `CalDAV` object, unless the sink says otherwise.
const INLINE: usize = 256 * 1024;
/// The largest value of `inlineAttachments`.
const MOST_INLINE: usize = 16 * 1024 * 1024;

/// A webhook: `POST` of a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Where to, and how.
    pub reach: Reach,
    /// What each request is signed with, the newest first; empty: it is not signed.
    pub signing_keys: Vec<SecretKey>,
    /// Whether the raw message goes along.
    pub raw_email: bool,
}

/// A `CalDAV` collection (RFC 4791): `PUT` of one object for each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caldav {
    /// Where to, and how. The URL ends with `/`.
    pub reach: Reach,
    /// Attachments up to this many bytes together go along.
    pub inline_attachments: usize,
}

/// How the worker reaches a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The URL, without user and password.
    pub url: String,
    /// Where the header `Authorization` comes from.
    pub authorization: Authorization,
    /// The certificate authority, if it is private.
    pub ca: Option<SecretKey>,
    /// Whether the sink may have an address that is not public.
    pub allow_private: bool,
}

/// Where the header `Authorization` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// There is none.
    None,
    /// From the keys `username` and `password` of a Secret of this name (type `kubernetes.io/basic-auth`).
    Basic(String),
    /// A bearer token.
    Bearer(SecretKey),
}

/// A key of a Secret in the release's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// The key in it.
    pub key: String,
}

impl Webhook {
    /// Names of the Secrets that it needs.
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.reach.secrets().chain(self.signing_keys.iter().map(|key| key.name.as_str())).collect()
    }
}

impl Caldav {
    /// Names of the Secrets that it needs.
    pub fn secrets(&self) -> BTreeSet<&str> {
        self.reach.secrets().collect()
    }
}

impl Reach {
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let authorization = match &self.authorization {
            Authorization::None => None,
            Authorization::Basic(name) => Some(name.as_str()),
            Authorization::Bearer(key) => Some(key.name.as_str()),
        };
        authorization.into_iter().chain(self.ca.as_ref().map(|ca| ca.name.as_str()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WrittenWebhook {
    url: String,
    #[serde(default)]
    signing_keys: Vec<WrittenKey>,
    #[serde(default)]
    raw_email: bool,
    basic_auth: Option<WrittenBasic>,
    bearer_token: Option<WrittenKey>,
    ca: Option<WrittenKey>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WrittenCaldav {
    url: String,
    inline_attachments: Option<usize>,
    basic_auth: Option<WrittenBasic>,
    bearer_token: Option<WrittenKey>,
    ca: Option<WrittenKey>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenBasic {
    secret_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenKey {
    secret_name: String,
    key: Option<String>,
}

impl WrittenWebhook {
    /// The webhook, or what is wrong, after the path of the field.
    pub(super) fn checked(self) -> Result<Webhook, String> {
        if self.signing_keys.len() > MOST_SIGNING_KEYS {
            return Err(format!(".signingKeys: write at most {MOST_SIGNING_KEYS}, the newest first"));
        }
        let keys = self.signing_keys.into_iter().enumerate();
        let signing_keys = keys.map(|(i, key)| key.checked("key", &format!(".signingKeys[{i}]")));
        Ok(Webhook {
            signing_keys: signing_keys.collect::<Result<_, _>>()?,
            raw_email: self.raw_email,
            reach: reach(self.url, self.basic_auth, self.bearer_token, self.ca, self.allow_private)?,
        })
    }
}

impl WrittenCaldav {
    /// The collection, or what is wrong, after the path of the field.
    pub(super) fn checked(self) -> Result<Caldav, String> {
        let inline_attachments = self.inline_attachments.unwrap_or(INLINE);
        if inline_attachments > MOST_INLINE {
            return Err(format!(".inlineAttachments: write a number of bytes up to {MOST_INLINE}"));
        }
        let reach = reach(self.url, self.basic_auth, self.bearer_token, self.ca, self.allow_private)?;
        if !reach.url.ends_with('/') {
            return Err(".url: end it with /, because it is a collection".to_owned());
        }
        Ok(Caldav { reach, inline_attachments })
    }
}

impl WrittenKey {
    fn checked(self, default: &str, path: &str) -> Result<SecretKey, String> {
        let key = self.key.unwrap_or_else(|| default.to_owned());
        let is_key = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if key.is_empty() || !key.bytes().all(is_key) {
            return Err(format!("{path}.key: {key:?} is not a key of a Secret"));
        }
        Ok(SecretKey { name: secret_name(self.secret_name, path)?, key })
    }
}

fn secret_name(name: String, path: &str) -> Result<String, String> {
    let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
    if name.is_empty() || name.len() > 253 || !name.bytes().all(is_name) {
        return Err(format!("{path}.secretName: {name:?} is not the name of a Secret"));
    }
    Ok(name)
}

fn reach(
    url: String,
    basic: Option<WrittenBasic>,
    bearer: Option<WrittenKey>,
    ca: Option<WrittenKey>,
    allow_private: bool,
) -> Result<Reach, String> {
    check_url(&url, allow_private)?;
    let authorization = match (basic, bearer) {
        (None, None) => Authorization::None,
        (Some(basic), None) => Authorization::Basic(secret_name(basic.secret_name, ".basicAuth")?),
        (None, Some(bearer)) => Authorization::Bearer(bearer.checked("token", ".bearerToken")?),
        (Some(_), Some(_)) => return Err(": write only one of basicAuth and bearerToken".to_owned()),
    };
    let ca = ca.map(|ca| ca.checked("ca.crt", ".ca")).transpose()?;
    Ok(Reach { url, authorization, ca, allow_private })
}

/// Messages do not repeat the URL: it may have a password.
fn check_url(url: &str, allow_private: bool) -> Result<(), String> {
    let refused = || ".url: write https://… without user or password".to_owned();
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    if !is_plain || uri.host().is_none_or(str::is_empty) || url.contains('#') {
        return Err(refused());
    }
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if allow_private => Ok(()),
        Some("http") => {
            Err(".url: http is only for a sink in your own network (allowPrivate: true); write https://…".to_owned())
        }
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(yaml: &str) -> Result<Webhook, String> {
        serde_yaml::from_str::<WrittenWebhook>(yaml).map_err(|error| error.to_string())?.checked()
    }

    fn caldav(yaml: &str) -> Result<Caldav, String> {
        serde_yaml::from_str::<WrittenCaldav>(yaml).map_err(|error| error.to_string())?.checked()
    }

    #[test]
    fn a_url_is_enough() {
        let plain = webhook("{url: 'https://t.example/hook?a=b'}").unwrap();
        assert!(plain.secrets().is_empty() && plain.signing_keys.is_empty() && !plain.raw_email);
        assert_eq!(plain.reach.authorization, Authorization::None);
        assert_eq!(caldav("{url: 'https://c.example/tasks/'}").unwrap().inline_attachments, INLINE);
    }

    #[test]
    fn secrets_are_named_and_keys_have_defaults() {
        let yaml = "{url: 'http://t.tools.svc/hook', allowPrivate: true, rawEmail: true,
            signingKeys: [{secretName: new}, {secretName: old, key: second}],
            bearerToken: {secretName: token}, ca: {secretName: ca}}";
        let webhook = webhook(yaml).unwrap();
        let key = |name: &str, key: &str| SecretKey { name: name.into(), key: key.into() };
        assert_eq!(webhook.signing_keys, [key("new", "key"), key("old", "second")]);
        assert_eq!(webhook.reach.authorization, Authorization::Bearer(key("token", "token")));
        assert_eq!(webhook.reach.ca, Some(key("ca", "ca.crt")));
        assert_eq!(webhook.secrets().into_iter().collect::<Vec<_>>(), ["ca", "new", "old", "token"]);
        let caldav = caldav("{url: 'https://c.example/t/', basicAuth: {secretName: cloud}}").unwrap();
        assert_eq!(caldav.reach.authorization, Authorization::Basic("cloud".into()));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_field_and_without_the_url() {
        for (yaml, why) in [
            ("{url: 'http://t.example'}", ".url: http is only for"),
            ("{url: 'https://u:hidden@t.example'}", ".url: write https://… without user"),
            ("{url: 'ftp://t.example'}", ".url: write https"),
            ("{url: 'https://'}", ".url: write https"),
            ("{url: '/hook'}", ".url: write https"),
            ("{url: 'https://t.example/a b'}", ".url: write https"),
            ("{url: 'https://t.example', signingKeys: [{secretName: Bad}]}", ".signingKeys[0].secretName: \"Bad\""),
            ("{url: 'https://t.example', signingKeys: [{secretName: a, key: 'x y'}]}", ".signingKeys[0].key: \"x y\""),
            ("{url: 'https://t.example', ca: {secretName: ''}}", ".ca.secretName"),
            (
                "{url: 'https://t.example', basicAuth: {secretName: a}, bearerToken: {secretName: a}}",
                "only one of basicAuth and bearerToken",
            ),
            ("{url: 'https://t.example', signingKey: a}", "signingKey"),
        ] {
            let error = webhook(yaml).unwrap_err();
            assert!(error.contains(why) && !error.contains("hidden"), "{yaml}: {error}");
        }
        let many = ["{secretName: a}"; 5].join(", ");
        assert!(
            webhook(&format!("{{url: 'https://t.example', signingKeys: [{many}]}}")).unwrap_err().contains("at most 4")
        );
        assert!(caldav("{url: 'https://c.example/t'}").unwrap_err().starts_with(".url: end it with /"));
        assert!(caldav("{url: 'https://c.example/t/', inlineAttachments: 99999999}").unwrap_err().contains("up to"));
    }
}
