//! Where aliases and rules forward mail, and whether it comes back: forwarding loops.
//!
//! Postfix follows aliases before it delivers. Mail to aliases that lead to each other is deferred again and again
//! (`virtual_alias_recursion_limit`). Rules are followed after delivery: Pigeonhole forwards a message once and keeps it
//! when it comes back, so that a rule whose mail comes back does nothing with it but make copies.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::mail::rule::Target;
use crate::mail::{Address, Catch, DomainName};

/// A step on the path of mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A mailbox.
    Mailbox(Address),
    /// An alias, or a catch-all.
    Alias(Catch),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mailbox(address) => address.fmt(f),
            Self::Alias(catch) => catch.fmt(f),
        }
    }
}

/// Rank: in a loop, the last one is left out. First entries that Mailcow has already, then the oldest, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Whether Mailcow does not match its object yet.
    pub is_new: bool,
    /// Creation time of the object, in seconds since 1970.
    pub created: i64,
    /// The object's `namespace/name`.
    pub id: String,
}

/// An alias that forwards mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its rank among others.
    pub rank: Rank,
    /// Its targets.
    pub to: Vec<Address>,
}

/// A rule that forwards mail.
#[derive(Clone, Debug)]
pub struct Sends {
    /// The rule's `namespace/name`.
    pub id: String,
    /// Creation time, in seconds since 1970.
    pub created: i64,
    /// Whether it applies to all mailboxes of a domain: it does nothing in one that all its mail would come back to.
    pub is_of_domain: bool,
    /// The mailboxes in which it is active.
    pub from: Vec<Address>,
    /// Its targets.
    pub to: Vec<Target>,
}

/// Known mailboxes and aliases on the path of mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    mailboxes: BTreeMap<Address, String>,
    aliases: BTreeMap<Catch, Route>,
    /// Addresses on Mailcow without an object; they are confidential here.
    others: BTreeSet<Address>,
}

impl Routes {
    /// Adds a mailbox with its object's `namespace/name`.
    pub fn add_mailbox(&mut self, address: Address, id: String) {
        self.mailboxes.insert(address, id);
    }

    /// Adds an active alias. Of two with one address the first counts.
    pub fn add_alias(&mut self, catch: Catch, route: Route) {
        match self.aliases.get(&catch) {
            Some(known) if known.rank <= route.rank => {}
            _ => drop(self.aliases.insert(catch, route)),
        }
    }

    /// Adds an address on Mailcow without an object.
    pub fn add_other(&mut self, address: Address) {
        self.others.insert(address);
    }

    /// The objects of the aliases, as `namespace/name`.
    pub fn alias_ids(&self) -> impl Iterator<Item = &str> {
        self.aliases.values().map(|route| route.rank.id.as_str())
    }

    /// Whether an address is known to reach a catch-all only because no object names it: Mailcow may have an entry with
    /// this name.
    pub fn is_only_caught(&self, address: &Address) -> bool {
        matches!(self.first(address.local(), address.domain()), Some(Place::Alias(Catch::All(_))))
    }

    /// The first of our entries that mail to an address reaches. Postfix looks for the whole address, then for the one
    /// without `+tag`, then for the catch-all.
    pub fn first(&self, local: &str, domain: &DomainName) -> Option<Place> {
        let plain = local.split_once('+').map(|(plain, _)| plain);
        for local in std::iter::once(local).chain(plain) {
            let Ok(address) = Address::new(local, domain.clone()) else { continue };
            if self.mailboxes.contains_key(&address) {
                return Some(Place::Mailbox(address));
            }
            let catch = Catch::One(address);
            if self.aliases.contains_key(&catch) {
                return Some(Place::Alias(catch));
            }
            if matches!(&catch, Catch::One(address) if self.others.contains(address)) {
                return None;
            }
        }
        let all = Catch::All(domain.clone());
        self.aliases.contains_key(&all).then_some(Place::Alias(all))
    }

    fn first_of(&self, to: &Target) -> Option<Place> {
        self.first(to.local(), to.domain())
    }

    /// The next steps after an alias. An alias among its own targets ends there, as in Postfix.
    fn next(&self, catch: &Catch) -> Vec<Place> {
        let to = self.aliases.get(catch).map(|route| route.to.as_slice()).unwrap_or_default();
        let places = to.iter().filter_map(|address| self.first(address.local(), address.domain()));
        places.filter(|place| *place != Place::Alias(catch.clone()) || matches!(catch, Catch::One(_))).collect()
    }

