//! Rewards on a thread of their own, so that one that hangs does not hang the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use grpo_core::{Completion, Reward};

use crate::rubric::panic_message;

/// What a reward gave, or its place among the rewards and what became of it.
pub(crate) type Scored = Result<Vec<f32>, (usize, Failure)>;

/// What can become of a reward.
pub(crate) enum Failure {
    Panicked(String),
    TimedOut(Duration),
}

/// Scores a completion with every reward.
pub(crate) type Score<T> = dyn Fn(Vec<Arc<dyn Reward<T>>>, &T, &Completion) -> Scored + Send + Sync;

/// Scoring on a thread that is left behind if it takes longer than `limit`; a new one takes its place.
pub(crate) fn within<T>(limit: Duration) -> Box<Score<T>>
where
    T: ToOwned + ?Sized + 'static,
    T::Owned: Send,
{
    let worker: Mutex<Option<Worker<T>>> = Mutex::new(None);
    Box::new(move |rewards, truth, completion| {
        // A panic under the lock cannot be: rewards panic on the other side.
        let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
        let current = worker.get_or_insert_with(Worker::start);
        let job = Job { rewards, truth: truth.to_owned(), completion: completion.clone() };
        let result = current.run(job, limit);
        if let Err((_, Failure::TimedOut(_))) = result {
            *worker = None;
        }
        result
    })
}

struct Job<T: ToOwned + ?Sized> {
    rewards: Vec<Arc<dyn Reward<T>>>,
    truth: T::Owned,
    completion: Completion,
}

/// A thread that ends when this is dropped and it has nothing left to do.
struct Worker<T: ToOwned + ?Sized> {
    jobs: Sender<Job<T>>,
    results: Receiver<Scored>,
    /// The place of the reward that is at work.
    at_work: Arc<AtomicUsize>,
}

impl<T> Worker<T>
where
    T: ToOwned + ?Sized + 'static,
    T::Owned: Send,
{
    fn start() -> Self {
        let (jobs, to_do) = channel::<Job<T>>();
        let (done, results) = channel();
        let at_work = Arc::new(AtomicUsize::new(0));
        let place = at_work.clone();
        thread::spawn(move || {
            for Job { rewards, truth, completion } in to_do {
                let scored = score_all(&rewards, std::borrow::Borrow::borrow(&truth), &completion, &place);
                if done.send(scored).is_err() {
                    break; // nobody waits any more
                }
            }
        });
        Self { jobs, results, at_work }
    }

    fn run(&self, job: Job<T>, limit: Duration) -> Scored {
        self.jobs.send(job).expect("the thread lives as long as this");
        match self.results.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                Err((self.at_work.load(Ordering::Relaxed), Failure::TimedOut(limit)))
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("the thread lives as long as this"),
        }
    }
}

/// Scores with one reward after the other; the first that panics ends it.
pub(crate) fn score_all<T: ?Sized>(
    rewards: &[Arc<dyn Reward<T>>],
    truth: &T,
    completion: &Completion,
    at_work: &AtomicUsize,
) -> Scored {
    let score = |(place, reward): (usize, &Arc<dyn Reward<T>>)| {
        at_work.store(place, Ordering::Relaxed);
        // Safe to assert: all of our state that the reward can reach is behind shared references.
        catch_unwind(AssertUnwindSafe(|| reward.score(truth, completion)))
            .map_err(|payload| (place, Failure::Panicked(panic_message(payload.as_ref()))))
    };
    rewards.iter().enumerate().map(score).collect()
}
