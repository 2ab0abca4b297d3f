//! What is remembered of things that can be listed together: one kind in one domain, say.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::shrink::shrink;

/// So many things are asked for one by one before all are listed.
const SINGLES: usize = 8;

/// What to do for a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<V> {
    /// Nothing: this is the answer.
    Known(Option<V>),
    /// Ask for it by itself.
    Single,
    /// List all.
    List,
}

/// How what is remembered is looked at again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again<K> {
    /// By a list.
    List,
    /// One by one.
    Singles(Vec<K>),
}

/// What was seen of a thing, beside what was remembered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// Whether it is as it was remembered, if it was.
    pub(super) is_same: bool,
    /// Whether its objects don't know: its settings are not as they were and no write of ours explains that, or it could
    /// not be read before.
    pub(super) is_news: bool,
}

/// Things of one kind, by what they are called.
#[derive(Debug)]
pub(super) struct Page<K, V> {
    state: Mutex<State<K, V>>,
    turn: tokio::sync::Mutex<()>,
    /// Whether two differ in nothing but figures, such as how much mail there is.
    same_settings: fn(&V, &V) -> bool,
}

#[derive(Debug)]
struct State<K, V> {
    /// So many in a list take Mailcow as long as one asked for by itself; 0 where there is no list of them.
    for_one: usize,
    /// When all were last listed.
    listed: Option<Instant>,
    /// Whether a question failed since then: until it is listed again nothing of it counts.
    is_doubted: bool,
    /// How many the last list held.
    total: usize,
    /// How many objects of ours are known to belong here.
    ours: usize,
    /// All that was listed.
    things: HashMap<K, V>,
    /// What was asked for by itself, and when it was last seen and last asked for.
    singles: HashMap<K, Single<V>>,
    /// What is known to be otherwise by now.
    stale: HashSet<K>,
    /// What could not be read when it was last asked for: its objects wait for that.
    unread: HashSet<K>,
    /// What a write of ours changed that was not seen since.
    written: HashSet<K>,
    /// What happened while all are being listed.
    meanwhile: Option<Meanwhile<K>>,
}

/// What a list that is coming in may not know yet.
#[derive(Debug)]
struct Meanwhile<K> {
    /// What was seen by itself, as often as it was.
    seen: Vec<K>,
    /// What became otherwise.
    outdated: HashSet<K>,
    /// Whether more may have become otherwise than is known.
    is_doubted: bool,
}

#[derive(Debug)]
struct Single<V> {
    seen: Option<(Instant, Option<V>)>,
    asked: Instant,
}

impl<K, V> Page<K, V> {
    /// Of things of which `for_one` in a list take Mailcow as long as one asked for by itself. `same_settings` tells whether
    /// two differ in nothing but figures.
    pub(super) fn of(for_one: usize, same_settings: fn(&V, &V) -> bool) -> Self {
        let state = State {
            for_one,
            listed: None,
            is_doubted: false,
            total: 0,
            ours: 0,
            things: HashMap::new(),
            singles: HashMap::new(),
            stale: HashSet::new(),
            unread: HashSet::new(),
            written: HashSet::new(),
            meanwhile: None,
        };
        Self { state: Mutex::new(state), turn: tokio::sync::Mutex::default(), same_settings }
    }

    /// Of things that can only be asked for one by one.
    pub(super) fn without_list(same_settings: fn(&V, &V) -> bool) -> Self {
        Self::of(0, same_settings)
    }
}

impl<K: Clone + Eq + Hash, V: Clone + PartialEq> Page<K, V> {
    /// Says how many objects of ours belong here.
    pub(super) fn count_ours(&self, ours: usize) {
        self.state().ours = ours;
    }

    /// Decides how a question is answered, with what is remembered for `keep`.
    pub(super) fn next(&self, key: &K, keep: Duration) -> Next<V> {
        let mut state = self.state();
        if state.stale.contains(key) {
            return Next::Single;
        }
        if state.is_listed(keep) {
            return Next::Known(state.things.get(key).cloned());
        }
        state.unlist();
        let now = Instant::now();
        let single = state.singles.entry(key.clone()).or_insert(Single { seen: None, asked: now });
        single.asked = now;
        if let Some((_, known)) = single.seen.as_ref().filter(|(seen, _)| seen.elapsed() < keep) {
            return Next::Known(known.clone());
        }
        if state.is_worth_a_list() { Next::List } else { Next::Single }
    }

