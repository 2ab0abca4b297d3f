//! Sinks and their Secrets → sinks as the intake uses them, or why one can't be used.

use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;

use crate::certificates;
use crate::intake::payload::Signer;
use crate::intake::sink::{Access, Authorization, Caldav, Sink, SinkKind, Webhook};
use crate::mail;

/// What is known of a Secret.
#[derive(Clone)]
pub(super) enum SecretState {
    /// As it was last read.
    Found(Box<Secret>),
    /// It does not exist.
    Missing,
    /// RBAC does not allow to read it.
    Forbidden,
    /// It was never read, because the Kubernetes API failed; why.
    Unknown(String),
}

/// A sink with the values of its Secrets; `None` for one that takes email.
///
/// # Errors
/// What is missing or wrong, and what to do; never a value.
pub(super) fn resolve<'a>(
    sink: &mail::Sink,
    secret: impl Fn(&str) -> Option<&'a SecretState>,
) -> Result<Option<Sink>, String> {
    let values = Values { secret };
    let (kind, reach) = match &sink.kind {
        mail::SinkKind::Email { .. } => return Ok(None),
        mail::SinkKind::Webhook(webhook) => {
            let keys = webhook.signing_keys.iter().map(|key| values.signing(key));
            let kind = SinkKind::Webhook(Webhook {
                url: webhook.reach.url.clone(),
                signing_secrets: keys.collect::<Result<_, _>>()?,
                raw_email: webhook.raw_email,
            });
            (kind, &webhook.reach)
        }
        mail::SinkKind::Caldav(caldav) => {
            let (url, inline_attachments) = (caldav.reach.url.clone(), caldav.inline_attachments);
            (SinkKind::Caldav(Caldav { url, inline_attachments }), &caldav.reach)
        }
    };
    let access = Access {
        authorization: values.authorization(&reach.authorization)?,
        allow_private: reach.allow_private,
        ca: reach.ca.as_ref().map(|ca| values.ca(ca)).transpose()?.unwrap_or_default(),
        ..Access::default()
    };
    Ok(Some(Sink { name: sink.name.clone(), kind, access }))
}

/// Names of the Secrets that a sink needs.
pub(crate) fn needed(sink: &mail::Sink) -> Vec<&str> {
    match &sink.kind {
        mail::SinkKind::Webhook(webhook) => webhook.secrets().into_iter().collect(),
        mail::SinkKind::Caldav(caldav) => caldav.secrets().into_iter().collect(),
        mail::SinkKind::Email { .. } => Vec::new(),
    }
}

/// Reads values of Secrets.
struct Values<F> {
    secret: F,
}

