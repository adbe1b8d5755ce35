//! Processes of one program.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::process::Process;

/// Processes of one program, each at work on one group at a time.
pub(super) struct Pool {
    command: Vec<String>,
    timeout: Duration,
    /// The most processes.
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

struct State {
    idle: Vec<Process>,
    /// Processes at work.
    busy: usize,
}

impl Pool {
    /// Starts a process.
    pub(super) fn start(command: &[String], timeout: Duration, most: usize) -> Result<Self, String> {
        let state = State { idle: vec![Process::start(command)?], busy: 0 };
        let (state, freed) = (Mutex::new(state), Condvar::new());
        Ok(Self { command: command.to_vec(), timeout, most, state, freed })
    }

    /// The command line.
    pub(super) fn name(&self) -> String {
        self.command.join(" ")
    }

    /// The answer to each request. A process that fails is given up; the next request starts another.
    pub(super) fn ask(&self, requests: &[String]) -> Result<Vec<Value>, String> {
        let process = self.take();
        let answered = process.and_then(|mut process| Ok((process.ask(requests, self.timeout)?, process)));
        let mut state = self.lock();
        state.busy -= 1;
        self.freed.notify_one();
        let (answers, process) = answered.map_err(|reason| format!("{}: {reason}", self.name()))?;
        state.idle.push(process);
        Ok(answers)
    }

    /// A process that is running and idle.
    fn take(&self) -> Result<Process, String> {
        let state = self.lock();
        let is_full = |state: &mut State| state.idle.is_empty() && state.busy >= self.most;
        let mut state = self.freed.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner);
        state.busy += 1;
        let mut idle = state.idle.pop();
        drop(state);
        // One that has ended since is started again.
        match idle.take_if(|process| process.is_running()) {
            Some(process) => Ok(process),
            None => Process::start(&self.command),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
