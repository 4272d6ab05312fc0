"""Files of a run that are missing, cut short or of other values are a StoreError, whoever reads them."""

import contextlib
import json

import numpy as np
import pytest
import torch

from pipeline.learn.data.dataset import _allocate
from pipeline.learn.models.model import VideoClassifier, load_model, save_model
from pipeline.learn.runs.run import Run
from pipeline.learn.settings import ModelSettings
from pipeline.learn.training.checkpoint import TrainingState
from schemas.errors import ResourceError, StoreError
from tests.pipeline.report.synthetic import make_run

READERS = {
    "settings.json": Run.open,
    "results.json": lambda root: Run.open(root).results,
    "labels.json": lambda root: Run.open(root).labels(),
    "metrics.jsonl": lambda root: Run.open(root).metrics(),
    "predictions.csv": lambda root: Run.open(root).predictions(),
    "splits.csv": lambda root: Run.open(root).splits(),
    "scores.npz": lambda root: Run.open(root).scores(),
    "model.json": lambda root: Run.open(root).model_settings(),
    "model.safetensors": lambda root: load_model(Run.open(root).model_settings(), Run.open(root).model_path),
}


@pytest.fixture
def root(tmp_path):
    return make_run(
        tmp_path / "run",
        classes=["run", "walk"],
        names=["a", "b", "c", "caf\udce9"],
        labels=[0, 1, 0, 1],
        rows=("rgb", "flow"),
        epochs=1,
    ).root


@pytest.mark.parametrize("name", READERS)
def test_a_whole_run_is_read_and_one_that_lacks_a_file_is_a_store_error(root, name):
    READERS[name](root)
    (root / name).unlink()
    with pytest.raises(StoreError, match=str(root)):
        READERS[name](root)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) * 2 // 3],
        lambda data: data[:3],
        lambda data: b"[3, 4]",
        lambda data: b'{"rows": 3}',
    ],
)
def test_a_file_cut_short_or_of_something_else_is_a_store_error(root, name, damage):
    (root / name).write_bytes(damage((root / name).read_bytes()))
    if name.endswith((".csv", ".jsonl")):  # cut between two lines it is a shorter table
        with contextlib.suppress(StoreError):
            READERS[name](root)
        return
    with pytest.raises(StoreError, match=str(root)):
        READERS[name](root)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("results.json", '"videos": 4', '"videos": "4"', "videos"),
        ("results.json", '"streams": [', '"streams": [3,', "str"),
        ("labels.json", "false", "0", "multilabel"),
        ("metrics.jsonl", '"epoch": 0', '"epoch": "0"', "line 1.*epoch"),
        ("metrics.jsonl", '"val_top1"', '"val_top2"', "line 1.*val_top1"),
        ("model.json", '"dropout": 0.5', '"dropout": 7', "`dropout` must be"),
        ("model.json", '"hidden": 0', '"hidden": "0"', "hidden"),
        ("splits.csv", "fold", "folds", "line 2.*fold"),
        ("splits.csv", ",0,test", ",zero,test", "line 2.*int"),
        ("predictions.csv", "c,0,0", "c,0,x", "line 4"),
    ],
)
def test_a_value_of_another_type_is_a_store_error_that_names_it(root, name, old, new, words):
    data = (root / name).read_bytes()
    assert old.encode() in data
    (root / name).write_bytes(data.replace(old.encode(), new.encode(), 1))
    with pytest.raises(StoreError, match=rf"{name}.*{words}"):
        READERS[name](root)


def test_what_a_killed_run_left_half_written_is_taken_over(tmp_path):
    (tmp_path / "run/resume").mkdir(parents=True)
    for name in (".settings.json.0123.tmp", "resume/.rgb.pt.0123.tmp"):
        (tmp_path / "run" / name).write_text("{")
    (tmp_path / "run/settings.json").write_text(json.dumps({"schema": 5, "command": "train"}))
    Run.create(tmp_path / "run", {"command": "train"})
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == ["resume", "settings.json"]


MODEL = ModelSettings(streams={"rgb": 300}, classes=4)


def a_state():
    model = VideoClassifier(MODEL)
    return TrainingState(model, torch.optim.AdamW(model.parameters()), lambda progress: progress, torch.Generator())


def test_a_checkpoint_that_is_missing_or_damaged_is_a_store_error(tmp_path):
    path = tmp_path / "rgb.pt"
    with pytest.raises(StoreError, match=r"rgb\.pt"):
        a_state().load(path)
    a_state().save(path)
    a_state().load(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(StoreError, match=r"rgb\.pt is damaged.*begins anew"):
        a_state().load(path)


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: save_model(VideoClassifier(MODEL), folder / "model.safetensors"),
        lambda folder: a_state().save(folder / "rgb.pt"),
        lambda folder: _allocate({"rgb": (1000, np.dtype("float32"))}, 100, 0, folder),
        lambda folder: make_run(
            folder / "run",
            classes=["run", "walk"],
            names=["a" * 99, "b"],
            labels=[0, 1],
            rows=("rgb", "flow"),
            epochs=40,
        ),
    ],
)
def test_a_full_disk_ends_training_with_words_and_leaves_nothing_half_written(small_disk, write):
    with pytest.raises(ResourceError, match=r"cannot (write|make) .*disk.*No space left.*same command again"):
        write(small_disk)
    assert not list(small_disk.rglob(".*"))