    /// Whether nothing is remembered, and nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.listed.is_none() && state.singles.is_empty() && state.meanwhile.is_none()
    }

    /// What was last seen of a thing, however long ago.
    pub(super) fn remembered<T>(&self, key: &K, what: impl FnOnce(&V) -> T) -> Option<T> {
        self.state().last_seen(key).map(what)
    }

    /// Whether a thing was seen to be missing and not seen since.
    pub(super) fn is_missing(&self, key: &K) -> bool {
        let state = self.state();
        let seen = || state.singles.get(key).and_then(|single| single.seen.as_ref());
        if state.listed.is_some() {
            !state.things.contains_key(key)
        } else {
            seen().is_some_and(|(_, it)| it.is_none())
        }
    }

    /// Whether the thing was last seen to be missing, within `keep`.
    pub(super) fn is_missing_within(&self, key: &K, keep: Duration) -> bool {
        let state = self.state();
        if state.stale.contains(key) {
            return false;
        }
        if state.is_listed(keep) {
            return !state.things.contains_key(key);
        }
        let single = state.singles.get(key).and_then(|single| single.seen.as_ref());
        single.is_some_and(|(seen, thing)| seen.elapsed() < keep && thing.is_none())
    }

    /// A thing of a list that is remembered, by what it is like.
    pub(super) fn find(&self, is_it: impl Fn(&V) -> bool) -> Option<K> {
        self.state().things.iter().find(|(_, thing)| is_it(thing)).map(|(key, _)| key.clone())
    }

    /// Says how many things there are, as is known before any list.
    pub(super) fn expect_total(&self, total: usize) {
        let mut state = self.state();
        if state.listed.is_none() {
            state.total = total;
        }
    }

    /// Has a thing asked for by itself the next time.
    pub(super) fn outdate(&self, key: &K) {
        self.state().outdate(key.clone());
    }

    /// A thing, or the list that was asked for in its stead, could not be read: its objects wait until it can be.
    pub(super) fn unread(&self, key: &K) {
        let mut state = self.state();
        state.unread.insert(key.clone());
        if state.listed.is_none() {
            // It is polled, whoever asked for it.
            let new = || Single { seen: None, asked: Instant::now() };
            state.singles.entry(key.clone()).or_insert_with(new);
        }
    }

    /// A write of ours changed the thing: what is seen of it next is no news.
    pub(super) fn written(&self, key: &K) {
        self.state().written.insert(key.clone());
    }

    /// Has everything of which this is true asked for by itself the next time, because a write of ours touched it; gives
    /// what is known to be so. A list that is coming in may show more of it as it was, so it won't count.
    pub(super) fn outdate_where(&self, is_so: impl Fn(&K, &V) -> bool) -> Vec<K> {
        let mut state = self.state();
        let singles = state.singles.iter().filter_map(|(key, single)| Some((key, single.seen.as_ref()?.1.as_ref()?)));
        let all = state.things.iter().chain(singles);
        let found: Vec<K> = all.filter(|(key, thing)| is_so(key, thing)).map(|(key, _)| key.clone()).collect();
        for key in &found {
            state.outdate(key.clone());
            state.written.insert(key.clone());
        }
        if let Some(meanwhile) = &mut state.meanwhile {
            meanwhile.is_doubted = true;
        }
        found
    }

    /// Has everything that was listed, or the thing alone, asked for again: a question about it got no answer, and what
    /// is remembered must not pass for one.
    pub(super) fn doubt(&self, key: &K) {
        let mut state = self.state();
        state.is_doubted = true;
        // What was seen stays for comparison.
        if state.singles.get(key).is_some_and(|single| single.seen.is_some()) {
            state.stale.insert(key.clone());
        }
    }

    /// How to look at it again. What nobody asked for by itself within `forget` is forgotten.
    pub(super) fn again(&self, forget: Duration) -> Again<K> {
        let mut state = self.state();
        state.unlist();
        if state.listed.is_some() {
            return Again::List;
        }
        state.singles.retain(|_, single| single.asked.elapsed() < forget);
        let State { stale, unread, written, singles, .. } = &mut *state;
        // What is not remembered is asked for anyway.
        for keys in [stale, unread, written] {
            keys.retain(|key| singles.contains_key(key));
            shrink(keys);
        }
        shrink(singles);
        Again::Singles(state.singles.keys().cloned().collect())
    }

    /// How to look again at what could not be read; `None` where all of it could.
    pub(super) fn again_unread(&self) -> Option<Again<K>> {
        let state = self.state();
        if state.unread.is_empty() {
            return None;
        }
        let singles = || Again::Singles(state.unread.iter().cloned().collect());
        Some(if state.is_worth_a_list() { Again::List } else { singles() })
    }

    /// Says that all are about to be listed.
    pub(super) fn begin_list(&self) {
        // What came in since a try that failed still counts: the next one goes on from there.
        let new = || Meanwhile { seen: Vec::new(), outdated: HashSet::new(), is_doubted: false };
        self.state().meanwhile.get_or_insert_with(new);
    }

    /// Enters a whole list; gives what its objects don't know. What was seen by itself since the list began stays.
    pub(super) fn fill(&self, things: Vec<(K, V)>) -> Vec<K> {
        let mut state = self.state();
        let mut new: HashMap<K, V> = things.into_iter().collect();
        state.stale.clear();
        state.is_doubted = false;
        if let Some(Meanwhile { seen, outdated, is_doubted }) = state.meanwhile.take() {
            state.stale = outdated;
            state.is_doubted = is_doubted;
            for key in seen {
                match state.last_seen(&key).cloned() {
                    Some(thing) => new.insert(key, thing),
                    None => new.remove(&key),
                };
            }
        }
        state.total = new.len();
        let written = std::mem::take(&mut state.written);
        let mut news = std::mem::take(&mut state.unread);
        let changed = state.not_as_remembered(&new, self.same_settings);
        news.extend(changed.into_iter().filter(|key| !written.contains(key)));
        if state.is_worth_a_list() {
            state.listed = Some(Instant::now());
            state.things = new;
            state.singles = HashMap::new();
        } else {
            state.keep_only_singles(new);
        }
        news.into_iter().collect()
    }

    /// Enters what was seen of one thing.
    pub(super) fn enter(&self, key: K, thing: Option<&V>) -> Entered {
        let mut state = self.state();
        state.stale.remove(&key);
        let (was_unread, is_ours) = (state.unread.remove(&key), state.written.remove(&key));
        if let Some(meanwhile) = &mut state.meanwhile {
            meanwhile.seen.push(key.clone());
            meanwhile.outdated.remove(&key);
        }
        let before = if state.listed.is_some() {
            Some(match thing.cloned() {
                Some(thing) => state.things.insert(key, thing),
                None => state.things.remove(&key),
            })
        } else {
            let now = Instant::now();
            let single = state.singles.entry(key).or_insert(Single { seen: None, asked: now });
            single.seen.replace((now, thing.cloned())).map(|(_, before)| before)
        };
        let (is_same, has_same_settings) = match (before, thing) {
            (None, _) | (Some(None), None) => (true, true),
            (Some(Some(before)), Some(now)) => (before == *now, (self.same_settings)(&before, now)),
            (Some(None), Some(_)) | (Some(Some(_)), None) => (false, false),
        };
        Entered { is_same, is_news: was_unread || !(has_same_settings || is_ours) }
    }

    /// Waits for the right to list.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    fn outdate(&mut self, key: K) {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.outdated.insert(key.clone());
        }
        self.stale.insert(key);
    }

    fn is_listed(&self, keep: Duration) -> bool {
        !self.is_doubted && self.listed.is_some_and(|listed| listed.elapsed() < keep)
    }

    fn is_worth_a_list(&self) -> bool {
        let ours = self.ours.max(self.singles.len());
        // Once listed, those that were asked for by themselves are not counted any more.
        let is_many = ours > SINGLES || (self.listed.is_some() && self.ours == 0);
        self.for_one > 0 && is_many && self.total <= self.for_one * ours.max(SINGLES)
    }

    /// What was last seen of a thing, however long ago; `None` also when it was seen to be missing.
    fn last_seen(&self, key: &K) -> Option<&V> {
        let single = || self.singles.get(key)?.seen.as_ref()?.1.as_ref();
        self.things.get(key).or_else(single)
    }

    /// What of all that is remembered is otherwise in a whole list, and what of a whole list that is remembered is new.
    fn not_as_remembered(&self, new: &HashMap<K, V>, same_settings: fn(&V, &V) -> bool) -> Vec<K> {
        let differs = |key: &K, before: Option<&V>| match (before, new.get(key)) {
            (Some(before), Some(now)) => !same_settings(before, now),
            (before, now) => before.is_some() || now.is_some(),
        };
        let singles = self.singles.iter().filter_map(|(key, single)| Some((key, single.seen.as_ref()?.1.as_ref())));
        let listed = self.things.iter().map(|(key, thing)| (key, Some(thing)));
        let changed = listed.chain(singles).filter(|(key, before)| differs(key, *before)).map(|(key, _)| key);
        let came = new.keys().filter(|key| self.listed.is_some() && !self.things.contains_key(key));
        changed.chain(came).cloned().collect()
    }

    /// Forgets a list that would not be made any more.
    fn unlist(&mut self) {
        if self.listed.is_some() && !self.is_worth_a_list() {
            self.listed = None;
            self.things = HashMap::new();
        }
    }

    /// After a list that will not be repeated: remembers of it what was asked for.
    fn keep_only_singles(&mut self, mut things: HashMap<K, V>) {
        let now = Instant::now();
        self.singles.iter_mut().for_each(|(key, single)| single.seen = Some((now, things.remove(key))));
        self.listed = None;
        self.things = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    /// Upper and lower case differ in figures only.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "pages compare things of any size")]
    fn same(a: &char, b: &char) -> bool {
        a.eq_ignore_ascii_case(b)
    }

    /// As it was.
    const SAME: Entered = Entered { is_same: true, is_news: false };
    /// Not as it was, and its objects are to know.
    const NEWS: Entered = Entered { is_same: false, is_news: true };

    fn asked(times: u32) -> Page<u32, char> {
        let page = Page::of(20, same);
        for n in 0..times {
            assert_eq!(page.next(&n, LONG), Next::Single);
            assert!(page.enter(n, Some(&'a')) == SAME, "what is seen first is no change");
        }
        page
    }

    #[test]
    fn what_is_remembered_is_no_answer_after_a_question_that_failed() {
        let few = asked(3);
        few.doubt(&1);
        assert_eq!((few.next(&1, LONG), few.next(&2, LONG)), (Next::Single, Next::Known(Some('a'))));
        let many = asked(8);
        many.count_ours(20);
        assert!(many.fill((0..20).map(|n| (n, 'a')).collect()).is_empty());
        many.doubt(&1);
        assert_eq!(many.next(&2, LONG), Next::List);
        assert_eq!(many.fill((0..20).map(|n| (n, if n == 3 { 'b' } else { 'a' })).collect()), [3]);
        assert_eq!(many.next(&1, LONG), Next::Known(Some('a')));
    }

    #[test]
    fn few_questions_are_asked_one_by_one_and_many_by_a_list() {
        let page = asked(8);
        assert_eq!(page.next(&99, LONG), Next::List);
        assert_eq!(page.fill(vec![(1, 'a')]).len(), 7, "seen by itself and not in the list");
        assert_eq!(page.next(&1, LONG), Next::Known(Some('a')));
        assert_eq!(page.next(&2, LONG), Next::Known(None), "what is not in a whole list does not exist");
        assert_eq!(page.again(LONG), Again::List);
    }

    #[test]
    fn where_many_of_ours_are_known_to_be_the_first_question_lists() {
        let page: Page<u32, char> = Page::of(20, same);
        page.count_ours(9);
        assert_eq!(page.next(&1, LONG), Next::List);
    }

    #[test]
    fn a_single_answer_is_remembered_and_does_not_stand_for_the_rest() {
        let page = asked(1);
        assert_eq!(page.next(&0, LONG), Next::Known(Some('a')));
        assert_eq!(page.next(&2, LONG), Next::Single);
        assert_eq!(page.next(&0, Duration::ZERO), Next::Single, "what is old is asked again");
    }

    #[test]
    fn what_was_seen_to_be_missing_is_known_without_a_question() {
        let page = asked(2);
        page.enter(1, None);
        let is_missing = |key, keep| page.is_missing_within(&key, keep);
        assert!(is_missing(1, LONG) && !is_missing(0, LONG) && !is_missing(7, LONG));
        assert!(!is_missing(1, Duration::ZERO), "what is old counts no more");
        let listed = asked(8);
        listed.count_ours(9);
        listed.fill(vec![(1, 'a')]);
        assert!(listed.is_missing_within(&2, LONG) && !listed.is_missing_within(&1, LONG));
    }

    #[test]
    fn two_lists_show_what_changed_came_and_went() {
        let page = asked(8);
        page.count_ours(9);
        page.fill(vec![(1, 'a'), (2, 'b'), (3, 'c')]);
        let mut changed = page.fill(vec![(1, 'a'), (2, 'x'), (4, 'd')]);
        changed.sort_unstable();
        assert_eq!(changed, [2, 3, 4]);
    }

    #[test]
    fn what_is_seen_after_a_list_is_entered_and_no_change_later() {
        let page = asked(8);
        page.count_ours(9);
        page.fill(vec![(1, 'a')]);
        assert_eq!((page.enter(1, None), page.enter(2, Some(&'b'))), (NEWS, NEWS));
        assert_eq!(page.next(&1, LONG), Next::Known(None));
        assert!(page.fill(vec![(2, 'b')]).is_empty());
    }

    #[test]
    fn singles_show_what_changed_and_are_forgotten_when_nobody_asks() {
        let page = asked(2);
        assert_eq!(page.enter(0, Some(&'a')), SAME);
        assert_eq!(page.enter(0, Some(&'A')), Entered { is_same: false, is_news: false }, "more mail is no news");
        assert_eq!((page.enter(0, Some(&'b')), page.enter(0, None), page.enter(0, None)), (NEWS, NEWS, SAME));
        let Again::Singles(mut keys) = page.again(LONG) else { panic!("nothing was listed") };
        keys.sort_unstable();
        assert_eq!(keys, [0, 1]);
        page.outdate(&0);
        assert!(!page.is_empty());
        assert_eq!(page.again(Duration::ZERO), Again::Singles(Vec::new()));
        assert!(page.is_empty() && page.state().stale.is_empty());
    }

    #[test]
    fn the_first_list_shows_what_is_not_as_it_was_seen_by_itself() {
        let page = asked(3);
        page.enter(2, None);
        page.count_ours(9);
        let mut news = page.fill(vec![(0, 'a'), (1, 'b'), (2, 'a'), (7, 'a')]);
        news.sort_unstable();
        assert_eq!(news, [1, 2], "of what nobody asked for nothing was known");
        // A list that is not kept shows it too.
        let page = asked(3);
        let crowd = (0..1000).map(|n| (n, if n == 1 { 'b' } else { 'a' })).collect();
        assert_eq!(page.fill(crowd), [1]);
        assert_eq!(page.next(&1, LONG), Next::Known(Some('b')));
    }

    #[test]
    fn a_change_is_not_lost_to_a_question_that_failed_before() {
        let page = asked(2);
        page.doubt(&1);
        assert_eq!(page.enter(1, Some(&'b')), NEWS);
    }

    #[test]
    fn what_a_write_of_ours_changed_is_no_news_once() {
        let page = asked(2);
        page.written(&1);
        assert_eq!(page.enter(1, Some(&'b')), Entered { is_same: false, is_news: false });
        assert_eq!(page.enter(1, Some(&'c')), NEWS);
        let page = asked(8);
        page.count_ours(9);
        page.fill(vec![(1, 'a'), (2, 'a')]);
        page.written(&1);
        assert_eq!(page.fill(vec![(1, 'b'), (2, 'b')]), [2]);
        assert_eq!(page.fill(vec![(1, 'c'), (2, 'b')]), [1]);
    }

    #[test]
    fn what_could_not_be_read_is_news_once_it_can_be() {
        let page = asked(2);
        assert_eq!(page.again_unread(), None);
        page.unread(&1);
        page.unread(&7);
        let Some(Again::Singles(mut keys)) = page.again_unread() else { panic!("it is asked for by itself") };
        keys.sort_unstable();
        assert_eq!(keys, [1, 7]);
        assert_eq!(page.enter(1, Some(&'a')), Entered { is_same: true, is_news: true });
        page.count_ours(9);
        assert_eq!(page.again_unread(), Some(Again::List));
        assert_eq!(page.fill(vec![(0, 'a'), (1, 'a'), (7, 'a')]), [7]);
        assert_eq!(page.again_unread(), None);
    }

    #[test]
    fn a_list_of_mostly_others_is_not_repeated() {
        let page = asked(8);
        assert_eq!(page.next(&8, LONG), Next::List);
        let crowd: Vec<(u32, char)> = (0..1000).map(|n| (n, 'a')).collect();
        assert!(page.fill(crowd.clone()).is_empty());
        assert_eq!(page.next(&8, LONG), Next::Known(Some('a')), "what it held of ours is remembered");
        assert_eq!(page.next(&77, LONG), Next::Single);
        page.count_ours(500);
        assert_eq!(page.next(&78, LONG), Next::List, "with more of ours it is worth while");
        page.fill(crowd);
        assert_eq!(page.next(&79, LONG), Next::Known(Some('a')));
    }

    #[test]
    fn what_is_out_of_date_is_asked_for_by_itself_and_then_known_again() {
        let page = asked(8);
        page.count_ours(9);
        page.fill(vec![(1, 'a'), (2, 'b')]);
        page.outdate(&1);
        assert_eq!((page.next(&1, LONG), page.next(&2, LONG)), (Next::Single, Next::Known(Some('b'))));
        page.enter(1, Some(&'c'));
        assert_eq!(page.next(&1, LONG), Next::Known(Some('c')));
    }

    #[test]
    fn what_is_seen_while_a_list_comes_in_is_newer_than_the_list() {
        let page = asked(8);
        page.count_ours(9);
        page.begin_list();
        page.enter(1, Some(&'z'));
        page.enter(2, None);
        page.outdate(&3);
        page.fill((0..5).map(|n| (n, 'a')).collect());
        let known = |n| page.next(&n, LONG);
        assert_eq!(known(3), Next::Single);
        assert_eq!((known(0), known(1), known(2)), (Next::Known(Some('a')), Next::Known(Some('z')), Next::Known(None)));
        assert!(page.fill(vec![(0, 'a'), (1, 'z'), (3, 'a'), (4, 'a')]).is_empty());
    }

    #[test]
    fn all_that_a_write_touched_is_asked_for_by_itself() {
        let page = asked(2);
        page.enter(1, Some(&'b'));
        assert_eq!(page.outdate_where(|_, thing| *thing == 'a'), [0]);
        assert_eq!((page.next(&0, LONG), page.next(&1, LONG)), (Next::Single, Next::Known(Some('b'))));
        let page = asked(8);
        page.count_ours(9);
        page.begin_list();
        page.outdate_where(|_, thing| *thing == 'b');
        page.fill((0..20).map(|n| (n, 'b')).collect());
        assert_eq!(page.next(&9, LONG), Next::List, "the list may be older than the write");
    }

    #[test]
    fn what_has_no_list_is_asked_for_one_by_one_however_many() {
        let page: Page<u32, char> = Page::without_list(same);
        assert!((0..100).all(|n| page.next(&n, LONG) == Next::Single));
    }

    #[test]
    fn a_list_is_given_up_when_few_of_ours_are_left() {
        let page = asked(8);
        page.count_ours(50);
        page.fill(vec![(1, 'a')]);
        page.count_ours(3);
        assert_eq!(page.again(LONG), Again::Singles(Vec::new()));
        assert_eq!(page.next(&1, LONG), Next::Single);
    }
}
