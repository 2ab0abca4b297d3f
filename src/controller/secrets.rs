//! Passwords: the Secret that somebody gives, or the one that is generated. They are held as `SecretString` and go
//! nowhere but to Mailcow.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::core::ObjectMeta;
use kube::{Api, Resource, ResourceExt};
use rand::seq::{IndexedRandom, SliceRandom};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

use super::context::Context;
use super::patch::MANAGER;
use super::sync::Stop;
use super::{policies, references};
use crate::crd::{DeletionPolicy, EmailMailbox, MAILBOX_LABEL, SecretKeyRef};
use crate::mail::Address;
use crate::outcome::{Outcome, Reason};

/// A password and the version of the Secret it came from.
pub(super) struct Password {
    pub(super) value: SecretString,
    pub(super) version: String,
}

/// Name of the Secret that a mailbox's password is in.
pub(super) fn name(mailbox: &EmailMailbox) -> String {
    match (&mailbox.spec.password_secret_ref, &mailbox.spec.credentials_secret_name) {
        (Some(given), _) => given.name.clone(),
        (None, Some(named)) => named.clone(),
        (None, None) => format!("{}-mailbox", mailbox.name_any()),
    }
}

/// The password that somebody gives.
///
/// # Errors
/// [`Reason::SecretNotFound`] or [`Reason::SecretKeyInvalid`].
pub(super) async fn given(ctx: &Context, mailbox: &EmailMailbox, reference: &SecretKeyRef) -> Result<Password, Stop> {
    let secret = api(ctx, mailbox).get_opt(&reference.name).await.map_err(Stop::api)?;
    let Some(secret) = secret else {
        let message = format!("spec.passwordSecretRef: the Secret {} does not exist in this namespace", reference.name);
        return Err(Outcome::waiting(Reason::SecretNotFound, message).into());
    };
    password(&secret, &reference.key)
}

/// The generated password, if its Secret exists.
///
/// # Errors
/// [`Reason::SecretNotOurs`] when a Secret of that name was made by somebody else.
pub(super) async fn generated(ctx: &Context, mailbox: &EmailMailbox) -> Result<Option<Password>, Stop> {
    let name = name(mailbox);
    let Some(secret) = api(ctx, mailbox).get_opt(&name).await.map_err(Stop::api)? else { return Ok(None) };
    if !secret.labels().contains_key(MAILBOX_LABEL) {
        let message = format!(
            "the Secret {name} exists and was not made by this operator; choose another spec.credentialsSecretName, or use it with spec.passwordSecretRef"
        );
        return Err(Outcome::stalled(Reason::SecretNotOurs, message).into());
    }
    adjust_owner(ctx, mailbox, &secret).await?;
    password(&secret, "password").map(Some)
}

/// Generates a password and keeps it in a Secret with what a mail client needs.
///
/// # Errors
/// When the Kubernetes API fails.
pub(super) async fn generate(ctx: &Context, mailbox: &EmailMailbox, address: &Address) -> Result<Password, Stop> {
    let value = random_password();
    let server = references::server_name(references::home(ctx, mailbox).ok().as_deref(), None);
    let host = ctx.mail_host(&server).unwrap_or_default();
    let entries = [
        ("username", address.to_string()),
        ("password", value.expose_secret().to_owned()),
        ("imapHost", host.clone()),
        ("imapPort", "993".to_owned()),
        ("smtpHost", host.clone()),
        ("smtpPort", "465".to_owned()),
        ("pop3Host", host.clone()),
        ("pop3Port", "995".to_owned()),
        ("sieveHost", host),
        ("sievePort", "4190".to_owned()),
    ];
    let data: BTreeMap<String, ByteString> =
        entries.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect();
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name(mailbox)),
            namespace: mailbox.namespace(),
            labels: Some(BTreeMap::from([
                (MAILBOX_LABEL.to_owned(), "generated".to_owned()),
                ("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned()),
            ])),
            owner_references: owner(ctx, mailbox),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/basic-auth".to_owned()),
        data: Some(data),
        ..Secret::default()
    };
    let created = api(ctx, mailbox).create(&kube::api::PostParams::default(), &secret).await.map_err(Stop::api)?;
    password(&created, "password")
}

