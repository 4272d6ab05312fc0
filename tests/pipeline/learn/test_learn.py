"""From a store to a run, whole."""

import json
import shutil
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.cli.tables import evaluation_table, results_table
from pipeline.learn.data.splits import Fold
from pipeline.learn.evaluate import evaluate_run
from pipeline.learn.learn import learn
from pipeline.learn.models.model import VideoClassifier, load_model
from pipeline.learn.request import Request, SplitChoice
from pipeline.learn.runs.provenance import done
from pipeline.learn.runs.rows import Row
from pipeline.learn.runs.run import Run
from pipeline.learn.settings import ModelSettings, TrainSettings
from pipeline.learn.training import checkpoint
from pipeline.learn.training.experiment import Experiment
from pipeline.report.make import make_report
from schemas.disk.store import Store
from schemas.errors import BusyError, ConfigError, ResourceError, StoreError

QUICK = TrainSettings(epochs=10, learning_rate=2e-2)


def fusion(store, **changes):
    return replace(
        Request(
            command="train-fusion",
            stores=(store.root,),
            training=QUICK,
            fusions=("concat", "average", "score", "gated"),
            alone=True,
            split=SplitChoice(folds=3),
            quiet=True,
        ),
        **changes,
    )


@pytest.fixture(scope="module")
def run(halves, tmp_path_factory):
    """Return a complete run; no test changes it."""
    torch.set_num_threads(1)
    return learn(fusion(halves), tmp_path_factory.mktemp("runs") / "run")


def test_neither_stream_exceeds_its_half_and_every_fusion_solves_the_whole(run):
    results = run.results
    assert [row.name for row in results.rows] == ["rgb", "flow", "concat", "average", "score", "gated"]
    for row in results.rows:
        if row.fusion:
            assert row.metrics["top1"] >= 0.9
            assert row.versus.difference > 0.3
            assert row.versus.p < 0.001
        else:
            assert row.metrics["top1"] <= 0.62
    assert results.verdict.startswith("Fusion helps")
    assert results.kept in ("concat", "average", "score", "gated")


def test_the_mean_head_is_within_a_point_of_tuned_logistic_regression_on_the_same_folds(make_store, tmp_path):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 60))
    videos = {
        f"class{c}/{n:03d}": {"rgb": 0.1 * centres[c] + rng.normal(0, 1, (3, 60))} for c in range(3) for n in range(100)
    }
    store = make_store(videos)
    request = Request(command="train-pooling", stores=(store.root,), split=SplitChoice(folds=3), quiet=True)
    run = learn(request, tmp_path / "run")
    x = np.stack([videos[row.video]["rgb"].mean(0) for row in run.splits()])
    y, fold = np.array([row.label for row in run.splits()]), np.array([row.fold for row in run.splits()])

    def accuracy(strength, train, test):
        scaler = StandardScaler().fit(x[train])
        model = LogisticRegression(C=strength).fit(scaler.transform(x[train]), y[train])
        return (model.predict(scaler.transform(x[test])) == y[test]).mean()

    right = []
    for k in range(3):
        inner, train = fold == (k + 1) % 3, fold != k  # tuned without the test fold, as an honest user would
        best = max((1e-3, 1e-2, 1e-1, 1.0), key=lambda c, k=k, inner=inner: accuracy(c, (fold != k) & ~inner, inner))
        right.append(accuracy(best, train, fold == k))
    assert 0.5 < np.mean(right) < 0.9  # neither hopeless nor trivial
    assert run.results.rows[0].metrics["top1"] >= np.mean(right) - 0.01


def test_in_cross_validation_every_video_is_judged_once(run, halves):
    ids = [video.id for video in halves.video_rows()]
    assert [p.video for p in run.predictions()] == ids
    assert [row.video for row in run.splits()] == ids
    scores = run.scores()
    assert list(scores.names) == ids
    assert all(np.allclose(p.sum(2), 1, atol=1e-5) for p in scores.rows.values())
    assert np.mean([p.correct for p in run.predictions()]) == pytest.approx(
        run.results.row(run.results.kept).metrics["top1"]
    )
    assert {(row["row"], row["fold"]) for row in run.metrics()} >= {("rgb", 0), ("gated", 2)}
    assert not (run.root / "resume").exists()


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(halves, tmp_path):
    request = fusion(halves, head="hard_attention", fusions=("concat",), alone=False, split=SplitChoice(folds=2))
    one, two = (learn(request, tmp_path / name) for name in ("one", "two"))
    for name in ("model.safetensors", "predictions.csv", "results.json", "splits.csv", "scores.npz", "settings.json"):
        assert (one.root / name).read_bytes() == (two.root / name).read_bytes(), name
    other = learn(replace(request, seed=1), tmp_path / "other")
    assert (one.root / "model.safetensors").read_bytes() != (other.root / "model.safetensors").read_bytes()


