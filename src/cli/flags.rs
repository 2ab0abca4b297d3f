//! kubectl's own options, read as kubectl reads them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use k8s_openapi::jiff::SignedDuration;

/// Which cluster, and as whom.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of kubectl")]
pub struct ClusterFlags {
    /// The kubeconfig. Default: the files of the variable KUBECONFIG, otherwise ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The cluster of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The user of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// The namespace. Default: that of the context, otherwise `default`.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The user to impersonate.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,
    /// A group to impersonate. Can be repeated.
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub impersonate_groups: Vec<String>,
    /// How long to wait for an answer of the cluster, such as 1s, 2m or 3h; 0: no limit.
    #[arg(long, global = true, value_name = "TIME", default_value = "0", value_parser = timeout)]
    pub request_timeout: Duration,
}

/// Which objects.
#[derive(Clone, Debug, Default, Args)]
pub struct Selection {
    /// The objects of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these labels, such as team=a,tier!=test.
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
}

/// Input files and output format.
#[derive(Debug, Args)]
pub struct Input {
    /// Manifests: files, folders of .yaml, .yml and .json files, or `-` for standard input.
    #[arg(short, long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Address of the mailbox. Required if the manifests have rules of several mailboxes. Rules whose mailbox is not in
    /// the manifests belong to this one.
    #[arg(long, value_name = "ADDRESS")]
    pub mailbox: Option<String>,
    /// File with the installation's sinks, a list in the format of the chart's value `sinks`. Default: with files, every
    /// sink is an allowed webhook; with the cluster, the installation's, if you may read them.
    #[arg(long, value_name = "FILE")]
    pub sinks: Option<PathBuf>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// The output format of most commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Plain text.
    #[default]
    #[value(alias = "table")]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Reads a time as kubectl does: a whole number of seconds, or a number with a unit, or several.
fn timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let bad = || format!("{text:?} is not a time: write a number with a unit, such as 500ms, 30s, 2m or 1h");
    let read: SignedDuration = text.parse().map_err(|_| bad())?;
    read.try_into().map_err(|_| bad())
}

/// The same, but not 0.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match timeout(text)? {
        Duration::ZERO => Err("it must be longer than 0".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_kubectl_reads_them() {
        for (text, millis) in [("0", 0), ("5", 5000), ("500ms", 500), ("1m30s", 90_000), ("3h", 10_800_000)] {
            assert_eq!(timeout(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for bad in ["", "x", "-1", "5 apples", "-3s"] {
            assert!(timeout(bad).is_err(), "{bad:?}");
        }
        assert!(some_time("0").is_err());
    }
}
