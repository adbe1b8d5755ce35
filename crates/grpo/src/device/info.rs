//! What a device is: its name, driver and limits.

use burn::tensor::{DType, Device};
use grpo_kernels::DeviceMemory;
use grpo_qwen2::Config;
use serde::{Deserialize, Serialize};

use super::{DeviceError, DeviceKind};

/// A device as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceInfo {
    /// How the device is used.
    pub kind: DeviceKind,
    /// The name of the device.
    pub name: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether it is a software renderer: no faster than the CPU itself.
    pub is_software: bool,
    /// The largest tensor, in bytes; none if unknown.
    pub largest_tensor: Option<u64>,
    /// Its memory in bytes; none if it does not report it.
    pub memory: Option<u64>,
    /// The dtypes that it computes with, besides F32.
    pub dtypes: Vec<String>,
}

impl DeviceInfo {
    #[cfg_attr(not(feature = "gpu"), allow(dead_code))] // only GPUs have one
    fn describe(kind: DeviceKind, device: &Device, name: String, driver: String, is_software: bool) -> Self {
        let memory = DeviceMemory::of(device);
        let others = [DType::F16, DType::BF16, DType::F64];
        let supported = others.into_iter().filter(|dtype| device.supports_dtype(*dtype));
        Self {
            kind,
            name,
            driver,
            is_software,
            largest_tensor: memory.largest_tensor,
            memory: memory.total,
            dtypes: supported.map(|dtype| dtype.name().to_uppercase()).collect(),
        }
    }
}

/// Bytes of an F32.
const F32: u64 = 4;
const MIB: u64 = 1 << 20;

impl DeviceInfo {
    /// An error if a model of this shape has a matrix that the device cannot hold. The embedding and the head are split.
    pub(crate) fn check_tensors(&self, model: &Config) -> Result<(), DeviceError> {
        let matrix = F32 * model.largest_matrix() as u64;
        match self.largest_tensor {
            Some(largest) if matrix > largest => Err(DeviceError::TensorTooLarge {
                name: self.name.clone(),
                largest: largest / MIB,
                needed: matrix.div_ceil(MIB),
            }),
            _ => Ok(()),
        }
    }

    /// An error if the device has less memory than this.
    pub(crate) fn check_memory(&self, needed: u64) -> Result<(), DeviceError> {
        match self.memory {
            Some(memory) if needed > memory => Err(DeviceError::MemoryTooSmall {
                name: self.name.clone(),
                memory: memory / MIB,
                needed: needed.div_ceil(MIB),
            }),
            _ => Ok(()),
        }
    }
}

/// Opens the device of a kind other than the CPU. It is opened once per process.
pub(super) fn open(kind: DeviceKind) -> Result<(Device, DeviceInfo), DeviceError> {
    #[cfg(feature = "gpu")]
    {
        use std::collections::HashMap;
        use std::sync::Mutex;
        type Opened = HashMap<DeviceKind, Result<(Device, DeviceInfo), DeviceError>>;
        static OPENED: Mutex<Option<Opened>> = Mutex::new(None);
        let mut opened = OPENED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Some drivers panic where there is no device.
        let open = || {
            std::panic::catch_unwind(|| open_anew(kind)).unwrap_or_else(|_| {
                Err(DeviceError::NotOpened { kind, reason: "its driver failed".to_string() })
            })
        };
        opened.get_or_insert_default().entry(kind).or_insert_with(open).clone()
    }
    #[cfg(not(feature = "gpu"))]
    Err(DeviceError::NotBuilt { kind })
}

