//! Runs the examples as a user does.
#![allow(dead_code)] // each test uses a part of it

use std::path::Path;
use std::process::{Command, Output};

/// An example that `cargo test` has built beside this test, to be run where the workspace is.
pub fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap();
    let mut command =
        Command::new(built.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX)));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    command
}

/// Everything that a program has shown.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a program that is to succeed; returns what it has shown.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    shown
}
