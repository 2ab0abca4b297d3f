//! Which aliases and rules forward mail to each other, in all namespaces that the operator watches: the input for the
//! graph of forwarding loops.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::controller::domain::ownership;
use crate::controller::driver::addresses;
use crate::controller::driver::context::Context;
use crate::controller::driver::holdings;
use crate::controller::driver::references;
use crate::controller::rules::known_links::Links;
use crate::controller::rules::scope;
use crate::crd::{EmailAlias, EmailDomain, EmailForwardingRule, EmailMailbox};
use crate::desired;
use crate::forwarding::{ForwardingLoop, Paths, Rank, Route, Routes, Sends, alias_loop, rule_loops};
use crate::inventory::{Age, Inventory};
use crate::mail::{Address, Alias, Catch, DomainName, Goto};
use crate::outcome::Reason;
use crate::status::{self, Conditioned};

/// The current links between all rules.
pub(crate) async fn links(ctx: &Context) -> Arc<Links> {
    let rules: Vec<Arc<EmailForwardingRule>> =
        ctx.stores.rules.filter(|rule| rule.spec.enabled && !scope::leaves(ctx, rule) && may_stay_inside(ctx, rule));
    // Without rules nothing can be left out, so the objects need no search.
    let state = if rules.is_empty() { 0 } else { state(ctx, &rules) };
    if let Some(known) = ctx.links.of(state) {
        return known;
    }
    // Many ask at once, and it may take a while.
    let _finding = ctx.links.finding.lock().await;
    if let Some(known) = ctx.links.of(state) {
        return known;
    }
    let found = Arc::new(find(ctx, &rules).await);
    ctx.links.remember(state, found.clone());
    found
}

