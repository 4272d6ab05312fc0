from dataclasses import replace

import cv2
import h5py
import numpy as np
import pytest

from pipeline.planning.find import Found
from pipeline.planning.plan import Planned, first_plan, plan_video
from schemas.disk.flow_store import FlowStore
from schemas.disk.shard import Origin
from schemas.flow_config import FlowFileSettings
from schemas.plan import Failure, ShardReport
from tests.flowing import HEIGHT, WIDTH, texture, write_cut, write_moving
from tests.videos import number_of, write_video
from workers.flow import make_flow
from workers.flow.files.flo import read_flo
from workers.flow.files.pictures import displacements
from workers.flow_process import flow_software, make_flow_files, make_flow_tools, rehearse_flow


def make(path, out, *, excluded=frozenset(), **options):
    """Plan and make one video; return the store and the report."""
    settings = FlowFileSettings(**{"method": "dis", "short_side_px": HEIGHT} | options)
    store = FlowStore.create(out, Origin("flow", settings.as_dict(), settings.digest, flow_software()))
    planned = plan_video(Found("v", str(path)), settings, 0)
    assert isinstance(planned, Planned), planned
    task = replace(first_plan([planned], 1).shards[0], excluded=excluded)
    *progress, report = make_flow_files(task, make_flow_tools(settings), store)
    assert isinstance(report, ShardReport)
    assert sum(word.frames for word in progress) == task.work_frames
    assert store.books.report(task.shard) == report
    assert store.trouble(report) == ""
    return store, report


def images(folder, axis, count, mark="", suffix="jpg", first=1):
    names = [f"flow_{axis}{mark}_{number:05d}.{suffix}" for number in range(first, first + count)]
    return np.stack([cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE) for name in names])


INNER = np.s_[..., 12:-12, 12:-12]


