//! A configuration as TOML with comments.

use grpo_core::Paper;
use grpo_trainer::TrainerConfig;
use serde_json::Value;

use super::RunConfig;
use super::keys::{get, shortest};
use super::settings::{NONE, RECIPE, last_name};

/// A description of every key, in the order in which they are shown.
const ABOUT: &[(&str, &str)] = &[
    ("task", "What to train, and on what. Fixed when the run starts."),
    ("task.model", "A folder in Hugging Face layout, or a Hub id."),
    ("task.adapter", "A folder with adapters in PEFT format to continue from."),
    ("task.dataset", "A Parquet, JSONL or CSV file, a folder of them, or a Hub id."),
    ("task.dataset_config", "Configuration of the dataset: a subset, a language."),
    ("task.dataset_revision", "Commit, branch or tag of a dataset on the Hub."),
    ("task.train_split", "Split to train on."),
    ("task.test_split", "Split of held-out problems; by default test, or part of the training split."),
    ("task.columns", "The columns of the dataset, and what becomes of them."),
    ("task.columns.question", "Name of the column of questions: texts or conversations."),
    ("task.columns.answer", "Name of the column of answers."),
    ("task.columns.prompt", "A Jinja template of the question, over all columns."),
    ("task.columns.filter", "A Jinja expression: only rows for which it is true are read."),
    (
        "task.columns.truth",
        "What of an answer is compared: hashes (what follows ####), whole, boxed, { pattern = 'regex' } or { template = 'jinja' }.",
    ),
    ("task.columns.truth.pattern", "A regular expression: its last match, or the first group of it."),
    ("task.columns.truth.template", "A Jinja template of the truth, over all columns."),
    ("task.system_prompt", "System prompt before every question, in the place of a conversation's own."),
    (
        "task.enable_thinking",
        "Qwen3: whether the model reasons first; by default, its chat template decides.",
    ),
    ("task.max_prompt_length", "Rows with longer prompts (in tokens) are dropped."),
    ("task.problems_per_step", "Problems per step, each with a group of completions."),
    ("task.curriculum", "Prefers problems by the share of right completions when they were last sampled."),
    ("task.curriculum.min_pass_rate", "Problems with a lower rate are too hard."),
    ("task.curriculum.max_pass_rate", "Problems with a higher rate are too easy."),
    ("task.curriculum.floor", "Probability with which these are sampled when they come up."),
    ("task.rewards", "What completions are paid for, a table each; `grpo rewards` lists all kinds."),
    ("task.eval_problems", "Held-out problems answered greedily before and after training."),
    ("algorithm", "How to train. Fixed when the run starts."),
    ("algorithm.group_size", "Completions per problem (TRL: num_generations)."),
    ("algorithm.max_completion_length", "Maximum number of tokens per completion."),
    (
        "algorithm.redraw_reward",
        "Dynamic sampling: the reward that must differ in a group; the one of largest weight by default.",
    ),
    (
        "algorithm.lag",
        "1 samples the next step while this one is learned from, and the loss corrects for it; 0 does not.",
    ),
    ("algorithm.updates", "Optimizer steps per rollout (TRL: num_iterations)."),
    ("algorithm.learning_rate", "Peak learning rate; the default is ten times higher with lora."),
    ("algorithm.warmup_steps", "Number of warm-up steps of the learning rate."),
    ("algorithm.max_grad_norm", "Gradients are clipped to this norm."),
    ("algorithm.micro_batch_tokens", "Maximum tokens per forward and backward pass; bounds memory."),
    ("algorithm.batch_rows", "Maximum completions sampled at once; bounds memory."),
    ("algorithm.seed", "Determines the order of problems and every sampled token."),
    ("algorithm.sampling", "The distribution that completions are drawn from."),
    ("algorithm.sampling.temperature", "Divides the logits."),
    ("algorithm.sampling.top_k", "Keeps only this many of the most probable tokens."),
    ("algorithm.sampling.top_p", "Keeps only the most probable tokens that add up to this probability."),
    ("algorithm.sampling.min_p", "Keeps only tokens with at least this fraction of the highest probability."),
    ("algorithm.schedule", "Learning rate schedule after warm-up."),
    ("algorithm.schedule.kind", "constant, linear or cosine; linear and cosine need num_training_steps."),
    ("algorithm.schedule.num_training_steps", "Steps after which the learning rate is 0."),
    ("algorithm.reference_sync", "Moves the reference towards the policy (TRL: sync_ref_model)."),
    ("algorithm.reference_sync.ref_model_sync_steps", "Steps between moves."),
    ("algorithm.reference_sync.ref_model_mixup_alpha", "Weight of the policy in the new reference."),
    ("algorithm.recipe", "What the paper prescribes. To change one number, set only that key (beta = 0.01)."),
    ("algorithm.recipe.aggregation", "How rewards are combined: sum_then_normalize or normalize_then_sum."),
    (
        "algorithm.recipe.max_redraws",
        "How many times groups with one outcome are replaced (dynamic sampling).",
    ),
    (
        "algorithm.recipe.soft_overlong_cache",
        "Number of tokens before the maximum length over which length is penalized.",
    ),
    ("algorithm.recipe.mask_truncated_completions", "Excludes truncated completions from the loss."),
    ("algorithm.recipe.advantage", "How rewards become advantages (TRL: scale_rewards)."),
    ("algorithm.recipe.advantage.kind", "standardized (by the group), batch_scaled or centered."),
    ("algorithm.recipe.advantage.ddof", "population (n) or sample (n - 1, as in TRL)."),
    ("algorithm.recipe.objective", "The loss."),
    ("algorithm.recipe.objective.beta", "Coefficient of the KL term; 0 needs no reference."),
    ("algorithm.recipe.objective.importance_sampling_level", "Ratios per token or per sequence."),
    ("algorithm.recipe.objective.kl", "k3, or bias_corrected_k3 (TRL: use_bias_correction_kl)."),
    ("algorithm.recipe.objective.normalization", "completion, token, sum, or { max_length = n }."),
    (
        "algorithm.recipe.objective.off_policy_mask_threshold",
        "Masks completions that are too far off-policy.",
    ),
    (
        "algorithm.recipe.objective.top_entropy_quantile",
        "Fraction of tokens, those with the highest entropy, that are trained on.",
    ),
    ("algorithm.recipe.objective.surrogate", "The surrogate loss."),
    (
        "algorithm.recipe.objective.surrogate.kind",
        "clipped, cispo, sapo or vespo, each with its own numbers.",
    ),
    ("algorithm.recipe.objective.surrogate.epsilon", "How far below 1 a ratio may be."),
    (
        "algorithm.recipe.objective.surrogate.epsilon_high",
        "How far above 1 a ratio may be; for cispo, the maximum ratio.",
    ),
    ("algorithm.recipe.objective.surrogate.delta", "Upper bound of the ratio where clipping sets none."),
    (
        "algorithm.recipe.objective.surrogate.sapo_temperature_pos",
        "Gate temperature for positive advantages.",
    ),
    (
        "algorithm.recipe.objective.surrogate.sapo_temperature_neg",
        "Gate temperature for all other advantages.",
    ),
    ("algorithm.recipe.objective.surrogate.vespo_k_pos", "k for advantages of 0 or more."),
    ("algorithm.recipe.objective.surrogate.vespo_lambda_pos", "Lambda for advantages of 0 or more."),
    ("algorithm.recipe.objective.surrogate.vespo_k_neg", "k for negative advantages."),
    ("algorithm.recipe.objective.surrogate.vespo_lambda_neg", "Lambda for negative advantages."),
    ("policy", "Which weights are trained, and how to sample. Fixed when the run starts."),
    ("policy.lora", "Trains low-rank adapters on frozen weights."),
    ("policy.lora.rank", "PEFT's r."),
    ("policy.lora.alpha", "Adapters are scaled by alpha / rank; twice the rank by default."),
    ("policy.lora.targets", "Linear layers that get adapters."),
    ("policy.lora.seed", "Seed for initializing adapters; the run's seed by default."),
    ("policy.rollout_dtype", "Dtype of the weights used for sampling."),
    (
        "policy.rollout_dtype.kind",
        "f32, or bf16: faster; the loss corrects for the rounding. f16 for GPUs without bf16.",
    ),
    ("policy.rollout_dtype.level", "Correction ratio per sequence or token."),
    ("policy.rollout_dtype.bound", "How to treat a ratio out of range: mask or truncate."),
    ("policy.rollout_dtype.importance_sampling_clip_min", "Lower end of the range of ratios."),
    ("policy.rollout_dtype.importance_sampling_clip_max", "Upper end of the range of ratios."),
    ("policy.optimizer", "AdamW."),
    ("policy.optimizer.adam_beta1", "Decay rate of the first moment."),
    ("policy.optimizer.adam_beta2", "Decay rate of the second moment."),
    ("policy.optimizer.adam_epsilon", "Added to the square root of the second moment."),
    ("policy.optimizer.weight_decay", "Decoupled weight decay."),
    ("policy.optimizer.moments_dtype", "Both moments are stored in f32, or in bf16: half the memory."),
    ("execution", "How a process executes the run. May change on every resume."),
    ("execution.device", "auto, cpu, metal, vulkan, webgpu or cuda."),
    ("execution.steps", "Total training steps of the run."),
    ("execution.save_every", "Steps between checkpoints."),
    ("execution.keep", "Keeps only the newest `keep` checkpoints."),
    ("execution.eval_every", "Steps between evaluations on held-out problems (TRL: eval_steps)."),
    ("execution.eval_subset", "Held-out problems answered in each, chosen by their hashes."),
    ("execution.best_metric", "Reward that decides which checkpoint is the best; the first by default."),
    ("execution.reward_timeout", "Time limit in seconds for scoring one completion."),
    ("execution.activation_checkpointing", "Less memory, more time (TRL: gradient_checkpointing)."),
    ("execution.record_tokens", "Records each token's log-probability and entropy: 8 bytes a token."),
    ("execution.rollouts", "Servers that sample completions: vLLM or `grpo serve`."),
    (
        "execution.rollouts.servers",
        "Each with url, and maybe token_file and admin_url; none: this process samples.",
    ),
    ("execution.rollouts.folder", "Where policies are written for them, under the same path everywhere."),
    ("execution.rollouts.groups_in_flight", "Groups that a server works on at once."),
    ("execution.rollouts.timeout", "Time limit in seconds for a group, and for loading a policy."),
    ("execution.rollouts.patience", "Seconds that a step waits without any server that works."),
];