/// A hash of everything that links depend on.
fn state(ctx: &Context, rules: &[Arc<EmailForwardingRule>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for rule in rules {
        (&rule.metadata.uid, rule.metadata.generation).hash(&mut hasher);
    }
    (ctx.stores.aliases.fingerprint(), ctx.stores.mailboxes.fingerprint()).hash(&mut hasher);
    for domain in ctx.stores.domains.all() {
        (&domain.metadata.uid, domain.metadata.generation, is_owner(ctx, &domain)).hash(&mut hasher);
    }
    Arc::as_ptr(&ctx.sinks.borrow()).hash(&mut hasher);
    hasher.finish()
}

async fn find(ctx: &Context, objects: &[Arc<EmailForwardingRule>]) -> Links {
    let sinks = ctx.sinks.borrow().clone();
    let rules = objects.iter().filter_map(|object| {
        let rule = scope::read(object, None, &sinks).ok()?;
        let to: Vec<_> = rule.forwards().into_iter().map(|(to, _)| to.clone()).collect();
        Some((object, rule, to))
    });
    let rules: Vec<_> = rules.collect();
    let targets = rules.iter().flat_map(|(_, _, to)| to);
    let mut ways = Ways::default();
    ways.follow(ctx, targets.map(|to| (to.local().to_ascii_lowercase(), to.domain().clone())).collect());
    let sends: Vec<Sends> = rules
        .into_iter()
        .map(|(object, rule, to)| {
            let is_of_domain = object.spec.domain_ref.is_some();
            Sends { id: rule.id, created: rule.created, is_of_domain, from: ways.mailboxes_of(object), to }
        })
        .collect();
    let mut paths = Paths::from(ways.routes.clone());
    let mut found = rule_loops(&paths, &sends);
    // Most installations have no loop through a catch-all; only those loops are checked on Mailcow.
    while let Some(news) = ways.ask(ctx, found.iter()).await {
        ways.routes = news;
        paths = Paths::from(ways.routes.clone());
        found = rule_loops(&paths, &sends);
    }
    let alone = sends.iter().filter(|sends| sends.is_of_domain).flat_map(|sends| {
        let ends = sends.to.iter().filter_map(|to| paths.only_end(to).filter(|end| !to.is_in(end)));
        let ends: HashSet<&Address> = ends.collect();
        let comes_back = sends.from.iter().filter(|from| ends.contains(from));
        comes_back.map(|from| (sends.id.clone(), from.clone())).collect::<Vec<_>>()
    });
    let alone = alone.collect();
    Links::new(found, alone, paths)
}

/// The forwarding loop that an alias would close, or closes already.
pub(crate) async fn loop_of_alias(ctx: &Context, object: &EmailAlias, want: &Alias) -> Option<ForwardingLoop> {
    let Goto::Addresses(goto) = want.goto.clone() else { return None };
    if !want.active || !goto.iter().any(|to| addresses::has_domain(&ctx.stores, to.domain())) {
        return None;
    }
    let mut ways = Ways::default();
    ways.routes.add_alias(want.catch.clone(), Route { rank: rank(object), to: goto.iter().cloned().collect() });
    ways.follow(ctx, goto.iter().map(|to| (to.local().to_owned(), to.domain().clone())).collect());
    let mut found = alias_loop(&ways.routes.clone().into(), &want.catch)?;
    while let Some(news) = ways.ask(ctx, std::iter::once(&found)).await {
        ways.routes = news;
        found = alias_loop(&ways.routes.clone().into(), &want.catch)?;
    }
    Some(found)
}

/// The aliases that mail reaches after these.
pub(crate) fn behind(ctx: &Context, aliases: &[Arc<EmailAlias>]) -> Vec<ObjectRef<EmailAlias>> {
    let goto = aliases.iter().flat_map(|alias| alias.spec.goto.iter().flatten());
    let goto =
        goto.filter_map(|text| Address::parse(text).ok()).filter(|to| addresses::has_domain(&ctx.stores, to.domain()));
    let mut ways = Ways::default();
    ways.follow(ctx, goto.map(|to| (to.local().to_owned(), to.domain().clone())).collect());
    let objects = ways.routes.alias_ids().filter_map(|id| id.split_once('/'));
    objects.map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
}

/// A quick check whether one of the targets may be in one of these domains; in doubt it may.
fn may_stay_inside(ctx: &Context, rule: &EmailForwardingRule) -> bool {
    let is_ours = |to: &String| {
        to.rsplit_once('@').is_some_and(|(_, domain)| {
            DomainName::parse(domain).is_ok_and(|name| addresses::has_domain(&ctx.stores, &name))
        })
    };
    rule.spec.actions.iter().any(|action| {
        let to_sink = action.create_task.is_some() || action.create_note.is_some();
        to_sink || action.forward.as_ref().is_some_and(|forward| forward.to.iter().any(is_ours))
    })
}

fn rank(alias: &EmailAlias) -> Rank {
    let synced = alias.status.as_ref().and_then(|status| status.synced_generation);
    Rank {
        is_new: synced.is_none() || synced != alias.metadata.generation,
        created: alias.creation_timestamp().map(|time| time.0.as_second()).unwrap_or_default(),
        id: format!("{}/{}", alias.namespace().unwrap_or_default(), alias.name_any()),
    }
}

/// An address as `local` and domain, in lower case.
type Wanted = (String, DomainName);
/// The objects that own each domain: one, but for a moment when it changes hands.
type Owners = BTreeMap<DomainName, Vec<ObjectRef<EmailDomain>>>;

/// The owners of the domains of some addresses.
fn owners(ctx: &Context, wanted: &BTreeSet<Wanted>) -> Owners {
    let names: BTreeSet<&DomainName> = wanted.iter().map(|(_, domain)| domain).collect();
    let owners = |name: &DomainName| {
        let all = addresses::domains_named(&ctx.stores, name).filter(|domain| is_owner(ctx, domain));
        all.map(|domain| ObjectRef::from_obj(domain.as_ref())).collect()
    };
    names.into_iter().map(|name| (name.clone(), owners(name))).collect()
}

/// The paths of mail to some addresses, as far as objects show.
#[derive(Debug, Default)]
struct Ways {
    routes: Routes,
    mailboxes: Vec<(Arc<EmailMailbox>, Address)>,
    wanted: BTreeSet<Wanted>,
}

impl Ways {
    /// Finds the path of mail to these addresses: their aliases, the aliases after those, and so on.
    fn follow(&mut self, ctx: &Context, start: BTreeSet<Wanted>) {
        let mut new = start;
        loop {
            new.retain(|wanted| !self.wanted.contains(wanted));
            if new.is_empty() {
                return;
            }
            let plain =
                new.iter().filter_map(|(local, domain)| Some((local.split_once('+')?.0.to_owned(), domain.clone())));
            let plain: Vec<Wanted> = plain.collect();
            new.extend(plain);
            let domains = owners(ctx, &new);
            self.add_mailboxes(ctx, &new, &domains);
            let next = self.add_aliases(ctx, &new, &domains);
            self.wanted.extend(new);
            new = next;
        }
    }

    fn add_mailboxes(&mut self, ctx: &Context, wanted: &BTreeSet<Wanted>, domains: &Owners) {
        for (local, domain) in wanted {
            let found = addresses::wanting_at(&ctx.stores.mailboxes, Some(local), &domains[domain]);
            for mailbox in found.filter(|mailbox| mailbox.metadata.deletion_timestamp.is_none()) {
                let address = address_of(ctx, &mailbox);
                if let Some(address) = address.filter(|at| at.local() == local && at.domain() == domain) {
                    self.add_mailbox(mailbox, address);
                }
            }
        }
    }

    fn add_mailbox(&mut self, mailbox: Arc<EmailMailbox>, address: Address) {
        let id = format!("{}/{}", mailbox.namespace().unwrap_or_default(), mailbox.name_any());
        if self.routes.add_mailbox(address.clone(), id) {
            self.mailboxes.push((mailbox, address));
        }
    }

    /// Adds aliases with these addresses, and catch-alls of their domains; returns their targets.
    fn add_aliases(&mut self, ctx: &Context, wanted: &BTreeSet<Wanted>, domains: &Owners) -> BTreeSet<Wanted> {
        let aliases = wanted
            .iter()
            .flat_map(|(local, domain)| addresses::wanting_at(&ctx.stores.aliases, Some(local), &domains[domain]));
        let catch_alls = domains.values().flat_map(|owners| addresses::wanting_at(&ctx.stores.aliases, None, owners));
        let may_lead = |alias: &Arc<EmailAlias>| {
            alias.spec.active && alias.spec.sink.is_none() && alias.metadata.deletion_timestamp.is_none()
        };
        let mut next = BTreeSet::new();
        for alias in aliases.chain(catch_alls).filter(may_lead) {
            let Some(catch) = catch(ctx, &alias).filter(|_| holdings::of_alias(&alias).is_some()) else { continue };
            let mut to: Vec<Address> =
                alias.spec.goto.iter().flatten().filter_map(|text| Address::parse(text).ok()).collect();
            for reference in alias.spec.goto_mailbox_refs.iter().flatten() {
                if let Ok((mailbox, address)) = references::mailbox(ctx, alias.as_ref(), reference) {
                    self.add_mailbox(mailbox, address.clone());
                    to.push(address);
                }
            }
            next.extend(to.iter().map(|to| (to.local().to_owned(), to.domain().clone())));
            self.routes.add_alias(catch, Route { rank: rank(&alias), to });
        }
        next
    }

    /// The mailboxes on the path in which a rule is active.
    fn mailboxes_of(&self, rule: &EmailForwardingRule) -> Vec<Address> {
        let is_of = |mailbox: &EmailMailbox| {
            mailbox.metadata.namespace == rule.metadata.namespace && scope::applies(rule, mailbox)
        };
        self.mailboxes.iter().filter(|(mailbox, _)| is_of(mailbox)).map(|(_, address)| address.clone()).collect()
    }

    /// The routes, completed with entries that only Mailcow has, if one of the loops depends on them; `None` if there
    /// is nothing new.
    async fn ask(&self, ctx: &Context, loops: impl Iterator<Item = &ForwardingLoop>) -> Option<Routes> {
        let mut routes = self.routes.clone();
        let mut is_new = false;
        for address in self.only_caught(loops) {
            let owner = addresses::domains_named(&ctx.stores, address.domain()).find(|domain| is_owner(ctx, domain));
            let Some(domain) = owner else { continue };
            let may_be_there = match ctx.servers.get(&domain.spec.server) {
                Ok(server) => is_there(&server, &address).await,
                Err(_) => ctx.servers.is_of_another(&domain.spec.server),
            };
            if may_be_there {
                routes.add_other(address);
                is_new = true;
            }
        }
        is_new.then_some(routes)
    }

    /// The addresses that only a catch-all covers, in the domains of the loops.
    fn only_caught<'a>(&self, loops: impl Iterator<Item = &'a ForwardingLoop>) -> Vec<Address> {
        let domains: HashSet<&DomainName> = loops.flat_map(ForwardingLoop::caught).collect();
        let in_them = self.wanted.iter().filter(|(_, domain)| domains.contains(domain));
        let addresses = in_them.filter_map(|(local, domain)| Address::new(local, domain.clone()).ok());
        addresses.filter(|address| self.routes.is_only_caught(address)).collect()
    }
}

