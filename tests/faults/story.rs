//! What people do with mail objects: each story is a series of steps, with a rest after each at which everything is as
//! asked. Where a step has only one end whatever goes wrong before it, nothing but the rests has to be said.

use std::time::Duration;

use futures::future::BoxFuture;
use mailcow_simulator::{FilterKind, State};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::json;

use crate::world::World;

/// What happens, and where.
#[derive(Clone, Copy)]
pub(crate) struct Story {
    pub(crate) name: &'static str,
    /// How many namespaces it needs; `{0}`, `{1}` in texts.
    pub(crate) namespaces: usize,
    /// How many Mailcow servers: `default`, `second`.
    pub(crate) servers: usize,
    /// Whether the operator looks at every namespace; such stories run one at a time, on a control plane of their own.
    pub(crate) everywhere: bool,
    /// Whether things are changed by hand on Mailcow, which only the operator's own looking finds.
    pub(crate) by_hand: bool,
    /// What each server holds before.
    pub(crate) seed: fn(usize, &mut State),
    pub(crate) run: for<'a> fn(&'a World) -> BoxFuture<'a, ()>,
    /// What an accomplice does in the operator's name, in the story that tests the oracles.
    pub(crate) accomplice: Option<for<'a> fn(&'a World) -> BoxFuture<'a, ()>>,
}

macro_rules! story {
    ($function:ident, $namespaces:literal, $servers:literal, $seed:expr) => {
        story!($function, $namespaces, $servers, $seed, false)
    };
    ($function:ident, $namespaces:literal, $servers:literal, $seed:expr, $everywhere:literal) => {
        Story {
            name: stringify!($function),
            namespaces: $namespaces,
            servers: $servers,
            everywhere: $everywhere,
            by_hand: matches!(stringify!($function).as_bytes(), b"drift"),
            seed: $seed,
            run: |world| Box::pin($function(world)),
            accomplice: None,
        }
    };
}

/// The story that tests the oracles: nothing happens but what an accomplice does.
pub(crate) const CALM: Story = story!(calm, 1, 1, strangers);

/// Places for changes that no story tells.
pub(crate) const MUTATION: Story = story!(untold, 1, 1, nothing);
pub(crate) const CHURN: Story = MUTATION;

/// All stories.
pub(crate) const STORIES: [Story; 12] = [
    story!(everything, 1, 1, strangers),
    story!(orders, 1, 1, strangers),
    story!(passwords, 1, 1, nothing),
    story!(rules, 1, 1, nothing),
    story!(tenants, 2, 1, nothing),
    story!(servers, 1, 2, nothing),
    story!(adoption, 1, 1, legacy),
    story!(drift, 1, 1, nothing),
    story!(restore, 1, 1, strangers),
    story!(moved, 2, 1, nothing),
    story!(owners, 1, 1, nothing),
    story!(provisioning, 3, 1, nothing, true),
];

/// The story of that name.
pub(crate) fn named(name: &str) -> Option<Story> {
    STORIES.into_iter().chain([CALM]).find(|story| story.name == name)
}

fn nothing(_: usize, _: &mut State) {}

/// Things of people who don't use the operator.
fn strangers(_: usize, state: &mut State) {
    state.seed_domain("stranger.example");
    state.seed_mailbox("zoe@stranger.example");
    state.seed_alias("info@stranger.example", "zoe@stranger.example");
    own_things(state, "zoe@stranger.example");
}

/// What a person made in a mailbox, which is nobody else's business.
fn own_things(state: &mut State, address: &str) {
    state.seed_filter(address, FilterKind::Before, false);
    state.seed_filter(address, FilterKind::After, true);
    state.seed_app_password(address, "phone");
}

