//! The device that a run uses.

use anyhow::bail;
use burn::tensor::Device;

/// The device of a name, and what to call it: `auto` is the best that this build has.
pub fn choose(name: &str) -> anyhow::Result<(Device, &'static str)> {
    match name {
        #[cfg(feature = "cuda")]
        "auto" | "cuda" => Ok((Device::cuda(0), "CUDA")),
        #[cfg(all(target_os = "macos", not(feature = "cuda")))]
        "auto" | "metal" => Ok((Device::metal(burn::tensor::DeviceKind::DefaultDevice), "Metal")),
        #[cfg(all(feature = "vulkan", not(any(target_os = "macos", feature = "cuda"))))]
        "auto" | "vulkan" => Ok((Device::vulkan(burn::tensor::DeviceKind::DefaultDevice), "Vulkan")),
        #[cfg(all(feature = "webgpu", not(any(target_os = "macos", feature = "cuda", feature = "vulkan"))))]
        "auto" | "webgpu" => Ok((Device::wgpu(burn::tensor::DeviceKind::DefaultDevice), "WebGPU")),
        #[cfg(not(any(target_os = "macos", feature = "cuda", feature = "vulkan", feature = "webgpu")))]
        "auto" => Ok((Device::flex(), "CPU")),
        "cpu" => Ok((Device::flex(), "CPU")),
        "cuda" | "vulkan" | "webgpu" => bail!("this build has no {name}: build with `--features {name}`"),
        "metal" => bail!("Metal is there on macOS only"),
        other => bail!("unknown device `{other}`: choose auto, cpu, metal, vulkan, webgpu or cuda"),
    }
}
