//! What triggers which object: changes of other objects, of Mailcow, of Secrets, and time.

pub(crate) mod changes;
pub(crate) mod room;
pub(crate) mod secrets;
pub(crate) mod settle;
pub(crate) mod unfinished;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio_util::task::AbortOnDropHandle;

use crate::controller::driver::addresses::{Addressed, reported, wanted};
use crate::controller::driver::context::Context;
use crate::controller::driver::index::{Key, is_left_out};
use crate::controller::driver::queue::Triggers;
use crate::controller::driver::refers::{Names, Refers, domain_of};
use crate::controller::mailbox::senders;
use crate::controller::rules::{links, scope};
use crate::controller::triggers::changes::in_batches;
use crate::controller::triggers::settle::{Delay, settled};
use crate::controller::triggers::unfinished::Unfinished;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::desired;
use crate::inventory::Moved;
use crate::kubernetes::object::Object;
use crate::kubernetes::store::{IndexKey, IndexKeys, Store, Stored};
use crate::kubernetes::stores::Watched;
use crate::mail::DomainName;
use crate::status::Conditioned;

/// When forwarding loops are checked.
const RELINK: Delay = Delay { quiet: Duration::from_millis(100), most: Duration::from_millis(500) };
/// When a domain counts its objects. Each count is a read of Mailcow and a write of the status, so it waits for objects
/// that were not reconciled yet.
const RECOUNT: Delay = Delay { quiet: Duration::from_secs(1), most: Duration::from_mins(1) };
/// The same for a domain that waits with its deletion until it is empty.
const RECOUNT_FOR_DELETION: Delay = Delay { quiet: Duration::from_millis(100), most: Duration::from_secs(1) };

/// Triggers of domains: they count their objects, and wait for rivals to be deleted.
pub(crate) fn of_domains(ctx: &Arc<Context>) -> Vec<Triggers<EmailDomain>> {
    let domains = &ctx.stores.domains;
    let mailboxes = attached(&ctx.stores.mailboxes);
    let aliases = attached(&ctx.stores.aliases);
    let of_rule = ctx.stores.mailboxes.store();
    let rules = ctx
        .stores
        .rules
        .subscribe(move |change| domain_of_rule(change.changed_since_start(changes::for_links)?, &of_rule));
    let moved = changed_on_mailcow(
        ctx,
        domains,
        |moved| moved.domains.iter().map(|name| Key::DomainName(name)).collect(),
        |moved, domain| {
            domain
                .status
                .as_ref()
                .and_then(|status| status.domain.as_ref())
                .is_some_and(|name| moved.domains.contains(name))
        },
    );
    let name = |domain: &EmailDomain| desired::domain_name(&domain.spec).ok();
    let is_rival = |names: &HashSet<DomainName>, domain: &EmailDomain| {
        desired::domain_name(&domain.spec).is_ok_and(|name| names.contains(&name))
    };
    let key = |name: &DomainName| vec![Key::DomainName(name.as_str()).into()];
    let rivals = all_matching(domains, changes::domain_for_rivals, domains.store(), name, key, is_rival);
    let provisioned = ctx.provisioned.subscribe().boxed();
    let of_count = domains.store();
    let delay = move |domain: &ObjectRef<EmailDomain>| match of_count.get(domain) {
        Some(domain) if domain.metadata.deletion_timestamp.is_some() => RECOUNT_FOR_DELETION,
        Some(_) | None => RECOUNT,
    };
    let mut unfinished = Unfinished::of(ctx.stores.mailboxes.clone(), ctx.stores.aliases.clone());
    let recounts =
        settled(stream::select(stream::select(mailboxes, aliases), rules), delay, move |domain| unfinished.has(domain));
    [recounts, moved, rivals, provisioned].into_iter().chain(of_namespaces(ctx, domains)).collect()
}

