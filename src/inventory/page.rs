//! The cache for entries that can be listed together, for example one kind in one domain.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::held::{Entry, Held, Keys};
use crate::shrink::shrink;

/// Number of entries that are read one by one before all are listed.
const SINGLES: usize = 8;

/// How to answer a question.
#[derive(Debug, PartialEq)]
pub(super) enum Next<V> {
    /// From the cache: this is the answer.
    Known(Option<Held<V>>),
    /// Read this entry.
    Single,
    /// List all.
    List,
}

/// How to poll the cached entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Again<K> {
    /// With a list.
    List,
    /// One by one.
    Singles(Vec<K>),
    /// Not at all: the list with these entries is given up, because it costs more than single reads of ours. Whoever needs
    /// one of them has to ask for it once, so that it is polled by itself.
    Abandoned(Vec<K>),
}

/// A read of an entry, compared with the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// Whether it is the same as cached, if it was cached.
    pub(super) is_same: bool,
    /// Whether its objects don't know: its settings changed and no write of ours explains that, or it was not readable
    /// before.
    pub(super) is_news: bool,
}

/// Entries of one kind, by name.
#[derive(Debug)]
pub(super) struct Page<K, V> {
    state: Mutex<State<K, V>>,
    listing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State<K, V> {
    /// Mailcow needs as long for this many entries in a list as for a single request; 0 if there is no list.
    for_one: usize,
    /// When all were last listed.
    listed: Option<Instant>,
    /// Whether a question failed since then: the list is not valid until it is read again.
    is_doubted: bool,
    /// Number of entries in the last list.
    total: usize,
    /// Number of our objects that belong here.
    ours: usize,
    /// The most entries that were asked for before a list was made, and when. Others than ours ask too, and once there is a
    /// list they are no longer counted.
    asked: Option<(usize, Instant)>,
    /// All listed entries.
    things: HashMap<K, Held<V>>,
    /// Entries that were read singly, and when each was last read and last asked for.
    singles: HashMap<K, Single<V>>,
    /// Entries known to be outdated.
    stale: HashSet<K>,
    /// Entries of which only figures are outdated, such as the number of mailboxes.
    old_figures: HashSet<K>,
    /// Entries that were not readable: their objects wait for them.
    unread: HashSet<K>,
    /// Entries that our own write changed and that were not read since.
    written: HashSet<K>,
    /// What happened while all are being listed.
    meanwhile: Option<Meanwhile<K>>,
    /// Single reads in progress, by number.
    reads: HashMap<u64, Read<K>>,
    /// The number of the next one.
    next_read: u64,
}

/// A single read in progress.
#[derive(Debug)]
struct Read<K> {
    key: K,
    /// The entry became outdated, whatever its content.
    is_outdated: bool,
    /// Its figures did: they are no reason to read it again at once, because they may change with every write.
    has_old_figures: bool,
    /// Writes of ours affected the entries that have all of these keys.
    affected: Vec<Keys>,
}

/// A single read from its beginning to its end.
#[derive(Debug)]
pub(super) struct Reading<'a, K, V> {
    page: &'a Page<K, V>,
    number: u64,
}

impl<K, V> Drop for Reading<'_, K, V> {
    fn drop(&mut self) {
        self.page.state.lock().unwrap_or_else(PoisonError::into_inner).reads.remove(&self.number);
    }
}

/// What a list in progress may not contain yet.
#[derive(Debug)]
struct Meanwhile<K> {
    /// Entries read singly.
    seen: HashSet<K>,
    /// Entries that became outdated.
    outdated: HashSet<K>,
    /// Whether more may be outdated than is known.
    is_doubted: bool,
}

#[derive(Debug)]
struct Single<V> {
    seen: Option<(Instant, Option<Held<V>>)>,
    asked: Instant,
}

impl<K, V> Page<K, V> {
    /// For entries of which Mailcow needs as long for `for_one` in a list as for a single request.
    pub(super) fn of(for_one: usize) -> Self {
        let state = State {
            for_one,
            listed: None,
            is_doubted: false,
            total: 0,
            ours: 0,
            asked: None,
            things: HashMap::new(),
            singles: HashMap::new(),
            stale: HashSet::new(),
            old_figures: HashSet::new(),
            unread: HashSet::new(),
            written: HashSet::new(),
            meanwhile: None,
            reads: HashMap::new(),
            next_read: 0,
        };
        Self { state: Mutex::new(state), listing: tokio::sync::Mutex::default() }
    }

