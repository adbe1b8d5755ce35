use std::collections::BTreeMap;

use grpo_core::{Ddof, Finish, Surrogate, mean, std};
use grpo_reward::RewardStatistics;
use serde::Serialize;

use crate::step::Observed;
use crate::{Diagnosis, Experience, Experiences, Trainer};

/// The metrics of a step, with TRL's names where TRL has them.
///
/// Token-level metrics cover the completions that were trained on: all of them if the objective has a KL term, otherwise
/// those of groups with a signal; masked truncated completions are excluded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metrics {
    /// The step, from 1.
    pub step: u64,
    /// The objective's value, averaged over the updates of the step.
    pub loss: f64,
    /// Mean over completions of the weighted sum of rewards.
    pub reward: f64,
    /// Standard deviation over completions of the weighted sum of rewards (ddof 1, as in TRL).
    pub reward_std: f64,
    /// `rewards/{name}/mean` and `rewards/{name}/std` of every reward, unweighted, over all completions, and
    /// `rewards/{name}/group_std`, the mean over groups of the standard deviation within one (ddof 1).
    #[serde(flatten)]
    pub rewards: BTreeMap<String, f64>,
    /// Share of groups without a signal: those whose rewards are all equal, and with dynamic sampling those with one outcome.
    pub frac_reward_zero_std: f64,
    /// Mean over tokens of the objective's estimate of KL(policy ‖ reference), in nats; absent without a KL term.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// Mean over tokens of the policy's entropy, in nats; absent if no token was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Share of ratios clipped from below (TRL counts where clipping changes the loss); only where ratios are clipped.
    #[serde(rename = "clip_ratio/low_mean", skip_serializing_if = "Option::is_none")]
    pub clip_ratio_low_mean: Option<f64>,
    /// Share of ratios clipped from above.
    #[serde(rename = "clip_ratio/high_mean", skip_serializing_if = "Option::is_none")]
    pub clip_ratio_high_mean: Option<f64>,
    /// Share of ratios clipped either way.
    #[serde(rename = "clip_ratio/region_mean", skip_serializing_if = "Option::is_none")]
    pub clip_ratio_region_mean: Option<f64>,
    /// Share of ratios above their bound; only with CISPO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cispo_clip_ratio: Option<f64>,
    /// Mean over completions of φ; only with VESPO.
    #[serde(rename = "vespo/phi_seq_mean", skip_serializing_if = "Option::is_none")]
    pub vespo_phi_seq_mean: Option<f64>,
    /// Share of completions without a surrogate loss because they are too far off-policy; only if a threshold is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_policy_ratio: Option<f64>,
    /// Groups drawn to replace those with one outcome, kept or not; only with dynamic sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrawn_groups: Option<usize>,
    /// Mean tokens per completion.
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
    /// Mean over tokens of the absolute difference between the sampler's and the trainer's log-probability.
    #[serde(rename = "sampling/sampling_logp_difference/mean")]
    pub sampling_logp_difference_mean: f64,
    /// The largest such difference.
    #[serde(rename = "sampling/sampling_logp_difference/max")]
    pub sampling_logp_difference_max: f64,
    /// Mean over tokens of the factor that corrects for the sampler; only if the loss corrects for it.
    #[serde(rename = "sampling/importance_sampling_ratio/mean", skip_serializing_if = "Option::is_none")]
    pub importance_sampling_ratio_mean: Option<f64>,
    /// The smallest such factor.
    #[serde(rename = "sampling/importance_sampling_ratio/min", skip_serializing_if = "Option::is_none")]
    pub importance_sampling_ratio_min: Option<f64>,
    /// The largest such factor.
    #[serde(rename = "sampling/importance_sampling_ratio/max", skip_serializing_if = "Option::is_none")]
    pub importance_sampling_ratio_max: Option<f64>,
    /// [`Experiences::lag`]; only if the configuration has one.
    #[serde(rename = "sampling/lag", skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// Global gradient norm before clipping, in the last update.
    pub grad_norm: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// [`Experiences::pass_rates`].
    pub pass_rates: BTreeMap<u64, f64>,
    /// Tokens of prompts and completions seen since the start.
    pub num_tokens: u64,
    /// Steps skipped in a row because the loss or the gradient was not finite.
    pub skipped_steps: usize,
    /// Detected problems, if any; written as text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnoses: Vec<Diagnosis>,
}

