"""Writes the cases of math-verify's own tests, with its verdicts, as lines of JSON.

Usage: cases.py SOURCES OUT

SOURCES is the folder of its source distribution. Its parametrized tests run with `parse` and `verify` wrapped, so that every pair of
texts that they compare is written to OUT, with the verdict by default and the one with the settings of the test.
"""

import importlib
import importlib.metadata
import json
import pathlib
import sys

import math_verify


class Parsed(list):
    """What `parse` returns, with the text that it was given."""


def parse(text, *args, **settings):
    parsed = Parsed(math_verify.parse(text, *args, **settings))
    parsed.text = text
    return parsed


def recording(cases):
    """`verify`, which also adds to `cases`."""

    def verify(gold, answer, **settings):
        verdict = math_verify.verify(gold, answer, **settings)
        default = math_verify.verify(math_verify.parse(gold.text), math_verify.parse(answer.text))
        cases.append({"gold": gold.text, "answer": answer.text, "default": default, "as_tested": verdict})
        return verdict

    return verify


def run(test):
    for mark in getattr(test, "pytestmark", []):
        names = [name.strip() for name in mark.args[0].split(",")]
        for values in mark.args[1]:
            try:
                test(**dict(zip(names, values, strict=True)))
            except AssertionError:
                pass  # What counts is the verdict, not what the test expects of it.


def main(sources, out):
    sys.path.insert(0, str(sources))
    files = sorted((sources / "tests").glob("test_*.py"))
    modules = [importlib.import_module(f"tests.{file.stem}") for file in files]
    cases = []
    verify = recording(cases)
    for module in modules:
        if hasattr(module, "parse") and hasattr(module, "verify"):
            module.parse, module.verify = parse, verify
    for module in modules:
        for name, test in vars(module).items():
            if name.startswith("test_") and test.__module__ == module.__name__:
                run(test)
    assert cases, "the tests have compared nothing"
    out.write_text("".join(json.dumps(case) + "\n" for case in cases))
    print(f"{len(cases)} cases of math-verify {importlib.metadata.version('math-verify')}")


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
