"""The linear classifier that is fitted to the end: the same as scikit-learn's, by its own choice of strength."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from examples.jhmdb_joints import motion, position
from pipeline.learn.data.splits import inner_cuts
from pipeline.learn.learn import learn
from pipeline.learn.models.linear import STRENGTHS, UNTRIED, fit_linear
from pipeline.learn.request import Request, SplitChoice
from pipeline.learn.settings import TrainSettings
from schemas.labels import LabelRow

JOINTS = Path("../shared/data/sequences/jhmdb_pose_split1.npz")


def problem(count, dim, classes, *, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    x = (rng.normal(size=(classes, dim)) * spread)[labels] + rng.normal(size=(count, dim))
    return x, labels[:, None] == np.arange(classes)


def cuts_of(members, train):
    return inner_cuts([str(v) for v in train], members[train].argmax(1), seed=0)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("dim", [7, 90])  # fewer features than videos, and more
def test_the_fit_is_that_of_scikit_learn_over_the_features_themselves(classes, dim):
    x, members = problem(40, dim, classes)
    train = np.arange(30)
    found = fit_linear(x, members, train, [], multilabel=False, balanced=False)
    theirs = LogisticRegression(C=UNTRIED / dim, max_iter=5000).fit(x[train], members[train].argmax(1))
    scores = found.scores(x[30:])
    mine = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    np.testing.assert_allclose(mine, theirs.predict_proba(x[30:]), atol=5e-3)


def test_the_strength_is_the_least_within_a_standard_error_of_the_best_on_videos_not_fitted():
    chosen = []
    for spread in (0.0, 0.3, 3.0):  # nothing to learn, something, all of it
        x, members = problem(60, 20, 3, spread=spread)
        cuts = cuts_of(members, np.arange(60))
        chosen.append(fit_linear(x, members, np.arange(60), cuts, multilabel=False, balanced=False).strength)
    assert STRENGTHS[0] == chosen[0] < chosen[1] < chosen[2]


def test_classes_that_training_lacks_are_never_said_and_one_class_alone_needs_no_cut():
    x, members = problem(40, 5, 4, spread=3.0)
    train = np.flatnonzero(~members[:, 2])
    found = fit_linear(x, members, train, cuts_of(members, train), multilabel=False, balanced=True)
    assert 2 not in found.scores(x).argmax(1)
    assert fit_linear(x, members, train, [], multilabel=False, balanced=False).strength == UNTRIED
    alone = [(np.flatnonzero(members[:, 0]), np.flatnonzero(members[:, 1]))]
    assert fit_linear(x, members, train, alone, multilabel=False, balanced=False).strength == UNTRIED


def test_several_labels_are_each_a_yes_or_no_and_those_of_all_or_none_need_no_fit():
    rng = np.random.default_rng(0)
    members = rng.random((60, 4)) < 0.5
    members[:, 2], members[:, 3] = True, False
    x = 3 * members[:, :2] + rng.normal(size=(60, 2))
    found = fit_linear(x, members, np.arange(60), cuts_of(members, np.arange(60)), multilabel=True, balanced=False)
    said = found.scores(x) > 0
    assert (said[:, :2] == members[:, :2]).mean() > 0.85
    assert said[:, 2].all()
    assert not said[:, 3].any()


def test_narrow_features_of_which_a_common_offset_is_the_largest_part_are_learnt(make_store, tmp_path):
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(8, 34))
    videos = {
        f"pose{c}/{n}": {"joints": np.tile(rng.normal(0, 60, 2), 17) + poses[c] + rng.normal(0, 0.3, (3, 34))}
        for c in range(8)
        for n in range(12)
    }
    request = Request(
        command="train-pooling", stores=(make_store(videos).root,), quiet=True, split=SplitChoice(folds=3)
    )
    run = learn(request, tmp_path / "run")
    assert run.results.rows[0].metrics["top1"] > 0.95  # with 60 epochs of gradient descent 0.08, less than chance
    assert {row["solver"] for row in (row["training"] for row in run.settings["rows"])} == {"l-bfgs"}


def test_gradient_descent_that_ends_far_from_its_training_videos_says_so_once_a_row(make_store, tmp_path, caplog):
    rng = np.random.default_rng(0)
    videos = {f"{c}/{n}": {"rgb": rng.normal(size=(2, 3))} for c in "ab" for n in range(40)}
    request = Request(
        command="train-pooling",
        stores=(make_store(videos).root,),
        head="attention",
        quiet=True,
        split=SplitChoice(folds=2),
        training=TrainSettings(epochs=1),
    )
    learn(request, tmp_path / "run")
    assert caplog.text.count("of the videos it was trained on") == 1
    caplog.clear()
    learn(replace(request, head="mean"), tmp_path / "linear")
    assert "of the videos it was trained on" not in caplog.text


def test_options_of_gradient_descent_are_said_to_be_left_aside_where_nothing_is_trained_by_it(
    make_store, tmp_path, caplog
):
    rng = np.random.default_rng(0)
    videos = {f"{c}/{n}": {"rgb": rng.normal(size=(2, 3))} for c in "ab" for n in range(6)}
    request = Request(
        command="train-pooling",
        stores=(make_store(videos).root,),
        quiet=True,
        split=SplitChoice(folds=2),
        training=TrainSettings(epochs=2, learning_rate=0.1, class_weights=True),
    )
    learn(request, tmp_path / "linear")
    assert "--epochs, --learning-rate: of gradient descent, and left aside" in caplog.text
    caplog.clear()
    learn(replace(request, hidden=4), tmp_path / "hidden")
    assert "left aside" not in caplog.text


@pytest.mark.skipif(not JOINTS.exists(), reason="needs ../shared/data/sequences")
def test_pooled_joints_of_jhmdb_are_told_apart_as_well_as_by_scikit_learn(make_store, tmp_path):
    videos, rows = {}, []
    with np.load(JOINTS, allow_pickle=False) as file:
        for split in ("train", "test"):
            parts = np.split(file[f"{split}_pose"], np.cumsum(file[f"{split}_len"])[:-1])
            for n, (joints, label) in enumerate(zip(parts, file[f"{split}_label"], strict=True)):
                both = np.stack([position(joints), motion(joints)], axis=1)
                videos[f"{split}{n}"] = {"joints": both.mean(0, keepdims=True)}
                rows.append(LabelRow(f"{split}{n}", (str(label),), split, ""))
    store = make_store(videos, labels=rows)
    run = learn(Request(command="train-pooling", stores=(store.root,), quiet=True), tmp_path / "run")
    assert run.results.rows[0].metrics["top1"] >= 0.63  # LogisticRegression has 64.2 %, gradient descent had 51.1
