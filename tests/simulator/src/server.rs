//! One request from its bytes to its answer: faults, costs, the state and the journal.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::answer::Reply;
use crate::call::Call;
use crate::cost::CostModel;
use crate::fault::{self, Fault, Trouble};
use crate::gate::{self, Answer, Passed};
use crate::journal::{Journal, Request};
use crate::json::Json;
use crate::json_text;
use crate::netfilter::Bans;
use crate::observer::{Asked, Observer};
use crate::state::{Backend, State};
use crate::topics::{mailbox, password_check};
use crate::writer::{Stop, Writer};
use crate::writes::Ended;

/// What all connections share.
pub(crate) struct Shared {
    state: Mutex<State>,
    journal: Mutex<Journal>,
    faults: Mutex<Vec<Fault>>,
    observer: Mutex<Option<Arc<dyn Observer>>>,
    cost: Option<CostModel>,
    bans: Mutex<Bans>,
    /// Held while `SOGo`'s view is refreshed or rebuilt.
    sogo: tokio::sync::Mutex<()>,
}

/// What goes back, or that the connection is to be cut while it goes.
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    pub(crate) cut: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const DEADLOCK: &str = "SQLSTATE[40001]: Serialization failure: 1213 Deadlock found when trying to get lock; \
                        try restarting transaction";
const LOCK_TIMEOUT: &str =
    "SQLSTATE[HY000]: General error: 1205 Lock wait timeout exceeded; try restarting transaction";

impl Shared {
    pub(crate) fn new(state: State, cost: Option<CostModel>) -> Self {
        Self {
            state: Mutex::new(state),
            journal: Mutex::new(Journal::new()),
            faults: Mutex::new(Vec::new()),
            observer: Mutex::new(None),
            cost,
            bans: Mutex::new(Bans::default()),
            sogo: tokio::sync::Mutex::new(()),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        lock(&self.faults)
    }

    pub(crate) fn observer(&self) -> MutexGuard<'_, Option<Arc<dyn Observer>>> {
        lock(&self.observer)
    }

    /// Answers one request; `None` when nothing goes back at all.
    pub(crate) async fn serve(
        &self,
        parts: &hyper::http::request::Parts,
        body: String,
        from: IpAddr,
    ) -> Option<Outcome> {
        let started = Instant::now();
        let netfilter = self.state().netfilter.clone();
        let shut_out = netfilter.as_ref().and_then(|settings| lock(&self.bans).left(settings, from, started));
        if let Some(left) = shut_out {
            // Packets are dropped: there is no answer, not even that there is none.
            tokio::time::sleep(left).await;
            return None;
        }
        if parts.uri.path() == password_check::PATH {
            let reply = password_check::answer(&self.state(), &body);
            return Some(Outcome { answer: Answer { reply, cookie: None }, cut: false });
        }
        let at = self.journal().since_start();
        let call = Call::new(parts, body, from);
        let observer = self.observer().clone();
        let asked = observer.is_some().then(|| Asked::of(&call));
        let both = observer.as_ref().zip(asked.as_ref());
        let ordered = both.and_then(|(observer, asked)| observer.before(asked, &self.state()));
        let trouble = ordered.or_else(|| fault::take(&mut self.faults(), &call));
        let late = if let Some(Trouble::LateAnswer(duration)) = trouble { duration } else { Duration::ZERO };
        let outcome = self.with_trouble(&call, trouble).await;
        let status = if outcome.cut { 0 } else { outcome.answer.reply.status };
        if let (401, Some(settings)) = (status, &netfilter) {
            lock(&self.bans).failed(settings, from, Instant::now());
        }
        if let Some((observer, asked)) = observer.as_ref().zip(asked.as_ref()) {
            observer.after(asked, status, &self.state());
        }
        let request = Request {
            method: call.method.clone(),
            path: call.route(),
            query: call.query.clone(),
            body: call.body,
            key: call.key.unwrap_or_default(),
            at,
            took: started.elapsed(),
            status,
        };
        self.journal().requests.push(request);
        tokio::time::sleep(late).await;
        Some(outcome)
    }

