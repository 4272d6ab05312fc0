import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.frames import FrameBatch
from schemas.plan import Segment
from schemas.streams import Flow, Needs, Rgb
from workers.moments import MomentBuilder

H, W = 2, 3


class CountingFlow:
    """Field i is full of (i + 1, -i - 1); frame i is full of i, so the fields asked for are seen."""

    def __init__(self):
        self.asked = []

    def __call__(self, grey):
        fields = grey[:-1, 0, 0].astype(np.float32)
        assert (np.diff(grey[:, 0, 0].astype(int)) == 1).all()
        self.asked += fields.astype(int).tolist()
        numbers = (fields + 1)[:, None, None, None]
        return np.concatenate([numbers, -numbers], axis=1) * np.ones((1, 1, H, W), np.float32)


def windows(first, stop, sizes, rgb_frames, grey=True):
    """Frames first:stop in windows of these sizes, the last size again and again."""
    sizes = list(sizes)
    while first < stop:
        size = min(sizes.pop(0) if len(sizes) > 1 else sizes[0], stop - first)
        frame = np.arange(first, first + size)
        wanted = np.array([f for f in frame if f in rgb_frames], np.int64)
        pictures = np.ones((size, H, W), np.uint8) * frame[:, None, None].astype(np.uint8)
        yield FrameBatch(
            frame,
            frame / 25,
            pictures if grey else pictures[:0],
            wanted,
            np.repeat(wanted.astype(np.uint8), H * W * 3).reshape(-1, H, W, 3),
        )
        first += size


def segment_of(frames, read_stop, read_start=0):
    return Segment("a", 0, len(frames), tuple(frames), read_start, read_stop, None)


def builder_of(frames, planned, stack, flow):
    """A builder for colour and, with a flow method, stacks of flow."""
    streams = (Rgb(), Flow(stack=stack)) if flow else (Rgb(),)
    needs = Needs()
    for stream in streams:
        needs |= stream.needs()
    return MomentBuilder(segment_of(frames, planned), needs, {Flow().motion: flow})


def stacks_of(moments, stack):
    around = Flow(stack=stack).around
    return [moments.pictures.flow_at(Flow().motion, [frame + k for k in around]) for frame in moments.frame]


def built(frames, stack, stop, sizes, first=0, flow=None, planned=None):
    """All moments of a builder over frames first:stop, checked to be aligned: (frame, stack's field numbers)."""
    builder = builder_of(frames, planned or stop, stack, flow)
    found, told = [], 0
    for window in windows(first, stop, sizes, set(frames), grey=flow is not None):
        for done, moments in builder.add(window):
            told += done
            found.append(moments)
    found.append(builder.finish())
    assert told == stop - first, "progress tells every frame once"
    rows = []
    for moments in found:
        assert len(moments.frame) == len(moments.pts_s)
        for k, frame in enumerate(moments.frame):
            assert moments.pts_s[k] == frame / 25
            assert (moments.pictures.colour_at([frame]) == frame).all()
            numbers = []
            if flow:
                fields = stacks_of(moments, stack)[k]
                assert fields.shape == (stack, 2, H, W)
                assert np.array_equal(fields[:, 1], -fields[:, 0])
                numbers = (fields[:, 0, 0, 0] - 1).astype(int).tolist()
            rows.append((frame, numbers))
    return rows


def expected(frames, stack, stop):
    """The definition: fields f - L//2 ... of the frames there are, clamped at the ends."""
    rows = []
    for frame in frames:
        if frame < stop:
            around = [frame - stack // 2 + k for k in range(stack)]
            rows.append((frame, [min(max(field, 0), stop - 2) for field in around]))
    return rows


videos = st.integers(2, 90)
window_sizes = st.lists(st.integers(1, 20), min_size=1, max_size=5)


@given(videos, st.data(), st.integers(1, 12), window_sizes)
def test_stacks_are_the_fields_around_each_moment_clamped_at_the_ends(length, data, stack, sizes):
    frames = sorted(data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=12)))
    assert built(frames, stack, length, sizes, flow=CountingFlow()) == expected(frames, stack, length)