@pytest.mark.parametrize(("suffix", "tolerance"), [("png", 0.25), ("jpg", 0.5)])
@pytest.mark.parametrize(("dx", "dy"), [(2.0, 0.0), (-1.0, 1.5)])
def test_a_texture_that_moves_comes_back_from_the_images(tmp_path, suffix, tolerance, dx, dy):
    store, report = make(write_moving(tmp_path / "a.mp4", dx=dx, dy=dy), tmp_path / "out", format=suffix, bound_px=8.0)
    assert report.rows == 5
    for axis, motion in (("x", dx), ("y", dy)):
        flow = displacements(images(store.output("v"), axis, 5, suffix=suffix), 8.0)
        assert np.abs(np.median(flow[INNER], axis=(1, 2)) - motion).max() < tolerance


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_still_video_is_128_everywhere(tmp_path, suffix):
    path = write_video(tmp_path / "a.mp4", images=[np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 4)
    store, _ = make(path, tmp_path / "out", format=suffix)
    for axis in "xy":
        assert (images(store.output("v"), axis, 3, suffix=suffix) == 128).all()


def test_files_are_named_and_numbered_as_mmaction2_reads_them(tmp_path):
    store, _ = make(write_moving(tmp_path / "a.mp4", frames=4), tmp_path / "out", rgb=True)
    assert sorted(path.name for path in store.output("v").iterdir()) == [
        *(f"flow_x_{k:05d}.jpg" for k in (1, 2, 3)),
        *(f"flow_y_{k:05d}.jpg" for k in (1, 2, 3)),
        *(f"img_{k:05d}.jpg" for k in (1, 2, 3, 4)),
    ]
    assert images(store.output("v"), "x", 3).shape == (3, HEIGHT, WIDTH)


def test_numbers_may_begin_at_zero_and_a_step_is_marked_as_denseflow_does(tmp_path):
    store, _ = make(write_moving(tmp_path / "a.mp4", frames=5), tmp_path / "out", start_index=0, step=3, rgb=True)
    assert sorted(path.name for path in store.output("v").iterdir()) == [
        "flow_x_p3_00000.jpg",
        "flow_x_p3_00001.jpg",
        "flow_y_p3_00000.jpg",
        "flow_y_p3_00001.jpg",
        *(f"img_{k:05d}.jpg" for k in range(5)),
    ]


def test_frames_beside_the_flow_are_the_first_of_its_pairs(tmp_path):
    store, report = make(write_video(tmp_path / "a.mp4", frames=11), tmp_path / "out", rgb=True, every=4)
    pictures = [cv2.imread(str(path)) for path in sorted(store.output("v").glob("img_*.jpg"))]
    assert [number_of(picture) for picture in pictures] == [0, 4, 8]
    assert report.rows == 3


def test_arrays_hold_the_very_fields_of_the_method(tmp_path):
    path = write_moving(tmp_path / "a.mp4", frames=20, dx=1.3)
    store, report = make(path, tmp_path / "npy", format="npy", bound_px=None, dtype="float32")
    flow = np.load(store.output("v"))
    assert flow.shape == (19, 2, HEIGHT, WIDTH)
    assert flow.dtype == np.float32
    store, _ = make(path, tmp_path / "h5", format="h5", bound_px=None, dtype="float32")
    with h5py.File(store.output("v")) as file:
        np.testing.assert_array_equal(file["flow"][:], flow)
        np.testing.assert_allclose(file["pts_s"][:], np.arange(19) / 25, atol=1e-6)
    store, _ = make(path, tmp_path / "flo", format="flo", bound_px=None)
    fields = [read_flo(file) for file in sorted(store.output("v").iterdir())]
    np.testing.assert_array_equal(np.stack(fields), flow)
    assert report.flow_pairs == report.rows == 19


def test_every_and_step_choose_the_pairs(tmp_path):
    grey = np.stack([texture(1.1 * k, 0)[..., 0] for k in range(9)])
    path = write_video(
        tmp_path / "a.mkv", images=list(np.repeat(grey[..., None], 3, axis=3)), codec="ffv1", pix_fmt="gray"
    )
    store, _ = make(path, tmp_path / "out", format="npy", bound_px=None, dtype="float32", every=3, step=2)
    method = make_flow("dis")
    expected = np.concatenate([method(grey[[start, start + 2]]) for start in (0, 3, 6)])
    np.testing.assert_array_equal(np.load(store.output("v")), expected)


def test_a_video_that_breaks_off_is_partial_and_keeps_what_came_before(tmp_path):
    store, report = make(write_cut(tmp_path / "a.avi"), tmp_path / "out")
    segment = report.segments[0]
    assert segment.outcome == "partial"
    assert 5 < report.rows < 39
    assert len(list(store.output("v").glob("flow_x_*.jpg"))) == report.rows == segment.moments


def test_real_broken_files_end_as_their_frames_tell(shared_data, tmp_path):
    store, report = make(shared_data / "clips/decord/corrupted.mp4", tmp_path / "out", format="flo", bound_px=None)
    assert report.segments[0].outcome == "partial"
    assert report.segments[0].reason == "VideoDecodeError"
    assert len(list(store.output("v").iterdir())) == report.rows > 0


def test_a_video_that_fails_has_no_files(tmp_path):
    store, report = make(write_moving(tmp_path / "a.mp4"), tmp_path / "out", excluded=frozenset({"v"}))
    assert report.segments[0].outcome == "failed"
    assert report.segments[0].reason == "VideoCrashError"
    assert (report.rows, report.size_bytes) == (0, 0)
    assert not store.output("v").exists()
    assert list((store.root / "making").iterdir()) == []


def test_one_frame_has_no_flow(tmp_path):
    write_moving(tmp_path / "a.mp4", frames=1)
    failure = plan_video(Found("v", str(tmp_path / "a.mp4")), FlowFileSettings(), 0)
    assert isinstance(failure, Failure)
    assert failure.reason == "EmptyVideoError"
    assert "2 frames" in failure.message


def test_a_rehearsal_writes_nothing(tmp_path):
    write_moving(tmp_path / "a.mp4")
    settings = FlowFileSettings(method="dis")
    planned = plan_video(Found("v", str(tmp_path / "a.mp4")), settings, 0)
    task = first_plan([planned], 1).shards[0]
    before = sorted(tmp_path.rglob("*"))
    assert sum(word.frames for word in rehearse_flow(task, make_flow_tools(settings))) == 6
    assert list(rehearse_flow(replace(task, segments=()), make_flow_tools(settings))) == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "outcome"), [("jpg", "failed"), ("png", "ok")])
def test_pictures_longer_than_any_jpg_fail_with_words_and_are_never_written_empty(tmp_path, name, outcome):
    path = write_video(tmp_path / "long.mkv", images=[np.zeros((2, 66_000, 3), np.uint8)] * 2, codec="ffv1")
    store, report = make(path, tmp_path / "out", format=name)
    (segment,) = report.segments
    assert segment.outcome == outcome
    if outcome == "failed":
        assert segment.reason == "VideoTooLargeError"
        assert f"{store.output('v')}: a picture of 66000 x 2 px is no jpg" in segment.message
    else:
        assert all(path.stat().st_size for path in store.output("v").iterdir())