impl Metrics {
    pub(crate) fn new<P, T>(
        trainer: &Trainer<P, T>,
        experiences: &Experiences,
        observed: &Observed,
        learning_rate: f64,
    ) -> Self {
        let lengths: Vec<usize> = experiences.iter().map(|e| e.scored.sample.tokens.len()).collect();
        let of_list = |values: &[f64]| mean(values.iter().copied());
        let corrections = |reduce: fn(f64, f64) -> f64| observed.corrections.iter().copied().reduce(reduce);
        let of_tokens = |sum: f64| sum / observed.tokens.max(1) as f64;
        let recipe = &trainer.config.recipe;
        let (objective, surrogate) = (&recipe.objective, recipe.objective.surrogate);
        let [is_clipped, is_cispo, is_vespo] = [
            matches!(surrogate, Surrogate::Clipped { .. }),
            matches!(surrogate, Surrogate::Cispo { .. }),
            matches!(surrogate, Surrogate::Vespo { .. }),
        ];
        let [low, high] = [observed.clipped_low, observed.clipped_high].map(|n| share(n, observed.n_ratios));
        // Without those that no reward has scored.
        let totals = experiences.iter().map(|e| f64::from(e.scored.scores.total));
        let totals: Vec<f64> = totals.filter(|total| !total.is_nan()).collect();
        Self {
            step: trainer.progress.step,
            loss: of_list(&observed.losses),
            reward: of_list(&totals),
            reward_std: std(&totals, Ddof::Sample),
            rewards: by_reward(trainer.rubric.names(), experiences),
            frac_reward_zero_std: flat_groups(experiences),
            kl: objective.needs_reference().then(|| of_tokens(observed.kl)),
            entropy: observed.trained().then(|| of_tokens(observed.entropy)),
            clip_ratio_low_mean: is_clipped.then_some(low),
            clip_ratio_high_mean: is_clipped.then_some(high),
            clip_ratio_region_mean: is_clipped.then_some(low + high),
            cispo_clip_ratio: is_cispo.then_some(high),
            vespo_phi_seq_mean: is_vespo.then(|| of_list(&observed.phis)),
            off_policy_ratio: objective.off_policy_threshold.map(|_| of_list(&observed.off_policy)),
            redrawn_groups: (recipe.max_redraws > 0).then_some(experiences.redrawn),
            completions_mean_length: mean(lengths.iter().map(|n| *n as f64)),
            completions_min_length: lengths.iter().copied().min().unwrap_or(0),
            completions_max_length: lengths.iter().copied().max().unwrap_or(0),
            completions_clipped_ratio: cut_off(experiences),
            sampling_logp_difference_mean: of_list(&observed.distances),
            sampling_logp_difference_max: observed.distances.iter().copied().fold(0.0, f64::max),
            importance_sampling_ratio_mean: corrections(|a, b| a + b)
                .map(|sum| sum / observed.corrections.len() as f64),
            importance_sampling_ratio_min: corrections(f64::min),
            importance_sampling_ratio_max: corrections(f64::max),
            lag: (trainer.config.lag > 0).then_some(experiences.lag),
            grad_norm: observed.grad_norms.last().copied().unwrap_or(0.0),
            learning_rate,
            pass_rates: experiences.pass_rates.clone(),
            num_tokens: trainer.progress.num_tokens,
            skipped_steps: trainer.progress.skipped,
            diagnoses: Vec::new(),
        }
    }
}

fn share(n: usize, of: usize) -> f64 {
    n as f64 / of.max(1) as f64
}

/// The share of groups without a signal.
fn flat_groups(experiences: &Experiences) -> f64 {
    let flat = experiences.groups.iter().filter(|group| !group.has_signal()).count();
    share(flat, experiences.groups.len())
}

/// The share of completions that were cut off.
fn cut_off(experiences: &Experiences) -> f64 {
    let cut = experiences.iter().filter(|e| e.scored.sample.finish == Finish::Length).count();
    share(cut, experiences.iter().count())
}

fn by_reward<'a>(names: impl Iterator<Item = &'a str>, experiences: &Experiences) -> BTreeMap<String, f64> {
    let names: Vec<&str> = names.collect();
    let of = |completions: &mut dyn Iterator<Item = &Experience>| {
        RewardStatistics::of(names.iter().copied(), completions.map(|e| &e.scored.scores))
    };
    let groups: Vec<_> =
        experiences.groups.iter().flat_map(|group| of(&mut group.completions.iter())).collect();
    let named = |all: RewardStatistics| {
        let of_groups: Vec<f64> =
            groups.iter().filter(|group| group.name == all.name).map(|group| group.std).collect();
        let within = mean(of_groups.into_iter());
        [("mean", all.mean), ("std", all.std), ("group_std", within)]
            .map(|(statistic, value)| (format!("rewards/{}/{statistic}", all.name), value))
    };
    of(&mut experiences.iter()).into_iter().flat_map(named).collect()
}
