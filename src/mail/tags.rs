//! Tags of a spec on an entry on Mailcow, among those of others.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Tags, compared as Mailcow's database does (see `is_same`): the request fails if a domain gets a tag twice.
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
    tags.iter().any(|tag| is_same(tag, wanted))
}

/// Whether Mailcow's database treats two texts as equal: it ignores case, accents and trailing blanks. Its tables use
/// the default collation of utf8mb4. That was `utf8mb4_general_ci` (`ß` equals `s`, all characters outside the basic
/// plane are equal) and is `utf8mb4_uca1400_ai_ci` in newer versions of `MariaDB` (`ß` equals `ss`). Texts that are
/// equal in either one count as equal.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    one == other || folded(one, "s") == folded(other, "s") || folded(one, "ss") == folded(other, "ss")
}

/// Decomposed (Unicode, section 3.7), without combining marks, in lower case.
fn folded(text: &str, sharp_s: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.trim_end_matches(' ').nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => folded.push_str(sharp_s),
            '\u{10000}'.. => folded.push(char::REPLACEMENT_CHARACTER),
            c => folded.push(c),
        }
    }
    folded
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
    fn tags_are_compared_as_the_database_compares_them() {
        for (one, other, expected) in [
            ("resume", "résumé", true),
            ("resume", "RESUME\u{301}", true),
            ("a", "a  ", true),
            ("a", " a", false),
            ("maße", "mase", true),
            ("maße", "MASSE", true),
            ("masse", "mase", false),
            ("\u{1f600}", "\u{1f601}", true),
            ("o", "ø", false),
            ("a", "b", false),
        ] {
            assert_eq!(is_same(one, other), expected, "{one} {other}");
        }
        assert_eq!(tags(&["resume", "résumé"], &[]).missing(&[]), ["resume"]);
        assert!(tags(&["résumé"], &["resume"]).stale(&texts(&["Resume"])).is_empty());
    }

    #[test]
    fn only_tags_of_an_earlier_spec_are_taken_off() {
        let tags = tags(&["a"], &["a", "old", "gone"]);
        assert_eq!(tags.stale(&texts(&["a", "old", "theirs"])), ["old"]);
        assert_eq!(tags.ours(&texts(&["theirs", "old", "a"])), ["a", "old"]);
    }
}
