//! What is remembered of one domain.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many questions are asked one by one before the domain is listed: a list of a domain with few objects of ours and
/// thousands of others would cost the server more.
const SINGLES: u32 = 8;

/// What to do for a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<V> {
    /// Nothing: this is the answer.
    Known(Option<V>),
    /// Ask for it by itself.
    Single,
    /// List the domain.
    List,
}

/// The things of one kind in one domain.
#[derive(Debug)]
pub(super) struct Page<K, V> {
    state: Mutex<State<K, V>>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State<K, V> {
    /// When the whole domain was last listed.
    listed: Option<Instant>,
    /// Questions that were asked one by one since `counting`.
    singles: u32,
    counting: Instant,
    things: HashMap<K, V>,
}

impl<K, V> Default for Page<K, V> {
    fn default() -> Self {
        let state = State { listed: None, singles: 0, counting: Instant::now(), things: HashMap::new() };
        Self { state: Mutex::new(state), turn: tokio::sync::Mutex::default() }
    }
}

impl<K: Eq + Hash, V: Clone> Page<K, V> {
    /// Decides how a question is answered, with what is remembered for `keep`.
    pub(super) fn next(&self, key: &K, keep: Duration) -> Next<V> {
        let mut state = self.state();
        if state.listed.is_some_and(|listed| listed.elapsed() < keep) {
            return Next::Known(state.things.get(key).cloned());
        }
        if state.counting.elapsed() >= keep {
            state.singles = 0;
            state.counting = Instant::now();
        }
        if state.singles >= SINGLES {
            return Next::List;
        }
        state.singles += 1;
        Next::Single
    }

    /// Enters a whole list.
    pub(super) fn fill(&self, things: Vec<(K, V)>) {
        let mut state = self.state();
        state.things = things.into_iter().collect();
        state.listed = Some(Instant::now());
    }

    /// Enters what was seen of one thing.
    pub(super) fn enter(&self, key: K, thing: Option<V>) {
        let mut state = self.state();
        if state.listed.is_none() {
            return;
        }
        match thing {
            Some(thing) => state.things.insert(key, thing),
            None => state.things.remove(&key),
        };
    }

    /// Waits for the right to list.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn asked_often() -> Page<u32, char> {
        let page = Page::default();
        for n in 0..SINGLES {
            assert_eq!(page.next(&n, LONG), Next::Single);
        }
        page
    }

    #[test]
    fn few_questions_are_asked_one_by_one_and_many_by_a_list() {
        let page = asked_often();
        assert_eq!(page.next(&99, LONG), Next::List);
        page.fill(vec![(1, 'a')]);
        assert_eq!(page.next(&1, LONG), Next::Known(Some('a')));
        assert_eq!(page.next(&2, LONG), Next::Known(None), "what is not in a whole list does not exist");
    }

    #[test]
    fn what_is_seen_later_is_entered() {
        let page = asked_often();
        page.fill(vec![(1, 'a')]);
        page.enter(1, None);
        page.enter(2, Some('b'));
        assert_eq!(page.next(&1, LONG), Next::Known(None));
        assert_eq!(page.next(&2, LONG), Next::Known(Some('b')));
    }

    #[test]
    fn a_single_answer_before_any_list_does_not_stand_for_the_domain() {
        let page: Page<u32, char> = Page::default();
        page.enter(1, Some('a'));
        assert_eq!(page.next(&2, LONG), Next::Single);
    }

    #[test]
    fn what_is_old_is_asked_again() {
        let page = asked_often();
        page.fill(vec![(1, 'a')]);
        assert_eq!(page.next(&1, Duration::ZERO), Next::Single);
    }
}
