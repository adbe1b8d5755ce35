"""llama.cpp on a GGUF: llama_peer.py FILE generate-N, or llama_peer.py FILE mixed MODEL_FOLDER"""

import ctypes
import sys
import time
from pathlib import Path

import llama_cpp as llama
import numpy as np

from common import NEW, PROMPT, THREADS, ids, report


def fill(batch, tokens, position, sequences, logits):
    """One token for each entry; all have logits or the last alone."""
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i] = token
        batch.pos[i] = position + (i if len(sequences) == 1 else 0)
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = sequences[0] if len(sequences) == 1 else sequences[i]
        batch.logits[i] = logits or i == len(tokens) - 1


def sample(logits, random, width=128):
    """At temperature 1: first the stretch of the vocabulary, then the token in it. llama.cpp's own takes six times as long."""
    weights = np.exp(logits - logits.max()).reshape(-1, width)
    stretches = np.cumsum(weights.sum(1))
    drawn = random.random() * stretches[-1]
    stretch = min(int(np.searchsorted(stretches, drawn)), len(stretches) - 1)
    drawn -= stretches[stretch - 1] if stretch else 0.0
    return stretch * width + min(int(np.searchsorted(np.cumsum(weights[stretch]), drawn)), width - 1)


def generate(context, rows, new):
    memory = llama.llama_get_memory(context)
    llama.llama_memory_clear(memory, True)
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    random = np.random.default_rng(0)
    batch = llama.llama_batch_init(max(PROMPT, rows), 0, 1)
    fill(batch, ids(PROMPT), 0, [0], False)
    assert llama.llama_decode(context, batch) == 0
    for row in range(1, rows):
        llama.llama_memory_seq_cp(memory, 0, row, -1, -1)
    logits = np.ctypeslib.as_array(llama.llama_get_logits(context), (1, vocabulary))
    tokens = [sample(logits[0], random) for _ in range(rows)]
    for i in range(new - 1):
        fill(batch, tokens, PROMPT + i, range(rows), True)
        assert llama.llama_decode(context, batch) == 0
        logits = np.ctypeslib.as_array(llama.llama_get_logits(context), (rows, vocabulary))
        tokens = [sample(row, random) for row in logits]
    llama.llama_batch_free(batch)
    return rows * new


def mixed(context, folder):
    """Sixteen rows: eight completions of each problem, each until it ends. A row that ends takes the next completion."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    problems = (Path(__file__).parent / "problems.txt").read_text().splitlines()
    ask = lambda problem: [{"role": "user", "content": f"{problem} Think step by step."}]
    prompts = [tokenizer.apply_chat_template(ask(p), add_generation_prompt=True)["input_ids"] for p in problems]
    ends = {tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")}
    memory = llama.llama_get_memory(context)
    llama.llama_memory_clear(memory, True)
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    random = np.random.default_rng(0)
    batch = llama.llama_batch_init(max(max(map(len, prompts)), ROWS), 0, 1)
    first = {}  # the logits after each prompt, which has a sequence of its own
    waiting = [problem for problem in range(len(prompts)) for _ in range(8)]
    running, total = {}, 0  # by row: position, last token and length
    while waiting or running:
        for row in range(ROWS):
            if row in running or not waiting:
                continue
            problem = waiting.pop(0)
            if problem not in first:
                fill(batch, prompts[problem], 0, [ROWS + problem], False)
                assert llama.llama_decode(context, batch) == 0
                first[problem] = np.ctypeslib.as_array(llama.llama_get_logits(context), (vocabulary,)).copy()
            llama.llama_memory_seq_rm(memory, row, -1, -1)
            llama.llama_memory_seq_cp(memory, ROWS + problem, row, -1, -1)
            running[row] = (len(prompts[problem]), sample(first[problem], random), 1)
        rows = sorted(running)
        batch.n_tokens = len(rows)
        for i, row in enumerate(rows):
            position, token, _ = running[row]
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, position, 1, row
            batch.logits[i] = True
        assert llama.llama_decode(context, batch) == 0
        logits = np.ctypeslib.as_array(llama.llama_get_logits(context), (len(rows), vocabulary))
        for row, of_row in zip(rows, logits):
            position, _, length = running[row]
            token = sample(of_row, random)
            running[row] = (position + 1, token, length + 1)
            if token in ends or length + 1 == NEW:
                total += length + 1
                del running[row]
    llama.llama_batch_free(batch)
    return total


ROWS, PROBLEMS = 16, 8  # of mixed lengths
file, work, *folder = sys.argv[1:]
rows = ROWS + PROBLEMS if folder else int(work.removeprefix("generate-"))
llama.llama_backend_init()
quiet = llama.llama_log_callback(lambda level, text, _: level >= 4 and sys.stderr.write(text.decode()) and None)
llama.llama_log_set(quiet, ctypes.c_void_p(0))
parameters = llama.llama_model_default_params()
# Repacked for AMX, which llama.cpp has for integers alone, F16 is a quarter slower and takes twice the memory.
parameters.use_extra_bufts = False
model = llama.llama_model_load_from_file(file.encode(), parameters)
settings = llama.llama_context_default_params()
# Each sequence has its own part of the cache: over a unified one every row would attend to every row's tokens.
settings.kv_unified = False
settings.n_seq_max = rows
settings.n_ctx = rows * (PROMPT + NEW)
settings.n_batch = settings.n_ubatch = max(PROMPT, rows)
settings.n_threads = settings.n_threads_batch = THREADS
context = llama.llama_init_from_model(model, settings)
assert context, "no context"
print(llama.llama_print_system_info().decode(), file=sys.stderr)

generate(context, 1, 8)
start = time.perf_counter()
tokens = mixed(context, folder[0]) if folder else generate(context, rows, NEW)
report(work, time.perf_counter() - start, tokens)