impl<'a, F: Fn(&str) -> Option<&'a SecretState>> Values<F> {
    fn bytes(&self, name: &str, key: &str) -> Result<&'a [u8], String> {
        let secret = match (self.secret)(name) {
            Some(SecretState::Found(secret)) => secret,
            Some(SecretState::Missing) => {
                return Err(format!(
                    "the Secret {name} does not exist in the namespace of the release; create it with the key {key}"
                ));
            }
            Some(SecretState::Forbidden) => {
                return Err(format!(
                    "the Secret {name} may not be read; list it in sinks of the chart, which gives the worker the right"
                ));
            }
            Some(SecretState::Unknown(why)) => {
                return Err(format!("the Secret {name} can't be read now, and the worker retries: {why}"));
            }
            None => return Err(format!("the Secret {name} was not read yet")),
        };
        let value = secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
        value.filter(|value| !value.is_empty()).ok_or_else(|| {
            let keys: Vec<&str> = secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect();
            let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
            format!("the Secret {name} has no key {key}, or it is empty; its keys are: {keys}")
        })
    }

    fn text(&self, name: &str, key: &str) -> Result<&'a str, String> {
        let text = std::str::from_utf8(self.bytes(name, key)?).map(|text| text.trim_end_matches(['\r', '\n']));
        text.map_err(|_| format!("the key {key} of the Secret {name} is not text"))
    }

    fn signing(&self, key: &mail::SecretKey) -> Result<SecretString, String> {
        let secret = SecretString::from(self.text(&key.name, &key.key)?);
        Signer::new(std::slice::from_ref(&secret))
            .map_err(|why| format!("the key {} of the Secret {} can't be used: {why}", key.key, key.name))?;
        Ok(secret)
    }

    fn authorization(&self, from: &mail::Authorization) -> Result<Authorization, String> {
        Ok(match from {
            mail::Authorization::None => Authorization::None,
            mail::Authorization::Basic(name) => Authorization::Basic {
                user: self.text(name, "username")?.to_owned(),
                password: SecretString::from(self.text(name, "password")?),
            },
            mail::Authorization::Bearer(key) => {
                let token = self.text(&key.name, &key.key)?;
                if token.contains(|c: char| !c.is_ascii_graphic()) {
                    return Err(format!(
                        "the key {} of the Secret {} is no bearer token: it has blanks or other characters that a header can't have",
                        key.key, key.name
                    ));
                }
                Authorization::Bearer(SecretString::from(token))
            }
        })
    }

    fn ca(&self, key: &mail::SecretKey) -> Result<Vec<u8>, String> {
        let text = self.text(&key.name, &key.key)?;
        certificates::read(text).map_err(|why| format!("the key {} of the Secret {}: {why}", key.key, key.name))?;
        Ok(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::mail::Sinks;

    const KEY: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

    fn secret(data: &[(&str, &str)]) -> SecretState {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
        SecretState::Found(Box::new(Secret { data: Some(data.collect()), ..Secret::default() }))
    }

    fn resolved(kind: &str, secrets: &[(&str, &[(&str, &str)])]) -> Result<Option<Sink>, String> {
        let sinks = Sinks::parse(&format!("[{{name: s, {kind}, namespaces: ['*']}}]")).unwrap();
        let secrets: BTreeMap<&str, SecretState> = secrets.iter().map(|(name, data)| (*name, secret(data))).collect();
        resolve(sinks.iter().next().unwrap(), |name| secrets.get(name).or(Some(&SecretState::Missing)))
    }

    #[test]
    fn a_webhook_gets_its_keys_the_newest_first() {
        let kind = "webhook: {url: 'https://t.example', rawEmail: true, signingKeys: [{secretName: new}, {secretName: old}], bearerToken: {secretName: token}}";
        let old = "MDEyMzQ1Njc4OWFiY2RlZg==";
        let secrets: &[(&str, &[(&str, &str)])] =
            &[("new", &[("key", KEY)]), ("old", &[("key", old)]), ("token", &[("token", "abc\n")])];
        let sink = resolved(kind, secrets).unwrap().unwrap();
        let SinkKind::Webhook(webhook) = &sink.kind else { panic!("{sink:?}") };
        let keys: Vec<&str> = webhook.signing_secrets.iter().map(ExposeSecret::expose_secret).collect();
        assert_eq!((keys, webhook.raw_email), (vec![KEY, old], true));
        assert!(matches!(&sink.access.authorization, Authorization::Bearer(token) if token.expose_secret() == "abc"));
        assert!(!format!("{sink:?}").contains("MDEy"));
    }

    #[test]
    fn a_collection_gets_user_and_password() {
        let kind = "caldav: {url: 'https://c.example/t/', basicAuth: {secretName: cloud}}";
        let sink = resolved(kind, &[("cloud", &[("username", "ada"), ("password", "s3cret")])]).unwrap().unwrap();
        let basic = &sink.access.authorization;
        assert!(
            matches!(basic, Authorization::Basic { user, password } if user == "ada" && password.expose_secret() == "s3cret")
        );
    }

    #[test]
    fn an_email_sink_is_no_business_of_the_worker() {
        assert!(resolved("email: {address: in@board.example}", &[]).unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_reported_without_its_value() {
        let webhook = |rest: &str| format!("webhook: {{url: 'https://t.example', {rest}}}");
        let signed = webhook("signingKeys: [{secretName: hook}]");
        let private = webhook("ca: {secretName: ca}");
        let certificate = rcgen::generate_simple_self_signed(vec!["t.example".to_owned()]).unwrap();
        let key = certificate.signing_key.serialize_pem();
        for (kind, name, data, why) in [
            (&signed, "other", ("key", KEY), "the Secret hook does not exist"),
            (&signed, "hook", ("secret", KEY), "the Secret hook has no key key, or it is empty; its keys are: secret"),
            (&signed, "hook", ("key", ""), "has no key key, or it is empty"),
            (
                &signed,
                "hook",
                ("key", "hidden words"),
                "the key key of the Secret hook can't be used: the signing secret",
            ),
            (
                &signed,
                "hook",
                ("key", "whsec_aGlkZGVu"),
                "the key key of the Secret hook can't be used: the signing secret",
            ),
            (&webhook("bearerToken: {secretName: t}"), "t", ("token", "hidden token"), "is no bearer token"),
            (&webhook("basicAuth: {secretName: t}"), "t", ("username", "hidden"), "has no key password"),
            (&private, "ca", ("ca.crt", "hidden"), "has no certificate"),
            (&private, "ca", ("ca.crt", &key), "has no certificate"),
        ] {
            let error = resolved(kind, &[(name, &[data])]).unwrap_err();
            assert!(error.contains(why) && !error.contains("hidden"), "{kind}: {error}");
        }
        let good = certificate.cert.pem();
        assert!(resolved(&private, &[("ca", &[("ca.crt", &good)])]).is_ok());
    }
}
