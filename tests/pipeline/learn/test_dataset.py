"""A store in memory, and the batches made of it."""

import numpy as np
import pytest
import torch

from pipeline.learn.data.batches import gather, in_order, pool, shuffled
from pipeline.learn.data.dataset import CHECK_ROWS, fingerprints, read_dataset
from pipeline.learn.models.heads import HEADS, make_head
from schemas.disk.shard import ShardContent, open_shard, write_shard
from schemas.disk.store import Piece, VideoRows
from schemas.errors import ConfigError, StoreError
from tests.pipeline.learn.conftest import make_dataset

CPU = torch.device("cpu")


@pytest.fixture
def videos():
    rng = np.random.default_rng(0)
    return {f"{c}/{n}": {"rgb": rng.normal(size=(rng.integers(1, 6), 3)), "flow": None} for c in "ab" for n in range(4)}


@pytest.fixture
def store(videos, make_store):
    for streams in videos.values():
        streams["flow"] = -streams["rgb"][:, :2]
    return make_store(videos)


@pytest.mark.parametrize("memory_bytes", [1 << 30, 0])
def test_every_video_lies_where_its_offsets_say(store, videos, memory_bytes):
    data = read_dataset(store, store.video_rows(), memory_bytes=memory_bytes)
    assert data.dims == {"rgb": 3, "flow": 2}
    for index, name in enumerate(data.ids):
        rows = slice(data.offsets[index], data.offsets[index + 1])
        np.testing.assert_array_equal(data.streams["rgb"][rows], videos[name]["rgb"].astype(np.float32))
        np.testing.assert_array_equal(data.streams["flow"][rows], videos[name]["flow"].astype(np.float32))


def test_some_videos_in_any_order_and_one_stream_can_be_read(store, videos):
    chosen = store.video_rows()[::-2]
    data = read_dataset(store, chosen, streams=["flow"])
    assert data.ids == tuple(video.id for video in chosen)
    expected = np.concatenate([videos[name]["flow"] for name in data.ids]).astype(np.float32)
    np.testing.assert_array_equal(data.streams["flow"], expected)


def test_pieces_of_one_video_in_two_shards_are_joined_in_time(store, videos):
    with open_shard(store.shard_path("000000")) as shard:
        columns = {name: shard.features(name) for name in shard.dims}
        origin, segments, (frame, pts_s) = shard.origin, shard.segments, shard.moments()
    table = store.books.read_plan().videos
    write_shard(
        store.shard_path("000001"),
        ShardContent(
            "000001", origin, table, segments, frame, pts_s, {name: 2 * values for name, values in columns.items()}
        ),
    )
    video = VideoRows(
        "x",
        "/x",
        "",
        "",
        "",
        0,
        "ok",
        (Piece("000001", 0, 1, 3, "ok"), Piece("000000", 2, 2, 6, "ok"), Piece("000000", 6, 6, 7, "ok")),
    )
    data = read_dataset(store, [video])
    expected = np.concatenate([2 * columns["rgb"][1:3], columns["rgb"][2:7]])
    np.testing.assert_array_equal(data.streams["rgb"], expected)


def test_shards_of_different_dims_are_refused(store):
    with open_shard(store.shard_path("000000")) as shard:
        origin, segments, (frame, pts_s) = shard.origin, shard.segments, shard.moments()
    table = store.books.read_plan().videos
    other = {"rgb": np.ones((len(frame), 9), np.float32)}
    content = ShardContent("000001", origin, table, segments, frame, pts_s, other)
    write_shard(store.shard_path("000001"), content)
    pieces = (Piece("000000", 0, 0, 1, "ok"), Piece("000001", 1, 1, 2, "ok"))
    with pytest.raises(StoreError, match=r"000001\.h5: streams"):
        read_dataset(store, [VideoRows("x", "/x", "", "", "", 0, "ok", pieces)], streams=["rgb"])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_nan_in_features_names_the_video_and_its_moment(store, value, dtype):
    with open_shard(store.shard_path("000000")) as shard:
        columns = {name: shard.features(name).astype(dtype) for name in shard.dims}
        origin, segments, (frame, pts_s) = shard.origin, shard.segments, shard.moments()
    third = segments[2]
    columns["flow"][third.row_start, 1] = value
    table = store.books.read_plan().videos
    content = ShardContent("000000", origin, table, segments, frame, pts_s, columns)
    write_shard(store.shard_path("000000"), content)
    with pytest.raises(StoreError, match="stream flow of video a/2 holds NaN or infinity at moment 0"):
        read_dataset(store, store.video_rows())


@pytest.mark.parametrize("memory_bytes", [1 << 30, 0])
@pytest.mark.parametrize("moment", [0, CHECK_ROWS, 2 * CHECK_ROWS + 9])
def test_nan_is_found_wherever_it_lies_in_a_long_video(make_store, memory_bytes, moment):
    store = make_store({"a": {"rgb": np.ones((5, 3))}, "b": {"rgb": np.ones((2 * CHECK_ROWS + 10, 3))}})
    with open_shard(store.shard_path("000000")) as shard:
        origin, segments, (frame, pts_s) = shard.origin, shard.segments, shard.moments()
        features = shard.features("rgb")
    features[segments[1].row_start + moment, 2] = np.nan
    table = store.books.read_plan().videos
    content = ShardContent("000000", origin, table, segments, frame, pts_s, {"rgb": features})
    write_shard(store.shard_path("000000"), content)
    with pytest.raises(StoreError, match=f"stream rgb of video b holds NaN or infinity at moment {moment};"):
        read_dataset(store, store.video_rows(), memory_bytes=memory_bytes)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_large_but_finite_features_are_let_through(make_store, dtype):
    largest = float(np.finfo(dtype).max)
    store = make_store(
        {"a/1": {"rgb": np.full((16, 600), largest)}, "a/2": {"rgb": np.full((1, 600), -largest)}}, dtype=dtype
    )
    found = read_dataset(store, store.video_rows()).streams["rgb"]
    assert (float(found.max()), float(found.min())) == (largest, -largest)


