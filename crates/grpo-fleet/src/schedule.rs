//! Which group goes to which server.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{FleetError, lock};

/// The time for which servers that have the policy wait for those that load it, so that groups are divided evenly.
const GRACE: Duration = Duration::from_secs(1);

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
    began: Instant,
    /// Since when no server works; none if one does.
    idle_since: Option<Instant>,
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

/// What a server does next.
pub(crate) enum Next {
    Group(Waiting),
    /// It has failed, and may have lost the policy.
    NotReady,
    /// No more groups are to be sampled.
    End,
}

#[derive(Clone)]
struct Load {
    in_flight: usize,
    /// Whether it has not failed since it was last ready.
    is_usable: bool,
    /// Whether it has had the policy.
    was_ready: bool,
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
            servers: vec![Load { in_flight: 0, is_usable: true, was_ready: false }; servers],
            began: Instant::now(),
            idle_since: None,
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
        lock(&self.state)
    }

    /// A server works.
    pub(crate) fn ready(&self, server: usize) {
        let mut state = self.lock();
        (state.servers[server].is_usable, state.servers[server].was_ready) = (true, true);
        state.idle_since = None;
        self.changed.notify_all();
    }

    /// A group for a server, as soon as no other one that works has fewer in progress.
    pub(crate) fn take(&self, server: usize) -> Next {
        let mut state = self.lock();
        loop {
            if state.is_done() {
                return Next::End;
            }
            if !state.servers[server].is_usable {
                return Next::NotReady;
            }
            if state.is_next(server, self.most_in_flight)
                && let Some(next) = state.waiting.pop_front()
            {
                state.servers[server].in_flight += 1;
                // Others may have the fewest now.
                self.changed.notify_all();
                return Next::Group(next);
            }
            (state, _) = self.changed.wait_timeout(state, GRACE).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A server has sampled a group.
    pub(crate) fn done(&self, server: usize) {
        let mut state = self.lock();
        state.servers[server].in_flight -= 1;
        self.changed.notify_all();
    }

    /// A server has failed to sample a group: another one, or the same when it works again, repeats it. If it would fail everywhere,
    /// nothing more is sampled.
    pub(crate) fn repeat(&self, server: usize, waiting: Waiting, error: FleetError) {
        let mut state = self.lock();
        state.servers[server].in_flight -= 1;
        state.leave(server);
        let tries = waiting.tries + 1;
        if error.is_transient() && tries < self.most_tries {
            tracing::warn!("{error}; its group is sampled again");
            state.waiting.push_front(Waiting { tries, ..waiting });
        } else if error.is_transient() {
            state.fail(FleetError::GaveUp { tries, last: Box::new(error) });
        } else {
            state.fail(error);
        }
        self.changed.notify_all();
    }

    /// A server does not work, and is asked again after a pause; false if no more are to be sampled.
    pub(crate) fn pause(&self, server: usize, error: FleetError, pause: Duration) -> bool {
        let mut state = self.lock();
        state.leave(server);
        let idle = state.idle_since.map_or(Duration::ZERO, |since| since.elapsed());
        if !error.is_transient() {
            state.fail(error);
        } else if idle >= self.patience {
            state.fail(FleetError::NoServer { seconds: idle.as_secs(), last: Box::new(error) });
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
    /// Notes that a server does not work.
    fn leave(&mut self, server: usize) {
        self.servers[server].is_usable = false;
        if self.servers.iter().all(|load| !load.is_usable) {
            self.idle_since.get_or_insert_with(Instant::now);
        }
    }

    fn fail(&mut self, error: FleetError) {
        self.failure.get_or_insert(error);
    }

    fn is_done(&self) -> bool {
        let in_flight = self.servers.iter().any(|load| load.in_flight > 0);
        self.is_over || self.failure.is_some() || (self.waiting.is_empty() && !in_flight)
    }

    /// Whether no server that works has fewer groups in progress. One that loads the policy is waited for, but not for long.
    fn is_next(&self, server: usize, most: usize) -> bool {
        let (own, is_early) = (self.servers[server].in_flight, self.began.elapsed() < GRACE);
        let mut working = self.servers.iter().filter(|load| load.is_usable && (load.was_ready || is_early));
        own < most && working.all(|load| own <= load.in_flight)
    }
}