@pytest.mark.parametrize("epochs", [1, 5])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bits(halves, tmp_path, monkeypatch, epochs):
    request = fusion(
        halves,
        head="hard_attention",
        fusions=("concat",),
        split=SplitChoice(folds=1),
        training=replace(QUICK, val_fraction=0.2),
    )
    whole = learn(request, tmp_path / "whole")
    monkeypatch.setattr(checkpoint, "CHECKPOINT_EVERY_S", 0.0)
    close = checkpoint.TrainingState.close_epoch
    calls = []

    def interrupt(state, row, path):
        close(state, row, path)
        calls.append(path)
        if len(calls) == QUICK.epochs + epochs:  # in the middle of the second of three rows
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.TrainingState, "close_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn(request, tmp_path / "broken")
    with pytest.raises(StoreError, match="unfinished"):
        Run.open(tmp_path / "broken")
    resumed = learn(request, tmp_path / "broken")
    for name in ("model.safetensors", "predictions.csv", "results.json"):
        assert (whole.root / name).read_bytes() == (resumed.root / name).read_bytes(), name


def test_repeats_vary_the_folds_and_the_texts_say_so(halves, tmp_path):
    request = fusion(
        halves, fusions=("concat",), training=replace(QUICK, epochs=3), split=SplitChoice(folds=3, repeats=2)
    )
    run = learn(request, tmp_path / "run")
    results, scores = run.results, run.scores()
    assert (results.times, len(results.rows[0].seeds)) == ("2 repeats", 2)
    said = {(p.video, p.seed): p for p in run.predictions()}
    for place, seed in enumerate(scores.seeds.tolist()):
        right = [said[name, seed].correct for name in scores.names]
        assert np.mean(right) == pytest.approx(results.row(results.kept).seeds[place])
        assert [said[name, seed].fold for name in scores.names] == scores.folds[place].tolist()
    assert scores.folds[0].tolist() != scores.folds[1].tolist()
    assert [row.fold for row in run.splits()] == scores.folds[0].tolist()
    table = results_table(results)
    assert "± repeats" in table
    assert "between repeats with fresh folds and seeds" in table
    assert "between repeats with fresh folds and seeds" in make_report(run.root).read_text()
    again = learn(replace(request, seed=1, split=SplitChoice(folds=3), fusions=("concat",)), tmp_path / "second")
    np.testing.assert_array_equal(again.scores().rows["concat"][0], scores.rows["concat"][1])


def test_a_run_directory_is_never_overwritten(run, halves, tmp_path):
    with pytest.raises(ConfigError, match="complete run"):
        learn(fusion(halves), run.root)
    shutil.copytree(run.root, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "results.json").unlink()
    with pytest.raises(ConfigError, match=r"other settings \(seed, split\)"):
        learn(fusion(halves, seed=3), tmp_path / "unfinished")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not a run, and not empty"):
        learn(fusion(halves), tmp_path / "mine")


