//! `rules check`, `rules compile` and `rules test`: the operator's own checks and compiler, applied to files or to the
//! rules of the cluster.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::cluster::{self, Cluster};
use super::failure::Failure;
use super::flags::{ClusterFlags, Input};
use super::live::add_live_objects;
use super::manifests::{Manifests, read};
use super::operator;
use super::rule_set::{Group, RuleSet, Verdict, shown, sinks};
use super::show::{Show, Tone, head};
use super::trial::{Arrival, tried};
use crate::crd::DEFAULT_SERVER;
use crate::mail::Address;
use crate::sieve;

/// The commands for rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Check each rule and print what is wrong.
    Check {
        /// Rules of the cluster, by name. Default without -f: all rules of the namespace.
        #[arg(value_name = "RULE", conflicts_with = "files", add = super::completion::rules())]
        names: Vec<String>,
        /// The rules.
        #[command(flatten)]
        input: Input,
    },
    /// Print the Sieve script of a mailbox.
    Compile {
        /// The rules.
        #[command(flatten)]
        rules: RulesOfMailbox,
    },
    /// Print which rules match a message and what would happen to it.
    Test {
        /// The rules.
        #[command(flatten)]
        rules: RulesOfMailbox,
        /// Envelope sender (MAIL FROM) of the message; '' for a bounce.
        #[arg(long, value_name = "ADDRESS")]
        from: String,
        /// Recipient of the message: the mailbox, with or without a +tag, or one of its aliases. Default with --live: the
        /// mailbox.
        #[arg(long, value_name = "ADDRESS", required_unless_present = "live")]
        to: Option<String>,
        /// File with the message; `-` for standard input.
        message: PathBuf,
    },
}

/// The rules of one mailbox, from files or from the cluster.
#[derive(Debug, clap::Args)]
pub struct RulesOfMailbox {
    #[command(flatten)]
    input: Input,
    /// Take the rules of this mailbox from the cluster: its address, or the name of its object.
    #[arg(long, value_name = "MAILBOX", required_unless_present = "files", conflicts_with = "files", add = super::completion::mailboxes())]
    live: Option<String>,
    /// Skip invalid rules instead of printing nothing.
    #[arg(long)]
    skip_invalid: bool,
}

/// Runs the command.
pub(super) async fn run(command: &RulesCommand, flags: &ClusterFlags, show: &Show) -> Result<(), Failure> {
    match command {
        RulesCommand::Check { names, input } => {
            let rule_set = match input.files.as_slice() {
                [] => live(flags, input, show).await?.named(names)?,
                files => {
                    let rule_set = RuleSet::read(input, &cluster::namespace(flags).await)?;
                    if rule_set.verdicts.is_empty() {
                        return Err(Failure::wrong(format!("no EmailForwardingRule found in {}", shown(files))));
                    }
                    rule_set
                }
            };
            check(rule_set, input, show)
        }
        RulesCommand::Compile { rules } => {
            let group = group(flags, rules, None, show).await?;
            let compiled = group.compiled(rules.skip_invalid, show)?;
            let script = compiled.script.as_ref().map_or("", |script| &script.text);
            let answer = json!({"script": script, "queues": group.queues(&compiled)});
            Ok(Show::answer(rules.input.output, &answer, || script.to_owned())?)
        }
        RulesCommand::Test { rules, from, to, message } => {
            let to = to.as_ref().map(|to| Address::parse(to).map_err(|error| Failure::wrong(format!("--to: {error}"))));
            let to = to.transpose()?;
            let group = group(flags, rules, to.as_ref(), show).await?;
            let bytes = read(message).map_err(Failure::wrong)?;
            let compiled = group.compiled(rules.skip_invalid, show)?;
            let to = to.unwrap_or_else(|| group.owner.address.clone());
            Ok(tried(&group, &compiled, &Arrival { from, to: &to, bytes }).show(&rules.input, show)?)
        }
    }
}

/// The rules of one mailbox, from files or from the cluster.
async fn group(
    flags: &ClusterFlags,
    rules: &RulesOfMailbox,
    to: Option<&Address>,
    show: &Show,
) -> Result<Group, Failure> {
    let input = &rules.input;
    match &rules.live {
        None => Ok(RuleSet::read(input, &cluster::namespace(flags).await)?.only(input, to)?),
        Some(name) => Ok(live(flags, input, show).await?.of_mailbox(name)?),
    }
}

/// All rules of the namespace in the cluster.
async fn live(flags: &ClusterFlags, input: &Input, show: &Show) -> Result<RuleSet, Failure> {
    let cluster = Cluster::connect(flags).await?;
    let mut manifests = Manifests::default();
    let live = add_live_objects(&cluster, &mut manifests, &[cluster.namespace.clone()].into()).await?;
    for why in &live.unreadable {
        show.warning(&format!("left out, because this version can't read it: {why}"));
    }
    let installed = operator::of_namespace(&cluster, None, DEFAULT_SERVER).await.ok();
    if let Some(installed) = &installed {
        // Without the right to read it, the mark in the script is of no cluster.
        manifests.cluster = installed.cluster_id(&cluster).await.ok().flatten();
    }
    let given = match (&input.sinks, &installed) {
        (None, Some(installed)) => installed.sinks(&cluster).await,
        _ => None,
    };
    let sinks = match given {
        Some(sinks) => sinks,
        None => sinks(input.sinks.as_deref(), &manifests).map_err(Failure::wrong)?,
    };
    let settings = installed.as_ref().and_then(|installed| installed.settings.as_ref().ok());
    Ok(RuleSet::of(&manifests, None, &sinks, settings.map(|settings| &settings.feature_gates)))
}

fn check(rule_set: RuleSet, input: &Input, show: &Show) -> Result<(), Failure> {
    let mut verdicts = rule_set.verdicts;
    for group in rule_set.groups.values() {
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
