//! Which device a run uses, after a proof that it computes correctly.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use burn::tensor::Device;

use super::{
    DeviceError, DeviceInfo, DeviceKind, Failure, SelfTest, Subject, Verdict, child, info, verdicts,
};

/// How a program proves devices: in a child process, with kept verdicts.
#[derive(Debug, Clone)]
pub struct Prover {
    /// The program, and its arguments, that passes one more argument to [`serve_child`](super::serve_child); if empty, the test
    /// runs in this process, which a driver can then crash.
    pub program: Vec<PathBuf>,
    /// The folder of verdicts; none to test each time.
    pub verdicts: Option<PathBuf>,
    /// The time limit of a test in a child process, in which shaders are also compiled.
    pub deadline: Duration,
    /// Called with what is tested next.
    pub show: fn(&str),
}

impl Default for Prover {
    fn default() -> Self {
        Self { program: Vec::new(), verdicts: None, deadline: Duration::from_secs(600), show: |_| {} }
    }
}

/// The time limit for opening a device.
const OPENING: Duration = Duration::from_secs(60);

static PROVER: OnceLock<Prover> = OnceLock::new();

/// Sets how all devices of this process are proven; the first call counts. A library does not know its program, so a program
/// calls this at its start.
pub fn set_prover(prover: Prover) {
    PROVER.get_or_init(|| prover);
}

/// A device that has passed its self-test.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The device.
    pub device: Device,
    /// What it is; none for the CPU, which needs no proof.
    pub info: Option<DeviceInfo>,
}

/// The device of a kind, after a self-test with the shapes of `subject`. It is an error if the work needs more bytes, `memory`, than the
/// device reports. [`DeviceKind::Auto`] is the first GPU of the build that passes, and otherwise the CPU.
pub fn prove(kind: DeviceKind, subject: &Subject, memory: Option<u64>) -> Result<Proof, DeviceError> {
    let cpu = |kind: DeviceKind| Ok(Proof { device: kind.device()?, info: None });
    match kind {
        DeviceKind::Cpu => cpu(kind),
        DeviceKind::Auto => {
            for kind in DeviceKind::built() {
                match open(&prover(), kind) {
                    Ok((_, info)) if info.is_software => {
                        tracing::debug!("{}: a software renderer", info.name);
                    }
                    Ok((device, info)) => match check(&device, &info, subject, memory) {
                        Ok(()) => return Ok(Proof { device, info: Some(info) }),
                        Err(error) => tracing::warn!("{error}\nThe CPU is used instead"),
                    },
                    Err(error @ DeviceError::NotOpened { .. }) => tracing::warn!("{error}"),
                    Err(error) => tracing::debug!("{error}"),
                }
            }
            cpu(kind)
        }
        kind => {
            let (device, info) = open(&prover(), kind)?;
            check(&device, &info, subject, memory)?;
            Ok(Proof { device, info: Some(info) })
        }
    }
}

/// An error unless the device passes.
fn check(
    device: &Device,
    info: &DeviceInfo,
    subject: &Subject,
    memory: Option<u64>,
) -> Result<(), DeviceError> {
    info.check_tensors(&subject.model)?;
    info.check_memory(memory.unwrap_or_default())?;
    let prover = prover();
    let kept = file(&prover, info, subject).as_deref().and_then(verdicts::read);
    let verdict = kept.map_or_else(|| test(&prover, device, info, subject), Ok)?;
    if verdict.passed() {
        return Ok(());
    }
    let failures = verdict.failures.into_iter().map(|failure| format!("\n  {failure}")).collect();
    Err(DeviceError::Wrong {
        kind: info.kind,
        name: info.name.clone(),
        driver: info.driver.clone(),
        failures,
    })
}

/// Tests a device other than the CPU, even if a verdict is kept, which is replaced.
pub fn self_test(kind: DeviceKind, subject: &Subject) -> Result<Verdict, DeviceError> {
    let prover = prover();
    let (device, info) = open(&prover, kind)?;
    test(&prover, &device, &info, subject)
}

/// Opens a device, first in a child process, since drivers crash and hang.
fn open(prover: &Prover, kind: DeviceKind) -> Result<(Device, DeviceInfo), DeviceError> {
    if !prover.program.is_empty() {
        let request = child::Request { device: kind, subject: None };
        let verdict = child::run(&prover.program, &request, OPENING.min(prover.deadline), &|_| {});
        match verdict.failures.first() {
            // A device that isn't there: the error is found again, with its type.
            None | Some(Failure::NoVerdict { .. }) => {}
            Some(failure) => {
                return Err(DeviceError::NotOpened { kind, reason: failure.to_string() });
            }
        }
    }
    info::open(kind)
}

fn prover() -> Prover {
    PROVER.get().cloned().unwrap_or_default()
}

/// The file of a verdict; none if verdicts are not kept.
fn file(prover: &Prover, info: &DeviceInfo, subject: &Subject) -> Option<PathBuf> {
    prover.verdicts.as_ref().map(|folder| verdicts::file(folder, info, subject))
}

fn test(
    prover: &Prover,
    device: &Device,
    info: &DeviceInfo,
    subject: &Subject,
) -> Result<Verdict, DeviceError> {
    let verdict = if prover.program.is_empty() {
        SelfTest::new(subject.clone()).run(device, &DeviceKind::Cpu.device()?, prover.show)
    } else {
        let request = child::Request { device: info.kind, subject: Some(subject.clone()) };
        child::run(&prover.program, &request, prover.deadline, &prover.show)
    };
    if let Some(file) = file(prover, info, subject) {
        verdicts::keep(&file, &verdict);
    }
    Ok(verdict)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_crashes_when_it_is_opened_crashes_a_child() {
        let opened = |script: &str| {
            let program = ["/bin/sh", "-c", script].map(PathBuf::from).to_vec();
            let prover = Prover { program, deadline: Duration::from_secs(2), ..Prover::default() };
            open(&prover, DeviceKind::Vulkan).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let said = opened("kill -SEGV $$");
        assert!(said.contains("opening the device: the process crashed (signal: 11"), "{said}");
        let said = opened("sleep 60");
        assert!(said.contains("opening the device: no result within 2 s"), "{said}");
    }
}
