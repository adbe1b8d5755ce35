"""What every peer is given: the token ids, the number of threads, the line it prints."""

import json
import os

PROMPT = 180
NEW = int(os.environ.get("NEW_TOKENS", 256))  # less only to try a peer out
THREADS = os.cpu_count()


def ids(n):
    return [(i * 7919 + 13) % 151643 for i in range(n)]


def report(work, seconds, tokens):
    print(json.dumps({"work": work, "seconds": round(seconds, 3), "tokens": tokens}), flush=True)
