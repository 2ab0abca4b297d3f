//! Passwords and keys are in Secrets and on Mailcow, and nowhere else: a whole life of objects, and then a search through
//! everything that was ever stored in etcd, logged, or served.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ground::{Operator, wait_until};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use mailcow_simulator::{Access, ApiKey, Fault, Trouble};
use serde_json::{Value, json};

use crate::telemetry::address;
use crate::world::{DOMAIN, LIMIT, World};

/// Where something may have got to.
struct Place {
    name: String,
    bytes: Vec<u8>,
}

/// A secret with a name that may be shown.
type Known = (&'static str, String);

/// The secret as it may be written: as it is, in base64 at each of the three offsets, percent-encoded, in hex.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let in_base64 = |offset: usize| {
        let text = STANDARD.encode([&vec![0; offset], secret.as_bytes()].concat());
        // Without the characters that what stands before and behind has a part in.
        let start = [0, 2, 3][offset];
        let end = text.trim_end_matches('=').len() - usize::from(!(offset + secret.len()).is_multiple_of(3));
        text[start..end].to_owned()
    };
    let percent = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("%{:02X}", u32::from(c)) };
    let hex = secret.bytes().flat_map(|byte| format!("{byte:02x}").chars().collect::<Vec<_>>()).collect();
    let base64 = (0..3).map(|offset| ("in base64", in_base64(offset)));
    [("as it is", secret.to_owned()), ("percent-encoded", secret.chars().map(percent).collect()), ("in hex", hex)]
        .into_iter()
        .chain(base64)
        .collect()
}

/// Every secret that is somewhere.
fn leaks(places: &[Place], secrets: &[Known]) -> Vec<String> {
    let mut found = Vec::new();
    for (what, secret) in secrets {
        assert!(secret.len() >= 12, "{what} is too short to be looked for");
        for (form, text) in forms(secret) {
            let is_there = |place: &&Place| place.bytes.windows(text.len()).any(|window| window == text.as_bytes());
            found.extend(places.iter().filter(is_there).map(|place| format!("{what}, {form}: {}", place.name)));
        }
    }
    found
}

#[test]
fn the_scanner_finds_what_is_planted_in_each_form_and_nothing_else() {
    let secret = ("the password", "Pl4nted+Secret/9x".to_owned());
    let place = |text: String| Place { name: "a place".to_owned(), bytes: text.into_bytes() };
    for before in ["", "u", "ab"] {
        let credentials = STANDARD.encode(format!("{before}{}:more", secret.1));
        assert_eq!(
            leaks(&[place(format!("Basic {credentials}"))], std::slice::from_ref(&secret)).len(),
            1,
            "{before:?}"
        );
    }
    let others = ["x Pl4nted+Secret/9x y", "Pl4nted%2BSecret%2F9x", "506c346e7465642b5365637265742f3978"];
    for text in others {
        assert_eq!(leaks(&[place(text.to_owned())], std::slice::from_ref(&secret)).len(), 1, "{text}");
    }
    assert!(leaks(&[place("Pl4nted+Secret/9y and more".to_owned())], std::slice::from_ref(&secret)).is_empty());
}

/// Every version of every object that etcd holds: what is in Secrets, and all else.
async fn stored(world: &World) -> (Vec<Place>, Vec<Place>) {
    let question = json!({"create_request": {"key": "AA==", "range_end": "AA==", "start_revision": "1"}});
    let url = format!("{}/v3/watch", world.plane.etcd_url());
    let asked = reqwest::Client::new().post(url).body(question.to_string()).send();
    let (mut answer, mut text) = (asked.await.unwrap(), Vec::new());
    // It never ends: what was stored comes at once, and then nothing.
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout(Duration::from_secs(2), answer.chunk()).await {
        text.extend_from_slice(&chunk);
    }
    let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
    let mut all = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_slice(line).unwrap();
        for event in line["result"]["events"].as_array().into_iter().flatten() {
            let name = String::from_utf8(bytes(&event["kv"]["key"])).unwrap();
            all.push(Place { name, bytes: bytes(&event["kv"]["value"]) });
        }
    }
    all.into_iter().partition(|place| place.name.starts_with("/registry/secrets/"))
}

