//! The compute device that the tests of this workspace run on: the CPU, or the device named in `GRPO_TEST_DEVICE`, by its name in
//! `grpo::DeviceKind`. The crate's feature of the same name must be on.

use std::sync::OnceLock;

use burn::tensor::{DType, Device};

/// The environment variable that names the device.
pub const VARIABLE: &str = "GRPO_TEST_DEVICE";

/// The device that the tests run on.
///
/// # Panics
///
/// If the named device is unknown or not in this build: a test on a device never runs on another instead.
pub fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| of_name(&name())).clone()
}

/// Whether it is the CPU.
pub fn is_cpu() -> bool {
    name() == "cpu"
}

/// The half precision that it holds matrices in: BF16, or F16 if it has no BF16; none if it has neither.
pub fn half() -> Option<DType> {
    [DType::BF16, DType::F16].into_iter().find(|dtype| device().supports_dtype(*dtype))
}

fn name() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| "cpu".to_string())
}

fn of_name(name: &str) -> Device {
    match name {
        "cpu" => Device::flex(),
        #[cfg(feature = "metal")]
        "metal" => Device::metal(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "webgpu")]
        "webgpu" => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        "cuda" => Device::cuda(0),
        name => panic!("{VARIABLE} names the device `{name}`, which is unknown or not in this build"),
    }
}
