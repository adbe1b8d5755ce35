//! A reference that follows its policy.

use grpo_qwen2::Qwen2;
use grpo_test_device::device;

use crate::common::{CHECKPOINTS, TIED, fixture, load, values};

#[test]
fn every_weight_is_interpolated() {
    for name in CHECKPOINTS {
        let policy = load(name);
        let other = Qwen2::init(policy.config().clone(), 3, &device());
        let found = other.clone().lerp(&policy, 0.25);
        for (((name, found), (_, policy)), (_, other)) in
            found.weights().iter().zip(policy.weights()).zip(other.weights())
        {
            let expected = values(&policy).into_iter().zip(values(&other)).map(|(p, o)| 0.25 * p + 0.75 * o);
            let largest =
                values(found).into_iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-6, "{name}: {largest}");
        }
    }
}

/// All of the policy is the policy, whatever the reference was stored in.
#[test]
fn a_bf16_reference_becomes_the_policy() {
    let policy = load(TIED);
    let reference = Qwen2::load_frozen(&fixture(TIED), &device()).unwrap().lerp(&policy, 1.0);
    for ((name, reference), (_, policy)) in reference.weights().iter().zip(policy.weights()) {
        assert_eq!(values(reference), values(&policy), "{name}");
    }
}
