//! What Argo CD and Flux do with a folder of manifests, and the manifests that the repository has for them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use mailcow_operator::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};

use crate::world::World;

/// A folder with something of everything: a domain, a mailbox with a generated and one with a given password, aliases,
/// rules for a mailbox and for the domain.
const FOLDER: [(&str, &str, &str); 8] = [
    ("EmailDomain", "example", "domain: example.com"),
    ("EmailMailbox", "ada", "localPart: ada, domainRef: {name: example}"),
    (
        "EmailMailbox",
        "bob",
        "localPart: bob, domainRef: {name: example}, passwordSecretRef: {name: bob, key: password}",
    ),
    ("EmailAlias", "sales", "localPart: sales, domainRef: {name: example}, gotoMailboxRefs: [{name: ada}]"),
    ("EmailAlias", "all", "catchAll: true, domainRef: {name: example}, goto: [bob@example.com]"),
    ("EmailForwardingRule", "one", "mailboxRef: {name: ada}, actions: [{forward: {to: [a@other.org]}}]"),
    ("EmailForwardingRule", "two", "domainRef: {name: example}, actions: [{ignore: {mode: Trash}}]"),
    ("EmailForwardingRule", "idle", "mailboxRef: {name: bob}, enabled: false, actions: [{ignore: {}}]"),
];

/// The labels that a prune selects by.
const LABELS: &str = "labels: {folder: mail}";

fn folder() -> String {
    let object = |(kind, name, spec): &(&str, &str, &str)| {
        format!(
            "apiVersion: email.askrobots.com/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, {LABELS}}}\nspec: {{{spec}}}\n---\n"
        )
    };
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: bob, {LABELS}}}\nstringData: {{password: given-Password-1}}\n"
    );
    FOLDER.iter().map(object).collect::<String>() + &secret
}

/// Applies manifests and deletes what the label selects beside them, as `kubectl apply --prune` does it.
async fn apply_pruning(world: &World, manifests: &str) {
    let mut args = vec!["apply", "-n", &world.namespace, "-f", "-", "-l", "folder=mail", "--prune", "--wait=false"];
    args.push("--prune-allowlist=core/v1/Secret");
    let kinds = ["EmailDomain", "EmailMailbox", "EmailAlias", "EmailForwardingRule"];
    let kinds = kinds.map(|kind| format!("--prune-allowlist=email.askrobots.com/v1alpha1/{kind}"));
    args.extend(kinds.iter().map(String::as_str));
    let output = world.plane.kubectl_with(&args, manifests).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Neither a client's three-way merge nor a dry run of server-side apply finds anything to change.
async fn shows_no_difference(world: &World) {
    for how in [&[][..], &["--server-side", "--field-manager=gitops", "--force-conflicts"]] {
        let args = [&["diff", "-n", &world.namespace, "-f", "-"], how].concat();
        let output = world.plane.kubectl_with(&args, &folder()).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
}

async fn is_ready(world: &World) {
    world.ready::<EmailDomain>("example").await;
    for name in ["ada", "bob"] {
        world.ready::<EmailMailbox>(name).await;
    }
    for name in ["sales", "all"] {
        world.ready::<EmailAlias>(name).await;
    }
    for name in ["one", "two", "idle"] {
        world.ready::<EmailForwardingRule>(name).await;
    }
}

async fn is_gone(world: &World) {
    for (kind, name, _) in FOLDER {
        match kind {
            "EmailDomain" => world.gone::<EmailDomain>(name).await,
            "EmailMailbox" => world.gone::<EmailMailbox>(name).await,
            "EmailAlias" => world.gone::<EmailAlias>(name).await,
            _ => world.gone::<EmailForwardingRule>(name).await,
        }
    }
}

/// What must not be lost.
#[derive(Debug, PartialEq)]
struct Kept {
    domains: Vec<String>,
    /// The address, messages and bytes of each mailbox.
    mailboxes: Vec<(String, i64, i64)>,
    /// How often Ada's password was set; she may have chosen another since.
    password_changes: u32,
    /// The uid and the content of her generated Secret.
    secret: (Option<String>, Option<BTreeMap<String, ByteString>>),
}

async fn kept(world: &World) -> Kept {
    let secret = world.api::<Secret>().get("ada-mailbox").await.unwrap();
    world.mailcow.inspect(|state| Kept {
        domains: state.domains.values().map(|domain| domain.name.clone()).collect(),
        mailboxes: state.mailboxes.values().map(|m| (m.username.clone(), m.messages, m.quota_used)).collect(),
        password_changes: state.mailbox("ada@example.com").unwrap().password_changes,
        secret: (secret.metadata.uid, secret.data),
    })
}

/// What aliases and filters Mailcow has, as a sender meets them.
fn routes(world: &World) -> Vec<String> {
    world.mailcow.inspect(|state| {
        let aliases = state.aliases.values().map(|alias| format!("{} to {}", alias.address, alias.goto));
        let filters = state.filters.values().map(|filter| format!("{} filters {}", filter.username, filter.active));
        let mut all: Vec<String> = aliases.chain(filters).collect();
        all.sort();
        all
    })
}

#[tokio::test]
async fn a_pruned_folder_loses_no_mail_in_any_order_and_comes_back_with_its_passwords() {
    let world = World::new("folder").await;
    apply_pruning(&world, &folder()).await;
    is_ready(&world).await;
    shows_no_difference(&world).await;
    world.mailcow.edit(|state| {
        state.seed_usage("ada@example.com", 17, 4096);
        state.seed_usage("bob@example.com", 5, 1024);
    });
    let (before, mail) = (kept(&world).await, routes(&world));
    assert_eq!((before.mailboxes.len(), mail.len()), (2, 6), "{before:?} {mail:?}");
    let forward: Vec<usize> = (0..FOLDER.len()).collect();
    let backward: Vec<usize> = forward.iter().rev().copied().collect();
    // Nothing says in which order a tool deletes: the domain first, the domain last, all at once.
    for order in [forward, backward, Vec::new()] {
        for index in &order {
            let (kind, name, _) = FOLDER[*index];
            world.kubectl(&["delete", kind, name, "--wait=false"]).await;
        }
        let other = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: other, {LABELS}}}\n");
        apply_pruning(&world, &other).await;
        is_gone(&world).await;
        // Kubernetes counts ages in seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert!(world.api::<Secret>().get_opt("bob").await.unwrap().is_none(), "the given Secret is pruned too");
        assert_eq!(kept(&world).await, before, "{order:?}");
        apply_pruning(&world, &folder()).await;
        is_ready(&world).await;
        assert_eq!(routes(&world), mail, "{order:?}");
        assert_eq!(kept(&world).await, before, "{order:?}");
    }
}