    /// For entries that can only be read one by one.
    pub(super) fn without_list() -> Self {
        Self::of(0)
    }
}

impl<K: Clone + Eq + Hash, V: Entry> Page<K, V> {
    /// Sets the number of our objects that belong here.
    pub(super) fn count_ours(&self, ours: usize) {
        self.state().ours = ours;
    }

    /// Decides how to answer a question, with a cache time of `keep`.
    pub(super) fn next(&self, key: &K, keep: Duration) -> Next<V> {
        let mut state = self.state();
        if state.stale.contains(key) || state.old_figures.contains(key) {
            return Next::Single;
        }
        if state.is_listed(keep) {
            return Next::Known(state.things.get(key).cloned());
        }
        let now = Instant::now();
        let single = state.singles.entry(key.clone()).or_insert(Single { seen: None, asked: now });
        single.asked = now;
        if let Some((_, known)) = single.seen.as_ref().filter(|(seen, _)| seen.elapsed() < keep) {
            return Next::Known(known.clone());
        }
        if state.is_worth_a_list() { Next::List } else { Next::Single }
    }

    /// Whether nothing is cached, and nothing is being read.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.listed.is_none() && state.singles.is_empty() && state.meanwhile.is_none()
    }

    /// The last read of an entry, however old.
    pub(super) fn remembered<T>(&self, key: &K, what: impl FnOnce(&V) -> T) -> Option<T> {
        let seen = self.state().last_seen(key).cloned();
        seen.map(|held| what(&held.entry()))
    }

    /// The last read within `keep`, if only figures may have changed since; `None` also if the entry was missing.
    pub(super) fn valid<T>(&self, key: &K, keep: Duration, what: impl FnOnce(&V) -> T) -> Option<T> {
        let seen = {
            let state = self.state();
            if state.stale.contains(key) {
                None
            } else if state.is_listed(keep) {
                state.things.get(key).cloned()
            } else {
                let seen = state.singles.get(key).and_then(|single| single.seen.as_ref());
                seen.filter(|(seen, _)| seen.elapsed() < keep).and_then(|(_, thing)| thing.clone())
            }
        };
        seen.map(|held| what(&held.entry()))
    }

    /// Whether an entry was last seen to exist.
    pub(super) fn is_known(&self, key: &K) -> bool {
        self.state().last_seen(key).is_some()
    }

    /// Whether an entry was last seen to be missing.
    pub(super) fn is_missing(&self, key: &K) -> bool {
        let state = self.state();
        let seen = || state.singles.get(key).and_then(|single| single.seen.as_ref());
        if state.listed.is_some() {
            !state.things.contains_key(key)
        } else {
            seen().is_some_and(|(_, it)| it.is_none())
        }
    }

    /// Whether the entry was last seen to be missing, within `keep`.
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

    /// Whether a list is cached, however old.
    pub(super) fn has_list(&self) -> bool {
        self.state().listed.is_some()
    }

    /// An entry of a cached list that has all of these keys, by its content.
    pub(super) fn find(&self, keys: impl Into<Keys>, is_it: impl Fn(&V) -> bool) -> Option<K> {
        let keys = keys.into();
        let is_it = |held: &Held<V>| held.may_have(keys) && is_it(&held.entry());
        self.state().things.iter().find(|(_, held)| is_it(held)).map(|(key, _)| key.clone())
    }

    /// Sets the number of entries, known before any list.
    pub(super) fn expect_total(&self, total: usize) {
        let mut state = self.state();
        if state.listed.is_none() {
            state.total = total;
        }
    }

    /// Makes the next question read this entry.
    pub(super) fn outdate(&self, key: &K) {
        self.state().outdate(key.clone());
    }

    /// Makes the next question read this entry for its figures.
    pub(super) fn outdate_figures(&self, key: &K) {
        let mut state = self.state();
        state.reads.values_mut().filter(|read| read.key == *key).for_each(|read| read.has_old_figures = true);
        state.outdate_figures(key.clone());
    }

    /// An entry, or the list read in its place, was not readable: its objects wait for it.
    pub(super) fn unread(&self, key: &K) {
        let mut state = self.state();
        state.unread.insert(key.clone());
        if state.listed.is_none() {
            // It is polled, whoever asked for it.
            let new = || Single { seen: None, asked: Instant::now() };
            state.singles.entry(key.clone()).or_insert_with(new);
        }
    }

    /// Our own write changed the entry: its next read is no news. If the write failed, the next question reads it.
    pub(super) fn mark(&self, key: &K, is_done: bool) {
        let mut state = self.state();
        if is_done {
            state.written.insert(key.clone());
        } else {
            state.outdate(key.clone());
        }
    }

    /// Makes the next question read every entry, because our own write affected them all; returns the known ones. A list in
    /// progress will not count.
    pub(super) fn outdate_all(&self) -> Vec<K> {
        let mut state = self.state();
        let is_seen = |single: &Single<V>| single.seen.as_ref().is_some_and(|(_, thing)| thing.is_some());
        let singles = state.singles.iter().filter(|(_, single)| is_seen(single)).map(|(key, _)| key);
        let found: Vec<K> = state.things.keys().chain(singles).cloned().collect();
        state.outdate_ours(&found);
        state.reads.values_mut().for_each(|read| read.is_outdated = true);
        found
    }

    /// Makes the next question read every entry that has all of these keys and for which this is true, because our own
    /// write affected it; returns the known ones. A list in progress may have older data, so it will not count.
    pub(super) fn outdate_where(&self, keys: impl Into<Keys>, is_so: impl Fn(&V) -> bool) -> Vec<K> {
        let keys = keys.into();
        let mut state = self.state();
        let singles = state.singles.iter().filter_map(|(key, single)| Some((key, single.seen.as_ref()?.1.as_ref()?)));
        let all = state.things.iter().chain(singles);
        let is_so = |held: &Held<V>| held.may_have(keys) && is_so(&held.entry());
        let found: Vec<K> = all.filter(|(_, held)| is_so(held)).map(|(key, _)| key.clone()).collect();
        state.outdate_ours(&found);
        state.reads.values_mut().for_each(|read| read.affected.push(keys));
        found
    }

    /// Makes the next question read again everything that was listed, or this entry: a question about it got no answer,
    /// so the cache is not valid.
    pub(super) fn doubt(&self, key: &K) {
        let mut state = self.state();
        state.is_doubted = true;
        // The last read stays for comparison.
        if state.singles.get(key).is_some_and(|single| single.seen.is_some()) {
            state.stale.insert(key.clone());
        }
    }

    /// How to poll again. Forgets single entries that nobody asked for within `forget`.
    pub(super) fn again(&self, forget: Duration) -> Again<K> {
        let mut state = self.state();
        state.asked = state.asked.filter(|(_, at)| at.elapsed() < forget);
        if state.listed.is_some() {
            if state.is_worth_a_list() {
                return Again::List;
            }
            state.listed = None;
            let keys: Vec<K> = std::mem::take(&mut state.things).into_keys().collect();
            state.forget_seen();
            return Again::Abandoned(keys);
        }
        state.singles.retain(|_, single| single.asked.elapsed() < forget);
        state.forget_seen();
        let State { stale, old_figures, unread, written, singles, .. } = &mut *state;
        // Entries that are not cached are read anyway.
        for keys in [stale, old_figures, unread, written] {
            keys.retain(|key| singles.contains_key(key));
            shrink(keys);
        }
        shrink(singles);
        Again::Singles(state.singles.keys().cloned().collect())
    }

    /// How to poll what was not readable; `None` if everything was.
    pub(super) fn again_unread(&self) -> Option<Again<K>> {
        let state = self.state();
        if state.unread.is_empty() {
            return None;
        }
        let singles = || Again::Singles(state.unread.iter().cloned().collect());
        Some(if state.is_worth_a_list() { Again::List } else { singles() })
    }

    /// Marks the beginning of a list.
    pub(super) fn begin_list(&self) {
        // Entries read since a failed try still count: the next try continues there.
        let new = || Meanwhile { seen: HashSet::new(), outdated: HashSet::new(), is_doubted: false };
        self.state().meanwhile.get_or_insert_with(new);
    }

    /// Stores a whole list; returns what its objects don't know. Single reads since the list began stay.
    pub(super) fn fill(&self, things: Vec<(K, Held<V>)>) -> Vec<K> {
        let mut state = self.state();
        let mut new: HashMap<K, Held<V>> = things.into_iter().collect();
        state.stale.clear();
        state.old_figures.clear();
        state.is_doubted = false;
        if let Some(Meanwhile { seen, outdated, is_doubted }) = state.meanwhile.take() {
            state.stale = outdated;
            state.is_doubted = is_doubted;
            let read: Vec<K> = seen.into_iter().collect();
            for key in read {
                match state.last_seen(&key).cloned() {
                    Some(thing) => new.insert(key, thing),
                    None => new.remove(&key),
                };
            }
        }
        state.total = new.len();
        let written = std::mem::take(&mut state.written);
        let mut news = std::mem::take(&mut state.unread);
        let changed = state.not_as_remembered(&new);
        news.extend(changed.into_iter().filter(|key| !written.contains(key)));
        if state.is_worth_a_list() {
            let askers = state.singles.len();
            if state.asked.is_none_or(|(most, _)| most <= askers) {
                state.asked = Some((askers, Instant::now()));
            }
            state.listed = Some(Instant::now());
            state.things = new;
            state.singles = HashMap::new();
        } else {
            state.keep_only_singles(new);
        }
        news.into_iter().collect()
    }

    /// Marks the beginning of a single read.
    pub(super) fn begin_read(&self, key: K) -> Reading<'_, K, V> {
        let mut state = self.state();
        let number = state.next_read;
        state.next_read += 1;
        state.reads.insert(number, Read { key, is_outdated: false, has_old_figures: false, affected: Vec::new() });
        Reading { page: self, number }
    }

    /// Stores what a single read found. `None` if a write of ours affected the entry since the read began: what was found
    /// may be older, and is not stored.
    pub(super) fn finish_read(&self, reading: &Reading<'_, K, V>, thing: Option<&V>) -> Option<Entered> {
        let now = thing.map(Held::of);
        let mut state = self.state();
        let read = state.reads.remove(&reading.number)?;
        let may_have = |keys: &Keys| now.as_ref().is_some_and(|now| now.may_have(*keys));
        if read.is_outdated || read.affected.iter().any(may_have) {
            return None;
        }
        let entered = state.enter(read.key.clone(), now);
        if read.has_old_figures {
            state.outdate_figures(read.key);
        }
        Some(entered)
    }

    /// Stores a read of one entry.
    #[cfg(test)]
    fn enter(&self, key: K, thing: Option<&V>) -> Entered {
        self.state().enter(key, thing.map(Held::of))
    }

    /// Waits for the lock for listing.
    pub(super) async fn right_to_list(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.listing.lock().await
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V: Entry> State<K, V> {
    fn enter(&mut self, key: K, now: Option<Held<V>>) -> Entered {
        self.stale.remove(&key);
        self.old_figures.remove(&key);
        let (was_unread, is_ours) = (self.unread.remove(&key), self.written.remove(&key));
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.seen.insert(key.clone());
            meanwhile.outdated.remove(&key);
        }
        let time = Instant::now();
        let before = if self.listed.is_some() {
            // While the list is doubted, single reads answer.
            if let Some(single) = self.singles.get_mut(&key) {
                single.seen = Some((time, now.clone()));
            }
            Some(match now.clone() {
                Some(now) => self.things.insert(key, now),
                None => self.things.remove(&key),
            })
        } else {
            let single = self.singles.entry(key).or_insert(Single { seen: None, asked: time });
            single.seen.replace((time, now.clone())).map(|(_, before)| before)
        };
        let (is_same, has_same_settings) = match (before, now) {
            (None, _) | (Some(None), None) => (true, true),
            (Some(Some(before)), Some(now)) => (before == now, before.same_settings(&now)),
            (Some(None), Some(_)) | (Some(Some(_)), None) => (false, false),
        };
        Entered { is_same, is_news: was_unread || !(has_same_settings || is_ours) }
    }

    fn outdate(&mut self, key: K) {
        self.reads.values_mut().filter(|read| read.key == key).for_each(|read| read.is_outdated = true);
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.outdated.insert(key.clone());
        }
        self.stale.insert(key);
    }

    fn outdate_figures(&mut self, key: K) {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.outdated.insert(key.clone());
        }
        self.old_figures.insert(key);
    }

    /// Outdates entries that our own write affected.
    fn outdate_ours(&mut self, keys: &[K]) {
        for key in keys {
            self.outdate(key.clone());
            self.written.insert(key.clone());
        }
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.is_doubted = true;
        }
    }

    fn is_listed(&self, keep: Duration) -> bool {
        !self.is_doubted && self.listed.is_some_and(|listed| listed.elapsed() < keep)
    }

    fn is_worth_a_list(&self) -> bool {
        let asked = self.asked.map_or(0, |(asked, _)| asked);
        let ours = self.ours.max(self.singles.len()).max(asked);
        self.for_one > 0 && ours > SINGLES && self.total <= self.for_one * ours
    }

    /// The last read of an entry, however old; `None` also if it was missing.
    fn last_seen(&self, key: &K) -> Option<&Held<V>> {
        let single = || self.singles.get(key)?.seen.as_ref()?.1.as_ref();
        self.things.get(key).or_else(single)
    }

    /// Cached entries that differ from a whole list, and new entries if a list was cached.
    fn not_as_remembered(&self, new: &HashMap<K, Held<V>>) -> Vec<K> {
        let differs = |key: &K, before: Option<&Held<V>>| match (before, new.get(key)) {
            (Some(before), Some(now)) => !before.same_settings(now),
            (before, now) => before.is_some() || now.is_some(),
        };
        let singles = self.singles.iter().filter_map(|(key, single)| Some((key, single.seen.as_ref()?.1.as_ref())));
        let listed = self.things.iter().map(|(key, thing)| (key, Some(thing)));
        let changed = listed.chain(singles).filter(|(key, before)| differs(key, *before)).map(|(key, _)| key);
        let came = new.keys().filter(|key| self.listed.is_some() && !self.things.contains_key(key));
        changed.chain(came).cloned().collect()
    }

    /// Of entries that are no longer cached, a list in progress may be older than what was read.
    fn forget_seen(&mut self) {
        let Some(Meanwhile { seen, outdated, .. }) = &mut self.meanwhile else { return };
        outdated.extend(seen.extract_if(|key| !self.singles.contains_key(key)));
    }

    /// After a list that will not be repeated: keeps only the entries that were asked for.
    fn keep_only_singles(&mut self, mut things: HashMap<K, Held<V>>) {
        let now = Instant::now();
        self.singles.iter_mut().for_each(|(key, single)| single.seen = Some((now, things.remove(key))));
        self.listed = None;
        self.things = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Packable;

    const LONG: Duration = Duration::from_hours(1);

    impl Packable for char {
        fn typical() -> &'static [u8] {
            b""
        }
    }

    /// Upper and lower case differ in figures only.
    impl Entry for char {
        fn settings(&self) -> u64 {
            u64::from(u32::from(self.to_ascii_lowercase()))
        }
    }

    /// An answer from the cache.
    fn known(thing: Option<char>) -> Next<char> {
        Next::Known(thing.as_ref().map(Held::of))
    }

    /// A list.
    fn list(things: impl IntoIterator<Item = (u32, char)>) -> Vec<(u32, Held<char>)> {
        things.into_iter().map(|(key, thing)| (key, Held::of(&thing))).collect()
    }

    /// As it was.
    const SAME: Entered = Entered { is_same: true, is_news: false };
    /// Not as it was, and its objects are to know.
    const NEWS: Entered = Entered { is_same: false, is_news: true };

    fn asked(times: u32) -> Page<u32, char> {
        let page = Page::of(20);
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
        assert_eq!((few.next(&1, LONG), few.next(&2, LONG)), (Next::Single, known(Some('a'))));
        let many = asked(8);
        many.count_ours(20);
        assert!(many.fill(list((0..20).map(|n| (n, 'a')))).is_empty());
        many.doubt(&1);
        assert_eq!(many.next(&2, LONG), Next::List);
        assert_eq!(many.fill(list((0..20).map(|n| (n, if n == 3 { 'b' } else { 'a' })))), [3]);
        assert_eq!(many.next(&1, LONG), known(Some('a')));
    }

    #[test]
    fn few_questions_are_asked_one_by_one_and_many_by_a_list() {
        let page = asked(8);
        assert_eq!(page.next(&99, LONG), Next::List);
        assert_eq!(page.fill(list([(1, 'a')])).len(), 7, "seen by itself and not in the list");
        assert_eq!(page.next(&1, LONG), known(Some('a')));
        assert_eq!(page.next(&2, LONG), known(None), "what is not in a whole list does not exist");
        assert_eq!(page.again(LONG), Again::List);
    }

    #[test]
    fn where_many_of_ours_are_known_to_be_the_first_question_lists() {
        let page: Page<u32, char> = Page::of(20);
        page.count_ours(9);
        assert_eq!(page.next(&1, LONG), Next::List);
    }

    #[test]
    fn a_single_answer_is_remembered_and_does_not_stand_for_the_rest() {
        let page = asked(1);
        assert_eq!(page.next(&0, LONG), known(Some('a')));
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
        listed.fill(list([(1, 'a')]));
        assert!(listed.is_missing_within(&2, LONG) && !listed.is_missing_within(&1, LONG));
    }

    #[test]
    fn two_lists_show_what_changed_came_and_went() {
        let page = asked(8);
        page.count_ours(9);
        page.fill(list([(1, 'a'), (2, 'b'), (3, 'c')]));
        let mut changed = page.fill(list([(1, 'a'), (2, 'x'), (4, 'd')]));
        changed.sort_unstable();
        assert_eq!(changed, [2, 3, 4]);
    }

    #[test]
    fn what_is_seen_after_a_list_is_entered_and_no_change_later() {
        let page = asked(8);
        page.count_ours(9);
        page.fill(list([(1, 'a')]));
        assert_eq!((page.enter(1, None), page.enter(2, Some(&'b'))), (NEWS, NEWS));
        assert_eq!(page.next(&1, LONG), known(None));
        assert!(page.fill(list([(2, 'b')])).is_empty());
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
        let mut news = page.fill(list([(0, 'a'), (1, 'b'), (2, 'a'), (7, 'a')]));
        news.sort_unstable();
        assert_eq!(news, [1, 2], "of what nobody asked for nothing was known");
        // A list that is not kept shows it too.
        let page = asked(3);
        let crowd = list((0..1000).map(|n| (n, if n == 1 { 'b' } else { 'a' })));
        assert_eq!(page.fill(crowd), [1]);
        assert_eq!(page.next(&1, LONG), known(Some('b')));
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
        page.mark(&1, true);
        assert_eq!(page.enter(1, Some(&'b')), Entered { is_same: false, is_news: false });
        assert_eq!(page.enter(1, Some(&'c')), NEWS);
        let page = asked(8);
        page.count_ours(9);
        page.fill(list([(1, 'a'), (2, 'a')]));
        page.mark(&1, true);
        assert_eq!(page.fill(list([(1, 'b'), (2, 'b')])), [2]);
        assert_eq!(page.fill(list([(1, 'c'), (2, 'b')])), [1]);
    }

    #[test]
    fn what_a_failed_write_may_have_changed_is_read_again() {
        let page = asked(8);
        page.count_ours(9);
        page.fill(list([(1, 'a')]));
        page.mark(&7, false);
        assert_eq!((page.next(&7, LONG), page.next(&8, LONG)), (Next::Single, known(None)));
        assert_eq!(page.enter(7, Some(&'b')), NEWS, "its object is triggered");
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
        assert_eq!(page.fill(list([(0, 'a'), (1, 'a'), (7, 'a')])), [7]);
        assert_eq!(page.again_unread(), None);
    }

    #[test]
    fn a_list_of_mostly_others_is_not_repeated() {
        let page = asked(8);
        assert_eq!(page.next(&8, LONG), Next::List);
        let crowd = list((0..1000).map(|n| (n, 'a')));
        assert!(page.fill(crowd.clone()).is_empty());
        assert_eq!(page.next(&8, LONG), known(Some('a')), "what it held of ours is remembered");
        assert_eq!(page.next(&77, LONG), Next::Single);
        page.count_ours(500);
        assert_eq!(page.next(&78, LONG), Next::List, "with more of ours it is worth while");
        page.fill(crowd);
        assert_eq!(page.next(&79, LONG), known(Some('a')));
    }

    #[test]
    fn what_is_out_of_date_is_asked_for_by_itself_and_then_known_again() {
        let page = asked(8);
        page.count_ours(9);
        page.fill(list([(1, 'a'), (2, 'b')]));
        page.outdate(&1);
        assert_eq!((page.next(&1, LONG), page.next(&2, LONG)), (Next::Single, known(Some('b'))));
        page.enter(1, Some(&'c'));
        assert_eq!(page.next(&1, LONG), known(Some('c')));
    }

    #[test]
    fn an_entry_with_old_figures_is_read_again_and_valid_for_all_else() {
        let few = asked(2);
        let many = asked(8);
        many.count_ours(9);
        many.fill(list([(1, 'a'), (2, 'b')]));
        for page in [&few, &many] {
            let valid = |keep| page.valid(&1, keep, |thing| *thing);
            page.outdate_figures(&1);
            assert_eq!((page.next(&1, LONG), valid(LONG), valid(Duration::ZERO)), (Next::Single, Some('a'), None));
            page.enter(1, Some(&'A'));
            assert_eq!((page.next(&1, LONG), valid(LONG)), (known(Some('A')), Some('A')));
            page.outdate(&1);
            assert_eq!(valid(LONG), None);
            page.enter(1, None);
            assert_eq!(valid(LONG), None, "it is missing");
        }
        many.begin_list();
        many.outdate_figures(&2);
        many.fill(list([(2, 'b')]));
        assert_eq!(many.next(&2, LONG), Next::Single, "the list may be older");
        many.fill(list([(2, 'b')]));
        assert_eq!(many.next(&2, LONG), known(Some('b')));
    }

    #[test]
    fn what_is_seen_while_a_list_comes_in_is_newer_than_the_list() {
        let page = asked(8);
        page.count_ours(9);
        page.begin_list();
        page.enter(1, Some(&'z'));
        page.enter(2, None);
        page.outdate(&3);
        page.fill(list((0..5).map(|n| (n, 'a'))));
        let next = |n| page.next(&n, LONG);
        assert_eq!(next(3), Next::Single);
        assert_eq!((next(0), next(1), next(2)), (known(Some('a')), known(Some('z')), known(None)));
        assert!(page.fill(list([(0, 'a'), (1, 'z'), (3, 'a'), (4, 'a')])).is_empty());
    }

    #[test]
    fn all_that_a_write_touched_is_asked_for_by_itself() {
        let page = asked(2);
        page.enter(1, Some(&'b'));
        assert_eq!(page.outdate_where(Keys::default(), |thing| *thing == 'a'), [0]);
        assert_eq!((page.next(&0, LONG), page.next(&1, LONG)), (Next::Single, known(Some('b'))));
        let page = asked(8);
        page.count_ours(9);
        page.begin_list();
        page.outdate_where(Keys::default(), |thing| *thing == 'b');
        page.fill(list((0..20).map(|n| (n, 'b'))));
        assert_eq!(page.next(&9, LONG), Next::List, "the list may be older than the write");
    }

    #[test]
    fn figures_that_a_read_found_may_be_those_before_a_write_that_was_made_meanwhile() {
        let page = asked(3);
        let reading = page.begin_read(1);
        page.outdate_figures(&1);
        assert_eq!(page.finish_read(&reading, Some(&'A')).map(|entered| entered.is_news), Some(false), "it counts");
        assert_eq!(page.next(&1, LONG), Next::Single, "and is read again");
        let reading = page.begin_read(1);
        page.finish_read(&reading, Some(&'A'));
        assert_eq!(page.next(&1, LONG), known(Some('A')));
    }

    #[test]
    fn a_read_that_began_before_a_write_of_ours_affected_the_entry_does_not_count() {
        let page: Page<u32, char> = Page::of(100);
        let all = Keys::default();
        let read = |meanwhile: &dyn Fn()| {
            let reading = page.begin_read(1);
            meanwhile();
            page.finish_read(&reading, Some(&'a'))
        };
        assert_eq!(read(&|| drop(page.outdate_where(all, |_| true))), None, "nothing was known of it");
        assert_eq!(page.next(&1, LONG), Next::Single);
        assert_eq!(read(&|| page.outdate(&2)), Some(SAME), "another entry");
        assert_eq!(read(&|| page.outdate(&1)), None);
        assert_eq!(page.next(&1, LONG), Next::Single, "it stays outdated");
        assert_eq!(read(&|| drop(page.outdate_all())), None);
        assert_eq!(read(&|| page.mark(&1, true)), Some(Entered { is_same: true, is_news: false }));
        drop(page.begin_read(1));
        assert!(page.state().reads.is_empty(), "one that is given up is forgotten");
    }

    #[test]
    fn what_has_no_list_is_asked_for_one_by_one_however_many() {
        let page: Page<u32, char> = Page::without_list();
        assert!((0..100).all(|n| page.next(&n, LONG) == Next::Single));
    }

    #[test]
    fn a_list_is_given_up_when_few_of_ours_are_left() {
        let page = asked(8);
        page.count_ours(50);
        page.fill(list([(1, 'a')]));
        page.count_ours(3);
        assert_eq!(page.next(&1, LONG), known(Some('a')), "until it is polled");
        assert_eq!(page.again(LONG), Again::Abandoned(vec![1]));
        assert_eq!(page.next(&1, LONG), Next::Single);
        page.enter(1, Some(&'a'));
        assert_eq!(page.again(LONG), Again::Singles(vec![1]));
    }

    #[test]
    fn a_list_stays_while_many_ask_whosever_the_entries_are() {
        let page = asked(8);
        page.count_ours(3);
        assert_eq!(page.next(&8, LONG), Next::List);
        for _ in 0..2 {
            page.fill(list((0..9).map(|n| (n, 'a'))));
            assert_eq!(page.again(LONG), Again::List);
        }
        assert!(matches!(page.again(Duration::ZERO), Again::Abandoned(keys) if keys.len() == 9), "that was long ago");
        assert_eq!(page.again(Duration::ZERO), Again::Singles(Vec::new()));
    }

    #[test]
    fn what_was_read_while_a_list_was_given_up_is_not_taken_for_missing() {
        let page = asked(8);
        page.count_ours(50);
        page.fill(list([(1, 'a')]));
        page.begin_list();
        page.enter(2, Some(&'b'));
        page.count_ours(3);
        assert!(matches!(page.again(Duration::ZERO), Again::Abandoned(keys) if keys.len() == 2));
        page.count_ours(50);
        page.fill(list([(1, 'a')]));
        assert_eq!(page.next(&2, LONG), Next::Single, "it is read again");
    }

    #[test]
    fn single_reads_answer_while_a_list_is_doubted() {
        let page = asked(8);
        page.count_ours(50);
        page.fill(list([(1, 'a')]));
        page.doubt(&1);
        page.count_ours(3);
        assert_eq!(page.next(&1, LONG), Next::Single);
        page.enter(1, Some(&'b'));
        assert_eq!(page.next(&1, LONG), known(Some('b')));
    }

    #[test]
    fn a_list_made_before_ours_were_counted_stays_until_they_are() {
        let page = asked(8);
        page.count_ours(5);
        assert_eq!(page.next(&8, LONG), Next::List, "more ask for one than were counted");
        page.fill(list((0..9).map(|n| (n, 'a'))));
        page.enter(8, Some(&'b'));
        assert_eq!(page.next(&9, LONG), known(None));
        page.count_ours(10);
        assert_eq!(page.again(LONG), Again::List);
        let changed = page.fill(list((0..9).map(|n| (n, 'a'))));
        assert_eq!(changed, [8], "what it knew is compared");
    }
}
