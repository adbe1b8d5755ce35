use std::collections::BTreeMap;
use std::time::Duration;

use grpo_core::{CompletionLoss, Finish, Surrogate};
use grpo_qwen2::Scores;
use grpo_reward::RewardStatistics;
use serde::Serialize;

use crate::{Diagnosis, Experiences, Trainer};

/// The figures of a step, under TRL's names where TRL has them.
///
/// What is said of tokens is over the completions that were trained on: all of them if the objective has a KL term,
/// otherwise those of groups with a signal; none that are masked for having been cut off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// The step, from 1.
    pub step: u64,
    /// The objective's value, over all updates of the step.
    pub loss: f64,
    /// Mean over completions of the weighted sum of rewards.
    pub reward: f64,
    /// Standard deviation over completions of the weighted sum of rewards (ddof 1, as in TRL).
    pub reward_std: f64,
    /// `rewards/{name}/mean` and `rewards/{name}/std` of every reward, unweighted, over all completions.
    #[serde(flatten)]
    pub rewards: BTreeMap<String, f64>,
    /// Share of groups whose rewards are all the same: they have no signal.
    pub frac_reward_zero_std: f64,
    /// Mean over tokens of the objective's estimate of KL(policy ‖ reference), in nats; none without a KL term.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// Mean over tokens of the entropy of the policy, in nats.
    pub entropy: f64,
    /// Share of ratios clipped from below (TRL counts where clipping changes the loss); only where ratios are clipped.
    #[serde(rename = "clip_ratio/low_mean", skip_serializing_if = "Option::is_none")]
    pub clip_ratio_low_mean: Option<f64>,
    /// Share of ratios clipped from above.
    #[serde(rename = "clip_ratio/high_mean", skip_serializing_if = "Option::is_none")]
    pub clip_ratio_high_mean: Option<f64>,
    /// Share of ratios clipped either way.
    #[serde(rename = "clip_ratio/region_mean", skip_serializing_if = "Option::is_none")]
    pub clip_ratio_region_mean: Option<f64>,
    /// Share of weights at their bound; only of CISPO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cispo_clip_ratio: Option<f64>,
    /// Mean over completions of their weight; only of VESPO.
    #[serde(rename = "vespo/phi_seq_mean", skip_serializing_if = "Option::is_none")]
    pub vespo_phi_seq_mean: Option<f64>,
    /// Share of completions without a surrogate loss because they are too far off the policy; only where there is a
    /// threshold for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_policy_ratio: Option<f64>,
    /// Groups drawn in place of those without a signal, kept or not; only of dynamic sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrawn_groups: Option<usize>,
    /// Mean tokens of a completion.
    #[serde(rename = "completions/mean_length")]
    pub completions_mean_length: f64,
    /// Tokens of the shortest completion.
    #[serde(rename = "completions/min_length")]
    pub completions_min_length: usize,
    /// Tokens of the longest completion.
    #[serde(rename = "completions/max_length")]
    pub completions_max_length: usize,
    /// Share of completions that were cut off at the maximum length.
    #[serde(rename = "completions/clipped_ratio")]
    pub completions_clipped_ratio: f64,
    /// Mean over tokens of the distance between the sampler's and the trainer's log-probability.
    #[serde(rename = "sampling/sampling_logp_difference/mean")]
    pub sampling_logp_difference_mean: f64,
    /// The largest such distance.
    #[serde(rename = "sampling/sampling_logp_difference/max")]
    pub sampling_logp_difference_max: f64,
    /// Mean over tokens of the factor that corrects for the sampler; only of narrow rollouts.
    #[serde(rename = "sampling/importance_sampling_ratio/mean", skip_serializing_if = "Option::is_none")]
    pub importance_sampling_ratio_mean: Option<f64>,
    /// The smallest of them.
    #[serde(rename = "sampling/importance_sampling_ratio/min", skip_serializing_if = "Option::is_none")]
    pub importance_sampling_ratio_min: Option<f64>,
    /// The largest.
    #[serde(rename = "sampling/importance_sampling_ratio/max", skip_serializing_if = "Option::is_none")]
    pub importance_sampling_ratio_max: Option<f64>,
    /// Norm of the gradient of all weights together, before clipping; of the last update.
    pub grad_norm: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// Tokens of prompts and completions seen since the start.
    pub num_tokens: u64,
    /// Steps skipped in a row because the loss or the gradient was not finite.
    pub skipped_steps: usize,
    /// What is going wrong, if anything is; written as text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnoses: Vec<Diagnosis>,
    /// How long the step took. Not written with the rest, which is the same whenever the run is repeated.
    #[serde(skip)]
    pub times: Times,
}