/// The Secret goes with the mailbox only where the mailbox goes from Mailcow too.
fn owner(
    ctx: &Context,
    mailbox: &EmailMailbox,
) -> Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>> {
    let is_owned = policies::of(ctx, mailbox).deletion.value == DeletionPolicy::Delete;
    is_owned.then(|| mailbox.controller_owner_ref(&()).into_iter().collect())
}

/// The deletion policy may have changed since the Secret was made.
async fn adjust_owner(ctx: &Context, mailbox: &EmailMailbox, secret: &Secret) -> Result<(), Stop> {
    let wanted = owner(ctx, mailbox).unwrap_or_default();
    if secret.owner_references() == wanted {
        return Ok(());
    }
    let patch = Patch::Merge(serde_json::json!({"metadata": {"ownerReferences": wanted}}));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    api(ctx, mailbox).patch_metadata(&secret.name_any(), &params, &patch).await.map_err(Stop::api).map(|_| ())
}

fn password(secret: &Secret, key: &str) -> Result<Password, Stop> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text =
        bytes.and_then(|bytes| std::str::from_utf8(&bytes.0).ok()).map(|text| text.trim_end_matches(['\r', '\n']));
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        let message = format!("the Secret {} lacks the key {key}, or it is empty or no UTF-8", secret.name_any());
        return Err(Outcome::waiting(Reason::SecretKeyInvalid, message).into());
    };
    Ok(Password { value: SecretString::from(text), version: version(secret) })
}

/// Which state of which Secret: its uid and resourceVersion. Nothing of the password is in it.
fn version(secret: &Secret) -> String {
    format!("{}/{}", secret.uid().unwrap_or_default(), secret.resource_version().unwrap_or_default())
}

fn api(ctx: &Context, mailbox: &EmailMailbox) -> Api<Secret> {
    Api::namespaced(ctx.kube.clone(), &mailbox.namespace().unwrap_or_default())
}

/// 24 characters with every class that Mailcow's password policy may ask for.
fn random_password() -> SecretString {
    const CLASSES: [&[u8]; 4] =
        [b"abcdefghijkmnopqrstuvwxyz", b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"23456789", b"-_.,:;+*#=!?"];
    let mut rng = rand::rng();
    let all = CLASSES.concat();
    let mut bytes: Vec<u8> = CLASSES.iter().filter_map(|class| class.choose(&mut rng)).copied().collect();
    while bytes.len() < 24 {
        bytes.extend(all.choose(&mut rng));
    }
    bytes.shuffle(&mut rng);
    SecretString::from(bytes.into_iter().map(char::from).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &[u8]) -> Secret {
        Secret {
            data: Some(BTreeMap::from([("password".to_owned(), ByteString(value.to_vec()))])),
            ..Secret::default()
        }
    }

    #[test]
    fn generated_passwords_hold_every_class_and_differ() {
        let one = random_password();
        let text = one.expose_secret();
        assert_eq!(text.len(), 24);
        assert!(text.chars().any(|c| c.is_ascii_lowercase()) && text.chars().any(|c| c.is_ascii_uppercase()));
        assert!(text.chars().any(|c| c.is_ascii_digit()) && text.chars().any(|c| c.is_ascii_punctuation()));
        assert_ne!(text, random_password().expose_secret());
    }

    #[test]
    fn a_last_newline_is_no_part_of_the_password() {
        let Ok(password) = password(&secret(b"s3cret word\n"), "password") else { panic!("it is there") };
        assert_eq!(password.value.expose_secret(), "s3cret word");
    }

    #[test]
    fn an_unusable_key_is_waited_for_and_its_value_not_shown() {
        for bad in [b"".as_slice(), b"\n", b"\xff\xfehidden"] {
            let Err(Stop::Told(Outcome::Waiting(why))) = password(&secret(bad), "password") else { panic!("{bad:?}") };
            assert!(why.reason == Reason::SecretKeyInvalid && !why.message.contains("hidden"));
        }
    }
}
