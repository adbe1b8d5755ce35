"""torch and transformers: torch_peer.py MODEL_FOLDER generate-N|logprobs-8x436 float32|bfloat16"""

import os
import sys
import time

import torch
from transformers import AutoModelForCausalLM, GenerationConfig
from trl.trainer.utils import selective_log_softmax

from common import NEW, PROMPT, THREADS, ids, report

# Rows that pass through the model together, of 8: of 1, 2 and 8 the one that was quickest here in each format.
ROWS = int(os.environ.get("ROWS", {"float32": 2, "bfloat16": 1}[sys.argv[3]]))


def generate(model, rows, new):
    # No stop token is cheaper than one that a logits processor keeps down.
    config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=new, pad_token_id=151643)
    # What the config leaves open would come from the model's own, a repetition penalty among it.
    model.generation_config = config
    prompt = torch.tensor([ids(PROMPT)] * rows)
    with torch.no_grad():
        out = model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config)
    assert out.shape == (rows, PROMPT + new), out.shape
    return rows * new


def logprobs(model, rows, new):
    tokens = torch.tensor([ids(PROMPT + new)] * rows)
    weights = torch.tensor([1.0, -1.0]).repeat(rows * new // 2).view(rows, new)
    for i in range(0, rows, ROWS):
        batch = tokens[i : i + ROWS]
        # As TRL does: logits of the completion alone, and its log-softmax of the chosen tokens.
        logits = model(batch, use_cache=False, logits_to_keep=new + 1).logits[:, :-1]
        chosen = selective_log_softmax(logits, batch[:, -new:])
        (chosen * weights[i : i + ROWS]).sum().backward()
    return rows * new


folder, work, dtype = sys.argv[1:]
torch.set_num_threads(THREADS)
torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
if work.startswith("generate-"):
    run, rows = generate, int(work.removeprefix("generate-"))
else:
    run, rows = logprobs, 8
    model.train()
run(model, 1, 8)
model.zero_grad(set_to_none=True)
start = time.perf_counter()
tokens = run(model, rows, NEW)
report(work, time.perf_counter() - start, tokens)