/// How long the parts of a step took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Times {
    /// Seconds of the step.
    pub step_time: f64,
    /// Seconds spent sampling.
    #[serde(rename = "time/generate")]
    pub time_generate: f64,
    /// Seconds spent scoring completions.
    #[serde(rename = "time/reward")]
    pub time_reward: f64,
    /// Seconds spent on the reference model's log-probabilities.
    #[serde(rename = "time/reference")]
    pub time_reference: f64,
    /// Seconds spent on the policy's passes and the optimizer.
    #[serde(rename = "time/learn")]
    pub time_learn: f64,
    /// Sampled tokens per second of sampling.
    pub tokens_per_second: f64,
}

impl Times {
    fn new(experiences: &Experiences, learn_time: Duration) -> Self {
        let [generate, reward, reference, learn] =
            [experiences.generate_time, experiences.reward_time, experiences.reference_time, learn_time]
                .map(|time| time.as_secs_f64());
        Self {
            step_time: generate + reward + reference + learn,
            time_generate: generate,
            time_reward: reward,
            time_reference: reference,
            time_learn: learn,
            tokens_per_second: experiences.sampled_tokens as f64 / generate.max(f64::MIN_POSITIVE),
        }
    }
}

/// What a step saw of its updates.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
    tokens: usize,
    kl: f64,
    entropy: f64,
    n_ratios: usize,
    clipped_low: usize,
    clipped_high: usize,
    phi: Mean,
    off_policy: Mean,
    differences: Mean,
    max_difference: f64,
    corrections: Vec<f64>,
}

impl Observed {
    pub(crate) fn add(&mut self, term: &CompletionLoss, scores: &Scores) {
        self.tokens += scores.entropies.len();
        self.entropy += scores.entropies.iter().copied().map(f64::from).sum::<f64>();
        self.kl += term.kl;
        self.n_ratios += term.n_ratios;
        self.clipped_low += term.clipped_low;
        self.clipped_high += term.clipped_high;
        self.phi.add(term.phi);
        self.off_policy.add(f64::from(u8::from(term.off_policy)));
    }

    pub(crate) fn add_difference(&mut self, difference: f64) {
        self.differences.add(difference);
        self.max_difference = self.max_difference.max(difference);
    }

    pub(crate) fn add_corrections(&mut self, weights: &[f64]) {
        self.corrections.extend(weights);
    }

    /// What `reduce` makes of the corrections, if there are any.
    fn corrections(&self, reduce: impl Fn(f64, f64) -> f64) -> Option<f64> {
        self.corrections.iter().copied().reduce(reduce)
    }

    pub(crate) fn end_update(&mut self, loss: f64, grad_norm: f64) {
        self.losses.push(loss);
        self.grad_norms.push(grad_norm);
    }

    /// Whether any token's log-probability was compared with the sampler's.
    pub(crate) fn compared(&self) -> bool {
        self.differences.n > 0
    }

    /// Whether any token was trained on.
    pub(crate) fn trained(&self) -> bool {
        self.tokens > 0
    }

    /// Updates that have ended.
    pub(crate) fn updates(&self) -> usize {
        self.losses.len()
    }

    pub(crate) fn is_finite(&self) -> bool {
        self.losses.iter().chain(&self.grad_norms).all(|x| x.is_finite())
    }
}

