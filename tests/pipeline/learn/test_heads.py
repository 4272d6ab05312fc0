"""One contract for every head, and what is special about each."""

import pytest
import torch

from pipeline.learn.models.heads import HEADS, HardAttention, Mean, NetVLAD, make_head
from schemas.errors import ConfigError

DIM = 5


def batch(lengths, dim=DIM, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(len(lengths), max(lengths), dim, generator=generator, dtype=dtype)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return x, mask


SMALL = {
    "attention": {"hidden": 3},
    "hard_attention": {"hidden": 3},
    "lstm": {"hidden": 2, "project": 2},
    "gru": {"hidden": 2},
    "netvlad": {"clusters": 2, "project": 3},
}  # finite differences take a step a number


@pytest.fixture(params=HEADS)
def head(request):
    torch.manual_seed(0)
    return make_head(request.param, dim=DIM, **SMALL.get(request.param, {})).eval()


def test_every_head_gives_one_vector_of_its_width(head):
    x, mask = batch([3, 1, 7])
    assert head(x, mask).shape == (3, head.width)


@pytest.mark.parametrize("rubbish", [0.0, 1e6, float("nan"), float("inf")])
def test_what_lies_beyond_the_mask_changes_nothing(head, rubbish):
    x, mask = batch([3, 1, 7])
    expected = head(x, mask)
    spoilt = torch.where(mask.unsqueeze(2), x, torch.tensor(rubbish))
    assert torch.equal(head(spoilt, mask), expected)


def test_what_lies_beyond_the_mask_changes_no_gradient(head):
    x, mask = batch([3, 1, 7])
    gradients = []
    for rubbish in (0.0, float("nan")):
        spoilt = torch.where(mask.unsqueeze(2), x, torch.tensor(rubbish)).requires_grad_()
        for parameter in head.parameters():
            parameter.grad = None
        head(spoilt, mask).square().sum().backward()
        gradients.append([p.grad.clone() for p in head.parameters()] + [spoilt.grad[mask]])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_video_alone_gives_what_it_gives_in_a_padded_batch(head):
    x, mask = batch([3, 1, 7])
    together = head(x, mask)
    for row, length in enumerate([3, 1, 7]):
        alone = head(x[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-5, atol=1e-6)


def test_gradients_agree_with_finite_differences(head):
    x, mask = batch([2, 3], dtype=torch.float64)
    head = head.double()
    if isinstance(head, HardAttention):
        head.k = 3  # the choice itself has no derivative; with all moments chosen there is no choice
        assert torch.allclose(head(x, mask), Mean(dim=DIM)(x, mask))
        return
    assert torch.autograd.gradcheck(lambda x: head(x, mask), x.requires_grad_(), atol=1e-6)
    for name, parameter in head.named_parameters():

        def with_value(value, name=name):
            return torch.func.functional_call(head, {name: value}, (x.detach(), mask))

        assert torch.autograd.gradcheck(with_value, parameter.detach().clone().requires_grad_(), atol=1e-6), name


def test_a_head_that_pools_leaves_a_single_moment_and_commutes_with_standardising(head):
    if not head.pools:
        pytest.skip("learns something, so it has to see every moment")
    x, mask = batch([3, 1, 7])
    reduced = head(x, mask).unsqueeze(1)
    assert torch.equal(head(reduced, torch.ones(3, 1, dtype=torch.bool)), reduced.squeeze(1))
    assert not list(head.parameters())
    torch.testing.assert_close(head((x - 2) / 3, mask), (head(x, mask) - 2) / 3)


def test_mean_and_max_are_those_of_the_moments_that_exist():
    x, mask = batch([3, 1, 7])
    for row, length in enumerate([3, 1, 7]):
        torch.testing.assert_close(make_head("mean", dim=DIM)(x, mask)[row], x[row, :length].mean(0))
        torch.testing.assert_close(make_head("max", dim=DIM)(x, mask)[row], x[row, :length].amax(0))


@pytest.mark.parametrize(("name", "net"), [("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)])
@pytest.mark.parametrize(("layers", "both_ways"), [(1, False), (2, True)])
def test_recurrent_heads_equal_torchs_network_run_video_by_video(name, net, layers, both_ways):
    torch.manual_seed(0)
    head = make_head(name, dim=DIM, hidden=4, layers=layers, both_ways=both_ways).eval()
    lone = net(DIM, 4, num_layers=layers, bidirectional=both_ways, batch_first=True)
    suffixes = ["", "_reverse"]
    lone.load_state_dict(
        {
            f"{name[:-1]}{layer}{suffixes[way]}": value
            for layer, nets in enumerate(head.layers)
            for way, cell in enumerate(nets)
            for name, value in cell.state_dict().items()
        }
    )
    lengths = [3, 1, 7, 7]
    x, mask = batch(lengths)
    together = head(x, mask)
    for row, length in enumerate(lengths):
        output, _ = lone(x[row : row + 1, :length])
        last = [output[0, -1, :4]] + ([output[0, 0, 4:]] if both_ways else [])
        torch.testing.assert_close(together[row], torch.cat(last), rtol=1e-5, atol=1e-6)


def test_hard_attention_takes_the_mean_of_the_best_moments_and_nothing_of_the_others():
    head = HardAttention(dim=DIM, k=2).eval()
    x, mask = batch([6, 1])
    best = head.score(x, mask)[0].topk(2).indices
    torch.testing.assert_close(head(x, mask)[0], x[0, best].mean(0))
    torch.testing.assert_close(head(x, mask)[1], x[1, 0])


def test_hard_attention_learns_through_the_straight_through_estimate():
    torch.manual_seed(0)
    head = HardAttention(dim=DIM, k=1).train()
    x, mask = batch([6, 4])
    head(x, mask).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_hard_attention_samples_in_training_and_is_fixed_in_evaluation():
    torch.manual_seed(0)
    head = HardAttention(dim=DIM, k=1)
    x, mask = batch([9, 9])
    assert len({tuple(head.train()(x, mask).flatten().tolist()) for _ in range(8)}) > 1
    assert len({tuple(head.eval()(x, mask).flatten().tolist()) for _ in range(8)}) == 1


def test_netvlad_is_the_paper_s_sum_of_residuals():
    torch.manual_seed(0)
    head = NetVLAD(dim=DIM, clusters=3, project=4)
    x, mask = batch([4, 2])
    z = head.project(x[1, :2])
    a = torch.softmax(head.assign(z), 1)
    rows = [sum(a[t, k] * (z[t] - head.centres[k]) for t in range(2)) for k in range(3)]
    vlad = torch.cat([row / row.norm() for row in rows])
    torch.testing.assert_close(head(x, mask)[1], vlad / vlad.norm() * 12**0.5)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("rnn", {}, "known: mean, max"),
        ("mean", {"k": 3}, "takes no option 'k'"),
        ("hard_attention", {"k": 0}, "at least 1"),
        ("lstm", {"hidden": 0}, "at least 1"),
        ("netvlad", {"clusters": 0}, "at least 1"),
    ],
)
def test_an_unknown_head_or_option_is_refused(name, options, words):
    with pytest.raises(ConfigError, match=words):
        make_head(name, dim=DIM, **options)


def test_a_recurrent_head_remembers_its_first_moments_when_training_begins():
    for name in ("lstm", "gru"):
        torch.manual_seed(0)
        head = make_head(name, dim=DIM, both_ways=False).eval()
        x, mask = batch([12, 12])
        x.requires_grad_()
        head(x, mask).sum().backward()
        seen = x.grad.abs().sum((0, 2))
        assert seen[0] > 0.02 * seen[-1]  # with the start that torch gives 0.004 to 0.005


def test_a_recurrent_head_projects_features_only_where_they_are_wider():
    assert isinstance(make_head("lstm", dim=30, project=128).project, torch.nn.Identity)
    assert make_head("lstm", dim=1280).project.out_features == 128
    assert isinstance(make_head("gru", dim=1280, project=0).project, torch.nn.Identity)
