//! Evaluates a model on held-out problems, in a form that can be quoted, and compares two models.
//!
//! An evaluation lives in a folder: `completions.jsonl` gets every completion as soon as it has ended, so an interrupted evaluation
//! continues where it stopped; `results.json` is written at the end. On the CPU, with at most 128 rows, a completion depends on the
//! model, the prompt and the seed alone, so the results of an interrupted evaluation are those of an uninterrupted one.

mod comparison;
mod config;
pub(crate) mod record;
mod results;
mod statistics;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;
use grpo_core::{Asked, Completion, Reward};
use grpo_files::sha256;
use grpo_qwen2::{ChatTokenizer, LoraConfig, Qwen2};
use grpo_reward::{LastNumber, Row, Rubric, StrictFormat};
use grpo_rollout::{Ended, Request, SampleKey, Sampler};
use grpo_trainer::{EVALUATION_STEP, TrainerError};

pub use comparison::{Discordant, PairedComparison, PairedMeasure};
pub use config::EvaluationConfig;
pub use record::{Answered, Recorded, is_evaluation};
pub use results::{Accuracy, Measure, Results};
pub use statistics::{Estimate, McNemar, majority, pass_at_k};

use record::Record;
use results::by_problem;

use crate::device::{DeviceKind, Subject, guard, prove};
use crate::machine::Machine;
use crate::run::scorable;
use crate::{Error, Interrupt, Question};

/// An evaluation that is ready to start.
pub struct Evaluator<'a> {
    /// What it answers, and how.
    pub config: &'a EvaluationConfig,
    /// The folder of the model.
    pub model: &'a Path,
    /// The questions: [`EvaluationConfig::questions`].
    pub questions: &'a [Question<Row>],
    /// Where it computes.
    pub device: DeviceKind,
    /// Completions that are decoded together.
    pub batch_rows: usize,
}

/// How far an evaluation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Completions so far.
    pub done: usize,
    /// All completions.
    pub of: usize,
    /// Those that are right by the strict measure.
    pub strict: usize,
    /// Those that are right by the lenient measure.
    pub lenient: usize,
}

