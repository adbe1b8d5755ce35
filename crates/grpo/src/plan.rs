//! The resources that a run needs.

use std::fmt;
use std::path::Path;

use grpo_trainer::{MemoryPlan, Qwen2Policy, Trainer};

use crate::Error;
use crate::config::RunConfig;

/// Bytes of an f32.
const F32: u64 = 4;
/// Estimated bytes in the record per token of a completion and its prompt, including the other fields.
const RECORD: u64 = 6;
/// Bytes in the record of a token that is recorded by itself.
const TOKEN: u64 = 8;
const MIB: u64 = 1 << 20;

/// Estimated memory and disk usage of a run, from its configuration alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Peak memory.
    pub memory: MemoryPlan,
    /// Disk usage: names and bytes.
    pub disk: Vec<(&'static str, u64)>,
}

impl Plan {
    pub(crate) fn new<T>(trainer: &Trainer<Qwen2Policy, T>, config: &RunConfig, prompt: usize) -> Self {
        let memory = trainer.memory_plan(config.task.problems_per_step, prompt);
        let shape = trainer.policy().model().config();
        let all = F32 * shape.parameters() as u64;
        let lora = config.policy.lora.as_ref();
        let trained = lora.map_or(all, |lora| F32 * shape.adapter_parameters(lora) as u64);
        let moved = if config.algorithm.reference_sync.is_some() { all } else { 0 };
        let execution = &config.execution;
        // One more than `keep`, while it is being written, and the best: weights, two moments, and a reference that has moved.
        let kept = match execution.eval_every {
            None => (execution.keep.get() as u64).min(execution.steps.div_ceil(execution.save_every)) + 1,
            Some(_) => execution.keep.get() as u64 + 2,
        };
        let checkpoints = kept.saturating_mul(3 * trained + moved);
        let result = all + if lora.is_some() { trained } else { 0 };
        let per_step = (config.task.problems_per_step * config.algorithm.group_size) as u64;
        let sampled = config.algorithm.max_completion_length as u64;
        let evaluated =
            execution.eval_every.map_or(0, |every| execution.steps / every * execution.eval_subset as u64);
        let completions = execution.steps.saturating_mul(per_step);
        let texts = completions.saturating_add(evaluated).saturating_mul(RECORD * (prompt as u64 + sampled));
        let tokens = if execution.record_tokens { completions.saturating_mul(TOKEN * sampled) } else { 0 };
        let record = texts.saturating_add(tokens);
        Self {
            memory,
            disk: vec![("checkpoints", checkpoints), ("trained model", result), ("record", record)],
        }
    }

    /// Total bytes on disk.
    pub fn disk_total(&self) -> u64 {
        self.disk.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Returns an error if the disk has too little space for what is saved of the model.
    pub(crate) fn check_disk(&self, folder: &Path) -> Result<(), Error> {
        let Some(free) = available_space(folder) else { return Ok(()) };
        let needed = self.disk_total();
        if free < needed {
            return Err(Error::DiskTooSmall {
                path: folder.to_owned(),
                free: free / MIB,
                needed: needed.div_ceil(MIB),
            });
        }
        Ok(())
    }
}

/// Free bytes on the file system of a folder (which need not exist yet); none if the system does not report them.
#[cfg(unix)]
fn available_space(folder: &Path) -> Option<u64> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|ancestor| ancestor.exists())?;
    let stat = rustix::fs::statvfs(there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn available_space(_: &Path) -> Option<u64> {
    None
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.disk_total();
        let (unit, name) = if total < 1 << 30 { (MIB, "MiB") } else { (1 << 30, "GiB") };
        let size = |bytes: u64| format!("{:.1}", bytes as f64 / unit as f64);
        let parts: Vec<String> =
            self.disk.iter().map(|(part, bytes)| format!("{part} {}", size(*bytes))).collect();
        write!(f, "Memory: about {}\nDisk: about {} {name}: {}", self.memory, size(total), parts.join(", "))
    }
}