/// Keys whose defaults are commented out: those that follow from other keys, and the list that tables are added to.
const FOLLOWING: [&str; 4] =
    ["algorithm.learning_rate", "policy.lora.alpha", "policy.lora.seed", "task.rewards"];

impl RunConfig {
    /// This configuration as TOML with a comment for every key; [`Settings::from_toml`](super::Settings::from_toml) reads it back.
    /// A value that follows from others (the numbers of a paper's recipe, the scale of adapters) is commented out, so that it
    /// keeps following them.
    pub fn to_toml(&self) -> String {
        let (config, implied) = (plain_numbers(self), plain_numbers(&self.implied()));
        let mut toml = self.recipe_to_toml(&config);
        for (section, _) in ABOUT.iter().filter(|(key, _)| !key.contains('.')) {
            write_table(&mut toml, &config, &implied, section);
        }
        toml
    }

    /// The recipe: the paper that it is nearest to, and the numbers that differ.
    fn recipe_to_toml(&self, config: &Value) -> String {
        let is_leaf = |key: &str, value: &Value| !value.is_object() || key.ends_with(".normalization");
        let own = entries(config, RECIPE, |_| true).filter(|(key, _, value)| is_leaf(key, value));
        let own: Vec<(&str, &str, &Value)> = own.collect();
        let of_paper = |paper: Paper| {
            let recipe = paper.recipe(self.algorithm.max_completion_length);
            plain_numbers(&Self {
                algorithm: TrainerConfig { recipe, ..self.algorithm.clone() },
                ..self.clone()
            })
        };
        let differing = |paper: &Paper| {
            let of_paper = of_paper(*paper);
            own.iter().filter(|(key, _, value)| get(&of_paper, key) != Some(value)).count()
        };
        let paper = Paper::ALL.into_iter().min_by_key(differing).unwrap_or_default();
        let names = Paper::ALL.map(Paper::name).join(", ");
        let mut toml = format!(
            "# What the paper prescribes, and parts of it to override. Fixed when the run starts.\nrecipe = \"{}\" # {names}.\n",
            paper.name()
        );
        let of_paper = of_paper(paper);
        for (key, about, value) in own {
            // The numbers of another variant are not the paper's, even where they are equal.
            let kind = key.rsplit_once('.').map_or(String::new(), |(table, _)| format!("{table}.kind"));
            let is_same = [key, &kind].iter().all(|key| get(&of_paper, key) == get(config, key));
            let comment = if is_same { "# " } else { "" };
            toml += &format!("{comment}{} = {} # {about}\n", shortest(key), inline(value));
        }
        toml
    }
}

