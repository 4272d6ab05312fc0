"""The command line as a process: killed, interrupted, and run again."""

import signal
import time
from pathlib import Path

import pytest

from schemas.disk.store import Store
from tests.pipeline.conftest import alive, digests, leftovers

PATIENCE_S = 120.0


def wait_for(what):
    until = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)


def is_agent(pid):
    """Whether it is one of Ray's two agents, which do no work and look only once a minute whether Ray still runs."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith((b"ray::DashboardAgent", b"ray::RuntimeEnvAgent"))
    except OSError:
        return False


def reports(out):
    return list((out / "reports").glob("*.json"))


def test_a_killed_driver_leaves_no_process_and_the_same_command_goes_on(world, reference, tmp_path, start_command):
    out = tmp_path / "store"
    command = start_command(*world.options(out, "--workers", "2"), POISON_SLOW_S="1.5")
    wait_for(lambda: reports(out))
    family = command.family()
    assert len(family) > 4  # the driver, Ray's own, two workers
    command.process.send_signal(signal.SIGKILL)
    command.process.wait()
    with Store.open(out).books.lock():
        pass  # died with its owner, though Ray's processes outlive it for a moment
    wait_for(lambda: not [pid for pid in alive(family) if not is_agent(pid)])
    kept = digests(out)
    assert 0 < len(kept) < 6
    summary = world.extract(out)
    assert (summary.kept, len(summary.made)) == (len(kept), 6 - len(kept))
    assert digests(out) == digests(reference)
    assert leftovers(out) == []


@pytest.mark.parametrize(("sign", "more"), [(signal.SIGTERM, ("--workers", "2")), (signal.SIGINT, ("--inline",))])
def test_an_interrupted_run_says_how_to_go_on_and_goes_on(world, reference, tmp_path, start_command, sign, more):
    out = tmp_path / "store"
    command = start_command(*world.options(out, *more), POISON_SLOW_S="1.5")
    wait_for(lambda: reports(out))
    family = command.family()
    command.process.send_signal(sign)
    said, _ = command.process.communicate(timeout=PATIENCE_S)
    assert command.process.returncode == 130, said
    assert f"interrupted. What is done in {out} is safe; the same command again goes on there." in said
    assert "Traceback" not in said
    wait_for(lambda: not alive(family))
    assert 0 < len(digests(out)) < 6
    world.extract(out)
    assert digests(out) == digests(reference)