def test_runs_without_a_name_are_numbered(halves, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = fusion(halves, alone=False, fusions=("concat",), training=replace(QUICK, epochs=1))
    assert [learn(request).root.name for _ in range(2)] == ["fusion-1", "fusion-2"]


def test_two_trainings_at_once_never_share_a_run(halves, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = fusion(halves, alone=False, fusions=("concat",), split=SplitChoice(folds=1))
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "train", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn(request)
    with Run.hold(tmp_path / "runs/fusion-1"):  # as another process that goes on with it
        with pytest.raises(BusyError, match=r"fusion-1 is being written by process \d+ on .*another `out`"):
            learn(request, tmp_path / "runs/fusion-1")
        assert learn(request).root.name == "fusion-2"
    assert learn(request).root.name == "fusion-1"


def raise_interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_row_to_keep_is_chosen_in_inner_folds_where_there_is_no_validation_part(halves, tmp_path):
    request = fusion(
        halves,
        fusions=("gated", "concat"),
        alone=False,
        split=SplitChoice(folds=1),
        training=TrainSettings(epochs=1, learning_rate=1e-9),
    )  # gated, the first, learns nothing
    results = learn(request, tmp_path / "run").results
    assert (results.kept, results.kept_by) == ("concat", "best in inner folds of the training part")
    assert results.row("gated").selection < results.row("concat").selection
    assert {line["fold"] for line in Run.open(tmp_path / "run").metrics()} == {0}


def test_models_are_dropped_after_their_fold(halves, tmp_path, monkeypatch):
    made, alive = weakref.WeakSet(), []
    begin, train = VideoClassifier.__init__, Experiment.train

    def noted(self, settings):
        begin(self, settings)
        made.add(self)

    def counting(self, *args, **options):
        alive.append(len(made))
        return train(self, *args, **options)

    monkeypatch.setattr(VideoClassifier, "__init__", noted)
    monkeypatch.setattr(Experiment, "train", counting)
    learn(fusion(halves, fusions=("concat", "score"), split=SplitChoice(folds=3)), tmp_path / "run")
    assert len(alive) > 12
    assert max(alive) == 0


def test_the_kept_model_says_what_the_run_says(halves, tmp_path):
    run = learn(fusion(halves, split=SplitChoice(folds=1)), tmp_path / "held-out")
    found = evaluate_run(run.root, out=tmp_path / "said.csv")  # of the test part, as nothing else is asked for
    kept = run.results.row(run.results.kept)
    assert found.metrics["top1"] == kept.metrics["top1"]
    assert found.seen == 0
    assert evaluate_run(run.root, part="train").seen > 0
    assert (tmp_path / "said.csv").read_text().count("\n") == found.videos + 1


def test_a_run_is_judged_with_its_own_labels_and_groups_on_its_own_store(halves, tmp_path):
    labels = tmp_path / "labels.csv"
    rows = [(video.id, int(video.id[-2:])) for video in halves.video_rows()]
    labels.write_text("path,label,group\n" + "".join(f"{name},{name[:5].upper()},g{n % 6}\n" for name, n in rows))
    run = learn(fusion(halves, labels=labels, split=SplitChoice(folds=1), fusions=("concat",)), tmp_path / "run")
    found, kept = evaluate_run(run.root, part="test"), run.results.row(run.results.kept)
    assert (found.metrics["top1"], found.low, found.high) == (kept.metrics["top1"], kept.low, kept.high)
    assert {one.name for one in found.classes} == {"LOOK0", "LOOK1"}


def test_training_videos_are_known_by_their_content_wherever_they_lie(make_store, tmp_path):
    rng = np.random.default_rng(0)
    videos = {f"{label}/{n}": {"rgb": rng.normal(3 * (label == "a"), 1, (3, 4))} for label in "ab" for n in range(10)}
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label,group\n" + "".join(f"{name},{name[0]},g{name[2:]}\n" for name in videos))
    run = learn(
        fusion(make_store(videos), labels=labels, split=SplitChoice(folds=1), fusions=("concat",)), tmp_path / "run"
    )
    moved = {f"{name[0]}/moved{name[2:]}": streams for name, streams in videos.items()}
    fresh = {f"{label}/new{n}": {"rgb": rng.normal(size=(3, 4))} for label in "ab" for n in range(3)}
    found = evaluate_run(run.root, stores=(make_store(moved | fresh, name="moved").root,))
    trained = sum(row.part == "train" for row in run.splits())
    assert (found.videos, found.seen) == (26, trained)
    assert (found.unit, found.units) == ("group", 10 + 6)  # the ten of the run's CSV, and new ones by themselves
    assert "by bootstrap over 16 groups" in evaluation_table(found)


def test_an_unfinished_store_is_learnt_from_with_a_warning(halves, tmp_path, caplog):
    shutil.copytree(halves.root, tmp_path / "whole")
    store = Store.open(tmp_path / "whole")
    plan = store.books.read_plan()
    store.books.write_plan(replace(plan, shards=(*plan.shards, replace(plan.shards[0], shard="000001"))))
    learn(fusion(store, fusions=("concat",), alone=False), tmp_path / "run")
    assert "is unfinished: of 2 shards 1 is not made" in caplog.text


def test_an_interrupted_run_is_not_taken_up_with_other_labels(halves, tmp_path, monkeypatch):
    labels = tmp_path / "labels.csv"
    lines = [f"{video.id},{video.id[:5]}\n" for video in halves.video_rows()]
    labels.write_text("".join(lines))
    request = fusion(halves, labels=labels, fusions=("concat",))

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "train", interrupt)
        with pytest.raises(KeyboardInterrupt):
            learn(request, tmp_path / "run")
    labels.write_text("".join(lines[:-1]))
    with pytest.raises(ConfigError, match=r"other settings \(split\), or its videos or labels have changed"):
        learn(request, tmp_path / "run")
    labels.write_text("".join(lines))
    assert learn(request, tmp_path / "run").results.videos == len(lines)


def test_a_part_without_a_video_is_answered_with_the_parts_there_are(run):
    with pytest.raises(ConfigError, match=r"in the part 'val'; its videos are in: test"):
        evaluate_run(run.root, part="val")


def test_where_there_is_one_stream_it_is_said_that_nothing_is_fused(halves, tmp_path, caplog):
    run = learn(fusion(halves, streams=("rgb",), training=replace(QUICK, epochs=1)), tmp_path / "run")
    assert "one stream, rgb, so there is nothing to fuse" in caplog.text
    assert (run.results.verdict, [row.name for row in run.results.rows]) == ("", ["rgb"])


def test_three_streams_are_fused_and_paired_with_the_best_of_them(make_store, tmp_path):
    rng = np.random.default_rng(0)
    videos = {
        f"{a}{b}{c}/{n}": {
            name: rng.normal(4 * half, 1, (3, 4 + k))
            for k, (name, half) in enumerate((("rgb", a), ("flow", b), ("pose", c)))
        }
        for a in (0, 1)
        for b in (0, 1)
        for c in (0, 1)
        for n in range(6)
    }
    run = learn(fusion(make_store(videos), score_weights=(1.0, 1.5, 1.0)), tmp_path / "run")
    results = run.results
    assert [row.name for row in results.rows[:3]] == ["rgb", "flow", "pose"]
    assert max(row.metrics["top1"] for row in results.rows[:3]) < 0.5
    for row in results.rows[3:]:
        assert row.streams == ("rgb", "flow", "pose")
        assert row.metrics["top1"] > 0.85


def test_where_groups_are_too_few_for_any_difference_to_show_that_is_said(halves, tmp_path):
    labels = tmp_path / "labels.csv"
    rows = [(video.id, int(video.id[-2:])) for video in halves.video_rows()]
    labels.write_text("path,label,group\n" + "".join(f"{name},{name.split('/')[0]},g{n % 4}\n" for name, n in rows))
    results = learn(fusion(halves, labels=labels), tmp_path / "run").results
    assert (results.units, results.unit) == (4, "group")
    words = "with 4 groups p can not fall below 0.5, whatever is found; 8 groups are needed"
    assert results.verdict.startswith("Whether fusion helps can not be shown here: ")
    assert results.verdict.endswith(f"{words}.")
    assert words in results_table(results).replace(results.verdict, "")
    assert words in make_report(tmp_path / "run").read_text().replace(results.verdict, "")


def test_others_may_read_a_run(run):
    modes = {path.name: path.stat().st_mode & 0o777 for path in run.root.iterdir() if path.is_file()}
    assert len(set(modes.values())) == 1, modes


def test_a_store_of_other_features_is_refused_with_the_difference(run, make_store):
    other = make_store(
        {"look0_move0/a": {"rgb": np.zeros((2, 6)), "flow": np.zeros((2, 5))}}, name="other", source="another network"
    )
    with pytest.raises(StoreError, match="source: made, another network"):
        evaluate_run(run.root, stores=(other.root,))


def test_standardisation_is_learnt_from_the_training_part_alone(make_store, tmp_path):
    rng = np.random.default_rng(0)
    videos = {
        f"{label}/{n}": {"rgb": rng.normal(size=(3, 2)) + (100 if n > 7 else 0)} for label in "ab" for n in range(10)
    }
    store = make_store(videos)
    labels = tmp_path / "labels.csv"
    labels.write_text("".join(f"{name},{name[0]},{'test' if int(name[2:]) > 7 else 'train'}\n" for name in videos))
    run = learn(
        fusion(store, labels=labels, split=SplitChoice(), head="attention", training=replace(QUICK, val_fraction=0.0)),
        tmp_path / "run",
    )
    branch = load_model(run.model_settings(), run.model_path).branch("rgb")
    rows = np.concatenate([streams["rgb"] for name, streams in videos.items() if int(name[2:]) <= 7])
    torch.testing.assert_close(branch.mean, torch.tensor(rows.mean(0), dtype=torch.float32), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(branch.std, torch.tensor(rows.std(0), dtype=torch.float32), rtol=1e-4, atol=1e-4)


def test_videos_of_several_labels_are_learnt(make_store, tmp_path):
    rng = np.random.default_rng(0)
    videos, lines = {}, ["path,label"]
    for n in range(60):
        has = rng.random(3) < 0.5
        has[rng.integers(3)] = True
        videos[f"v{n}"] = {"rgb": rng.normal(4 * has, 1, (3, 3))}
        lines.append(f"v{n}.mp4,{';'.join(np.array(['a', 'b', 'c'])[has])}")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines))
    store = make_store(videos)
    run = learn(fusion(store, labels=labels, training=replace(QUICK, epochs=40)), tmp_path / "run")
    results = run.results
    assert (results.main, results.confusion) == ("lrap", None)
    assert results.rows[0].metrics["map"] > 0.95
    assert min(results.rows[0].metrics[name] for name in ("f1_macro", "f1_micro")) > 0.85
    assert results_table(results).startswith("row    mAP %  LRAP %  95 % interval  macro F1  micro F1  top-1")
    assert len(results.thresholds) == 3
    assert evaluate_run(run.root, part="all").metrics["f1_micro"] > 0.85
    held = learn(
        fusion(store, labels=labels, fusions=("concat",), alone=False, split=SplitChoice(folds=1)), tmp_path / "held"
    ).results
    assert len(held.thresholds) == 3  # fitted in inner folds of training
    assert held.thresholds != (0.5, 0.5, 0.5)
    assert run.labels() == (("a", "b", "c"), True)