/// A configuration as JSON, by way of text, in which 0.9 is not what the nearest f32 is as an f64.
fn plain_numbers(config: &RunConfig) -> Value {
    let text = serde_json::to_string(config).expect("names and numbers can be written");
    serde_json::from_str(&text).expect("it has just been written")
}

/// The keys below `table` that a configuration has, with their descriptions and values.
fn entries<'a>(
    config: &'a Value,
    table: &'a str,
    is_wanted: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = (&'static str, &'static str, &'a Value)> {
    ABOUT.iter().filter_map(move |(key, about)| {
        let rest = key.strip_prefix(table)?.strip_prefix('.')?;
        is_wanted(rest).then_some((*key, *about, get(config, key)?))
    })
}

fn write_table(toml: &mut String, config: &Value, implied: &Value, path: &str) {
    let about = ABOUT.iter().find(|(key, _)| *key == path).map_or("", |(_, about)| about);
    *toml += &format!("\n# {about}\n[{path}]\n");
    let own = || entries(config, path, |rest| !rest.contains('.'));
    for (key, about, value) in own().filter(|(.., value)| !value.is_object()) {
        let follows = FOLLOWING.contains(&key) && get(implied, key) == Some(value);
        let comment = if follows { "# " } else { "" };
        let entry = format!("{} = {} # {about}", last_name(key), inline(value));
        entry.lines().for_each(|line| *toml += &format!("{comment}{line}\n"));
    }
    for (key, ..) in own().filter(|(key, _, value)| value.is_object() && *key != RECIPE) {
        write_table(toml, config, implied, key);
    }
}

