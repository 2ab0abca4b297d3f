//! Leader election: only the holder of a Lease works, also with a single operator. An operator for some of several Mailcow
//! servers needs several Leases, and works while it holds all of them.
//!
//! Nobody compares the clocks of two machines. A leader counts from the moment it *sent* its last renewal that was
//! confirmed, and stops after two thirds of the lease's duration. Another takes the Lease only after it has watched it
//! stay unchanged for nearly the whole duration, and every write to it names the version that was read. So the one has
//! stopped before the other starts, also when it was frozen meanwhile: each of its writes asks its [`Permit`] first.

pub(crate) mod lease;
pub(crate) mod permit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{join_all, select_all};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::config::LeaderSettings;
use crate::leader::lease::{Record, Times, written};
use crate::leader::permit::{LeasePermit, Permit};

/// Called with whether this process is the leader.
pub(crate) type Leading = Arc<dyn Fn(bool) + Send + Sync>;

/// The candidates of this process for every Lease that it needs.
pub(crate) struct Election(Vec<Candidate>);

impl Election {
    /// Candidates for the Leases `names`, not elected yet: `permit` does not hold from now on.
    pub(crate) fn new(
        kube: &kube::Client,
        namespace: &str,
        leader: &LeaderSettings,
        names: Vec<String>,
        permit: &Permit,
        leading: &Leading,
    ) -> Self {
        leading(false);
        let me = leader.pod_name.clone().unwrap_or_else(host_name);
        let candidate = |name| Candidate {
            leases: Api::namespaced(kube.clone(), namespace),
            name,
            me: me.clone(),
            duration: leader.lease_duration,
            permit: permit.need_lease(),
            leading: leading.clone(),
            record: Record::default(),
        };
        Self(names.into_iter().map(candidate).collect())
    }

    /// Waits until this process is the leader: takes the Leases one after the other, and adds them to `terms`. Every
    /// process takes them in the same order, so that no two wait for each other. `looked` is called when a Lease was read:
    /// from then on it is a valid standby.
    ///
    /// # Errors
    /// Why a Lease was lost before the last one was taken.
    pub(crate) async fn won(self, terms: &mut Terms, looked: impl Fn()) -> Result<(), String> {
        for candidate in self.0 {
            let term = tokio::select! {
                term = candidate.elected(&looked) => term,
                why = terms.lost() => return Err(why),
            };
            terms.0.push(term);
        }
        Ok(())
    }
}

/// A candidate for one Lease.
struct Candidate {
    leases: Api<Lease>,
    name: String,
    me: String,
    duration: Duration,
    permit: LeasePermit,
    leading: Leading,
    record: Record,
}

impl Candidate {
    /// Waits until this process holds the Lease.
    async fn elected(mut self, looked: impl Fn()) -> Term {
        let times = Times::of(self.duration);
        let mut told = String::new();
        loop {
            let said = match timeout(times.good, self.look(times)).await {
                Ok(Ok(Look::Taken(lease))) => return self.start(lease),
                Ok(Ok(Look::Held(by))) => {
                    looked();
                    format!("on standby, another instance is the leader: {by}")
                }
                Ok(Err(error)) => self.trouble(&error),
                Err(_) => "the Kubernetes API does not answer".to_owned(),
            };
            if said != told {
                tracing::info!(lease = self.name, me = self.me, "{said}");
                told = said;
            }
            sleep(times.look.mul_f64(0.9 + rand::random::<f64>() / 10.0)).await;
        }
    }

    /// Checks the Lease, and tries to take it if it is free.
    async fn look(&mut self, times: Times) -> Result<Look, kube::Error> {
        let asked = Instant::now();
        let there = self.leases.get_opt(&self.name).await?;
        let spec = there.as_ref().and_then(|lease| lease.spec.as_ref());
        if let Some(by) = self.record.holder(spec, &self.me, self.duration, Instant::now()) {
            return Ok(Look::Held(by));
        }
        let taken = match there {
            Some(lease) => self.write(lease, Some(&self.me)).await,
            None => self.leases.create(&PostParams::default(), &self.written(Lease::default(), Some(&self.me))).await,
        };
        match taken {
            Ok(lease) => {
                self.permit.grant(asked + times.good);
                Ok(Look::Taken(Box::new(lease)))
            }
            Err(error) if is_conflict(&error) => Ok(Look::Held("an instance that was faster".to_owned())),
            Err(error) => Err(error),
        }
    }

    fn start(self, lease: Box<Lease>) -> Term {
        if self.permit.is_complete() {
            tracing::info!(lease = self.name, me = self.me, "this instance is the leader");
            (self.leading)(true);
        } else {
            tracing::info!(lease = self.name, me = self.me, "the Lease is taken; this instance needs more of them");
        }
        let (resign, resigned) = oneshot::channel();
        // A task of its own, so that long reconciles don't block the renewal.
        Term { resign, keeping: tokio::spawn(self.keep(*lease, resigned)) }
    }

