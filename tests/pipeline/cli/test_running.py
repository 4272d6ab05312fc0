"""How jobs are told of on the command line."""

import logging
from dataclasses import dataclass
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import COMMANDS, cli, flags
from pipeline.cli.flags import FlagFormatter, flag_of, told
from pipeline.cli.running import tell
from schemas.errors import ConfigError
from schemas.plan import SegmentReport, ShardReport


@pytest.fixture(autouse=True)
def no_command():
    yield
    flags.enter(None)


def command_of(name):
    return cli.get_command(click.Context(cli), name)


@pytest.mark.parametrize(
    ("command", "message", "words"),
    [
        ("extract", "`sampling.every` and `flow.stack`, `rgb.crop`", "--every and --flow-stack, --rgb-crop"),
        ("extract", "choose another `out`; `retry_failed`", "choose another --out; --retry-failed"),
        ("extract", "`stream.name`, `clip.x`", "--stream KIND:name=VALUE, `clip.x`"),
        ("flow", "`bound_px` belongs to `format` jpg; `every`", "--bound belongs to --format jpg; --every"),
        ("status", "`vidu-pipe extract` with `out` x makes one", "`vidu-pipe extract` with --out x makes one"),
        ("status", "`retry_failed` plans it anew", "--retry-failed plans it anew"),
        ("train-pooling", "`val_fraction` 0.2, `fusions`, `memory_bytes`", "--val 0.2, --fusion, --memory"),
        ("train-lstm", "`head` and `head_options`", "--cell and --head-option"),
        (
            "predict",
            "choose another `out`, `mixed_software`, `address`",
            "choose another --keep-store, --mixed-software, --ray-address",
        ),
        ("import", "`folders` rgb=DIR, `source`", "--from rgb=DIR, --source"),
        ("fuse", "`weights` fit needs `labels`", "--weights fit needs --labels"),
        ("report", "`map` pca", "--map pca"),
        ("bench", "`size` 3x3", "--size 3x3"),
        ("compare", "`store.json` and `grey` stay", "`store.json` and `grey` stay"),
    ],
)
def test_fields_are_told_as_the_flags_of_the_command_that_runs(command, message, words):
    flags.enter(command_of(command))
    assert told(message) == words


def test_without_a_command_fields_of_every_command_are_told_and_others_stay():
    assert told("`out`, `min_videos`") == "--out, `min_videos`"


def test_log_lines_and_errors_of_a_command_name_its_flags(monkeypatch):
    lines = []

    @click.command("train-pooling")
    @click.option("--min-videos", type=int)
    def refuses(min_videos):
        record = logging.makeLogRecord({"msg": "`min_videos` %d", "args": (min_videos,)})
        lines.append(FlagFormatter("%(message)s").format(record))
        raise ConfigError("`min_videos` is wrong")

    monkeypatch.setattr("pipeline.cli.learn.train_pooling", refuses)
    failed = CliRunner().invoke(cli, ["train-pooling", "--min-videos", "3"]).exception
    assert (str(failed), lines) == ("--min-videos is wrong", ["--min-videos 3"])


@dataclass
class Summary:
    """As much of a Summary as is told."""

    made: list
    stages_s: dict
    store: SimpleNamespace
    bad: SimpleNamespace
    kept: int = 0
    traces: tuple = ()
    lost: tuple = ()
    relabelled: tuple = ()
    failed: tuple = ()
    partial: tuple = ()


def test_the_speed_of_streams_of_any_name_is_told(capsys):
    stages = {"decode": 2.0, "mean-grey-network": 1.0, "mean-grey-input": 0.5, "write": 0.1}
    segment = SegmentReport("v", 0, 0, 10, "ok", "", "", 40, 40, 40, stages)
    report = ShardReport("000000", "", 1000, 10, 0, (segment,), stages, 1.0, "here", 0)
    summary = Summary(
        [report],
        stages,
        SimpleNamespace(origin=SimpleNamespace(kind="extract")),
        SimpleNamespace(lines=lambda: ["failed: v (VideoDecodeError) `retry_failed` plans it anew"]),
    )
    assert tell(summary, 4.0, {"out": "features"}, unit="shard", following="next") == 0
    said = capsys.readouterr()
    assert "failed: v (VideoDecodeError) --retry-failed plans it anew" in said.err
    lines = [line for line in said.out.splitlines() if "workers' time" in line]
    shown = {line.split()[0]: line.split("time")[1].strip() for line in lines}
    assert shown == {
        "decode": "20 frame/s",
        "mean-grey-network": "10 moment/s",
        "mean-grey-input": "20 moment/s",
        "write": "",
    }
    assert "40 frames, 10 moments" in said.out
    assert "flow pair" not in said.out


def test_every_command_is_known_to_the_table_of_own_flags():
    assert set(flags.OWN_FLAGS) <= set(COMMANDS)
    assert flag_of("nothing", None) is None
