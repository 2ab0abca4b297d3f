//! Calls that wait, as tasks (the extension `io.modelcontextprotocol/tasks`): a client that has the extension gets a handle
//! and polls, where it would else keep a request open. A task is its caller's: for others it does not exist.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rmcp::ErrorData;
use rmcp::model::{CallToolResponse, CallToolResult, CreateTaskResult, DetailedTask};
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::call::{Answer, Progress};
use super::tool_error::{ErrorKind, ToolError};

/// A call that ends sooner is answered at once.
const SOON: Duration = Duration::from_secs(2);
/// How long a task and its result can be asked for; longer than any call takes.
const LIFETIME: Duration = Duration::from_mins(10);
/// Time between two polls that clients are advised to keep; milliseconds.
const POLL: u64 = 1_000;
/// Most tasks of one caller within twice their lifetime; a further call is answered when it ends.
const OF_ONE: usize = 32;
/// Most tasks of all callers.
const OF_ALL: usize = 1_024;

/// The tasks of all callers.
pub(crate) struct Tasks {
    soon: Duration,
    manager: TaskManager,
    owners: Mutex<HashMap<String, Owner>>,
}

struct Owner {
    who: String,
    until: Instant,
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new(SOON)
    }
}

impl Tasks {
    fn new(soon: Duration) -> Self {
        Self { soon, manager: TaskManager::default(), owners: Mutex::default() }
    }

    /// Runs a call. Gives its answer if it ends soon, and else a task. `asked` ends with the request.
    pub(crate) async fn run<F>(
        &self,
        who: &str,
        asked: &CancellationToken,
        call: impl FnOnce(CancellationToken, Progress) -> F,
    ) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let cancelled = CancellationToken::new();
        let (progress, seen) = watch::channel(String::new());
        let mut running = tokio::spawn(call(cancelled.clone(), Progress::Task(progress)));
        let is_long = tokio::select! {
            done = &mut running => return ended(done),
            () = asked.cancelled() => false,
            () = tokio::time::sleep(self.soon) => true,
        };
        if !is_long {
            cancelled.cancel();
            return ended(running.await);
        }
        if !self.has_room(who) {
            return in_request(running, asked, &cancelled).await;
        }
        let options = TaskOptions::new()
            .with_ttl_ms(u64::try_from(LIFETIME.as_millis()).ok())
            .with_poll_interval_ms(POLL)
            .with_status_message(seen.borrow().clone());
        let task = self.manager.spawn(options, |task| Box::pin(followed(task, running, seen, cancelled)));
        // The manager keeps a result for as long again after its end.
        let owner = Owner { who: who.to_owned(), until: Instant::now() + LIFETIME * 2 };
        self.owners.lock().unwrap_or_else(PoisonError::into_inner).insert(task.task_id.clone(), owner);
        Ok(CreateTaskResult::new(task).into())
    }

    /// `tasks/get`
    pub(crate) fn get(&self, id: &str, who: &str) -> Result<DetailedTask, ErrorData> {
        self.check(id, who)?;
        self.manager.get_task(id).map_err(|_| unknown())
    }

    /// `tasks/update`: no task asks for anything, so there is nothing to update.
    pub(crate) fn update(&self, id: &str, who: &str) -> Result<(), ErrorData> {
        self.get(id, who).map(|_| ())
    }

    /// `tasks/cancel`: the call no longer waits, and the task ends with what it knows.
    pub(crate) fn cancel(&self, id: &str, who: &str) -> Result<(), ErrorData> {
        self.check(id, who)?;
        self.manager.cancel_task(id).map_err(|_| unknown())
    }

    /// Whether there is room for one more task of a caller.
    fn has_room(&self, who: &str) -> bool {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, owner| owner.until > Instant::now());
        owners.len() < OF_ALL && owners.values().filter(|owner| owner.who == who).count() < OF_ONE
    }

    fn check(&self, id: &str, who: &str) -> Result<(), ErrorData> {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.get(id).is_some_and(|owner| owner.who == who) { Ok(()) } else { Err(unknown()) }
    }
}

/// The same for all reasons, so that tasks of others can't be told from none.
fn unknown() -> ErrorData {
    ErrorData::invalid_params("unknown task: it never was, has expired, or is of another caller", None)
}

type Running = JoinHandle<Answer>;

/// Waits for a call as without the extension.
async fn in_request(mut running: Running, asked: &CancellationToken, cancelled: &CancellationToken) -> Answer {
    tokio::select! {
        done = &mut running => ended(done),
        () = asked.cancelled() => {
            cancelled.cancel();
            ended(running.await)
        }
    }
}