    /// Renews until it must resign; returns why the Lease is lost.
    async fn keep(self, mut lease: Lease, mut resigned: oneshot::Receiver<()>) -> Option<String> {
        let why = self.renewed(&mut lease, &mut resigned).await;
        if why.is_none() {
            self.release(lease).await;
        }
        self.permit.revoke();
        (self.leading)(false);
        why
    }

    async fn renewed(&self, lease: &mut Lease, resigned: &mut oneshot::Receiver<()>) -> Option<String> {
        let times = Times::of(self.duration);
        let mut trouble: Option<String> = None;
        let late = |trouble: Option<String>| trouble.or_else(|| Some("the Lease was not renewed in time".to_owned()));
        let mut wait = times.renew;
        loop {
            let Some(left) = self.permit.left() else { return late(trouble) };
            if timeout(wait.min(left), &mut *resigned).await.is_ok() {
                return None;
            }
            let Some(left) = self.permit.left() else { return late(trouble) };
            let sent = Instant::now();
            wait = times.look;
            // A hanging renewal must not use up the whole term: each try has a part of it.
            let failed = match timeout(times.attempt.min(left), self.renew(lease)).await {
                Ok(Ok(Renewed::Yes(renewed))) => {
                    *lease = *renewed;
                    self.permit.grant(sent + times.good);
                    wait = times.renew;
                    None
                }
                Ok(Ok(Renewed::Lost(why))) => return Some(why),
                Ok(Err(error)) => Some(self.trouble(&error)),
                Err(_) => Some("the Kubernetes API does not answer".to_owned()),
            };
            // An outage is one line when it begins and one when it ends.
            match &failed {
                Some(failed) if trouble.is_none() => {
                    let left = self.permit.left().unwrap_or_default().as_secs();
                    tracing::warn!(
                        lease = self.name,
                        "{failed}; the operator retries, and stops in {left} s unless the Lease is renewed"
                    );
                }
                None if trouble.is_some() => tracing::info!(lease = self.name, "the Lease is renewed again"),
                Some(_) | None => {}
            }
            trouble = failed;
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewed, kube::Error> {
        match self.write(lease.clone(), Some(&self.me)).await {
            Ok(lease) => Ok(Renewed::Yes(Box::new(lease))),
            Err(error) if is_conflict(&error) => self.again().await,
            Err(kube::Error::Api(error)) if error.is_not_found() => {
                Ok(Renewed::Lost("the Lease was deleted".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// The Lease differs from its last state: an earlier renewal whose answer was lost, a change by hand, or another
    /// leader.
    async fn again(&self) -> Result<Renewed, kube::Error> {
        let lease = self.leases.get(&self.name).await?;
        match lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) {
            Some(by) if by == self.me => Ok(Renewed::Yes(Box::new(self.write(lease, Some(&self.me)).await?))),
            Some(by) => Ok(Renewed::Lost(format!("{by} holds the Lease"))),
            None => Ok(Renewed::Lost("the Lease was released by hand".to_owned())),
        }
    }

    /// Releases the Lease; nothing is written after that. If this fails, the Lease expires.
    async fn release(&self, lease: Lease) {
        let limit = self.permit.left().unwrap_or_default();
        self.permit.revoke();
        match timeout(limit, self.write(lease, None)).await {
            Ok(Ok(_)) => tracing::info!(lease = self.name, "the Lease is released"),
            Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "the Lease can't be released; it expires"),
            Err(_) => tracing::warn!(lease = self.name, "the Lease can't be released; it expires"),
        }
    }

    /// Writes the Lease if it is unchanged.
    async fn write(&self, lease: Lease, holder: Option<&str>) -> Result<Lease, kube::Error> {
        self.leases.replace(&self.name, &PostParams::default(), &self.written(lease, holder)).await
    }

    fn written(&self, before: Lease, holder: Option<&str>) -> Lease {
        written(before, &self.name, holder, self.duration, clock::precisely())
    }

    fn trouble(&self, error: &kube::Error) -> String {
        match error {
            kube::Error::Api(status) if status.is_forbidden() => format!(
                "the operator may not read or write the Lease {}: it needs get, create and update on leases ({})",
                self.name, status.message
            ),
            error => format!("reading or writing the Lease {} failed: {error}", self.name),
        }
    }
}

/// Result of a check of the Lease.
enum Look {
    /// It is ours.
    Taken(Box<Lease>),
    /// The holder.
    Held(String),
}

/// Result of a renewal.
enum Renewed {
    /// It is still ours.
    Yes(Box<Lease>),
    /// Why it is not.
    Lost(String),
}

/// The Leases that this process holds.
#[derive(Default)]
pub(crate) struct Terms(Vec<Term>);

impl Terms {
    /// Waits until one of the Leases is lost, and says why.
    pub(crate) async fn lost(&mut self) -> String {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let (ended, ..) = select_all(self.0.iter_mut().map(|term| &mut term.keeping)).await;
        ended.ok().flatten().unwrap_or_else(|| "the task that renews the Lease failed".to_owned())
    }

    /// Releases the Leases, so that another instance can start at once.
    pub(crate) async fn resign(self) {
        let (resign, keeping): (Vec<_>, Vec<_>) = self.0.into_iter().map(|term| (term.resign, term.keeping)).unzip();
        for resign in resign {
            // If the receiver is closed, the Lease is lost and can't be released.
            let _ = resign.send(());
        }
        join_all(keeping).await;
    }
}

/// The term of the holder of one Lease.
struct Term {
    resign: oneshot::Sender<()>,
    keeping: JoinHandle<Option<String>>,
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_conflict() || status.is_already_exists())
}

/// The host name with random letters.
fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "mailcow-operator" } else { host.trim() };
    format!("{host}-{:08x}", rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use kube::client::Body;

    const LEASE: &str = r#"{"metadata":{"name":"l","resourceVersion":"1"},"spec":{"holderIdentity":"me"}}"#;
    const NOT_FOUND: &str =
        r#"{"kind":"Status","status":"Failure","reason":"NotFound","code":404,"message":"","metadata":{}}"#;

    /// An API server with one Lease, whose answer to the second write of it never comes.
    #[derive(Clone, Default)]
    struct Server(Arc<AtomicUsize>);

    impl tower::Service<http::Request<Body>> for Server {
        type Response = http::Response<Body>;
        type Error = std::convert::Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let is_write = *request.method() != http::Method::GET;
            let is_second = is_write && self.0.fetch_add(1, Ordering::Relaxed) == 1;
            Box::pin(async move {
                if is_second {
                    std::future::pending::<()>().await;
                }
                let (status, body) = if is_write { (200, LEASE) } else { (404, NOT_FOUND) };
                let mut answer = http::Response::new(Body::from(body.as_bytes().to_vec()));
                *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
                Ok(answer)
            })
        }
    }

    fn settings() -> LeaderSettings {
        LeaderSettings {
            lease_name: "l".to_owned(),
            lease_duration: Duration::from_secs(3),
            pod_name: Some("me".to_owned()),
        }
    }

    #[tokio::test]
    async fn a_renewal_that_hangs_does_not_cost_the_term() {
        let server = Server::default();
        let permit = Permit::always();
        let client = kube::Client::new(server.clone(), "n");
        let leading: Leading = Arc::new(|_| ());
        let election = Election::new(&client, "n", &settings(), vec!["l".to_owned()], &permit, &leading);
        let mut terms = Terms::default();
        election.won(&mut terms, || ()).await.unwrap();
        let renewed_later = async {
            while server.0.load(Ordering::Relaxed) < 4 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            why = terms.lost() => panic!("the term is lost: {why}"),
            () = renewed_later => assert!(permit.holds()),
        }
    }

    /// An API server on which others hold some of the Leases, and the rest is free.
    #[derive(Clone)]
    struct Held(Arc<Mutex<Vec<&'static str>>>);

    impl tower::Service<http::Request<Body>> for Held {
        type Response = http::Response<Body>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let is_write = *request.method() != http::Method::GET;
            let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            let is_held = self.0.lock().unwrap().iter().any(|held| *held == name);
            let (status, body) = match (is_write, is_held) {
                (false, true) => (200, LEASE.replace("\"me\"", "\"other\"")),
                (false, false) => (404, NOT_FOUND.to_owned()),
                (true, _) => (200, LEASE.to_owned()),
            };
            let mut answer = http::Response::new(Body::from(body.into_bytes()));
            *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
            std::future::ready(Ok(answer))
        }
    }

    #[tokio::test]
    async fn only_the_holder_of_every_lease_is_the_leader() {
        let held = Arc::new(Mutex::new(vec!["second"]));
        let client = kube::Client::new(Held(held.clone()), "n");
        let (permit, leads) = (Permit::always(), Arc::new(Mutex::new(Vec::new())));
        let said = leads.clone();
        let leading: Leading = Arc::new(move |yes| said.lock().unwrap().push(yes));
        let names = ["first", "second"].map(str::to_owned).to_vec();
        let election = Election::new(&client, "n", &settings(), names, &permit, &leading);
        let (mut terms, looked) = (Terms::default(), AtomicUsize::new(0));
        let is_free = async {
            while looked.load(Ordering::Relaxed) < 2 {
                sleep(Duration::from_millis(20)).await;
            }
            assert!(!permit.holds() && *leads.lock().unwrap() == [false], "it holds the first one only");
            held.lock().unwrap().clear();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            won = election.won(&mut terms, || { looked.fetch_add(1, Ordering::Relaxed); }) => won.unwrap(),
            () = is_free => {}
        }
        assert!(permit.holds() && *leads.lock().unwrap() == [false, true]);
        terms.resign().await;
        assert!(!permit.holds() && leads.lock().unwrap().last() == Some(&false));
    }
}
