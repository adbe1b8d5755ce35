//! The device that a run uses.

use anyhow::bail;
use burn::tensor::Device;

/// A backend of this build.
struct Backend {
    name: &'static str,
    label: &'static str,
    device: fn() -> Device,
}

/// The backends of this build, best first.
const BUILT: &[Backend] = &[
    #[cfg(feature = "cuda")]
    Backend { name: "cuda", label: "CUDA", device: || Device::cuda(0) },
    #[cfg(target_os = "macos")]
    Backend {
        name: "metal",
        label: "Metal",
        device: || Device::metal(burn::tensor::DeviceKind::DefaultDevice),
    },
    #[cfg(feature = "vulkan")]
    Backend {
        name: "vulkan",
        label: "Vulkan",
        device: || Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
    },
    #[cfg(feature = "webgpu")]
    Backend {
        name: "webgpu",
        label: "WebGPU",
        device: || Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
    },
    Backend { name: "cpu", label: "CPU", device: Device::flex },
];

/// The device of a name, and what to call it: `auto` is the best that this build has.
pub fn choose(name: &str) -> anyhow::Result<(Device, &'static str)> {
    let chosen = BUILT.iter().find(|backend| name == "auto" || name == backend.name);
    match chosen {
        Some(backend) => Ok(((backend.device)(), backend.label)),
        None if name == "metal" => bail!("Metal is there on macOS only"),
        None if ["cuda", "vulkan", "webgpu"].contains(&name) => {
            bail!("this build has no {name}: add `--features {name}` before the `--` of the command")
        }
        None => bail!("unknown device `{name}`: choose auto, cpu, metal, vulkan, webgpu or cuda"),
    }
}
