"""Compares the results of `grpo evaluate --against` with statsmodels: check.py FOLDER..."""

import itertools
import json
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

TOLERANCE = 1e-9
compared = 0


def same(what, found, expected):
    global compared
    compared += 1
    assert abs(found - expected) <= TOLERANCE, f"{what}: {found}, but statsmodels has {expected}"


def estimate(what, found, value, interval):
    same(what, found["value"], value)
    same(f"{what}, low", found["low"], interval[0])
    same(f"{what}, high", found["high"], interval[1])


def clipped(interval):
    return max(interval[0], 0), min(interval[1], 1)


def mean(what, found, values, bounds=lambda interval: interval):
    statistics = DescrStatsW(np.array(values, dtype=float))
    estimate(what, found, statistics.mean, bounds(statistics.zconfint_mean()))


def share(what, found, groups, has):
    values = [[bool(has(answer)) for answer in group] for group in groups]
    if len(values[0]) > 1:
        return mean(what, found, [np.mean(group) for group in values], clipped)
    successes = sum(group[0] for group in values)
    estimate(what, found, successes / len(values), proportion_confint(successes, len(values), method="wilson"))


def pass_at(n, right, k):
    """By counting subsets."""
    return np.mean([any(i < right for i in subset) for subset in itertools.combinations(range(n), k)])


def vote(measure, answer):
    if measure == "lenient":
        return answer["answer"]
    if "<answer>" not in answer["completion"]:
        return None
    return answer["completion"].split("<answer>")[-1].split("</answer>")[0].strip()


def majority(measure, group):
    votes = Counter(v for v in (vote(measure, answer) for answer in group) if v is not None)
    if not votes:
        return 0.0
    winners = [v for v, count in votes.items() if count == max(votes.values())]
    truth = group[0]["truth"] if measure == "strict" else str(int(group[0]["truth"]))
    return winners.count(truth) / len(winners)


def check_verdicts(answer):
    text, truth = answer["completion"], answer["truth"]
    assert answer["strict"] == (text.split("<answer>")[-1].split("</answer>")[0].strip() == truth), answer
    numbers = re.findall(r"[0-9]+", text)  # of problems with whole numbers below 1,000
    assert answer["lenient"] == (bool(numbers) and int(numbers[-1]) == int(truth)), answer


def groups_of(folder):
    answers = [json.loads(line) for line in (folder / "completions.jsonl").read_text().splitlines()]
    for answer in answers:
        check_verdicts(answer)
    answers.sort(key=lambda answer: (answer["problem"], answer["sample"]))
    return [list(group) for _, group in itertools.groupby(answers, key=lambda answer: answer["problem"])]


def check(folder):
    results, groups = json.loads((folder / "results.json").read_text()), groups_of(folder)
    share("format", results["format"], groups, lambda answer: answer["format"])
    share("truncated", results["truncated"], groups, lambda answer: answer["finish"] == "length")
    mean("tokens", results["tokens"], [np.mean([answer["tokens"] for answer in group]) for group in groups])
    for measure in ("strict", "lenient"):
        accuracy = results[measure]
        share(measure, accuracy["accuracy"], groups, lambda answer: answer[measure])
        for k, found in accuracy.get("pass_at", {}).items():
            right = [sum(answer[measure] for answer in group) for group in groups]
            mean(f"pass@{k}", found, [pass_at(len(g), r, int(k)) for g, r in zip(groups, right)], clipped)
        if "majority" in accuracy:
            mean(f"{measure}, majority", accuracy["majority"], [majority(measure, group) for group in groups], clipped)
    return groups


for folder in map(Path, sys.argv[1:]):
    first, second = check(folder), check(folder / "against")
    comparison = json.loads((folder / "comparison.json").read_text())
    for measure in comparison["measures"]:
        name = measure["measure"]
        a, b = ([np.mean([answer[name] for answer in group]) for group in groups] for groups in (first, second))
        mean(f"difference, {name}", measure["difference"], np.array(a) - np.array(b))
        better = [group[0]["problem"] for group, x, y in zip(first, a, b) if x > y]
        worse = [group[0]["problem"] for group, x, y in zip(first, a, b) if x < y]
        assert [problem["problem"] for problem in measure["better"]] == better != []
        assert [problem["problem"] for problem in measure["worse"]] == worse
        if measure["test"] is None:
            assert len(first[0]) > 1
            continue
        counts, p_value = measure["test"]
        assert counts == {"only_first": len(better), "only_second": len(worse)}
        same(f"McNemar, {name}", p_value, mcnemar([[0, len(better)], [len(worse), 0]], exact=True).pvalue)
print(f"{compared} numbers agree with statsmodels to {TOLERANCE:g}")
