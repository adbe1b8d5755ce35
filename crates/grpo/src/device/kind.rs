//! Kinds of compute devices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use burn::tensor::Device;

use super::{DeviceInfo, info};

/// The kind of compute device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The first GPU of the build that passes the [self-test](super::prove), or else the CPU.
    #[default]
    Auto,
    /// The CPU (feature `flex`).
    Cpu,
    /// Apple GPUs (feature `metal`).
    Metal,
    /// GPUs through Vulkan (feature `vulkan`).
    Vulkan,
    /// GPUs through WebGPU (feature `webgpu`).
    WebGpu,
    /// NVIDIA GPUs (feature `cuda`).
    Cuda,
}

/// A device that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// This build lacks the backend.
    #[error("this build cannot use the device `{kind}`: build it with the feature `{}`", kind.feature())]
    NotBuilt {
        /// The device.
        kind: DeviceKind,
    },
    /// The machine has no such device, or no driver for it.
    #[error("there is no {} device: {reason}; install its driver, or use the device `cpu`", kind.label())]
    NoAdapter {
        /// The device.
        kind: DeviceKind,
        /// The driver's message.
        reason: String,
    },
    /// The driver refuses.
    #[error("the {} device cannot be opened: {reason}; update its driver, or use the device `cpu`", kind.label())]
    NotOpened {
        /// The device.
        kind: DeviceKind,
        /// The driver's message.
        reason: String,
    },
    /// The device did not pass the self-test.
    #[error(
        "the {} device {name} ({driver}) did not pass its self-test:{failures}\nUpdate its driver, or use the device `cpu`; \
         docs/devices.md says what is known of devices", kind.label()
    )]
    Wrong {
        /// The device.
        kind: DeviceKind,
        /// Its name.
        name: String,
        /// Its driver.
        driver: String,
        /// What went wrong, a line each.
        failures: String,
    },
    /// The device was lost, or ran out of memory, while it was used.
    #[error(
        "work on the {} device {name} failed: {reason}; if it was lost or had too little memory, resume the run from its last \
         checkpoint, with less work at once (batch_rows, micro_batch_tokens) or on the device `cpu`", kind.label()
    )]
    Failed {
        /// The device.
        kind: DeviceKind,
        /// Its name.
        name: String,
        /// What burn says.
        reason: String,
    },
    /// A tensor does not fit.
    #[error(
        "{name} holds at most {largest} MiB in one tensor, but the largest matrix of the model has {needed} MiB: use the device `cpu`, or a \
         smaller model"
    )]
    TensorTooLarge {
        /// The device's name.
        name: String,
        /// MiB.
        largest: u64,
        /// MiB.
        needed: u64,
    },
    /// The model does not fit.
    #[error(
        "{name} has {memory} MiB of memory, but the run needs about {needed} MiB: use the device `cpu`, train adapters (lora), fewer completions at once \
         (batch_rows, micro_batch_tokens), or a smaller model"
    )]
    MemoryTooSmall {
        /// The device's name.
        name: String,
        /// MiB.
        memory: u64,
        /// MiB.
        needed: u64,
    },
    /// Unknown device.
    #[error("there is no device `{name}`: choose one of {}", DeviceKind::ALL.map(DeviceKind::name).join(", "))]
    Unknown {
        /// The requested name.
        name: String,
    },
}

impl DeviceKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Auto, Self::Cpu, Self::Metal, Self::Vulkan, Self::WebGpu, Self::Cuda];

    /// Its name in files and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::WebGpu => "webgpu",
            Self::Cuda => "cuda",
        }
    }

    /// The crate feature that it needs.
    fn feature(self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => "flex",
            _ => self.name(),
        }
    }

    /// The display name of the device it stands for.
    pub fn label(self) -> &'static str {
        match self {
            Self::Auto | Self::Cpu => "CPU",
            Self::Metal => "Metal",
            Self::Vulkan => "Vulkan",
            Self::WebGpu => "WebGPU",
            Self::Cuda => "CUDA",
        }
    }

    /// The devices in this build besides the CPU, best first.
    pub fn built() -> Vec<Self> {
        [Self::Cuda, Self::Metal, Self::Vulkan, Self::WebGpu]
            .into_iter()
            .filter(|kind| kind.is_built())
            .collect()
    }

    /// The first device of the kind as it describes itself; none for the CPU.
    pub fn info(self) -> Result<Option<DeviceInfo>, DeviceError> {
        match self {
            Self::Auto | Self::Cpu => Ok(None),
            kind => Ok(Some(info::open(kind)?.1)),
        }
    }

    /// An error if this build lacks the backend.
    pub(crate) fn require(self) -> Result<(), DeviceError> {
        if self.is_built() { Ok(()) } else { Err(DeviceError::NotBuilt { kind: self }) }
    }

    fn is_built(self) -> bool {
        match self {
            Self::Auto | Self::Cpu => cfg!(feature = "flex"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::WebGpu => cfg!(feature = "webgpu"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// The first device of the kind, without a proof that it computes correctly; for [`Auto`](Self::Auto) the CPU.
    pub fn device(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Auto | Self::Cpu => Ok(Device::flex()),
            #[cfg(not(feature = "flex"))]
            Self::Auto | Self::Cpu => Err(DeviceError::NotBuilt { kind: self }),
            kind => Ok(info::open(kind)?.0),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| DeviceError::Unknown { name: name.to_string() })
    }
}