    /// The mailboxes where mail to an address ends if only aliases forward it; `None` when some of it leaves the
    /// server.
    fn ends(&self, to: &Target) -> Option<BTreeSet<&Address>> {
        let mut ends = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open = vec![self.first_of(to)?];
        while let Some(place) = open.pop() {
            if !seen.insert(place.clone()) {
                continue;
            }
            match &place {
                Place::Mailbox(address) => ends.extend(self.mailboxes.get_key_value(address).map(|(known, _)| known)),
                Place::Alias(catch) => {
                    let next = self.next(catch);
                    if self.aliases.get(catch).is_none_or(|route| route.to.len() != next.len()) {
                        return None;
                    }
                    open.extend(next);
                }
            }
        }
        Some(ends)
    }

    /// Whether all mail to an address ends in this mailbox, by its name or through aliases.
    pub fn ends_only_in(&self, to: &Target, mailbox: &Address) -> bool {
        to.is_in(mailbox) || self.ends(to).is_some_and(|ends| ends.len() == 1 && ends.contains(mailbox))
    }

    /// The object of a step, as `namespace/name`.
    fn id(&self, place: &Place) -> Option<&str> {
        match place {
            Place::Mailbox(address) => self.mailboxes.get(address).map(String::as_str),
            Place::Alias(catch) => self.aliases.get(catch).map(|route| route.rank.id.as_str()),
        }
    }
}

/// An alias or a rule that closes a loop, and is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardingLoop {
    /// Its `namespace/name`.
    pub id: String,
    /// The other aliases and rules of the loop, by their `namespace/name`, each once.
    pub others: Vec<String>,
    /// The steps in order, the first again at the end; each with its object.
    pub way: Vec<(Place, String)>,
}

impl ForwardingLoop {
    /// What is wrong and what to do, for readers of a namespace: it does not name objects and addresses of other
    /// namespaces, except those that the object itself names.
    pub fn message(&self, field: &str, namespace: &str) -> String {
        let is_own = |id: &str| id.split_once('/').is_some_and(|(of, _)| of == namespace);
        let shown = |(at, (place, id)): (usize, &(Place, String))| match at {
            // The first step is a target of the object, or the object's own.
            0 | 1 => place.to_string(),
            _ if is_own(id) || self.way.first().is_some_and(|(first, _)| first == place) => place.to_string(),
            _ => "an address of another namespace".to_owned(),
        };
        let mut way: Vec<String> = self.way.iter().enumerate().map(shown).collect();
        way.dedup();
        let mut with: Vec<&str> = self.others.iter().map(String::as_str).filter(|id| is_own(id)).collect();
        if with.len() < self.others.len() {
            with.push("objects of other namespaces");
        }
        let with = if with.is_empty() { String::new() } else { format!(" with {}", with.join(", ")) };
        format!("{field}: forwarding loop{with}: {}; remove one of these steps", way.join(" → "))
    }

    /// The steps that are known only because no object names the address before them: a catch-all gets mail to an
    /// address if Mailcow has no mailbox and no alias for it.
    pub fn caught(&self) -> impl Iterator<Item = &DomainName> {
        self.way.iter().filter_map(|(place, _)| match place {
            Place::Alias(Catch::All(domain)) => Some(domain),
            Place::Alias(Catch::One(_)) | Place::Mailbox(_) => None,
        })
    }
}

/// The loop that an alias closes with others of better rank; rules are ignored.
pub fn alias_loop(routes: &Routes, catch: &Catch) -> Option<ForwardingLoop> {
    let own = &routes.aliases.get(catch)?.rank;
    let comes_before = |place: &Place| match place {
        Place::Alias(other) => routes.aliases.get(other).is_some_and(|route| route.rank <= *own),
        Place::Mailbox(_) => false,
    };
    let goal = Place::Alias(catch.clone());
    let steps = |place: &Place| -> Vec<(Place, String)> {
        let Place::Alias(catch) = place else { return Vec::new() };
        let id = routes.id(place).unwrap_or_default();
        routes.next(catch).into_iter().filter(comes_before).map(|next| (next, id.to_owned())).collect()
    };
    let way = steps(&goal).into_iter().find_map(|(start, _)| way_to(&start, &goal, steps))?;
    Some(closed(
        routes,
        &own.id,
        vec![],
        std::iter::once(goal).chain(way.into_iter().map(|(place, _)| place)).collect(),
    ))
}

