"""From video files to predictions, end to end with a tiny network, through the command line."""

import csv
import json
import logging

import numpy as np
import pytest
from safetensors.torch import save_file

from pipeline.cli import main
from pipeline.jobs.job import Job, do_job
from pipeline.jobs.prepare import prepare
from pipeline.learn.evaluate import evaluate_run
from pipeline.learn.learn import learn
from pipeline.learn.request import Request, SplitChoice
from pipeline.learn.runs.run import Run
from pipeline.learn.settings import TrainSettings
from pipeline.planning.find import find_videos
from pipeline.predict_videos import PredictJob, same_extractions
from schemas.config import ExtractSettings, Sampling
from schemas.disk.store import Store
from schemas.errors import ConfigError, ResourceError, StoreError
from schemas.streams import Flow, Rgb
from tests.pipeline.report.pages import assert_self_contained, parse
from tests.pipeline.report.synthetic import make_run
from tests.videos import write_video
from workers.networks.backbones import make_backbone

BACKBONE = "test_resnet"
CLASSES = ("bright", "dark")
VIDEOS = 6


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Six tiny videos, the weights of a tiny network, a store of both streams and a run over it."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    for number in range(VIDEOS):
        label = CLASSES[number % 2]
        (folder / "videos" / label).mkdir(parents=True, exist_ok=True)
        base = 190 if label == "bright" else 40
        images = [np.clip(base + rng.normal(0, 20, (48, 64, 3)), 0, 255).astype(np.uint8) for _ in range(14)]
        write_video(folder / "videos" / label / f"v{number}.mp4", images=images)
    weights = folder / "tiny.safetensors"
    save_file(make_backbone(BACKBONE).skeleton().state_dict(), weights)
    settings, networks = prepare(
        ExtractSettings(
            sampling=Sampling(every=2),
            device="cpu",
            short_side_px=48,
            streams=(Rgb(BACKBONE, weights=weights), Flow(BACKBONE, weights=weights, method="dis", stack=3)),
        )
    )
    do_job(
        Job(
            videos=find_videos(str(folder / "videos")),
            settings=settings,
            networks=networks,
            out=folder / "store",
            inline=True,
            quiet=True,
        )
    )
    for head in ("mean", "lstm"):
        learn(
            Request(
                command="train-fusion",
                stores=(folder / "store",),
                alone=True,
                fusions=("concat",),
                head=head,
                head_options={"hidden": 4} if head == "lstm" else {},
                split=SplitChoice(folds=3),
                training=TrainSettings(epochs=3, val_fraction=0),
                quiet=True,
            ),
            folder / f"run-{head}",
        )
    return folder


def predict(world, capsys, *options, run="run-mean", videos="videos", code=0):
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(
            [
                "predict",
                "--run",
                str(world / run),
                "--videos",
                str(world / videos),
                "--inline",
                "--quiet",
                "--weights",
                str(world / "tiny.safetensors"),
                *map(str, options),
            ]
        )
    logging.getLogger().setLevel(logging.WARNING)  # what --quiet changed
    told = capsys.readouterr()
    assert end.value.code == code, told.err
    return told


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("run", ["run-mean", "run-lstm"])
def test_predicting_from_videos_is_judging_the_store_they_make(world, capsys, tmp_path, run):
    told = predict(world, capsys, "--csv", tmp_path / "p.csv", "--json", tmp_path / "p.json", run=run)
    rows = rows_of(tmp_path / "p.csv")
    expected = {one.video: dict(one.top) for one in evaluate_run(world / run, part="all").predictions}
    assert [row["video"] for row in rows] == sorted(expected)
    for row in rows:
        assert {row["top1"]: float(row["p1"]), row["top2"]: float(row["p2"])} == pytest.approx(
            expected[row["video"]], abs=2e-6
        )
        assert (row["outcome"], row["moments"]) == ("ok", "7")
        assert row["path"] == str(world / "videos" / f"{row['video']}.mp4")
        assert f"{row['top1']} {100 * float(row['p1']):.1f}" in told.out
    plain = json.loads((tmp_path / "p.json").read_text())
    assert [(one["video"], one["top"][0]["class"], f"{one['top'][0]['p']:.6f}") for one in plain["videos"]] == [
        (row["video"], row["top1"], row["p1"]) for row in rows
    ]
    assert plain["failed"] == []