@given(videos, st.data(), st.integers(1, 12), window_sizes)
def test_a_video_that_breaks_off_keeps_the_moments_before_with_stacks_clamped_there(length, data, stack, sizes):
    frames = sorted(data.draw(st.lists(st.integers(0, length + 30), min_size=1, max_size=12)))
    planned = frames[-1] + 1 + data.draw(st.integers(0, 12))
    rows = built(frames, stack, length, sizes, flow=CountingFlow(), planned=max(planned, length))
    for (frame, numbers), (same, wanted) in zip(rows, expected(frames, stack, length), strict=True):
        assert frame == same
        assert numbers == wanted


@given(videos, st.data(), st.integers(2, 12), window_sizes)
def test_only_fields_of_some_stack_are_computed_and_each_once(length, data, stack, sizes):
    frames = sorted(data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=4)))
    flow = CountingFlow()
    built(frames, stack, length, sizes, flow=flow)
    needed = {frame - stack // 2 + k for frame in frames for k in range(stack)} & set(range(length - 1))
    assert flow.asked == sorted(needed)


@pytest.mark.parametrize("stack", [1, 2, 10])
def test_a_video_of_one_frame_has_no_motion(stack):
    builder = builder_of((0, 0, 0), 1, stack, CountingFlow())
    (window,) = windows(0, 1, [16], {0})
    found = [moments for _, moments in builder.add(window)] + [builder.finish()]
    stacks = [one for moments in found for one in stacks_of(moments, stack)]
    assert len(stacks) == 3
    assert all(one.shape == (stack, 2, H, W) and not one.any() for one in stacks)


@pytest.mark.parametrize("stack", [1, 2, 9, 10])
def test_a_video_of_two_frames_has_its_one_field_everywhere(stack):
    assert built([0, 1], stack, 2, [16], flow=CountingFlow()) == [(0, [0] * stack), (1, [0] * stack)]


def test_without_flow_moments_are_complete_at_once():
    builder = builder_of((0, 3, 5), 8, 0, None)
    (window,) = windows(0, 8, [8], {0, 3, 5}, grey=False)
    ((told, moments),) = builder.add(window)
    assert (told, moments.frame, dict(moments.pictures.flow)) == (8, [0, 3, 5], {})
    assert builder.finish().frame == []


def test_a_long_video_holds_no_more_fields_than_a_stack_and_a_window():
    builder = builder_of(range(0, 250, 8), 250, 10, CountingFlow())
    (motion,) = builder._motions.values()
    for window in windows(0, 250, [16], set(range(0, 250, 8))):
        for _ in builder.add(window):
            assert len(motion.fields) <= 10 + 16 + 16
            assert len(builder._waiting) <= 4
            assert len(builder._colour) <= 5


@given(
    videos,
    st.data(),
    window_sizes,
    st.sets(st.integers(-9, 9), min_size=1, max_size=4),
    st.sets(st.integers(-9, 9), min_size=1, max_size=4),
)
def test_every_picture_that_is_needed_is_there_and_clamped_at_the_ends(length, data, sizes, grey, colour):
    frames = sorted(data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=9)))
    builder = MomentBuilder(segment_of(frames, length), Needs(grey=frozenset(grey), colour=frozenset(colour)), {})
    found = []
    for window in windows(0, length, sizes, set(builder.colour_frames.tolist())):
        found += [moments for _, moments in builder.add(window)]
        assert len(builder._grey) <= 20 + 20
    found.append(builder.finish())
    seen = [frame for moments in found for frame in moments.frame]
    assert seen == frames
    for moments in found:
        for frame in moments.frame:
            around = [frame + k for k in sorted(grey)]
            clamped = np.clip(around, 0, length - 1).tolist()
            assert moments.pictures.grey_at(around)[:, 0, 0].tolist() == clamped
            around = [frame + k for k in sorted(colour)]
            clamped = np.clip(around, 0, length - 1).tolist()
            assert moments.pictures.colour_at(around)[:, 0, 0, 0].tolist() == clamped


def test_two_flow_methods_side_by_side_are_each_computed_once():
    one, two = CountingFlow(), CountingFlow()
    needs = Flow(stack=2).needs() | Flow(method="dis", stack=4, name="other").needs()
    builder = MomentBuilder(segment_of([8, 16], 30), needs, {Flow().motion: one, Flow(method="dis").motion: two})
    told = 0
    for window in windows(0, 30, [7], set()):
        for done, _ in builder.add(window):
            told += done
    assert told == 30
    assert one.asked == [7, 8, 15, 16]
    assert two.asked == [6, 7, 8, 9, 14, 15, 16, 17]
