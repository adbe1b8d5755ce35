//! What the examples share: the embedded material and where it comes from, the choice of a device, the prompt of the task, and
//! what a person sees of a run.

pub mod allocator;
pub mod args;
pub mod ask;
pub mod device;
pub mod dice;
pub mod display;
pub mod embedded;
pub mod gsm8k;
pub mod memory;
pub mod paper;
pub mod plot;
pub mod report;
pub mod roll_out;
pub mod run_folder;
pub mod study;
pub mod task;
pub mod warnings;
pub mod word_problems;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_has_the_code_of_the_example() {
        let (_, code) =
            include_str!("../custom_reward.rs").split_once("\n\n").expect("a first line says what it is");
        assert!(include_str!("../../README.md").contains(&format!("```rust,no_run\n{code}```")));
    }
}
