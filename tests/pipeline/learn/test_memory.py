"""Memory that is kept between steps."""

import platform
import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from pipeline.learn.training.memory import keep_freed_memory

torch.set_num_threads(1)
if sys.argv[1] == "keep":
    keep_freed_memory()
for step in range(12):
    if step == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(10 << 20) for _ in range(4)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc hands memory back and can be told not to")
def test_memory_of_a_step_is_not_asked_of_the_kernel_again_by_the_next():
    pages_of_a_step = 4 * (40 << 20) // resource.getpagesize()
    assert faults("keep") < 2 * pages_of_a_step  # in ten steps, which ask ten times when nothing is kept
