"""Where labels, splits and groups of what is learnt from come from, and which of several wins."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.learn.data.material import read_material
from pipeline.learn.request import Request, SplitChoice
from pipeline.learn.settings import TrainSettings
from schemas.errors import ConfigError
from schemas.labels import LabelRow

IDS = [f"{label}/{name}" for label in ("run", "sit") for name in ("ann1", "ann2", "bob1", "bob2")]


@pytest.fixture
def grouped(make_store):
    """A store whose plan says that `ann1` and `ann2` are of one person."""
    videos = {name: {"rgb": np.ones((2, 3)) + number} for number, name in enumerate(IDS)}
    rows = [LabelRow(name, (name.split("/")[0],), "", name.split("/")[1][:3]) for name in IDS]
    return make_store(videos, labels=rows)


def material(store, tmp_path, *, labels="", **split):
    path = None
    if labels:
        path = tmp_path / "labels.csv"
        path.write_text(labels)
    return read_material(
        Request(command="train-pooling", stores=(store.root,), labels=path, split=SplitChoice(**split))
    )


def said(cells):
    return "path,label,split,group\n" + "".join(f"{name},{name.split('/')[0]},{cells(name)}\n" for name in IDS)


def test_groups_of_the_plan_are_never_parted_though_nothing_is_asked_for(grouped, tmp_path):
    found = material(grouped, tmp_path)
    assert found.groups == ["ann", "ann", "bob", "bob"] * 2
    for fold in found.folds:
        assert not {found.groups[v] for v in fold.train} & {found.groups[v] for v in fold.test}


def test_training_says_how_many_of_its_videos_are_partial(grouped, tmp_path, caplog):
    material(grouped, tmp_path)
    assert "partial" not in caplog.text
    plan = grouped.books.read_plan()
    grouped.books.write_plan(
        replace(
            plan,
            videos=tuple(
                replace(video, moments=video.moments + (video.id in ("run/bob1", "sit/ann2"))) for video in plan.videos
            ),
        )
    )
    material(grouped, tmp_path)
    assert "of 8 videos 2 are partial (run/bob1 first)" in caplog.text


def test_a_regular_expression_wins_over_the_groups_of_the_plan_and_of_a_label_file(grouped, tmp_path):
    by_name = material(grouped, tmp_path, labels=said(lambda _: ",x"), group_by=r"/([a-z]+\d)").groups
    assert by_name == ["ann1", "ann2", "bob1", "bob2"] * 2


def test_groups_of_a_label_file_win_over_those_of_the_plan(grouped, tmp_path):
    assert material(grouped, tmp_path, labels=said(lambda name: f",n{name[-1]}")).groups == ["n1", "n2"] * 4


def test_a_label_file_without_groups_leaves_those_of_the_plan_in_force(grouped, tmp_path):
    assert material(grouped, tmp_path, labels=said(lambda _: ",")).groups == ["ann", "ann", "bob", "bob"] * 2
    with pytest.raises(ConfigError, match=r"the split leaks: 'run/ann1' \(train\) and 'run/ann2' \(test\)"):
        material(grouped, tmp_path, labels=said(lambda name: "train," if name.endswith("1") else "test,"))


def test_where_no_validation_part_can_be_cut_or_only_a_larger_one_that_is_said(grouped, make_store, tmp_path, caplog):
    def ask(store, share, **changes):
        training = TrainSettings(val_fraction=share, **changes)
        return read_material(
            Request(command="train", stores=(store.root,), training=training, split=SplitChoice(folds=2))
        )

    ask(grouped, 0.2)  # a fold's training part is one person
    assert "`val_fraction` 0.2: in 2 of 3 trainings there is no validation part" in caplog.text
    caplog.clear()
    videos = {f"{label}/{n}": {"rgb": np.ones((2, 3)) + n} for label in ("run", "sit") for n in range(40)}
    rows = [LabelRow(name, (name[:3],), "", f"g{int(name[4:]) // 10}") for name in videos]
    ask(make_store(videos, name="four", labels=rows), 0.3)
    assert "`val_fraction` 0.3: groups are not parted, so the nearest cut is 0.50 in one of 3 trainings" in caplog.text
    with pytest.raises(ConfigError, match="`patience` 3 waits for a validation loss"):
        ask(grouped, None, patience=3)


def test_a_split_that_has_a_validation_part_is_not_cut_another(grouped, tmp_path):
    labels = tmp_path / "labels.csv"
    parts = {"ann1": "train", "ann2": "train", "bob1": "val", "bob2": "test"}
    labels.write_text(
        "path,label,split,group\n" + "".join(f"{name},{name[:3]},{parts[name[4:]]},{name[4:]}\n" for name in IDS)
    )
    with pytest.raises(ConfigError, match="the labels' split has one already"):
        read_material(
            Request(
                command="train-pooling", stores=(grouped.root,), labels=labels, training=TrainSettings(val_fraction=0.2)
            )
        )


@pytest.fixture
def many(make_store):
    """A store of two classes with a group a video."""
    names = [f"{label}/{n}" for label in ("run", "sit") for n in range(12)]
    return make_store({name: {"rgb": np.full((2, 3), number)} for number, name in enumerate(names)})


def test_repeats_make_the_folds_anew_and_each_tests_every_video_once(many, tmp_path):
    found = material(many, tmp_path, folds=3, repeats=4)
    assert len({frozenset(fold.test.tobytes() for fold in found.folds_of(place)) for place in range(4)}) == 4
    for place in range(4):
        assert sorted(np.concatenate([fold.test for fold in found.folds_of(place)])) == list(range(24))
        for fold in found.folds_of(place):
            assert not set(fold.train) & set(fold.test)
    assert len(found.trainings) == 4 * 3 + 1


def test_folds_of_another_seed_are_others_though_no_two_groups_have_one_size(make_store, tmp_path):
    names = [(f"{label}/{g}-{n}", f"{label}{g}") for label in ("run", "sit") for g in range(9) for n in range(g + 4)]
    rows = [LabelRow(name, (name[:3],), "", group) for name, group in names]
    store = make_store({name: {"rgb": np.full((1, 2), number)} for number, (name, _) in enumerate(names)}, labels=rows)
    found = material(store, tmp_path, folds=3, repeats=3)
    assert len({frozenset(fold.test.tobytes() for fold in found.folds_of(place)) for place in range(3)}) == 3


@pytest.mark.parametrize(
    ("split", "seeds", "words"),
    [
        ({"folds": 1}, 1, "needs `folds` of 2 or more"),
        ({"folds": 0}, 1, "needs `folds` of 2 or more"),
        ({"folds": 24}, 1, "make the same folds each time"),
        ({"folds": 3}, 2, "`seeds` says nothing beside it"),
    ],
)
def test_repeats_that_would_repeat_nothing_are_refused(many, split, seeds, words):
    with pytest.raises(ConfigError, match=words):
        read_material(Request(command="train", stores=(many.root,), seeds=seeds, split=SplitChoice(repeats=2, **split)))


def test_a_class_of_too_few_videos_is_left_out_where_that_is_asked_for(make_store, caplog):
    videos = {
        f"{label}/{n}": {"rgb": np.ones((2, 3)) + n}
        for label, count in (("run", 6), ("sit", 6), ("fall", 1))
        for n in range(count)
    }
    request = Request(command="train-pooling", stores=(make_store(videos).root,))
    with pytest.raises(ConfigError, match=r"class 'fall' has 1 video.*`min_videos` 2 leaves it out"):
        read_material(request)
    found = read_material(replace(request, min_videos=2))
    assert (found.targets.classes, len(found.data.ids)) == (("run", "sit"), 12)
    assert "of 3 classes 1 left out, with fewer than 2 videos each and 1 video in all: fall" in caplog.text
    with pytest.raises(ConfigError, match="`min_videos` 9: no class has so many videos; the largest has 6"):
        read_material(replace(request, min_videos=9))


def test_a_rare_label_is_taken_off_videos_that_have_others(make_store, tmp_path):
    videos = {f"v{n}": {"rgb": np.ones((2, 3)) + n} for n in range(8)}
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "path,label\n" + "".join(f"v{n},{'a' if n % 2 else 'b'}{';rare' if n == 3 else ''}\n" for n in range(8))
    )
    found = read_material(
        Request(command="train-pooling", stores=(make_store(videos).root,), labels=labels, min_videos=2)
    )
    assert (found.targets.classes, len(found.data.ids), found.targets.multilabel) == (("a", "b"), 8, False)