    async fn with_trouble(&self, call: &Call, trouble: Option<Trouble>) -> Outcome {
        let plain = |reply: Reply| Outcome { answer: Answer { reply, cookie: None }, cut: false };
        match trouble {
            None | Some(Trouble::LateAnswer(_)) => Outcome { answer: self.normally(call).await, cut: false },
            Some(Trouble::Slow(duration)) => {
                tokio::time::sleep(duration).await;
                Outcome { answer: self.normally(call).await, cut: false }
            }
            Some(Trouble::Reset) => Outcome { answer: self.normally(call).await, cut: true },
            Some(Trouble::Deadlock) => self.lock_failure(call, DEADLOCK),
            Some(Trouble::LockTimeout) => self.lock_failure(call, LOCK_TIMEOUT),
            Some(Trouble::Empty { done }) => {
                if done {
                    self.normally(call).await;
                }
                plain(Reply::empty())
            }
            Some(Trouble::HalfDelete) => {
                half_delete(&mut self.state(), call);
                plain(Reply::empty())
            }
            Some(Trouble::Cut { done }) => {
                if done {
                    self.normally(call).await;
                }
                Outcome { answer: Answer { reply: Reply::json(200, "[]".to_owned()), cookie: None }, cut: true }
            }
            Some(Trouble::HalfList) => {
                let mut answer = self.normally(call).await;
                answer.reply.body = half_list(&answer.reply.body);
                Outcome { answer, cut: false }
            }
            Some(Trouble::SogoLockTimeout) => {
                let answer = self.normally(call).await;
                let reply = gate::with_sogo_failure(&mut self.state(), call, &answer.reply, LOCK_TIMEOUT);
                Outcome { answer: Answer { reply, cookie: answer.cookie }, cut: false }
            }
            Some(Trouble::ServerError) => plain(Reply::html(500, "<center>Connection to Redis failed.</center>\n")),
            Some(Trouble::BadGateway) => plain(Reply::html(502, "<!DOCTYPE html>\n<html>Preparing</html>\n")),
            Some(Trouble::GatewayTimeout) => {
                self.normally(call).await;
                plain(Reply::html(504, "<html>\n<head><title>504 Gateway Time-out</title></head>\n</html>\n"))
            }
            Some(Trouble::Unauthorized) => {
                let mut reply = Reply::error(401, "authentication failed");
                reply.html = true;
                plain(reply)
            }
            Some(Trouble::Text { status, body }) => plain(Reply::html(status, &body)),
        }
    }

    fn lock_failure(&self, call: &Call, text: &str) -> Outcome {
        let mut state = self.state();
        let answer = match gate::admit(&mut state, call) {
            Err(refused) => *refused,
            Ok((_, cookie)) => Answer { reply: gate::lock_failure(&mut state, call, text), cookie },
        };
        Outcome { answer, cut: false }
    }

    async fn normally(&self, call: &Call) -> Answer {
        let slow = match self.state().backend {
            Backend::DockerapiSlow(duration) => duration,
            _ => Duration::ZERO,
        };
        if !slow.is_zero() && call.action() == "delete" && ["mailbox", "domain"].contains(&call.piece(1)) {
            tokio::time::sleep(slow).await;
        }
        match &self.cost {
            None => gate::answer(&mut self.state(), call),
            Some(cost) => self.at_a_cost(call, cost).await,
        }
    }