/// A Mailcow that was run by hand, and some of it by an operator of another cluster.
fn legacy(server: usize, state: &mut State) {
    strangers(server, state);
    state.seed_domain("example.com");
    for name in ["ada", "bob", "carol", "dave"] {
        state.seed_mailbox(&format!("{name}@example.com"));
        state.seed_usage(&format!("{name}@example.com"), 3, 4096);
        own_things(state, &format!("{name}@example.com"));
    }
    let alias = state.seed_alias("sales@example.com", "ada@example.com");
    state.seed_alias("office@example.com", "bob@example.com");
    if let Some(alias) = state.aliases.get_mut(&alias) {
        alias.public_comment = Some("made by hand".to_owned());
    }
    if let Some(carol) = state.mailbox_mut("carol@example.com") {
        let mark = "mailcow-operator/elsewhere/mail/carol/7d0a2f0e-58a4-4f6e-9a6b-0d1d3f1f9d11";
        carol.custom_attributes = vec![("managed-by".to_owned(), mark.into())];
    }
}

/// A manifest of one of our kinds.
pub(crate) fn email(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: email.askrobots.com/v1alpha1\nkind: Email{kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"
    )
}

fn domain(more: &str) -> String {
    email("Domain", "example", &format!("domain: example.com{more}"))
}

fn mailbox(name: &str, more: &str) -> String {
    email("Mailbox", name, &format!("localPart: {name}, domainRef: {{name: example}}{more}"))
}

fn alias(name: &str, more: &str) -> String {
    email("Alias", name, &format!("localPart: {name}, domainRef: {{name: example}}, {more}"))
}

fn rule(name: &str, mailbox: &str, more: &str) -> String {
    email("ForwardingRule", name, &format!("mailboxRef: {{name: {mailbox}}}, {more}"))
}

/// A bit of each kind.
fn small() -> String {
    [
        domain(""),
        mailbox("ada", ", displayName: Ada"),
        alias("sales", "gotoMailboxRefs: [{name: ada}]"),
        rule("copy", "ada", "actions: [{forward: {to: [x@other.example]}}]"),
    ]
    .concat()
}

async fn untold(_: &World) {}

/// One of each kind, and nothing more.
async fn calm(world: &World) {
    world.apply(0, &small()).await;
    world.rest().await;
    if let Some(act) = world.accomplice {
        act(world).await;
    }
    world.rest().await;
}

/// All kinds with all policies: made, changed in every field, deleted.
async fn everything(world: &World) {
    let made = [
        domain(
            ", description: One, limits: {mailboxes: 10, aliases: 50, mailboxQuota: 5Gi, totalQuota: 50Gi}, mailboxDefaults: {quota: 1Gi}, rateLimit: {messages: 100, per: Hour}, tags: [one], dkim: {selector: s1}",
        ),
        mailbox(
            "ada",
            ", displayName: Ada, quota: 2Gi, protocols: [IMAP, SMTP], tags: [vip], rateLimit: {messages: 5, per: Minute}, tls: {enforceIncoming: true}",
        ),
        mailbox("bob", ", deletionPolicy: Delete"),
        mailbox("carol", ", deletionPolicy: Deactivate"),
        alias("sales", "gotoMailboxRefs: [{name: ada}, {name: bob}]"),
        alias("info", "goto: [away@other.example], deletionPolicy: Retain, publicComment: hello"),
        email("Alias", "all", "catchAll: true, domainRef: {name: example}, sink: Discard"),
        rule("copy", "ada", "priority: 10, actions: [{forward: {to: [x@other.example]}}]"),
        rule("task", "bob", "priority: 20, actions: [{createTask: {sink: tracker}}]"),
        email(
            "ForwardingRule",
            "archive",
            "domainRef: {name: example}, priority: 5, onMatch: Continue, actions: [{forward: {to: [archive@store.example]}}]",
        ),
    ];
    world.apply(0, &made.concat()).await;
    world.rest().await;
    let changed = [
        domain(
            ", description: Two, limits: {mailboxes: 12, aliases: 60, mailboxQuota: 6Gi, totalQuota: 60Gi}, mailboxDefaults: {quota: 2Gi}, rateLimit: {messages: 200, per: Hour}, tags: [two], globalAddressList: false, dkim: {selector: s1}",
        ),
        mailbox(
            "ada",
            ", displayName: Ada Lovelace, quota: 3Gi, protocols: [IMAP, SMTP, Sieve], tags: [vip, new], rateLimit: {messages: 6, per: Hour}, tls: {enforceIncoming: false}, senderAcl: ['info@example.com'], state: LoginDisabled",
        ),
        alias("sales", "gotoMailboxRefs: [{name: bob}], active: false"),
        alias("info", "goto: [away@other.example, far@other.example], deletionPolicy: Retain, publicComment: bye"),
        rule("copy", "ada", "priority: 10, actions: [{forward: {to: [y@other.example], keepCopy: false}}]"),
        rule("task", "bob", "priority: 20, enabled: false, actions: [{createTask: {sink: tracker}}]"),
    ];
    world.apply(0, &changed.concat()).await;
    world.rest().await;
    world.delete(0, &["EmailForwardingRule/copy", "EmailAlias/info", "EmailMailbox/bob", "EmailMailbox/carol"]).await;
    world.rest().await;
    world
        .delete(0, &["EmailDomain/example", "EmailForwardingRule/archive", "EmailMailbox/ada", "EmailAlias/sales"])
        .await;
    world.rest().await;
}