/// Whether the object owns its domain, or will. Only its aliases and mailboxes get mail: anybody may write objects for
/// the domains of others, and those must not stop anybody's rules.
fn is_owner(ctx: &Context, domain: &EmailDomain) -> bool {
    let conditions = domain.status.as_ref().map(Conditioned::conditions).unwrap_or_default();
    let lost = status::ready(conditions).is_some_and(|ready| ready.reason == Reason::Conflict.as_str());
    !lost
        && holdings::of_domain(domain).is_some()
        && ownership::of_domain_is_proven(ctx, domain).is_ok()
        && references::may_use_server(ctx, domain).is_ok()
}

/// The address of a mailbox that gets mail.
fn address_of(ctx: &Context, mailbox: &EmailMailbox) -> Option<Address> {
    let domain = references::home(ctx, mailbox).ok().filter(|domain| is_owner(ctx, domain))?;
    holdings::of_mailbox(mailbox)?;
    desired::mailbox_address(&mailbox.spec, &domain.spec).ok()
}

/// The address of an alias, if its domain allows it.
fn catch(ctx: &Context, alias: &EmailAlias) -> Option<Catch> {
    let domain = references::domain(ctx, alias, &alias.spec.domain_ref).ok().filter(|domain| is_owner(ctx, domain))?;
    desired::alias_catch(&alias.spec, &domain.spec).ok()
}

/// Whether Mailcow has a mailbox or an alias with this address. If unknown, it may have one, as on the server of another
/// instance: no loop is reported on a guess.
async fn is_there(server: &Inventory, address: &Address) -> bool {
    let mailbox = server.mailbox(address, Age::Recent).await.map(|have| have.is_some());
    let alias = server.alias(&Catch::One(address.clone()), Age::Recent).await.map(|have| have.is_some());
    mailbox.unwrap_or(true) || alias.unwrap_or(true)
}
