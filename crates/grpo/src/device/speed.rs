//! How fast a device is, roughly.

use std::fmt;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use grpo_kernels::matmul;

/// Measured speeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Floating-point operations per second of F32 products.
    pub products: f64,
    /// Bytes per second that an element-wise operation reads and writes.
    pub bandwidth: f64,
}

/// Time that each figure is measured for.
const TIME: Duration = Duration::from_millis(300);

impl Speed {
    /// Measures a device, for about a second after its shaders have been compiled.
    pub fn measure(device: &Device) -> Self {
        let n = 1024;
        let (x, w) = (Tensor::<2>::ones([n, n], device), Tensor::<2>::ones([n, n], device));
        let products = per_second(device, || drop(matmul(x.clone(), w.clone())));
        let large = Tensor::<2>::ones([8 * n, 2 * n], device);
        let passes = per_second(device, || drop(large.clone() + 1.0));
        Self {
            products: 2.0 * (n as f64).powi(3) * products,
            bandwidth: 2.0 * 4.0 * (16 * n * n) as f64 * passes,
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { products, bandwidth } = self;
        write!(f, "F32 products {:.1} GFLOP/s, memory {:.1} GB/s", products / 1e9, bandwidth / 1e9)
    }
}

/// How often per second `work` can be done on a device.
fn per_second(device: &Device, work: impl Fn()) -> f64 {
    // Errors of the device are the self-test's to report.
    let wait = || drop(device.sync());
    work();
    wait();
    let (start, mut times) = (Instant::now(), 0);
    while start.elapsed() < TIME {
        // Several at once: waiting takes time, too.
        (0..4).for_each(|_| work());
        wait();
        times += 4;
    }
    f64::from(times) / start.elapsed().as_secs_f64()
}
