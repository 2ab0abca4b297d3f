//! The client against a server that answers as the real one: every change is carried out, confirmed and seen again.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mailcow_operator::crd::Per;
use mailcow_operator::mail::{
    Access, Address, Alias, Catch, Dkim, DomainName, Goto, Limits, Mailbox, MailboxHave, Mark, Quota, RateLimit, Tags,
    Tls,
};
use mailcow_operator::mailcow::{Client, Connection, Error};
use mailcow_operator::plan::{AliasEdit, Change, DomainEdit, MailboxEdit};
use mailcow_simulator::{Fault, Options, Simulator, Trouble};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn connection(url: &str, key: &str) -> Connection {
    Connection { url: url.to_owned(), api_key: SecretString::from(key), ca: None, mail_host: None }
}

fn client(url: &str, key: &str) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(&connection(url, key), Arc::new(|_, _, _| ())).unwrap()
}

async fn world() -> (Simulator, Client) {
    let server = Simulator::start(Options::default()).await.unwrap();
    let client = client(&server.url(), server.api_key());
    (server, client)
}

#[tokio::test]
async fn nothing_is_written_without_the_permit_and_requests_are_counted_by_what_came_of_them() {
    let server = Simulator::start(Options::default()).await.unwrap();
    let (may, seen) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
    let (permit, told) = (may.clone(), seen.clone());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let observer = Arc::new(move |action, outcome, _| told.lock().unwrap().push((action, outcome)));
    let client = Client::new(&connection(&server.url(), server.api_key()), observer).unwrap();
    let client = client.with_permit(Arc::new(move || permit.load(Ordering::Relaxed)));
    client.execute(&[add_domain()], None).await.unwrap();
    assert!(matches!(client.execute(&[add_domain()], None).await, Err(Error::Refused { .. })));
    may.store(false, Ordering::Relaxed);
    let error = client.execute(&[Change::DeleteDomain(domain())], None).await.unwrap_err();
    assert!(error.to_string().contains("nothing was sent"), "{error}");
    assert!(client.domain(&domain()).await.unwrap().is_some(), "reads go on");
    assert_eq!(server.writes(), 2);
    let all = [("add/domain", "ok"), ("add/domain", "RefusedByMailcow"), ("get/domain", "ok")];
    assert_eq!(*seen.lock().unwrap(), all);
}

fn domain() -> DomainName {
    DomainName::parse("example.com").unwrap()
}

fn ada() -> Address {
    Address::parse("o'neil+x%y&z@example.com").unwrap()
}

fn mark() -> Mark {
    Mark::new("c1", "n", "x", "u1")
}

fn add_domain() -> Change {
    Change::AddDomain {
        name: domain(),
        edit: DomainEdit {
            description: Some("A & B".into()),
            active: Some(true),
            limits: Limits {
                mailboxes: Some(5),
                aliases: Some(6),
                default_quota: Some(Quota::mib(512)),
                mailbox_quota: Some(Quota::gib(1)),
                total_quota: Some(Quota::gib(4)),
            },
            mark: Some(mark().to_string()),
            ..DomainEdit::default()
        },
        dkim: Dkim { selector: "s1".into(), key_size: 2048, is_demanded: true },
        rate: Some(RateLimit::Limit { messages: 9, per: Per::Day }),
    }
}

fn add_mailbox() -> Change {
    Change::AddMailbox(Mailbox {
        address: ada(),
        name: Some("O'Neil <x> & Co".into()),
        quota: Quota::mib(256),
        is_default_quota: false,
        access: Access::Active,
        rate_limit: Some(RateLimit::Limit { messages: 3, per: Per::Minute }),
        protocols: None,
        tls: Tls::default(),
        force_password_change: None,
        sender_acl: None,
        tags: Tags::default(),
        mark: mark(),
    })
}

fn password() -> SecretString {
    SecretString::from("correct-Horse-9")
}

