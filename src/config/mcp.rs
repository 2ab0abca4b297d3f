//! Options of `mcp`.

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::LogFormat;

/// Options of `mcp`.
#[derive(Clone, Debug, Args)]
pub struct McpSettings {
    /// Kubeconfig of the cluster. Default: as kubectl, and with `--listen` the cluster that the server runs in. Separate
    /// several files as in kubectl's variable `KUBECONFIG`.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<OsString>,
    /// Context of the kubeconfig. Default: the current one.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub context: Option<String>,
    /// Offer the tools that create and change objects. Without it the server only reads.
    #[arg(long)]
    pub allow_writes: bool,
    /// Namespaces that tools may read and write, separated by commas. Default: all that the caller's rights allow.
    #[arg(long, value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub namespaces: Vec<String>,
    /// Serve streamable HTTP at this address instead of standard input and output.
    #[arg(long)]
    pub listen: Option<SocketAddr>,
    /// The audience that bearer tokens must be for.
    #[arg(long, default_value = "mailcow-operator-mcp", value_parser = NonEmptyStringValueParser::new())]
    pub audience: String,
    /// Names by which clients reach the server, separated by commas: `host` or `host:port`. Requests for other hosts are
    /// refused. Default: localhost, 127.0.0.1 and `::1`.
    #[arg(long, value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub allowed_hosts: Vec<String>,
    /// Web pages whose scripts may call the server, separated by commas, such as `https://chat.example.com:443`. Default:
    /// none; clients that are no browsers send no Origin and need no entry.
    #[arg(long, value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub allowed_origins: Vec<String>,
    /// Format of the logs, on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log level: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,mailcow_operator=debug`.
    #[arg(long, default_value = "info")]
    pub log_level: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Cli, Command};
    use clap::Parser;

    fn parse(args: &[&str]) -> Result<McpSettings, clap::Error> {
        match Cli::try_parse_from(["mailcow-operator", "mcp"].iter().chain(args))?.command {
            Command::Mcp(settings) => Ok(*settings),
            other => unreachable!("mcp was asked for: {other:?}"),
        }
    }

    #[test]
    fn it_only_reads_unless_writes_are_allowed() {
        assert!(!parse(&[]).unwrap().allow_writes);
        assert!(parse(&["--allow-writes"]).unwrap().allow_writes);
        assert!(parse(&["--allow-writes=false"]).is_err());
    }

    #[test]
    fn namespaces_are_listed_with_commas_and_none_is_empty() {
        assert_eq!(parse(&["--namespaces", "a,b"]).unwrap().namespaces, ["a", "b"]);
        // It must not reach everywhere where somebody meant to list namespaces.
        assert!(parse(&["--namespaces", ""]).is_err() && parse(&["--namespaces=a,"]).is_err());
    }
}
