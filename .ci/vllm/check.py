"""The sampler's log-probabilities are the learner's in every step, while the policy moves."""

import json
import sys

steps = [json.loads(line) for line in open(sys.argv[1])]
assert len(steps) == int(sys.argv[2]), len(steps)
differences = [step["sampling/sampling_logp_difference/max"] for step in steps]
assert max(differences) < 1e-3, differences
assert steps[-1]["kl"] > 0.05, [step["kl"] for step in steps]
print(f"largest difference of a log-probability {max(differences):.1e}, KL divergence {steps[-1]['kl']:.2f} nats per token")
