"""Compares what other programs read of a run with its record: check.py RUN FOLDER_OF_EXPORTS"""

import json
import math
import sys

import polars
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

RUN, EXPORTS = sys.argv[1:]


def lines(path):
    with open(path) as file:
        return [json.loads(line) for line in file]


def numbers(line):
    return {name: value for name, value in line.items() if isinstance(value, (int, float)) and name != "step"}


metrics, times = lines(f"{RUN}/metrics.jsonl"), lines(f"{RUN}/times.jsonl")
steps = {line["step"]: numbers(line) | numbers(time) for line, time in zip(metrics, times, strict=True)}
assert list(steps) == [1, 2, 3, 4]

# `--json`: the steps of the first process.
printed = lines(f"{EXPORTS}/steps.jsonl")
assert [line["step"] for line in printed] == [1, 2, 3]
assert numbers(printed[0]) == steps[1]

# TensorBoard: every number of every step once, in f32.
events = EventAccumulator(f"{RUN}/tensorboard", size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
scalars = {}
for tag in events.Tags()["scalars"]:
    found = [(event.step, event.value) for event in events.Scalars(tag)]
    scalars[tag] = dict(found)
    # Resumed after step 2, the run is evaluated there again.
    assert len(scalars[tag]) == len(found) or tag.startswith("held_out/"), (tag, found)
names = {name for line in steps.values() for name in line}
compared = 0
for name in names:
    expected = {step: line[name] for step, line in steps.items() if name in line}
    assert scalars[name].keys() == expected.keys(), (name, scalars[name], expected)
    for step, value in expected.items():
        assert math.isclose(scalars[name][step], value, rel_tol=1e-6, abs_tol=1e-30), (name, step)
        compared += 1
held_out = {tag: list(steps) for tag, steps in scalars.items() if "held_out/" in tag}
assert scalars.keys() == names | held_out.keys()
# The subset during training; all problems before and after. (What followed step 3 is forgotten, because it was taken again.)
rewards = ["correctness", "format", "tags"]
expected = {f"held_out/test problems/{name}": [2, 4] for name in rewards} | {f"all_held_out/test problems/{name}": [0, 4] for name in rewards}
assert held_out == expected, (held_out, expected)
[tag] = events.Tags()["tensors"]
texts = {event.step: event.tensor_proto.string_val[0].decode() for event in events.Tensors(tag)}
completions = lines(f"{RUN}/completions.jsonl")
for step, text in texts.items():
    first = next(line for line in completions if line["step"] == step)
    shown = [line.removeprefix("    ") for line in text.splitlines()]
    assert shown[0] == f"Question: {first['question']}" and shown[1] == f"Truth: {first['truth']}", shown
    assert first["completion"].rstrip().splitlines() == shown[4:], shown
assert list(texts) == [1, 2, 3, 4]

# Tables: every number, exactly.
for table in [polars.read_csv(f"{EXPORTS}/steps.csv"), polars.read_parquet(f"{EXPORTS}/steps.parquet")]:
    assert set(table.columns) == names | {"step", "diagnoses"}
    for row in table.to_dicts():
        found = {name: value for name, value in numbers(row).items() if value is not None}
        assert found == steps[row["step"]], row
        compared += len(found)
for table in [polars.read_csv(f"{EXPORTS}/completions.csv"), polars.read_parquet(f"{EXPORTS}/completions.parquet")]:
    assert len(table) == len(completions)
    for row, line in zip(table.to_dicts(), completions, strict=True):
        for name in ["step", "problem", "sample", "question", "prompt", "completion", "tokens", "finish", "reward", "advantage"]:
            assert row[name] == line[name], (name, row[name], line[name])
        assert {f"rewards/{name}": value for name, value in line["rewards"].items()}.items() <= row.items()
        assert str(row["truth"]) == line["truth"]
print(f"TensorBoard and polars read {compared} numbers and {2 * len(completions)} completions as they are recorded")
