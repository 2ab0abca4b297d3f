//! The operator under test: killed, stopped and started again by whoever holds it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ground::Operator;

/// One operator after the other, with the same arguments.
pub(crate) struct Process {
    binary: std::path::PathBuf,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    args: Vec<String>,
    env: Vec<(String, String)>,
    operator: Option<Operator>,
    /// What those before it wrote.
    earlier: String,
    starts: u32,
    /// Whether it is meant to run.
    wanted: bool,
}

impl Process {
    pub(crate) fn new(binary: std::path::PathBuf) -> Self {
        Self { binary, slot: Mutex::default() }
    }

    /// Sets its arguments, and what is added to its environment.
    pub(crate) fn set(&self, args: Vec<String>, env: Vec<(String, String)>) {
        let mut slot = self.slot();
        slot.args = args;
        slot.env = env;
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it; whoever runs is killed before.
    pub(crate) fn start(&self) {
        let mut slot = self.slot();
        Self::put_down(&mut slot);
        self.launch(&mut slot);
    }

    fn launch(&self, slot: &mut Slot) {
        let args: Vec<&str> = slot.args.iter().map(String::as_str).collect();
        let env: Vec<(&str, &str)> = slot.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let operator = Operator::start(&self.binary, &args, &env).unwrap();
        slot.operator = Some(operator);
        slot.starts += 1;
        slot.wanted = true;
    }

    fn put_down(slot: &mut Slot) {
        if let Some(mut operator) = slot.operator.take() {
            operator.kill();
            slot.earlier += &operator.logs();
        }
    }

    /// SIGKILL, and a new one at once.
    pub(crate) fn kill_and_start(&self) {
        let mut slot = self.slot();
        if slot.wanted {
            Self::put_down(&mut slot);
            self.launch(&mut slot);
        }
    }

    /// SIGKILL, for good.
    pub(crate) fn kill(&self) {
        let mut slot = self.slot();
        slot.wanted = false;
        Self::put_down(&mut slot);
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self) {
        if let Some(operator) = &self.slot().operator {
            drop(operator.pause());
        }
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        if let Some(operator) = &self.slot().operator {
            drop(operator.resume());
        }
    }

    /// What all of them wrote.
    pub(crate) fn logs(&self) -> String {
        let slot = self.slot();
        format!("{}{}", slot.earlier, slot.operator.as_ref().map(Operator::logs).unwrap_or_default())
    }

    /// How often it was started.
    pub(crate) fn starts(&self) -> u32 {
        self.slot().starts
    }

    /// The process that runs now.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.slot().operator.as_ref().map(Operator::pid)
    }

    /// How it ended by itself; `None` while it runs or when it was killed.
    pub(crate) fn ended(&self) -> Option<String> {
        let mut slot = self.slot();
        let status = slot.operator.as_mut()?.exit_status().ok()??;
        Some(status.to_string())
    }
}
