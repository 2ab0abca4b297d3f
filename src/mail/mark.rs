//! The ownership mark that the operator writes to Mailcow.

use std::fmt;

use super::digest::cut;

/// Largest size of a mark in bytes: `private_comment` of an alias has 160 (recording `05_alias/add_comment_too_long`).
const LONGEST: usize = 150;
const PREFIX: &str = "mailcow-operator";

/// The owner of an entry on Mailcow: `mailcow-operator/<cluster>/<namespace>/<name>/<uid>`.
///
/// Two marks are of the same owner when all but the uid is equal: an object that was deleted and made again takes up
/// what its predecessor left.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark {
    owner: String,
    uid: String,
}

impl Mark {
    /// The mark of an object. `cluster` is a short id of the cluster; a long name is cut and gets a hash.
    pub fn new(cluster: &str, namespace: &str, name: &str, uid: &str) -> Self {
        let full = format!("{cluster}/{namespace}/{name}");
        let room = LONGEST - PREFIX.len() - uid.len() - 2;
        Self { owner: cut(&full, room), uid: uid.to_owned() }
    }

    /// The mark at the beginning of a text; `None` if the text begins with anything else. A mark further on does not
    /// count: somebody else may have written it.
    pub fn at_start(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?.strip_prefix('/')?;
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (owner, uid) = rest.get(..end)?.rsplit_once('/')?;
        (owner.matches('/').count() >= 1 || owner.contains('~'))
            .then(|| Self { owner: owner.to_owned(), uid: uid.to_owned() })
    }

    /// The mark in the first line of a script, which is a comment that begins with the mark.
    pub fn of_script(script: &str) -> Option<Self> {
        script.lines().next()?.strip_prefix("# ").and_then(Self::at_start)
    }

    /// Whether the mark names an object in this namespace of this cluster.
    pub fn is_of_namespace(&self, cluster: &str, namespace: &str) -> bool {
        self.owner
            .strip_prefix(cluster)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|rest| rest.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('/')))
    }

    /// The object in the mark: its cluster, namespace and name; `None` if the mark was cut.
    pub fn object(&self) -> Option<(&str, &str, &str)> {
        let mut parts = self.owner.split('/');
        let found = (parts.next()?, parts.next()?, parts.next()?);
        (parts.next().is_none() && !self.owner.contains('~')).then_some(found)
    }

    /// The owner, which marks of successors with the same name share.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether both marks have the same owner.
    pub fn same_owner(&self, other: &Self) -> bool {
        self.owner == other.owner
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}/{}/{}", self.owner, self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "7d0a2f0e-58a4-4f6e-9a6b-0d1d3f1f9d11";

    #[test]
    fn a_mark_is_found_again_at_the_start_of_a_text_and_nowhere_else() {
        let mark = Mark::new("c0ffee00", "mail", "ada", UID);
        assert_eq!(Mark::at_start(&format!("{mark} made from")), Some(mark.clone()));
        assert_eq!(Mark::of_script(&format!("# {mark} sha256=12\r\nkeep;")), Some(mark.clone()));
        for forged in [format!("customer {mark}"), format!(" {mark}"), format!("x{mark}"), format!("# {mark}")] {
            assert_eq!(Mark::at_start(&forged), None, "{forged:?}");
        }
        for forged in [mark.to_string(), format!("# by {mark}"), format!("keep;\n# {mark}")] {
            assert_eq!(Mark::of_script(&forged), None, "{forged:?}");
        }
    }

    #[test]
    fn a_mark_names_the_namespace_of_its_object() {
        let mark = Mark::new("c0ffee00", "mail", "ada", UID);
        let is_of = |cluster: &str, namespace: &str| mark.is_of_namespace(cluster, namespace);
        assert!(is_of("c0ffee00", "mail"));
        assert!(!is_of("c0ffee00", "mai") && !is_of("c0ffee0", "mail") && !is_of("c0ffee01", "mail"));
    }

    #[test]
    fn a_successor_of_the_same_name_is_the_same_owner() {
        let before = Mark::new("c0ffee00", "mail", "ada", UID);
        let after = Mark::new("c0ffee00", "mail", "ada", "another-uid");
        assert!(before.same_owner(&after));
        assert!(!before.same_owner(&Mark::new("c0ffee01", "mail", "ada", UID)));
        assert!(!before.same_owner(&Mark::new("c0ffee00", "mail2", "ada", UID)));
    }

    #[test]
    fn long_names_fit_and_stay_apart() {
        let long = "x".repeat(253);
        let one = Mark::new("c0ffee00", &"n".repeat(63), &format!("{long}1"), UID);
        let two = Mark::new("c0ffee00", &"n".repeat(63), &format!("{long}2"), UID);
        assert!(one.to_string().len() <= LONGEST);
        assert!(!one.same_owner(&two));
        assert_eq!(Mark::at_start(&one.to_string()), Some(one));
    }

    #[test]
    fn other_text_is_no_mark() {
        for text in ["", "mailcow-operator", "mailcow-operator is nice", "mailcow-operator/x"] {
            assert_eq!(Mark::at_start(text), None, "{text:?}");
        }
    }
}
