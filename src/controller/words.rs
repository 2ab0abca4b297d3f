//! Words that many objects say are held once: three conditions in words of its own would be half of an object.

use std::collections::HashSet;
use std::sync::Arc;

use crate::crd::{StatusCondition, Words};

/// So many are kept at least before those that nobody says any more are looked for.
const FEW: usize = 1000;

/// What the objects of one kind say.
#[derive(Debug, Default)]
pub(super) struct Shared {
    known: HashSet<Arc<Words>>,
    /// How many there were when they were last looked through.
    used: usize,
}

impl Shared {
    /// Has the conditions share their words with those that came before.
    pub(super) fn share(&mut self, conditions: &mut [StatusCondition]) {
        if self.known.len() > FEW.max(self.used * 2) {
            self.known.retain(|words| Arc::strong_count(words) > 1);
            self.used = self.known.len();
        }
        for condition in conditions {
            match self.known.get(&condition.words) {
                Some(known) => condition.words = known.clone(),
                None => drop(self.known.insert(condition.words.clone())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn condition(message: &str) -> StatusCondition {
        let [type_, status, reason] = ["Ready", "True", "InSync"].map(ToOwned::to_owned);
        let words = Arc::new(Words { type_, status, reason, message: message.to_owned() });
        StatusCondition { words, observed_generation: Some(1), last_transition_time: clock::now() }
    }

    #[test]
    fn the_same_words_are_held_once_and_what_nobody_says_is_forgotten() {
        let mut shared = Shared::default();
        let mut both = [condition("same"), condition("same")];
        shared.share(&mut both);
        assert!(Arc::ptr_eq(&both[0].words, &both[1].words));
        for n in 0..5 * FEW {
            shared.share(&mut [condition(&n.to_string())]);
        }
        assert!(shared.known.len() <= FEW + 2, "{}", shared.known.len());
        let mut later = [condition("same")];
        shared.share(&mut later);
        assert!(Arc::ptr_eq(&both[0].words, &later[0].words));
    }
}