/// The rules that must be left out so that no rule's mail comes back: the youngest rule of each loop. A rule does not
/// forward to its own mailbox.
pub fn rule_loops(routes: &Routes, rules: &[Sends]) -> Vec<ForwardingLoop> {
    let mut order: Vec<&Sends> = rules.iter().collect();
    order.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let mut ways = Ways::new();
    let mut found = Vec::new();
    for rule in order {
        for from in &rule.from {
            ways.entry(Place::Mailbox(from.clone())).or_default().extend(steps_of(routes, rule, from));
        }
        let Some(closed) = rule.from.iter().find_map(|from| loop_through(routes, rule, from, &ways)) else { continue };
        found.push(closed);
        for from in &rule.from {
            if let Some(steps) = ways.get_mut(&Place::Mailbox(from.clone())) {
                steps.retain(|(_, by)| *by != rule.id);
            }
        }
    }
    found
}

/// Where rules forward the mail of a step, and by which rule.
type Ways<'a> = HashMap<Place, Vec<(Place, &'a str)>>;

/// Where a rule forwards mail of one of its mailboxes.
fn steps_of<'a>(routes: &Routes, rule: &'a Sends, from: &Address) -> Vec<(Place, &'a str)> {
    let is_left_alone = |to: &Target| to.is_in(from) || (rule.is_of_domain && routes.ends_only_in(to, from));
    let targets = rule.to.iter().filter(|to| !is_left_alone(to));
    targets.filter_map(|to| Some((routes.first_of(to)?, rule.id.as_str()))).collect()
}

fn loop_through(routes: &Routes, rule: &Sends, from: &Address, ways: &Ways<'_>) -> Option<ForwardingLoop> {
    let goal = Place::Mailbox(from.clone());
    let steps = |place: &Place| -> Vec<(Place, String)> {
        let by_alias = match place {
            Place::Alias(catch) => routes.next(catch),
            Place::Mailbox(_) => Vec::new(),
        };
        let id = routes.id(place).unwrap_or_default();
        let by_rule = ways.get(place).into_iter().flatten().map(|(next, rule)| (next.clone(), (*rule).to_owned()));
        by_alias.into_iter().map(|next| (next, id.to_owned())).chain(by_rule).collect()
    };
    let way = steps_of(routes, rule, from).into_iter().find_map(|(start, _)| way_to(&start, &goal, steps))?;
    let by: Vec<String> = way.iter().filter_map(|(_, by)| by.clone()).collect();
    let places = std::iter::once(goal).chain(way.into_iter().map(|(place, _)| place)).collect();
    Some(closed(routes, &rule.id, by, places))
}

/// A loop from its steps, the first again at the end, and the rules and aliases between them.
fn closed(routes: &Routes, id: &str, by: Vec<String>, places: Vec<Place>) -> ForwardingLoop {
    let aliases = places.iter().filter(|place| matches!(place, Place::Alias(_))).filter_map(|place| routes.id(place));
    let mut others: Vec<String> = Vec::new();
    for other in by.into_iter().chain(aliases.map(ToOwned::to_owned)) {
        if other != id && !others.contains(&other) {
            others.push(other);
        }
    }
    let way = places.into_iter().map(|place| {
        let id = routes.id(&place).unwrap_or_default().to_owned();
        (place, id)
    });
    ForwardingLoop { id: id.to_owned(), others, way: way.collect() }
}

