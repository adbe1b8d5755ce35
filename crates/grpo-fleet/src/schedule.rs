//! Which group goes to which server.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::FleetError;

/// Groups that wait for a server, and what each server has in progress.
pub(crate) struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
    most_in_flight: usize,
    most_tries: usize,
    patience: Duration,
}

struct State {
    waiting: VecDeque<Waiting>,
    servers: Vec<Load>,
    /// When a server last did something.
    worked: Instant,
    /// Nothing more is wanted.
    is_over: bool,
    failure: Option<FleetError>,
}

/// A group that has to be sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) group: usize,
    tries: usize,
}

#[derive(Clone)]
struct Load {
    in_flight: usize,
    /// Whether it has not failed since it last worked.
    is_usable: bool,
}

impl Schedule {
    pub(crate) fn new(
        groups: impl Iterator<Item = usize>,
        servers: usize,
        most_in_flight: usize,
        patience: Duration,
    ) -> Self {
        let state = State {
            waiting: groups.map(|group| Waiting { group, tries: 0 }).collect(),
            servers: vec![Load { in_flight: 0, is_usable: true }; servers],
            worked: Instant::now(),
            is_over: false,
            failure: None,
        };
        Self {
            state: state.into(),
            changed: Condvar::new(),
            most_in_flight,
            most_tries: 2 + 2 * servers,
            patience,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A group for a server that works, as soon as no other one has fewer in progress; none if no more are to be sampled.
    pub(crate) fn take(&self, server: usize) -> Option<Waiting> {
        let mut state = self.lock();
        loop {
            state.servers[server].is_usable = true;
            if state.is_done() {
                return None;
            }
            if state.is_next(server, self.most_in_flight)
                && let Some(next) = state.waiting.pop_front()
            {
                state.servers[server].in_flight += 1;
                return Some(next);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A server has sampled a group.
    pub(crate) fn done(&self, server: usize) {
        let mut state = self.lock();
        state.servers[server].in_flight -= 1;
        state.worked = Instant::now();
        self.changed.notify_all();
    }

    /// A server has failed to sample a group: another one, or the same when it works again, repeats it. If it would fail everywhere,
    /// nothing more is sampled.
    pub(crate) fn repeat(&self, server: usize, waiting: Waiting, error: FleetError) {
        let mut state = self.lock();
        state.servers[server].in_flight -= 1;
        let tries = waiting.tries + 1;
        if error.is_passing() && tries < self.most_tries {
            tracing::warn!("{error}; its group is sampled again");
            state.waiting.push_front(Waiting { tries, ..waiting });
        } else if error.is_passing() {
            state.fail(FleetError::GaveUp { tries, last: Box::new(error) });
        } else {
            state.fail(error);
        }
        self.changed.notify_all();
    }

    /// A server does not work, and is asked again after a pause; false if no more are to be sampled.
    pub(crate) fn pause(&self, server: usize, error: FleetError, pause: Duration) -> bool {
        let mut state = self.lock();
        state.servers[server].is_usable = false;
        let waited = state.worked.elapsed();
        if !error.is_passing() {
            state.fail(error);
        } else if waited >= self.patience && state.servers.iter().all(|load| !load.is_usable) {
            let seconds = waited.as_secs();
            state.fail(FleetError::NoServer { seconds, last: Box::new(error) });
        }
        self.changed.notify_all();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, pause, |state| !state.is_done())
            .unwrap_or_else(PoisonError::into_inner);
        !state.is_done()
    }

    /// Nothing more is wanted.
    pub(crate) fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Why not all groups were sampled, if so.
    pub(crate) fn failure(&self) -> Option<FleetError> {
        self.lock().failure.take()
    }
}

impl State {
    fn fail(&mut self, error: FleetError) {
        self.failure.get_or_insert(error);
    }

    fn is_done(&self) -> bool {
        let in_flight = self.servers.iter().any(|load| load.in_flight > 0);
        self.is_over || self.failure.is_some() || (self.waiting.is_empty() && !in_flight)
    }

    /// Whether no server that works has fewer groups in progress.
    fn is_next(&self, server: usize, most: usize) -> bool {
        let own = self.servers[server].in_flight;
        own < most && self.servers.iter().filter(|load| load.is_usable).all(|load| own <= load.in_flight)
    }
}