const OBJECTS: &str = "
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: ada}
spec: {localPart: ada, domainRef: {name: example}, deletionPolicy: Delete}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: bea}
spec: {localPart: bea, domainRef: {name: example}, passwordSecretRef: {name: bea}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: old}
spec: {localPart: old, domainRef: {name: example}, passwordSecretRef: {name: old}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailMailbox
metadata: {name: weak}
spec: {localPart: weak, domainRef: {name: example}, passwordSecretRef: {name: weak}}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: sales}
spec: {domainRef: {name: example}, localPart: sales, gotoMailboxRefs: [{name: ada}]}
---
apiVersion: email.askrobots.com/v1alpha1
kind: EmailForwardingRule
metadata: {name: copy}
spec: {mailboxRef: {name: bea}, actions: [{forward: {to: [x@other.org]}}]}
";

/// A life of objects, and the secrets in it.
struct Life {
    world: World,
    secrets: Vec<Known>,
    logs: Vec<Place>,
}

impl Life {
    async fn start() -> Self {
        let world = World::alone("secretscan").await;
        world.mailcow.edit(|state| state.password_policy.length = 20);
        let mut life = Self { secrets: Vec::new(), logs: Vec::new(), world };
        let key = life.secret("the first API key");
        life.world.mailcow.add_key(ApiKey::new(&key, Access::ReadWrite));
        life.world.connect_with(&life.world.mailcow.url(), &key).await;
        life.world.start_operator(&["--resync", "2s", "--poll-interval", "1s", "--log-level", "debug"]);
        life
    }

    /// A new secret; long enough for the policy.
    fn secret(&mut self, what: &'static str) -> String {
        let secret = format!("Aa9-{:032x}", rand::random::<u128>());
        self.secrets.push((what, secret.clone()));
        secret
    }

    async fn password(&mut self, what: &'static str, name: &str) {
        let password = self.secret(what);
        self.set(name, &password).await;
    }

