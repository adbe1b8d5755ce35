"""Any reward that differs within a group of a random model: the share of the letters a to m."""

import json
import sys

for line in sys.stdin:
    text = json.loads(line)["completion"]
    print(sum("a" <= c <= "m" for c in text) / max(len(text), 1), flush=True)
