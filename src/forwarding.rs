//! Where aliases and rules forward mail, and whether it comes back: forwarding loops.
//!
//! Postfix follows aliases before it delivers. Mail to aliases that lead to each other is deferred again and again
//! (`virtual_alias_recursion_limit`). Rules are followed after delivery: Pigeonhole forwards a message once and keeps it
//! when it comes back, so that a rule whose mail comes back does nothing with it but make copies.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::mail::rule::Target;
use crate::mail::{Address, Catch, DomainName};

/// The number of steps of a loop that are named.
const MOST_STEPS: usize = 10;

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
    /// Adds a mailbox with its object's `namespace/name`; returns whether its address is new.
    pub fn add_mailbox(&mut self, address: Address, id: String) -> bool {
        self.mailboxes.insert(address, id).is_none()
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

    /// Whether an alias has targets that are none of the known steps after it.
    fn leaves(&self, catch: &Catch, known: usize) -> bool {
        self.aliases.get(catch).is_none_or(|route| route.to.len() != known)
    }

    /// The object of a step, as `namespace/name`.
    fn id(&self, place: &Place) -> Option<&str> {
        match place {
            Place::Mailbox(address) => self.mailboxes.get(address).map(String::as_str),
            Place::Alias(catch) => self.aliases.get(catch).map(|route| route.rank.id.as_str()),
        }
    }
}

/// Where mail ends that only aliases forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// Nowhere, as far as is known.
    #[default]
    Unknown,
    /// In one mailbox, by its number.
    In(usize),
    /// In several mailboxes, or outside.
    Several,
}

impl End {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, end) | (end, Self::Unknown) => end,
            (Self::In(one), Self::In(other)) if one == other => self,
            (Self::In(_) | Self::Several, Self::In(_) | Self::Several) => Self::Several,
        }
    }
}

/// The paths of mail through mailboxes and aliases. Steps have numbers: there may be thousands of aliases with a hundred
/// targets each, and a search must pass each of them only once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    routes: Routes,
    places: Vec<Place>,
    numbers: HashMap<Place, usize>,
    /// The steps after each alias.
    next: Vec<Vec<usize>>,
    ends: Vec<End>,
}

impl From<Routes> for Paths {
    fn from(routes: Routes) -> Self {
        let mailboxes = routes.mailboxes.keys().cloned().map(Place::Mailbox);
        let places: Vec<Place> = mailboxes.chain(routes.aliases.keys().cloned().map(Place::Alias)).collect();
        let numbers: HashMap<Place, usize> = places.iter().cloned().zip(0..).collect();
        let next = places.iter().map(|place| match place {
            Place::Mailbox(_) => Vec::new(),
            Place::Alias(catch) => routes.next(catch).iter().filter_map(|next| numbers.get(next).copied()).collect(),
        });
        let next = next.collect();
        let ends = vec![End::default(); places.len()];
        let mut paths = Self { routes, places, numbers, next, ends };
        paths.find_ends();
        paths
    }
}

impl Paths {
    /// Whether all mail to an address ends in this mailbox, by its name or through aliases.
    pub fn ends_only_in(&self, to: &Target, mailbox: &Address) -> bool {
        to.is_in(mailbox) || self.only_end(to) == Some(mailbox)
    }

    /// The mailbox in which all mail to an address ends, if there is only one.
    pub fn only_end(&self, to: &Target) -> Option<&Address> {
        match self.places.get(self.only_end_of(self.number_of(to)?)?)? {
            Place::Mailbox(mailbox) => Some(mailbox),
            Place::Alias(_) => None,
        }
    }

    fn only_end_of(&self, number: usize) -> Option<usize> {
        match self.ends[number] {
            End::In(mailbox) => Some(mailbox),
            End::Unknown | End::Several => None,
        }
    }

    fn number_of(&self, to: &Target) -> Option<usize> {
        self.numbers.get(&self.routes.first_of(to)?).copied()
    }

    /// Passes each end back to what leads there.
    fn find_ends(&mut self) {
        let mut before = vec![Vec::new(); self.places.len()];
        let mut due = Vec::new();
        for (number, place) in self.places.iter().enumerate() {
            for next in &self.next[number] {
                before[*next].push(number);
            }
            match place {
                Place::Mailbox(_) => due.push((number, End::In(number))),
                Place::Alias(catch) if self.routes.leaves(catch, self.next[number].len()) => {
                    due.push((number, End::Several));
                }
                Place::Alias(_) => {}
            }
        }
        while let Some((number, end)) = due.pop() {
            let known = &mut self.ends[number];
            let end = known.and(end);
            if *known != end {
                *known = end;
                due.extend(before[number].iter().map(|before| (*before, end)));
            }
        }
    }