/// The domains of objects that become ready, are no longer ready, or are deleted.
fn attached<K>(watched: &Watched<K>) -> impl Stream<Item = ObjectRef<EmailDomain>> + Send + use<K>
where
    K: Object + Refers + 'static,
{
    let ready = |object: &K| changes::ready(object.status().map(Conditioned::conditions).unwrap_or_default());
    watched.subscribe(move |change| domain_of(change.changed_since_start(ready)?.as_ref()))
}

/// The domain that counts a rule: its own, or that of its mailbox.
fn domain_of_rule(rule: &EmailForwardingRule, mailboxes: &Store<EmailMailbox>) -> Option<ObjectRef<EmailDomain>> {
    let of_mailbox = || {
        let reference = rule.spec.mailbox_ref.as_ref()?;
        domain_of(mailboxes.get(&ObjectRef::new(&reference.name).within(&rule.namespace()?))?.as_ref())
    };
    domain_of(rule).or_else(of_mailbox)
}

/// The objects of a namespace whose labels or annotations changed.
fn of_namespaces<K: Object + 'static>(ctx: &Context, store: &Store<K>) -> Option<Triggers<K>> {
    let namespaces = ctx.stores.namespaces.as_ref()?;
    let name = |namespace: &PartialObjectMeta<Namespace>| namespace.metadata.name.clone();
    let is_in = |names: &HashSet<String>, object: &K| object.namespace().is_some_and(|of| names.contains(&of));
    let key = |name: &String| vec![Key::Namespace(name).into()];
    Some(all_matching(namespaces, changes::namespace, store.clone(), name, key, is_in))
}

/// An object's namespace and name.
fn name_of(object: &impl ResourceExt) -> Option<(String, String)> {
    Some((object.namespace()?, object.name_any()))
}

/// The objects whose entries were changed on Mailcow.
fn changed_on_mailcow<K: Object + 'static>(
    ctx: &Context,
    store: &Store<K>,
    keys: fn(&Moved) -> IndexKeys,
    is_about: fn(&Moved, &K) -> bool,
) -> Triggers<K> {
    let store = store.clone();
    let concerned = move |changes: Vec<Arc<Moved>>| {
        let mut moved = Moved::default();
        moved.extend(changes);
        references_of(store.by_keys(keys(&moved), |object| is_about(&moved, object)))
    };
    in_batches(ctx.mailcow_changes.subscribe(), concerned)
}

/// The keys of the mailboxes and aliases whose entries were changed on Mailcow.
fn moved_keys(moved: &Moved) -> IndexKeys {
    let addresses = moved.mailboxes.iter().chain(&moved.aliases).map(|address| Key::Address(address));
    addresses.chain(moved.made.iter().map(|domain| Key::DomainName(domain))).collect()
}

/// Triggers of domains with automatic mailboxes: namespaces, and objects that use names in the domain.
pub(crate) fn of_provisioning(ctx: &Arc<Context>) -> Vec<Triggers<EmailDomain>> {
    let domains = &ctx.stores.domains;
    let namespaces = ctx.stores.namespaces.as_ref().map(|namespaces| {
        let provides = |_: &Vec<()>, domain: &EmailDomain| domain.spec.auto_provision.is_some();
        let key = |(): &()| vec![Key::Provisions.into()];
        all_matching(namespaces, changes::namespace_for_provision, domains.store(), |_| Some(()), key, provides)
    });
    let mailboxes = &ctx.stores.mailboxes;
    let mailboxes =
        all_matching(mailboxes, changes::mailbox_for_provision, domains.store(), home_of, domain_keys, makes_in);
    let aliases = all_matching(&ctx.stores.aliases, changes::own, domains.store(), home_of, domain_keys, makes_in);
    [mailboxes, aliases].into_iter().chain(namespaces).collect()
}

/// Namespace and name of the domain that an object belongs to.
fn home_of(object: &impl Refers) -> Option<(String, String)> {
    let domain = object.domain()?;
    let own = object.meta().namespace.as_deref()?;
    Some((domain.namespace_from(own).to_owned(), domain.name.clone()))
}