#[tokio::test]
async fn a_domain_is_seen_as_it_was_asked_for() {
    let (_server, client) = world().await;
    assert_eq!((client.domain(&domain()).await.unwrap(), client.dkim(&domain()).await.unwrap()), (None, None));
    client.execute(&[add_domain()], None).await.unwrap();
    let have = client.domain(&domain()).await.unwrap().unwrap();
    assert_eq!((have.description.as_str(), have.active), ("A & B", true));
    assert_eq!((have.limits.mailboxes, have.limits.aliases), (5, 6));
    assert_eq!(have.limits.total_quota, Quota::gib(4));
    assert_eq!(have.rate_limit, RateLimit::Limit { messages: 9, per: Per::Day });
    assert_eq!(have.mark(), Some(mark()));
    assert_eq!(client.domains().await.unwrap(), [(domain(), have)]);
    let dkim = client.dkim(&domain()).await.unwrap().unwrap();
    assert_eq!((dkim.selector.as_str(), dkim.key_size), ("s1", 2048));
    assert!(dkim.record.ends_with(&dkim.public_key));
}

#[tokio::test]
async fn every_change_of_a_domain_is_confirmed() {
    let (_server, client) = world().await;
    let name = domain();
    let edit = DomainEdit {
        active: Some(false),
        limits: Limits { mailboxes: Some(0), ..Limits::default() },
        tags: vec!["another".into()],
        ..DomainEdit::default()
    };
    let changes = [
        add_domain(),
        Change::EditDomain { name: name.clone(), edit },
        Change::UnmarkDomain { name: name.clone(), tag: mark().to_string() },
        Change::LimitDomain { name: name.clone(), rate: RateLimit::Unlimited },
    ];
    client.execute(&changes, None).await.unwrap();
    let have = client.domain(&name).await.unwrap().unwrap();
    assert_eq!((have.active, have.limits.mailboxes, have.rate_limit), (false, 0, RateLimit::Unlimited));
    assert_eq!(have.tags, ["another"]);
    client.execute(&[Change::DeleteDomain(name.clone())], None).await.unwrap();
    assert_eq!(client.domain(&name).await.unwrap(), None);
}

#[tokio::test]
async fn every_change_of_a_mailbox_is_confirmed() {
    let (_server, client) = world().await;
    client.execute(&[add_domain(), add_mailbox()], Some(&password())).await.unwrap();
    let have = client.mailbox(&ada()).await.unwrap().unwrap();
    assert_eq!((have.name.as_str(), have.quota, have.access), ("O'Neil <x> & Co", Quota::mib(256), Access::Active));
    assert_eq!(have.rate_limit, RateLimit::Limit { messages: 3, per: Per::Minute });
    let attributes = BTreeMap::from([
        (MailboxHave::MARK.to_owned(), mark().to_string()),
        ("theirs".to_owned(), "me & <you>".to_owned()),
    ]);
    let edit = MailboxEdit {
        quota: Some(Quota::UNLIMITED),
        access: Some(Access::LoginDisabled),
        name: Some("N".into()),
        ..MailboxEdit::default()
    };
    let changes = [
        Change::SetAttributes { address: ada(), attributes: attributes.clone() },
        Change::EditMailbox { address: ada(), edit },
        Change::LimitMailbox { address: ada(), rate: RateLimit::Unlimited },
        Change::SetPassword(ada()),
    ];
    client.execute(&changes, Some(&password())).await.unwrap();
    let have = client.mailbox(&ada()).await.unwrap().unwrap();
    assert_eq!((have.quota, have.access, have.name.as_str()), (Quota::UNLIMITED, Access::LoginDisabled, "N"));
    assert_eq!((have.rate_limit, have.mark()), (RateLimit::Unlimited, Some(mark())));
    assert_eq!(have.attributes, attributes.into_iter().collect::<Vec<_>>());
    client.execute(&[Change::DeleteMailbox(ada())], None).await.unwrap();
    assert_eq!(client.mailbox(&ada()).await.unwrap(), None);
}

