//! `rules check`, `rules compile` and `rules test`: the operator's own checks and compiler, applied to files.

use serde_json::{Value, json};

use super::checked::{Checked, Verdict, shown};
use super::manifests::read;
use super::show::{Show, Tone, head};
use super::trial::{Arrival, tried};
use super::{Input, RulesCommand};
use crate::mail::Address;
use crate::sieve;

/// Runs the command, or returns all errors.
pub(super) fn run(command: &RulesCommand, show: &Show) -> Result<(), Vec<String>> {
    match command {
        RulesCommand::Check { input } => check(input, show),
        RulesCommand::Compile { input, skip_invalid } => {
            let group = Checked::read(input)?.only(input, None)?;
            let compiled = group.compiled(*skip_invalid, show)?;
            let script = compiled.script.as_ref().map_or("", |script| &script.text);
            let answer = json!({"script": script, "queues": group.queues(&compiled)});
            Show::answer(input.output, &answer, || script.to_owned())
        }
        RulesCommand::Test { input, skip_invalid, from, to, message } => {
            let to = Address::parse(to).map_err(|error| vec![format!("--to: {error}")])?;
            let group = Checked::read(input)?.only(input, Some(&to))?;
            let bytes = read(message).map_err(|why| vec![why])?;
            let compiled = group.compiled(*skip_invalid, show)?;
            tried(&group, &compiled, &Arrival { from, to: &to, bytes }).show(input, show)
        }
    }
}

fn check(input: &Input, show: &Show) -> Result<(), Vec<String>> {
    let checked = Checked::read(input)?;
    if checked.verdicts.is_empty() {
        return Err(vec![format!("no EmailForwardingRule found in {}", shown(&input.files))]);
    }
    let mut verdicts = checked.verdicts;
    for group in checked.groups.values() {
        for (id, why) in sieve::compile(&group.owner.mark(), &group.owner.address, &group.rules).refused {
            let verdicts = verdicts.iter_mut().filter(|known| known.id == id);
            verdicts.for_each(|verdict| verdict.wrong.push(format!("{}: {why}", group.owner.label)));
        }
    }
    let is_bad = verdicts.iter().filter(|one| !one.wrong.is_empty()).count();
    let answer: Value = verdicts.iter().map(Verdict::json).collect();
    Show::answer(input.output, &answer, || {
        let mut rows = vec![head(&["RULE", "VALID", "WHY NOT"])];
        for Verdict { id, wrong, .. } in &verdicts {
            let valid = if wrong.is_empty() { ("yes".to_owned(), Tone::Good) } else { ("no".to_owned(), Tone::Bad) };
            rows.push(vec![(id.clone(), Tone::Plain), valid, (wrong.join("; "), Tone::Plain)]);
        }
        show.table(&rows)
    })?;
    if is_bad == 0 { Ok(()) } else { Err(vec![format!("{is_bad} of {} rules are invalid", verdicts.len())]) }
}