    fn id(&self, number: usize) -> &str {
        self.routes.id(&self.places[number]).unwrap_or_default()
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
        if way.len() > MOST_STEPS {
            way.splice(MOST_STEPS / 2..way.len() - MOST_STEPS / 2, ["…".to_owned()]);
        }
        let own: Vec<&str> = self.others.iter().map(String::as_str).filter(|id| is_own(id)).collect();
        let mut with: Vec<&str> = own.iter().take(MOST_STEPS).copied().collect();
        if with.len() < own.len() {
            with.push("other objects");
        }
        if own.len() < self.others.len() {
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
pub fn alias_loop(paths: &Paths, catch: &Catch) -> Option<ForwardingLoop> {
    let goal = *paths.numbers.get(&Place::Alias(catch.clone()))?;
    let own = &paths.routes.aliases.get(catch)?.rank;
    let comes_before = |number: &usize| match &paths.places[*number] {
        Place::Alias(other) => paths.routes.aliases.get(other).is_some_and(|route| route.rank <= *own),
        Place::Mailbox(_) => false,
    };
    let mut search = Search::new(paths, |number| {
        let next = paths.next[number].iter().copied().filter(comes_before);
        next.map(|next| (next, paths.id(number))).collect()
    });
    let mut starts = paths.next[goal].iter().copied().filter(comes_before);
    let way = starts.find_map(|start| search.way_to(start, goal))?;
    Some(closed(paths, &own.id, vec![], goal, &way))
}

/// The rules that must be left out so that no rule's mail comes back: the youngest rule of each loop. A rule does not
/// forward to its own mailbox.
pub fn rule_loops(paths: &Paths, rules: &[Sends]) -> Vec<ForwardingLoop> {
    let mut order: Vec<&Sends> = rules.iter().collect();
    order.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    let mut active = ActiveRules { paths, rules: Vec::new(), of_mailbox: vec![Vec::new(); paths.places.len()] };
    let mut found = Vec::new();
    for rule in order {
        let number = active.add(rule);
        if let Some(closed) = active.loop_through(number) {
            found.push(closed);
            active.remove(number);
        }
    }
    found
}

/// Rules that forward, none of whose mail comes back.
struct ActiveRules<'a> {
    paths: &'a Paths,
    rules: Vec<ActiveRule<'a>>,
    /// The rules of each mailbox, by their numbers.
    of_mailbox: Vec<Vec<usize>>,
}

struct ActiveRule<'a> {
    rule: &'a Sends,
    /// Its mailboxes.
    from: Vec<usize>,
    /// Its targets that are known steps.
    to: Vec<Known<'a>>,
}

/// A target of a rule that is a known step.
#[derive(Clone, Copy)]
struct Known<'a> {
    target: &'a Target,
    number: usize,
    /// The only mailbox in which its mail ends.
    end: Option<usize>,
}

