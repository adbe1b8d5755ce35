"""Writes a Qwen2 checkpoint in Hugging Face layout as GGUF: to_gguf.py MODEL_FOLDER FILE f16|bf16"""

import json
import sys
from pathlib import Path

import torch
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType, get_tensor_name_map
from safetensors.torch import load_file

folder, file, dtype = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
part = file.with_suffix(".part")  # nothing that is half written is taken for a model
config = json.loads((folder / "config.json").read_text())
tokenizer = json.loads((folder / "tokenizer.json").read_text())

out = GGUFWriter(part, "qwen2")
out.add_file_type({"f16": LlamaFileType.MOSTLY_F16, "bf16": LlamaFileType.MOSTLY_BF16}[dtype])
out.add_context_length(config["max_position_embeddings"])
out.add_embedding_length(config["hidden_size"])
out.add_block_count(config["num_hidden_layers"])
out.add_feed_forward_length(config["intermediate_size"])
out.add_head_count(config["num_attention_heads"])
out.add_head_count_kv(config["num_key_value_heads"])
out.add_layer_norm_rms_eps(config["rms_norm_eps"])
out.add_rope_freq_base(config.get("rope_theta", 1e6))

# Only ids are fed; the tokenizer is there because the file doesn't load without one.
tokens = [f"[PAD{i}]" for i in range(config["vocab_size"])]
types = [TokenType.UNUSED] * len(tokens)
for token, i in tokenizer["model"]["vocab"].items():
    tokens[i], types[i] = token, TokenType.NORMAL
for added in tokenizer["added_tokens"]:
    tokens[added["id"]] = added["content"]
    types[added["id"]] = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
merges = tokenizer["model"]["merges"]
out.add_tokenizer_model("gpt2")
out.add_tokenizer_pre("qwen2")
out.add_token_list(tokens)
out.add_token_types(types)
out.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
eos = config["eos_token_id"]
out.add_eos_token_id(eos[0] if isinstance(eos, list) else eos)

names = get_tensor_name_map(MODEL_ARCH.QWEN2, config["num_hidden_layers"])
for shard in sorted(folder.glob("*.safetensors")):
    for name, tensor in load_file(shard).items():
        # Tied embeddings are stored once: llama.cpp then takes them for the output, too.
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        name = names.get_name(name, (".weight", ".bias"))
        if tensor.dim() == 1:
            out.add_tensor(name, tensor.float().numpy())
        elif dtype == "f16":
            out.add_tensor(name, tensor.half().numpy())
        else:  # numpy has no BF16: as bytes
            data = tensor.bfloat16().contiguous().view(torch.uint8).numpy()
            out.add_tensor(name, data, raw_dtype=GGMLQuantizationType.BF16)
out.write_header_to_file()
out.write_kv_data_to_file()
out.write_tensors_to_file()
out.close()
part.rename(file)
