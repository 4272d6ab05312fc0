"""Training at the scale of UCF101 split 1: 9,537 videos x 22 moments x 1,280 dims x 2 streams of synthetic features.

    python -m tests.benchmarks.bench_train                                          # real
    python -m tests.benchmarks.bench_train --videos 12 --lstm-videos 4 --rounds 1   # small

Four ratios, each of two things timed in this run: reading the store against a plain `read()` of the same files; an
epoch of the attention head against the same model fed by a plain DataLoader over one .npy a video and stream; the
whole training of the mean head, which is linear, against such an epoch of the loader; and of an epoch of the LSTM, the
share spent outside the network's arithmetic.

All is done by one thread, on files in the page cache, and told in seconds of CPU: waiting for other processes does
not count. The best of several alternations counts for both sides.
"""

import argparse
import functools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pipeline.learn.data.batches import gather, pool, shuffled
from pipeline.learn.data.dataset import read_dataset
from pipeline.learn.data.splits import Fold
from pipeline.learn.models.heads import make_head
from pipeline.learn.models.model import VideoClassifier
from pipeline.learn.settings import ModelSettings, TrainSettings
from pipeline.learn.training.checkpoint import TrainingState
from pipeline.learn.training.objective import make_loss, make_optimizer
from pipeline.learn.training.train import Task, fit, train_epoch
from schemas.disk.shard import Origin, SegmentRows, ShardContent, open_shard, write_shard
from schemas.disk.store import Store
from schemas.plan import Plan, Probe, Segment, SegmentReport, ShardReport, ShardTask, Video

MOMENTS, DIM, CLASSES, STREAMS = 22, 1280, 101, ("rgb", "flow")
VIDEOS_PER_SHARD = 500
CPU = torch.device("cpu")
SETTINGS = TrainSettings(epochs=10)


def make_store(root, videos):
    """Write a store of random features, straight as shards."""
    origin = Origin("import", {"source": "benchmark"}, "0" * 16, {})
    store, rng, tasks = Store.create(root, origin), np.random.default_rng(0), []
    probe = Probe("", 0, 0, 0, False, 0.0, 1.0, MOMENTS, 0, "", True)
    for start in range(0, videos, VIDEOS_PER_SHARD):
        ids = [f"v{n:05d}" for n in range(start, min(start + VIDEOS_PER_SHARD, videos))]
        rows = len(ids) * MOMENTS
        planned = tuple(
            Video(name, f"/{name}.avi", name, str(int(name[1:]) % CLASSES), "", "", 0, MOMENTS, probe) for name in ids
        )
        segments = tuple(SegmentRows(i, 0, MOMENTS, i * MOMENTS, (i + 1) * MOMENTS, "ok") for i in range(len(ids)))
        frame = np.tile(np.arange(MOMENTS), len(ids))
        tables = {name: rng.standard_normal((rows, DIM), dtype=np.float32).astype(np.float16) for name in STREAMS}
        shard = f"{start:06d}"
        sha256, size = write_shard(
            store.shard_path(shard),
            ShardContent(shard, origin, planned, segments, frame, frame.astype(np.float64), tables),
        )
        reports = tuple(SegmentReport(name, 0, 0, MOMENTS, "ok", "", "", 0, 0, 0, {}) for name in ids)
        store.books.write_report(ShardReport(shard, sha256, size, rows, 0, reports, {}, 0.0, "", 0))
        frames = tuple(range(MOMENTS))
        tasks.append(ShardTask(shard, tuple(Segment(n, 0, MOMENTS, frames, 0, 0, None) for n in ids), planned))
    store.books.write_plan(Plan(0, tuple(v for task in tasks for v in task.videos), (), tuple(tasks)))
    return store


def timed(function):
    """Run once; return result and seconds of CPU."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def bench_read(store, rounds):
    """Read the store and the bare files in turn; the best of several readings of each counts.

    The files are read twice: kept, as the features are, and each dropped before the next, into memory used before.
    """
    rows = store.video_rows()
    files = sorted((store.root / "shards").iterdir())
    times = []
    for _ in range(rounds):
        data = None  # so that each finds the same free memory
        data, store_s = timed(lambda: read_dataset(store, rows))
        kept, kept_s = timed(lambda: [path.read_bytes() for path in files])
        del kept
        size, dropped_s = timed(lambda: sum(len(path.read_bytes()) for path in files))
        times.append((store_s, kept_s, dropped_s))
    store_s, kept_s, dropped_s = (min(column) for column in zip(*times, strict=True))
    rate = sum(table.nbytes for table in data.streams.values()) / store_s
    print(
        f"store -> memory, checked for NaN: {rate / 1e9:.2f} GB/s; plain read(), all kept: {size / kept_s / 1e9:.2f} "
        f"GB/s, ratio {rate * kept_s / size:.2f}; each dropped before the next: {size / dropped_s / 1e9:.2f} GB/s, "
        f"ratio {rate * dropped_s / size:.2f}",
        flush=True,
    )


class NpyVideos(TorchDataset):
    """One .npy a video and stream, as the field's scripts have it."""

    def __init__(self, folder, count, labels):
        self.folder, self.count, self.labels = folder, count, labels

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        streams = {name: torch.from_numpy(np.load(self.folder / name / f"{index}.npy")) for name in STREAMS}
        return streams, self.labels[index]


def write_npy(data, folder):
    """Write what the plain loader reads."""
    for name, table in data.streams.items():
        (folder / name).mkdir(parents=True)
        for index in range(len(data.ids)):
            np.save(folder / name / f"{index}.npy", table[data.offsets[index] : data.offsets[index + 1]].numpy())


