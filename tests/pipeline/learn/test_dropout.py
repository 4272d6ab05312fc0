"""Dropout drops what it should, and its draws are cheap but fair."""

import pytest
import torch

from pipeline.learn.training.dropout import Dropout


@pytest.mark.parametrize("p", [26 / 256, 0.5, 243 / 256])
def test_dropout_drops_the_share_asked_in_every_lane_of_a_draw_and_keeps_the_sum(p):
    torch.manual_seed(0)
    n = 400_000
    dropped = Dropout(p)(torch.ones(n))
    assert sorted(set(dropped.tolist())) == [0.0, pytest.approx(1 / (1 - p))]
    for lane in range(8):
        share = float((dropped[lane::8] == 0).float().mean())
        assert abs(share - p) < 5 * (p * (1 - p) / (n // 8)) ** 0.5
    assert float(dropped.mean()) == pytest.approx(1, abs=5 * (p / (1 - p) / n) ** 0.5)


def test_dropout_is_decided_by_the_seed_and_its_gradient_has_the_same_mask():
    x = torch.ones(3, 5, 7, dtype=torch.float64, requires_grad=True)  # 105 features: not a multiple of a draw's lanes
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(Dropout(0.5)(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    masks[2].sum().backward()
    assert torch.equal(x.grad, masks[2].detach())


def test_dropout_rounds_its_probability_to_256ths_and_keeps_a_half_exactly():
    assert [Dropout(p).dropped for p in (0.0, 0.1, 0.5, 0.95)] == [0, 26, 128, 243]


def test_dropout_does_nothing_in_evaluation_or_when_nothing_is_dropped():
    x = torch.randn(4, 6)
    state = torch.get_rng_state()
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(torch.get_rng_state(), state)