impl Metrics {
    pub(crate) fn new<P, T>(
        trainer: &Trainer<P, T>,
        experiences: &Experiences,
        observed: &Observed,
        learning_rate: f64,
        learn_time: Duration,
    ) -> Self {
        let lengths = || experiences.iter().map(|e| e.sample.tokens.len());
        let share = |n: usize, of: usize| n as f64 / of.max(1) as f64;
        let of_tokens = |sum: f64| sum / observed.tokens.max(1) as f64;
        let objective = &trainer.config.objective;
        let clipped = matches!(objective.surrogate, Surrogate::Clipped { .. });
        let [low, high] = [observed.clipped_low, observed.clipped_high].map(|n| share(n, observed.n_ratios));
        let groups = &experiences.groups;
        let totals = || experiences.iter().map(|e| f64::from(e.scores.total));
        let flat = groups.iter().filter(|group| !group.has_signal()).count();
        let cut = experiences.iter().filter(|e| e.sample.finish == Finish::Length).count();
        Self {
            step: trainer.progress.step,
            loss: observed.losses.iter().copied().collect::<Mean>().value(),
            reward: totals().collect::<Mean>().value(),
            reward_std: std(totals().collect()),
            rewards: by_reward(trainer.rubric.names(), experiences),
            frac_reward_zero_std: share(flat, groups.len()),
            kl: objective.needs_reference().then(|| of_tokens(observed.kl)),
            entropy: of_tokens(observed.entropy),
            clip_ratio_low_mean: clipped.then_some(low),
            clip_ratio_high_mean: clipped.then_some(high),
            clip_ratio_region_mean: clipped.then_some(low + high),
            cispo_clip_ratio: matches!(objective.surrogate, Surrogate::Cispo { .. }).then_some(high),
            vespo_phi_seq_mean: matches!(objective.surrogate, Surrogate::Vespo { .. })
                .then(|| observed.phi.value()),
            off_policy_ratio: objective.off_policy_threshold.map(|_| observed.off_policy.value()),
            redrawn_groups: (trainer.config.max_redraws > 0).then_some(experiences.redrawn),
            completions_mean_length: lengths().map(|n| n as f64).collect::<Mean>().value(),
            completions_min_length: lengths().min().unwrap_or(0),
            completions_max_length: lengths().max().unwrap_or(0),
            completions_clipped_ratio: share(cut, lengths().count()),
            sampling_logp_difference_mean: observed.differences.value(),
            sampling_logp_difference_max: observed.max_difference,
            importance_sampling_ratio_mean: observed
                .corrections(|a, b| a + b)
                .map(|sum| sum / observed.corrections.len() as f64),
            importance_sampling_ratio_min: observed.corrections(f64::min),
            importance_sampling_ratio_max: observed.corrections(f64::max),
            grad_norm: observed.grad_norms.last().copied().unwrap_or(0.0),
            learning_rate,
            num_tokens: trainer.progress.num_tokens,
            skipped_steps: trainer.progress.skipped,
            diagnoses: Vec::new(),
            times: Times::new(experiences, learn_time),
        }
    }
}

fn by_reward<'a>(names: impl Iterator<Item = &'a str>, experiences: &Experiences) -> BTreeMap<String, f64> {
    let statistics = RewardStatistics::of(names, experiences.iter().map(|e| &e.scores));
    let named = |of: RewardStatistics| {
        [(format!("rewards/{}/mean", of.name), of.mean), (format!("rewards/{}/std", of.name), of.std)]
    };
    statistics.into_iter().flat_map(named).collect()
}

/// The standard deviation with ddof 1; 0 of fewer than two values.
fn std(values: Vec<f64>) -> f64 {
    let mean = values.iter().copied().collect::<Mean>().value();
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (squares / values.len().saturating_sub(1).max(1) as f64).sqrt()
}

/// A running mean; 0 of nothing.
#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    n: usize,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.n += 1;
    }

    fn value(&self) -> f64 {
        self.sum / self.n.max(1) as f64
    }
}

impl FromIterator<f64> for Mean {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut mean = Self::default();
        values.into_iter().for_each(|value| mean.add(value));
        mean
    }
}