    async fn at_a_cost(&self, call: &Call, cost: &CostModel) -> Answer {
        let admitted = gate::admit(&mut self.state(), call);
        let (passed, cookie) = match admitted {
            Ok(passed) => passed,
            Err(answer) => {
                tokio::time::sleep(Duration::from_micros(cost.startup)).await;
                return *answer;
            }
        };
        let reply = match passed {
            Passed::Write { route, ref request, access: Some(_) } => {
                self.write_at_a_cost(call, cost, route, request).await
            }
            passed => {
                let reply = gate::run(&mut self.state(), call, passed);
                let takes = cost.read(&self.state(), &call.path, reply.rows);
                tokio::time::sleep(takes).await;
                reply
            }
        };
        Answer { reply, cookie }
    }

    /// A write waits for the rebuild of another one, and works on `SOGo`'s view itself before it answers.
    async fn write_at_a_cost(
        &self,
        call: &Call,
        cost: &CostModel,
        route: &'static crate::writes::Route,
        request: &Json,
    ) -> Reply {
        let items = request.get("items").clone().into_items().len();
        tokio::time::sleep(cost.write(call, items)).await;
        if dice(cost.deadlocks_per_mille) && matches!(call.action(), "edit" | "delete") && call.piece(1) == "mailbox" {
            return gate::lock_failure(&mut self.state(), call, DEADLOCK);
        }
        let hashed = if route.is_add_mailbox() { self.hash_slowly(call, cost, route, request).await } else { None };
        let waits = route.view_kind().is_some() || route.is_rename();
        let guard = if waits { Some(self.lock_of_view(cost).await) } else { None };
        if matches!(guard, Some(None)) {
            return gate::lock_failure(&mut self.state(), call, LOCK_TIMEOUT);
        }
        let (reply, view) = {
            let mut state = self.state();
            let ended = match hashed {
                Some(Ok(plan)) => {
                    let attr = request.get("attr");
                    let mut writer = Writer::new(&mut state, route.echo(call, request));
                    let end = mailbox::commit(&mut writer, plan, attr);
                    Ended::of(writer, route, end)
                }
                Some(Err(ended)) => ended,
                None => {
                    let access = Some(crate::state::Access::ReadWrite);
                    crate::writes::run(&mut state, route, call, request, access)
                }
            };
            let view = cost.view(&state, ended.view);
            (gate::finish(&mut state, call, route, ended), view)
        };
        tokio::time::sleep(view).await;
        reply
    }

    /// The lock that work on `SOGo`'s view holds; `None` when it takes the database too long.
    async fn lock_of_view(&self, cost: &CostModel) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if cost.lock_timeout == 0 {
            return Some(self.sogo.lock().await);
        }
        tokio::time::timeout(Duration::from_micros(cost.lock_timeout), self.sogo.lock()).await.ok()
    }

    /// The checks of `add/mailbox`, and the time in which its password is hashed: others get in between them
    /// and its writes.
    async fn hash_slowly(
        &self,
        call: &Call,
        cost: &CostModel,
        route: &'static crate::writes::Route,
        request: &Json,
    ) -> Option<Result<mailbox::Plan, Ended>> {
        let prepared = {
            let mut state = self.state();
            let mut writer = Writer::new(&mut state, route.echo(call, request));
            let plan = mailbox::prepare(&mut writer, request.get("attr"));
            plan.ok_or_else(|| Ended::idle(writer.entries, Err(Stop::Refused)))
        };
        if prepared.is_ok() {
            tokio::time::sleep(cost.hash()).await;
        }
        Some(prepared)
    }
}

/// The first half of a list; what is no list of several stays as it is.
fn half_list(body: &str) -> String {
    match Json::parse(body) {
        Some(Json::List(items)) if items.len() > 1 => json_text::pretty(&Json::List(items[..items.len() / 2].to_vec())),
        _ => body.to_owned(),
    }
}

fn dice(per_mille: u32) -> bool {
    per_mille > 0 && rand::random::<u32>() % 1000 < per_mille
}

/// Leaves of the mailboxes of a delete what a deletion that broke off leaves.
fn half_delete(state: &mut State, call: &Call) {
    for item in Json::parse(&call.body).unwrap_or_default().into_items() {
        mailbox::half_delete(state, &item.to_text());
    }
}