impl<'a> ActiveRules<'a> {
    fn add(&mut self, rule: &'a Sends) -> usize {
        let of = |from: &Address| self.paths.numbers.get(&Place::Mailbox(from.clone())).copied();
        let from: Vec<usize> = rule.from.iter().filter_map(of).collect();
        let known = |target: &'a Target| {
            let number = self.paths.number_of(target)?;
            Some(Known { target, number, end: self.paths.only_end_of(number) })
        };
        let to = rule.to.iter().filter_map(known).collect();
        let number = self.rules.len();
        for from in &from {
            self.of_mailbox[*from].push(number);
        }
        self.rules.push(ActiveRule { rule, from, to });
        number
    }

    fn remove(&mut self, number: usize) {
        for from in &self.rules[number].from {
            self.of_mailbox[*from].retain(|known| *known != number);
        }
    }

    /// The loop that a rule closes. Only the mailboxes that its mail reaches at all are looked at one by one.
    fn loop_through(&self, number: usize) -> Option<ForwardingLoop> {
        let ActiveRule { rule, from, to } = &self.rules[number];
        let reached = self.reached(to.iter().map(|to| to.number).collect());
        from.iter().filter(|from| reached[**from]).find_map(|from| {
            let mut search = self.search();
            let mut starts = to.iter().filter(|to| !self.is_left_alone(rule, to, *from));
            let way = starts.find_map(|to| search.way_to(to.number, *from))?;
            let by: Vec<String> = way.iter().filter_map(|(_, by)| by.map(ToOwned::to_owned)).collect();
            Some(closed(self.paths, &rule.id, by, *from, &way))
        })
    }

    /// Whether a rule does nothing with a target in one of its mailboxes.
    fn is_left_alone(&self, rule: &Sends, to: &Known<'_>, from: usize) -> bool {
        let is_itself = matches!(&self.paths.places[from], Place::Mailbox(mailbox) if to.target.is_in(mailbox));
        is_itself || (rule.is_of_domain && to.end == Some(from))
    }

    /// All steps that mail to these reaches; maybe some more, because a rule may leave a target alone in a mailbox.
    fn reached(&self, mut open: Vec<usize>) -> Vec<bool> {
        let mut reached = vec![false; self.paths.places.len()];
        let mut followed = vec![false; self.rules.len()];
        while let Some(here) = open.pop() {
            if std::mem::replace(&mut reached[here], true) {
                continue;
            }
            open.extend(&self.paths.next[here]);
            for rule in &self.of_mailbox[here] {
                if !std::mem::replace(&mut followed[*rule], true) {
                    open.extend(self.rules[*rule].to.iter().map(|to| to.number));
                }
            }
        }
        reached
    }

    /// A search through aliases and rules. Each target of a rule is followed from one of the rule's mailboxes only.
    fn search<'s>(&'s self) -> Search<impl FnMut(usize) -> Vec<(usize, &'s str)>> {
        let mut left: HashMap<usize, Vec<Known<'_>>> = HashMap::new();
        Search::new(self.paths, move |here| {
            let mut steps: Vec<(usize, &str)> =
                self.paths.next[here].iter().map(|next| (*next, self.paths.id(here))).collect();
            for number in &self.of_mailbox[here] {
                let ActiveRule { rule, to, .. } = &self.rules[*number];
                let known = left.remove(number).unwrap_or_else(|| to.clone());
                let (stay, go): (Vec<_>, Vec<_>) = known.into_iter().partition(|to| self.is_left_alone(rule, to, here));
                steps.extend(go.into_iter().map(|to| (to.number, rule.id.as_str())));
                left.insert(*number, stay);
            }
            steps
        })
    }
}

/// A loop from the path that leads back to its first step, and the rules and aliases between them.
fn closed(paths: &Paths, id: &str, by: Vec<String>, first: usize, way: &[(usize, Option<&str>)]) -> ForwardingLoop {
    let numbers = || std::iter::once(first).chain(way.iter().map(|(number, _)| *number));
    let aliases = numbers().filter(|number| matches!(paths.places[*number], Place::Alias(_)));
    let mut others: Vec<String> = Vec::new();
    for other in by.into_iter().chain(aliases.map(|number| paths.id(number).to_owned())) {
        if other != id && !others.contains(&other) {
            others.push(other);
        }
    }
    let way = numbers().map(|number| (paths.places[number].clone(), paths.id(number).to_owned()));
    ForwardingLoop { id: id.to_owned(), others, way: way.collect() }
}

/// A search for a path from one of several steps, one after the other. What leads nowhere is passed once.
struct Search<F> {
    /// The steps after one, each with the object that forwards mail there.
    steps: F,
    /// Steps of earlier searches, which don't lead to the goal.
    dead: Vec<bool>,
}

impl<'a, F: FnMut(usize) -> Vec<(usize, &'a str)>> Search<F> {
    fn new(paths: &Paths, steps: F) -> Self {
        Self { steps, dead: vec![false; paths.places.len()] }
    }

    /// The shortest path from one step to the goal, both included; each with the object that forwards mail there.
    fn way_to(&mut self, start: usize, goal: usize) -> Option<Vec<(usize, Option<&'a str>)>> {
        if self.dead[start] {
            return None;
        }
        let mut came: HashMap<usize, Option<(usize, &'a str)>> = HashMap::from([(start, None)]);
        let mut queue = VecDeque::from([start]);
        while let Some(here) = queue.pop_front() {
            if here == goal {
                let mut way = Vec::new();
                let mut at = Some(here);
                while let Some(number) = at {
                    let before = came.get(&number).copied().flatten();
                    at = before.map(|(number, _)| number);
                    way.push((number, before.map(|(_, by)| by)));
                }
                way.reverse();
                return Some(way);
            }
            for (next, by) in (self.steps)(here) {
                if !self.dead[next] && !came.contains_key(&next) {
                    came.insert(next, Some((here, by)));
                    queue.push_back(next);
                }
            }
        }
        for number in came.into_keys() {
            self.dead[number] = true;
        }
        None
    }
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
        rule_loops(&routes.clone().into(), rules).into_iter().map(shown).collect()
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
        assert_eq!(rule_loops(&routes.clone().into(), &rules)[0].others, ["n/2", "n/0", "n/1"]);
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
        assert_eq!(rule_loops(&routes.clone().into(), &two)[0].others, ["n/0", "n/sales", "n/team"]);
    }

