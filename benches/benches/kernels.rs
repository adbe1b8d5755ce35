//! How close the products of decoding come to what the machine can do: reading memory, and multiplying large matrices.
//!
//! `cargo bench --bench kernels`; the shapes are those of Qwen2.5-0.5B.

use std::time::Duration;

use burn::tensor::{DType, Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use grpo_kernels::{product, product_transposed};
use rayon::prelude::*;

const HIDDEN: usize = 896;
const INNER: usize = 4864;
const VOCABULARY: usize = 151_936;
/// Matrices of a kind, so many that no cache holds them.
const LAYERS: usize = 30;

fn random(shape: [usize; 2]) -> Tensor<2> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &Device::flex())
}

/// Reads a gibibyte with all cores.
fn memory(c: &mut Criterion) {
    let numbers = vec![1.0f32; 1 << 28];
    let sum = |chunk: &[f32]| {
        let mut lanes = [0.0f32; 64];
        for part in chunk.as_chunks::<64>().0 {
            lanes.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
        lanes.iter().sum::<f32>()
    };
    let mut group = c.benchmark_group("memory");
    group.throughput(Throughput::Bytes(1 << 30));
    group.bench_function("read", |b| b.iter(|| numbers.par_chunks(1 << 20).map(sum).sum::<f32>()));
}

/// The best product there is here: many rows.
fn many_rows(c: &mut Criterion) {
    let (x, w) = (random([512, HIDDEN]), random([HIDDEN, INNER]));
    let mut group = c.benchmark_group("512 rows");
    group.throughput(Throughput::Elements((2 * 512 * HIDDEN * INNER) as u64));
    group.bench_function("x · w", |b| b.iter(|| product(x.clone(), w.clone())));
}

fn few_rows(c: &mut Criterion) {
    for (name, dtype) in [("F32", DType::F32), ("BF16", DType::BF16)] {
        for shape in [[HIDDEN, INNER], [INNER, HIDDEN]] {
            let layers: Vec<Tensor<2>> = (0..LAYERS).map(|_| random(shape).cast(dtype)).collect();
            let bytes = (LAYERS * HIDDEN * INNER * dtype.size()) as u64;
            let mut group = c.benchmark_group(format!("{LAYERS} x {} · {} {name}", shape[0], shape[1]));
            group.throughput(Throughput::Bytes(bytes));
            for rows in [1, 8, 32] {
                let x = random([rows, shape[0]]);
                group.bench_with_input(BenchmarkId::new("rows", rows), &rows, |b, _| {
                    b.iter(|| layers.iter().for_each(|w| drop(product(x.clone(), w.clone()))));
                });
            }
        }
        let head = random([VOCABULARY, HIDDEN]).cast(dtype);
        let mut group = c.benchmark_group(format!("head {name}"));
        group.throughput(Throughput::Bytes((VOCABULARY * HIDDEN * dtype.size()) as u64));
        for rows in [1, 8, 32] {
            let x = random([rows, HIDDEN]);
            group.bench_with_input(BenchmarkId::new("rows", rows), &rows, |b, _| {
                b.iter(|| product_transposed(x.clone(), head.clone()));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_secs(1));
    targets = memory, many_rows, few_rows
}
criterion_main!(benches);