def test_seeds_give_a_mean_and_a_spread(halves, tmp_path):
    run = learn(fusion(halves, seeds=2, fusions=("score",), training=replace(QUICK, epochs=3)), tmp_path / "run")
    row = run.results.row("score")
    assert len(row.seeds) == 2
    assert row.metrics["top1"] == pytest.approx(np.mean(row.seeds))


def test_weights_of_late_fusion_are_kept_in_the_model(halves, tmp_path):
    given = learn(fusion(halves, fusions=("score",), score_weights=(1.0, 3.0), alone=False), tmp_path / "given")
    weights = load_model(given.model_settings(), given.model_path).fusion.weights
    assert weights.tolist() == [0.25, 0.75]
    fitted = learn(
        fusion(halves, fusions=("score",), score_weights="fit", training=replace(QUICK, val_fraction=0.2)),
        tmp_path / "fit",
    )
    assert fitted.results.row("score").metrics["top1"] >= 0.85


def test_a_store_larger_than_memory_trains_to_the_same_bits(halves, tmp_path):
    request = fusion(halves, head="lstm", head_options={"hidden": 4}, fusions=("concat",), alone=False)
    inside = learn(request, tmp_path / "inside")
    paged = learn(replace(request, memory_bytes=0), tmp_path / "paged")
    assert (inside.root / "model.safetensors").read_bytes() == (paged.root / "model.safetensors").read_bytes()


