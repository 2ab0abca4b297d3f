//! Every field that Mailcow has: made, changed, changed by hand, put back, read back. The tests print a table.

use std::collections::BTreeSet;

use ground::wait_until;
use mailcow_operator::crd::{self, EmailAlias, EmailDomain, EmailMailbox};
use mailcow_simulator::{RateLimit, State};

use crate::world::{DOMAIN, Email, LIMIT, World};

/// One field of a spec.
struct Row {
    /// Its path in the spec.
    field: &'static str,
    /// The value of the spec that it is changed to, as JSON of the whole spec's patch.
    patch: &'static str,
    /// What Mailcow shows at first, and after the change.
    shows: [&'static str; 2],
    /// Reads it on Mailcow.
    read: fn(&State) -> String,
    /// Changes it by hand on Mailcow.
    by_hand: fn(&mut State),
}

/// Fields that are not in a table, and why.
const EXEMPT: [(&str, &[&str], &str); 5] = [
    (
        "*",
        &["deletionPolicy", "adoptionPolicy", "driftPolicy", "allowedNamespaces.", "autoProvision."],
        "says what the operator does, nothing on Mailcow; tests of their own",
    ),
    (
        "*",
        &["domain", "localPart", "domainRef.name", "domainRef.namespace", "server", "catchAll"],
        "identity: can't be changed",
    ),
    (
        "EmailDomain",
        &[
            "dkim.selector",
            "dkim.keySize",
            "dns.",
            "ownership.",
            "mailboxDefaults.rateLimit.",
            "mailboxDefaults.protocols",
        ],
        "a key is never replaced; DNS is not Mailcow's; defaults are seen at a mailbox, below",
    ),
    (
        "EmailMailbox",
        &["passwordSecretRef.name", "passwordSecretRef.key", "credentialsSecretName", "system"],
        "passwords can't be read back; system is the operator's own: tests of their own",
    ),
    ("EmailAlias", &["gotoMailboxRefs.name"], "stands for goto"),
];

/// The leaves of a schema, by path.
fn leaves(schema: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
    let items = &schema["items"];
    let inner = if items["properties"].is_object() { items } else { schema };
    let Some(properties) = inner["properties"].as_object() else {
        found.insert(path.to_owned());
        return;
    };
    for (name, property) in properties {
        leaves(property, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, found);
    }
}

/// The fields of a kind's spec that its table lacks and no exemption names.
fn forgotten(kind: &str, rows: &[Row]) -> Vec<String> {
    let crd = crd::definitions().unwrap().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
    let mut fields = BTreeSet::new();
    leaves(&schema["openAPIV3Schema"]["properties"]["spec"], "", &mut fields);
    let is_exempt = |field: &str| {
        let names = EXEMPT.iter().filter(|(of, _, _)| *of == "*" || *of == kind).flat_map(|(_, names, _)| names.iter());
        names.into_iter().any(|name| field == *name || (name.ends_with('.') && field.starts_with(name)))
    };
    let is_in_table =
        |field: &str| rows.iter().any(|row| row.field == field || field.starts_with(&format!("{}.", row.field)));
    fields.into_iter().filter(|field| !is_exempt(field) && !is_in_table(field)).collect()
}

/// Walks a table with an object that was made with every field in it.
#[expect(clippy::print_stdout, reason = "the table is for whoever reads the tests' output")]
async fn walk<K: Email>(world: &World, (kind, plural, name): (&str, &str, &str), rows: &[Row]) {
    assert_eq!(forgotten(kind, rows), Vec::<String>::new(), "fields of {kind} that no test walks");
    world.ready::<K>(name).await;
    println!("{kind:<14}{:<30}| create | change | by hand | put back", "");
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(world.mailcow.inspect(row.read), row.shows[0], "{kind} {} when made", row.field);
        world.kubectl(&["patch", plural, name, "--type=merge", "-p", &format!("{{\"spec\":{}}}", row.patch)]).await;
        world.ready::<K>(name).await;
        assert_eq!(world.mailcow.inspect(row.read), row.shows[1], "{kind} {} when changed", row.field);
        world.mailcow.edit(row.by_hand);
        let by_hand = world.mailcow.inspect(row.read);
        assert_ne!(by_hand, row.shows[1], "{kind} {}: nothing was changed by hand", row.field);
        world
            .kubectl(&["annotate", "--overwrite", plural, name, &format!("{}={n}", crd::RECONCILE_REQUESTED_AT)])
            .await;
        let put_back = wait_until(LIMIT, row.field, async || match world.mailcow.inspect(row.read) {
            shown if shown == row.shows[1] => Ok(()),
            other => Err(other),
        });
        put_back.await.unwrap();
        let [made, changed] = row.shows;
        println!("{:<14}{:<30}| {made} | {changed} | {by_hand} | {changed}", "", row.field);
    }
    world.ready::<K>(name).await;
}

