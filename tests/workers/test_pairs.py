import numpy as np
import pytest

from schemas.flow_config import FlowFileSettings
from schemas.frames import FrameBatch
from workers.pairs import PairFlow


def windows(frames, size):
    """Frame k is a 2 x 3 picture of the number k."""
    for first in range(0, frames, size):
        frame = np.arange(first, min(frames, first + size))
        grey = np.ones((len(frame), 2, 3), np.uint8) * frame[:, None, None].astype(np.uint8)
        yield FrameBatch(frame, frame / 25, grey, np.empty(0, np.int64), np.empty((0, 2, 3, 3), np.uint8))


def told_apart(grey):
    """A field that says which two frames it leads between."""
    return np.stack([grey[:-1], grey[1:]], axis=1).astype(np.float32)


def run(frames, size, every, step):
    pairs = PairFlow(told_apart, every=every, step=step)
    return pairs, [out for window in windows(frames, size) for out in pairs.add(window)]


@pytest.mark.parametrize("every", [1, 2, 3, 7])
@pytest.mark.parametrize("step", [1, 2, 3, 10])
@pytest.mark.parametrize("size", [1, 4, 16, 100])
def test_every_pair_comes_once_in_order_and_leads_between_its_frames(every, step, size):
    frames = 41
    pairs, out = run(frames, size, every, step)
    starts = np.concatenate([batch.frame for _, batch, _ in out])
    expected = list(FlowFileSettings(every=every, step=step).starts(frames))
    assert starts.tolist() == expected
    fields = np.concatenate([batch.flow for _, batch, _ in out])
    assert fields[:, 0, 0, 0].tolist() == expected
    assert fields[:, 1, 0, 0].tolist() == [start + step for start in expected]
    assert np.concatenate([pts_s for *_, pts_s in out]).tolist() == [start / 25 for start in expected]
    assert pairs.flow.pairs == len(expected)


@pytest.mark.parametrize(("every", "step"), [(1, 1), (2, 5), (9, 1)])
def test_every_frame_is_told_once(every, step):
    _, out = run(37, 8, every, step)
    assert all(frames >= 0 for frames, *_ in out)
    assert sum(frames for frames, *_ in out) == 37


def test_no_more_than_a_step_of_frames_is_held():
    pairs = PairFlow(told_apart, every=1, step=3)
    for window in windows(60, 8):
        for _ in pairs.add(window):
            pass
        assert len(pairs._held) <= 3


def test_pairs_that_continue_one_another_go_to_the_method_in_one_call():
    lengths = []
    pairs = PairFlow(lambda grey: lengths.append(len(grey)) or told_apart(grey), every=1, step=2)
    for window in windows(33, 33):
        list(pairs.add(window))
    assert lengths[0] == 2  # the first call finds out how fast the method is
    assert sum(lengths) < 45  # 31 pairs, one frame more for each chain