/// These in an order that follows from the seed.
fn shuffled<T>(mut things: Vec<T>, rng: &mut StdRng) -> Vec<T> {
    things.shuffle(rng);
    things
}

/// Applied and deleted in any order, with the domain as the last thing, as the first, and in between.
async fn orders(world: &World) {
    let rng = &mut StdRng::seed_from_u64(world.seed);
    let delete = ", deletionPolicy: Delete";
    let made = vec![
        rule("copy", "ada", "actions: [{forward: {to: [x@other.example]}}]"),
        alias("sales", "gotoMailboxRefs: [{name: ada}]"),
        mailbox("ada", delete),
        mailbox("bob", delete),
    ];
    world.apply(0, &shuffled(made, rng).concat()).await;
    world.rest().await;
    world.apply(0, &domain(delete)).await;
    world.rest().await;
    world.delete(0, &["EmailDomain/example"]).await;
    world.rest().await;
    let rest = vec!["EmailMailbox/bob", "EmailAlias/sales", "EmailMailbox/ada", "EmailForwardingRule/copy"];
    world.delete(0, &shuffled(rest, rng)).await;
    world.rest().await;
    // And again, with ada made anew while sales refers to her.
    let made = vec![
        alias("sales", "gotoMailboxRefs: [{name: ada}, {name: bob}]"),
        domain(delete),
        mailbox("ada", delete),
        mailbox("bob", delete),
    ];
    world.apply(0, &shuffled(made, rng).concat()).await;
    world.rest().await;
    world.delete(0, &["EmailMailbox/ada"]).await;
    world.gone("EmailMailbox", 0, "ada").await;
    world.apply(0, &mailbox("ada", delete)).await;
    world.rest().await;
    let all = vec!["EmailDomain/example", "EmailAlias/sales", "EmailMailbox/ada", "EmailMailbox/bob"];
    world.delete(0, &shuffled(all, rng)).await;
    world.rest().await;
}

fn secret(name: &str, password: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: {password}}}\n---\n")
}

/// Passwords: generated, given, given later, changed, with a Secret deleted.
async fn passwords(world: &World) {
    let made = [
        domain(""),
        mailbox("ada", ""),
        secret("bob-mail", "First-Password-1"),
        mailbox("bob", ", passwordSecretRef: {name: bob-mail}"),
        mailbox("carol", ", passwordSecretRef: {name: later}"),
    ];
    world.apply(0, &made.concat()).await;
    world.rest().await;
    world.apply(0, &[secret("later", "Late-Password-1"), secret("bob-mail", "Second-Password-2")].concat()).await;
    world.rest().await;
    world.apply(0, &secret("ada-mailbox", "By-Hand-3")).await;
    world.rest().await;
    world.delete(0, &["Secret/later"]).await;
    world.rest().await;
}

