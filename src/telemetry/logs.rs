//! Logs, as text or JSON, on standard error. The lines of a reconcile have its object.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// The lines of the Kubernetes client and of the MCP library repeat ours for each request; a filter that names the client
/// shows them.
const QUIET: &str = "kube_runtime=warn,kube_client::client=off,rmcp=warn";

/// Starts logging for the whole process.
///
/// # Errors
/// When the filter can't be read.
pub fn start(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(with_quiet(filter)).map_err(|error| format!("log level {filter:?}: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
    }
    .map_err(|error| error.to_string())
}

/// The filter, with the client quiet unless it is named.
fn with_quiet(filter: &str) -> String {
    if filter.contains("kube_") { filter.to_owned() } else { format!("{QUIET},{filter}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_an_error_and_no_panic() {
        assert!(start(LogFormat::Text, "info,=,=").is_err());
    }

    #[test]
    fn the_client_is_quiet_unless_it_is_named() {
        assert_eq!(with_quiet("info"), "kube_runtime=warn,kube_client::client=off,rmcp=warn,info");
        assert_eq!(with_quiet("info,kube_runtime=debug"), "info,kube_runtime=debug");
    }
}