    async fn set(&self, name: &str, password: &str) {
        let manifest =
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: {password}}}");
        self.world.apply(&manifest).await;
    }

    /// Waits until the password of a mailbox was set so often.
    async fn set_times(&self, address: &str, times: u32) {
        let count =
            || self.world.mailcow.inspect(|state| state.mailbox(address).map(|mailbox| mailbox.password_changes));
        let waited = wait_until(LIMIT, "the password to be set", async || match count() {
            Some(n) if n >= times => Ok(()),
            other => Err(format!("{other:?}")),
        });
        waited.await.unwrap_or_else(|error| panic!("{address}: {error}\n{}", self.world.logs()));
    }

    /// Made, adopted, refused.
    async fn create(&mut self) {
        self.world
            .apply(&DOMAIN.replace("{domain: example.com}", "{domain: example.com, dns: {publish: ConfigMap}}"))
            .await;
        self.world.ready::<EmailDomain>("example").await;
        self.world.mailcow.edit(|state| {
            state.seed_mailbox("old@example.com");
        });
        self.password("a given password", "bea").await;
        self.password("the password of an adopted mailbox", "old").await;
        let weak = format!("W-{:015x}", rand::random::<u64>() >> 4);
        self.secrets.push(("a refused password", weak.clone()));
        self.set("weak", &weak).await;
        self.world.apply(OBJECTS).await;
        for name in ["ada", "bea", "old"] {
            self.world.ready::<EmailMailbox>(name).await;
        }
        self.world.ready::<EmailAlias>("sales").await;
        self.world.ready::<EmailForwardingRule>("copy").await;
        self.world.condition::<EmailMailbox>("weak", ("Stalled", "True", "PasswordRejected")).await;
        let secrets: Api<Secret> = self.world.api();
        let generated = secrets.get("ada-mailbox").await.unwrap().data.unwrap()["password"].0.clone();
        self.secrets.push(("a generated password", String::from_utf8(generated).unwrap()));
    }

    /// Passwords change, and Mailcow answers with pages that hold them.
    async fn rotate(&mut self) {
        let password = self.secret("a rotated password");
        for (times, body) in [
            (500, format!("<html>Uncaught exception in edit(password={password})</html>")),
            (
                200,
                json!([{"type": "danger", "log": [password], "msg": ["mysql_error", format!("near '{password}'")]}])
                    .to_string(),
            ),
            (200, json!([{"type": "success", "log": [], "msg": format!("SQLSTATE[40001]: {password}")}]).to_string()),
            (200, password.clone()),
        ] {
            self.world.mailcow.fault(Fault::once("edit/mailbox", Trouble::Text { status: times, body }));
        }
        self.set("bea", &password).await;
        self.set_times("bea@example.com", 2).await;
        self.world.ready::<EmailMailbox>("bea").await;
        self.password("a password that replaced a generated one", "ada-mailbox").await;
        self.set_times("ada@example.com", 2).await;
    }

    /// The connection changes, to ones that work and ones that don't.
    async fn reconnect(&mut self) {
        let url = self.world.mailcow.url();
        let wrong = self.secret("an API key that is refused");
        self.world.connect_with(&url, &wrong).await;
        self.world.condition::<EmailMailbox>("ada", ("Ready", "Unknown", "KeyOrSourceRejected")).await;
        let (new, hidden) = (self.secret("the second API key"), self.secret("a password in the URL"));
        self.world.connect_with(&url.replace("://", &format!("://user:{hidden}@")), &new).await;
        self.world.operator.as_ref().unwrap().logged("the connection to Mailcow is invalid", LIMIT).await.unwrap();
        self.world.mailcow.add_key(ApiKey::new(&new, Access::ReadWrite));
        self.world.connect_with(&url, &new).await;
        self.world.ready::<EmailMailbox>("ada").await;
    }

    /// Lists of sinks with passwords in them are refused.
    async fn sinks(&mut self) {
        for webhook in
            ["{url: 'https://u:HIDDEN@t.example'}", "'https://u:HIDDEN@t.example'", "{uri: HIDDEN}", "[HIDDEN]"]
        {
            let hidden = self.secret("a password in a sink");
            let file = self.world.plane.folder().path().join("sinks.yaml");
            let sinks = format!("- {{name: t, webhook: {}, namespaces: ['*']}}", webhook.replace("HIDDEN", &hidden));
            std::fs::write(&file, sinks).unwrap();
            let mut refused = self.world.another_operator(&["--sinks-file", &file.display().to_string()]);
            refused.logged("the sinks file is invalid", LIMIT).await.unwrap();
            assert!(!refused.stop(LIMIT).await.unwrap().success());
            self.log("an operator with a bad list of sinks", &refused);
        }
    }

    async fn delete(&mut self) {
        self.world.mailcow.set_down(true).await.unwrap();
        self.world.kubectl(&["delete", "embx,ealias,efr", "--all", "--wait=false"]).await;
        self.world.condition::<EmailMailbox>("ada", ("Ready", "Unknown", "MailcowUnreachable")).await;
        self.world.mailcow.set_down(false).await.unwrap();
        for name in ["ada", "bea", "old", "weak"] {
            self.world.gone::<EmailMailbox>(name).await;
        }
    }

    fn log(&mut self, name: &str, operator: &Operator) {
        self.logs.push(Place { name: format!("the log of {name}"), bytes: operator.logs().into_bytes() });
    }
}

#[tokio::test]
async fn no_password_and_no_key_is_anywhere_but_in_secrets() {
    let mut life = Life::start().await;
    life.create().await;
    life.rotate().await;
    life.reconnect().await;
    life.sinks().await;
    life.delete().await;
    let address = address(&life.world).await;
    let metrics = reqwest::get(format!("http://{address}/metrics")).await.unwrap().bytes().await.unwrap().to_vec();
    let operator = life.world.operator.take().unwrap();
    life.log("the operator", &operator);
    let (secrets, mut places) = stored(&life.world).await;
    let of_events = places.iter().filter(|place| place.name.starts_with("/registry/events/")).count();
    let of_ours = places.iter().filter(|place| place.name.contains("email.askrobots.com/email")).count();
    assert!(of_events > 5 && of_ours > 30, "{of_events} events and {of_ours} versions of our objects in etcd");
    places.push(Place { name: "metrics".to_owned(), bytes: metrics });
    places.append(&mut life.logs);
    assert_eq!(leaks(&places, &life.secrets), Vec::<String>::new());
    // What is looked for was there to be found.
    for (what, secret) in life.secrets.iter().filter(|(what, _)| !what.contains("in a sink")) {
        assert!(!leaks(&secrets, &[(what, secret.clone())]).is_empty(), "{what} is in no Secret");
    }
    let sent = life.world.mailcow.requests();
    let rotated = &life.secrets.iter().find(|(what, _)| *what == "a rotated password").unwrap().1;
    assert!(sent.iter().any(|request| request.body.contains(rotated)), "it was set");
}
