//! Passwords: from a given Secret, or generated into one. They are `SecretString`s and go only to Mailcow.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Api, Resource, ResourceExt};
use rand::seq::{IndexedRandom, SliceRandom};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::collections::BTreeMap;

use crate::controller::driver::context::Context;
use crate::controller::driver::converge::Stop;
use crate::controller::driver::policies;
use crate::controller::driver::references;
use crate::crd::{DeletionPolicy, EmailMailbox, GENERATED_FOR, MAILBOX_LABEL, PASSWORD, SecretKeyRef};
use crate::kubernetes::refusal::without_values;
use crate::kubernetes::secret_versions::{data_writers, version};
use crate::kubernetes::writer::MANAGER;
use crate::mail::Address;
use crate::outcome::{Outcome, Reason};

/// Value of [`PASSWORD`]: the password is not on Mailcow yet.
const PREPARED: &str = "prepared";

/// A password and the version of the Secret it came from.
pub(crate) struct Password {
    pub(crate) value: SecretString,
    pub(crate) version: String,
    /// Whether an earlier object of the mailbox left it: it was set then, and the user may have chosen another one
    /// since.
    pub(crate) is_left: bool,
}

/// Name of the Secret with a mailbox's password.
pub(crate) fn name(mailbox: &EmailMailbox) -> String {
    match (&mailbox.spec.password_secret_ref, &mailbox.spec.credentials_secret_name) {
        (Some(given), _) => given.name.clone(),
        (None, Some(named)) => named.clone(),
        (None, None) => format!("{}-mailbox", mailbox.name_any()),
    }
}

/// The password from a given Secret.
///
/// # Errors
/// [`Reason::SecretNotFound`] or [`Reason::SecretKeyInvalid`].
pub(crate) async fn given(ctx: &Context, mailbox: &EmailMailbox, reference: &SecretKeyRef) -> Result<Password, Stop> {
    let secret = api(ctx, mailbox).get_opt(&reference.name).await.map_err(Stop::api)?;
    let Some(secret) = secret else {
        let message = format!(
            "spec.passwordSecretRef: the Secret {} does not exist in this namespace; create it",
            reference.name
        );
        return Err(Outcome::waiting(Reason::SecretNotFound, message).into());
    };
    password(&secret, &reference.key)
}

/// State of a generated Secret.
pub(crate) enum Generated {
    /// It does not exist.
    Missing,
    /// It has the mailbox's password, or the one that the mailbox will be created with.
    InUse { password: Password, secret: Box<Secret> },
    /// It was generated before Mailcow was available.
    Prepared(Box<Secret>),
    /// The mailbox existed before: its user knows the password.
    OfOwner(Box<Secret>),
}

/// The generated Secret of a mailbox.
///
/// # Errors
/// [`Reason::SecretNotOurs`] when a Secret of that name was made by somebody else.
pub(crate) async fn generated(ctx: &Context, mailbox: &EmailMailbox, address: &Address) -> Result<Generated, Stop> {
    let name = name(mailbox);
    let Some(secret) = api(ctx, mailbox).get_opt(&name).await.map_err(Stop::api)? else {
        return Ok(Generated::Missing);
    };
    if !secret.labels().contains_key(MAILBOX_LABEL) {
        let message = format!(
            "the Secret {name} exists, but this operator did not create it; set another spec.credentialsSecretName, or use the Secret with spec.passwordSecretRef"
        );
        return Err(Outcome::stalled(Reason::SecretNotOurs, message).into());
    }
    adjust_owner(ctx, mailbox, &secret).await?;
    match secret.annotations().get(PASSWORD).map(String::as_str) {
        Some(PREPARED) => Ok(Generated::Prepared(Box::new(secret))),
        Some(_) => Ok(Generated::OfOwner(Box::new(secret))),
        None => {
            let is_left = is_left(&secret, mailbox, address);
            let password = Password { is_left, ..password(&secret, "password")? };
            Ok(Generated::InUse { password, secret: Box::new(secret) })
        }
    }
}

/// Generates a password into a Secret with all that a mail client needs.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn generate(ctx: &Context, mailbox: &EmailMailbox, address: &Address) -> Result<Password, Stop> {
    let created = create(ctx, mailbox, address, None).await.map_err(Stop::api)?;
    password(&created, "password")
}

/// The same for a new mailbox, whose Secret needs no read before; `None` if a Secret with this name exists.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn generate_first(
    ctx: &Context,
    mailbox: &EmailMailbox,
    address: &Address,
) -> Result<Option<Password>, Stop> {
    match create(ctx, mailbox, address, None).await {
        Ok(created) => password(&created, "password").map(Some),
        Err(kube::Error::Api(error)) if error.is_already_exists() => Ok(None),
        Err(error) => Err(Stop::api(error)),
    }
}

