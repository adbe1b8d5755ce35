//! Supervised fine-tuning of a model on its own completions that were accepted (rejection sampling): a cold start for reinforcement
//! learning.
//!
//! The completions are those of an evaluation of the training split, typically with solved examples in the prompt. A completion is
//! accepted if it is right, in the format, and ended by itself. The model learns it without the examples.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use grpo_core::Finish;
use grpo_data::{Hub, resolve_model};
use grpo_qwen2::LoraConfig;
use grpo_rollout::InvalidOption;
use grpo_trainer::{Demonstration, Qwen2Policy, Qwen2PolicyConfig, Sft, SftConfig, SftUpdate, differences};
use serde::Serialize;
use serde_json::json;

use crate::device::{DeviceKind, Subject, guard, prove};
use crate::evaluation::{Answered, EvaluationConfig, Recorded, files_of, record};
use crate::machine::Machine;
use crate::run::RunFolder;
use crate::{Error, Interrupt, Question};

const DESCRIPTION: &str = "sft.json";
const METRICS: &str = "metrics.jsonl";

/// Fine-tuning that is ready to start.
pub struct FineTuning<'a> {
    /// The evaluation, finished or not.
    pub evaluation: &'a Recorded,
    /// Passes, batches and learning rate.
    pub sft: &'a SftConfig,
    /// New adapters to train; without them all weights are trained. If the evaluation has an adapter, that one is trained further.
    pub lora: Option<LoraConfig>,
    /// Where it computes.
    pub device: DeviceKind,
}

/// How far fine-tuning is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SftEvent {
    /// The completions are read and the model is loaded.
    Started {
        /// Completions of the evaluation.
        completions: usize,
        /// Those that are learned.
        accepted: usize,
        /// All updates.
        updates: u64,
    },
    /// An update.
    Updated(SftUpdate),
}

/// The result of fine-tuning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FineTuned {
    /// Whether it was not interrupted.
    pub finished: bool,
    /// What has been saved; nothing if it was interrupted before the first update.
    pub saved: Option<Saved>,
}

/// What has been saved, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved {
    /// Adapters, in PEFT format.
    Adapter(PathBuf),
    /// The model, in Hugging Face layout.
    Model(PathBuf),
}

/// What has been learned, and with what.
#[derive(Serialize)]
struct Description<'a> {
    evaluation: &'a EvaluationConfig,
    completions: usize,
    accepted: usize,
    sft: &'a SftConfig,
    lora: &'a Option<LoraConfig>,
    machine: Machine,
}