def make_state(head, streams, task):
    """Build a model with its optimiser."""
    torch.manual_seed(0)
    model = VideoClassifier(ModelSettings(streams=streams, classes=CLASSES, head=head))
    return TrainingState(model, *make_optimizer(model, SETTINGS, model.learning_rate), torch.Generator().manual_seed(0))


def loader_epoch(state, loader, loss):
    """One epoch as the field's scripts have it."""
    state.model.train()
    for streams, labels in loader:
        mask = torch.ones(len(labels), MOMENTS, dtype=torch.bool)
        value = loss(state.model({name: x.float() for name, x in streams.items()}, mask), labels)
        state.optimizer.zero_grad(set_to_none=True)
        value.backward()
        state.optimizer.step()


def bench_linear(data, targets, seconds_a_loader_epoch):
    """Time the whole training of the mean head: pooling, the choice of its strength on a fifth, and the last fit."""
    order = np.random.default_rng(0).permutation(len(data.ids))
    fold = Fold(order[len(order) // 5 :], order[: len(order) // 5], order[:0])
    model = VideoClassifier(ModelSettings(streams=data.dims, classes=CLASSES))
    task, pool_s = timed(lambda: Task(pool(data, make_head("mean", dim=DIM)), targets, fold))
    _, fit_s = timed(lambda: fit(model, task, SETTINGS, seed=0, device=CPU, title="mean", quiet=True))
    print(
        f"training of the mean head: {pool_s:.2f} s to pool, {fit_s:.2f} s to choose its strength and fit; that is "
        f"{(pool_s + fit_s) / seconds_a_loader_epoch:.1f} epochs of a DataLoader over .npy",
        flush=True,
    )


def bench_against_loader(head, task, loader, loss, *, rounds):
    """Time an epoch of ours and of the plain loader, alternating; return the loader's seconds."""
    ours, theirs = (make_state(head, task.data.dims, task) for _ in range(2))
    times = []
    for _ in range(rounds):
        _, ours_s = timed(functools.partial(train_epoch, ours, task, loss, SETTINGS, CPU))
        _, theirs_s = timed(lambda: loader_epoch(theirs, loader, loss))
        times.append((ours_s, theirs_s))
    ours_s, theirs_s = (min(column) for column in zip(*times, strict=True))
    print(
        f"epoch of {head}: {ours_s:.2f} s; DataLoader over .npy: {theirs_s:.2f} s; ratio {theirs_s / ours_s:.1f} x",
        flush=True,
    )
    return theirs_s


def bench_lstm(task, loss):
    """Time an epoch of the LSTM, and the same steps on batches that are ready."""
    state = make_state("lstm", task.data.dims, task)
    _, whole_s = timed(lambda: train_epoch(state, task, loss, SETTINGS, CPU))
    order = torch.Generator().manual_seed(0)
    size = SETTINGS.batch_of(len(task.fold.train))
    _, outside_s = timed(
        lambda: [
            len(gather(task.data, videos, CPU).videos)
            for videos in shuffled(task.data, task.fold.train, batch=size, generator=order)
        ]
    )
    print(
        f"epoch of lstm: {whole_s:.2f} s for {len(task.fold.train)} videos; its batches alone: {outside_s:.2f} s; "
        f"share outside the network {100 * outside_s / whole_s:.1f} %"
    )


def check(store, task, reduced, folder):
    """The store is read as it was written, and both ways to the data give the same scores."""
    with open_shard(store.shard_path("000000")) as shard:
        for name in STREAMS:
            assert np.array_equal(shard.features(name, 0, MOMENTS), task.data.streams[name][:MOMENTS].numpy())
    torch.manual_seed(0)
    model = VideoClassifier(ModelSettings(streams=task.data.dims, classes=CLASSES)).eval()
    torch.nn.init.normal_(model.fusion.classifier[-1].weight)
    videos = torch.tensor([3, 0, 5])
    ours = model(*[getattr(gather(task.data, videos, CPU), name) for name in ("features", "mask")])
    once = model(*[getattr(gather(reduced, videos, CPU), name) for name in ("features", "mask")])
    plain = NpyVideos(folder, len(task.data.ids), task.targets)
    theirs = model(
        {name: torch.stack([plain[int(v)][0][name] for v in videos]).float() for name in STREAMS},
        torch.ones(3, MOMENTS, dtype=torch.bool),
    )
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(ours, once, rtol=1e-3, atol=1e-3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=9537)
    parser.add_argument("--lstm-videos", type=int, default=2000, help="of those, for the LSTM, whose epochs are long")
    parser.add_argument("--rounds", type=int, default=6, help="the best of so many alternations counts")
    parser.add_argument("--folder", type=Path, help="for the files; default: where temporary files lie")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        store = make_store(folder / "store", options.videos)
        data = read_dataset(store, store.video_rows())
        write_npy(data, folder / "npy")
        targets = torch.arange(options.videos) % CLASSES
        everything, none = np.arange(options.videos), np.arange(0)
        task = Task(data, targets, Fold(everything, none, none))
        check(store, task, pool(data, make_head("mean", dim=DIM)), folder / "npy")
        bench_read(store, options.rounds)
        loss = make_loss(targets, ModelSettings(streams=data.dims, classes=CLASSES), SETTINGS, CPU)
        loader = DataLoader(
            NpyVideos(folder / "npy", options.videos, targets),
            shuffle=True,
            batch_size=SETTINGS.batch_of(options.videos),
        )
        seconds = bench_against_loader("attention", task, loader, loss, rounds=-(-options.rounds // 2))
        bench_linear(data, targets, seconds)
        bench_lstm(Task(data, targets, Fold(everything[: options.lstm_videos], none, none)), loss)


if __name__ == "__main__":
    main()