/// Whether it is a domain with automatic mailboxes, and one of the named ones.
fn makes_in(names: &Names, domain: &EmailDomain) -> bool {
    let name = domain.metadata.name.as_deref().unwrap_or_default();
    domain.spec.auto_provision.is_some() && names.contains(domain.metadata.namespace.as_deref(), name)
}

/// Triggers of mailboxes: their domain and its defaults, and the Secrets with their passwords.
pub(crate) fn of_mailboxes(ctx: &Arc<Context>) -> Vec<Triggers<EmailMailbox>> {
    let mailboxes = &ctx.stores.mailboxes;
    let secrets = secrets::changed(&ctx.secret_versions, mailboxes.store());
    let moved = changed_on_mailcow(ctx, mailboxes, moved_keys, |moved, mailbox| {
        let senders = || mailbox.spec.sender_acl.iter().flatten().map(|entry| entry.to_lowercase());
        mailbox_moved(moved, mailbox)
            || senders().any(|it| moved.aliases.contains(&it) || moved.mailboxes.contains(&it))
    });
    let senders = ctx.senders.subscribe().boxed();
    let freed = of_freed_addresses(ctx, mailboxes);
    let neighbours = of_neighbours(ctx, mailboxes, is_named_or_base);
    [of_their_domains(ctx, mailboxes), secrets, moved, senders, sender_domains(ctx)]
        .into_iter()
        .chain(neighbours)
        .chain(freed)
        .chain(of_namespaces(ctx, mailboxes))
        .collect()
}

/// The mailboxes that may send in the name of a domain of their namespace that was added, was removed, or changed its
/// owner.
fn sender_domains(ctx: &Arc<Context>) -> Triggers<EmailMailbox> {
    let namespace = |domain: &EmailDomain| domain.namespace();
    let may_name = |namespaces: &HashSet<String>, mailbox: &EmailMailbox| {
        !senders::named(mailbox).is_empty() && mailbox.namespace().is_some_and(|own| namespaces.contains(&own))
    };
    let key = |namespace: &String| vec![Key::Sends(namespace).into()];
    let mailboxes = ctx.stores.mailboxes.store();
    all_matching(&ctx.stores.domains, changes::domain_for_senders, mailboxes, namespace, key, may_name)
}

/// Namespace and address of mailboxes and aliases that were added or removed.
type Neighbours = HashSet<(String, String)>;

/// The objects that depend on the address of a mailbox or an alias of their namespace.
fn of_neighbours<K: Object + 'static>(
    ctx: &Context,
    store: &Store<K>,
    matters: fn(&Neighbours, &K) -> bool,
) -> [Triggers<K>; 2] {
    let of_mailbox = |mailbox: &EmailMailbox| Some((mailbox.namespace()?, mailbox.status.as_ref()?.address.clone()?));
    let of_alias = |alias: &EmailAlias| Some((alias.namespace()?, alias.status.as_ref()?.address.clone()?));
    let (mailboxes, aliases) = (&ctx.stores.mailboxes, &ctx.stores.aliases);
    [
        all_matching(mailboxes, changes::mailbox_for_neighbours, store.clone(), of_mailbox, neighbour_keys, matters),
        all_matching(aliases, changes::alias_for_neighbours, store.clone(), of_alias, neighbour_keys, matters),
    ]
}

/// The keys of the objects that depend on an address.
fn neighbour_keys((_, address): &(String, String)) -> Vec<IndexKey> {
    let local = address.split_once('@').map(|(local, _)| Key::Base(local));
    local.into_iter().chain([Key::Address(address)]).map(IndexKey::from).collect()
}

/// Whether the mailbox sends as one of these addresses, or its own address is a subaddress of one.
fn is_named_or_base(changed: &Neighbours, mailbox: &EmailMailbox) -> bool {
    let Some(own) = mailbox.namespace() else { return false };
    let names = |address: String| changed.contains(&(own.clone(), address));
    is_subaddress_of(changed, mailbox) || senders::named(mailbox).into_iter().any(names)
}

