//! Access to Mailcow: with a key of the user, or with the operator's own connection, if the user may read its Secret.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;

use super::cluster::Cluster;
use super::failure::{Failure, nearest};
use super::flags::ClusterFlags;
use super::operator::{self, Installed};
use crate::crd::DEFAULT_SERVER;
use crate::mailcow::{Client, Connection, Error};

/// Which Mailcow.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of Mailcow")]
pub struct MailcowFlags {
    /// URL of Mailcow. Default: the operator's connection, from its Secret.
    #[arg(long, env = "MAILCOW_URL", value_name = "URL", requires = "mailcow_api_key_file")]
    pub mailcow_url: Option<String>,
    /// File with an API key; a read-only key is enough, except to release and delete quarantined mail.
    #[arg(long, env = "MAILCOW_API_KEY_FILE", value_name = "FILE", requires = "mailcow_url")]
    pub mailcow_api_key_file: Option<PathBuf>,
    /// File with Mailcow's certificate authority in PEM, if it is private.
    #[arg(long, value_name = "FILE", requires = "mailcow_url")]
    pub mailcow_ca_file: Option<PathBuf>,
    /// The Mailcow server as in spec.server of domains, if the operator has several.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_SERVER)]
    pub server: String,
    /// The namespace of the operator. Default: it is looked for.
    #[arg(long, value_name = "NAME")]
    pub operator_namespace: Option<String>,
}

impl MailcowFlags {
    /// The connection of the flags or of the operator.
    ///
    /// # Errors
    /// When there is none, or the user may not read it.
    pub(super) async fn connection(&self, cluster: &ClusterFlags) -> Result<Connection, Failure> {
        if let Some(connection) = self.given()? {
            return Ok(connection);
        }
        let cluster = Cluster::connect(cluster).await?;
        let installed = operator::of_namespace(&cluster, self.operator_namespace.as_deref(), &self.server).await?;
        self.of_operator(&cluster, &installed).await
    }

    /// The connection of the flags, if they name one.
    pub(super) fn given(&self) -> Result<Option<Connection>, Failure> {
        let (Some(url), Some(file)) = (&self.mailcow_url, &self.mailcow_api_key_file) else { return Ok(None) };
        let read = |file: &PathBuf| {
            std::fs::read_to_string(file).map_err(|error| Failure::wrong(format!("{}: {error}", file.display())))
        };
        Ok(Some(Connection {
            url: url.clone(),
            api_key: SecretString::from(read(file)?),
            ca: self.mailcow_ca_file.as_ref().map(read).transpose()?,
            mail_host: None,
        }))
    }

    /// The connection of an operator, from its Secret.
    pub(super) async fn of_operator(&self, cluster: &Cluster, installed: &Installed) -> Result<Connection, Failure> {
        let name = self.secret_name(installed)?;
        let namespace = installed.namespace();
        let otherwise = "or use --mailcow-url and --mailcow-api-key-file with a key of your own";
        let secret = cluster.find::<Secret>(&namespace, &name).await.map_err(|failure| match failure {
            Failure::Wrong(why) => Failure::wrong(format!(
                "the connection to Mailcow is in the Secret {name} of the namespace {namespace}: {}; {otherwise}",
                why.join("; ")
            )),
            other => other,
        })?;
        let Some(secret) = secret else {
            return Err(Failure::wrong(format!(
                "the Secret {name} with the connection to Mailcow does not exist in the namespace {namespace}; create it, {otherwise}"
            )));
        };
        Connection::of_secret(&secret).map_err(|why| Failure::wrong(format!("{why} (namespace {namespace})")))
    }

    /// The Secret with the connection to the server of the flags.
    pub(super) fn secret_name(&self, installed: &Installed) -> Result<String, Failure> {
        let settings = installed.options()?;
        if self.server == DEFAULT_SERVER {
            return settings.mailcow_secret.clone().ok_or_else(|| {
                Failure::wrong(format!(
                    "the operator {} has no Secret with a connection to Mailcow; use --mailcow-url and --mailcow-api-key-file",
                    installed.name()
                ))
            });
        }
        let known = &settings.mailcow_servers;
        let found = known.iter().find(|server| server.name == self.server).map(|server| server.secret.clone());
        found.ok_or_else(|| {
            let near = nearest(&self.server, known.iter().map(|server| server.name.as_str()));
            Failure::wrong(format!("the operator {} has no server {}{near}", installed.name(), self.server))
        })
    }
}

/// A client that counts nothing.
///
/// # Errors
/// When the connection can't be used.
pub(super) fn client(connection: &Connection) -> Result<Client, Failure> {
    let client = Client::new(connection, Arc::new(|_, _, _| ())).map_err(|error| failed(&error))?;
    // A person waits; nobody retries.
    Ok(client.with_limits(Duration::from_secs(30), Duration::from_mins(2)))
}

/// The failure of a request to Mailcow.
pub(super) fn failed(error: &Error) -> Failure {
    match error {
        Error::Unreachable { .. } => Failure::Unreachable(error.to_string()),
        Error::KeyRejected { server, why, .. } => Failure::wrong(format!(
            "Mailcow at {server} refuses the API key or your IP address ({why}); check the key, that API access is on, and the allowed addresses. Mailcow bans addresses after ten failures"
        )),
        Error::ReadOnlyKey { server } => {
            Failure::wrong(format!("the API key for Mailcow at {server} is read-only; use the read-write key"))
        }
        _ => Failure::wrong(error.to_string()),
    }
}