/// The shortest path from one step to another, both included; each with the object that forwards mail there.
fn way_to(
    start: &Place,
    goal: &Place,
    steps: impl Fn(&Place) -> Vec<(Place, String)>,
) -> Option<Vec<(Place, Option<String>)>> {
    let mut came: HashMap<Place, Option<(Place, String)>> = HashMap::from([(start.clone(), None)]);
    let mut queue = VecDeque::from([start.clone()]);
    while let Some(here) = queue.pop_front() {
        if here == *goal {
            let mut way = Vec::new();
            let mut at = Some(here);
            while let Some(place) = at {
                let before = came.get(&place).cloned().flatten();
                at = before.as_ref().map(|(place, _)| place.clone());
                way.push((place, before.map(|(_, by)| by)));
            }
            way.reverse();
            return Some(way);
        }
        for (next, by) in steps(&here) {
            if !came.contains_key(&next) {
                came.insert(next.clone(), Some((here.clone(), by)));
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Address {
        let whole = if text.contains('@') { text.to_owned() } else { format!("{text}@e.com") };
        Address::parse(&whole).unwrap()
    }

    fn target(text: &str) -> Target {
        let whole = if text.contains('@') { text.to_owned() } else { format!("{text}@e.com") };
        Target::parse(&whole).unwrap()
    }

    /// Mailboxes by their local parts, and aliases with what they go to; an earlier one is elder. A name with a colon
    /// has its namespace before it.
    fn routes(mailboxes: &[&str], aliases: &[(&str, &[&str])]) -> Routes {
        let named = |text: &str| {
            let (namespace, address) = text.split_once(':').unwrap_or(("n", text));
            (format!("{namespace}/{}", address.trim_start_matches('@')), address.to_owned())
        };
        let mut routes = Routes::default();
        for mailbox in mailboxes {
            let (id, address) = named(mailbox);
            routes.add_mailbox(at(&address), id);
        }
        for (created, (alias, to)) in (0..).zip(aliases) {
            let (id, address) = named(alias);
            let catch =
                if address.starts_with('@') { Catch::parse(&address).unwrap() } else { Catch::One(at(&address)) };
            let rank = Rank { is_new: true, created, id };
            routes.add_alias(catch, Route { rank, to: to.iter().map(|to| at(to)).collect() });
        }
        routes
    }

    fn rule(id: &str, created: i64, from: &[&str], to: &[&str]) -> Sends {
        let (from, to) = (from.iter().map(|from| at(from)).collect(), to.iter().map(|to| target(to)).collect());
        Sends { id: format!("n/{id}"), created, is_of_domain: false, from, to }
    }

    fn of_domain(rule: Sends) -> Sends {
        Sends { is_of_domain: true, ..rule }
    }

    /// Each loop's object and the local parts that mail would pass.
    fn found(routes: &Routes, rules: &[Sends]) -> Vec<String> {
        let local = |place: &Place| place.to_string().replace("@e.com", "");
        let shown = |one: ForwardingLoop| {
            let way: Vec<String> = one.way.iter().map(|(place, _)| local(place)).collect();
            format!("{} {}", one.id, way.join(">"))
        };
        rule_loops(routes, rules).into_iter().map(shown).collect()
    }

    const NONE: &[(&str, &[&str])] = &[];

    #[test]
    fn of_two_rules_that_send_to_each_other_the_younger_is_left_out() {
        let routes = routes(&["a", "b", "c"], NONE);
        let rules = [rule("0", 0, &["a"], &["B+x"]), rule("1", 1, &["b"], &["c"]), rule("2", 2, &["b"], &["a"])];
        assert_eq!(found(&routes, &rules), ["n/2 b>a>b"]);
    }

    #[test]
    fn one_way_is_no_loop() {
        let routes = routes(&["a", "b", "c"], NONE);
        let rules = [rule("0", 0, &["a"], &["b"]), rule("1", 1, &["b"], &["c"]), rule("2", 2, &["a"], &["c"])];
        assert_eq!(found(&routes, &rules), Vec::<String>::new());
    }

    #[test]
    fn a_loop_of_many_is_found_and_opened_at_its_youngest_rule() {
        let routes = routes(&["a", "b", "c", "d"], NONE);
        let rules = [
            rule("0", 0, &["a"], &["b"]),
            rule("1", 1, &["b"], &["c"]),
            rule("2", 2, &["d"], &["a"]),
            rule("3", 3, &["c"], &["d"]),
        ];
        assert_eq!(found(&routes, &rules), ["n/3 c>d>a>b>c"]);
        assert_eq!(rule_loops(&routes, &rules)[0].others, ["n/2", "n/0", "n/1"]);
        assert_eq!(found(&routes, &rules[..3]), Vec::<String>::new());
    }

    #[test]
    fn a_domains_rule_to_one_of_its_mailboxes_is_no_loop_and_to_two_is_one() {
        let routes = routes(&["a", "b", "c"], &[("all", &["a", "b"]), ("one", &["a"])]);
        let to = |to: &[&str]| [of_domain(rule("0", 0, &["a", "b", "c"], to))];
        assert_eq!(found(&routes, &to(&["a"])), Vec::<String>::new());
        assert_eq!(found(&routes, &to(&["a", "b"])).len(), 1);
        assert_eq!(found(&routes, &to(&["one"])), Vec::<String>::new(), "an alias of that mailbox is the same");
        assert_eq!(found(&routes, &to(&["all"])).len(), 1);
        let back = [to(&["a"])[0].clone(), rule("1", 1, &["a"], &["c"])];
        assert_eq!(found(&routes, &back), ["n/1 a>c>a"]);
    }

    #[test]
    fn what_is_left_out_closes_no_further_loop() {
        let routes = routes(&["a", "b", "c"], NONE);
        let rules = [
            rule("0", 0, &["a"], &["b"]),
            rule("1", 1, &["b"], &["a"]),
            rule("2", 2, &["b"], &["c"]),
            rule("3", 3, &["c"], &["b"]),
        ];
        assert_eq!(found(&routes, &rules).len(), 2);
    }

    #[test]
    fn a_rule_whose_mail_comes_back_through_aliases_is_left_out() {
        let aliases: &[(&str, &[&str])] =
            &[("sales", &["team", "ext@other.org"]), ("team", &["a"]), ("@all.com", &["a"])];
        let routes = routes(&["a", "b"], aliases);
        let to = |to| found(&routes, &[rule("0", 0, &["a"], &[to])]);
        assert_eq!(to("Sales+x"), ["n/0 a>sales>team>a"]);
        assert_eq!(to("anybody@all.com"), ["n/0 a>@all.com>a"]);
        assert_eq!(to("nobody"), Vec::<String>::new());
        assert_eq!(found(&routes, &[rule("0", 0, &["b"], &["sales"])]), Vec::<String>::new());
        let two = [rule("0", 0, &["b"], &["sales"]), rule("1", 1, &["a"], &["b"])];
        assert_eq!(found(&routes, &two), ["n/1 a>b>sales>team>a"]);
        assert_eq!(rule_loops(&routes, &two)[0].others, ["n/0", "n/sales", "n/team"]);
    }

    fn alias(routes: &Routes, catch: &str) -> Option<String> {
        let catch = if catch.starts_with('@') { Catch::parse(catch).unwrap() } else { Catch::One(at(catch)) };
        let found = alias_loop(routes, &catch)?;
        let way: Vec<String> = found.way.iter().map(|(place, _)| place.to_string().replace("@e.com", "")).collect();
        Some(way.join(">"))
    }

    #[test]
    fn of_aliases_that_lead_to_each_other_the_youngest_closes_the_loop() {
        let routes = routes(&["m"], &[("a", &["b", "m"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]);
        assert_eq!(alias(&routes, "c").as_deref(), Some("c>a>b>c"));
        assert_eq!((alias(&routes, "a"), alias(&routes, "b"), alias(&routes, "d")), (None, None, None));
        assert_eq!(alias_loop(&routes, &Catch::One(at("c"))).unwrap().others, ["n/a", "n/b"]);
    }

    #[test]
    fn what_mailcow_has_comes_before_what_it_has_not() {
        let mut routes = routes(&[], &[("a", &["b"]), ("b", &["a"])]);
        let rank = Rank { is_new: false, created: 1, id: "n/b".into() };
        routes.aliases.get_mut(&Catch::One(at("b"))).unwrap().rank = rank;
        assert_eq!((alias(&routes, "a").as_deref(), alias(&routes, "b")), (Some("a>b>a"), None));
    }

    #[test]
    fn a_catch_all_takes_what_nobody_else_has() {
        let aliases: &[(&str, &[&str])] = &[("@a.com", &["x@b.com"]), ("@b.com", &["y@a.com"])];
        let mut routes = routes(&["m"], aliases);
        let found = alias_loop(&routes, &Catch::parse("@b.com").unwrap()).unwrap();
        assert_eq!(found.caught().map(DomainName::as_str).collect::<Vec<_>>(), ["b.com", "a.com", "b.com"]);
        routes.add_other(at("y@a.com"));
        assert_eq!(alias(&routes, "@b.com"), None, "Mailcow has a mailbox of this name");
    }

    #[test]
    fn a_catch_all_to_an_address_that_it_catches_itself_ends_there() {
        let routes = routes(&["m"], &[("@e.com", &["nobody"]), ("@f.com", &["m", "x@e.com"])]);
        assert_eq!((alias(&routes, "@e.com"), alias(&routes, "@f.com")), (None, None));
    }

    #[test]
    fn a_mailbox_takes_its_mail_although_a_catch_all_would() {
        assert_eq!(alias(&routes(&["m"], &[("@e.com", &["m"]), ("a", &["m+x"])]), "a"), None);
    }

    #[test]
    fn what_belongs_to_other_namespaces_is_not_named() {
        let aliases: &[(&str, &[&str])] =
            &[("x:list@f.com", &["x:inner@f.com".split_once(':').unwrap().1]), ("x:inner@f.com", &["a"])];
        let routes = routes(&["a"], aliases);
        let one = rule_loops(&routes, &[rule("r", 0, &["a"], &["list@f.com"])]).remove(0);
        assert_eq!(
            one.message("spec.actions", "n"),
            "spec.actions: forwarding loop with objects of other namespaces: a@e.com → list@f.com → an address of \
             another namespace → a@e.com; remove one of these steps"
        );
        assert!(one.message("spec.actions", "x").contains("inner@f.com"));
    }
}