def test_groups_that_leak_through_the_given_split_are_refused(make_store, tmp_path):
    store = make_store(
        {f"A/v_A_g0{n % 2}_c0{n}": {"rgb": np.ones((1, 2))} for n in range(4)}
        | {f"B/v_B_g0{n % 2}_c0{n}": {"rgb": np.ones((1, 2)) * 2} for n in range(4)}
    )
    lines = [f"{c}/v_{c}_g0{n % 2}_c0{n},{c},{'train' if n < 2 else 'test'}" for c in "AB" for n in range(4)]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"leaks: 'A/v_A_g00_c00' \(train\)"):
        learn(fusion(store, labels=labels, split=SplitChoice()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_official_split_files_are_followed(make_store, tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{c}/v_{c}_g{g:02d}_c01" for c in "AB" for g in range(1, 9)]
    store = make_store({name: {"rgb": rng.normal(3 * (name[0] == "A"), 1, (2, 3))} for name in names})
    folder = tmp_path / "splits"
    folder.mkdir()
    (folder / "trainlist01.txt").write_text("".join(f"{name}.avi 1\n" for name in names if int(name[-6:-4]) > 3))
    (folder / "testlist01.txt").write_text("".join(f"{name}.avi\n" for name in names if int(name[-6:-4]) <= 3))
    run = learn(fusion(store, split=SplitChoice(files=folder)), tmp_path / "run")
    assert [row.video for row in run.splits() if row.part == "test"] == [n for n in names if int(n[-6:-4]) <= 3]
    assert run.settings["split"]["kind"] == "official"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"head": "rnn"}, ConfigError, "unknown head 'rnn'"),
        ({"fusions": ("sum",)}, ConfigError, "unknown fusion 'sum'"),
        ({"streams": ("depth",)}, ConfigError, "no stream 'depth'; it has"),
        ({"score_weights": (1.0,)}, ConfigError, "1 score weight for 2 streams"),
        ({"score_weights": "fit"}, ConfigError, "fit needs a validation part"),
        ({"score_weights": (1.0, 1.5), "fusions": ("concat",)}, ConfigError, "which is not asked for"),
        ({"split": SplitChoice(group_by="nothing")}, ConfigError, "finds no group"),
        ({"split": SplitChoice(folds=500)}, ConfigError, "more than there are recordings"),
    ],
)
def test_what_can_not_be_done_is_refused_before_work(halves, tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        learn(fusion(halves, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_device_is_a_resource_error(halves, tmp_path):
    with pytest.raises(ResourceError, match="`device` cpu"):
        learn(fusion(halves, device="cuda"), tmp_path / "run")


def test_a_folder_named_like_several_labels_is_refused(make_store, tmp_path):
    store = make_store({"a;b/1": {"rgb": np.ones((1, 2))}, "c/1": {"rgb": np.ones((1, 2))}})
    with pytest.raises(ConfigError, match="'a;b' of 'a;b/1' would be read as several"):
        learn(fusion(store), tmp_path / "run")


def test_videos_without_a_label_are_named(make_store, tmp_path):
    store = make_store({"a/1": {"rgb": np.ones((1, 2))}, "bare": {"rgb": np.ones((1, 2))}})
    with pytest.raises(ConfigError, match="1 video has no label, the first is 'bare'"):
        learn(fusion(store), tmp_path / "run")


@pytest.mark.parametrize(("head", "asked"), [("mean", None), ("lstm", None), ("lstm", 0.02)])
def test_settings_say_how_each_row_was_really_trained(halves, tmp_path, head, asked):
    training = TrainSettings(epochs=2, schedule="constant", learning_rate=asked, val_fraction=0.25)
    run = learn(fusion(halves, head=head, training=training, fusions=("concat", "score")), tmp_path / "run")
    assert run.settings["training"] == training.as_dict()
    rows = {row["name"]: row["training"] for row in run.settings["rows"]}
    assert rows.pop("score") is None  # it is put together from rgb and flow
    for row in rows.values():
        assert row["val_fraction"] == pytest.approx(0.25, abs=0.02)
        assert row.pop("solver") == ("l-bfgs" if head == "mean" else "adamw")
        assert row.get("batch") == (None if head == "mean" else 32)
        assert {name for name, value in row.items() if value != run.settings["training"][name]} <= {
            "learning_rate",
            "batch",
            "val_fraction",
        }
    for line in run.metrics():
        assert rows[line["row"]].get("learning_rate") == line["learning_rate"]


def test_values_that_differ_by_training_are_listed_by_training():
    row = Row("rgb", ModelSettings(streams={"rgb": 4}, classes=2, head="attention"))
    trainings = [Fold(np.arange(size), np.arange(0), np.arange(0)) for size in (3200, 6400)]
    assert done(TrainSettings(), row, trainings)["batch"] == [50, 100]
    assert done(TrainSettings(batch=8), row, trainings)["batch"] == 8


def test_a_run_of_another_schema_is_refused_with_the_way_out(run, tmp_path):
    shutil.copytree(run.root, tmp_path / "old")
    (tmp_path / "old" / "settings.json").write_text(json.dumps(run.settings | {"schema": 2}))
    with pytest.raises(StoreError, match="a run of schema 2; this version reads 5: train it again"):
        Run.open(tmp_path / "old")


def test_settings_hold_all_that_was_asked(run, halves):
    settings = json.loads((run.root / "settings.json").read_text())
    assert settings["schema"] == 5
    assert settings["training"]["epochs"] == QUICK.epochs
    assert settings["stores"][0]["digest"] == halves.origin.digest
    assert [row["name"] for row in settings["rows"]] == ["rgb", "flow", "concat", "average", "score", "gated"]
    assert run.model_settings().as_dict() == next(
        row["model"] for row in settings["rows"] if row["name"] == run.results.kept
    )
