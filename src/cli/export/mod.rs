//! `export`: manifests for what is on Mailcow now.

mod files;
mod manifest;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::failure::{Failure, nearest};
use super::flags::{ClusterFlags, Output};
use super::fleet::counted;
use super::mailcow::{MailcowFlags, client, failed};
use super::show::Show;
use super::whole_file::{self, Readers};
use crate::inventory::{Age, Inventory};
use crate::listing::first_of;
use crate::mail::{Address, AliasHave, Catch, DomainHave, DomainName, MailboxHave};
use crate::mailcow::{Client, Listed, MailboxFilter};
use manifest::{Document, DomainEntries, Exported, Style};

/// Up to this number of mailboxes one list of all domains costs Mailcow less than a list for each domain; longer ones
/// run into time limits.
const ONE_LIST: u32 = 4000;

/// Options of `export`.
#[derive(Clone, Debug, Args)]
pub struct ExportFlags {
    /// Only this domain. Can be repeated.
    #[arg(long = "domain", value_name = "DOMAIN")]
    pub domains: Vec<String>,
    /// Write a file for each domain into this folder. Default: everything to standard output.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Pause the objects: the operator writes nothing for them until they are resumed.
    #[arg(long)]
    pub paused: bool,
    /// Also export entries that objects in a cluster manage already. What only these objects say, such as policies and
    /// DNS, is then missing.
    #[arg(long)]
    pub managed: bool,
    /// Format of the manifests.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: ManifestFormat,
    /// Which Mailcow.
    #[command(flatten)]
    pub mailcow: MailcowFlags,
}

/// The format of manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ManifestFormat {
    /// YAML with comments.
    #[default]
    Yaml,
    /// JSON: a List.
    Json,
}

/// Everything on the server, or what was asked for.
struct Server {
    domains: Vec<(DomainName, DomainHave)>,
    mailboxes: BTreeMap<DomainName, Vec<(Address, MailboxHave)>>,
    aliases: BTreeMap<DomainName, Vec<(Catch, AliasHave)>>,
    filters: BTreeMap<DomainName, Vec<MailboxFilter>>,
    /// What has no manifest.
    left_out: Vec<String>,
}

/// Runs the command. Ctrl-C ends it without half a file.
pub(super) async fn run(cluster: &ClusterFlags, flags: &ExportFlags, show: &Show) -> Result<(), Failure> {
    tokio::select! {
        done = export(cluster, flags, show) => done,
        signal = tokio::signal::ctrl_c() => {
            show.progress("");
            let _ = signal;
            Err(Failure::wrong("interrupted; the files that are there are complete"))
        }
    }
}

async fn export(cluster: &ClusterFlags, flags: &ExportFlags, show: &Show) -> Result<(), Failure> {
    let client = Arc::new(client(&flags.mailcow.connection(cluster).await?)?);
    let asked = flags
        .domains
        .iter()
        .map(|text| DomainName::parse(text).map_err(|error| Failure::wrong(format!("--domain: {error}"))));
    let asked: BTreeSet<DomainName> = asked.collect::<Result<_, _>>()?;
    if let Some(folder) = &flags.out {
        std::fs::create_dir_all(folder).map_err(|error| Failure::wrong(format!("{}: {error}", folder.display())))?;
    }
    show.progress("reading the domains");
    let version = client.known_version().await.map_err(|error| failed(&error))?;
    let mut server = read(&client, &asked, show).await?;
    let style =
        Style { namespace: cluster.namespace.clone(), server: flags.mailcow.server.clone(), is_paused: flags.paused };
    let exported: BTreeSet<DomainName> = server.domains.iter().map(|(name, _)| name.clone()).collect();
    let (mut all, mut total) = (Vec::new(), Exported::default());
    let count = server.domains.len();
    for (number, (name, mut domain)) in std::mem::take(&mut server.domains).into_iter().enumerate() {
        show.progress(&format!("{} of {count} domains: {name}", number + 1));
        domain.dkim = client.dkim(&name).await.map_err(|error| failed(&error))?;
        let entries = DomainEntries {
            domain,
            mailboxes: server.mailboxes.remove(&name).unwrap_or_default(),
            aliases: server.aliases.remove(&name).unwrap_or_default(),
            filters: server.filters.remove(&name).unwrap_or_default(),
        };
        let mut out = entries.manifests(&style, &exported, flags.managed);
        total.left_out.append(&mut out.left_out);
        total.managed += out.managed;
        total.counts = [total.counts[0] + out.counts[0], total.counts[1] + out.counts[1]];
        let head = [format!("{name} on {} (Mailcow {version}), as exported by kubectl email", client.server())];
        write(flags, &name, &head, out.documents, &mut all)?;
    }
    show.progress("");
    // Entries in no domain: of alias domains.
    let strays = server
        .mailboxes
        .values()
        .flatten()
        .map(|(address, _)| format!("the mailbox {address}: its domain is not exported"));
    total.left_out.extend(strays);
    let strays =
        server.aliases.values().flatten().map(|(catch, _)| format!("the alias {catch}: its domain is not exported"));
    if asked.is_empty() {
        total.left_out.extend(strays);
    }
    total.left_out.append(&mut server.left_out);
    if flags.out.is_none() && flags.output == ManifestFormat::Json {
        Show::answer(Output::Json, &list(&all), String::new)?;
    }
    summarize(flags, count, &total, show);
    Ok(())
}