def test_no_store_is_left_behind_unless_one_is_wanted(world, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    predict(world, capsys, "--top", 1)
    assert list(tmp_path.iterdir()) == []
    told = predict(world, capsys, "--keep-store", tmp_path / "kept")
    kept = Store.open(tmp_path / "kept")
    assert kept.origin == Store.open(world / "store").origin
    assert evaluate_run(world / "run-mean", stores=(tmp_path / "kept",)).videos == VIDEOS
    assert predict(world, capsys, "--keep-store", tmp_path / "kept").out == told.out


def test_a_broken_video_is_named_the_others_are_judged_and_the_exit_code_is_3(world, capsys, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"no video at all" * 50)
    write_video(tmp_path / "videos" / "good.mp4", frames=5)
    told = predict(world, capsys, "--json", tmp_path / "p.json", videos=tmp_path / "videos", code=3)
    assert "failed: bad (VideoOpenError)" in told.err
    assert "good" in told.out
    plain = json.loads((tmp_path / "p.json").read_text())
    assert [one["video"] for one in plain["videos"]] == ["good"]
    assert [(one["video"], one["reason"]) for one in plain["failed"]] == [("bad", "VideoOpenError")]


def test_only_broken_videos_leave_nothing_to_say_and_exit_code_3(world, capsys, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video at all" * 50)
    told = predict(world, capsys, "--csv", tmp_path / "p.csv", videos=tmp_path / "bad.mp4", code=3)
    assert "failed: bad" in told.err
    assert rows_of(tmp_path / "p.csv") == []


def test_a_timeline_has_a_row_a_moment_that_sums_to_one_and_a_page(world, capsys, tmp_path):
    told = predict(
        world, capsys, "--timeline", tmp_path / "lines", "--window", 3, run="run-lstm", videos="videos/dark/v1.mp4"
    )
    assert "windows of 3 moments" in told.out
    rows = rows_of(tmp_path / "lines" / "v1.csv")
    assert [int(row["frame"]) for row in rows] == [0, 2, 4, 6, 8, 10, 12]
    assert [float(row["pts_s"]) for row in rows] == pytest.approx(np.arange(7) * 2 / 25, abs=1e-4)
    for row in rows:
        p = {name: float(row[name]) for name in CLASSES}
        assert sum(p.values()) == pytest.approx(1, abs=2e-6)
        assert row["said"] == max(p, key=p.get)
    page = parse((tmp_path / "lines" / "v1.html").read_text(encoding="utf-8"))
    assert_self_contained(page)
    assert "its lstm head included" in page.text


def test_a_timeline_of_one_moment_comes_with_a_warning(world, capsys, caplog, tmp_path):
    write_video(tmp_path / "short.mp4", frames=2)
    predict(world, capsys, "--timeline", tmp_path / "lines", videos=tmp_path / "short.mp4")
    assert len(rows_of(tmp_path / "lines" / "short.csv")) == 1
    assert "short has one moment, so its timeline is one row" in caplog.text


def test_a_timeline_without_a_folder_goes_to_timelines(world, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    predict(world, capsys, "--timeline", "--window", 99, videos="videos/dark")
    assert sorted(path.name for path in (tmp_path / "timelines").iterdir()) == [
        "v1.csv",
        "v1.html",
        "v3.csv",
        "v3.html",
        "v5.csv",
        "v5.html",
    ]


def test_only_the_streams_of_the_model_are_extracted(world):
    run = Run.open(world / "run-mean")
    streams = tuple(run.model_settings().streams)
    job = PredictJob(run=run.root, videos=[], weights={"": world / "tiny.safetensors"})
    ((settings, states),) = same_extractions(run, job)
    assert tuple(stream.name for stream in settings.streams) == streams == tuple(states)
    assert bool(settings.needs.flow) == ("flow" in streams)


def test_other_weights_are_refused_with_both_digests(world, tmp_path):
    other = tmp_path / "other.safetensors"
    state = make_backbone(BACKBONE).skeleton().state_dict()
    save_file(state, other)
    run = Run.open(world / "run-mean")
    with pytest.raises(ConfigError, match=r"of digest [0-9a-f]+; those found in .* have [0-9a-f]+\. Give the file"):
        same_extractions(run, PredictJob(run=run.root, videos=[], weights={"": other}))


def edited(world, tmp_path, edit):
    """A copy of the run with other words in its settings."""
    run = tmp_path / "run"
    run.mkdir()
    for path in (world / "run-mean").iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    settings = json.loads((run / "settings.json").read_text())
    edit(settings["stores"][0])
    (run / "settings.json").write_text(json.dumps(settings))
    return Run.open(run)


def test_other_versions_of_libraries_are_refused_unless_accepted(world, tmp_path, caplog):
    run = edited(world, tmp_path, lambda store: store["software"].update(av="0.1"))
    job = {"run": run.root, "videos": [], "weights": {"": world / "tiny.safetensors"}}
    with pytest.raises(StoreError, match=r"(?s)av: 0\.1, .*`mixed_software`"):
        same_extractions(run, PredictJob(**job))
    with caplog.at_level(logging.WARNING):
        same_extractions(run, PredictJob(**job, mixed_software=True))
    assert "av: 0.1" in caplog.text


def test_features_of_a_gpu_are_made_on_the_cpu_only_when_asked(world, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = edited(
        world, tmp_path, lambda store: (store["settings"].update(device="cuda"), store["software"].update(tf32="off"))
    )
    job = {"run": run.root, "videos": [], "weights": {"": world / "tiny.safetensors"}}
    with pytest.raises(ResourceError, match="`device` cpu"):
        same_extractions(run, PredictJob(**job))
    with caplog.at_level(logging.WARNING):
        ((settings, _),) = same_extractions(run, PredictJob(**job, device="cpu"))
    assert settings.device == "cpu"
    assert "made on cuda" in caplog.text


def test_a_run_over_imported_features_can_not_predict_from_videos(world, capsys, tmp_path):
    make_run(tmp_path / "imported", classes=CLASSES, names=list("abcd"), labels=np.arange(4) % 2)
    told = predict(tmp_path, capsys, run="imported", videos=world / "videos", code=2)
    assert "was trained on imported features" in told.err


def test_no_run_no_videos_and_nonsense_end_with_their_exit_codes(world, capsys, tmp_path):
    assert "no run in" in predict(world, capsys, run="nothing", code=1).err
    assert "no such file" in predict(world, capsys, videos="nothing", code=2).err
    assert "--window" in predict(world, capsys, "--window", 0, code=2).err


def test_an_output_that_can_not_be_written_is_refused_before_the_videos_are_extracted(world, capsys, tmp_path):
    (tmp_path / "file").touch()
    for option in ("--timeline", "--csv", "--json"):
        told = predict(world, capsys, option, tmp_path / "file" / "x", code=1)
        assert "cannot make" in told.err
        assert not told.out


def test_the_report_of_a_real_run_has_a_map_and_pictures_of_its_mistakes(world, capsys):
    with pytest.raises(SystemExit) as end:
        main(["report", str(world / "run-mean"), "--map", "tsne", "--mistakes", "2"])
    assert end.value.code == 0
    page = parse((world / "run-mean" / "report.html").read_text(encoding="utf-8"))
    assert_self_contained(page)
    assert "t-SNE" in page.text
    marks = [attributes for tag, attributes in page.tags if tag == "use" and "%" in attributes.get("x", "")]
    assert len(marks) == VIDEOS
    mistakes = sum(not prediction.correct for prediction in Run.open(world / "run-mean").predictions())
    flow = 1 if mistakes else 0  # the wheel
    assert sum(tag == "img" for tag, _ in page.tags) == 2 * min(2, mistakes) + flow