/// Follows a call to its end: tells the task what it waits for, and the call when it is cancelled.
async fn followed(
    task: TaskContext,
    mut running: Running,
    mut seen: watch::Receiver<String>,
    cancelled: CancellationToken,
) -> Result<CallToolResult, TaskExit> {
    loop {
        tokio::select! {
            done = &mut running => {
                let answer = ended(done);
                let outcome = answer.as_ref().map_or_else(|error| error.error.as_str(), |_| "ok");
                tracing::info!(task = task.task_id(), outcome, "a task has ended");
                return result(answer);
            }
            () = task.cancelled(), if !cancelled.is_cancelled() => cancelled.cancel(),
            Ok(()) = seen.changed() => task.set_status_message(seen.borrow_and_update().clone()),
        }
    }
}

fn ended(done: Result<Answer, tokio::task::JoinError>) -> Answer {
    let failed = |_| ToolError::new(ErrorKind::Unreachable, "the call ended without an answer; this is a defect");
    done.map_err(failed)?
}

/// The answer of a call as the end of a task.
fn result(answer: Answer) -> Result<CallToolResult, TaskExit> {
    match answer {
        Ok(CallToolResponse::Complete(result)) => Ok(result),
        Ok(_) => Err(TaskExit::Error(ErrorData::internal_error("the call has no result; this is a defect", None))),
        // Nothing was changed. A call that was cancelled after its change has a result.
        Err(error) if error.error == ErrorKind::Cancelled => Err(TaskExit::Cancelled),
        Err(error) => Ok(error.result()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::{ContentBlock, TaskStatus};

    fn done(text: &str) -> CallToolResponse {
        CallToolResult::success(vec![ContentBlock::text(text)]).into()
    }

    /// Starts a call that waits until it is cancelled, and gives its task; `None` if it became none.
    async fn waiting(tasks: &Tasks, who: &str) -> Option<String> {
        let asked = CancellationToken::new();
        let mut answer = std::pin::pin!(tasks.run(who, &asked, |cancelled, _| async move {
            cancelled.cancelled().await;
            Ok(done("it waited"))
        }));
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // The request waits: the client ends it.
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                asked.cancel();
                answer.await
            }
        };
        match answer.unwrap() {
            CallToolResponse::Task(created) => Some(created.task.task_id),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_short_call_is_answered_and_a_long_one_is_a_task() {
        let (tasks, asked) = (Tasks::new(LIFETIME), CancellationToken::new());
        let answer = tasks.run("ada", &asked, |_, _| async { Ok(done("at once")) }).await.unwrap();
        assert!(matches!(answer, CallToolResponse::Complete(_)), "{answer:?}");
        let tasks = Tasks::new(Duration::ZERO);
        let id = waiting(&tasks, "ada").await.unwrap();
        assert_eq!(tasks.get(&id, "ada").unwrap().status(), TaskStatus::Working);
        tasks.cancel(&id, "ada").unwrap();
        let end = async {
            while !tasks.get(&id, "ada").unwrap().status().is_terminal() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIFETIME, end).await.unwrap();
        assert_eq!(tasks.get(&id, "ada").unwrap().status(), TaskStatus::Completed);
    }

    #[tokio::test]
    async fn a_task_is_its_callers() {
        let tasks = Tasks::new(Duration::ZERO);
        let id = waiting(&tasks, "ada").await.unwrap();
        let none = tasks.get("none", "ada").unwrap_err();
        assert_eq!(tasks.get(&id, "bob").unwrap_err(), none);
        assert_eq!(tasks.update(&id, "bob").unwrap_err(), none);
        assert_eq!(tasks.cancel(&id, "bob").unwrap_err(), none);
        assert_eq!(tasks.get(&id, "ada").unwrap().status(), TaskStatus::Working);
    }

    #[tokio::test]
    async fn a_request_that_is_cancelled_soon_ends_its_call() {
        let (tasks, asked) = (Tasks::new(LIFETIME), CancellationToken::new());
        asked.cancel();
        let answer = tasks.run("ada", &asked, |cancelled, _| async move {
            cancelled.cancelled().await;
            Err(ToolError::cancelled())
        });
        assert_eq!(answer.await.unwrap_err().error, ErrorKind::Cancelled);
    }

    #[tokio::test]
    async fn a_caller_with_many_tasks_gets_answers_and_crowds_out_nobody_else() {
        let tasks = Tasks::new(Duration::ZERO);
        for _ in 0..OF_ONE {
            waiting(&tasks, "ada").await.unwrap();
        }
        assert_eq!(waiting(&tasks, "ada").await, None);
        assert!(waiting(&tasks, "bob").await.is_some());
    }
}