fn limit(state: &State, name: &str) -> String {
    state.rate_limits.get(name).map_or_else(|| "none".to_owned(), |limit| format!("{}/{}", limit.value, limit.frame))
}

fn set_limit(state: &mut State, name: &str) {
    state.rate_limits.insert(name.to_owned(), RateLimit { value: 77, frame: "d".to_owned() });
}

macro_rules! row {
    ($field:literal, $patch:literal, $shows:expr, $read:expr, $by_hand:expr) => {
        Row { field: $field, patch: $patch, shows: $shows, read: $read, by_hand: $by_hand }
    };
}

/// One field of the domain's row.
macro_rules! of_domain {
    ($field:literal, $patch:literal, $shows:expr, $key:ident, $hand:expr) => {
        row!($field, $patch, $shows, |s| s.domain("example.com").unwrap().$key.to_string(), |s| s
            .domain_mut("example.com")
            .unwrap()
            .$key = $hand)
    };
}

fn first_mailbox(state: &State) -> &mailcow_simulator::Mailbox {
    state.mailbox("ada@example.com").unwrap()
}

fn switches(state: &State, names: &[&str]) -> String {
    let on = first_mailbox(state).attributes.switches.iter().filter(|(name, on)| names.contains(name) && on == "1");
    on.map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

const PROTOCOLS: [&str; 4] = ["imap_access", "pop3_access", "smtp_access", "sieve_access"];

fn tags(all: &BTreeSet<String>) -> String {
    all.iter().filter(|tag| !tag.starts_with("mailcow-operator")).cloned().collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn every_field_of_a_domain_is_written_and_put_back() {
    let world = World::new("domainfields").await;
    let spec = "{domain: example.com, description: Old, active: true, globalAddressList: false, tags: [one, two],
  limits: {mailboxes: 3, aliases: 4, mailboxQuota: 2Gi, totalQuota: 20Gi}, rateLimit: {messages: 5, per: Hour},
  mailboxDefaults: {quota: 1Gi, rateLimit: {messages: 6, per: Day}, protocols: [IMAP]},
  relay: {backupMx: true, allRecipients: true, unknownOnly: true, host: 3}}";
    world.apply(&DOMAIN.replace("{domain: example.com}", spec)).await;
    world.ready::<EmailDomain>("example").await;
    world.apply("apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {name: ada}\nspec: {localPart: ada, domainRef: {name: example}}").await;
    world.ready::<EmailMailbox>("ada").await;
    let inherited = world.mailcow.inspect(|s| (limit(s, "ada@example.com"), switches(s, &PROTOCOLS)));
    assert_eq!(inherited, ("6/d".to_owned(), "imap_access".to_owned()), "what a mailbox inherits");
    let rows = [
        of_domain!("description", r#"{"description":"New"}"#, ["Old", "New"], description, "by hand".to_owned()),
        of_domain!("active", r#"{"active":false}"#, ["1", "0"], active, 1),
        of_domain!("globalAddressList", r#"{"globalAddressList":true}"#, ["0", "1"], gal, 0),
        of_domain!("limits.mailboxes", r#"{"limits":{"mailboxes":30}}"#, ["3", "30"], max_mailboxes, 9),
        of_domain!("limits.aliases", r#"{"limits":{"aliases":40}}"#, ["4", "40"], max_aliases, 9),
        of_domain!("limits.mailboxQuota", r#"{"limits":{"mailboxQuota":"3Gi"}}"#, ["2048", "3072"], max_quota, 4096),
        of_domain!("limits.totalQuota", r#"{"limits":{"totalQuota":"30Gi"}}"#, ["20480", "30720"], quota, 40960),
        of_domain!(
            "mailboxDefaults.quota",
            r#"{"mailboxDefaults":{"quota":"2Gi"}}"#,
            ["1024", "2048"],
            default_quota,
            512
        ),
        row!(
            "rateLimit",
            r#"{"rateLimit":{"messages":8,"per":"Minute"}}"#,
            ["5/h", "8/m"],
            |s| limit(s, "example.com"),
            |s| set_limit(s, "example.com")
        ),
        of_domain!("relay.host", r#"{"relay":{"host":4}}"#, ["3", "4"], relayhost, "0".to_owned()),
        of_domain!("relay.unknownOnly", r#"{"relay":{"unknownOnly":false}}"#, ["1", "0"], relay_unknown_only, 1),
        of_domain!("relay.allRecipients", r#"{"relay":{"allRecipients":false}}"#, ["1", "0"], relay_all_recipients, 1),
        of_domain!("relay.backupMx", r#"{"relay":{"backupMx":false}}"#, ["1", "0"], backupmx, 1),
        row!(
            "tags",
            r#"{"tags":["two","three"]}"#,
            ["one,two", "three,two"],
            |s| tags(&s.domain("example.com").unwrap().tags),
            |s| {
                s.domain_mut("example.com").unwrap().tags.remove("two");
            }
        ),
    ];
    walk::<EmailDomain>(&world, ("EmailDomain", "edom", "example"), &rows).await;
    let patch = r#"{"spec":{"mailboxDefaults":{"rateLimit":{"messages":7,"per":"Day"},"protocols":["SMTP"]}}}"#;
    world.kubectl(&["patch", "edom", "example", "--type=merge", "-p", patch]).await;
    wait_until(LIMIT, "the mailbox to take the new defaults", async || {
        match world.mailcow.inspect(|s| (limit(s, "ada@example.com"), switches(s, &PROTOCOLS))) {
            (limit, on) if limit == "7/d" && on == "smtp_access" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

/// Sets a switch of the mailbox by hand.
fn switch(state: &mut State, name: &str, on: i64) {
    state.mailbox_mut("ada@example.com").unwrap().attributes.switch(name, on);
}

#[tokio::test]
async fn every_field_of_a_mailbox_is_written_and_put_back() {
    let world = World::new("mailboxfields").await;
    let others = "apiVersion: email.askrobots.com/v1alpha1
kind: EmailAlias
metadata: {name: help}
spec: {domainRef: {name: example}, localPart: help, sink: Discard}";
    world.apply(&format!("{DOMAIN}{others}")).await;
    world.ready::<EmailAlias>("help").await;
    let spec = "{localPart: ada, domainRef: {name: example}, displayName: Old, quota: 1Gi, state: Active,
  rateLimit: {messages: 5, per: Hour}, protocols: [IMAP, POP3], tls: {enforceIncoming: true, enforceOutgoing: false},
  forcePasswordChange: true, senderAcl: [help@example.com], tags: [one, two]}";
    world
        .apply(&format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {{name: ada}}\nspec: {spec}"
        ))
        .await;
    let rows = [
        row!("displayName", r#"{"displayName":"New"}"#, ["Old", "New"], |s| first_mailbox(s).name.clone(), |s| {
            "by hand".clone_into(&mut s.mailbox_mut("ada@example.com").unwrap().name);
        }),
        row!(
            "quota",
            r#"{"quota":"2Gi"}"#,
            ["1073741824", "2147483648"],
            |s| first_mailbox(s).quota.to_string(),
            |s| {
                s.mailbox_mut("ada@example.com").unwrap().quota = 1 << 20;
            }
        ),
        row!("state", r#"{"state":"LoginDisabled"}"#, ["1", "2"], |s| first_mailbox(s).active.to_string(), |s| {
            s.mailbox_mut("ada@example.com").unwrap().active = 0;
        }),
        row!(
            "rateLimit",
            r#"{"rateLimit":{"messages":8,"per":"Second"}}"#,
            ["5/h", "8/s"],
            |s| limit(s, "ada@example.com"),
            |s| set_limit(s, "ada@example.com")
        ),
        row!(
            "protocols",
            r#"{"protocols":["SMTP","Sieve"]}"#,
            ["imap_access,pop3_access", "smtp_access,sieve_access"],
            |s| switches(s, &PROTOCOLS),
            |s| switch(s, "imap_access", 1)
        ),
        row!(
            "tls.enforceIncoming",
            r#"{"tls":{"enforceIncoming":false}}"#,
            ["tls_enforce_in", ""],
            |s| switches(s, &["tls_enforce_in"]),
            |s| switch(s, "tls_enforce_in", 1)
        ),
        row!(
            "tls.enforceOutgoing",
            r#"{"tls":{"enforceOutgoing":true}}"#,
            ["", "tls_enforce_out"],
            |s| switches(s, &["tls_enforce_out"]),
            |s| switch(s, "tls_enforce_out", 0)
        ),
        row!(
            "forcePasswordChange",
            r#"{"forcePasswordChange":false}"#,
            ["force_pw_update", ""],
            |s| switches(s, &["force_pw_update"]),
            |s| switch(s, "force_pw_update", 1)
        ),
        row!(
            "senderAcl",
            r#"{"senderAcl":["@example.com"]}"#,
            ["help@example.com", "@example.com"],
            |s| first_mailbox(s).sender_acl.join(","),
            |s| s.mailbox_mut("ada@example.com").unwrap().sender_acl.clear()
        ),
        row!("tags", r#"{"tags":["two","three"]}"#, ["one,two", "three,two"], |s| tags(&first_mailbox(s).tags), |s| {
            s.mailbox_mut("ada@example.com").unwrap().tags.remove("three");
        }),
    ];
    walk::<EmailMailbox>(&world, ("EmailMailbox", "embx", "ada"), &rows).await;
    world.mailcow.edit(|s| {
        s.mailbox_mut("ada@example.com").unwrap().tags.insert("theirs".to_owned());
    });
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"tags":[]}}"#]).await;
    world.ready::<EmailMailbox>("ada").await;
    assert_eq!(world.mailcow.inspect(|s| tags(&first_mailbox(s).tags)), "theirs", "tags of others stay");
}

fn help(state: &State) -> &mailcow_simulator::Alias {
    state.alias("help@example.com").unwrap()
}

fn help_mut(state: &mut State) -> &mut mailcow_simulator::Alias {
    state.aliases.values_mut().find(|alias| alias.address == "help@example.com").unwrap()
}

#[tokio::test]
async fn every_field_of_an_alias_is_written_and_put_back() {
    let world = World::new("aliasfields").await;
    let spec =
        "{domainRef: {name: example}, localPart: help, goto: [a@example.com], active: false, visibleInSogo: false,
  senderAllowed: false, publicComment: Old}";
    world
        .apply(&format!(
            "{DOMAIN}apiVersion: email.askrobots.com/v1alpha1\nkind: EmailAlias\nmetadata: {{name: help}}\nspec: {spec}"
        ))
        .await;
    let rows = [
        row!(
            "goto",
            r#"{"goto":["b@example.com"]}"#,
            ["a@example.com", "b@example.com"],
            |s| help(s).goto.clone(),
            |s| {
                "c@example.com".clone_into(&mut help_mut(s).goto);
            }
        ),
        row!(
            "sink",
            r#"{"goto":null,"sink":"LearnSpam"}"#,
            ["b@example.com", "spam@localhost"],
            |s| help(s).goto.clone(),
            |s| "null@localhost".clone_into(&mut help_mut(s).goto)
        ),
        row!("active", r#"{"active":true}"#, ["0", "1"], |s| help(s).active.to_string(), |s| help_mut(s).active = 0),
        row!("visibleInSogo", r#"{"visibleInSogo":true}"#, ["0", "1"], |s| help(s).sogo_visible.to_string(), |s| {
            help_mut(s).sogo_visible = 0;
        }),
        row!("senderAllowed", r#"{"senderAllowed":true}"#, ["0", "1"], |s| help(s).sender_allowed.to_string(), |s| {
            help_mut(s).sender_allowed = 0;
        }),
        row!(
            "publicComment",
            r#"{"publicComment":""}"#,
            ["Old", ""],
            |s| help(s).public_comment.clone().unwrap_or_default(),
            |s| help_mut(s).public_comment = Some("by hand".to_owned())
        ),
    ];
    walk::<EmailAlias>(&world, ("EmailAlias", "ealias", "help"), &rows).await;
}

#[tokio::test]
async fn drift_that_is_only_to_be_reported_is_written_when_asked() {
    let mut world = World::without_mailcow("report").await;
    world.connect().await;
    world.start_operator(&["--resync", "1s"]);
    let ada = crate::world::ADA.replace("displayName: Ada Lovelace", "displayName: Ada, driftPolicy: Report");
    world.apply(&format!("{DOMAIN}{ada}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.mailcow.clear_log();
    world.mailcow.edit(|s| "by hand".clone_into(&mut s.mailbox_mut("ada@example.com").unwrap().name));
    let drifted = world.condition::<EmailMailbox>("ada", ("Drifted", "True", "Drifted")).await;
    assert!(crate::world::message(&drifted, "Ready").contains("displayName"));
    assert!(crate::world::says(&drifted, "Synced", "False") && crate::world::says(&drifted, "Stalled", "True"));
    assert_eq!(world.mailcow.writes(), 0, "{:?}", world.mailcow.requests());
    world.kubectl(&["annotate", "embx", "ada", &format!("{}=correct-1", crd::RECONCILE_REQUESTED_AT)]).await;
    let ready = world.ready::<EmailMailbox>("ada").await;
    assert!(!crate::world::says(&ready, "Drifted", "True"));
    assert_eq!(world.mailcow.inspect(|s| first_mailbox(s).name.clone()), "Ada");
}

#[tokio::test]
async fn a_system_mailbox_outlives_its_deletion() {
    let world = World::new("system").await;
    let ada = crate::world::ADA.replace("displayName: Ada Lovelace", "system: true, deletionPolicy: Delete");
    world.apply(&format!("{DOMAIN}{ada}")).await;
    world.ready::<EmailMailbox>("ada").await;
    world.kubectl(&["delete", "embx", "ada", "--wait=false"]).await;
    world
        .until("ada", "SystemMailbox", |m: &EmailMailbox| {
            m.conditions().iter().any(|c| c.type_ == "Stalled" && c.reason == "SystemMailbox")
        })
        .await;
    assert!(world.mailcow.inspect(|s| s.mailbox("ada@example.com").is_some()));
    world.kubectl(&["patch", "embx", "ada", "--type=merge", "-p", r#"{"spec":{"system":false}}"#]).await;
    world.gone::<EmailMailbox>("ada").await;
    assert!(world.mailcow.inspect(|s| s.mailbox("ada@example.com").is_none()));
}
