"""The learning commands as a user types them."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.learn.experiment import Experiment
from pipeline.learn.heads import LSTM, Mean
from pipeline.learn.settings import VAL_FRACTION, VAL_WORTH_IT, TrainSettings
from schemas.errors import ViduError


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
    result = vidu("import", "--from", "rgb=rgb", "--from", "flow=flow")
    assert result.exit_code == 0, result.output
    assert "24 videos, 72 moments, streams: rgb (4), flow (4)" in result.output
    quick = ("--epochs", "12", "--learning-rate", "0.02", "--folds", "2", "--threads", "1", "--quiet")
    result = vidu("train-fusion", *quick)
    assert result.exit_code == 0, result.output
    assert "Fusion helps" in result.output
    assert "report  runs/fusion-1/report.html" in result.output
    assert Path("runs/fusion-1/report.html").is_file()
    result = vidu("evaluate", "runs/fusion-1")
    assert "24 of these videos were in the model's training" in result.output
    result = vidu("fuse", "runs/fusion-1:rgb", "runs/fusion-1:flow", "--normalise", "none", "--out", "fused.csv")
    assert "24 videos, joined by name" in result.output
    result = vidu("export", "features", "--out", "files", "--format", "npz")
    assert "24 videos written" in result.output


@pytest.mark.parametrize(("words", "message"), [
    (("train-pooling", "--folds", "2", "--leave-one-group-out"), "exclude each other"),
    (("train-fusion", "--score-weights", "a,b"), "neither equal, fit, nor numbers"),
    (("import", "--from", "rgb=rgb", "--from", "rgb=flow"), "two folders"),
    (("import", "--from", "nowhere"), "no folder nowhere"),
    (("train-pooling", "--pool", "lstm"), "vidu-pipe train-lstm --cell lstm"),
    (("train-lstm", "--cell", "mean"), "'mean' is not one of 'lstm', 'gru'"),
])
def test_a_wrong_option_is_a_usage_error(vidu, features, words, message):
    result = vidu(*words)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
@pytest.mark.parametrize("command", ["train-pooling", "train-lstm", "train-fusion"])
def test_every_trainer_writes_event_files_into_its_run_when_asked(vidu, features, command):
    vidu("import", "--from", "rgb=rgb")
    result = vidu(command, "--tensorboard", "--no-report", "--epochs", "2", "--folds", "1", "--quiet", "--out", "run")
    assert result.exit_code == 0, result.output
    assert "curves  tensorboard --logdir run/tensorboard" in result.output
    assert list(Path("run/tensorboard/rgb/seed0-fold0").glob("events.out.tfevents.*"))


def test_who_interrupts_training_is_told_how_it_goes_on(vidu, features, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    vidu("import", "--from", "rgb=rgb")
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "train", interrupt)
        result = vidu("train-pooling", "--quiet")
    assert result.exit_code == 130
    assert "the same command again goes on" in result.output
    assert "run     runs/pooling-2" in vidu("train-pooling", "--quiet", "--epochs", "1").output  # another one
    assert "run     runs/pooling-1" in vidu("train-pooling", "--quiet").output


def test_training_without_a_store_says_what_makes_one(vidu):
    with pytest.raises(ViduError, match="vidu-pipe extract --out features"):
        vidu("train-pooling")


@pytest.mark.parametrize("command", ["train-pooling", "train-lstm", "train-fusion", "evaluate", "import", "export",
                                     "fuse"])
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
    assert f"[default: {Mean.learning_rate:.0e} over mean and max, else {LSTM.learning_rate:.0e}]" in text.replace(
        "3e-4", "3e-04").replace("1e-3", "1e-03")
