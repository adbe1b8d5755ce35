//! The name that runs record for the current form of a verifier.

use std::fmt;

/// Counts the changes to what verifiers pay for: raise it with every change.
const REVISION: u32 = 1;

/// The version of a verifier, including its numbers.
pub(crate) fn verifier_version(verifier: &impl fmt::Debug) -> String {
    format!("{REVISION} {verifier:?}")
}