def test_a_feature_whose_checksum_does_not_fit_names_the_shard(make_store):
    features = np.random.default_rng(0).normal(size=(900, 640)).astype(np.float32)  # three chunks
    store = make_store({"a/1": {"rgb": features}})
    path = store.shard_path("000000")
    spoilt = bytearray(path.read_bytes())
    spoilt[spoilt.index(features[-1].tobytes())] ^= 1
    path.write_bytes(spoilt)
    with pytest.raises(StoreError, match=r"000000\.h5: not readable as a shard .*run extract again"):
        read_dataset(store, store.video_rows())


def test_no_video_and_an_unknown_stream_are_refused(store):
    with pytest.raises(ConfigError, match="no video to learn from"):
        read_dataset(store, [])
    with pytest.raises(ConfigError, match="no stream 'depth'; it has rgb, flow"):
        read_dataset(store, store.video_rows(), streams=["depth"])


def test_copies_of_a_file_share_a_fingerprint(make_store):
    store = make_store(
        {"a/1": {"rgb": np.ones((2, 2))}, "b/1": {"rgb": np.ones((2, 2))}, "b/2": {"rgb": np.zeros((2, 2))}}
    )
    one, two, other = fingerprints(store, store.video_rows())
    assert one == two != other


def test_moments_are_those_of_the_chosen_videos_at_any_block_size(monkeypatch):
    data = make_dataset([5, 1, 7, 3], {"rgb": 4})
    monkeypatch.setattr("pipeline.learn.data.dataset.BLOCK_ROWS", 2)
    mean, std = data.feature_statistics("rgb", np.array([3, 0]))
    rows = torch.cat([data.streams["rgb"][:5], data.streams["rgb"][13:]])
    torch.testing.assert_close(mean, rows.mean(0))
    torch.testing.assert_close(std, rows.std(0, correction=0))


def test_a_small_spread_far_from_zero_is_not_lost():
    data = make_dataset([500], {"rgb": 1})
    data.streams["rgb"].mul_(0.01).add_(1000)
    _, std = data.feature_statistics("rgb", np.array([0]))
    assert float(std) == pytest.approx(float(data.streams["rgb"].double().std()), rel=0.01)


def test_a_gathered_batch_holds_each_video_and_its_mask():
    data = make_dataset([2, 5, 1], {"rgb": 3, "flow": 2}, dtype=torch.float16)
    batch = gather(data, torch.tensor([2, 0]), CPU)
    assert batch.mask.tolist() == [[True, False], [True, True]]
    assert batch.features["rgb"].dtype == torch.float32
    assert torch.equal(batch.features["rgb"][1], data.streams["rgb"][:2].float())
    assert torch.equal(batch.features["flow"][0, 0], data.streams["flow"][7].float())


def test_an_epoch_takes_every_video_once_in_an_order_its_seed_decides():
    data = make_dataset(list(np.random.default_rng(0).integers(1, 30, 200)), {"rgb": 1})
    chosen = np.arange(0, 200, 2)
    orders = [
        torch.cat(list(shuffled(data, chosen, batch=8, generator=torch.Generator().manual_seed(seed)))).tolist()
        for seed in (0, 0, 1)
    ]
    assert all(sorted(order) == chosen.tolist() for order in orders)
    assert orders[0] == orders[1] != orders[2]
    assert sorted(torch.cat(list(in_order(data, chosen, batch=8))).tolist()) == chosen.tolist()


def test_like_lengths_share_a_batch():
    lengths = np.random.default_rng(0).integers(1, 100, 320)
    data = make_dataset(list(lengths), {"rgb": 1})
    batches = list(shuffled(data, np.arange(320), batch=16, generator=torch.Generator().manual_seed(0)))
    padded = sum(len(videos) * int(lengths[videos].max()) for videos in batches)
    assert padded < 1.1 * lengths.sum()


def test_batches_of_long_videos_are_cut(monkeypatch):
    data = make_dataset([50, 3, 3, 3], {"rgb": 2})
    monkeypatch.setattr("pipeline.learn.data.batches.FULL_BATCH_BYTES", 50 * 2 * 4)
    assert [len(videos) for videos in in_order(data, np.arange(4), batch=4)] == [2, 1, 1]


@pytest.mark.parametrize("name", [name for name, head in HEADS.items() if head.pools])
def test_reducing_once_is_applying_the_head_video_by_video(name):
    data = make_dataset([4, 1, 3], {"rgb": 3, "flow": 2}, dtype=torch.float16)
    reduced = pool(data, make_head(name, dim=3))
    assert reduced.lengths.tolist() == [1, 1, 1]
    rows = data.streams["rgb"][5:8].float()
    alone = make_head(name, dim=3)(rows.unsqueeze(0), torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(reduced.streams["rgb"][2], alone.squeeze(0))