/// Whether the object's address is a subaddress of one of these in its namespace.
fn is_subaddress_of<K: Addressed>(changed: &Neighbours, object: &K) -> bool {
    let base = object.local_part().and_then(|local| local.split_once('+')).map(|(base, _)| base.to_lowercase());
    let (Some(base), Some(own)) = (base, object.meta().namespace.as_deref()) else { return false };
    changed
        .iter()
        .any(|(namespace, address)| namespace == own && address.split_once('@').is_some_and(|(local, _)| local == base))
}

/// The objects that want the address of a deleted mailbox or alias.
fn of_freed_addresses<K: Addressed + 'static>(ctx: &Context, store: &Store<K>) -> [Triggers<K>; 2] {
    [freed(&ctx.stores.mailboxes, store.clone()), freed(&ctx.stores.aliases, store.clone())]
}

fn freed<K: Addressed + 'static, O: Addressed + 'static>(watched: &Watched<O>, store: Store<K>) -> Triggers<K> {
    let deleted = watched.subscribe(|change| {
        let object = change.deleted()?.as_ref();
        let keys = [wanted(object).map(Key::Wanted), object.address().map(Key::Address)];
        let keys: Vec<IndexKey> = keys.into_iter().flatten().map(IndexKey::from).collect();
        Some((keys, [wanted(object), reported(object)]))
    });
    let waiting = move |freed: Vec<(Vec<IndexKey>, [Option<u64>; 2])>| {
        let (keys, addresses): (Vec<_>, Vec<_>) = freed.into_iter().unzip();
        let keys: IndexKeys = keys.into_iter().flatten().collect();
        let addresses: HashSet<u64> = addresses.into_iter().flatten().flatten().collect();
        let is_freed = |address: Option<u64>| address.is_some_and(|address| addresses.contains(&address));
        references_of(store.by_keys(keys, |object| is_freed(wanted(object)) || is_freed(reported(object))))
    };
    in_batches(deleted, waiting)
}

fn mailbox_moved(moved: &Moved, mailbox: &EmailMailbox) -> bool {
    let address = mailbox.status.as_ref().and_then(|status| status.address.as_ref());
    address.is_some_and(|address| moved.mailboxes.contains(address) || is_in_made(moved, address))
}

/// Whether an address belongs to a recreated domain.
fn is_in_made(moved: &Moved, address: &str) -> bool {
    !moved.made.is_empty() && address.rsplit_once('@').is_some_and(|(_, domain)| moved.made.contains(domain))
}

/// The objects that belong to a domain that changed.
fn of_their_domains<K: Object + Refers + 'static>(ctx: &Context, store: &Store<K>) -> Triggers<K> {
    let (domains, is_of) = (&ctx.stores.domains, Names::contain_domain_of);
    all_matching(domains, changes::domain_for_others, store.clone(), name_of, domain_keys, is_of)
}

/// The key of the objects of a domain.
fn domain_keys((namespace, name): &(String, String)) -> Vec<IndexKey> {
    vec![Key::Domain(namespace, name).into()]
}

/// The key of the objects that need a mailbox.
fn mailbox_keys((namespace, name): &(String, String)) -> Vec<IndexKey> {
    vec![Key::Mailbox(namespace, name).into()]
}

/// Triggers of aliases: their domain and their mailboxes.
pub(crate) fn of_aliases(ctx: &Arc<Context>) -> Vec<Triggers<EmailAlias>> {
    let aliases = &ctx.stores.aliases;
    let mailboxes = &ctx.stores.mailboxes;
    let (of, is_of) = (changes::mailbox_for_others, Names::contain_mailbox_of);
    let mailboxes = all_matching(mailboxes, of, aliases.store(), name_of, mailbox_keys, is_of);
    let moved = changed_on_mailcow(ctx, aliases, moved_keys, |moved, alias| {
        let Some(status) = alias.status.as_ref() else { return false };
        let is_moved = |it: &String| moved.aliases.contains(it) || is_in_made(moved, it);
        // Mailcow removes a deleted mailbox from its aliases.
        status.address.as_ref().is_some_and(is_moved) || status.goto.iter().any(|to| moved.mailboxes.contains(to))
    });
    let (others, freed) = (aliases_in_loops(ctx), of_freed_addresses(ctx, aliases));
    let awaited = ctx.awaited.subscribe().boxed();
    let neighbours = of_neighbours(ctx, aliases, is_subaddress_of);
    [of_their_domains(ctx, aliases), mailboxes, moved, others, awaited]
        .into_iter()
        .chain(neighbours)
        .chain(freed)
        .chain(of_namespaces(ctx, aliases))
        .collect()
}

