import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.frames import FrameBatch
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
        yield FrameBatch(frame, frame / 25, pictures if grey else pictures[:0],
                         wanted, np.repeat(wanted.astype(np.uint8), H * W * 3).reshape(-1, H, W, 3))
        first += size


def built(frames, stack, stop, sizes, first=0, flow=None):
    """All moments of a builder over frames first:stop, checked to be aligned: (frame, stack's field numbers)."""
    builder = MomentBuilder(tuple(frames), stack, flow)
    found, told = [], 0
    for window in windows(first, stop, sizes, set(frames), grey=flow is not None):
        for done, moments in builder.add(window):
            told += done
            found.append(moments)
    found.append(builder.finish())
    assert told == stop - first, "progress tells every frame once"
    rows = []
    for moments in found:
        assert len(moments.frame) == len(moments.pts_s) == len(moments.rgb)
        assert len(moments.stacks) == (len(moments.frame) if flow else 0)
        for k, frame in enumerate(moments.frame):
            assert moments.pts_s[k] == frame / 25
            assert (moments.rgb[k] == frame).all()
            numbers = []
            if flow:
                assert moments.stacks[k].shape == (2 * stack, H, W)
                assert np.array_equal(moments.stacks[k][1::2], -moments.stacks[k][0::2])
                numbers = (moments.stacks[k][0::2, 0, 0] - 1).astype(int).tolist()
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
    assert built(frames, stack, length, sizes, flow=CountingFlow()) == expected(frames, stack, length)


@given(videos, st.data(), st.integers(2, 12), window_sizes)
def test_only_fields_of_some_stack_are_computed_and_each_once(length, data, stack, sizes):
    frames = sorted(data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=4)))
    flow = CountingFlow()
    built(frames, stack, length, sizes, flow=flow)
    needed = {frame - stack // 2 + k for frame in frames for k in range(stack)} & set(range(length - 1))
    assert flow.asked == sorted(needed)


@pytest.mark.parametrize("stack", [1, 2, 10])
def test_a_video_of_one_frame_has_no_motion(stack):
    builder = MomentBuilder((0, 0, 0), stack, CountingFlow())
    (window,) = windows(0, 1, [16], {0})
    found = [moments for _, moments in builder.add(window)] + [builder.finish()]
    stacks = [one for moments in found for one in moments.stacks]
    assert len(stacks) == 3
    assert all(one.shape == (2 * stack, H, W) and not one.any() for one in stacks)


@pytest.mark.parametrize("stack", [1, 2, 9, 10])
def test_a_video_of_two_frames_has_its_one_field_everywhere(stack):
    assert built([0, 1], stack, 2, [16], flow=CountingFlow()) == [(0, [0] * stack), (1, [0] * stack)]


def test_without_flow_moments_are_complete_at_once():
    builder = MomentBuilder((0, 3, 5), 0, None)
    (window,) = windows(0, 8, [8], {0, 3, 5}, grey=False)
    (told, moments), = builder.add(window)
    assert (told, moments.frame, moments.stacks) == (8, [0, 3, 5], [])
    assert builder.finish().frame == []


def test_a_long_video_holds_no_more_fields_than_a_stack_and_a_window():
    builder = MomentBuilder(tuple(range(0, 250, 8)), 10, CountingFlow())
    for window in windows(0, 250, [16], set()):
        for _ in builder.add(window):
            assert len(builder._fields) <= 10 + 16 + 16
            assert len(builder._waiting) <= 4
