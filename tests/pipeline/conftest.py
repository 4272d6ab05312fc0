"""One tiny set of videos, one tiny network, and one reference store, made in this process."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.jobs.job import Job, Summary, do_job
from pipeline.jobs.prepare import prepare
from pipeline.planning.find import find_videos
from schemas.config import ExtractSettings, Sampling
from schemas.disk.store import Store
from schemas.streams import Flow, Rgb
from tests.videos import write_video

ROOT = Path(__file__).parents[2]
BACKBONE = "test_resnet"
FRAMES = 24


@dataclass(frozen=True, slots=True)
class World:
    """A folder of videos, and how to extract it in a twinkling."""

    folder: Path
    weights: Path
    asked: ExtractSettings

    def job(self, out: Path, *, folder: Path | None = None, **changes: Any) -> Job:
        """One shard a video, in this process."""
        settings, networks = prepare(self.asked)
        job = Job(
            videos=find_videos(str(folder or self.folder)),
            settings=settings,
            networks=networks,
            out=out,
            inline=True,
            quiet=True,
            shard_frames=FRAMES,
        )
        return replace(job, **changes)

    def extract(self, out: Path, **changes: Any) -> Summary:
        """Do the job."""
        return do_job(self.job(out, **changes))

    def options(self, out: Path, *more: str, folder: Path | None = None) -> list[str]:
        """The same as words of the command line."""
        return [
            "extract",
            "--videos",
            str(folder or self.folder),
            "--out",
            str(out),
            "--flow",
            "farneback",
            "--flow-stack",
            "4",
            "--short-side",
            "32",
            "--rgb-backbone",
            BACKBONE,
            "--flow-backbone",
            BACKBONE,
            "--weights",
            str(self.weights),
            "--shard-frames",
            str(FRAMES),
            "--device",
            "cpu",
            *more,
        ]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        suffix, codec = (("mp4", "libx264"), ("avi", "mpeg4"))[number % 2]
        (folder / f"class{number % 2}").mkdir(exist_ok=True)
        write_video(
            folder / f"class{number % 2}" / f"v{number}.{suffix}",
            frames=FRAMES,
            width=48 + 16 * (number % 3),
            height=48,
            codec=codec,
        )
    weights = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(BACKBONE).state_dict(), weights)
    asked = ExtractSettings(
        sampling=Sampling(every=8),
        short_side_px=32,
        device="cpu",
        streams=(
            Rgb(BACKBONE, weights=str(weights)),
            Flow(BACKBONE, weights=str(weights), method="farneback", stack=4),
        ),
    )
    return World(folder, weights, asked)


@pytest.fixture(scope="session")
def reference(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole store, made in one go in this process; tests copy it and never change it."""
    out = tmp_path_factory.mktemp("reference") / "store"
    assert len(world.extract(out).made) == 6
    return out


def digests(root: Path) -> dict[str, str]:
    """sha256 by shard, of those that are done."""
    books = Store.open(root).books
    return {task.shard: report.sha256 for task in books.read_plan().shards if (report := books.report(task.shard))}


def leftovers(root: Path) -> list[str]:
    """Files that someone began and did not end."""
    return [path.name for path in root.rglob("*.tmp")]


@dataclass(frozen=True, slots=True)
class Command:
    """The command line in a process of its own; `seen` are all of its family that were ever looked at."""

    process: "subprocess.Popen[str]"
    seen: set[tuple[int, str]] = field(default_factory=set)

    def family(self) -> set[tuple[int, str]]:
        """The process and all its descendants, each with the time it started at; as long as the process lives."""
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            fields = status(int(folder.name))
            if fields:
                parents[int(folder.name), fields[19]] = int(fields[1])
        found = {one for one in parents if one[0] == self.process.pid}
        while more := {one for one, parent in parents.items() if parent in {pid for pid, _ in found}} - found:
            found |= more
        self.seen.update(found)
        return found


def status(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, ...; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def alive(family: set[tuple[int, str]]) -> list[int]:
    """Those of a family that still run."""
    return [pid for pid, started in family if (fields := status(pid)) and fields[19] == started and fields[0] != "Z"]


def poisoned_environment(**poison: str) -> dict[str, str]:
    """Environment in which chosen videos are poison; see tests/poison."""
    return {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "poison"), os.environ["PYTHONPATH"]])} | poison


# a shell starts what it puts in the background with SIGINT ignored, and so would be all that these tests start there
MAIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from pipeline.cli import main; main()"


@pytest.fixture
def start_command() -> "Callable[..., Command]":
    """Start the command line; what still runs at the end of the test is killed."""
    started: list[Command] = []

    def start(*arguments: str, **poison: str) -> Command:
        environment = os.environ | poisoned_environment(**poison)
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        started.append(Command(process))
        return started[-1]

    yield start
    for command in started:
        for pid in alive(command.family() | command.seen):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        command.process.communicate()
