"""Several stores of the same moments: trained, judged and asked as if one extraction had made all their columns."""

import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest

import vidu_pipe as vp
from pipeline.cli import main
from pipeline.exchange.exporting import export_store
from pipeline.exchange.importing import import_store
from pipeline.learn.data.stores import Joined
from pipeline.learn.evaluate import evaluate_run
from pipeline.learn.learn import learn
from pipeline.learn.request import Request, SplitChoice
from pipeline.learn.runs.origins import known_stores
from pipeline.learn.runs.run import Run
from pipeline.learn.settings import TrainSettings
from pipeline.planning.find import find_videos
from pipeline.predict_videos import PredictJob, predict_videos
from pipeline.report.facts.compare import compare_runs
from pipeline.report.make import make_report
from pipeline.stored import stored_settings
from schemas.config import Sampling
from schemas.disk.store import Store
from schemas.errors import ConfigError, StoreError
from tests.videos import write_video

INLINE = {"inline": True, "quiet": True}


@pytest.fixture(scope="module")
def videos(world, tmp_path_factory):
    """The videos of the tiny world, and one that breaks off."""
    folder = tmp_path_factory.mktemp("several") / "videos"
    shutil.copytree(world.folder, folder)
    whole = write_video(folder / "class0" / "cut.avi", frames=60, codec="mpeg4")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    return folder


@pytest.fixture(scope="module")
def made(world, videos, tmp_path_factory):
    """Stores by name: both streams, each alone, and flow of smaller frames."""
    asked = {"both": world.asked, "rgb": world.asked.only(("rgb",)), "flow": world.asked.only(("flow",))}
    asked["small"] = replace(asked["flow"], short_side_px=24)
    root = tmp_path_factory.mktemp("stores")
    for name, settings in asked.items():
        replace(world, asked=settings).extract(root / name, folder=videos)
    return {name: root / name for name in asked}


def trained(out, *stores, **changes):
    """A run of one row, which joins all streams."""
    return learn(
        replace(
            Request(
                command="train-fusion",
                stores=stores,
                fusions=("concat",),
                quiet=True,
                split=SplitChoice(folds=2),
                training=TrainSettings(epochs=3),
            ),
            **changes,
        ),
        out,
    )