#[tokio::test]
async fn aliases_and_catch_alls_are_found_by_address() {
    let (_server, client) = world().await;
    client.execute(&[add_domain()], None).await.unwrap();
    for catch in ["sales@example.com", "@example.com"] {
        let catch = Catch::parse(catch).unwrap();
        assert_eq!(client.alias(&catch, None).await.unwrap(), None);
        let alias = Alias {
            catch: catch.clone(),
            goto: Goto::Addresses([ada()].into()),
            active: true,
            visible_in_sogo: None,
            sender_allowed: None,
            public_comment: None,
            mark: mark(),
        };
        client.execute(&[Change::AddAlias(alias)], None).await.unwrap();
        let have = client.alias(&catch, None).await.unwrap().unwrap();
        assert_eq!((have.goto.clone(), have.active, have.mark()), ([ada().to_string()].into(), true, Some(mark())));
        let edit = AliasEdit { active: Some(false), private_comment: Some(String::new()), ..AliasEdit::default() };
        client.execute(&[Change::EditAlias { id: have.id, catch: catch.clone(), edit }], None).await.unwrap();
        let have = client.alias(&catch, None).await.unwrap().unwrap();
        assert_eq!((have.active, have.mark()), (false, None));
        client.execute(&[Change::DeleteAlias { id: have.id, catch: catch.clone() }], None).await.unwrap();
        assert_eq!(client.alias(&catch, None).await.unwrap(), None);
    }
}

fn alias_of(catch: &str, to: &str) -> Alias {
    Alias {
        catch: Catch::parse(catch).unwrap(),
        goto: Goto::Addresses([Address::parse(to).unwrap()].into()),
        active: true,
        visible_in_sogo: None,
        sender_allowed: None,
        public_comment: None,
        mark: mark(),
    }
}

/// Recordings `15_alias_id_lookup`: Mailcow takes `3rd@…` for alias number 3.
#[tokio::test]
async fn an_alias_that_reads_as_a_number_is_never_another_one() {
    let (server, client) = world().await;
    client.execute(&[add_domain()], None).await.unwrap();
    let number = server.edit(|state| {
        state.seed_domain("two.test");
        state.seed_alias("theirs@two.test", "q@two.test")
    });
    let theirs = || server.inspect(|state| state.alias("theirs@two.test").cloned().map(|alias| format!("{alias:?}")));
    let before = theirs();
    for local in
        [format!("{number}rd"), format!("0{number}"), format!("+{number}"), format!("{number}e0"), "a/b".into()]
    {
        let alias = alias_of(&format!("{local}@example.com"), "a@example.com");
        let catch = alias.catch.clone();
        assert_eq!(client.alias(&catch, None).await.unwrap(), None, "{catch}");
        client.execute(&[Change::AddAlias(alias)], None).await.unwrap();
        let have = client.alias(&catch, None).await.unwrap().unwrap();
        server.clear_log();
        assert_eq!(client.alias(&catch, Some(have.id)).await.unwrap().unwrap(), have, "by its number");
        assert_eq!(server.reads(), 1);
        let other = client.alias(&catch, Some(u64::try_from(number).unwrap())).await.unwrap().unwrap();
        assert_eq!(other, have, "a number that belongs to another finds nothing");
        let edit = AliasEdit { active: Some(false), ..AliasEdit::default() };
        client.execute(&[Change::EditAlias { id: have.id, catch: catch.clone(), edit }], None).await.unwrap();
        client.execute(&[Change::DeleteAlias { id: have.id, catch: catch.clone() }], None).await.unwrap();
        assert_eq!(client.alias(&catch, Some(have.id)).await.unwrap(), None, "{catch}");
        assert_eq!(theirs(), before, "{catch}");
    }
    let wrong =
        Change::DeleteAlias { id: u64::try_from(number).unwrap(), catch: Catch::parse("x@example.com").unwrap() };
    let error = client.execute(&[wrong], None).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "what was done to another is not taken for done: {error}");
}

