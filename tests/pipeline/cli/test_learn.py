"""The learning commands as a user types them."""

import importlib.util
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.cli.known import CELLS
from pipeline.exchange.formats import FORMATS
from pipeline.learn.models.fusion import FUSIONS
from pipeline.learn.models.heads import HEADS, LSTM, Mean, head_options
from pipeline.learn.runs.run import Run
from pipeline.learn.settings import VAL_FRACTION, VAL_WORTH_IT, TrainSettings
from pipeline.learn.training.experiment import Experiment
from schemas.errors import ViduError
from schemas.options import parse_pairs
from schemas.streams import STREAMS


@pytest.fixture
def vidu(tmp_path, monkeypatch):
    """Return a caller of the command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        result = CliRunner().invoke(cli, words)
        if isinstance(result.exception, ViduError):
            raise result.exception
        return result

    return call


@pytest.fixture
def features(tmp_path):
    rng = np.random.default_rng(0)
    for look in range(2):
        for move in range(2):
            for n in range(6):
                for stream, centre in (("rgb", look), ("flow", move)):
                    path = tmp_path / stream / f"look{look}_move{move}" / f"{n}.npy"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, rng.normal(6 * centre, 1, (3, 4)))
    return tmp_path


def test_features_are_imported_trained_judged_and_fused_from_the_command_line(vidu, features):
    result = vidu("import", "--from", "rgb=rgb", "--from", "flow=flow", "--source", "made")
    assert result.exit_code == 0, result.output
    assert "24 videos, 72 moments, streams: rgb (4), flow (4)" in result.output
    quick = ("--epochs", "12", "--learning-rate", "0.02", "--folds", "2", "--threads", "1", "--quiet")
    result = vidu("train-fusion", *quick)
    assert result.exit_code == 0, result.output
    assert "Fusion helps" in result.output
    assert "report  runs/fusion-1/report.html" in result.output
    assert Path("runs/fusion-1/report.html").is_file()
    with pytest.raises(ViduError, match="trained on all videos of its store, so none is left to judge it by"):
        vidu("evaluate", "runs/fusion-1")
    result = vidu("evaluate", "runs/fusion-1", "--part", "all")
    assert "24 of these videos were in the model's training" in result.output
    result = vidu("fuse", "runs/fusion-1:rgb", "runs/fusion-1:flow", "--normalise", "none", "--out", "fused.csv")
    assert "24 videos, joined by name" in result.output
    result = vidu("export", "features", "--out", "files", "--format", "npz")
    assert "24 videos written" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("train-pooling", "--folds", "2", "--leave-one-group-out"),
            "--folds and --leave-one-group-out exclude each other",
        ),
        (("train-fusion", "--score-weights", "a,b"), "--score-weights 'a,b' is neither equal, fit, nor numbers"),
        (("import", "--from", "rgb=rgb", "--from", "rgb=flow"), "two folders"),
        (("import", "--from", "nowhere"), "no folder nowhere"),
        (("train-pooling", "--pool", "lstm"), "vidu-pipe train-lstm --cell lstm"),
        (
            ("train-pooling", "--split-number", "2"),
            "--split-number says which split of --split-files, which is not given",
        ),
        (("train-fusion", "--score-weights", "nan,1"), "weights are finite"),
        (("train-fusion", "--score-weights", "inf,1"), "weights are finite"),
        (("train-lstm", "--cell", "mean"), "'mean' is not one of 'lstm', 'gru'"),
    ],
)
def test_a_wrong_option_is_a_usage_error(vidu, features, words, message):
    try:
        result = vidu(*words)
        code, said = result.exit_code, result.output
    except ViduError as error:
        code, said = error.exit_code, str(error)
    assert (code, message in said) == (2, True), said


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.parametrize("command", ["train-pooling", "train-lstm", "train-fusion"])
def test_every_trainer_writes_event_files_into_its_run_when_asked(vidu, features, command):
    vidu("import", "--from", "rgb=rgb", "--source", "made")
    result = vidu(command, "--tensorboard", "--no-report", "--epochs", "2", "--folds", "1", "--quiet", "--out", "run")
    assert result.exit_code == 0, result.output
    assert "curves  tensorboard --logdir run/tensorboard" in result.output
    assert list(Path("run/tensorboard/rgb/seed0-fold0").glob("events.out.tfevents.*"))


def test_who_interrupts_training_is_told_how_it_goes_on(vidu, features, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    vidu("import", "--from", "rgb=rgb", "--source", "made")
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "train", interrupt)
        result = vidu("train-pooling", "--quiet")
    assert result.exit_code == 130
    assert "the same command again goes on" in result.output
    assert "run     runs/pooling-2" in vidu("train-pooling", "--quiet", "--epochs", "1").output  # another one
    assert "run     runs/pooling-1" in vidu("train-pooling", "--quiet").output


def test_every_option_of_every_head_is_reached_and_stands_in_the_help_with_its_default(vidu):
    text = " ".join(vidu("train-fusion", "--help").output.split())
    for head, make in HEADS.items():
        for name, parameter in inspect.signature(make).parameters.items():
            if name != "dim":
                default = parameter.default
                told = f"{name}={('yes' if default else 'no') if isinstance(default, bool) else default}"
                assert re.search(rf"{head}[^;\]]*: [^;]*{re.escape(told)}", text), (head, told)
                assert head_options(head, parse_pairs("head_options", [told])) == {name: default}


@pytest.mark.parametrize(("command", "head"), [("train-lstm", "--cell"), ("train-fusion", "--head")])
def test_a_head_is_made_with_the_options_given(vidu, features, command, head):
    vidu("import", "--from", "rgb=rgb", "--source", "made")
    result = vidu(
        command,
        head,
        "gru",
        "--head-option",
        "both_ways=no",
        "--head-option",
        "hidden=5",
        "--no-report",
        "--epochs",
        "1",
        "--folds",
        "1",
        "--quiet",
        "--out",
        "run",
    )
    assert result.exit_code == 0, result.output
    assert Run.open(Path("run")).model_settings().head_options == {"both_ways": False, "hidden": 5}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pool", "mean", "--head-option", "k=3"), "head 'mean' takes no option 'k'; .*: none"),
        (("--pool", "attention", "--head-option", "depth=2"), "with their defaults: hidden=64"),
        (("--pool", "attention", "--head-option", "hidden"), "--head-option 'hidden': write NAME=VALUE"),
        (("--pool", "attention", "--head-option", "hidden=many"), "'many' is not a whole number"),
        (("--pool", "attention", "--head-option", "hidden=0"), "at least 1 hidden unit"),
        (("--pool", "attention", "--head-option", "hidden=2", "--head-option", "hidden=3"), "given twice"),
        (("--pool", "medoid"), "unknown head 'medoid'"),
        (("--fusion", "gated"), "joins streams, and there is one, rgb"),
        (("--patience", "3"), "there is no validation part"),
    ],
)
def test_options_that_would_be_left_aside_are_refused(vidu, features, words, message):
    vidu("import", "--from", "rgb=rgb", "--source", "made")
    with pytest.raises(ViduError, match=message):
        vidu("train-pooling", *words)
    assert not Path("runs").exists()


def test_training_without_a_store_says_what_makes_one(vidu):
    with pytest.raises(ViduError, match="`vidu-pipe extract` with --out features"):
        vidu("train-pooling")


@pytest.mark.parametrize(
    "command", ["train-pooling", "train-lstm", "train-fusion", "evaluate", "import", "export", "fuse"]
)
def test_every_command_has_help(vidu, command):
    result = vidu(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_the_help_tells_the_defaults_that_hold(vidu):
    settings = TrainSettings()
    text = " ".join(vidu("train-pooling", "--help").output.split())
    for name in ("epochs", "weight_decay", "schedule", "label_smoothing", "clip_norm", "patience"):
        assert re.search(rf"--{name.replace('_', '-')} [^\[]*\[default: {getattr(settings, name)}\]", text), name
    assert f"[default: {VAL_FRACTION} from {VAL_WORTH_IT} videos on]" in text
    assert re.search(rf"default: {Mean.learning_rate:g} over mean, max[^;]*; else {LSTM.learning_rate:g}\]", text)


def test_the_help_names_what_is_known_by_the_dicts_it_stands_in(vidu, monkeypatch):
    class Stranger(Mean):
        learning_rate = 0.25

        def __init__(self, *, dim: int, odd: int = 7) -> None:
            super().__init__(dim=dim)

    monkeypatch.setitem(HEADS, "stranger", Stranger)
    monkeypatch.setitem(FUSIONS, "strange_fusion", FUSIONS["concat"])
    monkeypatch.setitem(FORMATS, "strange", FORMATS["npz"])
    said = {
        command: "".join(vidu(command, "--help").output.split())  # lines break within names that have a hyphen
        for command in ("train-pooling", "train-lstm", "train-fusion", "import", "export", "extract")
    }
    for command in ("train-pooling", "train-fusion"):
        assert all(name in said[command] for name in (*HEADS, *FUSIONS) if name not in CELLS), command
        assert "0.25overstranger" in said[command]
        assert "stranger:odd=7" in said[command]
    assert all(name in said["train-lstm"] for name in FUSIONS)
    assert all(name in said[command] for name in FORMATS for command in ("import", "export"))
    assert all(kind in said["extract"] for kind in STREAMS)
