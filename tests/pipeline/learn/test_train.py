"""The trainer: what it minimises, when it stops, what it keeps, and what it says when numbers go wrong."""

import numpy as np
import pytest
import torch

from pipeline.learn.data import batches
from pipeline.learn.data.splits import Fold
from pipeline.learn.models.model import VideoClassifier
from pipeline.learn.settings import SCHEDULES, VAL_WORTH_IT, ModelSettings, TrainSettings
from pipeline.learn.training.objective import ONE_CYCLE_WARM_UP, make_loss, make_optimizer, rate_at, settled_epoch
from pipeline.learn.training.train import Task, fit, scores_of
from schemas.errors import ConfigError, StoreError
from tests.pipeline.learn.conftest import make_dataset

CPU = torch.device("cpu")
NONE = np.arange(0)


def task(count=20, val=NONE, spread=5.0):
    data = make_dataset([3] * count, {"rgb": 4})
    targets = torch.arange(count) % 2
    data.streams["rgb"][:, 0] += spread * targets.repeat_interleave(3)
    train = np.setdiff1d(np.arange(count), val)
    return Task(data, targets, Fold(train, val, NONE))


def train(chosen, **settings):
    torch.manual_seed(0)
    model = VideoClassifier(ModelSettings(streams={"rgb": 4}, classes=2, dropout=0.0, head="attention"))
    history = fit(model, chosen, TrainSettings(**settings), seed=0, device=CPU, title="test", quiet=True)
    return model, history


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_training_fits_what_can_be_fitted_with_every_schedule(schedule):
    _, history = train(task(), epochs=60, learning_rate=0.05, schedule=schedule)
    assert history[-1]["train_top1"] == 1.0
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert history[-1]["val_loss"] is None


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_long_videos_whose_batches_are_cut_differently_in_each_epoch_are_trained_to_the_end(schedule, monkeypatch):
    monkeypatch.setattr(batches, "FULL_BATCH_BYTES", 16 * 50 * 4 * 4)  # sixteen videos of 50 moments
    monkeypatch.setattr(batches, "BUCKET_BATCHES", 2)
    data = make_dataset(np.random.default_rng(0).permutation(np.repeat([2, 40, 60, 90], 30)), {"rgb": 4})
    order = torch.Generator().manual_seed(0)
    steps = {sum(1 for _ in batches.shuffled(data, np.arange(120), batch=16, generator=order)) for _ in range(20)}
    assert len(steps) > 1  # or this test shows nothing
    chosen = Task(data, torch.arange(120) % 2, Fold(np.arange(120), NONE, NONE))
    _, history = train(chosen, epochs=20, schedule=schedule, batch=16)
    assert len(history) == 20


def test_schedules_are_torchs_where_every_epoch_has_as_many_steps():
    steps = 1000
    parameter = torch.nn.Parameter(torch.zeros(1))
    makers = {
        "one-cycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(
            o, 0.1, total_steps=steps + 1, pct_start=ONE_CYCLE_WARM_UP
        ),
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps),
    }
    for name, make in makers.items():
        optimizer = torch.optim.AdamW([parameter], lr=0.1)
        schedule = make(optimizer)
        for step in range(steps):
            assert rate_at(name, 0.1, step / steps) == pytest.approx(schedule.get_last_lr()[0], abs=0.1 * 6 / steps)
            optimizer.step()
            schedule.step()


def test_the_weights_of_the_best_epoch_are_kept():
    chosen = task(val=np.arange(5), spread=0.5)
    model, history = train(chosen, epochs=40, learning_rate=1.0, schedule="constant", label_smoothing=0.0)
    losses = [row["val_loss"] for row in history]
    assert min(losses) < losses[-1]  # it did get worse, or this test shows nothing
    scores = scores_of(model, chosen.data, chosen.fold.val, CPU)
    assert float(torch.nn.functional.cross_entropy(scores, chosen.targets[:5])) == pytest.approx(min(losses), rel=1e-4)


