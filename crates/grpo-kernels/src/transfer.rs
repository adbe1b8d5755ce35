//! Copies between the host and a device, which are counted: they are what a device waits for.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Device, Int, Tensor, TensorData};

static UPLOADS: AtomicU64 = AtomicU64::new(0);
static UPLOADED: AtomicU64 = AtomicU64::new(0);
static READS: AtomicU64 = AtomicU64::new(0);
static READ: AtomicU64 = AtomicU64::new(0);

/// Bytes of a number in F32 or I32.
const NUMBER: u64 = 4;

/// Copies that this process has made, whatever the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfers {
    /// Copies to a device.
    pub uploads: u64,
    /// Their bytes.
    pub uploaded: u64,
    /// Copies to the host; each waits for all that has been computed before.
    pub reads: u64,
    /// Their bytes.
    pub read: u64,
}

impl Transfers {
    /// All so far.
    pub fn so_far() -> Self {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Self { uploads: of(&UPLOADS), uploaded: of(&UPLOADED), reads: of(&READS), read: of(&READ) }
    }

    /// Those since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            uploads: self.uploads - earlier.uploads,
            uploaded: self.uploaded - earlier.uploaded,
            reads: self.reads - earlier.reads,
            read: self.read - earlier.read,
        }
    }
}

fn count_upload(numbers: usize) {
    UPLOADS.fetch_add(1, Ordering::Relaxed);
    UPLOADED.fetch_add(NUMBER * numbers as u64, Ordering::Relaxed);
}

/// Indices as a tensor.
pub fn int_tensor(values: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.map(|value| value as i32).collect();
    let n = values.len();
    count_upload(n);
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// Numbers as a tensor.
pub fn float_tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    count_upload(values.len());
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The numbers of a tensor, in row-major order.
pub fn to_host<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    let values: Vec<f32> =
        x.into_data().convert::<f32>().try_into_vec().expect("the data has just been converted to f32");
    READS.fetch_add(1, Ordering::Relaxed);
    READ.fetch_add(NUMBER * values.len() as u64, Ordering::Relaxed);
    values
}