/// Rules of a mailbox and of a domain, with sinks, shadows and loops; made, changed, deleted one by one.
async fn rules(world: &World) {
    let forward = |to: &str| format!("actions: [{{forward: {{to: [{to}]}}}}]");
    let of_domain =
        |name: &str, more: &str| email("ForwardingRule", name, &format!("domainRef: {{name: example}}, {more}"));
    let made = [
        domain(""),
        mailbox("ada", ""),
        mailbox("bob", ""),
        rule(
            "one",
            "ada",
            &format!(
                "priority: 1, match: {{all: [{{field: Subject, operator: Contains, values: [one]}}]}}, {}",
                forward("one@other.example")
            ),
        ),
        rule("two", "ada", &format!("priority: 2, {}", forward("two@other.example"))),
        rule("three", "ada", "priority: 3, actions: [{createTask: {sink: desk}}]"),
        rule("lost", "nobody", &forward("lost@other.example")),
        rule("nowhere", "bob", "priority: 4, actions: [{createNote: {sink: unknown}}]"),
        of_domain("archive", &format!("priority: 0, onMatch: Continue, {}", forward("archive@store.example"))),
        rule("loop", "bob", &format!("priority: 9, {}", forward("bob@example.com"))),
    ];
    world.apply(0, &made.concat()).await;
    world.rest().await;
    world.apply(0, &rule("two", "ada", &format!("priority: 2, {}", forward("deux@other.example")))).await;
    world.delete(0, &["EmailForwardingRule/one"]).await;
    world.rest().await;
    world.delete(0, &["EmailForwardingRule/two", "EmailForwardingRule/three", "EmailForwardingRule/archive"]).await;
    world.rest().await;
    // The only rule of a mailbox, deleted at once.
    world.apply(0, &rule("short", "bob", &format!("priority: 1, {}", forward("short@other.example")))).await;
    world.delete(0, &["EmailForwardingRule/short"]).await;
    world.rest().await;
    // A domain's rule deleted after its EmailDomain.
    world.apply(0, &of_domain("all", &format!("priority: 0, {}", forward("all@store.example")))).await;
    world.rest().await;
    world.delete(0, &["EmailDomain/example"]).await;
    world.gone("EmailDomain", 0, "example").await;
    world.delete(0, &["EmailForwardingRule/all"]).await;
    world.rest().await;
}

/// A platform's domain and its guests; two who want the same; a permission that is taken back.
async fn tenants(world: &World) {
    let guest = |kind: &str, name: &str, spec: &str| {
        email(kind, name, &format!("domainRef: {{name: example, namespace: '{{0}}'}}, {spec}"))
    };
    world.apply(0, &[domain(", allowedNamespaces: {from: All}"), mailbox("ada", "")].concat()).await;
    world.rest().await;
    let made = [
        guest("Mailbox", "bob", "localPart: bob"),
        guest("Mailbox", "ada", "localPart: ada"),
        guest("Alias", "info", "localPart: info, gotoMailboxRefs: [{name: bob}]"),
        rule("copy", "bob", "actions: [{forward: {to: [x@other.example]}}]"),
        email("Domain", "rival", "domain: example.com, adoptionPolicy: Force"),
    ];
    world.apply(1, &made.concat()).await;
    world.rest().await;
    world.apply(0, &domain("")).await;
    world.rest().await;
    world.delete(1, &["EmailForwardingRule/copy", "EmailMailbox/ada"]).await;
    world.rest().await;
    world.apply(0, &domain(", allowedNamespaces: {from: All}")).await;
    world.rest().await;
    world.delete(1, &["EmailAlias/info", "EmailMailbox/bob", "EmailDomain/rival"]).await;
    world.rest().await;
}

/// Two servers, with one domain on each, and a third that does not exist.
async fn servers(world: &World) {
    let on = |name: &str, server: &str| {
        email("Domain", name, &format!("domain: {name}.example, server: {server}, deletionPolicy: Delete"))
    };
    let of = |name: &str, domain: &str| {
        email("Mailbox", name, &format!("localPart: {name}, domainRef: {{name: {domain}}}, deletionPolicy: Delete"))
    };
    let made = [
        on("one", "default"),
        on("two", "second"),
        on("three", "third"),
        of("ada", "one"),
        of("bob", "two"),
        of("carol", "three"),
        email("Alias", "info", "localPart: info, domainRef: {name: two}, gotoMailboxRefs: [{name: bob}]"),
        rule("copy", "bob", "actions: [{forward: {to: [ada@one.example]}}]"),
    ];
    world.apply(0, &made.concat()).await;
    world.rest().await;
    world.refused(0, "EmailDomain/one", json!({"server": "second"})).await;
    world.rest().await;
    world.delete(0, &["EmailMailbox/ada", "EmailForwardingRule/copy", "EmailMailbox/carol", "EmailDomain/three"]).await;
    world.rest().await;
    world.delete(0, &["EmailDomain/one", "EmailAlias/info"]).await;
    world.rest().await;
}

