//! The worker: one task for each mailbox.

mod connections;
mod delivery;
mod folder;
mod mailbox;
mod scan;
mod sinks;
mod start;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connections::Connections;
use mailbox::{LAST_DELIVERIES, Mailbox, Shared};
use sinks::Outlets;

use super::imap::Endpoint;
use super::queue::{MailboxQueues, Options, Work};
use super::report::{EventReason, Failure, Report, ScanReport};
use crate::clock;

/// How long a mailbox whose worker broke waits for a new one.
const RESTART: Duration = Duration::from_secs(10);

/// Works until `stop`, or until nobody sends work any more. Then the deliveries that run come to their end, which takes
/// as long as one request to a sink; none runs after that, so that another worker may begin.
pub async fn run(
    mut work: watch::Receiver<Arc<Work>>,
    reports: mpsc::Sender<Report>,
    options: Options,
    stop: CancellationToken,
) {
    let shared = Arc::new(Shared {
        connections: Connections::new(options.connections, options.scan_interval),
        deliveries: TaskTracker::new(),
        outlets: Outlets::default(),
        options,
        reports,
        stop: stop.clone(),
    });
    let mut supervisor = Supervisor { shared, mailboxes: HashMap::new(), tasks: JoinSet::new(), names: HashMap::new() };
    loop {
        let current = Arc::clone(&work.borrow_and_update());
        supervisor.follow(&current).await;
        let is_next = loop {
            tokio::select! {
                changed = work.changed() => break changed.is_ok(),
                () = stop.cancelled() => break false,
                Some(ended) = supervisor.tasks.join_next_with_id() => supervisor.ended(&ended),
            }
        };
        if !is_next {
            break;
        }
    }
    stop.cancel();
    supervisor.mailboxes.clear();
    while supervisor.tasks.join_next().await.is_some() {}
    // Those of a mailbox whose session broke meanwhile. Each has a time limit of its own.
    let deliveries = &supervisor.shared.deliveries;
    deliveries.close();
    if tokio::time::timeout(options.sink_timeout + LAST_DELIVERIES, deliveries.wait()).await.is_err() {
        tracing::warn!(
            running = deliveries.len(),
            "deliveries do not end; the next worker repeats them with the same ids"
        );
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    mailboxes: HashMap<String, watch::Sender<Arc<MailboxQueues>>>,
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Supervisor {
    /// Starts, changes and ends workers as the work says.
    async fn follow(&mut self, work: &Work) {
        let sinks_changed = self.shared.outlets.set(work, &self.shared.options);
        let wanted: HashMap<String, &MailboxQueues> =
            work.mailboxes.iter().map(|mailbox| (mailbox.address.to_string(), mailbox)).collect();
        self.mailboxes.retain(|name, _| wanted.contains_key(name));
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for mailbox in &work.mailboxes {
            let name = mailbox.address.to_string();
            if let Some(known) = self.mailboxes.get(&name) {
                if sinks_changed || **known.borrow() != *mailbox {
                    known.send_replace(Arc::new(mailbox.clone()));
                }
                continue;
            }
            // One TLS configuration for all mailboxes of a server.
            let endpoint = match endpoints.iter().find(|endpoint| endpoint.server == mailbox.server) {
                Some(endpoint) => endpoint.clone(),
                None => match Endpoint::new(Arc::clone(&mailbox.server)) {
                    Ok(endpoint) => {
                        endpoints.push(endpoint.clone());
                        endpoint
                    }
                    Err(error) => {
                        let failure = Failure { reason: EventReason::MailboxUnsupported, message: error.to_string() };
                        let report =
                            ScanReport { mailbox: mailbox.address.clone(), at: clock::now(), failure: Some(failure) };
                        let _ = self.shared.reports.send(Report::Scan(report)).await;
                        continue;
                    }
                },
            };
            let (sender, receiver) = watch::channel(Arc::new(mailbox.clone()));
            self.mailboxes.insert(name.clone(), sender);
            self.spawn(name, receiver, endpoint, Duration::ZERO);
        }
    }

    fn spawn(&mut self, name: String, news: watch::Receiver<Arc<MailboxQueues>>, endpoint: Endpoint, after: Duration) {
        let shared = Arc::clone(&self.shared);
        let task = self.tasks.spawn(async move {
            tokio::time::sleep(after).await;
            Mailbox::new(shared, news).run(endpoint).await;
        });
        self.names.insert(task.id(), name);
    }

    /// A worker that broke gets a successor; one that ended as it should does not.
    fn ended(&mut self, ended: &Result<(Id, ()), tokio::task::JoinError>) {
        let (id, broke) = match ended {
            Ok((id, ())) => (*id, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let Some(name) = self.names.remove(&id) else { return };
        if !broke || self.shared.stop.is_cancelled() {
            return;
        }
        tracing::error!(mailbox = name, "the worker of a mailbox broke; please report this with the log");
        let Some(sender) = self.mailboxes.get(&name) else { return };
        let receiver = sender.subscribe();
        let server = Arc::clone(&receiver.borrow().server);
        if let Ok(endpoint) = Endpoint::new(server) {
            self.spawn(name, receiver, endpoint, RESTART);
        }
    }
}
