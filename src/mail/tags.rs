//! Tags of a spec on an entry on Mailcow, among those of others.

/// Tags of a thing; compared without regard to case. No recording shows how Mailcow compares them; this is
/// the careful side, since a tag that a domain gets twice breaks the call off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// Tags that should exist.
    pub wanted: Vec<String>,
    /// Tags from an earlier spec.
    pub placed: Vec<String>,
}

impl Tags {
    /// Wanted tags that are missing in `have`, each once. A domain that gets a tag twice breaks Mailcow's call off
    /// (recording `02_domain/edit_tags_duplicate`).
    pub fn missing(&self, have: &[String]) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for tag in &self.wanted {
            if !holds(have, tag) && !holds(&missing, tag) {
                missing.push(tag.clone());
            }
        }
        missing
    }

    /// Tags in `have` from an earlier spec that this one no longer has.
    pub fn stale(&self, have: &[String]) -> Vec<String> {
        have.iter().filter(|tag| holds(&self.placed, tag) && !holds(&self.wanted, tag)).cloned().collect()
    }

    /// Tags in `have` from this spec or an earlier one, sorted.
    pub fn ours(&self, have: &[String]) -> Vec<String> {
        let is_ours = |tag: &&String| holds(&self.placed, tag) || holds(&self.wanted, tag);
        let mut ours: Vec<String> = have.iter().filter(is_ours).cloned().collect();
        ours.sort();
        ours
    }
}

fn holds(tags: &[String], wanted: &str) -> bool {
    tags.iter().any(|tag| tag.to_lowercase() == wanted.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    fn tags(wanted: &[&str], placed: &[&str]) -> Tags {
        Tags { wanted: texts(wanted), placed: texts(placed) }
    }

    #[test]
    fn only_new_tags_are_added_and_each_once() {
        assert_eq!(tags(&["a", "B", "c", "C"], &[]).missing(&texts(&["A", "theirs"])), ["B", "c"]);
    }

    #[test]
    fn only_tags_of_an_earlier_spec_are_taken_off() {
        let tags = tags(&["a"], &["a", "old", "gone"]);
        assert_eq!(tags.stale(&texts(&["a", "old", "theirs"])), ["old"]);
        assert_eq!(tags.ours(&texts(&["theirs", "old", "a"])), ["a", "old"]);
    }
}
