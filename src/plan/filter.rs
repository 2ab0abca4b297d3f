//! Filters: our one active prefilter of a mailbox, beside those that users made.

use super::change::Change;
use crate::mail::{Address, Filter, Mark};
use crate::outcome::{Outcome, Reason};

/// Prefix of the number of a replaced filter, in the description of ours.
const DISPLACED: &str = " displaced=";

/// Changes that make `script` the mailbox's active prefilter. `may_displace`: another active one may be switched off; its
/// number is kept in the description of ours until it comes back.
///
/// # Errors
/// [`Reason::FilterSlotTaken`] when a person's or another owner's prefilter is active: Mailcow would switch it off.
pub fn filter(
    mailbox: &Address,
    script: &str,
    description: &str,
    have: &[Filter],
    mark: &Mark,
    may_displace: bool,
) -> Result<Vec<Change>, Outcome> {
    let taken = have.iter().find(|filter| filter.active && !owned(filter, mark));
    if let Some(taken) = taken.filter(|_| !may_displace) {
        return Err(slot_taken(mailbox, taken));
    }
    let mailbox = mailbox.clone();
    let displaced = taken.or_else(|| displaced(have, mark)).map(|filter| filter.id);
    let description = displaced.map_or_else(|| description.to_owned(), |id| format!("{description}{DISPLACED}{id}"));
    let script = script.to_owned();
    let mut ours = have.iter().filter(|filter| owned(filter, mark));
    let Some(first) = ours.next() else { return Ok(vec![Change::AddFilter { mailbox, script, description }]) };
    let extra = ours.map(|filter| Change::DeleteFilter { id: filter.id, mailbox: mailbox.clone() });
    let same = first.active && first.script == script && first.description == description;
    let edit = Change::EditFilter { id: first.id, mailbox: mailbox.clone(), script, description };
    Ok(extra.chain((!same).then_some(edit)).collect())
}

fn slot_taken(mailbox: &Address, taken: &Filter) -> Outcome {
    // Another owner's description names its object.
    let whose = match taken.mark() {
        None => format!("the active prefilter {:?}, which this operator did not create", taken.description),
        Some(_) => "an active prefilter of another owner".to_owned(),
    };
    let message = format!(
        "{mailbox} has {whose}. Mailcow allows only one: deactivate or delete it in Mailcow, or set adoptionPolicy: Force on a rule to replace it until the last rule is deleted"
    );
    Outcome::stalled(Reason::FilterSlotTaken, message)
}

/// The filter that ours replaced, while it exists.
fn displaced<'a>(have: &'a [Filter], mark: &Mark) -> Option<&'a Filter> {
    let of_ours = |filter: &Filter| filter.description.split_once(DISPLACED)?.1.parse::<u64>().ok();
    let id = have.iter().filter(|filter| owned(filter, mark)).find_map(of_ours)?;
    have.iter().find(|filter| filter.id == id && !owned(filter, mark))
}

/// Whether Mailcow's script was changed, replaced or switched off by hand. Its first line says which rules it was made
/// from; where that is gone, the hash of what Mailcow showed last (`shown`) and that of `script` (`hash`) tell whether
/// the rules are still the same.
pub fn filter_was_changed(script: &str, hash: &str, shown: Option<&str>, have: &[Filter], mark: &Mark) -> bool {
    let first = |script: &str| script.lines().next().map(ToOwned::to_owned);
    let is_same_rules = |filter: &Filter| match Mark::of_script(&filter.script) {
        Some(_) => first(&filter.script) == first(script),
        None => shown == Some(hash),
    };
    let ours = have.iter().filter(|filter| owned(filter, mark));
    let mut same = ours.filter(|filter| is_same_rules(filter));
    same.any(|filter| !filter.active || filter.script != script)
}

/// Changes that remove our prefilter; filters of users stay, and the one that ours replaced becomes active again.
pub fn filter_removal(mailbox: &Address, have: &[Filter], mark: &Mark) -> Vec<Change> {
    let is_free = !have.iter().any(|filter| filter.active && !owned(filter, mark));
    let back = displaced(have, mark).filter(|_| is_free);
    let back = back.map(|filter| Change::ActivateFilter { id: filter.id, mailbox: mailbox.clone() });
    let ours = have.iter().filter(|filter| owned(filter, mark));
    let gone = ours.map(|filter| Change::DeleteFilter { id: filter.id, mailbox: mailbox.clone() });
    back.into_iter().chain(gone).collect()
}

