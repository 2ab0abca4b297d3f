//! `quarantine`: Mailcow's quarantine: what is held back, and what to do with it.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;

use clap::{Args, Subcommand};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::failure::{Failure, nearest};
use super::flags::{ClusterFlags, Output};
use super::mailcow::{MailcowFlags, client, failed};
use super::show::{Show, head, plain};
use crate::mailcow::{Client, Quarantined};

/// The commands for Mailcow's quarantine.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List quarantined mail, the newest first.
    List {
        /// Which mail.
        #[command(flatten)]
        which: Which,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        /// Which Mailcow.
        #[command(flatten)]
        mailcow: MailcowFlags,
    },
    /// Print a quarantined mail as it came. Strangers wrote it: control characters are replaced on a terminal.
    Show {
        /// Its number.
        id: u64,
        /// Which Mailcow.
        #[command(flatten)]
        mailcow: MailcowFlags,
    },
    /// Deliver mail to its recipients.
    Release {
        /// What to release.
        #[command(flatten)]
        targets: Targets,
    },
    /// Delete mail for good.
    Delete {
        /// What to delete.
        #[command(flatten)]
        targets: Targets,
    },
}

/// Which mail.
#[derive(Clone, Debug, Default, Args)]
pub struct Which {
    /// Only mail for this address or domain.
    #[arg(long, value_name = "ADDRESS")]
    pub recipient: Option<String>,
    /// Only mail whose envelope sender contains this text.
    #[arg(long, value_name = "TEXT")]
    pub sender: Option<String>,
}

/// Mail to act on.
#[derive(Clone, Debug, Args)]
pub struct Targets {
    /// Numbers, as `list` shows them.
    #[arg(value_name = "ID", required_unless_present_any = ["recipient", "sender"], conflicts_with_all = ["recipient", "sender"])]
    pub ids: Vec<u64>,
    /// Which mail.
    #[command(flatten)]
    pub which: Which,
    /// Act on several mails without asking.
    #[arg(short, long)]
    pub yes: bool,
    /// Which Mailcow.
    #[command(flatten)]
    pub mailcow: MailcowFlags,
}

/// Runs the command.
pub(super) async fn run(cluster: &ClusterFlags, command: &QuarantineCommand, show: &Show) -> Result<(), Failure> {
    match command {
        QuarantineCommand::List { which, output, mailcow } => {
            let client = client(&mailcow.connection(cluster).await?)?;
            let mut found = selected(&client, which).await?;
            found.reverse();
            list(&found, *output, show)
        }
        QuarantineCommand::Show { id, mailcow } => {
            let client = client(&mailcow.connection(cluster).await?)?;
            match client.quarantined(*id).await.map_err(|error| failed(&error))? {
                Some((_, text)) => Ok(Show::write(&if show.is_terminal() { readable(&text) } else { text })?),
                None => Err(unknown(&client, *id).await),
            }
        }
        QuarantineCommand::Release { targets } => apply(cluster, targets, Act::Release).await,
        QuarantineCommand::Delete { targets } => apply(cluster, targets, Act::Delete).await,
    }
}

async fn selected(client: &Client, which: &Which) -> Result<Vec<Quarantined>, Failure> {
    let mut all = client.quarantine().await.map_err(|error| failed(&error))?;
    let lower = |text: &Option<String>| text.as_ref().map(|text| text.to_lowercase());
    let (recipient, sender) = (lower(&which.recipient), lower(&which.sender));
    all.retain(|mail| {
        let to = mail.recipient.to_lowercase();
        let is_to = recipient.as_ref().is_none_or(|asked| {
            to == *asked || to.rsplit_once('@').is_some_and(|(_, domain)| domain == asked.trim_start_matches('@'))
        });
        is_to && sender.as_ref().is_none_or(|asked| mail.sender.to_lowercase().contains(asked))
    });
    Ok(all)
}

fn list(found: &[Quarantined], output: Output, show: &Show) -> Result<(), Failure> {
    let value: Value = found
        .iter()
        .map(|mail| {
            json!({
                "id": mail.id, "time": time(mail.created), "recipient": mail.recipient, "sender": mail.sender,
                "subject": mail.subject, "score": mail.score, "action": mail.action, "queueId": mail.queue_id,
            })
        })
        .collect();
    if found.is_empty() && output == Output::Text {
        show.note("no mail is in the quarantine, or none of that kind");
        return Ok(());
    }
    Ok(Show::answer(output, &value, || {
        let mut rows = vec![head(&["ID", "TIME", "RECIPIENT", "SENDER", "SUBJECT", "SCORE", "ACTION"])];
        for mail in found {
            let cells = [
                mail.id.to_string(),
                time(mail.created),
                mail.recipient.clone(),
                mail.sender.clone(),
                mail.subject.clone(),
                format!("{:.1}", mail.score),
                mail.action.clone(),
            ];
            rows.push(cells.map(plain).into());
        }
        show.table(&rows)
    })?)
}

/// What is done with quarantined mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Release,
    Delete,
}

impl Act {
    const fn done(self) -> &'static str {
        match self {
            Self::Release => "released",
            Self::Delete => "deleted",
        }
    }
}

async fn apply(cluster: &ClusterFlags, targets: &Targets, act: Act) -> Result<(), Failure> {
    let done = act.done();
    let client = client(&targets.mailcow.connection(cluster).await?)?;
    let ids: BTreeSet<u64> = if targets.ids.is_empty() {
        selected(&client, &targets.which).await?.iter().map(|mail| mail.id).collect()
    } else {
        targets.ids.iter().copied().collect()
    };
    if ids.is_empty() {
        return Err(Failure::wrong("no mail is selected"));
    }
    if targets.ids.is_empty() && !targets.yes {
        let asked = format!("{} mails would be {done}", ids.len());
        if !confirmed(&asked)? {
            return Err(Failure::wrong(format!("{asked}: repeat it with --yes")));
        }
    }
    let mut failures = Vec::new();
    for id in ids {
        let result = match act {
            Act::Release => client.release_quarantined(id).await,
            Act::Delete => client.delete_quarantined(id).await,
        };
        match result {
            Ok(()) => Show::write(&format!("{id} {done}\n"))?,
            Err(error @ crate::mailcow::Error::Unreachable { .. }) => return Err(failed(&error)),
            Err(crate::mailcow::Error::Refused { code, .. }) if code == "access_denied" => {
                failures.extend(unknown(&client, id).await.problems().to_vec());
            }
            Err(error) => failures.extend(failed(&error).problems().to_vec()),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Wrong(failures)) }
}

/// Asks on a terminal; elsewhere nobody answers.
fn confirmed(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    let asked = std::io::Write::write_all(&mut std::io::stderr(), format!("{question}. Go on? [y/N] ").as_bytes());
    asked.map_err(|error| Failure::wrong(error.to_string()))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::wrong(error.to_string()))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

async fn unknown(client: &Client, id: u64) -> Failure {
    let all = client.quarantine().await.unwrap_or_default();
    let known: Vec<String> = all.iter().map(|mail| mail.id.to_string()).collect();
    let near = nearest(&id.to_string(), known.iter().map(String::as_str));
    Failure::wrong(format!("no mail {id} is in the quarantine{near}"))
}

/// A time in UTC.
fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or_default();
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

/// Without control characters other than line breaks and tabs.
fn readable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\r' | '\t') { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_strangers_do_not_reach_a_terminal() {
        assert_eq!(readable("a\u{1b}[2J\r\n\tb"), "a\u{fffd}[2J\r\n\tb");
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
    }
}