/// The same, before Mailcow is available.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn prepare(ctx: &Context, mailbox: &EmailMailbox, address: &Address) -> Result<(), Stop> {
    create(ctx, mailbox, address, Some(PREPARED)).await.map(|_| ()).map_err(Stop::api)
}

/// Starts to use a prepared Secret: fills in what was unknown when it was created.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn take_up(ctx: &Context, mailbox: &EmailMailbox, secret: &Secret) -> Result<Password, Stop> {
    let hosts: BTreeMap<&str, String> = hosts(ctx, mailbox).into_iter().collect();
    let patch = serde_json::json!({"metadata": {"annotations": {PASSWORD: null}}, "stringData": hosts});
    password(&patched(ctx, mailbox, secret, patch).await?, "password")
}

/// Puts a new password into the Secret of a mailbox that is recreated, because the old password was lost with it.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn renew(ctx: &Context, mailbox: &EmailMailbox, secret: &Secret) -> Result<Password, Stop> {
    let mut data: BTreeMap<&str, String> = hosts(ctx, mailbox).into_iter().collect();
    data.insert("password", random_password().expose_secret().to_owned());
    let patch = serde_json::json!({"metadata": {"annotations": {PASSWORD: null}}, "stringData": data});
    password(&patched(ctx, mailbox, secret, patch).await?, "password")
}

/// Removes the password from a Secret that was generated for a new mailbox: the mailbox existed before, and its user
/// keeps the password.
///
/// # Errors
/// When the Kubernetes API fails.
pub(crate) async fn leave_to_owner(ctx: &Context, mailbox: &EmailMailbox, secret: &Secret) -> Result<(), Stop> {
    let hosts: BTreeMap<&str, String> = hosts(ctx, mailbox).into_iter().collect();
    let metadata = serde_json::json!({"annotations": {PASSWORD: "owner"}});
    let patch = serde_json::json!({"metadata": metadata, "data": {"password": null}, "stringData": hosts});
    patched(ctx, mailbox, secret, patch).await.map(|_| ())
}

async fn patched(ctx: &Context, mailbox: &EmailMailbox, secret: &Secret, patch: Value) -> Result<Secret, Stop> {
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api(ctx, mailbox).patch(&secret.name_any(), &params, &Patch::Merge(patch)).await;
    patched.map_err(|error| Stop::api(without_values(error, secret)))
}

/// The hosts for a mail client; empty while the mail host is unknown.
fn hosts(ctx: &Context, mailbox: &EmailMailbox) -> [(&'static str, String); 4] {
    let server = references::server_name(references::home(ctx, mailbox).ok().as_deref(), None);
    let host = ctx.mail_host(&server).unwrap_or_default();
    ["imapHost", "smtpHost", "pop3Host", "sieveHost"].map(|key| (key, host.clone()))
}

async fn create(
    ctx: &Context,
    mailbox: &EmailMailbox,
    address: &Address,
    state: Option<&str>,
) -> Result<Secret, kube::Error> {
    let fixed = [
        ("username", address.to_string()),
        ("password", random_password().expose_secret().to_owned()),
        ("imapPort", "993".to_owned()),
        ("smtpPort", "465".to_owned()),
        ("pop3Port", "995".to_owned()),
        ("sievePort", "4190".to_owned()),
    ];
    let entries = fixed.into_iter().chain(hosts(ctx, mailbox));
    let data: BTreeMap<String, ByteString> =
        entries.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect();
    let state = state.map(|state| (PASSWORD, state.to_owned()));
    let annotations = mailbox.uid().map(|uid| (GENERATED_FOR, uid)).into_iter().chain(state);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name(mailbox)),
            namespace: mailbox.namespace(),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).collect()),
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
    // The same field manager as later patches, so that changes by others are visible.
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let created = api(ctx, mailbox).create(&params, &secret).await;
    created.map_err(|error| without_values(error, &secret))
}

/// The Secret is deleted with the mailbox only if the mailbox is deleted on Mailcow too.
fn owner(
    ctx: &Context,
    mailbox: &EmailMailbox,
) -> Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>> {
    let is_owned = policies::of(ctx, mailbox).deletion.value == DeletionPolicy::Delete;
    is_owned.then(|| mailbox.controller_owner_ref(&()).into_iter().collect())
}

/// Adjusts the owner reference: the deletion policy may have changed since the Secret was created.
async fn adjust_owner(ctx: &Context, mailbox: &EmailMailbox, secret: &Secret) -> Result<(), Stop> {
    let wanted = owner(ctx, mailbox).unwrap_or_default();
    if secret.owner_references() == wanted {
        return Ok(());
    }
    let patch = Patch::Merge(serde_json::json!({"metadata": {"ownerReferences": wanted}}));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let patched = api(ctx, mailbox).patch_metadata(&secret.name_any(), &params, &patch).await;
    patched.map(|_| ()).map_err(|error| Stop::api(without_values(error, secret)))
}