@pytest.fixture(scope="module")
def runs(made, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {
        name: trained(root / name, *(made[part] for part in name.split("+")))
        for name in ("both", "rgb+flow", "rgb+small")
    }


def answers(run, world, videos, **more):
    more.setdefault("weights", {"": world.weights})
    found = predict_videos(PredictJob(run=run.root, videos=find_videos(str(videos)), engine=INLINE, **more))
    return {said.video: (said.moments, said.outcome, said.probabilities.tolist()) for said in found.said}, found


@pytest.mark.parametrize("changes", [{}, {"alone": True, "fusions": ("score", "gated"), "head": "lstm"}])
def test_columns_of_two_stores_train_to_the_very_run_of_one_store_with_both(made, tmp_path, changes):
    one, two = (
        trained(tmp_path / str(len(stores)), *(made[name] for name in stores), **changes)
        for stores in (("both",), ("rgb", "flow"))
    )
    for name in ("results.json", "scores.npz", "predictions.csv", "splits.csv", "model.json", "model.safetensors"):
        assert (one.root / name).read_bytes() == (two.root / name).read_bytes(), name
    assert {name for name in one.settings if one.settings[name] != two.settings[name]} == {"stores"}
    assert [(store.path, store.digest) for store in known_stores(two)] == [
        (str(made[name].resolve()), Store.open(made[name]).origin.digest) for name in ("rgb", "flow")
    ]
    assert sum(video.outcome == "partial" for video in Store.open(made["both"]).video_rows()) == 1


def test_a_run_over_two_stores_predicts_in_one_pass_what_the_run_over_one_does(made, runs, world, videos, tmp_path):
    one, _ = answers(runs["both"], world, videos)
    two, found = answers(runs["rgb+flow"], world, videos, keep=tmp_path / "kept")
    assert one == two
    assert len(one) == 7
    assert [bad.id for bad in found.bad.partial] == ["class0/cut"]
    assert len(found.summaries) == 1
    assert Store.open(tmp_path / "kept").origin == Store.open(made["both"]).origin


def test_settings_that_differ_beyond_streams_are_extracted_one_after_the_other_and_joined(
    made, runs, world, videos, tmp_path
):
    run = runs["rgb+small"]
    said, found = answers(run, world, videos, keep=tmp_path / "kept")
    assert len(found.summaries) == 2
    assert [bad.id for bad in found.bad.partial] == ["class0/cut"]
    for stores in ((), (tmp_path / "kept" / "1", tmp_path / "kept" / "2"), (made["small"], made["rgb"])):
        judged = evaluate_run(run.root, stores=stores, part="all").predictions
        assert {one.video: dict(one.top)["class0"] for one in judged} == pytest.approx(
            {video: p[0] for video, (_, _, p) in said.items()}, abs=1e-6
        )


def test_a_timeline_has_the_moments_that_the_stores_share(runs, world, videos):
    lines = []
    predict_videos(
        PredictJob(
            run=runs["rgb+small"].root,
            videos=find_videos(str(videos / "class0" / "v0.mp4")),
            engine=INLINE,
            weights={"": world.weights},
            window=2,
        ),
        lines.append,
    )
    ((video, frame, probabilities),) = [(line.video, line.frame, line.probabilities) for line in lines]
    assert (video, frame.tolist(), probabilities.shape) == ("v0", [0, 8, 16], (3, 2))


def test_a_run_is_judged_on_any_stores_that_have_its_columns(made, runs):
    own = evaluate_run(runs["both"].root, part="all")
    for stores in (("both",), ("rgb", "flow"), ("flow", "rgb")):
        found = evaluate_run(runs["both"].root, stores=[made[name] for name in stores], part="all")
        assert found.metrics == own.metrics
    with pytest.raises(StoreError, match=r"short_side_px: 32, 24"):
        evaluate_run(runs["rgb+flow"].root, stores=(made["rgb"], made["small"]))
    with pytest.raises(StoreError, match=r"stream flow: there, absent"):
        evaluate_run(runs["rgb+flow"].root, stores=(made["rgb"],))


def test_only_the_streams_of_the_model_are_looked_for(made, world, videos, tmp_path):
    for name in ("rgb", "flow"):
        shutil.copytree(made[name], tmp_path / name)
    run = trained(tmp_path / "run", tmp_path / "rgb", tmp_path / "flow", alone=True, fusions=())
    (kept,) = run.model_settings().streams
    shutil.rmtree(tmp_path / ({"rgb", "flow"} - {kept}).pop())
    assert evaluate_run(run.root, part="all").videos == 7
    _, found = answers(run, world, videos / "class1", weights={"rgb": world.weights, "flow": world.weights})
    assert [stream["name"] for stream in found.summaries[0].store.origin.settings["stream"]] == [kept]


def test_settings_like_those_of_a_run_over_several_stores_are_joined_where_one_extraction_makes_them(made, runs):
    assert stored_settings(runs["rgb+flow"].root) == stored_settings(made["both"])
    with pytest.raises(ConfigError, match=r"no one extraction makes; choose one of them: .*rgb, .*small"):
        stored_settings(runs["rgb+small"].root)


def test_the_report_of_a_run_over_two_stores_tells_of_both_and_shows_map_and_pictures(made, runs):
    page = make_report(runs["rgb+small"].root).read_text()
    assert "Features 1" in page
    assert "Versions, features 2" in page
    assert "principal component" in page
    mistakes = sum(not one.correct for one in runs["rgb+small"].predictions())
    assert page.count("<img") == (2 * mistakes + 1 if mistakes else 0)
    assert "no map" not in page
    with pytest.raises(StoreError, match="stream flow: there, absent"):
        make_report(runs["rgb+small"].root, stores=(made["rgb"],))


def test_a_comparison_says_that_two_runs_differ_in_where_their_features_lie_and_in_nothing_else(runs):
    found = compare_runs([str(runs[name].root) for name in ("both", "rgb+flow")])
    assert set(found.differing) == {"stores"}
    assert found.pairs[0].difference == 0


def test_the_command_line_and_the_library_take_several_stores(made, tmp_path, capsys):
    words = [word for name in ("rgb", "flow") for word in ("--store", str(made[name]))]
    with pytest.raises(SystemExit) as end:
        main(["train-pooling", *words, "--out", str(tmp_path / "words"), "--folds", "2", "--epochs", "2", "--quiet"])
    assert end.value.code == 0
    run = vp.train(
        [made["rgb"], vp.open_store(made["flow"])],
        tmp_path / "run",
        command="train-pooling",
        epochs=2,
        fusions=["concat"],
        alone=False,
        folds=2,
        quiet=True,
    )
    assert run.settings["stores"] == Run.open(tmp_path / "words").settings["stores"]
    assert vp.evaluate(run, [made["rgb"], made["flow"]], part="all").videos == 7
    assert vp.report(run, store=[made["rgb"], made["flow"]]).exists()
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(run.root), *words, "--part", "all"])
    assert end.value.code == 0
    logging.getLogger().setLevel(logging.WARNING)  # what --quiet changed
    assert "7 videos" in capsys.readouterr().out


