"""Who calls the library gets the process back as it was: its settings, its signals, and no process more."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import vidu_pipe as vp
from schemas.streams import Flow, Rgb
from tests.pipeline.conftest import poisoned_environment

PATIENCE_S = 120.0


def everything():
    """All that a call could leave changed."""
    return {
        "threads": torch.get_num_threads(),
        "chance": torch.get_rng_state().tolist(),
        "strict": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
        ),
        "kernels": (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
        ),
        "opencv": cv2.getNumThreads(),
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "folder": Path.cwd(),
        "signals": {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)},
    }


@pytest.fixture
def others(monkeypatch):
    """Settings that are not those of the library."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    threads, opencv, strict = (
        torch.get_num_threads(),
        cv2.getNumThreads(),
        torch.are_deterministic_algorithms_enabled(),
    )
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    torch.use_deterministic_algorithms(True, warn_only=True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    yield everything()
    torch.set_num_threads(threads)
    cv2.setNumThreads(opencv)
    torch.use_deterministic_algorithms(strict)


def test_calls_leave_the_process_as_they_found_it(world, others, tmp_path):
    streams = [
        Rgb("test_resnet", weights=str(world.weights)),
        Flow("test_resnet", weights=str(world.weights), method="dis", stack=2),
    ]
    store = vp.extract(
        world.folder, tmp_path / "store", streams=streams, short_side_px=32, device="cpu", inline=True, quiet=True
    )
    assert everything() == others
    run = vp.train(store, tmp_path / "run", head="lstm", fusions=["concat"], folds=2, epochs=1, quiet=True)
    assert everything() == others
    vp.evaluate(run, part="all")
    vp.predict(run, world.folder / "class0" / "v0.mp4", weights={"": world.weights}, inline=True, quiet=True)
    vp.report(run)
    vp.flow(np.random.default_rng(0).integers(0, 255, (2, 40, 40), np.uint8), "dis")
    assert everything() == others


def test_a_call_that_fails_leaves_the_process_as_it_found_it(world, others, tmp_path):
    store = vp.extract(
        world.folder,
        tmp_path / "store",
        streams=[Rgb("test_resnet", weights=str(world.weights))],
        short_side_px=32,
        device="cpu",
        inline=True,
        quiet=True,
    )
    with pytest.raises(vp.ConfigError):
        vp.train(store, tmp_path / "run", streams=["sound"], quiet=True)
    assert everything() == others


SCRIPT = """
import logging, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
handlers = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
environment = dict(os.environ)
import vidu_pipe as vp
from pathlib import Path
videos, weights, out = sys.argv[1:]
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
try:
    vp.extract(videos, out, streams=[vp.Rgb("test_resnet", weights=weights)], short_side_px=32, device="cpu",
               workers=2, shard_frames=24, quiet=True)
except KeyboardInterrupt:
    assert handlers == {sign: signal.getsignal(sign) for sign in handlers}
    assert environment == dict(os.environ), set(os.environ.items()) ^ set(environment.items())
    children = [name for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
                if "resource_tracker" not in (name := Path(f"/proc/{pid}/cmdline").read_text())
                and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"]
    print("ended, with children", children)
"""


@pytest.mark.parametrize(
    ("poison", "under_way"),
    [
        ({"POISON_SLOW_PROBE_S": "1"}, lambda out: (out / ".probes.jsonl").exists()),
        ({"POISON_SLOW_S": "1"}, lambda out: list((out / "reports").glob("*.json"))),
    ],
)
def test_who_interrupts_a_call_goes_on_without_its_processes(world, tmp_path, poison, under_way):
    out = tmp_path / "store"
    started = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, world.folder, world.weights, out],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | poisoned_environment(**poison),
    )
    until = time.monotonic() + PATIENCE_S
    while not under_way(out) and started.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    said, _ = started.communicate(timeout=PATIENCE_S)
    assert "ended, with children []" in said, said
    assert started.returncode == 0
