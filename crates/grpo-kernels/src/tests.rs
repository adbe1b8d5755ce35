//! What the tests of all operations share: numbers, and the comparison of a kernel with its composed form.

use burn::tensor::{Tensor, TensorData};

/// Numbers between `-scale` and `scale`, the same in every run.
pub(crate) fn matrix<const D: usize>(seed: u64, shape: [usize; D], scale: f32) -> Tensor<D> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        scale * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_data(TensorData::new(values, shape), &grpo_test_device::device())
}

pub(crate) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// Compares with a tolerance relative to the largest expected number.
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-6f32, |largest, x| largest.max(x.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance * scale, "{what}, {i}: {f} is not {e}");
    }
}

/// Values with and without autodiff, and the gradients of `Σ y · c` with respect to both inputs, for some `c`.
pub(crate) fn check2<const A: usize, const B: usize, const Y: usize>(
    what: &str,
    kernel: impl Fn(Tensor<A>, Tensor<B>) -> Tensor<Y>,
    composed: impl Fn(Tensor<A>, Tensor<B>) -> Tensor<Y>,
    a: Tensor<A>,
    b: Tensor<B>,
    tolerance: f32,
) {
    let gradients = |f: &dyn Fn(Tensor<A>, Tensor<B>) -> Tensor<Y>| {
        let (a, b) = (a.clone().autodiff().require_grad(), b.clone().autodiff().require_grad());
        let y = f(a.clone(), b.clone());
        let found = (y.clone() * matrix(9, y.dims(), 1.0).autodiff()).sum().backward();
        [numbers(y.inner()), numbers(a.grad(&found).unwrap()), numbers(b.grad(&found).unwrap())]
    };
    let plain = numbers(kernel(a.clone(), b.clone()));
    let ([y, da, db], [expected_y, expected_da, expected_db]) = (gradients(&kernel), gradients(&composed));
    if grpo_test_device::is_cpu() {
        assert_eq!(plain, y, "{what}: autodiff changes the values");
    } else {
        // There attention is composed of burn's operations in another order under autodiff.
        assert_close(&format!("{what}: with autodiff"), &y, &plain, tolerance);
    }
    assert_close(&format!("{what}: values"), &y, &expected_y, tolerance);
    assert_close(&format!("{what}: with respect to the first"), &da, &expected_da, tolerance);
    assert_close(&format!("{what}: with respect to the second"), &db, &expected_db, tolerance);
}

pub(crate) fn check1<const A: usize, const Y: usize>(
    what: &str,
    kernel: impl Fn(Tensor<A>) -> Tensor<Y>,
    composed: impl Fn(Tensor<A>) -> Tensor<Y>,
    a: Tensor<A>,
    tolerance: f32,
) {
    // The second input is added, so that it has a gradient.
    let y = kernel(a.clone());
    let rest = y.zeros_like();
    check2(what, |a, b| kernel(a) + b, |a, b| composed(a) + b, a, rest, tolerance);
}

pub(crate) fn check3<const A: usize, const Y: usize>(
    what: &str,
    kernel: impl Fn(Tensor<A>, Tensor<A>, Tensor<A>) -> Tensor<Y>,
    composed: impl Fn(Tensor<A>, Tensor<A>, Tensor<A>) -> Tensor<Y>,
    [a, b, c]: [Tensor<A>; 3],
    tolerance: f32,
) {
    let of = |x: &Tensor<A>| x.device().is_autodiff();
    let constant = |x: &Tensor<A>, like: &Tensor<A>| if of(like) { x.clone().autodiff() } else { x.clone() };
    let last = |f: &dyn Fn(Tensor<A>, Tensor<A>, Tensor<A>) -> Tensor<Y>, b: Tensor<A>, c: Tensor<A>| {
        let a = constant(&a, &b);
        f(a, b, c)
    };
    check2(what, |b, c| last(&kernel, b, c), |b, c| last(&composed, b, c), b.clone(), c.clone(), tolerance);
    let first = |f: &dyn Fn(Tensor<A>, Tensor<A>, Tensor<A>) -> Tensor<Y>, a: Tensor<A>, b: Tensor<A>| {
        let c = constant(&c, &a);
        f(a, b, c)
    };
    check2(what, |a, b| first(&kernel, a, b), |a, b| first(&composed, a, b), a.clone(), b, tolerance);
}