/// When an alias changes: the aliases that it forwards to, which may close a loop with it, and those that were left
/// out. The latter also when a mailbox is created or deleted, because it gets its mail before a catch-all.
fn aliases_in_loops(ctx: &Arc<Context>) -> Triggers<EmailAlias> {
    let ctx = ctx.clone();
    let stores = &ctx.stores;
    let aliases =
        stores.aliases.subscribe(|change| change.changed_since_start(changes::alias_for_aliases).cloned().map(Some));
    let mailboxes =
        stores.mailboxes.subscribe(|change| change.changed_since_start(changes::mailbox_for_others).map(|_| None));
    let changed = stream::select(aliases, mailboxes);
    let concerned = move |changed: Vec<Option<Arc<EmailAlias>>>| {
        let changed: Vec<Arc<EmailAlias>> = changed.into_iter().flatten().collect();
        let left_out = ctx.stores.aliases.by_keys(Key::LeftOut, is_left_out);
        links::behind(&ctx, &changed).into_iter().chain(references_of(left_out)).collect()
    };
    in_batches(changed, concerned)
}

/// Triggers of scripts: rules and domains.
pub(crate) fn of_scripts(ctx: &Arc<Context>) -> Vec<Triggers<EmailMailbox>> {
    let mailboxes = &ctx.stores.mailboxes;
    let of_rule = mailboxes.store();
    let rules = changed_since_start(&ctx.stores.rules, changes::rule_for_scripts)
        .flat_map(move |rule| stream::iter(scripts_of(&rule, &of_rule)))
        .boxed();
    let doubts = ctx.clone();
    let moved = changed_on_mailcow(ctx, mailboxes, moved_keys, mailbox_moved);
    let moved = moved.inspect(move |mailbox| doubts.script_reads.forget(mailbox)).boxed();
    [of_their_domains(ctx, mailboxes), rules, moved, of_links(ctx)]
        .into_iter()
        .chain(of_namespaces(ctx, mailboxes))
        .collect()
}

/// Triggers of app passwords: rules, domains, and the Secrets with the app passwords.
pub(crate) fn of_delivery(ctx: &Arc<Context>) -> Vec<Triggers<EmailMailbox>> {
    let mailboxes = &ctx.stores.mailboxes;
    let of_rule = mailboxes.store();
    let rules = changed_since_start(&ctx.stores.rules, changes::rule_for_scripts)
        .flat_map(move |rule| stream::iter(mailboxes_of(&rule, &of_rule)))
        .boxed();
    let of_uid = mailboxes.store();
    let secrets = in_batches(ctx.app_passwords.changes().subscribe(), move |uids: Vec<String>| {
        let keys: IndexKeys = uids.iter().map(|uid| Key::Uid(uid)).collect();
        let uids: HashSet<String> = uids.into_iter().collect();
        let is_of = |mailbox: &EmailMailbox| mailbox.metadata.uid.as_ref().is_some_and(|uid| uids.contains(uid));
        references_of(of_uid.by_keys(keys, is_of))
    });
    let moved = changed_on_mailcow(ctx, mailboxes, moved_keys, mailbox_moved);
    [of_their_domains(ctx, mailboxes), rules, moved, secrets].into_iter().chain(of_namespaces(ctx, mailboxes)).collect()
}