def refused(*stores, **changes):
    with pytest.raises(ConfigError) as refusal:
        trained(None, *stores, **changes)
    return str(refusal.value)


def test_a_stream_that_two_stores_have_is_refused_unless_others_are_chosen(made, tmp_path):
    assert "both have a stream 'flow': choose others as `streams`, or" in refused(made["flow"], made["small"])
    assert "is named twice" in refused(made["flow"], made["flow"])
    assert "have no stream 'depth'; they have rgb, flow" in refused(made["rgb"], made["flow"], streams=("depth",))
    run = trained(tmp_path / "run", made["both"], made["flow"], streams=("rgb",))
    assert list(run.model_settings().streams) == ["rgb"]
    assert evaluate_run(run.root, part="all").videos == 7


def test_stores_of_other_sampling_files_or_videos_are_refused_with_the_first_difference(made, world, videos, tmp_path):
    flow = replace(world, asked=world.asked.only(("flow",)))
    faster = replace(flow, asked=replace(flow.asked, sampling=Sampling(every=4)))
    faster.extract(tmp_path / "faster", folder=videos)
    assert "have other moments (sampling.every: 8, 4)" in refused(made["rgb"], tmp_path / "faster")
    others = tmp_path / "videos"
    shutil.copytree(videos, others)
    shutil.copy(others / "class0" / "v2.mp4", others / "class0" / "v0.mp4")
    flow.extract(tmp_path / "changed", folder=others)
    assert f"the file of 'class0/v0' is not the same one in {made['rgb']} and " in refused(
        made["rgb"], tmp_path / "changed"
    )
    (others / "class1" / "v1.avi").unlink()
    flow.extract(tmp_path / "fewer", folder=others)
    words = f"{made['rgb']} has the video 'class1/v1' and {tmp_path / 'fewer'} has not; extract it there too"
    assert words in refused(made["rgb"], tmp_path / "fewer")
    assert words in refused(tmp_path / "fewer", made["rgb"])
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\n" + "".join(f"class{n % 2}/v{n},class{n % 2}\n" for n in (2, 3, 4, 5)))
    kept = trained(tmp_path / "run", made["rgb"], tmp_path / "fewer", labels=labels)
    assert kept.results.videos == 4
    labels.write_text("path,label\n" + "".join(f"class{n % 2}/v{n},class{n % 2}\n" for n in range(1, 6)))
    assert "leave it out of the CSV given as `labels`" in refused(made["rgb"], tmp_path / "fewer", labels=labels)


