"""Scores completions for `grpo`: a JSON object per line in, one per line out."""

import json
import re
import sys

for line in sys.stdin:
    request = json.loads(line)
    answers = re.findall(r"<answer>\s*(-?\d+)\s*</answer>", request["completion"])
    right = answers == [request["truth"]]
    # Whether it is brief is only a question if it is right: null abstains.
    brief = float(request["tokens"] < 60) if right else None
    print(json.dumps({"right": 2.0 * right, "brief": brief}), flush=True)