impl Evaluator<'_> {
    /// Evaluates into `folder`, or continues the evaluation that was interrupted there; none if interrupted.
    pub fn run(
        &self,
        folder: &Path,
        interrupt: &Interrupt,
        mut tell: impl FnMut(Progress),
    ) -> Result<Option<Results>, Error> {
        let Self { config, questions, .. } = self;
        config.validate()?;
        if questions.is_empty() {
            return Err(Error::Contradiction("there is no problem to answer: check the dataset".to_string()));
        }
        let rubric = config.rubric()?;
        scorable(&rubric, "evaluation", questions)?;
        let lora = config.adapter.as_ref().map(|adapter| LoraConfig::of_adapter(Path::new(adapter)));
        let proof = prove(self.device, &Subject::read(self.model, lora.transpose()?)?, None)?;
        let machine = Machine::this(proof.info.clone());
        let files = files_of(self.model, config.adapter.as_deref().map(Path::new))?;
        let (mut record, mut answers) = Record::open(folder, config, questions, files, machine)?;
        let missing = self.missing(&answers);
        let mut progress = Progress { of: questions.len() * config.samples, ..Progress::default() };
        answers.iter().for_each(|answer| progress.add(answer));
        if missing.iter().any(|keys| !keys.is_empty()) {
            tell(progress);
            let start = Instant::now();
            let sampled = guard(proof.info.as_ref(), || {
                self.sample(&proof.device, &rubric, &missing, &mut record, |answer| {
                    progress.add(&answer);
                    answers.push(answer);
                    tell(progress);
                    if interrupt.is_requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
            });
            if sampled.is_err() && answers.is_empty() {
                record.discard()?;
                return sampled.map(|()| None);
            }
            record.add_seconds(start.elapsed().as_secs_f64())?;
            sampled?;
        }
        if progress.done < progress.of {
            return Ok(None);
        }
        let results = Results::of(&record.description, &rubric, &by_problem(&mut answers));
        record.write_results(&results)?;
        Ok(Some(results))
    }

    /// For each question, the keys of the completions that are not there.
    fn missing(&self, answers: &[Answered]) -> Vec<Vec<SampleKey>> {
        let done: BTreeSet<(usize, usize)> = answers.iter().map(|a| (a.problem, a.sample)).collect();
        let EvaluationConfig { samples, seed, .. } = *self.config;
        let key = |problem: usize, sample| SampleKey {
            seed,
            step: EVALUATION_STEP,
            problem: problem as u64,
            sample: sample as u64,
        };
        let of_problem = |problem: usize| {
            let missing = (0..samples).filter(|sample| !done.contains(&(problem, *sample)));
            missing.map(|sample| key(problem, sample)).collect()
        };
        (0..self.questions.len()).map(of_problem).collect()
    }

    fn sample(
        &self,
        device: &Device,
        rubric: &Rubric<Row>,
        keys: &[Vec<SampleKey>],
        record: &mut Record,
        mut receive: impl FnMut(Answered) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let Self { config, model, questions, .. } = self;
        let mut text = ChatTokenizer::read(model)?.with_thinking(config.enable_thinking)?;
        text.template = text.template.with_clock(record.description.began);
        let mut decoder = Qwen2::load_frozen(model, device)?;
        if let Some(adapter) = &config.adapter {
            decoder = decoder.load_adapter(Path::new(adapter))?;
        }
        let prompts: Vec<Vec<u32>> =
            questions.iter().map(|question| text.prompt(&question.messages)).collect::<Result<_, _>>()?;
        let requests: Vec<Request<'_>> =
            prompts.iter().zip(keys).map(|(prompt, keys)| Request { prompt, keys }).collect();
        let sampler = Sampler {
            sampling: config.sampling.clone(),
            stop: text.stop.clone(),
            max_tokens: config.max_completion_length,
            batch_rows: self.batch_rows,
        };
        let mut recorded = Ok(());
        let sampled = sampler.sample_each(&decoder, &requests, &mut |Ended { request, index, sample }| {
            let completion = Completion {
                text: text.completion(&sample.tokens),
                n_tokens: sample.tokens.len(),
                finish: sample.finish,
            };
            let of = (request, keys[request][index].sample as usize);
            let answer = judge(&text, rubric, of, &questions[request], completion);
            match answer.and_then(|answer| record.push(&answer).map(|()| answer)) {
                Ok(answer) => receive(answer),
                Err(error) => {
                    recorded = Err(error);
                    ControlFlow::Break(())
                }
            }
        });
        recorded?;
        sampled.map_err(|cause| {
            let problem = cause.request().map(|request| request as u64);
            TrainerError::Rollout { problem, cause }.into()
        })
    }
}

impl Progress {
    fn add(&mut self, answer: &Answered) {
        self.done += 1;
        self.strict += usize::from(answer.strict);
        self.lenient += usize::from(answer.lenient);
    }
}

/// A completion, and whether it is right and in the format.
fn judge(
    text: &ChatTokenizer,
    rubric: &Rubric<Row>,
    (problem, sample): (usize, usize),
    question: &Question<Row>,
    completion: Completion,
) -> Result<Answered, Error> {
    let Row { truth, .. } = &question.truth;
    let earns = |reward: &dyn Reward<String>| reward.score(truth, &completion) > 0.0;
    let asked = Asked { messages: &question.messages, truth: &question.truth };
    let scores = rubric
        .score_group(&asked, std::slice::from_ref(&completion))
        .map_err(|cause| TrainerError::Reward { problem: problem as u64, cause })?;
    Ok(Answered {
        problem,
        sample,
        question: question.text().to_string(),
        truth: truth.clone(),
        prompt: text.template.render(&question.messages, true)?,
        answer: LastNumber::of(&completion.text),
        strict: scores[0].paid[rubric.outcome()] > 0.0,
        lenient: earns(&LastNumber::default()),
        format: earns(&StrictFormat::default()),
        tokens: completion.n_tokens,
        finish: completion.finish,
        completion: completion.text,
    })
}

/// The SHA-256 of every file that completions depend on.
pub(crate) fn files_of(model: &Path, adapter: Option<&Path>) -> Result<BTreeMap<String, String>, Error> {
    let mut sums = BTreeMap::new();
    for (what, folder) in [("model", Some(model)), ("adapter", adapter)] {
        let Some(folder) = folder else { continue };
        for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
            let path = entry.map_err(Error::io(folder))?.path();
            let is_read = path
                .extension()
                .is_some_and(|kind| ["json", "jinja", "safetensors"].iter().any(|k| kind == *k));
            if is_read && path.is_file() {
                let (_, sum) = sha256(&path).map_err(Error::io(&path))?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                sums.insert(format!("{what}/{name}"), sum);
            }
        }
    }
    Ok(sums)
}