/// Whether an earlier object with the same address left the generated Secret, and nobody changed its data.
fn is_left(secret: &Secret, mailbox: &EmailMailbox, address: &Address) -> bool {
    let is_earlier = match secret.annotations().get(GENERATED_FOR) {
        Some(uid) => Some(uid) != mailbox.metadata.uid.as_ref(),
        // Earlier versions didn't write it.
        None => secret.creation_timestamp() < mailbox.creation_timestamp(),
    };
    let username = secret.data.as_ref().and_then(|data| data.get("username"));
    let is_same = username.is_some_and(|username| username.0 == address.to_string().as_bytes());
    is_earlier && is_same && has_generated_data(secret)
}

/// Whether the Secret has the password that was generated for this object, and nobody changed it.
pub(crate) fn is_generated_for(secret: &Secret, mailbox: &EmailMailbox) -> bool {
    let uid = secret.annotations().get(GENERATED_FOR);
    uid.is_some() && uid == mailbox.metadata.uid.as_ref() && has_generated_data(secret)
}

/// Whether nobody but the operator wrote the Secret's data.
fn has_generated_data(secret: &Secret) -> bool {
    data_writers(&secret.metadata).count() < 2
}

fn password(secret: &Secret, key: &str) -> Result<Password, Stop> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text =
        bytes.and_then(|bytes| std::str::from_utf8(&bytes.0).ok()).map(|text| text.trim_end_matches(['\r', '\n']));
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        let keys: Vec<&str> = secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect();
        let message = format!(
            "the Secret {} has no usable key {key} (missing, empty or not UTF-8); its keys are: {}",
            secret.name_any(),
            if keys.is_empty() { "none".to_owned() } else { keys.join(", ") }
        );
        return Err(Outcome::waiting(Reason::SecretKeyInvalid, message).into());
    };
    Ok(Password {
        value: SecretString::from(text),
        version: version(&secret.metadata, &crate::clock::now()),
        is_left: false,
    })
}

fn api(ctx: &Context, mailbox: &EmailMailbox) -> Api<Secret> {
    Api::namespaced(ctx.kube.clone(), &mailbox.namespace().unwrap_or_default())
}

/// A password of 24 characters, with every class that Mailcow's password policy may require.
pub(crate) fn random_password() -> SecretString {
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
    fn a_secret_is_left_when_it_is_older_of_the_same_address_and_nobody_changed_it() {
        let manifest = |created: &str, username: &str, managers: usize| -> Secret {
            let entries = vec![serde_json::json!({"manager": "m", "fieldsV1": {"f:data": {}}}); managers];
            serde_json::from_value(serde_json::json!({
                "metadata": {"creationTimestamp": created, "managedFields": entries},
                "data": {"username": ByteString(username.into())},
            }))
            .unwrap()
        };
        let spec = serde_yaml::from_str("{localPart: ada, domainRef: {name: d}}").unwrap();
        let mut mailbox = EmailMailbox::new("ada", spec);
        mailbox.metadata.creation_timestamp = manifest("2026-01-01T00:00:05Z", "", 1).metadata.creation_timestamp;
        let address = Address::parse("ada@e.com").unwrap();
        let said = |secret: &Secret| is_left(secret, &mailbox, &address);
        assert!(said(&manifest("2026-01-01T00:00:04Z", "ada@e.com", 1)));
        assert!(!said(&manifest("2026-01-01T00:00:05Z", "ada@e.com", 1)), "made for this object");
        assert!(!said(&manifest("2026-01-01T00:00:04Z", "bob@e.com", 1)), "of another mailbox");
        assert!(!said(&manifest("2026-01-01T00:00:04Z", "ada@e.com", 2)), "changed since");
    }

    #[test]
    fn a_last_newline_is_no_part_of_the_password() {
        let Ok(password) = password(&secret(b"s3cret word\n"), "password") else { panic!("it is there") };
        assert_eq!(password.value.expose_secret(), "s3cret word");
    }

    #[test]
    fn an_unusable_key_is_waited_for_and_its_value_not_shown() {
        for bad in [b"".as_slice(), b"\n", b"\xff\xfehidden"] {
            let Err(Stop::Outcome(Outcome::Waiting(why))) = password(&secret(bad), "password") else {
                panic!("{bad:?}")
            };
            assert!(why.reason == Reason::SecretKeyInvalid && !why.message.contains("hidden"));
        }
    }
}
