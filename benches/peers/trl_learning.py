"""TRL on the problems of a run of ours, in the same order: trl_learning.py MODEL ADAPTER RUN OUT [STEPS [SEED]]

MODEL and ADAPTER (in PEFT's format) are what the run started from, RUN is its folder, and OUT gets `metrics.jsonl`,
`completions.jsonl` and `times.jsonl`. The run has correctness (2.0) and the strict format (0.5), which is paid together with a right
answer only; ddof = "sample"; no KL term, no redraws. Everything else is taken from its configuration.
"""

import json
import re
import sys
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

STRICT = re.compile(r"^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n$", re.DOTALL)

model_folder, adapter, run, out, *rest = sys.argv[1:]
run, out = Path(run), Path(out)
out.mkdir(parents=True, exist_ok=True)
config = json.loads((run / "run.json").read_text())["config"]
task, algorithm = config["task"], config["algorithm"]
problems = {}
for line in (run / "completions.jsonl").open():
    record = json.loads(line)
    problems.setdefault(record["problem"], (record["question"], record["truth"]))
per_step, group = task["problems_per_step"], algorithm["group_size"]
steps = int(rest[0]) if rest else len(problems) // per_step
rows = [
    {
        "prompt": [{"role": "system", "content": task["system_prompt"]}, {"role": "user", "content": question}],
        "truth": truth,
    }
    for question, truth in list(problems.values())[: per_step * steps]
]


def append(name, value):
    with (out / name).open("a") as file:
        file.write(json.dumps(value) + "\n")


class Rewards:
    """A right answer, and the format together with one; remembers the step."""

    __name__ = "rewards"
    step = 0

    def __call__(self, completions, truth, completion_ids, **_):
        self.step += 1
        rewards = []
        for sample, (completion, expected, ids) in enumerate(zip(completions, truth, completion_ids)):
            text = completion[0]["content"]
            right = text.split("<answer>")[-1].split("</answer>")[0].strip() == expected
            strict = bool(STRICT.match(text))
            rewards.append(2.0 * right + 0.5 * (strict and right))
            each = {"correctness": 2.0 * right, "strict_format": 0.5 * strict}
            append("completions.jsonl", {"step": self.step, "sample": sample, "truth": expected, "completion": text, "tokens": len(ids), "rewards": each, "reward": rewards[-1]})
        return rewards


class Clock(TrainerCallback):
    def on_step_begin(self, *_, **__):
        self.start = time.perf_counter()

    def on_step_end(self, _, state, *__, **___):
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
        append("times.jsonl", {"step": state.global_step, "step_time": time.perf_counter() - self.start, "device_bytes": peak})


tokenizer = AutoTokenizer.from_pretrained(model_folder)
model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
if torch.cuda.is_available():
    model = model.to("cuda")
trainer = GRPOTrainer(
    model=PeftModel.from_pretrained(model, adapter, is_trainable=True),
    reward_funcs=Rewards(),
    args=GRPOConfig(
        output_dir=str(out / "trainer"),
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        beta=0.0,
        num_generations=group,
        per_device_train_batch_size=per_step * group,
        gradient_accumulation_steps=1,
        max_completion_length=algorithm["max_completion_length"],
        temperature=algorithm["sampling"]["temperature"],
        learning_rate=algorithm["learning_rate"],
        lr_scheduler_type="constant",
        max_grad_norm=algorithm["max_grad_norm"],
        loss_type="grpo",
        scale_rewards="group",
        shuffle_dataset=False,
        gradient_checkpointing=False,
        max_steps=steps,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=int(rest[1]) if len(rest) > 1 else 0,
    ),
    train_dataset=Dataset.from_list(rows),
    processing_class=tokenizer,
    callbacks=[Clock()],
)
trainer.train()
for log in trainer.state.log_history:
    append("metrics.jsonl", log)
trainer.model.save_pretrained(out / "adapter")
