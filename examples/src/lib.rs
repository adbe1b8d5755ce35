//! What only the examples need: the embedded model and problems, puzzles, how those were made, and the study behind `docs/results.md`.

pub mod dice;
pub mod embedded;
pub mod plot;
pub mod puzzles;
pub mod study;
pub mod word_problems;

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    #[test]
    fn the_readme_has_the_program_that_is_run() {
        let program = include_str!("../../.ci/downstream-run/src/main.rs");
        assert!(include_str!("../../README.md").contains(&format!("```rust,no_run\n{program}```")));
    }
}
