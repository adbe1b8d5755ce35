"""A whole step of TRL's GRPOTrainer: trl_peer.py MODEL_FOLDER f32|autocast|bf16 [lora]

`autocast` is TRL's default: weights, gradients and moments in F32, products in BF16. `bf16` has all of them in BF16. With `lora`,
adapters of rank 16 on every linear layer are trained instead of the weights.
"""

import sys
import tempfile
import time
import zlib

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from common import NEW, PROMPT, THREADS, report


def reward(completions, **_):
    """Rewards that differ within a group and mean nothing."""
    return [zlib.crc32(text.encode()) % 16 / 16 for text in completions]


class Clock(TrainerCallback):
    """Sampling is part of the training step, so that between these two is everything but loading."""

    def __init__(self):
        self.seconds = []

    def on_step_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds.append(time.perf_counter() - self.start)


folder, mode, *lora = sys.argv[1:]
torch.set_num_threads(THREADS)
prompt = " the" * PROMPT
assert len(AutoTokenizer.from_pretrained(folder)(prompt)["input_ids"]) == PROMPT
output = tempfile.TemporaryDirectory()
config = GRPOConfig(
    output_dir=output.name,
    model_init_kwargs={"dtype": "bfloat16" if mode == "bf16" else "float32"},
    bf16=mode != "f32",
    use_cpu=True,
    beta=0.04,
    num_generations=8,
    per_device_train_batch_size=8,
    max_completion_length=NEW,
    generation_kwargs={"min_new_tokens": NEW},
    temperature=1.0,
    learning_rate=1e-6,
    max_steps=2,  # the first warms up
    logging_steps=1,
    save_strategy="no",
    report_to="none",
    seed=0,
)
clock = Clock()
trainer = GRPOTrainer(
    model=folder,
    reward_funcs=reward,
    args=config,
    train_dataset=Dataset.from_dict({"prompt": [prompt] * 2}),
    callbacks=[clock],
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear") if lora else None,
)
trainer.train()
last = [log for log in trainer.state.log_history if "completions/mean_length" in log][-1]
print({k: round(v, 5) for k, v in last.items()}, file=sys.stderr)
assert last["reward_std"] > 0, "all rewards are alike: nothing was learned"
report("step-lora" if lora else "step", clock.seconds[1], round(8 * last["completions/mean_length"]))
