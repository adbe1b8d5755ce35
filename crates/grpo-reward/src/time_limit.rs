//! Rewards on their own thread, so that one that hangs does not hang the program.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use grpo_core::{Asked, Completion, GroupReward, Message, Reward};

use crate::scoring::{Failure, GroupScored, Scored, score_one, score_together};

type Rewards<T> = Vec<Arc<dyn Reward<T>>>;

/// Scores completions of one problem with every reward. The last result may be a failure; then there may be fewer
/// results than completions.
pub(crate) type Score<T> = dyn Fn(Rewards<T>, &T, &[Completion]) -> Vec<Scored> + Send + Sync;

/// Scores completions of one problem with a reward that sees all of them.
type ScoreGroup<T> =
    dyn Fn(Arc<dyn GroupReward<T>>, &Asked<'_, T>, &[Completion]) -> GroupScored + Send + Sync;

/// Scores within a time limit.
pub(crate) struct Limited<T: ?Sized> {
    pub(crate) each: Box<Score<T>>,
    pub(crate) group: Box<ScoreGroup<T>>,
}

impl<T> Limited<T>
where
    T: ToOwned + ?Sized + 'static,
    T::Owned: Send,
{
    /// Scores on threads that are left behind if a completion takes longer than `limit`; a group may take as much for each of its
    /// completions.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { each: each_within(limit), group: group_within(limit) }
    }
}

fn each_within<T>(limit: Duration) -> Box<Score<T>>
where
    T: ToOwned + ?Sized + 'static,
    T::Owned: Send,
{
    let idle: Mutex<Vec<Worker<T>>> = Mutex::default();
    Box::new(move |rewards, truth, completions| {
        let free = || idle.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = free().pop().unwrap_or_else(Worker::start);
        let job = Job { rewards, truth: truth.to_owned(), completions: completions.to_vec() };
        let scored = worker.run(job, limit);
        // After a failure, results that belong to nobody may still arrive.
        if scored.last().is_none_or(Result::is_ok) {
            free().push(worker);
        }
        scored
    })
}

fn group_within<T>(limit: Duration) -> Box<ScoreGroup<T>>
where
    T: ToOwned + ?Sized + 'static,
    T::Owned: Send,
{
    Box::new(move |reward, asked, completions| {
        let messages: Vec<Message> = asked.messages.to_vec();
        let (truth, completions) = (asked.truth.to_owned(), completions.to_vec());
        let limit = limit.saturating_mul(u32::try_from(completions.len()).unwrap_or(u32::MAX));
        let (done, result) = channel();
        let work = move || {
            let asked = Asked { messages: &messages, truth: truth.borrow() };
            // If it can no longer be sent, nobody is waiting for it.
            let _ = done.send(score_together(reward.as_ref(), &asked, &completions));
        };
        // If the system cannot start a thread, the channel closes.
        let _ = thread::Builder::new().name("rewards".to_string()).spawn(work);
        result.recv_timeout(limit).unwrap_or_else(|why| Err(failure(why, limit)))
    })
}

fn failure(why: RecvTimeoutError, limit: Duration) -> Failure {
    match why {
        RecvTimeoutError::Timeout => Failure::TimedOut(limit),
        RecvTimeoutError::Disconnected => ended(),
    }
}

fn ended() -> Failure {
    Failure::Panicked("its thread ended, or could not begin".to_string())
}

struct Job<T: ToOwned + ?Sized> {
    rewards: Rewards<T>,
    truth: T::Owned,
    completions: Vec<Completion>,
}

/// A thread that ends when this is dropped and no work is left.
struct Worker<T: ToOwned + ?Sized> {
    jobs: Sender<Job<T>>,
    results: Receiver<Scored>,
    /// The index of the reward at work.
    place: Arc<AtomicUsize>,
}

impl<T> Worker<T>
where
    T: ToOwned + ?Sized + 'static,
    T::Owned: Send,
{
    fn start() -> Self {
        let (jobs, to_do) = channel::<Job<T>>();
        let (done, results) = channel();
        let place = Arc::new(AtomicUsize::new(0));
        let at = place.clone();
        let work = move || {
            for Job { rewards, truth, completions } in to_do {
                for completion in &completions {
                    if done.send(score_one(&rewards, truth.borrow(), completion, &at)).is_err() {
                        return; // nobody is waiting any more
                    }
                }
            }
        };
        // If the system cannot start a thread, the channels close, which shows at the first job.
        let _ = thread::Builder::new().name("rewards".to_string()).spawn(work);
        Self { jobs, results, place }
    }

    /// The result for each completion in turn, up to the first failure.
    fn run(&self, job: Job<T>, limit: Duration) -> Vec<Scored> {
        let n = job.completions.len();
        if self.jobs.send(job).is_err() {
            return vec![Err((0, ended()))];
        }
        let mut all = Vec::with_capacity(n);
        while all.len() < n && all.last().is_none_or(Result::is_ok) {
            all.push(match self.results.recv_timeout(limit) {
                Ok(scored) => scored,
                Err(why) => Err((self.place.load(Ordering::Relaxed), failure(why, limit))),
            });
        }
        all
    }
}
