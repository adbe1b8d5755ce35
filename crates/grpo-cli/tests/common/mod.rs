//! Runs the command as a user does.
#![allow(dead_code)] // each test uses a part of it

use std::path::Path;
use std::process::{Command, Output};

/// The options of a run of the embedded model.
pub(crate) const EMBEDDED: [&str; 4] =
    ["--model", "examples/embedded/model", "--dataset", "examples/embedded/problems"];

/// A command of `grpo`, to be run where the workspace is.
pub(crate) fn grpo(command: &str) -> Command {
    let mut grpo = Command::new(env!("CARGO_BIN_EXE_grpo"));
    grpo.arg(command).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    grpo
}

/// Everything that a program has shown.
pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a program that is to succeed; returns what it has shown.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    shown
}

/// Runs a program that is to fail and to say why.
#[track_caller]
pub(crate) fn refused(command: &mut Command, expected: &str) {
    let output = command.output().unwrap();
    let shown = text(&output);
    assert!(!output.status.success() && shown.contains(expected), "{expected}: {shown}");
}

/// Numbers that are the same in every run of a test.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from `low` to `high`, both included (splitmix64).
    pub(crate) fn number(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        low + (mixed ^ (mixed >> 31)) % (high - low + 1)
    }
}
