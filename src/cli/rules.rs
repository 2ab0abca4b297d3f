//! `rules check`, `rules compile` and `rules test`: the operator's own checks and compiler, applied to files or to the
//! rules of the cluster.

use serde_json::{Value, json};

use super::checked::{Checked, Group, Verdict, shown, sinks};
use super::cluster::{self, Cluster, Scope};
use super::failure::Failure;
use super::flags::ClusterFlags;
use super::kinds::{Kind, list};
use super::manifests::{Manifests, read};
use super::operator;
use super::show::{Show, Tone, head};
use super::trial::{Arrival, tried};
use super::{Input, RulesCommand};
use crate::crd::GROUP;
use crate::mail::Address;
use crate::sieve;

/// Runs the command.
pub(super) async fn run(command: &RulesCommand, flags: &ClusterFlags, show: &Show) -> Result<(), Failure> {
    match command {
        RulesCommand::Check { names, input } => {
            let checked = match input.files.as_slice() {
                [] => live(flags, input).await?.named(names)?,
                files => {
                    let checked = Checked::read(input, &cluster::namespace(flags).await)?;
                    if checked.verdicts.is_empty() {
                        return Err(Failure::wrong(format!("no EmailForwardingRule found in {}", shown(files))));
                    }
                    checked
                }
            };
            check(checked, input, show)
        }
        RulesCommand::Compile { input, live, skip_invalid } => {
            let group = group(flags, input, live.as_deref(), None).await?;
            let compiled = group.compiled(*skip_invalid, show)?;
            let script = compiled.script.as_ref().map_or("", |script| &script.text);
            let answer = json!({"script": script, "queues": group.queues(&compiled)});
            Ok(Show::answer(input.output, &answer, || script.to_owned())?)
        }
        RulesCommand::Test { input, live, skip_invalid, from, to, message } => {
            let to = to.as_ref().map(|to| Address::parse(to).map_err(|error| Failure::wrong(format!("--to: {error}"))));
            let to = to.transpose()?;
            let group = group(flags, input, live.as_deref(), to.as_ref()).await?;
            let bytes = read(message).map_err(Failure::wrong)?;
            let compiled = group.compiled(*skip_invalid, show)?;
            let to = to.unwrap_or_else(|| group.owner.address.clone());
            Ok(tried(&group, &compiled, &Arrival { from, to: &to, bytes }).show(input, show)?)
        }
    }
}

/// The rules of one mailbox, from files or from the cluster.
async fn group(
    flags: &ClusterFlags,
    input: &Input,
    name: Option<&str>,
    to: Option<&Address>,
) -> Result<Group, Failure> {
    match name {
        None => Ok(Checked::read(input, &cluster::namespace(flags).await)?.only(input, to)?),
        Some(name) => Ok(live(flags, input).await?.of_mailbox(name)?),
    }
}

/// All rules of the namespace in the cluster.
async fn live(flags: &ClusterFlags, input: &Input) -> Result<Checked, Failure> {
    let cluster = Cluster::connect(flags).await?;
    let mut manifests = Manifests::default();
    let mut namespaces = vec![cluster.namespace.clone()];
    let mut read = 0;
    // Then the namespaces of domains that these objects refer to.
    while let Some(namespace) = namespaces.get(read).cloned() {
        for kind in Kind::ALL {
            // Domains of others may not be readable; their mailboxes then have no address.
            if read > 0 && kind != Kind::Domain {
                continue;
            }
            let found = match list(&cluster, kind, &Scope::In(namespace.clone()), None).await {
                Err(Failure::Wrong(_)) if read > 0 => Vec::new(),
                found => found?,
            };
            for target in found.into_iter().filter(|target| target.object.metadata.deletion_timestamp.is_none()) {
                let mut value = serde_json::to_value(&target.object).unwrap_or_default();
                value["kind"] = kind.name().into();
                value["apiVersion"] = format!("{GROUP}/v1alpha1").into();
                manifests.add_live(&value);
            }
        }
        for namespace in manifests.namespaces() {
            if !namespaces.contains(&namespace) {
                namespaces.push(namespace);
            }
        }
        read += 1;
    }
    let given = match (&input.sinks, operator::of_namespace(&cluster, None).await) {
        (None, Ok(installed)) => installed.sinks(&cluster).await,
        _ => None,
    };
    let sinks = match given {
        Some(sinks) => sinks,
        None => sinks(input.sinks.as_deref(), &manifests).map_err(Failure::wrong)?,
    };
    Ok(Checked::of(&manifests, None, &sinks))
}

fn check(checked: Checked, input: &Input, show: &Show) -> Result<(), Failure> {
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
            let mut whys = wrong.iter().map(|why| (why.clone(), Tone::Plain));
            rows.push(vec![(id.clone(), Tone::Plain), valid, whys.next().unwrap_or_default()]);
            rows.extend(whys.map(|why| vec![Default::default(), Default::default(), why]));
        }
        show.table(&rows)
    })?;
    if is_bad == 0 { Ok(()) } else { Err(Failure::wrong(format!("{is_bad} of {} rules are invalid", verdicts.len()))) }
}