/// The mailboxes that a rule applies to.
fn mailboxes_of(rule: &EmailForwardingRule, mailboxes: &Store<EmailMailbox>) -> Vec<ObjectRef<EmailMailbox>> {
    let is_of =
        |mailbox: &EmailMailbox| mailbox.metadata.namespace == rule.metadata.namespace && scope::applies(rule, mailbox);
    references_of(mailboxes.by_keys(scope::keys(rule), is_of))
}

/// When the installation's sinks changed.
pub(crate) fn changes_of_sinks(ctx: &Context) -> BoxStream<'static, ()> {
    let mut sinks = ctx.sinks.clone();
    sinks.mark_unchanged();
    stream::unfold(sinks, |mut sinks| async { sinks.changed().await.ok().map(|()| ((), sinks)) }).boxed()
}

/// The mailboxes whose script a change of the rule affects: its mailboxes, and those whose script has it.
fn scripts_of(rule: &EmailForwardingRule, mailboxes: &Store<EmailMailbox>) -> Vec<ObjectRef<EmailMailbox>> {
    let is_of = |mailbox: &EmailMailbox| {
        mailbox.metadata.namespace == rule.metadata.namespace
            && (scope::applies(rule, mailbox) || has_in_script(mailbox, rule))
    };
    let mut keys = scope::keys(rule);
    keys.extend(rule.metadata.uid.iter().map(|uid| Key::Rule(uid).into()));
    references_of(mailboxes.by_keys(keys, is_of))
}

/// Whether the mailbox's status lists the rule in its script.
fn has_in_script(mailbox: &EmailMailbox, rule: &EmailForwardingRule) -> bool {
    let script = mailbox.status.as_ref().and_then(|status| status.script.as_ref());
    script.is_some_and(|script| script.rules.iter().any(|made| Some(&made.uid) == rule.metadata.uid.as_ref()))
}

/// The mailboxes of rules that start or stop being left out because of other forwards: aliases, rules and mailboxes of
/// all namespaces.
fn of_links(ctx: &Arc<Context>) -> Triggers<EmailMailbox> {
    let stores = &ctx.stores;
    let rules = stores.rules.subscribe(|change| change.changed_since_start(changes::for_links).map(drop));
    let aliases = stores.aliases.subscribe(|change| change.changed_since_start(changes::alias_for_links).map(drop));
    let mailboxes =
        stores.mailboxes.subscribe(|change| change.changed_since_start(changes::mailbox_for_links).map(drop));
    let domains = stores.domains.subscribe(|change| change.changed_since_start(changes::domain_for_others).map(drop));
    let changed = stream::select(stream::select(rules, domains), stream::select(aliases, mailboxes));
    let looking = ctx.clone();
    // Each check publishes the changes: a script may have been made from the result of another check in between.
    let looks = settled(changed, |()| RELINK, |()| false).filter_map(move |()| {
        let ctx = looking.clone();
        // On a task of its own: others wait for it, also while nobody asks for triggers.
        let look = AbortOnDropHandle::new(tokio::spawn(async move { drop(links::links(&ctx).await) }));
        async move {
            // An error only says that the process ends.
            let _ = look.await;
            None
        }
    });
    let (rules, mailboxes) = (stores.rules.store(), stores.mailboxes.store());
    let concerned = move |differing: BTreeSet<String>| {
        let rules = rules.filter(|rule| differing.contains(&scope::id(rule)));
        let concerned: Vec<_> = rules.iter().flat_map(|rule| scripts_of(rule, &mailboxes)).collect();
        stream::iter(concerned)
    };
    stream::select(looks, ctx.links.subscribe().flat_map(concerned)).boxed()
}

