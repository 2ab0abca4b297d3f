//! Lets an item pass once for many occurrences: when it has not occurred for a while, or after a longest delay.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use tokio::time::Instant;

use crate::shrink::shrink;

/// How long an item waits for further occurrences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delay {
    /// It passes when it has not occurred for this time.
    pub(crate) quiet: Duration,
    /// It passes at the latest this time after its first occurrence, even if it never stops occurring.
    pub(crate) most: Duration,
}

/// Each item once for all its occurrences within its delay. The last occurrence is never lost. An item of which more is
/// to come, as `is_unfinished` says, goes on waiting until its longest delay.
pub(crate) fn settled<T, D, U>(
    events: impl Stream<Item = T> + Send + 'static,
    delay: D,
    is_unfinished: U,
) -> BoxStream<'static, T>
where
    T: Clone + Eq + Hash + Send + 'static,
    D: Fn(&T) -> Delay + Send + 'static,
    U: FnMut(&T) -> bool + Send + 'static,
{
    let waiting = Waiting { items: HashMap::new(), checks: VecDeque::new() };
    let next = |(mut events, mut waiting, delay, mut is_unfinished): (BoxStream<'static, T>, Waiting<T>, D, U)| async move {
        let mut has_ended = false;
        loop {
            let check = waiting.checks.front().map(|(at, _)| *at);
            let item = tokio::select! {
                biased;
                () = until(check) => waiting.check(Instant::now(), &mut is_unfinished),
                item = events.next(), if !has_ended => {
                    match item {
                        Some(item) => {
                            let delay = delay(&item);
                            waiting.occurred(item, delay, Instant::now());
                        }
                        None => has_ended = true,
                    }
                    None
                }
                else => return None,
            };
            if let Some(item) = item {
                return Some((item, (events, waiting, delay, is_unfinished)));
            }
            if has_ended && waiting.items.is_empty() {
                return None;
            }
        }
    };
    stream::unfold((events.boxed(), waiting, delay, is_unfinished), next).boxed()
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Items that occurred and have not passed.
struct Waiting<T> {
    items: HashMap<T, Occurred>,
    /// When to look at which item; every waiting item is in it, once for each new due time that was earlier.
    checks: VecDeque<(Instant, T)>,
}

/// When an item is due.
#[derive(Clone, Copy)]
struct Occurred {
    /// After a pause.
    quiet: Instant,
    /// The length of the pause.
    pause: Duration,
    /// In any case.
    latest: Instant,
}

impl Occurred {
    fn due(self) -> Instant {
        self.quiet.min(self.latest)
    }
}

impl<T: Clone + Eq + Hash> Waiting<T> {
    fn occurred(&mut self, item: T, delay: Delay, now: Instant) {
        let (quiet, latest) = (now + delay.quiet, now + delay.most);
        if let Some(known) = self.items.get_mut(&item) {
            let before = known.due();
            // A shorter delay than before counts at once.
            *known = Occurred { quiet, pause: delay.quiet, latest: known.latest.min(latest) };
            if known.due() < before {
                let due = known.due();
                self.check_at(due, item);
            }
            return;
        }
        let new = Occurred { quiet, pause: delay.quiet, latest };
        self.items.insert(item.clone(), new);
        self.check_at(new.due(), item);
    }

    /// Keeps the checks in the order of their times; nearly all are added at the end.
    fn check_at(&mut self, due: Instant, item: T) {
        let place = self.checks.iter().rposition(|(at, _)| *at <= due).map_or(0, |place| place + 1);
        self.checks.insert(place, (due, item));
    }

    /// The first item, if it is due; otherwise it is looked at again later.
    fn check(&mut self, now: Instant, is_unfinished: &mut impl FnMut(&T) -> bool) -> Option<T> {
        let (_, item) = self.checks.pop_front()?;
        // An item with an earlier due time may have passed already.
        let known = self.items.get_mut(&item)?;
        if known.due() <= now && known.latest > now && is_unfinished(&item) {
            known.quiet = now + known.pause;
        }
        let due = known.due();
        if due > now {
            self.check_at(due, item);
            return None;
        }
        self.items.remove(&item);
        shrink(&mut self.items);
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::channel::mpsc::unbounded;

    const DELAY: Delay = Delay { quiet: Duration::from_millis(100), most: Duration::from_millis(500) };

    fn waiting() -> (Waiting<&'static str>, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let at = move |millis| start + Duration::from_millis(millis);
        (Waiting { items: HashMap::new(), checks: VecDeque::new() }, at)
    }

    /// What passes at a time.
    fn passed(waiting: &mut Waiting<&'static str>, now: Instant) -> Vec<&'static str> {
        passed_but(waiting, now, |_| false)
    }

    /// The same while more is to come of some.
    fn passed_but(
        waiting: &mut Waiting<&'static str>,
        now: Instant,
        mut is_unfinished: impl FnMut(&&'static str) -> bool,
    ) -> Vec<&'static str> {
        let mut passed = Vec::new();
        while waiting.checks.front().is_some_and(|(at, _)| *at <= now) {
            passed.extend(waiting.check(now, &mut is_unfinished));
        }
        passed
    }

    #[test]
    fn what_never_stops_occurring_passes_once_in_each_longest_delay() {
        let (mut waiting, at) = waiting();
        let mut times = Vec::new();
        for millis in (0..=2000).step_by(10) {
            times.extend(passed(&mut waiting, at(millis)).iter().map(|_| millis));
            waiting.occurred("busy", DELAY, at(millis));
        }
        assert_eq!(times, [500, 1000, 1500, 2000]);
    }

    #[test]
    fn many_occurrences_pass_as_one_after_a_pause() {
        let (mut waiting, at) = waiting();
        for (item, millis) in [("a", 0), ("a", 10), ("b", 20), ("a", 60)] {
            waiting.occurred(item, DELAY, at(millis));
        }
        assert_eq!(passed(&mut waiting, at(119)), Vec::<&str>::new());
        assert_eq!(passed(&mut waiting, at(120)), ["b"]);
        assert_eq!(passed(&mut waiting, at(160)), ["a"]);
        assert!(waiting.items.is_empty() && waiting.checks.is_empty());
    }

    #[test]
    fn a_shorter_delay_counts_at_once() {
        let (mut waiting, at) = waiting();
        waiting.occurred("a", DELAY, at(0));
        waiting.occurred("b", DELAY, at(0));
        let short = Delay { quiet: Duration::from_millis(10), most: Duration::from_millis(20) };
        waiting.occurred("b", short, at(50));
        assert_eq!(passed(&mut waiting, at(60)), ["b"]);
        assert_eq!(passed(&mut waiting, at(100)), ["a"], "and it passes only once");
        assert!(waiting.items.is_empty() && waiting.checks.is_empty());
    }

    #[test]
    fn an_item_of_which_more_is_to_come_waits_until_its_longest_delay() {
        let (mut waiting, at) = waiting();
        waiting.occurred("a", DELAY, at(0));
        waiting.occurred("b", DELAY, at(0));
        assert_eq!(passed_but(&mut waiting, at(100), |item| *item == "a"), ["b"]);
        for millis in [199, 200, 300, 400, 499] {
            assert!(passed_but(&mut waiting, at(millis), |_| true).is_empty(), "after {millis} ms");
        }
        assert_eq!(passed_but(&mut waiting, at(500), |_| true), ["a"]);
        waiting.occurred("a", DELAY, at(600));
        assert!(passed_but(&mut waiting, at(700), |_| true).is_empty());
        assert_eq!(passed(&mut waiting, at(800)), ["a"], "once nothing is to come, at the next check");
        assert!(waiting.items.is_empty() && waiting.checks.is_empty());
    }

    #[tokio::test]
    async fn the_last_occurrence_is_not_lost_when_the_events_end() {
        let (sender, events) = unbounded();
        let mut passed = settled(events, |_| DELAY, |_| false);
        sender.unbounded_send("a").unwrap();
        sender.unbounded_send("a").unwrap();
        assert_eq!(passed.next().await, Some("a"));
        sender.unbounded_send("b").unwrap();
        drop(sender);
        assert_eq!([passed.next().await, passed.next().await], [Some("b"), None]);
    }
}