#[tokio::test]
async fn an_answer_about_another_thing_is_no_answer() {
    let (server, client) = world().await;
    client.execute(&[add_domain(), add_mailbox()], Some(&password())).await.unwrap();
    let says = |action: &str, body: &str| {
        server.fault(Fault::once(action, Trouble::Text { status: 200, body: body.to_owned() }));
    };
    let is_other = |error: Error| {
        assert!(matches!(&error, Error::OtherThing { .. }) && !error.to_string().contains("b@"), "{error}");
    };
    says("get/mailbox", r#"{"username":"b@enc.test","active":1,"attributes":{},"custom_attributes":[]}"#);
    is_other(client.mailbox(&ada()).await.unwrap_err());
    says("get/alias", r#"{"id":4,"address":"b@one.test","goto":"p@one.test","active":1}"#);
    is_other(client.alias(&Catch::parse("x4@example.com").unwrap(), None).await.unwrap_err());
    let filter = r#"{"id":4,"active":1,"username":"b@enc.test","filter_type":"prefilter","script_data":"keep;"}"#;
    says("get/filters", &format!("[{filter}]"));
    is_other(client.prefilters(&ada()).await.unwrap_err());
    let of_others = r#"[{"username":"b@one.test","active":1,"attributes":{},"custom_attributes":[]}]"#;
    says("get/mailbox/all", of_others);
    assert_eq!(client.mailboxes(&domain(), 0).await.unwrap(), vec![]);
    says("get/alias/all", r#"[{"id":4,"address":"b@one.test","goto":"p@one.test","active":1}]"#);
    assert_eq!(client.aliases(&domain(), 0).await.unwrap(), vec![]);
    // An alias domain answers with its target (recording 05_alias/ad_get_domain_of_alias).
    server.edit(|state| {
        state.seed_domain("target.test");
        let (name, target, created) =
            ("alias.test".to_owned(), "target.test".to_owned(), "2026-01-01 00:00:00".to_owned());
        let alias = mailcow_simulator::AliasDomain { name, target, active: 1, created, modified: None };
        state.alias_domains.insert("ALIAS.TEST".to_owned(), alias);
    });
    assert_eq!(client.domain(&DomainName::parse("alias.test").unwrap()).await.unwrap(), None);
}

/// Every field that is a set: what was written is what is seen, in whatever order, case or number Mailcow keeps it.
mod sets {
    use super::*;
    use mailcow_operator::crd::{AdoptionPolicy, Protocol};
    use mailcow_operator::mail::Domain;
    use mailcow_operator::plan;
    use proptest::prelude::*;

    /// Names of which one begins as another does, which sort otherwise before an `@` than alone.
    fn locals() -> impl Strategy<Value = Vec<String>> {
        let local =
            prop::sample::select(vec!["user1", "user10", "user", "a", "a-b", "a.b", "a+b", "a%b", "z", "0", "1st"]);
        prop::collection::vec(local.prop_map(str::to_owned), 1..6)
    }

    fn tags() -> impl Strategy<Value = Vec<String>> {
        let tag = prop::sample::select(vec!["red", "Red", "RED", "blue", "b-1", "b-10", "ü"]);
        prop::collection::vec(tag.prop_map(str::to_owned), 0..5)
    }

    fn protocols() -> impl Strategy<Value = Option<Vec<Protocol>>> {
        prop::option::of(prop::collection::vec(prop::sample::select(Protocol::ALL.to_vec()), 0..9))
    }

    fn addresses(locals: &[String], name: &str) -> Vec<Address> {
        locals.iter().map(|local| Address::parse(&format!("{local}@{name}")).unwrap()).collect()
    }

    /// Writes what is wanted by the operator's own plan, over what is there; then nothing is left to write.
    async fn settles<W, H>(
        client: &Client,
        want: &W,
        plan: impl Fn(&W, Option<&H>) -> Vec<Change>,
        have: impl AsyncFn() -> Option<H>,
    ) {
        let before = have().await;
        client.execute(&plan(want, before.as_ref()), Some(&password())).await.unwrap();
        assert_eq!(plan(want, have().await.as_ref()), vec![]);
    }

    #[derive(Clone, Debug)]
    struct Wanted {
        goto: (Vec<String>, Vec<String>),
        tags: [Vec<String>; 2],
        senders: Vec<String>,
        protocols: Option<Vec<Protocol>>,
    }

    fn wanted() -> impl Strategy<Value = Wanted> {
        let senders = prop::collection::vec(
            prop::sample::select(vec![
                "ada@example.com",
                "user1@example.com",
                "user10@example.com",
                "@example.com",
                "*",
            ]),
            0..5,
        );
        (locals(), locals(), tags(), tags(), senders, protocols()).prop_map(
            |(here, away, of_box, of_domain, senders, protocols)| {
                let senders = senders.into_iter().map(str::to_owned).collect();
                Wanted { goto: (here, away), tags: [of_box, of_domain], senders, protocols }
            },
        )
    }

    async fn all_settle(rounds: Vec<Wanted>) {
        let (server, client) = world().await;
        server.edit(|state| {
            state.seed_domain("example.com");
            state.seed_mailbox("user1@example.com");
            state.seed_mailbox("user10@example.com");
        });
        let policy = AdoptionPolicy::IfUnowned;
        let (ada, name) = (Address::parse("ada@example.com").unwrap(), DomainName::parse("new.example").unwrap());
        let mut placed = [Vec::new(), Vec::new()];
        for Wanted { goto: (here, away), tags, senders, protocols } in rounds {
            let mut alias = alias_of("all@example.com", "x@example.com");
            alias.goto = Goto::Addresses(
                addresses(&here, "example.com").into_iter().chain(addresses(&away, "away.example")).collect(),
            );
            let plan_alias = |want: &Alias, have: Option<&_>| plan::alias(want, have, policy).unwrap();
            settles(&client, &alias, plan_alias, async || client.alias(&alias.catch, None).await.unwrap()).await;
            let Change::AddMailbox(new) = add_mailbox() else { unreachable!() };
            let mailbox = Mailbox {
                address: ada.clone(),
                sender_acl: Some(senders.into_iter().collect()),
                protocols: protocols.map(|list| list.into_iter().collect()),
                tags: Tags { wanted: tags[0].clone(), placed: placed[0].clone() },
                ..new
            };
            let plan_mailbox = |want: &Mailbox, have: Option<&_>| plan::mailbox(want, have, policy, false).unwrap();
            settles(&client, &mailbox, plan_mailbox, async || client.mailbox(&ada).await.unwrap()).await;
            let domain = Domain {
                name: name.clone(),
                description: None,
                active: true,
                limits: Limits::default(),
                rate_limit: None,
                address_list: None,
                relay: mailcow_operator::mail::Relay::default(),
                tags: Tags { wanted: tags[1].clone(), placed: placed[1].clone() },
                dkim: Dkim { selector: "dkim".into(), key_size: 2048, is_demanded: false },
                mark: mark(),
            };
            let plan_domain = |want: &Domain, have: Option<&_>| plan::domain(want, have, policy).unwrap();
            let seen = async || {
                let mut have = client.domain(&name).await.unwrap()?;
                have.dkim = client.dkim(&name).await.unwrap();
                Some(have)
            };
            settles(&client, &domain, plan_domain, seen).await;
            placed = tags;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_was_written_is_not_written_again(rounds in prop::collection::vec(wanted(), 1..4)) {
            tokio::runtime::Runtime::new().unwrap().block_on(all_settle(rounds));
        }
    }
}

/// An administrator's templates decide what a request leaves out (recordings `18_templates`).
#[tokio::test]
async fn a_new_thing_is_as_the_spec_or_the_documented_default_says_whatever_the_templates_say() {
    use mailcow_operator::crd::{AdoptionPolicy, EmailDomainSpec, EmailMailboxSpec, Protocol};
    use mailcow_operator::{desired, plan};
    let (server, client) = world().await;
    server.edit(|state| {
        for template in state.templates.values_mut() {
            let changed: &[(&str, i64)] = match template.kind {
                "domain" => &[("gal", 0), ("backupmx", 1), ("relay_all_recipients", 1), ("active", 0), ("rl_value", 9)],
                _ => &[
                    ("active", 0),
                    ("force_pw_update", 1),
                    ("tls_enforce_in", 1),
                    ("tls_enforce_out", 1),
                    ("imap_access", 0),
                    ("pop3_access", 0),
                    ("sieve_access", 0),
                    ("eas_access", 0),
                    ("dav_access", 0),
                    ("sogo_access", 0),
                    ("rl_value", 5),
                ],
            };
            for (key, value) in changed {
                template.attributes.set(key, *value);
            }
            template.attributes.set("tags", vec![mailcow_simulator::Json::from("theirs")]);
        }
    });
    let domain_spec: EmailDomainSpec = serde_yaml::from_str("domain: plain.example").unwrap();
    let want = desired::domain(&domain_spec, mark()).unwrap();
    let policy = AdoptionPolicy::Never;
    client.execute(&plan::domain(&want, None, policy).unwrap(), None).await.unwrap();
    let have = client.domain(&want.name).await.unwrap().unwrap();
    assert!(have.active && have.address_list, "{have:?}");
    assert_eq!(have.relay, mailcow_operator::mail::Relay::default());
    assert_eq!((have.rate_limit, have.tags.clone()), (RateLimit::Unlimited, vec![mark().to_string()]));
    assert_eq!(have.description, "plain.example");
    let spec: EmailMailboxSpec = serde_yaml::from_str("localPart: m\ndomainRef: {name: d}").unwrap();
    let want = desired::mailbox(&spec, &domain_spec, mark()).unwrap();
    client.execute(&plan::mailbox(&want, None, policy, true).unwrap(), Some(&password())).await.unwrap();
    let have = client.mailbox(&want.address).await.unwrap().unwrap();
    assert_eq!((have.access, have.protocols), (Access::Active, Protocol::ALL.into()));
    assert_eq!((have.tls, have.force_password_change), (Tls::default(), false));
    assert_eq!((have.rate_limit, have.tags), (RateLimit::Unlimited, vec![mark().to_string()]));
    assert_eq!((have.quota, have.sender_acl), (Quota::gib(1), Some([].into())));
}

#[tokio::test]
async fn filters_are_added_changed_and_removed() {
    let (_server, client) = world().await;
    client.execute(&[add_domain(), add_mailbox()], Some(&password())).await.unwrap();
    assert_eq!(client.prefilters(&ada()).await.unwrap(), vec![]);
    let script = "# mine\r\nkeep;\n".to_owned();
    let add = Change::AddFilter { mailbox: ada(), script: script.clone(), description: "d".into() };
    client.execute(&[add], None).await.unwrap();
    let [filter] = client.prefilters(&ada()).await.unwrap().try_into().unwrap();
    assert_eq!((filter.script.as_str(), filter.active), (script.as_str(), true));
    let edit = Change::EditFilter { id: filter.id, mailbox: ada(), script: "discard;".into(), description: "e".into() };
    client.execute(&[edit], None).await.unwrap();
    let [filter] = client.prefilters(&ada()).await.unwrap().try_into().unwrap();
    assert_eq!((filter.script.as_str(), filter.description.as_str()), ("discard;", "e"));
    client.execute(&[Change::DeleteFilter { id: filter.id, mailbox: ada() }], None).await.unwrap();
    assert_eq!(client.prefilters(&ada()).await.unwrap(), vec![]);
}

#[tokio::test]
async fn an_unknown_mailbox_is_not_mistaken_for_the_list_of_all() {
    let (_server, client) = world().await;
    client.execute(&[add_domain(), add_mailbox()], Some(&password())).await.unwrap();
    assert_eq!(client.mailbox(&Address::parse("nobody@other.org").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn a_half_deleted_mailbox_is_neither_there_nor_gone() {
    let (server, client) = world().await;
    client.execute(&[add_domain(), add_mailbox()], Some(&password())).await.unwrap();
    server.edit(|state| state.seed_half_deleted(&ada().to_string()));
    assert!(matches!(client.mailbox(&ada()).await, Err(Error::Refused { code, .. }) if code == "half_deleted"));
}

#[tokio::test]
async fn a_deadlock_is_tried_again_and_an_empty_answer_is_not() {
    let (server, client) = world().await;
    client.execute(&[add_domain()], None).await.unwrap();
    let edit =
        || Change::EditDomain { name: domain(), edit: DomainEdit { active: Some(false), ..DomainEdit::default() } };
    server.fault(Fault::times(2, "edit/domain", Trouble::Deadlock));
    client.execute(&[edit()], None).await.unwrap();
    server.clear_log();
    server.fault(Fault::once("edit/domain", Trouble::Empty { done: false }));
    assert!(matches!(client.execute(&[edit()], None).await, Err(Error::OutcomeUnknown { .. })));
    assert_eq!(server.writes(), 1);
}

#[tokio::test]
async fn after_the_first_401_nothing_is_sent() {
    let server = Simulator::start(Options::default()).await.unwrap();
    let client = client(&server.url(), "WRONG1-WRONG2-WRONG3");
    for _ in 0..5 {
        let error = client.domain(&domain()).await.unwrap_err();
        assert!(matches!(&error, Error::KeyRejected { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("WRONG1"));
    }
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn errors_of_the_connection_name_the_server() {
    let (server, client) = world().await;
    server.fault(Fault::once("get/domain", Trouble::ServerError));
    let error = client.domain(&domain()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains(&server.url()), "{error}");
    server.fault(Fault::once("add/domain", Trouble::Reset));
    let error = client.execute(&[add_domain()], None).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "a write that was cut off may be done: {error}");
    server.set_down(true).await.unwrap();
    let error = client.domain(&domain()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains(&server.url()), "{error}");
}

#[tokio::test]
async fn something_that_is_no_mailcow_is_recognised() {
    let (server, client) = world().await;
    for (status, body) in [(200, "[1,2]"), (200, "<html>hello</html>"), (404, "not found"), (302, "")] {
        server.fault(Fault::once("get/domain", Trouble::Text { status, body: body.to_owned() }));
        let error = client.domain(&domain()).await.unwrap_err();
        assert!(error.is_unreadable(), "{status} {body}: {error}");
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client = client(&url, "K").with_limits(Duration::from_millis(200), Duration::from_millis(200));
    let error = client.domain(&domain()).await.unwrap_err();
    assert!(error.to_string().contains("no answer within") && error.to_string().contains(&url), "{error}");
    assert!(matches!(client.execute(&[add_domain()], None).await, Err(Error::OutcomeUnknown { .. })));
}

#[tokio::test]
async fn no_cookie_is_ever_sent_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(String::new()));
    let heard = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            let read = socket.read(&mut buffer).await.unwrap_or(0);
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            let answer = "HTTP/1.1 200 OK\r\nset-cookie: MCSESSID=open-door; path=/\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    let client = client(&url, "KEY-1");
    client.domain(&domain()).await.unwrap();
    client.domain(&domain()).await.unwrap();
    let seen = seen.lock().unwrap().to_lowercase();
    assert_eq!(seen.matches("x-api-key: key-1").count(), 2);
    assert!(!seen.contains("cookie"), "{seen}");
}

#[tokio::test]
async fn held_back_mail_is_listed_released_and_deleted() {
    let (server, client) = world().await;
    assert_eq!(client.quarantine().await.unwrap(), vec![]);
    let id = server.edit(|state| state.seed_quarantine("a@e.com", "s@ext.example", "Spam <b>&</b>", 22.5));
    let id = u64::try_from(id).unwrap();
    let [mail] = client.quarantine().await.unwrap().try_into().unwrap();
    assert_eq!((mail.id, mail.subject.as_str(), mail.recipient.as_str()), (id, "Spam <b>&</b>", "a@e.com"));
    let error = client.release_quarantined(id).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code, .. } if code == "release_send_failed"), "{error}");
    assert_eq!(client.quarantine().await.unwrap().len(), 1, "what could not be handed over stays");
    let error = client.release_quarantined(999).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { code, .. } if code == "access_denied"), "{error}");
    client.delete_quarantined(id).await.unwrap();
    client.delete_quarantined(id).await.unwrap();
    assert_eq!(client.quarantine().await.unwrap(), vec![]);
}
