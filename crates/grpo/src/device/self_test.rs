//! Compares a device with the CPU.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use burn::tensor::{DType, Device, Tensor, TensorData};
use grpo_kernels::{supports_matrices_in, to_host};
use grpo_qwen2::{Config, LoraConfig, ModelError};
use serde::{Deserialize, Serialize};

use super::cases::{Case, Part, cases};
use super::guard::message;

/// What a self-test imitates: the shapes of a model in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The model's shape.
    pub model: Config,
    /// The adapters that are trained; none if the weights are.
    pub lora: Option<LoraConfig>,
    /// Whether completions are sampled in F16, also if the device has BF16.
    pub samples_in_f16: bool,
}

impl Subject {
    /// The shapes of the model in a folder, with these adapters.
    pub fn read(folder: &Path, lora: Option<LoraConfig>) -> Result<Self, ModelError> {
        // Neither changes what is tested.
        let lora = lora.map(|lora| LoraConfig { seed: 0, alpha: 2.0 * lora.rank as f64, ..lora });
        Ok(Self { model: Config::read(&folder.join("config.json"))?, lora, samples_in_f16: false })
    }
}

/// The result of a self-test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// What went wrong first, in each operation; empty if the device passed.
    pub failures: Vec<Failure>,
    /// For each operation, the largest error relative to the largest number.
    pub errors: Vec<(String, f32)>,
    /// Seconds, shader compilation included.
    pub seconds: f64,
}

/// An operation that a device computes wrongly, or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Failure {
    /// A number is wrong.
    Wrong {
        /// The operation, with its shape.
        operation: String,
        /// The index of the most wrong number.
        index: usize,
        /// What the CPU computes; none if it is not a number, either.
        expected: Option<f32>,
        /// What the device computes; none if it is not a number, which JSON cannot express.
        found: Option<f32>,
        /// The error relative to the largest number.
        error: Option<f32>,
        /// The error that rounding explains.
        tolerance: f32,
    },
    /// The program panicked.
    Panicked {
        /// The operation, with its shape.
        operation: String,
        /// The message.
        message: String,
    },
    /// The process ended without a verdict, as if the driver had crashed.
    Crashed {
        /// The operation, with its shape.
        operation: String,
        /// The exit status.
        status: String,
        /// The end of what it wrote to standard error.
        message: String,
    },
    /// The time limit passed.
    Hung {
        /// The operation, with its shape.
        operation: String,
        /// The limit in seconds.
        seconds: u64,
    },
    /// The process could not be started, or wrote something else.
    NoVerdict {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// Whether the device computes everything correctly.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn failed(failure: Failure, seconds: f64) -> Self {
        Self { failures: vec![failure], errors: Vec::new(), seconds }
    }
}

/// A self-test in this process. Drivers crash: [`prove`](super::prove) runs it in a child process if it can.
pub struct SelfTest {
    subject: Subject,
    fault: Fault,
}

impl SelfTest {
    /// A test with these shapes.
    pub fn new(subject: Subject) -> Self {
        Self { subject, fault: Fault::None }
    }

    /// The same with a fault, which the test must find.
    #[cfg(test)]
    pub(super) fn with(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    /// The half precision that a run may use: that of frozen matrices, and F16 if completions are sampled in it.
    fn half(&self, device: &Device) -> Vec<DType> {
        let mut half: Vec<DType> = [DType::BF16, DType::F16].into();
        half.retain(|dtype| supports_matrices_in(device, *dtype));
        if !self.subject.samples_in_f16 {
            half.truncate(1);
        }
        half
    }

    /// Runs it; `show` gets the name of each operation before it is tested.
    pub fn run(&self, device: &Device, cpu: &Device, mut show: impl FnMut(&str)) -> Verdict {
        let start = Instant::now();
        let (mut failures, mut errors) = (Vec::new(), Vec::new());
        for case in cases(&self.subject, &self.half(device)) {
            show(&case.operation);
            let compute = |lab: Lab<'_>| (case.compute)(&lab);
            let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                compute(Lab { device, fault: self.fault })
            }));
            match found {
                Ok(found) => {
                    let expected = compute(Lab { device: cpu, fault: Fault::None });
                    let compared =
                        found.iter().zip(&expected).map(|(found, expected)| compare(&case, found, expected));
                    match compared.collect::<Result<Vec<f32>, Failure>>() {
                        Ok(all) => errors.push((case.operation, all.into_iter().fold(0.0, f32::max))),
                        Err(failure) => failures.push(failure),
                    }
                }
                Err(panic) => {
                    let message = message(&*panic);
                    failures.push(Failure::Panicked { operation: case.operation, message });
                    // The device cannot be trusted with the rest.
                    break;
                }
            }
        }
        Verdict { failures, errors, seconds: start.elapsed().as_secs_f64() }
    }
}

/// The largest error relative to the largest expected number; an error if rounding does not explain it.
fn compare(case: &Case, found: &Part, expected: &Part) -> Result<f32, Failure> {
    let (what, found, expected) = (&expected.what, &found.numbers, &expected.numbers);
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    let errors: Vec<f32> = found.iter().zip(expected).map(|(f, e)| (f - e).abs() / largest).collect();
    // NaN is above every number.
    let worst = (0..errors.len()).max_by(|a, b| errors[*a].abs().total_cmp(&errors[*b].abs()));
    let Some(worst) = worst else { return Ok(0.0) };
    if errors[worst] <= case.tolerance && found.len() == expected.len() {
        return Ok(errors[worst]);
    }
    let finite = |x: f32| Some(x).filter(|x| x.is_finite());
    Err(Failure::Wrong {
        operation: format!("{}{what}", case.operation),
        index: worst,
        expected: finite(expected[worst]),
        found: finite(found[worst]),
        error: finite(errors[worst]),
        tolerance: case.tolerance,
    })
}

