//! Long runs need no more memory and no more files than short ones. This is the short form; the long one is:
//!
//! ```text
//! GRPO_LOAD=long cargo test --workspace load -- --nocapture
//! ```
#![cfg(target_os = "linux")] // where the system says what a process takes

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use burn::tensor::{Device, Tensor, TensorData};
use grpo_core::{Completion, Recipe};
use grpo_reward::Rubric;
use grpo_rollout::{Decoder, PromptCompletions, TokenGradients, TokenLogProbs};
use grpo_trainer::{
    CompletionRecord, Model, Optimizer, Policy, Problem, ProblemText, Reference, RunLog, Text, Times,
    Trainer, TrainerConfig,
};

mod common;

fn is_long() -> bool {
    std::env::var("GRPO_LOAD").is_ok_and(|form| form == "long")
}

/// The memory (KiB) and the open files of a process, step by step.
#[derive(Default)]
struct Taken {
    memory: Vec<f64>,
    files: Vec<usize>,
}

impl Taken {
    fn look(&mut self, process: &str) {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        self.memory.push(line.trim().trim_end_matches(" kB").parse().unwrap());
        self.files.push(std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count());
    }

    /// Fails if there are more open files at the end than after a third of the steps, or if the memory grows by more than a
    /// share of it over the remaining two thirds, by the line that fits it best.
    #[track_caller]
    fn assert_flat(&self, what: &str, share: f64) {
        let growth = self.growth(what);
        assert!(growth < share, "memory grows by {growth}");
        assert!(self.files[self.files.len() - 1] <= self.files[self.files.len() / 3], "{:?}", self.files);
    }

    fn growth(&self, what: &str) -> f64 {
        let rest = &self.memory[self.memory.len() / 3..];
        let n = rest.len() as f64;
        let (x_mean, y_mean) = ((n - 1.0) / 2.0, rest.iter().sum::<f64>() / n);
        let products = rest.iter().enumerate().map(|(x, y)| (x as f64 - x_mean) * (y - y_mean));
        let squares = (0..rest.len()).map(|x| (x as f64 - x_mean).powi(2));
        let slope = products.sum::<f64>() / squares.sum::<f64>();
        let growth = slope * n / y_mean;
        println!(
            "{what}: {} steps, {:.1} MiB after a third and {:.1} at the end, {slope:.3} KiB a step ({:.2} %), {} files",
            self.memory.len(),
            rest[0] / 1024.0,
            rest[rest.len() - 1] / 1024.0,
            100.0 * growth,
            self.files[self.files.len() - 1],
        );
        growth
    }
}

const VOCABULARY: usize = 8;
const STOP: u32 = 0;

/// A policy without a model: the same distribution everywhere.
struct Stub;

impl Stub {
    fn logits(rows: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::zeros::<f32, _>([rows, VOCABULARY]), &Device::flex())
    }
}

impl Decoder for Stub {
    type Cache = ();
    type Prompt = ();

    fn context(&self) -> usize {
        1000
    }

    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn prefill(&self, prompts: &[&[u32]], _: Option<&()>) -> (Vec<()>, Tensor<2>) {
        (vec![(); prompts.len()], Self::logits(prompts.len()))
    }

    fn cache(&self, _rows: usize, _positions: usize) {}

    fn start(&self, _cache: &mut (), _rows: &[usize], _prompt: &()) {}

    fn decode(&self, _cache: &mut (), rows: &[usize], _tokens: &[u32]) -> Tensor<2> {
        Self::logits(rows.len())
    }
}

impl Text for Stub {
    fn stop(&self) -> &[u32] {
        &[STOP]
    }

    fn decode(&self, tokens: &[u32]) -> String {
        tokens.iter().map(u32::to_string).collect()
    }
}

impl Model for Stub {
    type Pass = ();
    type Gradients = ();