fn owned(filter: &Filter, mark: &Mark) -> bool {
    filter.mark().is_some_and(|there| there.same_owner(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark::new("c1", "mail", "ada", "uid-1")
    }

    fn ada() -> Address {
        Address::parse("ada@example.com").unwrap()
    }

    fn ours(id: u64, active: bool, body: &str) -> Filter {
        Filter { id, active, script: format!("# {}\n{body}", mark()), description: "d".into() }
    }

    fn theirs(id: u64, active: bool) -> Filter {
        Filter { id, active, script: "keep;".into(), description: "vacation".into() }
    }

    fn plan(body: &str, have: &[Filter]) -> Result<Vec<Change>, Outcome> {
        filter(&ada(), &format!("# {}\n{body}", mark()), "d", have, &mark(), false)
    }

    fn forced(body: &str, have: &[Filter]) -> Vec<Change> {
        filter(&ada(), &format!("# {}\n{body}", mark()), "d", have, &mark(), true).unwrap()
    }

    #[test]
    fn the_first_script_is_added_beside_inactive_ones_of_people() {
        assert!(matches!(plan("stop;", &[theirs(1, false)]).unwrap().as_slice(), [Change::AddFilter { .. }]));
    }

    #[test]
    fn a_persons_active_filter_is_never_replaced() {
        let refused = plan("stop;", &[ours(1, false, "stop;"), theirs(2, true)]).unwrap_err();
        assert!(matches!(refused, Outcome::Stalled(why) if why.reason == Reason::FilterSlotTaken));
    }

    #[test]
    fn an_equal_active_script_is_not_written() {
        assert_eq!(plan("stop;", &[ours(1, true, "stop;")]).unwrap(), vec![]);
    }

    #[test]
    fn a_changed_or_sleeping_script_is_edited() {
        for have in [ours(1, true, "keep;"), ours(1, false, "stop;")] {
            assert!(matches!(plan("stop;", &[have]).unwrap().as_slice(), [Change::EditFilter { id: 1, .. }]));
        }
    }

    #[test]
    fn a_second_one_of_ours_from_a_crash_is_removed() {
        let changes = plan("stop;", &[ours(1, true, "stop;"), ours(2, false, "stop;")]).unwrap();
        assert_eq!(changes, vec![Change::DeleteFilter { id: 2, mailbox: ada() }]);
    }

    #[test]
    fn removal_leaves_what_people_made() {
        let changes = filter_removal(&ada(), &[theirs(1, false), ours(2, true, "stop;")], &mark());
        assert_eq!(changes, vec![Change::DeleteFilter { id: 2, mailbox: ada() }]);
    }

    #[test]
    fn with_consent_it_is_displaced_remembered_and_brought_back() {
        let description = "d displaced=7".to_owned();
        let [Change::AddFilter { description: said, .. }] = &forced("stop;", &[theirs(7, true)])[..] else {
            panic!("not one added")
        };
        assert_eq!(*said, description);
        let there = [theirs(7, false), Filter { description, ..ours(8, true, "stop;") }];
        assert_eq!(plan("stop;", &there).unwrap(), [], "it stays remembered without further consent");
        let delete = Change::DeleteFilter { id: 8, mailbox: ada() };
        let back = Change::ActivateFilter { id: 7, mailbox: ada() };
        assert_eq!(filter_removal(&ada(), &there, &mark()), [back, delete.clone()]);
        let half_way = [theirs(7, true), Filter { active: false, ..there[1].clone() }];
        assert_eq!(filter_removal(&ada(), &half_way, &mark()), std::slice::from_ref(&delete));
        for meanwhile in [&there[1..], &[theirs(9, false), there[1].clone()]] {
            let removed = filter_removal(&ada(), meanwhile, &mark());
            assert_eq!(
                removed,
                std::slice::from_ref(&delete),
                "it was deleted meanwhile, and no other takes its place"
            );
        }
    }

    #[test]
    fn another_owners_filter_is_not_described() {
        let other = Mark::new("c2", "secret-tenant", "x", "uid-9");
        let filter = Filter { script: format!("# {other}\nstop;"), description: other.to_string(), ..theirs(1, true) };
        let refused = plan("stop;", &[filter]).unwrap_err();
        assert!(!refused.why().unwrap().message.contains("secret-tenant"));
    }

    #[test]
    fn a_change_by_hand_is_told_from_a_change_of_the_rules() {
        let made = |rest: &str| format!("# {} sha256=1\n{rest}", mark());
        let have = |active, script: String| Filter { active, script, ..theirs(1, true) };
        let changed = |filter: Filter| filter_was_changed(&made("stop;"), "h", Some("h"), &[filter], &mark());
        assert!(!changed(have(true, made("stop;"))));
        assert!(changed(have(false, made("stop;"))));
        assert!(changed(have(true, made("stop; keep;"))));
        assert!(!changed(have(true, format!("# {} sha256=2\nkeep;", mark()))), "the rules have changed");
        assert!(!changed(theirs(1, true)));
        let replaced = || Filter { description: mark().to_string(), ..have(true, "keep;".into()) };
        assert!(changed(replaced()));
        let after = |shown| filter_was_changed(&made("stop;"), "new", shown, &[replaced()], &mark());
        assert!(!after(Some("old")) && !after(None), "the rules have changed meanwhile");
    }

    #[test]
    fn a_script_that_was_replaced_as_a_whole_is_still_ours() {
        let replaced = Filter { description: format!("{} made", mark()), ..theirs(3, true) };
        let changes = plan("stop;", std::slice::from_ref(&replaced)).unwrap();
        assert!(matches!(changes.as_slice(), [Change::EditFilter { id: 3, .. }]), "{changes:?}");
        let removed = filter_removal(&ada(), &[replaced], &mark());
        assert_eq!(removed, [Change::DeleteFilter { id: 3, mailbox: ada() }]);
    }
}
