//! `grpo doctor`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use grpo::device::{DeviceInfo, Speed, Subject, self_test};
use grpo::grpo_qwen2::Config;
use grpo::{DeviceKind, LoraConfig};

use crate::say;

/// Options of `grpo doctor`.
#[derive(Args, Debug, Clone, Default)]
pub struct DoctorArgs {
    /// Test only this device: metal, vulkan, webgpu or cuda [default: all in this build].
    #[arg(long)]
    device: Option<DeviceKind>,
    /// Test with the shapes of the model in this folder [default: those of Qwen2.5-0.5B].
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
}

/// Shows the devices, tests them, and measures them. Fails if a device that was named does not pass.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let lora = Some(LoraConfig::default());
    let subject = match &args.model {
        Some(folder) => Subject::read(folder, lora)?,
        None => Subject { model: Config::qwen2_5_0_5b(), lora, samples_in_f16: false },
    };
    let named = args.device.filter(|kind| *kind != DeviceKind::Auto);
    let kinds = named.map_or_else(DeviceKind::built, |kind| vec![kind]);
    say!("grpo {}, {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    say!("CPU: {cores} threads, {}", Speed::measure(&DeviceKind::Cpu.device()?));
    if kinds.is_empty() {
        say!("No other device is in this build: build it with the feature metal, vulkan, webgpu or cuda.");
    }
    let mut all_passed = true;
    for kind in kinds {
        let passed = examine(kind, &subject);
        all_passed &= passed.unwrap_or_else(|error| {
            say!("\n{}: {error}", kind.label());
            false
        });
    }
    let failed = named.is_some() && !all_passed;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether the device passes.
fn examine(kind: DeviceKind, subject: &Subject) -> anyhow::Result<bool> {
    let Some(info) = kind.info()? else { return Ok(true) };
    say!("\n{}", described(&info));
    let verdict = self_test(kind, subject)?;
    for (operation, error) in &verdict.errors {
        say!("  ok     {operation} (relative error {error:.0e})");
    }
    for failure in &verdict.failures {
        say!("  FAILED {failure}");
    }
    say!("  {} ({:.1} s)", if verdict.passed() { "Passed" } else { "Failed" }, verdict.seconds);
    // A device that computes wrongly may also hang.
    if verdict.passed() {
        say!("  {}", Speed::measure(&kind.device()?));
    }
    Ok(verdict.passed())
}

fn described(info: &DeviceInfo) -> String {
    let gib = |bytes: u64| format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30));
    let size =
        |name: &str, bytes: Option<u64>| format!("{name} {}", bytes.map_or("unknown".to_string(), gib));
    let dtypes = if info.dtypes.is_empty() { "no other" } else { &info.dtypes.join(", ") };
    format!(
        "{}: {}{}\n  driver: {}\n  {}, {}, dtypes besides F32: {dtypes}",
        info.kind.label(),
        info.name,
        if info.is_software { " (a software renderer)" } else { "" },
        info.driver,
        size("memory", info.memory),
        size("largest tensor", info.largest_tensor),
    )
}
