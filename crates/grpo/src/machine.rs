//! The processes that work on a run, and their machines.

use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};

use crate::config::ExecutionConfig;
use crate::device::DeviceInfo;

/// A process that has worked on a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// When it started.
    pub began: DateTime<Local>,
    /// Steps taken before it started.
    pub after_step: u64,
    /// The number of processes that took its steps together.
    pub processes: usize,
    /// What it computed with.
    #[serde(flatten)]
    pub machine: Machine,
    /// How it executed the run.
    pub execution: ExecutionConfig,
}

/// What a process computes with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The version of this crate.
    pub version: String,
    /// The commit it was built from; none if unknown.
    pub commit: Option<String>,
    /// Operating system and processor family.
    pub platform: String,
    /// CPU compute threads.
    pub threads: usize,
    /// CPU instruction sets that affect the numbers.
    pub cpu_features: Vec<String>,
    /// The device that it used; none for the CPU.
    #[serde(default)]
    pub device: Option<DeviceInfo>,
}

impl Machine {
    /// That of this process.
    pub(crate) fn this(device: Option<DeviceInfo>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_string(),
            commit: option_env!("GRPO_COMMIT").map(str::to_string),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            threads: rayon::current_num_threads(),
            cpu_features: cpu_features(),
            device,
        }
    }

    /// What numbers depend on that another machine has differently, in words.
    pub(crate) fn differences(&self, other: &Self) -> Option<String> {
        let differs = [
            ("another version", self.version != other.version || self.commit != other.commit),
            ("another platform", self.platform != other.platform),
            ("another processor", self.cpu_features != other.cpu_features),
            ("another device", self.device != other.device),
        ];
        let differences: Vec<&str> =
            differs.iter().filter(|(_, is_so)| *is_so).map(|(what, _)| *what).collect();
        (!differences.is_empty()).then(|| differences.join(", "))
    }
}

impl Process {
    /// This process.
    pub(crate) fn this(after_step: u64, execution: &ExecutionConfig, device: Option<DeviceInfo>) -> Self {
        Self {
            began: Local::now(),
            after_step,
            processes: 1,
            machine: Machine::this(device),
            execution: execution.clone(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<String> {
    macro_rules! detected {
        ($($name:tt)*) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),*]
        };
    }
    let features = detected!["avx" "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vl" "avx512bf16"];
    features.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_string()).collect()
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<String> {
    macro_rules! detected {
        ($($name:tt)*) => {
            [$(($name, std::arch::is_aarch64_feature_detected!($name))),*]
        };
    }
    let features = detected!["neon" "fp16" "dotprod" "bf16" "i8mm" "sve"];
    features.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_string()).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<String> {
    Vec::new()
}