/// Writes the documents of a domain, or keeps them for one list of all.
fn write(
    flags: &ExportFlags,
    name: &DomainName,
    head: &[String],
    documents: Vec<Document>,
    all: &mut Vec<Document>,
) -> Result<(), Failure> {
    if documents.is_empty() {
        return Ok(());
    }
    match (&flags.out, flags.output) {
        (Some(folder), ManifestFormat::Yaml) => {
            write_file(folder, &format!("{name}.yaml"), &files::yaml(head, &documents)?)?;
        }
        (Some(folder), ManifestFormat::Json) => {
            let text = format!("{:#}\n", list(&documents));
            write_file(folder, &format!("{name}.json"), &text)?;
        }
        (None, ManifestFormat::Yaml) => Show::write(&files::yaml(head, &documents)?)?,
        (None, ManifestFormat::Json) => all.extend(documents),
    }
    Ok(())
}

/// Manifests have no secrets, and are for everybody.
fn write_file(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    whole_file::write(&folder.join(name), Readers::All, |file| file.write_all(text.as_bytes()))
}

fn list(documents: &[Document]) -> Value {
    let items: Vec<&Value> = documents.iter().map(|document| &document.manifest).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// What was exported and what was not.
fn summarize(flags: &ExportFlags, domains: usize, total: &Exported, show: &Show) {
    let place = flags.out.as_ref().map_or(String::new(), |folder| format!(" into {}", folder.display()));
    let number = |count: usize, one: &str, many: &str| counted(count as u64, one, many);
    show.note(&format!(
        "exported {}, {} and {}{place}; passwords stay as they are",
        number(domains, "domain", "domains"),
        number(total.counts[0], "mailbox", "mailboxes"),
        number(total.counts[1], "alias", "aliases")
    ));
    if total.managed > 0 {
        show.note(&format!(
            "left out {} that objects in a cluster manage already: get these with kubectl get email -o yaml, or export them with --managed",
            number(total.managed, "entry", "entries")
        ));
    }
    for entry in &total.left_out {
        show.warning(&format!("not exported: {entry}"));
    }
}

/// Reads everything except the DKIM keys.
async fn read(client: &Arc<Client>, asked: &BTreeSet<DomainName>, show: &Show) -> Result<Server, Failure> {
    let failed = |error: crate::mailcow::Error| failed(&error);
    let mut domains = client.domains().await.map_err(failed)?;
    domains.sort_by(|a, b| a.0.cmp(&b.0));
    let known: Vec<String> = domains.iter().map(|(name, _)| name.to_string()).collect();
    if let Some(missing) = asked.iter().find(|asked| !domains.iter().any(|(name, _)| name == *asked)) {
        let near = nearest(missing.as_str(), known.iter().map(String::as_str));
        return Err(Failure::wrong(format!("Mailcow has no domain {missing}{near}")));
    }
    if !asked.is_empty() {
        domains.retain(|(name, _)| asked.contains(name));
    }
    let sum =
        |of: fn(&DomainHave) -> u32| domains.iter().map(|(_, domain)| of(domain)).fold(0_u32, u32::saturating_add);
    let (mailboxes, aliases) = (sum(|domain| domain.mailboxes), sum(|domain| domain.aliases));
    let mut server = Server {
        domains,
        mailboxes: BTreeMap::new(),
        aliases: BTreeMap::new(),
        filters: BTreeMap::new(),
        left_out: Vec::new(),
    };
    if asked.is_empty() && mailboxes <= ONE_LIST {
        show.progress(&format!("reading {mailboxes} mailboxes"));
        let Listed { entries, odd } = client.all_mailboxes(mailboxes).await.map_err(failed)?;
        server.left_out.extend(odd.into_iter().map(|name| format!("{name}: its address can't be read")));
        for (address, have) in entries {
            server.mailboxes.entry(address.domain().clone()).or_default().push((address, have));
        }
        show.progress(&format!("reading {aliases} aliases"));
        let Listed { entries, odd } = client.all_aliases(aliases).await.map_err(failed)?;
        server.left_out.extend(odd.into_iter().map(|name| format!("the alias {name}: its address can't be read")));
        for (catch, have) in entries {
            server.aliases.entry(catch.domain().clone()).or_default().push((catch, have));
        }
    } else {
        let inventory = Inventory::new(client.clone(), Duration::from_mins(10), Duration::from_mins(10));
        for (number, (name, _)) in server.domains.iter().enumerate() {
            show.progress(&format!("reading {} of {} domains: {name}", number + 1, server.domains.len()));
            inventory.domain(name, Age::Recent).await.map_err(failed)?;
            server.mailboxes.insert(name.clone(), inventory.all_mailboxes(name).await.map_err(failed)?.collect());
            server.aliases.insert(name.clone(), inventory.all_aliases(name).await.map_err(failed)?.collect());
        }
    }
    show.progress("reading filters and what has no kind");
    for filter in client.all_filters().await.map_err(failed)? {
        server.filters.entry(filter.mailbox.domain().clone()).or_default().push(filter);
    }
    if asked.is_empty() {
        for others in client.other_entries().await.map_err(failed)? {
            let names = first_of(&others.names, 10);
            server.left_out.push(format!("{}, for which there is no kind: {names}", others.what));
        }
    }
    Ok(server)
}
