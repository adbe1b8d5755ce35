//! All rewards that a configuration can have.

use std::process::ExitCode;

use grpo::grpo_core::Completion;
use grpo::grpo_reward::VerifierExample;
use serde_json::json;

use crate::say;

/// Lists every verifier, with its numbers and with a completion that earns its reward and one that does not.
pub fn rewards() -> anyhow::Result<ExitCode> {
    say!(
        "Every kind of [[rewards]] in a configuration; programs at the end. Besides its own settings, here those of\nthe examples, each has"
    );
    say!("  name      in metrics; by default its kind");
    say!("  weight    factor in the total; by default 1");
    say!("  gate      name of the reward that must be above 0 for this one to be paid; by default none");
    for example in VerifierExample::all() {
        let verifier = json!(example.verifier);
        let settings = verifier.as_object().into_iter().flatten().filter(|(name, _)| *name != "kind");
        let numbers: Vec<String> = settings.map(|(name, value)| format!("{name} = {value}")).collect();
        let [right, wrong] = example.earned()?;
        say!("\n{}: {}", verifier["kind"].as_str().unwrap_or_default(), example.pays_for);
        if !numbers.is_empty() {
            say!("  {}", numbers.join(", "));
        }
        if !example.row.truth.is_empty() {
            say!("  truth {}", example.row.truth);
        }
        for (column, value) in &example.row.columns {
            say!("  column {column} {value}");
        }
        for (earned, Completion { text, .. }) in [(right, &example.right), (wrong, &example.wrong)] {
            say!("  {earned:>5} for {text:?}");
        }
    }
    say!("\nA program in any language, which reads and writes JSON lines (docs/rewards.md):");
    say!("  command = [\"python3\", \"verify.py\"], timeout = 60, processes = 1");
    say!("  rewards = {{ right = 1.0, brief = 0.1 }} if it answers with several, each with its weight");
    Ok(ExitCode::SUCCESS)
}
