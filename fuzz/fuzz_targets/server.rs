//! The fuzzer's program for the target `server`.
#![no_main]

use std::sync::LazyLock;

use grpo_fuzz::{Target, let_panics_be_caught};

static TARGET: LazyLock<Target> = LazyLock::new(grpo_fuzz::server);

libfuzzer_sys::fuzz_target!(init: let_panics_be_caught(), |input: &[u8]| {
    TARGET.run(input);
});
