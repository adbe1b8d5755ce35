//! Jobs that are decoded together: each is the same as alone, whatever joins or leaves while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use grpo_core::Finish;
use grpo_rollout::{Drawn, Engine, Job, Request, Sample, SampleKey, Sampler, Sampling};

use crate::table::{CONTEXT, Table, VOCABULARY};

/// Another distribution after every token.
fn logits(row: &[u32]) -> [f32; VOCABULARY] {
    let last = row[row.len() - 1] as usize;
    std::array::from_fn(|i| ((i * 7 + last * 3 + row.len()) % 5) as f32 * 0.6)
}

fn job(id: usize, completions: u64, sampling: Sampling) -> Job {
    let sampler = Sampler { sampling, stop: vec![0], max_tokens: 6 + id, batch_rows: 1 };
    let key = |sample| SampleKey { seed: 5, step: 2, problem: id as u64, sample };
    Job {
        id,
        prompt: vec![1 + id as u32 % 5; 1 + id],
        keys: (0..completions).map(key).collect(),
        sampler: sampler.into(),
    }
}

fn jobs() -> Vec<Job> {
    let cold = Sampling { temperature: 0.5, ..Sampling::default() };
    let few = Sampling { top_k: Some(2), ..Sampling::default() };
    vec![
        job(0, 3, Sampling::default()),
        job(1, 2, cold.clone()),
        job(2, 1, Sampling::greedy()),
        job(3, 4, few),
        job(4, 2, cold),
    ]
}

/// What the job gives if it is sampled by itself.
fn alone(job: &Job) -> Vec<Sample> {
    let request = Request { prompt: &job.prompt, keys: &job.keys };
    job.sampler.sample(&Table::new(logits), &[request]).unwrap().remove(0)
}

/// Completions, of which tokens have been drawn.
#[derive(Default)]
struct Seen(BTreeMap<(usize, usize), Sample>);

impl Seen {
    fn add(&mut self, drawn: Vec<Drawn>) {
        for Drawn { job, index, draw, finish } in drawn {
            let (sample, draw) = (self.0.entry((job, index)).or_default(), draw.unwrap());
            sample.tokens.push(draw.token);
            sample.logprobs.push(draw.logprob);
            sample.entropies.push(draw.entropy);
            sample.finish = finish.unwrap_or(Finish::Length);
        }
    }

    fn of(&self, job: usize) -> Vec<Sample> {
        self.0.iter().filter(|((of, _), _)| *of == job).map(|(_, sample)| sample.clone()).collect()
    }
}

#[test]
fn a_job_is_the_same_whatever_joins_when() {
    for rows in [1, 2, 3, 12] {
        for pause in 0..4 {
            let table = Table::new(logits);
            let (mut engine, mut seen) = (Engine::new(&table, rows, CONTEXT), Seen::default());
            for job in jobs() {
                engine.push(job);
                (0..pause).for_each(|_| seen.add(engine.step(&table)));
            }
            while !engine.is_idle() {
                seen.add(engine.step(&table));
            }
            for job in jobs() {
                assert_eq!(seen.of(job.id), alone(&job), "job {}, {rows} rows, {pause} steps apart", job.id);
            }
        }
    }
}

#[test]
fn a_job_that_is_cancelled_leaves_the_others_alone() {
    for cancelled in 0..5 {
        let table = Table::new(logits);
        let (mut engine, mut seen) = (Engine::new(&table, 4, CONTEXT), Seen::default());
        jobs().into_iter().for_each(|job| engine.push(job));
        (0..2).for_each(|_| seen.add(engine.step(&table)));
        let before = seen.of(cancelled);
        engine.cancel(cancelled);
        while !engine.is_idle() {
            seen.add(engine.step(&table));
        }
        assert_eq!(seen.of(cancelled), before, "nothing is drawn after it was cancelled");
        for job in jobs().iter().filter(|job| job.id != cancelled) {
            assert_eq!(seen.of(job.id), alone(job), "job {} without {cancelled}", job.id);
        }
    }
}

#[test]
fn logits_that_are_not_finite_end_their_own_completion_alone() {
    let bad = |row: &[u32]| if row[0] == 2 && row.len() > 3 { [f32::NAN; VOCABULARY] } else { logits(row) };
    let table = Table::new(bad);
    let (mut engine, mut failed, mut rest) = (Engine::new(&table, 8, CONTEXT), 0, Seen::default());
    let (good, bad) = (job(0, 2, Sampling::default()), job(1, 2, Sampling::default()));
    engine.push(Job { sampler: Arc::new(Sampler { stop: vec![], ..(*bad.sampler).clone() }), ..bad });
    engine.push(good.clone());
    while !engine.is_idle() {
        let (of_bad, of_good) = engine.step(&table).into_iter().partition(|drawn| drawn.job == 1);
        failed +=
            Vec::<Drawn>::into_iter(of_bad).filter(|drawn| drawn.draw.is_none() && drawn.is_last()).count();
        rest.add(of_good);
    }
    assert_eq!(failed, 2);
    assert_eq!(rest.of(0), alone(&good));
}