def imported(made, tmp_path, name, *, times=True, change=None):
    """The store of flow alone, exported, perhaps changed, and imported again."""
    export_store(Store.open(made["flow"]), tmp_path / f"{name}-files", form="npz")
    for path in (tmp_path / f"{name}-files").rglob("*.npz"):
        with np.load(path) as file:
            arrays = {key: file[key] for key in file.files if times or key == "flow"}
        np.savez(path, **(change(path.stem, arrays) if change else arrays))
    return import_store({"": tmp_path / f"{name}-files"}, tmp_path / name, source="made").root


def test_imported_stores_join_and_unknown_times_are_told(made, runs, tmp_path, caplog):
    known = trained(tmp_path / "known", made["rgb"], imported(made, tmp_path, "timed"))
    assert "the times are unknown" not in caplog.text
    caplog.clear()
    store = imported(made, tmp_path, "untimed", times=False)
    unknown = trained(tmp_path / "unknown", made["rgb"], store)
    assert f"of 7 of 7 videos the times are unknown in {made['rgb']} or {store}" in caplog.text
    for run in (known, unknown):
        assert run.results == runs["rgb+flow"].results
        with pytest.raises(ConfigError, match="was trained on imported features"):
            predict_videos(PredictJob(run=run.root, videos=[], engine=INLINE))
    with pytest.raises(ConfigError, match=r"were not extracted by this program \(import\)"):
        stored_settings(known.root)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda name, arrays: {key: values[:2] if name == "v3" else values for key, values in arrays.items()},
            r"'class1/v3' has 3 moments in .* and 2 in",
        ),
        (
            lambda name, arrays: arrays | {"frame": arrays["frame"] + (name == "v3")},
            r"moment 0 of 'class1/v3' is frame 0 at 0\.000000 s in .* and frame 1 at 0\.000000 s in",
        ),
        (
            lambda name, arrays: arrays | {"pts_s": arrays["pts_s"] * (1 + (name == "v3"))},
            r"moment 1 of 'class1/v3' is frame 8 at 0\.320000 s in .* and frame 8 at 0\.640000 s in",
        ),
    ],
)
def test_other_moments_are_refused_with_the_first_that_differs(made, tmp_path, change, words):
    with pytest.raises(ConfigError, match=words):
        trained(None, made["rgb"], imported(made, tmp_path, "other", change=change))


def test_labels_come_from_the_first_store_alone_and_that_is_said(made, tmp_path, caplog):
    relabelled = tmp_path / "relabelled"
    shutil.copytree(made["flow"], relabelled)
    plan = Store.open(relabelled).books.read_plan()
    Store.open(relabelled).books.write_plan(
        replace(plan, videos=tuple(replace(video, label="ab"[number % 2]) for number, video in enumerate(plan.videos)))
    )
    joined = trained(tmp_path / "one", made["rgb"], relabelled)
    assert joined.labels()[0] == ("class0", "class1")
    assert (
        f"have other labels, splits or groups of 7 videos, 'class0/cut' first: those of {made['rgb']} hold"
        in caplog.text
    )
    assert trained(tmp_path / "two", relabelled, made["rgb"]).labels()[0] == ("a", "b")


def test_features_of_several_stores_share_one_allowance_of_memory(made):
    joined = Joined.open([made["rgb"], made["flow"]])
    half = sum(table.nbytes for table in Joined.open([made["rgb"]]).read(joined.videos).streams.values())
    data = joined.read(joined.videos, memory_bytes=half)
    whole = joined.read(joined.videos, streams=["flow", "rgb"])
    assert list(data.streams) == ["rgb", "flow"]
    assert list(whole.streams) == ["flow", "rgb"]
    assert all(np.array_equal(data.streams[name], whole.streams[name]) for name in data.streams)