#[cfg(feature = "gpu")]
fn open_anew(kind: DeviceKind) -> Result<(Device, DeviceInfo), DeviceError> {
    match kind {
        #[cfg(feature = "metal")]
        DeviceKind::Metal => wgpu::open(kind, burn::tensor::wgpu::WgpuBackend::Metal),
        #[cfg(feature = "vulkan")]
        DeviceKind::Vulkan => wgpu::open(kind, burn::tensor::wgpu::WgpuBackend::Vulkan),
        #[cfg(feature = "webgpu")]
        DeviceKind::WebGpu => wgpu::open(kind, burn::tensor::wgpu::WgpuBackend::Auto),
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda => cuda(kind),
        #[allow(unreachable_patterns)] // when all are built
        kind => Err(DeviceError::NotBuilt { kind }),
    }
}

#[cfg(any(feature = "metal", feature = "vulkan", feature = "webgpu"))]
mod wgpu {
    use burn::tensor::wgpu::{WgpuBackend, WgpuInitError, wgpu};

    use super::{Device, DeviceError, DeviceInfo, DeviceKind};

    pub(super) fn open(kind: DeviceKind, api: WgpuBackend) -> Result<(Device, DeviceInfo), DeviceError> {
        let options = Device::wgpu_options().graphics_api(api);
        let (device, setup) = options.init_with_setup().map_err(|error| match error {
            WgpuInitError::AdapterUnavailable { message, .. } => {
                DeviceError::NoAdapter { kind, reason: message }
            }
            WgpuInitError::UnsupportedGraphicsApi { .. } => DeviceError::NoAdapter {
                kind,
                reason: "this system does not have the graphics API".to_string(),
            },
            other => DeviceError::NotOpened { kind, reason: other.to_string() },
        })?;
        let adapter = setup.adapter.get_info();
        let driver = format!("{:?}, {} {}", adapter.backend, adapter.driver, adapter.driver_info);
        let is_software = adapter.device_type == wgpu::DeviceType::Cpu;
        let info = DeviceInfo::describe(kind, &device, adapter.name, driver, is_software);
        Ok((device, info))
    }
}

#[cfg(feature = "cuda")]
fn cuda(kind: DeviceKind) -> Result<(Device, DeviceInfo), DeviceError> {
    if Device::enumerate(burn::tensor::DeviceType::Cuda).into_iter().next().is_none() {
        let reason = "no NVIDIA GPU with a driver was found".to_string();
        return Err(DeviceError::NoAdapter { kind, reason });
    }
    let device = Device::cuda(0);
    let (name, driver) = match device.identity() {
        Some(identity) => (identity.name, format!("{} {}", identity.fingerprint, nvidia_driver())),
        None => ("CUDA device 0".to_string(), "unknown".to_string()),
    };
    let info = DeviceInfo::describe(kind, &device, name, driver, false);
    Ok((device, info))
}

/// The version of NVIDIA's driver, where Linux tells it.
#[cfg(feature = "cuda")]
fn nvidia_driver() -> String {
    let version = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    version.lines().next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_sizes() {
        let info = DeviceInfo {
            kind: DeviceKind::WebGpu,
            name: "a GPU".to_string(),
            driver: "none".to_string(),
            is_software: false,
            largest_tensor: Some(128 << 20),
            memory: Some(4 << 30),
            dtypes: Vec::new(),
        };
        assert_eq!(info.check_memory(4 << 30), Ok(()));
        let error = info.check_memory((4 << 30) + 1).unwrap_err().to_string();
        assert!(
            error.starts_with("a GPU has 4096 MiB of memory, but the run needs about 4097 MiB"),
            "{error}"
        );
        let model = |intermediate_size| Config { intermediate_size, ..Config::qwen2_5_0_5b() };
        assert_eq!(info.check_tensors(&model(4864)), Ok(()));
        let error = info.check_tensors(&model(40_000)).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "a GPU holds at most 128 MiB in one tensor, but the largest matrix of the model has 137 MiB"
            ),
            "{error}"
        );
        let unknown = DeviceInfo { largest_tensor: None, memory: None, ..info };
        assert_eq!((unknown.check_memory(u64::MAX), unknown.check_tensors(&model(40_000))), (Ok(()), Ok(())));
    }
}