/// A Mailcow that was run by hand is taken over and let go.
async fn adoption(world: &World) {
    let made = [
        domain(", description: Taken over"),
        mailbox("ada", ", displayName: Ada"),
        mailbox("bob", ", adoptionPolicy: Never, displayName: Bob"),
        mailbox("carol", ", displayName: Carol"),
        mailbox("dave", ", adoptionPolicy: Force, deletionPolicy: Delete"),
        alias("sales", "goto: [ada@example.com, bob@example.com], deletionPolicy: Retain"),
        alias("office", "goto: [ada@example.com], adoptionPolicy: Never"),
        rule("copy", "ada", "actions: [{forward: {to: [x@other.example]}}]"),
    ];
    world.apply(0, &made.concat()).await;
    world.rest().await;
    world
        .apply(
            0,
            &[
                mailbox("carol", ", displayName: Carol, adoptionPolicy: Force"),
                alias("office", "goto: [ada@example.com]"),
            ]
            .concat(),
        )
        .await;
    world.rest().await;
    world
        .delete(
            0,
            &["EmailMailbox/ada", "EmailMailbox/bob", "EmailMailbox/dave", "EmailAlias/sales", "EmailAlias/office"],
        )
        .await;
    world.rest().await;
}

/// Changes by hand on Mailcow, under both policies.
async fn drift(world: &World) {
    world.apply(0, &[small(), mailbox("bob", ", driftPolicy: Report, displayName: Bob")].concat()).await;
    world.rest().await;
    world.by_hand(0, |state| {
        for address in ["ada@example.com", "bob@example.com"] {
            if let Some(mailbox) = state.mailbox_mut(address) {
                "by hand".clone_into(&mut mailbox.name);
            }
            own_things(state, address);
        }
        if let Some(domain) = state.domain_mut("example.com") {
            domain.active = 0;
        }
    });
    world.rest().await;
    world.by_hand(0, |state| {
        if let Some(alias) = state.aliases.values_mut().find(|alias| alias.address == "sales@example.com") {
            "ada@example.com,thief@other.example".clone_into(&mut alias.goto);
        }
        for filter in state.filters.values_mut().filter(|filter| filter.kind == FilterKind::Before) {
            filter.active = false;
        }
    });
    world.rest().await;
}

/// Backup by `get -o yaml` and restore by `apply`; `replace --force`; then everything is deleted for good.
async fn restore(world: &World) {
    world.apply(0, &small()).await;
    world.rest().await;
    let backup = world.kubectl(0, &["get", "email", "-o", "yaml"], "").await;
    world.kubectl(0, &["delete", "email", "--all", KUBECTL_WAITS], "").await;
    world.rest().await;
    world.kubectl(0, &["apply", "-f", "-"], &backup).await;
    world.rest().await;
    let mailbox = world.kubectl(0, &["get", "embx", "ada", "-o", "yaml"], "").await;
    world.kubectl(0, &["replace", "--force", KUBECTL_WAITS, "-f", "-"], &mailbox).await;
    world.rest().await;
    world.kubectl(0, &["delete", "email", "--all", "--wait=false"], "").await;
    world.rest().await;
}