impl FineTuning<'_> {
    /// Fine-tunes the evaluation's model, and saves it in `folder`: `adapter/` or `model/`, and `metrics.jsonl`. What was trained
    /// before an interrupt or an error is saved, too.
    pub fn run(
        &self,
        folder: &Path,
        interrupt: &Interrupt,
        mut tell: impl FnMut(SftEvent),
    ) -> Result<FineTuned, Error> {
        let Self { evaluation: Recorded { config, answers, .. }, sft, device, .. } = self;
        sft.validate()?;
        RunFolder::check_free(folder)?;
        let adapter = config.adapter.as_deref().map(Path::new);
        let lora = self.lora(adapter)?;
        let accepted = self.accepted()?;
        let model = resolve_model(&config.model, &Hub::from_env()?)?;
        self.check_files(&model, adapter)?;
        let proof = prove(*device, &Subject::read(&model, lora.clone())?, None)?;
        guard(proof.info.as_ref(), || {
            let policy_config = Qwen2PolicyConfig { lora: lora.clone(), ..Qwen2PolicyConfig::default() };
            let mut policy = Qwen2Policy::load(&model, &proof.device, &policy_config)?
                .with_name(&config.model)
                .with_thinking(config.enable_thinking)?;
            if let Some(adapter) = adapter {
                policy = policy.with_adapter(adapter)?;
            }
            let demonstrations = demonstrations(&policy, &config.system_prompt, &accepted)?;
            let mut fit = Sft::new(&demonstrations, sft)?;
            let _lock = RunFolder::lock(folder)?;
            // Again, under the lock: another process may have been faster.
            RunFolder::check_free(folder)?;
            let (completions, accepted) = (answers.len(), accepted.len());
            let machine = Machine::this(proof.info.clone());
            let description =
                Description { evaluation: config, completions, accepted, sft, lora: &lora, machine };
            record::write(folder, DESCRIPTION, &description)?;
            tell(SftEvent::Started { completions, accepted, updates: fit.updates() });
            let finished = updates_of(&mut fit, &mut policy, folder, interrupt, &mut tell);
            if fit.done() == 0 {
                return Ok(FineTuned { finished: finished?, saved: None });
            }
            let saved = match lora {
                Some(_) => Saved::Adapter(folder.join("adapter")),
                None => Saved::Model(folder.join("model")),
            };
            let (Saved::Adapter(place) | Saved::Model(place)) = &saved;
            // What was trained before an error is worth keeping; of two errors, the first is the cause.
            let result = policy.save(place);
            let finished = finished?;
            result?;
            Ok(FineTuned { finished, saved: Some(saved) })
        })
    }

    /// The adapters that are trained: new ones, or those of the evaluation.
    fn lora(&self, adapter: Option<&Path>) -> Result<Option<LoraConfig>, Error> {
        match (adapter, &self.lora) {
            (Some(_), Some(lora)) => {
                let expected = "the evaluation has an adapter, which is trained further: leave it out";
                Err(InvalidOption::new("lora", lora.rank, expected).into())
            }
            (Some(adapter), None) => Ok(Some(LoraConfig::of_adapter(adapter)?)),
            (None, lora) => Ok(lora.clone()),
        }
    }

    /// The completions that are right, in the format, and ended by themselves; equal ones of a problem once. At least one.
    fn accepted(&self) -> Result<Vec<&Answered>, Error> {
        let answers = &self.evaluation.answers;
        let mut seen = BTreeSet::new();
        let is_accepted =
            |answer: &&Answered| answer.strict && answer.format && answer.finish == Finish::Stop;
        let mut accepted: Vec<&Answered> = answers.iter().filter(is_accepted).collect();
        // Completions are recorded as they end.
        accepted.sort_by_key(|answer| (answer.problem, answer.sample));
        accepted.retain(|answer| seen.insert((answer.problem, answer.completion.as_str())));
        if !accepted.is_empty() {
            return Ok(accepted);
        }
        let reason = format!(
            "none of the {} completions of the evaluation is right and in the format, so there is nothing to learn: evaluate \
             with --few-shot, on more problems, or with more --samples",
            answers.len()
        );
        Err(Error::Contradiction(reason))
    }

    /// An error if the model or the adapter is not the one that was evaluated.
    fn check_files(&self, model: &Path, adapter: Option<&Path>) -> Result<(), Error> {
        let changed = differences(&json!(self.evaluation.files), &json!(files_of(model, adapter)?));
        if changed.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "{} is not what was evaluated ({}): evaluate it again",
            self.evaluation.config.model,
            changed.join("; ")
        );
        Err(Error::Contradiction(reason))
    }
}

/// The question after the system prompt alone, and the completion.
fn demonstrations(
    policy: &Qwen2Policy,
    system_prompt: &str,
    accepted: &[&Answered],
) -> Result<Vec<Demonstration>, Error> {
    let demonstration = |answer: &&Answered| {
        let question = Question::new(system_prompt, &answer.question, ());
        let prompt = policy.prompt(&question.messages)?;
        Ok(Demonstration { prompt, completion: policy.text.completion_ids(&answer.completion)? })
    };
    accepted.iter().map(demonstration).collect()
}

/// Takes all updates and records them; false if interrupted.
fn updates_of(
    fit: &mut Sft<'_>,
    policy: &mut Qwen2Policy,
    folder: &Path,
    interrupt: &Interrupt,
    tell: &mut impl FnMut(SftEvent),
) -> Result<bool, Error> {
    let path = folder.join(METRICS);
    let mut metrics = File::create(&path).map_err(Error::io(&path))?;
    while !interrupt.is_requested() {
        let Some(update) = fit.update(policy)? else { break };
        tell(SftEvent::Updated(update));
        let line = serde_json::to_string(&update).map_err(|e| Error::io(&path)(e.into()))?;
        metrics.write_all((line + "\n").as_bytes()).map_err(Error::io(&path))?;
    }
    Ok(fit.done() == fit.updates())
}
