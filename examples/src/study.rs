//! Runs of one task that differ in one setting, to show its effect.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use clap::ValueEnum;
use grpo::{
    Completion, ConfigError, DeviceKind, EvaluationOptions, Experiences, Hub, Paper, Problems, Proportion,
    Qwen2Policy, Row, Rubric, RunConfig, Settings, Task, Test, Times, Trainer, problems, resolve_model,
};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::embedded;

/// What is trained on what.
#[derive(Debug, Clone)]
pub enum Subject {
    /// The embedded model on the embedded problems.
    Embedded,
    /// What a configuration file says; its reward of the largest weight is for right answers, and the one named `format` for the format.
    File(PathBuf),
}

impl Subject {
    fn settings(&self, adapters: bool) -> Result<Settings, ConfigError> {
        match self {
            Self::Embedded => embedded::settings(adapters),
            Self::File(path) => {
                let mut settings = Settings::read(path)?;
                if adapters {
                    settings.set("learning_rate", 10.0 * settings.config()?.algorithm.learning_rate)?;
                }
                Ok(settings)
            }
        }
    }

    /// The steps that its configuration asks for.
    pub fn steps(&self) -> Result<u64, ConfigError> {
        Ok(self.settings(false)?.config()?.execution.steps)
    }

    fn task(&self, config: &RunConfig) -> anyhow::Result<Task<Row>> {
        Ok(match self {
            Self::Embedded => embedded::task(config)?,
            Self::File(_) => Task::load(&config.task, &Hub::from_env()?)?,
        })
    }
}

/// What is different about a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Variant {
    /// Only the recipe; GRPO's is the default.
    #[value(skip)]
    Of(Paper),
    /// No KL term.
    Beta0,
    /// Standard deviation with ddof 1, as TRL has it.
    Ddof1,
    /// Every group's rewards dealt out to its completions at random: the same rewards, but they say nothing.
    Shuffled,
    /// GRPO of adapters of rank 16 at ten times the learning rate.
    Lora,
    /// Dynamic sampling, which replaces groups whose completions are all right or all wrong.
    RedrawOutcome,
    /// Dynamic sampling, which replaces only groups whose completions all have the same total.
    RedrawTotal,
    /// A curriculum, which seldom samples what was always right or always wrong.
    Curriculum,
    /// AdamW's moments in BF16.
    Bf16Moments,
    /// The completions of a step are sampled beside the update before it.
    Lag,
}

/// The name of the reward for the format.
const FORMAT: &str = "format";
/// The name of the sum of all rewards.
const TOTAL: &str = "total";

/// How long a run is, and how often it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Training steps.
    pub steps: u64,
    /// Steps after which the first test is answered again; all are before and after training.
    pub every: u64,
    /// Problems of a test.
    pub problems: usize,
}

/// How a run went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The run's seed.
    pub seed: u64,
    /// Seconds spent in training steps.
    pub seconds: f64,
    /// Mean reward of every step.
    pub rewards: Vec<f64>,
    /// Mean tokens of a completion, of every step.
    pub lengths: Vec<f64>,
    /// The KL to the reference of the last step.
    pub kl: Option<f64>,
    /// The tests, before training, between and after.
    pub scores: Vec<TestResult>,
}

/// How a test was answered, greedily.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestResult {
    /// Training steps taken.
    pub step: u64,
    /// The test.
    pub test: String,
    /// The share of right answers.
    pub correct: Proportion,
    /// The share of answers in the format.
    pub format: Proportion,
}

impl Variant {
    /// What the curves show.
    pub const DRAWN: [Self; 4] = [Self::Of(Paper::Grpo), Self::Beta0, Self::Ddof1, Self::Shuffled];

    /// What it is called in a table.
    pub fn title(self) -> String {
        match self {
            Self::Of(Paper::Grpo) => "GRPO, β = 0.04, ddof 0".to_string(),
            Self::Of(Paper::DrGrpo) => "Dr. GRPO".to_string(),
            Self::Of(paper) => paper.name().to_uppercase(),
            Self::Beta0 => "β = 0".to_string(),
            Self::Ddof1 => "ddof 1".to_string(),
            Self::Shuffled => "shuffled rewards".to_string(),
            Self::Lora => "GRPO with LoRA".to_string(),
            Self::RedrawOutcome => "redraws by outcome".to_string(),
            Self::RedrawTotal => "redraws by total".to_string(),
            Self::Curriculum => "curriculum".to_string(),
            Self::Bf16Moments => "moments in BF16".to_string(),
            Self::Lag => "lag 1".to_string(),
        }
    }

