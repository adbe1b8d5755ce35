//! The device that a run uses.

use anyhow::bail;
use burn::tensor::Device;

/// The device of a name, and what to call it: `auto` is the best that this build has.
pub fn choose(name: &str) -> anyhow::Result<(Device, &'static str)> {
    let mut built: Vec<(&str, &'static str, fn() -> Device)> = Vec::new();
    #[cfg(feature = "cuda")]
    built.push(("cuda", "CUDA", || Device::cuda(0)));
    #[cfg(target_os = "macos")]
    built.push(("metal", "Metal", || Device::metal(burn::tensor::DeviceKind::DefaultDevice)));
    #[cfg(feature = "vulkan")]
    built.push(("vulkan", "Vulkan", || Device::vulkan(burn::tensor::DeviceKind::DefaultDevice)));
    #[cfg(feature = "webgpu")]
    built.push(("webgpu", "WebGPU", || Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)));
    built.push(("cpu", "CPU", Device::flex));

    let chosen = built.iter().find(|(built, ..)| name == "auto" || name == *built);
    match chosen {
        Some((_, label, device)) => Ok((device(), label)),
        None if name == "metal" => bail!("Metal is there on macOS only"),
        None if ["cuda", "vulkan", "webgpu"].contains(&name) => {
            bail!("this build has no {name}: add `--features {name}` before the `--` of the command")
        }
        None => bail!("unknown device `{name}`: choose auto, cpu, metal, vulkan, webgpu or cuda"),
    }
}
