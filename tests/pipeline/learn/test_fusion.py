"""One contract for every fusion, alone and inside a model."""

import pytest
import torch

from pipeline.learn.models.fusion import FUSIONS, make_fusion
from pipeline.learn.models.model import VideoClassifier, join_late, load_model, save_model
from pipeline.learn.settings import ModelSettings
from schemas.errors import ConfigError, StoreError


def stirred(module):
    """Give every parameter a random value: classifiers start at 0, where all answers are alike."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module.eval()


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("widths", [[3], [3, 3], [3, 5, 2]])
@pytest.mark.parametrize("multilabel", [False, True])
def test_every_fusion_takes_any_number_of_streams_and_reaches_each_with_its_gradient(name, widths, multilabel):
    torch.manual_seed(0)
    fusion = stirred(make_fusion(name, widths=widths, classes=4, hidden=0, dropout=0.0, multilabel=multilabel))
    vectors = [torch.randn(2, width, requires_grad=True) for width in widths]
    scores = fusion(vectors)
    assert scores.shape == (2, 4)
    scores[:, 0].sum().backward()
    assert all(vector.grad.abs().sum() > 0 for vector in vectors)
    assert all(parameter.grad is not None for parameter in fusion.parameters())


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("head", ["mean", "lstm"])
def test_padding_changes_no_fused_score(name, head):
    torch.manual_seed(0)
    model = stirred(VideoClassifier(ModelSettings(streams={"rgb": 3, "flow": 5}, classes=4, head=head, fusion=name)))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    features = {"rgb": torch.randn(2, 3, 3), "flow": torch.randn(2, 3, 5)}
    spoilt = {key: x.masked_fill(~mask.unsqueeze(2), torch.nan) for key, x in features.items()}
    assert torch.equal(model(features, mask), model(spoilt, mask))


def test_late_fusion_is_the_weighted_mean_of_probabilities():
    fusion = stirred(make_fusion("score", widths=[3, 3], classes=4, hidden=0, dropout=0.0, multilabel=False))
    fusion.weights.copy_(torch.tensor([0.4, 0.6]))
    vectors = [torch.randn(2, 3), torch.randn(2, 3)]
    one, other = (classify(v).softmax(1) for classify, v in zip(fusion.classifiers, vectors, strict=True))
    torch.testing.assert_close(fusion(vectors).softmax(1), 0.4 * one + 0.6 * other)


def test_late_fusion_of_several_labels_is_the_weighted_mean_of_probabilities():
    fusion = stirred(make_fusion("score", widths=[3, 3], classes=4, hidden=0, dropout=0.0, multilabel=True))
    fusion.weights.copy_(torch.tensor([1.0, 0.0]))
    vectors = [torch.randn(2, 3), torch.randn(2, 3)]
    torch.testing.assert_close(fusion(vectors).sigmoid(), fusion.classifiers[0](vectors[0]).sigmoid())


def test_streams_trained_alone_are_put_together_unchanged():
    torch.manual_seed(0)
    both = ModelSettings(streams={"rgb": 3, "flow": 5}, classes=4, fusion="score")
    singles = {
        name: stirred(VideoClassifier(ModelSettings(streams={name: dim}, classes=4)))
        for name, dim in both.streams.items()
    }
    joined = join_late(both, singles).eval()
    features, mask = {"rgb": torch.randn(2, 3, 3), "flow": torch.randn(2, 3, 5)}, torch.ones(2, 3, dtype=torch.bool)
    alone = [singles[name]({name: features[name]}, mask).softmax(1) for name in features]
    torch.testing.assert_close(joined(features, mask).softmax(1), (alone[0] + alone[1]) / 2)
    with pytest.raises(ConfigError, match="single streams"):
        join_late(ModelSettings(streams=both.streams, classes=4, fusion="concat"), singles)


def test_an_unknown_fusion_is_refused():
    with pytest.raises(ConfigError, match="known: concat, average, score, gated"):
        make_fusion("sum", widths=[2], classes=2, hidden=0, dropout=0.0, multilabel=False)


def test_a_saved_model_says_the_same_again_and_a_damaged_one_is_refused(tmp_path):
    torch.manual_seed(0)
    settings = ModelSettings(streams={"rgb": 3}, classes=4, head="netvlad", head_options={"clusters": 2}, hidden=6)
    model = stirred(VideoClassifier(settings))
    model.branch("rgb").standardise(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0, 2.0]))
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    features, mask = {"rgb": torch.randn(2, 3, 3)}, torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(load_model(settings, path)(features, mask), model(features, mask))
    with pytest.raises(StoreError, match="does not hold"):
        load_model(ModelSettings(streams={"rgb": 4}, classes=4), path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StoreError, match="does not hold"):
        load_model(settings, path)


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize(("head", "same"), [("mean", True), ("attention", False)])
def test_classifiers_of_features_as_they_are_start_at_zero_and_those_of_learnt_ones_do_not(name, head, same):
    model = VideoClassifier(ModelSettings(streams={"rgb": 3, "flow": 5}, classes=4, head=head, fusion=name)).eval()
    features = {"rgb": torch.randn(1, 2, 3), "flow": torch.randn(1, 2, 5)}
    said = model.probabilities(model(features, torch.ones(1, 2, dtype=torch.bool)))
    assert torch.allclose(said, torch.tensor(0.25)) is same


def test_a_feature_that_never_changed_in_training_stays_finite():
    model = VideoClassifier(ModelSettings(streams={"rgb": 2}, classes=2)).eval()
    model.branch("rgb").standardise(torch.zeros(2), torch.zeros(2))
    assert torch.isfinite(model({"rgb": torch.ones(1, 1, 2)}, torch.ones(1, 1, dtype=torch.bool))).all()


@pytest.mark.parametrize("unit", [1e-30, 3e-5, 1e30])
def test_the_unit_of_features_changes_nothing(unit):
    torch.manual_seed(0)
    x = torch.randn(20, 1, 4)
    x[:, :, 3] = 7  # it never changes
    said = []
    for factor in (1.0, unit):
        torch.manual_seed(1)
        model = stirred(VideoClassifier(ModelSettings(streams={"rgb": 4}, classes=2)))
        rows = (x * factor).flatten(0, 1).double()
        model.branch("rgb").standardise(rows.mean(0).float(), rows.std(0, correction=0).float())
        said.append(model({"rgb": (x + 0.5) * factor}, torch.ones(20, 1, dtype=torch.bool)))
    torch.testing.assert_close(*said, rtol=1e-4, atol=1e-4)
