//! The device that a run uses.

use anyhow::bail;
use burn::tensor::Device;

/// A backend of this build.
struct Backend {
    name: &'static str,
    label: &'static str,
    device: fn() -> Device,
}

/// The backends of this build besides the CPU's, best first.
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
];

/// The device of a name, and what to call it. `auto` is the CPU: no test of this project has run on another device yet, and burn
/// has been seen to compute wrong gradients on one (github.com/tracel-ai/burn/issues/5351).
pub fn choose(name: &str) -> anyhow::Result<(Device, &'static str)> {
    if ["auto", "cpu"].contains(&name) {
        return Ok((Device::flex(), "CPU"));
    }
    match BUILT.iter().find(|backend| name == backend.name) {
        Some(backend) => Ok(((backend.device)(), backend.label)),
        None if name == "metal" => bail!("Metal is there on macOS only"),
        None if ["cuda", "vulkan", "webgpu"].contains(&name) => {
            bail!("this build has no {name}: add `--features {name}` before the `--` of the command")
        }
        None => bail!("unknown device `{name}`: choose auto, cpu, metal, vulkan, webgpu or cuda"),
    }
}

/// What to tell somebody for whom `name` has chosen the CPU while this build has another backend.
pub fn hint(name: &str) -> Option<String> {
    hint_among(BUILT, name)
}

fn hint_among(built: &[Backend], name: &str) -> Option<String> {
    let other = built.first().filter(|_| name == "auto")?;
    Some(format!("{} is there, too, but not tested yet: choose it with --device {}", other.label, other.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_the_cpu_and_says_what_else_there_is() {
        assert_eq!(choose("auto").unwrap().1, "CPU");
        let metal = [Backend { name: "metal", label: "Metal", device: Device::flex }];
        let hint = hint_among(&metal, "auto").unwrap();
        assert!(hint.contains("Metal is there") && hint.ends_with("--device metal"), "{hint}");
        for (built, name) in [(&metal[..], "cpu"), (&metal, "metal"), (&[], "auto")] {
            assert_eq!(hint_among(built, name), None, "{name}");
        }
    }
}