/// A file of the examples for Argo CD and Flux.
fn example(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gitops").join(name)).unwrap()
}

#[tokio::test]
async fn argo_cd_and_flux_take_the_examples() {
    let world = World::without_mailcow("gitops").await;
    let folder = ground::judges().await.unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            world.apply(&std::fs::read_to_string(file).unwrap()).await;
        }
    }
    let kinds = [
        "applications.argoproj.io",
        "kustomizations.kustomize.toolkit.fluxcd.io",
        "gitrepositories.source.toolkit.fluxcd.io",
    ];
    world.plane.established(&kinds.map(ToOwned::to_owned)).await.unwrap();
    for namespace in ["argocd", "flux-system"] {
        world.kubectl(&["create", "namespace", namespace]).await;
    }
    let files = ["argocd-cm.yaml", "argocd-applications.yaml", "flux-gitrepository.yaml", "flux-kustomization.yaml"];
    let try_out = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    for file in files {
        let output = world.plane.kubectl_with(&try_out, &example(file)).await.unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let wrong = example("flux-kustomization.yaml").replace("dependsOn:", "dependOn:");
    let output = world.plane.kubectl_with(&try_out, &wrong).await.unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("dependOn"), "a wrong field is noticed");
    let everything = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gitops")).unwrap();
    assert_eq!(everything.count(), files.len());
}

#[tokio::test]
async fn a_name_prefix_of_kustomize_reaches_the_references() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let folder = ground::Folder::new("kustomize", false).unwrap();
    let files =
        ["01-domain.yaml", "02-mailboxes.yaml", "03-aliases.yaml", "04-rules.yaml", "kustomize/namereference.yaml"];
    for file in files {
        let name = Path::new(file).file_name().unwrap();
        std::fs::copy(root.join(file), folder.path().join(name)).unwrap();
    }
    let kustomization = "namePrefix: team-\nconfigurations: [namereference.yaml]\nresources: [01-domain.yaml, 02-mailboxes.yaml, 03-aliases.yaml, 04-rules.yaml]\n";
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization).unwrap();
    let world = World::new("prefix").await;
    let built = world.kubectl(&["kustomize", &folder.path().display().to_string()]).await;
    assert!(built.contains("name: team-support-password"), "{built}");
    world.apply(&built).await;
    world.ready::<EmailMailbox>("team-ada").await;
    world.ready::<EmailMailbox>("team-support").await;
    for alias in world.api::<EmailAlias>().list(&kube::api::ListParams::default()).await.unwrap() {
        world.ready::<EmailAlias>(&kube::ResourceExt::name_any(&alias)).await;
    }
}