def test_training_stops_when_validation_does_not_improve():
    chosen = task(val=np.arange(5), spread=0.5)
    _, history = train(chosen, epochs=200, learning_rate=1.0, schedule="constant", patience=3)
    best = int(np.argmin([row["val_loss"] for row in history]))
    assert len(history) == best + 4 < 200


@pytest.mark.parametrize(("schedule", "since"), [("one-cycle", 34), ("cosine", 32), ("constant", 0)])
def test_patience_waits_until_the_learning_rate_has_come_down(schedule, since):
    chosen = task(val=np.arange(5), spread=0.0)  # nothing to learn: validation is best at the start
    _, history = train(chosen, epochs=40, learning_rate=0.3, schedule=schedule, patience=2)
    assert settled_epoch(TrainSettings(epochs=40, schedule=schedule)) == since
    best = int(np.argmin([row["val_loss"] for row in history]))
    assert len(history) == max(best + 1, since) + 2


def test_a_loss_that_is_no_number_names_a_video():
    chosen = task()
    chosen.data.streams["rgb"][13] = torch.nan
    with pytest.raises(StoreError, match="at video v"):
        train(chosen, epochs=1)


def test_predictions_come_in_the_order_asked():
    data = make_dataset([5, 1, 3], {"rgb": 4})
    torch.manual_seed(0)
    model = VideoClassifier(ModelSettings(streams={"rgb": 4}, classes=2))
    torch.nn.init.normal_(model.fusion.classifier[-1].weight)
    one, two = (scores_of(model, data, np.array(order), CPU) for order in ([0, 1, 2], [2, 0, 1]))
    torch.testing.assert_close(one[[2, 0, 1]], two)


def test_class_weights_make_rare_classes_count_the_same():
    targets = torch.tensor([0] * 9 + [1])
    scores = torch.randn(10, 2)
    settings = TrainSettings(class_weights=True, label_smoothing=0.0)
    loss = make_loss(targets, ModelSettings(streams={"rgb": 1}, classes=2), settings, CPU)
    each = torch.nn.functional.cross_entropy(scores, targets, reduction="none")
    torch.testing.assert_close(loss(scores, targets), (each[:9].mean() + each[9]) / 2)


def test_several_labels_are_learnt_with_binary_cross_entropy():
    targets = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    model = ModelSettings(streams={"rgb": 1}, classes=2, multilabel=True)
    scores = torch.randn(2, 2)
    plain = make_loss(targets, model, TrainSettings(label_smoothing=0.0), CPU)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores, targets)
    torch.testing.assert_close(plain(scores, targets), expected)


def test_only_matrices_are_decayed():
    optimizer, _ = make_optimizer(torch.nn.LSTM(2, 3), TrainSettings(weight_decay=0.3), 1e-3)
    decayed, free = optimizer.param_groups
    assert decayed["weight_decay"] == 0.3
    assert all(p.ndim > 1 for p in decayed["params"])
    assert free["weight_decay"] == 0.0
    assert all(p.ndim == 1 for p in free["params"])


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"learning_rate": -1.0},
        {"schedule": "step"},
        {"batch": 0.5},
        {"val_fraction": 0.9},
        {"label_smoothing": 1.0},
    ],
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ConfigError, match=r"must be between|known: one-cycle"):
        TrainSettings(**changes)


def test_small_training_parts_give_no_validation_part_and_take_small_batches():
    settings = TrainSettings()
    assert settings.val_share(VAL_WORTH_IT - 1) == 0
    assert settings.val_share(VAL_WORTH_IT) > 0
    assert (settings.batch_of(90), settings.batch_of(9537)) == (32, 128)
    assert TrainSettings(batch=7, val_fraction=0.3).batch_of(90) == 7
    assert TrainSettings(val_fraction=0.3).val_share(90) == 0.3