    fn forward(&self, batch: &[PromptCompletions<'_>], _temperature: f32) -> (Vec<TokenLogProbs>, ()) {
        let logprob = (VOCABULARY as f32).ln();
        let score = |tokens: &&[u32]| TokenLogProbs {
            logprobs: vec![-logprob; tokens.len()],
            entropies: vec![logprob; tokens.len()],
        };
        (batch.iter().flat_map(|prompt| prompt.completions.iter().map(score)).collect(), ())
    }

    fn backward(&self, (): (), _slopes: &[TokenGradients], (): &mut ()) {}

    fn all_reduce(&self, (): &mut (), _sum: &dyn Fn(&mut [f32])) {}
}

impl Optimizer<Stub> for Stub {
    fn update(&mut self, _: &mut Stub, (): (), _learning_rate: f64, _max_grad_norm: f64) -> f64 {
        1.0
    }
}

impl Reference<Stub> for Stub {
    fn freeze(_: &Stub) -> Self {
        Self
    }

    fn logprobs(&self, batch: &[PromptCompletions<'_>], temperature: f32) -> Vec<TokenLogProbs> {
        self.forward(batch, temperature).0
    }

    fn lerp(self, _: &Stub, _alpha: f64) -> Self {
        self
    }
}

#[test]
fn load_of_many_problems() {
    const PROBLEMS: usize = 50;
    let steps = if is_long() { 200 } else { 24 };
    let mut recipe = Recipe::grpo();
    recipe.objective.beta = 0.0;
    let config = TrainerConfig {
        recipe,
        group_size: 16,
        max_completion_length: 32,
        batch_rows: 800,
        ..TrainerConfig::default()
    };
    let even = |_: &u32, completion: &Completion| (completion.n_tokens % 2) as f32;
    let rubric = Rubric::new().with("even", 1.0, even).with_time_limit(std::time::Duration::from_secs(60));
    let mut trainer = Trainer::new(Policy::new(Stub, Stub, Stub), rubric, config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut log = RunLog::open(folder.path()).unwrap();
    let mut taken = Taken::default();
    for step in 0..steps {
        let problem = |i: usize| Problem {
            id: (step * PROBLEMS + i) as u64,
            prompt: vec![1; 20],
            messages: vec![],
            truth: 0,
        };
        let problems: Vec<Problem<u32>> = (0..PROBLEMS).map(problem).collect();
        let (experiences, _) = trainer.roll_out(&problems).unwrap();
        let metrics = trainer.learn(&experiences).unwrap();
        let text = |_: u64| ProblemText::default();
        let records = CompletionRecord::of_step(metrics.step, &experiences, trainer.rubric(), text);
        log.append(&metrics, &Times::default(), &records).unwrap();
        taken.look("self");
    }
    let completions = std::fs::read_to_string(folder.path().join("completions.jsonl")).unwrap();
    assert_eq!(completions.lines().count(), steps * PROBLEMS * 16);
    taken.assert_flat(&format!("{} problems x 16", steps * PROBLEMS), 0.05);
}

#[test]
fn load_of_many_steps() {
    // A leak grows in every run; the allocator takes a block late in one of a few.
    let mut taken = many_steps();
    for _ in 0..2 {
        if taken.growth("the embedded model") >= 0.1 {
            taken = many_steps();
        }
    }
    taken.assert_flat("the embedded model", 0.1);
}

fn many_steps() -> Taken {
    let folder = tempfile::tempdir().unwrap();
    let steps = if is_long() { "1000" } else { "90" };
    let mut run = common::example("gsm8k_qwen");
    run.arg("--out").arg(folder.path().join("run")).args(["--device", "cpu", "--steps", steps]);
    run.args(["--problems-per-step", "4", "--group-size", "4", "--eval-problems", "0", "--show-every", "1"]);
    run.args(["--save-every", "20"]);
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let process = child.id().to_string();
    let mut taken = Taken::default();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        if line.unwrap().starts_with("Step ") {
            taken.look(&process);
        }
    }
    assert!(child.wait().unwrap().success());
    taken
}
