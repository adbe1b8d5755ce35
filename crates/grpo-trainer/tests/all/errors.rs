//! An error and its chain of sources state a reason once: the errors of training, sampling, checkpoints and models.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use grpo_core::LogProbsError;
use grpo_qwen2::ModelError;
use grpo_reward::RewardError;
use grpo_rollout::RolloutError;
use grpo_trainer::{CheckpointError, InvalidOption, RunLogError, TrainerError};

const REASON: &str = "the very reason";

fn path() -> PathBuf {
    "a/b".into()
}

fn text() -> String {
    REASON.into()
}

fn io_error() -> io::Error {
    io::Error::other(REASON)
}

fn rollout_errors() -> Vec<RolloutError> {
    vec![
        InvalidOption { option: "top_p", value: text(), expected: "below 1" }.into(),
        RolloutError::EmptyPrompt { prompt: 1 },
        RolloutError::PromptTooLong { prompt: 1, tokens: 2, max_tokens: 3, context: 4 },
        RolloutError::UnknownToken { prompt: 1, token: 2, vocabulary: 3 },
        RolloutError::NonFiniteLogits { prompt: 1, token: 2 },
    ]
}

fn model_errors() -> Vec<ModelError> {
    let tensor = || "model.norm.weight".to_owned();
    vec![
        ModelError::Io { path: path(), cause: io_error() },
        ModelError::MissingFile { path: path() },
        ModelError::LfsPointer { path: path() },
        ModelError::OtherWeights { path: path(), found: "a.gguf".into(), advice: text() },
        ModelError::Json { path: path(), reason: text() },
        ModelError::Unsupported { path: path(), key: "a".into(), value: text(), expected: "b".into() },
        ModelError::Quantized { path: path(), method: text() },
        ModelError::Damaged { path: path(), reason: text() },
        ModelError::MissingTensor { path: path(), tensor: tensor() },
        ModelError::OtherNames { path: path(), tensor: tensor(), found: "a".into(), reason: text() },
        ModelError::UnreadTensors { path: path(), tensors: vec![text(); 9] },
        ModelError::OtherHead { path: path() },
        ModelError::UnknownTensor { path: path(), tensor: tensor() },
        ModelError::State { path: path(), tensor: tensor(), reason: text() },
        ModelError::UnknownTarget { name: text() },
        ModelError::WrongShape { path: path(), tensor: tensor(), found: vec![1], expected: vec![2] },
        ModelError::OtherShape { path: path() },
        ModelError::WrongDtype { path: path(), tensor: tensor(), found: "I32".into() },
        ModelError::NonFinite { path: path(), tensor: tensor(), value: f32::NAN, index: 3 },
        ModelError::Tokenizer { path: path(), reason: text() },
        InvalidOption { option: "rank", value: text(), expected: "at least 1" }.into(),
        ModelError::Template { path: path(), reason: text() },
    ]
}

fn checkpoint_errors() -> Vec<CheckpointError> {
    let log = RunLogError { path: path(), cause: io_error() };
    let damaged = || CheckpointError::Damaged { path: path(), reason: text() };
    let mut errors = vec![
        CheckpointError::Io { path: path(), cause: io_error() },
        damaged(),
        CheckpointError::AllDamaged { path: path(), damaged: vec![damaged()] },
        CheckpointError::Changed { path: path(), differences: vec![text()] },
        CheckpointError::Log(log),
    ];
    errors.extend(model_errors().into_iter().map(|error| CheckpointError::Policy(Box::new(error))));
    errors
}

fn trainer_errors() -> Vec<TrainerError> {
    let completion = || "18".to_owned();
    let mut errors = vec![
        InvalidOption { option: "group_size", value: text(), expected: "at least 2" }.into(),
        TrainerError::NoProblems,
        TrainerError::NoRewards,
        TrainerError::NoOtherProblems { max_redraws: 3 },
        TrainerError::Miscounted { what: "samples", found: 1, expected: 2 },
        TrainerError::Reward {
            problem: 7,
            cause: RewardError::Panicked {
                reward: "format".into(),
                message: text(),
                completion: Some(completion()),
            },
        },
        TrainerError::LogProbs(LogProbsError::MissingReference),
        TrainerError::Mismatch {
            problem: 1,
            sample: 2,
            token: 3,
            sampler: -1.0,
            trainer: -2.0,
            tolerance: 1e-3,
        },
        TrainerError::Diverged { skipped: 10 },
    ];
    errors
        .extend(rollout_errors().into_iter().map(|cause| TrainerError::Rollout { problem: Some(1), cause }));
    errors
}

#[test]
fn a_reason_is_said_once() {
    let mut errors: Vec<Box<dyn Error>> = Vec::new();
    errors.extend(rollout_errors().into_iter().map(Box::from));
    errors.extend(model_errors().into_iter().map(Box::from));
    errors.extend(checkpoint_errors().into_iter().map(Box::from));
    errors.extend(trainer_errors().into_iter().map(Box::from));
    for error in &errors {
        let has_reason = format!("{error:?}").contains(REASON);
        assert_eq!(error.to_string().contains(REASON), has_reason, "{error:?}: the message alone is enough");
        let (mut above, mut source) = (error.to_string(), error.source());
        while let Some(error) = source {
            assert!(!above.contains(&error.to_string()), "{above:?} repeats {error}");
            (above, source) = (error.to_string(), error.source());
        }
    }
}
