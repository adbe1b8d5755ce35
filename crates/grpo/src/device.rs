//! The compute device.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use burn::tensor::Device;

/// The kind of compute device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The CPU, until this project has been tested on another device: burn has been seen to compute wrong gradients on one
    /// (github.com/tracel-ai/burn/issues/5351).
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

    fn is_built(self) -> bool {
        match self {
            Self::Auto | Self::Cpu => cfg!(feature = "flex"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::WebGpu => cfg!(feature = "webgpu"),
            Self::Cuda => cfg!(feature = "cuda"),
        }
    }

    /// The first device of the kind.
    pub fn device(self) -> Result<Device, DeviceError> {
        match self {
            #[cfg(feature = "flex")]
            Self::Auto | Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(Device::metal(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "webgpu")]
            Self::WebGpu => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[cfg(feature = "cuda")]
            Self::Cuda => Ok(Device::cuda(0)),
            #[allow(unreachable_patterns)] // when all are built
            kind => Err(DeviceError::NotBuilt { kind }),
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
