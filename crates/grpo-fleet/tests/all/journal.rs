//! Samples are kept before they are given, and given again instead of being sampled.

use std::cell::Cell;
use std::ops::ControlFlow;

use grpo_core::Finish;
use grpo_fleet::{Journal, JournalError};
use grpo_rollout::{Ended, Request, RolloutError, Rollouts, Sample, SampleKey, Sampler, Sampling};

/// Never the same twice.
struct Counting(Cell<u32>);

impl Rollouts<()> for Counting {
    fn sample_each(
        &self,
        (): &(),
        _: &Sampler,
        requests: &[Request<'_>],
        receive: &mut dyn FnMut(Ended) -> ControlFlow<()>,
    ) -> Result<(), RolloutError> {
        for (request, of) in requests.iter().enumerate() {
            for index in 0..of.keys.len() {
                let n = self.0.get();
                self.0.set(n + 1);
                let x = -0.1 * n as f32;
                let finish = if n.is_multiple_of(2) { Finish::Stop } else { Finish::Length };
                let sample = Sample {
                    tokens: vec![n, u32::MAX - n],
                    logprobs: vec![x, f32::MIN_POSITIVE],
                    entropies: vec![],
                    finish,
                };
                let _ = receive(Ended { request, index, sample });
            }
        }
        Ok(())
    }
}

fn sample(journal: &Journal<Counting>, seed: u64) -> Result<Vec<Vec<Sample>>, RolloutError> {
    let sampler = Sampler { sampling: Sampling::default(), stop: vec![1], max_tokens: 4, batch_rows: 8 };
    let keys: Vec<SampleKey> = (0..3).map(|sample| SampleKey { seed, step: 4, problem: 0, sample }).collect();
    journal.sample(
        &(),
        &sampler,
        &[Request { prompt: &[1, 2], keys: &keys }, Request { prompt: &[3], keys: &keys[..1] }],
    )
}

#[test]
fn what_was_sampled_is_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = |begin| Journal::new(Counting(Cell::new(begin)), folder.path());
    let mut first = journal(0);
    let (a, b) = (sample(&first, 1).unwrap(), sample(&first, 2).unwrap());
    assert_ne!(a, b);
    first.follow(&(), 1);
    let later = sample(&first, 1).unwrap();
    assert_ne!(a, later, "another version of the policy");
    let mut second = journal(100);
    assert_eq!((sample(&second, 1).unwrap(), sample(&second, 2).unwrap()), (a, b));
    second.follow(&(), 1);
    assert_eq!(sample(&second, 1).unwrap(), later);
    assert_ne!(sample(&second, 3).unwrap(), later);
}

#[test]
fn what_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(Counting(Cell::new(0)), folder.path());
    sample(&journal, 1).unwrap();
    let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&path).unwrap();
    for (changed, expected) in [
        (text[..text.len() / 2].to_string(), "EOF"),
        (text.replacen("\"asked\":\"", "\"asked\":\"0", 1), "it answers something else"),
        (text.replacen("\"tokens\":\"", "\"tokens\":\"!", 1), "Invalid symbol"),
    ] {
        std::fs::write(&path, changed).unwrap();
        let RolloutError::Remote(error) = sample(&journal, 1).unwrap_err() else { panic!("{expected}") };
        assert!(matches!(error.downcast_ref(), Some(JournalError::Damaged { .. })), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn what_was_refused_is_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::new(Counting(Cell::new(0)), folder.path());
    let first = sample(&journal, 1).unwrap();
    Rollouts::<()>::refuse(&journal);
    assert_ne!(sample(&journal, 1).unwrap(), first);
}

/// A run that is resumed from an earlier checkpoint may take another way, where its versions are other policies.
#[test]
fn what_is_sampled_anew_removes_what_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(Counting(Cell::new(0)), folder.path());
    let mut of_version = |version, seed| {
        journal.follow(&(), version);
        sample(&journal, seed).unwrap()
    };
    let (second, third) = (of_version(2, 1), of_version(3, 1));
    assert_eq!((of_version(2, 1), of_version(3, 1)), (second.clone(), third.clone()));
    of_version(2, 5);
    assert_eq!(of_version(2, 1), second);
    assert_ne!(of_version(3, 1), third);
}