/// Triggers of rules: their domain, and that of their mailbox. The statuses of their mailboxes have everything else.
pub(crate) fn of_rules(ctx: &Arc<Context>) -> Vec<Triggers<EmailForwardingRule>> {
    let rules = &ctx.stores.rules;
    let store = rules.store();
    let scripts = changed_since_start(&ctx.stores.mailboxes, changes::script_of_mailbox);
    let scripts = scripts.flat_map(move |mailbox| {
        let is_of = |rule: &EmailForwardingRule| {
            rule.metadata.namespace == mailbox.metadata.namespace
                && (scope::applies(rule, &mailbox)
                    || has_in_script(&mailbox, rule)
                    || rule.metadata.deletion_timestamp.is_some())
        };
        let mut keys = scope::keys_of_rules(&mailbox);
        let script = mailbox.status.as_ref().and_then(|status| status.script.as_ref());
        let made = script.iter().flat_map(|script| &script.rules).map(|rule| Key::Uid(&rule.uid));
        let namespace = mailbox.metadata.namespace.as_deref().unwrap_or_default();
        keys.extend(made.chain([Key::Deleting(namespace)]).map(IndexKey::from));
        stream::iter(references_of(store.by_keys(keys, is_of)))
    });
    [of_their_domains(ctx, rules), of_domains_of_their_mailboxes(ctx), scripts.boxed()]
        .into_iter()
        .chain(of_namespaces(ctx, rules))
        .collect()
}

/// The rules of single mailboxes whose domain changed: it may no longer allow them.
fn of_domains_of_their_mailboxes(ctx: &Arc<Context>) -> Triggers<EmailForwardingRule> {
    let (mailboxes, rules) = (ctx.stores.mailboxes.store(), ctx.stores.rules.store());
    let changed = changed_since_start(&ctx.stores.domains, changes::domain_for_others);
    let concerned = move |domains: Vec<Arc<EmailDomain>>| {
        let names: Names = domains.iter().filter_map(|domain| name_of(domain.as_ref())).collect();
        let keys = domains.iter().filter_map(|domain| name_of(domain.as_ref())).flat_map(|name| domain_keys(&name));
        let of_domains = mailboxes.by_keys(keys.collect::<IndexKeys>(), |mailbox| names.contain_domain_of(mailbox));
        let of_domains: Names = of_domains.filter_map(|mailbox| name_of(mailbox.as_ref())).collect();
        let is_of = |rule: &EmailForwardingRule| {
            let reference = rule.spec.mailbox_ref.as_ref();
            reference.is_some_and(|it| of_domains.contains(rule.metadata.namespace.as_deref(), &it.name))
        };
        let keys = of_domains.iter().map(|(namespace, name)| Key::Mailbox(namespace, name));
        references_of(rules.by_keys(keys.collect::<IndexKeys>(), is_of))
    };
    in_batches(changed, concerned)
}

/// The name by which others refer to an object.
type NameOf<O, T> = fn(&O) -> Option<T>;
/// Whether an object refers to one of many.
type Matters<C, K> = fn(&C, &K) -> bool;

/// When `what` of objects of another kind changes: the objects of ours that are affected. Many changes at once are one
/// search, among the objects with the `keys` of one of them.
fn all_matching<K, O, T, C>(
    watched: &Watched<O>,
    what: fn(&O) -> u64,
    store: Store<K>,
    name: NameOf<O, T>,
    keys: fn(&T) -> Vec<IndexKey>,
    matters: Matters<C, K>,
) -> Triggers<K>
where
    K: Object + 'static,
    O: Stored,
    T: Send + 'static,
    C: FromIterator<T> + 'static,
{
    let changed = watched.subscribe(move |change| name(change.changed_since_start(what)?.as_ref()));
    let found = move |names: Vec<T>| {
        let keys: IndexKeys = names.iter().flat_map(keys).collect();
        let names = names.into_iter().collect();
        references_of(store.by_keys(keys, |object| matters(&names, object)))
    };
    in_batches(changed, found)
}

/// The objects whose `what` changed since the start.
fn changed_since_start<K: Stored>(
    watched: &Watched<K>,
    what: fn(&K) -> u64,
) -> impl Stream<Item = Arc<K>> + Send + use<K> {
    watched.subscribe(move |change| change.changed_since_start(what).cloned())
}

fn references_of<K: Resource<DynamicType = ()>>(objects: impl IntoIterator<Item = Arc<K>>) -> Vec<ObjectRef<K>> {
    objects.into_iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect()
}
