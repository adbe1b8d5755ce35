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

/// The place of a process at work, until it is dropped.
struct Place<'a>(&'a Pool);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().busy -= 1;
        self.0.freed.notify_one();
    }
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
        let place = self.take_place();
        let idle = self.lock().idle.pop();
        let (answers, process) =
            self.ask_process(idle, requests).map_err(|reason| format!("{}: {reason}", self.name()))?;
        // Before its place is free.
        self.lock().idle.push(process);
        drop(place);
        Ok(answers)
    }

    fn ask_process(
        &self,
        idle: Option<Process>,
        requests: &[String],
    ) -> Result<(Vec<Value>, Process), String> {
        if let Some(mut process) = idle {
            match process.ask(requests, self.timeout) {
                // It has ended since the last group, and another can be started.
                Err(failure) if failure.had_ended => {}
                answered => {
                    return answered.map(|answers| (answers, process)).map_err(|failure| failure.reason);
                }
            }
        }
        let mut process = Process::start(&self.command)?;
        let answers = process.ask(requests, self.timeout).map_err(|failure| failure.reason)?;
        Ok((answers, process))
    }

    /// Waits until a process may work.
    fn take_place(&self) -> Place<'_> {
        let is_full = |state: &mut State| state.busy >= self.most;
        let state = self.freed.wait_while(self.lock(), is_full);
        state.unwrap_or_else(PoisonError::into_inner).busy += 1;
        Place(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