    /// What it is called on the command line.
    pub fn name(self) -> String {
        match self {
            Self::Of(paper) => paper.name().to_string(),
            _ => self.to_possible_value().expect("no other is hidden").get_name().to_string(),
        }
    }

    /// The numbers of a run.
    fn config(self, subject: &Subject, seed: u64) -> Result<RunConfig, ConfigError> {
        let mut settings = subject.settings(self == Self::Lora)?;
        settings.set("seed", seed)?;
        match self {
            Self::Of(paper) => settings.set("recipe", paper.name())?,
            Self::Beta0 => settings.set("beta", 0)?,
            Self::Ddof1 => settings.set("ddof", "sample")?,
            Self::Lora => settings.set("lora.rank", 16)?,
            Self::Shuffled => {}
            Self::Curriculum => settings.set("curriculum.floor", 0.2)?,
            Self::Bf16Moments => settings.set("moments_dtype", "bf16")?,
            Self::Lag => settings.set("lag", 1)?,
            Self::RedrawOutcome => settings.set("max_redraws", 3)?,
            Self::RedrawTotal => {
                settings.set("max_redraws", 3)?;
                settings.set("redraw_reward", TOTAL)?;
            }
        }
        settings.config()
    }

    /// The rewards; the total is one of them where redraws look at it.
    fn rubric(self, config: &RunConfig) -> anyhow::Result<Rubric<Row>> {
        let rubric = config.task.rubric()?;
        if self != Self::RedrawTotal {
            return Ok(rubric);
        }
        let of_all = config.task.rubric()?;
        let total = move |row: &Row, completion: &Completion| {
            of_all.score(row, completion).expect("its verifiers do not fail").total
        };
        Ok(rubric.with(TOTAL, 0.0, total))
    }

    /// Trains a model.
    pub fn run(self, subject: &Subject, seed: u64, plan: &Plan) -> anyhow::Result<Run> {
        let Plan { steps, every, problems } = *plan;
        let config = self.config(subject, seed)?;
        let mut task = subject.task(&config)?;
        for test in &mut task.tests {
            test.questions.truncate(problems);
        }
        let device = DeviceKind::Cpu.device()?;
        let policy = Qwen2Policy::load(
            &resolve_model(&config.task.model, &Hub::from_env()?)?,
            &device,
            &config.policy,
        )?;
        let mut trainer = Trainer::new(policy, self.rubric(&config)?, config.algorithm.clone())?;
        let mut order = Problems::new(&task, &config);
        let mut run = Run { seed, seconds: 0.0, rewards: vec![], lengths: vec![], kl: None, scores: vec![] };
        run.scores.extend(scores(&trainer, &task.tests)?);
        for step in 0..steps {
            if step > 0 && step % every == 0 {
                run.scores.extend(scores(&trainer, &task.tests[..1])?);
            }
            let (mut experiences, times) = order.roll_out(&trainer)?;
            if self == Self::Shuffled {
                shuffle(&mut experiences, &mut Dice::new(seed.wrapping_mul(steps).wrapping_add(step)));
            }
            let start = Instant::now();
            let metrics = order.learn(&mut trainer, &experiences, self == Self::Lag && step + 1 < steps)?;
            run.seconds += Times::new(times, experiences.tokens, start.elapsed()).step_time;
            run.rewards.push(metrics.reward);
            run.lengths.push(metrics.completions_mean_length);
            run.kl = metrics.kl;
        }
        run.scores.extend(scores(&trainer, &task.tests)?);
        Ok(run)
    }
}

/// Deals the advantages of every group out to its completions at random.
fn shuffle(experiences: &mut Experiences, dice: &mut Dice) {
    for group in &mut experiences.groups {
        for i in (1..group.completions.len()).rev() {
            let j = dice.number(0, i as u32) as usize;
            let swapped = group.completions[j].advantage;
            group.completions[j].advantage = group.completions[i].advantage;
            group.completions[i].advantage = swapped;
        }
    }
}

fn scores(trainer: &Trainer<Qwen2Policy, Row>, tests: &[Test<Row>]) -> anyhow::Result<Vec<TestResult>> {
    let score = |test: &Test<Row>| {
        let problems = problems(test.questions.iter().enumerate(), trainer.policy())?;
        let evaluation = trainer.evaluate(&problems, &EvaluationOptions::greedy())?;
        Ok(TestResult {
            step: trainer.steps(),
            test: test.name.clone(),
            correct: evaluation.rewarded[trainer.rubric().outcome()].1,
            format: evaluation.share(FORMAT).context("no reward is named `format`")?,
        })
    };
    tests.iter().map(score).collect()
}
