//! Runs on the embedded task that differ in one thing, to say what it changes.

use std::time::Instant;

use burn::tensor::Device;
use clap::ValueEnum;
use grpo_core::{Advantage, Ddof, Objective, Recipe};
use grpo_qwen2::LoraConfig;
use grpo_trainer::{
    Evaluation, EvaluationOptions, Experiences, Order, Proportion, Qwen2Policy, Qwen2PolicyConfig, Times,
    Trainer, TrainerConfig,
};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::paper::Paper;
use crate::roll_out::roll_out;
use crate::task::Test;
use crate::{embedded, gsm8k};

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
}

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
    pub fn title(self) -> &'static str {
        match self {
            Self::Of(paper) => paper.title(),
            Self::Beta0 => "β = 0",
            Self::Ddof1 => "ddof 1",
            Self::Shuffled => "shuffled rewards",
            Self::Lora => "GRPO with LoRA",
        }
    }

    /// What it is called on the command line.
    pub fn name(self) -> String {
        let value = match self {
            Self::Of(paper) => paper.to_possible_value(),
            _ => self.to_possible_value(),
        };
        value.expect("no other is hidden").get_name().to_string()
    }

    /// The trainer's numbers.
    fn config(self, seed: u64) -> TrainerConfig {
        let base = TrainerConfig { seed, ..embedded::config() };
        let grpo = Recipe::grpo();
        match self {
            Self::Of(paper) => TrainerConfig { recipe: paper.recipe(base.max_completion_length), ..base },
            Self::Beta0 => {
                let recipe = Recipe { objective: Objective { beta: 0.0, ..grpo.objective }, ..grpo };
                TrainerConfig { recipe, ..base }
            }
            Self::Ddof1 => {
                let advantage = Advantage::Standardized { ddof: Ddof::Sample };
                TrainerConfig { recipe: Recipe { advantage, ..grpo }, ..base }
            }
            Self::Lora => TrainerConfig { learning_rate: 10.0 * base.learning_rate, ..base },
            Self::Shuffled => base,
        }
    }

    /// The policy's numbers.
    fn policy_config(self, seed: u64) -> Qwen2PolicyConfig {
        let lora = (self == Self::Lora).then(|| LoraConfig { seed, ..LoraConfig::default() });
        Qwen2PolicyConfig { lora, ..Qwen2PolicyConfig::default() }
    }

    /// Trains the embedded model.
    pub fn run(self, seed: u64, plan: &Plan) -> anyhow::Result<Run> {
        let Plan { steps, every, problems } = *plan;
        let mut task = embedded::task()?;
        for test in &mut task.tests {
            test.rows.truncate(problems);
        }
        let policy = Qwen2Policy::load(&task.model, &Device::flex(), &self.policy_config(seed))?;
        let mut trainer = Trainer::new(policy, gsm8k::rubric(), self.config(seed))?;
        let mut order = Order::new(task.train.len(), seed);
        let mut run = Run { seed, seconds: 0.0, rewards: vec![], lengths: vec![], kl: None, scores: vec![] };
        run.scores.extend(scores(&trainer, &task.tests)?);
        for step in 0..steps {
            if step > 0 && step % every == 0 {
                run.scores.extend(scores(&trainer, &task.tests[..1])?);
            }
            let (mut experiences, times) =
                roll_out(&trainer, &task, &mut order, embedded::PROBLEMS_PER_STEP)?;
            if self == Self::Shuffled {
                shuffle(&mut experiences, &mut Dice::new(seed.wrapping_mul(steps).wrapping_add(step)));
            }
            let start = Instant::now();
            let metrics = trainer.learn(&experiences)?;
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

fn scores(trainer: &Trainer<Qwen2Policy, String>, tests: &[Test]) -> anyhow::Result<Vec<TestResult>> {
    let score = |test: &Test| {
        let problems = gsm8k::problems(test.rows.iter().enumerate(), trainer.policy())?;
        let evaluation = trainer.evaluate(&problems, &EvaluationOptions::greedy())?;
        let share = |evaluation: &Evaluation, name| evaluation.share(name).expect("the rubric has it");
        Ok(TestResult {
            step: trainer.steps(),
            test: test.name.clone(),
            correct: share(&evaluation, "correctness"),
            format: share(&evaluation, "format"),
        })
    };
    tests.iter().map(score).collect()
}