    fn alias(routes: &Routes, catch: &str) -> Option<String> {
        let catch = if catch.starts_with('@') { Catch::parse(catch).unwrap() } else { Catch::One(at(catch)) };
        let found = alias_loop(&routes.clone().into(), &catch)?;
        let way: Vec<String> = found.way.iter().map(|(place, _)| place.to_string().replace("@e.com", "")).collect();
        Some(way.join(">"))
    }

    #[test]
    fn of_aliases_that_lead_to_each_other_the_youngest_closes_the_loop() {
        let routes = routes(&["m"], &[("a", &["b", "m"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]);
        assert_eq!(alias(&routes, "c").as_deref(), Some("c>a>b>c"));
        assert_eq!((alias(&routes, "a"), alias(&routes, "b"), alias(&routes, "d")), (None, None, None));
        assert_eq!(alias_loop(&routes.clone().into(), &Catch::One(at("c"))).unwrap().others, ["n/a", "n/b"]);
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
        let found = alias_loop(&routes.clone().into(), &Catch::parse("@b.com").unwrap()).unwrap();
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
        let one = rule_loops(&routes.clone().into(), &[rule("r", 0, &["a"], &["list@f.com"])]).remove(0);
        assert_eq!(
            one.message("spec.actions", "n"),
            "spec.actions: forwarding loop with objects of other namespaces: a@e.com → list@f.com → an address of \
             another namespace → a@e.com; remove one of these steps"
        );
        assert!(one.message("spec.actions", "x").contains("inner@f.com"));
    }

    #[test]
    fn a_long_loop_is_named_in_short() {
        let names: Vec<String> = (0..500).map(|n| format!("a{n}")).collect();
        let next: Vec<[&str; 1]> = (0..500).map(|n| [names[(n + 1) % 500].as_str()]).collect();
        let aliases: Vec<(&str, &[&str])> =
            names.iter().map(String::as_str).zip(next.iter().map(|to| &to[..])).collect();
        let routes = routes(&[], &aliases);
        let found = alias_loop(&routes.into(), &Catch::One(at("a499"))).unwrap();
        assert_eq!((found.way.len(), found.others.len()), (501, 499));
        assert_eq!(
            found.message("spec.goto", "n"),
            "spec.goto: forwarding loop with n/a0, n/a1, n/a2, n/a3, n/a4, n/a5, n/a6, n/a7, n/a8, n/a9, other objects: \
             a499@e.com → a0@e.com → a1@e.com → a2@e.com → a3@e.com → … → a495@e.com → a496@e.com → a497@e.com → \
             a498@e.com → a499@e.com; remove one of these steps"
        );
    }

    /// As much as the quota of `docs/tenancy.md` allows: all aliases lead to the next hundred, and all rules to all of
    /// them. A search that followed each path would not end.
    #[test]
    fn many_aliases_and_rules_are_passed_once() {
        let names: Vec<String> = (0..1000).map(|n| format!("a{n}")).collect();
        let mailboxes: Vec<String> = (0..400).map(|n| format!("m{n}")).collect();
        let mut routes = Routes::default();
        for mailbox in &mailboxes {
            routes.add_mailbox(at(mailbox), format!("n/{mailbox}"));
        }
        for (n, name) in (0_i64..).zip(&names) {
            let next = names.iter().skip(usize::try_from(n).unwrap() + 1).take(100);
            let rank = Rank { is_new: true, created: n, id: format!("n/{name}") };
            let to = next.map(|to| at(to)).chain([at("m0")]).collect();
            routes.add_alias(Catch::One(at(name)), Route { rank, to });
        }
        let paths = Paths::from(routes);
        assert!(names.iter().all(|name| paths.only_end(&target(name)) == Some(&at("m0"))));
        assert_eq!(alias_loop(&paths, &Catch::One(at("a0"))), None);
        let from: Vec<&str> = mailboxes.iter().skip(1).map(String::as_str).collect();
        let to: Vec<&str> = names.iter().take(250).map(String::as_str).collect();
        let rules: Vec<Sends> = (0..100).map(|n| of_domain(rule(&format!("r{n:03}"), n, &from, &to))).collect();
        assert_eq!(rule_loops(&paths, &rules), []);
        let back = rule("back", 1000, &["m0"], &["m7"]);
        let found = rule_loops(&paths, &[rules, vec![back]].concat());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].way.len()), ("n/back", 4));
    }
}
