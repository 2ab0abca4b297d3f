//! Filters: our one active prefilter of a mailbox, beside those that people made.

use super::change::Change;
use crate::mail::{Address, Filter, Mark};
use crate::outcome::{Outcome, Reason};

/// Changes that make `script` the mailbox's active prefilter; `script` is its text and its description.
///
/// # Errors
/// [`Reason::FilterSlotTaken`] when a person's or another owner's prefilter is active: Mailcow would switch it off.
pub fn filter(mailbox: &Address, script: (&str, &str), have: &[Filter], mark: &Mark) -> Result<Vec<Change>, Outcome> {
    if let Some(taken) = have.iter().find(|filter| filter.active && !owned(filter, mark)) {
        return Err(Outcome::stalled(
            Reason::FilterSlotTaken,
            format!(
                "{mailbox} has the active prefilter {:?} that this operator did not make; Mailcow allows one: deactivate or delete it in Mailcow to let the rules in",
                taken.description
            ),
        ));
    }
    let mailbox = mailbox.clone();
    let (script, description) = (script.0.to_owned(), script.1.to_owned());
    let mut ours = have.iter().filter(|filter| owned(filter, mark));
    let Some(first) = ours.next() else { return Ok(vec![Change::AddFilter { mailbox, script, description }]) };
    let extra = ours.map(|filter| Change::DeleteFilter { id: filter.id, mailbox: mailbox.clone() });
    let same = first.active && first.script == script && first.description == description;
    let edit = Change::EditFilter { id: first.id, mailbox: mailbox.clone(), script, description };
    Ok(extra.chain((!same).then_some(edit)).collect())
}

/// Changes that take our prefilter away; a person's stays.
pub fn filter_removal(mailbox: &Address, have: &[Filter], mark: &Mark) -> Vec<Change> {
    let ours = have.iter().filter(|filter| owned(filter, mark));
    ours.map(|filter| Change::DeleteFilter { id: filter.id, mailbox: mailbox.clone() }).collect()
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
        filter(&ada(), (&format!("# {}\n{body}", mark()), "d"), have, &mark())
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
}
