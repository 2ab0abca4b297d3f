//! Condition texts that many objects share are stored once: separate texts for three conditions would double the size
//! of an object.

use std::collections::HashSet;
use std::sync::Arc;

use crate::crd::{ConditionText, StatusCondition};

/// At least this many texts are kept before unused ones are removed.
const FEW: usize = 1000;

/// The texts of the objects of one kind.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    known: HashSet<Arc<ConditionText>>,
    /// Number of texts after the last cleanup.
    used: usize,
}

impl Interner {
    /// Makes the conditions share their text with earlier ones.
    pub(crate) fn intern(&mut self, conditions: &mut [StatusCondition]) {
        if self.known.len() > FEW.max(self.used * 2) {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            self.used = self.known.len();
        }
        for condition in conditions {
            match self.known.get(&condition.text) {
                Some(known) => condition.text = known.clone(),
                None => drop(self.known.insert(condition.text.clone())),
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
        let text = Arc::new(ConditionText { type_, status, reason, message: message.to_owned() });
        StatusCondition { text, observed_generation: Some(1), last_transition_time: clock::now() }
    }

    #[test]
    fn the_same_words_are_held_once_and_what_nobody_says_is_forgotten() {
        let mut interner = Interner::default();
        let mut both = [condition("same"), condition("same")];
        interner.intern(&mut both);
        assert!(Arc::ptr_eq(&both[0].text, &both[1].text));
        for n in 0..5 * FEW {
            interner.intern(&mut [condition(&n.to_string())]);
        }
        assert!(interner.known.len() <= FEW + 2, "{}", interner.known.len());
        let mut later = [condition("same")];
        interner.intern(&mut later);
        assert!(Arc::ptr_eq(&both[0].text, &later[0].text));
    }
}
