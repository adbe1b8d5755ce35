//! Rewards on their own thread, so that one that hangs does not hang the program.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use grpo_core::{Completion, Reward};

use crate::scoring::{Failure, Scored, score_one};

type Rewards<T> = Vec<Arc<dyn Reward<T>>>;

/// Scores completions of one problem with every reward. The last result may be a failure; then there may be fewer
/// results than completions.
pub(crate) type Score<T> = dyn Fn(Rewards<T>, &T, &[Completion]) -> Vec<Scored> + Send + Sync;

/// Scores on a thread that is left behind if a completion takes longer than `limit`; a new thread takes its place.
pub(crate) fn within<T>(limit: Duration) -> Box<Score<T>>
where
    T: ToOwned + ?Sized + 'static,
    T::Owned: Send,
{
    let worker: Mutex<Option<Worker<T>>> = Mutex::new(None);
    Box::new(move |rewards, truth, completions| {
        // A panic under the lock is impossible: rewards panic on the other side.
        let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
        let job = Job { rewards, truth: truth.to_owned(), completions: completions.to_vec() };
        let scored = worker.get_or_insert_with(Worker::start).run(job, limit);
        // After a failure, results that belong to nobody may still arrive.
        if scored.last().is_some_and(Result::is_err) {
            *worker = None;
        }
        scored
    })
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
        let ended = || Failure::Panicked("its thread ended, or could not begin".to_string());
        if self.jobs.send(job).is_err() {
            return vec![Err((0, ended()))];
        }
        let mut all = Vec::with_capacity(n);
        while all.len() < n && all.last().is_none_or(Result::is_ok) {
            all.push(match self.results.recv_timeout(limit) {
                Ok(scored) => scored,
                Err(why) => {
                    let failure = match why {
                        RecvTimeoutError::Timeout => Failure::TimedOut(limit),
                        RecvTimeoutError::Disconnected => ended(),
                    };
                    Err((self.place.load(Ordering::Relaxed), failure))
                }
            });
        }
        all
    }
}