/// Everything moves to another namespace, and the old one is deleted and made again.
async fn moved(world: &World) {
    world.apply(0, &small()).await;
    world.rest().await;
    let backup = world.kubectl(0, &["get", "email", "-o", "yaml"], "").await;
    world.kubectl(0, &["delete", "email", "--all", KUBECTL_WAITS], "").await;
    let (old, new) = (world.namespaces[0].clone(), world.namespaces[1].clone());
    world.kubectl(1, &["apply", "-f", "-"], &backup.replace(&old, &new)).await;
    world.rest().await;
    world.kubectl(1, &["delete", "namespace", &new, KUBECTL_WAITS], "").await;
    world.kubectl(0, &["create", "namespace", &new], "").await;
    world.kubectl(1, &["apply", "-f", "-"], &backup.replace(&old, &new)).await;
    world.rest().await;
}

/// Several owners of one object: kubectl apply, server-side apply, an edit, Helm, kustomize, and two of them at once.
async fn owners(world: &World) {
    world.kubectl(0, &["apply", "-f", "-"], &small()).await;
    world.rest().await;
    let finalizer = "apiVersion: email.askrobots.com/v1alpha1\nkind: EmailMailbox\nmetadata: {name: ada, finalizers: [email.askrobots.com/mailcow]}\nspec: {localPart: ada, domainRef: {name: example}, displayName: Ada}\n";
    let owned = |text: &str| text.replace("displayName: Ada", "displayName: Ada Two");
    world
        .kubectl(
            0,
            &["apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller", "-f", "-"],
            &owned(finalizer),
        )
        .await;
    world.rest().await;
    // Two controllers, each with a manifest of its own: at the same time, and in the end one after the other.
    for round in 0..3 {
        let text = format!("displayName: Round {round}");
        let one = finalizer.replace("displayName: Ada", &text);
        let other = mailbox("ada", ", displayName: Ada Three");
        let flux = ["apply", "--server-side", "--force-conflicts", "--field-manager=flux", "-f", "-"];
        let first = world.kubectl(0, &flux, &one);
        let second = world.kubectl(0, &["apply", "-f", "-"], &other);
        if round < 2 {
            futures::join!(first, second);
        } else {
            first.await;
            second.await;
        }
    }
    world.helm(0, "gitops", &[("templates/mail.yaml", &mailbox("bob", ", displayName: Helm"))]).await;
    let kustomization = "resources: [mail.yaml]\ncommonLabels: {team: mail}\n";
    world
        .kustomize(
            0,
            &[("kustomization.yaml", kustomization), ("mail.yaml", &mailbox("carol", ", displayName: Kustomize"))],
        )
        .await;
    world.rest().await;
    world
        .kubectl(
            0,
            &["patch", "embx", "ada", "--type=json", "-p", r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#],
            "",
        )
        .await;
    world.rest().await;
    world.kubectl(0, &["delete", "email", "--all", "--wait=false"], "").await;
    world.rest().await;
}

/// Mailboxes that a domain makes for namespaces that pay.
async fn provisioning(world: &World) {
    let spec = "domain: shared.example, limits: {mailboxes: 50, totalQuota: 50Gi}, autoProvision: {namespaceSelector: {matchLabels: {plan: paid}}}";
    world.apply(0, &email("Domain", "shared", spec)).await;
    for (n, name) in [(1, "ada"), (2, "bob")] {
        let namespace = world.namespaces[n].clone();
        world
            .kubectl(n, &["annotate", "namespace", &namespace, &format!("email.askrobots.com/username={name}")], "")
            .await;
        world.kubectl(n, &["label", "--overwrite", "namespace", &namespace, "plan=paid"], "").await;
    }
    world.rest().await;
    let second = world.namespaces[2].clone();
    world.kubectl(2, &["label", "--overwrite", "namespace", &second, "plan=free"], "").await;
    world.rest().await;
    world.kubectl(2, &["label", "--overwrite", "namespace", &second, "plan=paid"], "").await;
    world.kubectl(1, &["delete", "embx", "--all", "--wait=false"], "").await;
    world.rest().await;
    world.delete(0, &["EmailDomain/shared"]).await;
    world.rest().await;
}

/// Long enough for anything that was asked for.
pub(crate) const LONG: Duration = Duration::from_secs(50);
/// The same for kubectl, which has no other clock than the one on the wall: what it gives up is not done later.
const KUBECTL_WAITS: &str = "--timeout=300s";
