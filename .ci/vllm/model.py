"""Writes random Qwen2 models for vLLM, whose CPU attention takes heads of 32, but not those of the embedded model."""

import pathlib
import shutil
import sys

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

work, embedded = pathlib.Path(sys.argv[1]), pathlib.Path("examples/embedded/model")
for name, is_tied in [("model", True), ("model-untied", False)]:
    torch.manual_seed(1)
    config = Qwen2Config.from_pretrained(embedded)
    config.update(dict(hidden_size=128, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=2, intermediate_size=256,
                       initializer_range=0.3, tie_word_embeddings=is_tied, max_position_embeddings=512, dtype="float32"))
    config.layer_types = ["full_attention"] * 2
    model = Qwen2ForCausalLM(config).float()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if key.endswith("bias"):
                weight.normal_(0, 0.1)
    model.save_pretrained(work / name)
    for file in embedded.iterdir():
        if file.suffix in (".json", ".jinja", ".txt") and not (work / name / file.name).exists():
            shutil.copy(file, work / name)
