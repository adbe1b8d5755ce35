"""Verdicts of lm-evaluation-harness's GSM8K filters: verdicts.py [--write] ANSWERS.jsonl

Each line of the file is an answer to a problem: its truth, the completion, and the harness's verdicts on it. The harness runs its own
GSM8K task on them, with a local dataset and a model that has the answers ready, and must come to the recorded verdicts. `--write`
records them.
"""

import importlib.resources
import json
import sys
import tempfile
from pathlib import Path

import yaml
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

FILTERS = {"strict-match": "strict_match", "flexible-extract": "flexible_extract"}


class Answers(LM):
    """Answers the n-th problem with the n-th completion."""

    def __init__(self, completions):
        super().__init__()
        self.completions = completions

    def generate_until(self, requests, disable_tqdm=False):
        return [self.completions[int(request.args[0])] for request in requests]

    def loglikelihood(self, requests, disable_tqdm=False):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        raise NotImplementedError


def harness_form(completion):
    """The completion with its answer where `strict-match` looks for it: after `####` instead of between tags."""
    before, tag, after = completion.rpartition("<answer>")
    answer, end, rest = after.partition("</answer>")
    return f"{before}#### {answer.strip()}{rest}" if tag and end else completion


def verdicts(answers, form):
    """For each filter, whether it finds each answer to be right."""
    with tempfile.TemporaryDirectory() as folder:
        problems = Path(folder, "problems.jsonl")
        rows = [{"question": str(n), "answer": f"#### {answer['truth']}"} for n, answer in enumerate(answers)]
        problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
        # The harness's own task, whose problems would otherwise come from the Hub.
        task = yaml.safe_load(importlib.resources.files("lm_eval").joinpath("tasks/gsm8k/gsm8k.yaml").read_text())
        task |= {
            "task": "gsm8k_answers",
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"test": str(problems)}},
            "training_split": None,
            "fewshot_split": None,
            "num_fewshot": 0,
            "doc_to_text": "{{question}}",
        }
        Path(folder, "task.yaml").write_text(yaml.safe_dump(task))
        results = simple_evaluate(
            model=Answers([form(answer["completion"]) for answer in answers]),
            tasks=["gsm8k_answers"],
            task_manager=TaskManager(include_path=folder, include_defaults=False),
            log_samples=True,
            bootstrap_iters=0,
        )
    found = {name: [None] * len(answers) for name in FILTERS}
    for sample in results["samples"]["gsm8k_answers"]:
        found[sample["filter"]][sample["doc_id"]] = bool(sample["exact_match"] == 1.0)
    return found


def main():
    write = sys.argv[1] == "--write"
    file = Path(sys.argv[-1])
    answers = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    found = {
        "strict-match": verdicts(answers, harness_form)["strict-match"],
        "flexible-extract": verdicts(answers, str)["flexible-extract"],
    }
    different = 0
    for name, field in FILTERS.items():
        right = sum(found[name])
        print(f"{name}: {right} of {len(answers)} are right")
        for n, (answer, verdict) in enumerate(zip(answers, found[name], strict=True)):
            if not write and answer[field] != verdict:
                different += 1
                print(f"line {n + 1}: {name} is {verdict}, but {answer[field]} is recorded")
            answer[field] = verdict
    if write:
        lines = (json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
        file.write_text("".join(lines), encoding="utf-8")
    sys.exit(f"{different} verdicts differ" if different else 0)


if __name__ == "__main__":
    main()