/// A value on one line.
fn inline(value: &Value) -> String {
    let fields = |(name, value): (&String, &Value)| format!("{} = {}", key_form(name), inline(value));
    match value {
        Value::Object(map) => format!("{{ {} }}", map.iter().map(fields).collect::<Vec<_>>().join(", ")),
        // A table each, on its own line.
        Value::Array(list) if list.iter().any(Value::is_object) => {
            let tables: Vec<String> = list.iter().map(inline).collect();
            format!("[\n    {},\n]", tables.join(",\n    "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Null => format!("\"{NONE}\""),
        // Strings, numbers and booleans look the same in JSON and TOML, except one control character.
        value => value.to_string().replace('\u{7f}', "\\u007F"),
    }
}

/// A key of a table, in quotes if it needs them.
fn key_form(name: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_string() } else { inline(&name.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_key_is_described_and_every_description_is_of_a_key() {
        for key in keys::all().iter().filter(|key| !key.contains("normalization.")) {
            assert!(ABOUT.iter().any(|(of, _)| of == key), "{key}");
        }
        for (key, _) in ABOUT {
            assert!(keys::all().contains(*key), "{key}");
        }
    }

    #[test]
    fn what_is_described_is_read_again() {
        for text in [
            "",
            "recipe = 'cispo'",
            "curriculum.floor = 0.5",
            "surrogate = { kind = 'cispo', epsilon_high = 0.2 }",
            "recipe = 'dr-grpo'\nlora.rank = 4",
            "[[rewards]]\nkind = 'quantity'\nsynonyms = { 'miles per hour' = 'mph', '°' = 'deg' }",
            "[[rewards]]\nkind = 'must_match'\npattern = \"\\u007F\"",
            "columns.truth = 'whole'\ncolumns.question = 'problem'",
            "columns.truth = { pattern = '= (\\d+)' }",
            "columns.truth.template = '{{ answer }}'\nprompt = '{{ question }}?'\nfilter = \"level == '5'\"\ntest_split = 'dev'",
            "[[rewards]]\nkind = 'numeric'\n[[rewards]]\nkind = 'must_match'\npattern = '^\\d'\nweight = 0.1\ngate = 'numeric'",
            "rollout_dtype = 'bf16'\nepsilon_high = 0.3\nschedule = { kind = 'linear', num_training_steps = 9 }\nmax_grad_norm = 'none'",
        ] {
            let config = RunConfig::from_toml(text).unwrap();
            let toml = config.to_toml();
            assert_eq!(RunConfig::from_toml(&toml).unwrap(), config, "{toml}");
        }
    }

    /// Tables come last in TOML, so that is where rewards are added.
    #[test]
    fn rewards_can_be_added_to_what_is_described() {
        let toml = RunConfig::default().to_toml() + "\n[[task.rewards]]\nkind = 'numeric'\n";
        let config = RunConfig::from_toml(&toml).unwrap();
        assert_eq!(config.task.rewards.len(), 1);
        assert_eq!(config.task.rewards[0].name, "numeric");
    }
}
