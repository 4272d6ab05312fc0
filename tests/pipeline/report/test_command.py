"""`report` and `compare` as a user calls them."""

import importlib.util
import sys

import numpy as np
import pytest

from pipeline.cli import main
from tests.pipeline.report.pages import parse


def call(capsys, *words, code=0):
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    told = capsys.readouterr()
    assert end.value.code == code, told.err
    return told


def test_report_writes_into_the_run_or_where_it_is_told(run, capsys, tmp_path):
    assert "report.html" in call(capsys, "report", run.root).out
    assert (run.root / "report.html").exists()
    call(capsys, "report", run.root, "--out", tmp_path / "deep" / "page.html", "--mistakes", 0)
    page = parse((tmp_path / "deep" / "page.html").read_text(encoding="utf-8"))
    assert "figure" in {tag for tag, _ in page.tags}
    assert not [attributes for _, attributes in page.tags if attributes.get("class") == "card"]


def test_report_is_the_same_bytes_every_time(run, capsys, tmp_path):
    for name in ("one", "two"):
        call(capsys, "report", run.root, "--out", tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_report_without_a_run_or_with_an_unknown_map_says_what_is_known(run, capsys, tmp_path):
    assert "no run in" in call(capsys, "report", tmp_path / "nothing", code=1).err
    assert "known: pca, tsne" in call(capsys, "report", run.root, "--map", "globe", code=2).err


def test_compare_prints_both_tables_and_writes_a_page(run, capsys, tmp_path):
    told = call(capsys, "compare", f"{run.root}:rgb", f"{run.root}:concat", "--html", tmp_path / "c.html")
    scores = run.scores()
    for row in ("rgb", "concat"):
        accuracy = 100 * np.mean(scores.rows[row][0].argmax(1) == scores.labels)
        line = next(line for line in told.out.splitlines() if line.startswith(f"{run.root}:{row} "))
        assert line.split()[1:3] == [row, f"{accuracy:.1f}"]
    assert "p by paired sign-flip test" in told.out
    parse((tmp_path / "c.html").read_text(encoding="utf-8"))
    assert "two runs or more" in call(capsys, "compare", run.root, code=2).err


def test_without_tensorboard_the_option_says_how_to_get_it(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    for words in (("report", run.root), ("train-fusion", "--store", tmp_path / "nothing is read before that is said")):
        told = call(capsys, *words, "--tensorboard", code=1)
        assert "pip install 'vidu-pipe[tensorboard]'" in told.err


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_event_files_hold_the_lines_of_the_metrics_file(run, capsys, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):  # the second time they are made anew, not added to
        told = call(capsys, "report", run.root, "--tensorboard", "--out", tmp_path / "page.html")
    assert f"tensorboard --logdir {run.root / 'tensorboard'}" in told.out
    found = {}
    files = list((run.root / "tensorboard").rglob("events.out.tfevents.*"))
    assert len(files) == len({path.parent for path in files})
    for folder in {path.parent for path in files}:
        events = EventAccumulator(str(folder)).Reload()
        name = folder.relative_to(run.root / "tensorboard").as_posix()
        found |= {
            (name, tag, event.step): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)
        }
    expected = {}
    for line in run.metrics():
        fold = "all" if line["fold"] == -1 else f"fold{line['fold']}"
        for metric in ("learning_rate", "train_loss", "train_top1", "val_loss", "val_top1"):
            expected[f"{line['row']}/seed0-{fold}", metric, line["epoch"]] = line[metric]
    assert found == pytest.approx(expected)