/// A wrong computation that a test plants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "only tests plant them"))]
pub(super) enum Fault {
    None,
    /// One number of a product.
    WrongProduct,
    /// Products whose factors have 10 bits.
    Tf32,
    /// A factor in BF16 that is read as if it were F32.
    MixedDtypes,
    /// A gradient that is not a number.
    NanGradient,
    Panic,
}

/// Where a case is computed.
pub(super) struct Lab<'a> {
    pub(super) device: &'a Device,
    fault: Fault,
}

impl Lab<'_> {
    /// Numbers between -1 and 1, the same on every device.
    pub(super) fn tensor<const D: usize>(&self, seed: u64, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(numbers(seed, shape.iter().product()), shape), self.device)
    }

    pub(super) fn product(&self, x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
        match self.fault {
            Fault::WrongProduct => {
                let y = grpo_kernels::product(x, w);
                let [rows, columns] = y.dims();
                let last = y.clone().slice([rows - 1..rows, columns - 1..columns]);
                y.slice_assign([rows - 1..rows, columns - 1..columns], last + 0.01)
            }
            Fault::Tf32 => grpo_kernels::product(self.tf32(x), self.tf32(w)),
            Fault::MixedDtypes => {
                let shape = w.dims();
                let bits: Vec<u32> = to_host(w).into_iter().map(|x| x.to_bits() >> 16).collect();
                let pair = |i: usize| bits[i % bits.len()] | bits[(i + 1) % bits.len()] << 16;
                let misread: Vec<f32> = (0..bits.len()).map(|i| f32::from_bits(pair(2 * i))).collect();
                grpo_kernels::product(x, Tensor::from_data(TensorData::new(misread, shape), self.device))
            }
            Fault::Panic => panic!("the kernel could not be compiled"),
            Fault::None | Fault::NanGradient => grpo_kernels::product(x, w),
        }
    }

    /// A gradient as the device gives it.
    pub(super) fn gradient<const D: usize>(&self, gradient: Tensor<D>) -> Vec<f32> {
        let mut numbers = to_host(gradient);
        if self.fault == Fault::NanGradient {
            numbers[0] = f32::NAN;
        }
        numbers
    }

    fn tf32(&self, x: Tensor<2>) -> Tensor<2> {
        let shape = x.dims();
        let rounded =
            to_host(x).into_iter().map(|x| f32::from_bits((x.to_bits() + 0x1000) & !0x1FFF)).collect();
        Tensor::from_data(TensorData::new(rounded, shape), self.device)
    }
}

/// Numbers between -1 and 1 (PCG's generator without its permutation).
pub(super) fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { operation, index, expected, found, error, tolerance } => {
                let or = |x: &Option<f32>| x.map_or("not a number".to_string(), |x| format!("{x:e}"));
                write!(
                    f,
                    "{operation}: number {index} is {}, but the CPU gives {}; relative error {}, rounding explains \
                     {tolerance:.0e}",
                    or(found),
                    or(expected),
                    or(error)
                )
            }
            Self::Panicked { operation, message } => write!(f, "{operation}: {message}"),
            Self::Crashed { operation, status, message } => {
                write!(
                    f,
                    "{operation}: the process crashed ({status}){}{message}",
                    if message.is_empty() { "" } else { ": " }
                )
            }
            Self::Hung { operation, seconds } => {
                write!(f, "{operation}: no result within {seconds} s")
            }
            Self::NoVerdict { reason } => write!(f, "the test did not run: {reason}"),
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::DeviceKind;

    fn subject() -> Subject {
        let model = Config {
            vocab_size: 300,
            hidden_size: 64,
            intermediate_size: 96,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 16,
            ..Config::qwen2_5_0_5b()
        };
        let lora = Some(LoraConfig { rank: 4, ..LoraConfig::default() });
        Subject { model, lora, samples_in_f16: false }
    }

    fn verdict(fault: Fault) -> Verdict {
        let cpu = DeviceKind::Cpu.device().unwrap();
        SelfTest::new(subject()).with(fault).run(&grpo_test_device::device(), &cpu, |_| {})
    }

    #[test]
    fn a_device_that_computes_correctly_passes() {
        let mut operations = Vec::new();
        let cpu = DeviceKind::Cpu.device().unwrap();
        let verdict = SelfTest::new(subject())
            .run(&grpo_test_device::device(), &cpu, |operation| operations.push(operation.to_string()));
        assert!(verdict.passed(), "{:#?}", verdict.failures);
        let tested: Vec<&String> = verdict.errors.iter().map(|(operation, _)| operation).collect();
        assert!(tested.into_iter().eq(&operations) && operations.len() > 10, "{operations:?}");
    }

    #[test]
    fn planted_faults_are_found_and_named() {
        for (fault, named) in [
            (Fault::WrongProduct, "product [1, 64] · [64, 96]: number 95 is"),
            (Fault::Tf32, "product ["),
            (Fault::MixedDtypes, "product ["),
            (
                Fault::NanGradient,
                "attention [1030, 4, 16] to 2 key-value heads, with its gradients, of queries: number 0 is not \
              a number",
            ),
            (Fault::Panic, "product [1, 64] · [64, 96]: the kernel could not be compiled"),
        ] {
            let verdict = verdict(fault);
            let said: Vec<String> = verdict.failures.iter().map(Failure::to_string).collect();
            assert!(!verdict.passed() && said[0].starts_with(named), "{fault:?}: {said:#?}");
        }
    }
}
