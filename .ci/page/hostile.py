"""Replaces completions of a run's first step by texts that try to do something: hostile.py completions.jsonl"""

import json
import sys

TEXTS = [
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title = 'broken'\">",
    "\x1b[31mred\x1b[0m \u202ebackwards\u202c a\0b",
    "x" * 200_000,
]
path = sys.argv[1]
with open(path) as file:
    records = [json.loads(line) for line in file]
for record, text in zip(records, TEXTS):
    record["completion"] = text
with open(path, "w") as file:
    file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
