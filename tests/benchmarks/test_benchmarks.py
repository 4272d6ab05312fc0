"""Every benchmark runs to its end at a small size, so that the figures of a real one can be made again at any time.

A benchmark's first lines say its command, once for a real size and once for a small one. The small one is run here, in
this process. Benchmarks check what they time before they time it, and stop where it is wrong; times are not looked at.
"""

import importlib
import re
import shlex
from pathlib import Path

import pytest

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
NEED_SHARED_DATA = {"bench_tvl1"}


def commands(name: str) -> dict[str, list[str]]:
    """The arguments of each size that a benchmark's first lines tell: `python -m ... ARGUMENTS  # size`."""
    text = importlib.import_module(f"tests.benchmarks.{name}").__doc__
    lines = re.findall(rf"^    python -m tests\.benchmarks\.{name}(.*)# (real|small)\b", text, re.MULTILINE)
    return {size: shlex.split(arguments) for arguments, size in lines}


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_its_command_for_a_real_and_a_small_size(name):
    assert set(commands(name)) == {"real", "small"}


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_at_a_small_size(name, request, capsys):
    if name in NEED_SHARED_DATA:
        request.getfixturevalue("shared_data")
    importlib.import_module(f"tests.benchmarks.{name}").main(commands(name)["small"])
    lines = capsys.readouterr().out.splitlines()
    assert any(re.search(r"\d", line) for line in lines)
