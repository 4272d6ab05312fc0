"""What every network promises, on random weights; and that the default one sees what is in a photograph."""

import contextlib
import os
import pickle
import warnings

import pytest
import skimage.data
import timm
import torch
import torchvision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from schemas.errors import ConfigError, ResourceError
from workers.networks.backbones import (
    BACKBONES,
    DEFAULT_BACKBONE,
    FLOW_CONTRAST,
    make_backbone,
    read_weights,
    weights_digest,
    widened,
)
from workers.networks.batches import rgb_input

TINY = "test_resnet"
SELECTION = {
    DEFAULT_BACKBONE: 1280,
    "alexnet": 256,
    "vgg11": 4096,
    "resnet18": 512,
    "efficientnet_b0": 1280,
    "vit_tiny_patch16_224": 192,
    "mobilenetv3_small_050": 1024,
    "test_convnext": 64,
    TINY: 96,
}


@pytest.fixture(scope="module")
def tiny_state():
    torch.manual_seed(0)
    return make_backbone(TINY).skeleton().state_dict()


def first_convolution(network):
    return next(module for module in network.modules() if isinstance(module, torch.nn.Conv2d))


@pytest.mark.parametrize("name", SELECTION)
def test_a_network_gives_one_row_of_its_dim_a_picture_from_colour_and_from_flow(name):
    backbone = make_backbone(name)
    state, size = backbone.skeleton().state_dict(), (backbone.preprocessing.height, backbone.preprocessing.width)
    kernel = None
    for channels in (3, 10):
        network = backbone.build(state, channels)
        with torch.inference_mode():
            features = network(torch.zeros(2, channels, *size))
        assert features.shape == (2, SELECTION[name])
        assert torch.isfinite(features).all()
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        weight = first_convolution(network).weight
        if channels == 3:
            kernel = weight
        else:
            assert weight.shape[1] == 10
            for channel in range(10):  # Wang et al. 2016: every channel gets the mean of the colours' kernels
                assert torch.allclose(weight[:, channel], FLOW_CONTRAST * kernel.mean(dim=1))


def test_features_of_a_network_that_pools_otherwise_are_still_global_averages():
    name = "vit_tiny_patch16_224"  # takes its class token by itself
    backbone = make_backbone(name)
    network = backbone.skeleton().eval()
    with torch.inference_mode():
        picture = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        tokens = network.forward_features(picture)
        assert network.global_pool == "avg"
        assert torch.allclose(network(picture), network.forward_head(tokens), atol=1e-5)


def test_every_network_of_timm_has_a_description():
    assert set(timm.list_models()) < set(BACKBONES)
    assert len(BACKBONES) > 1000


def test_a_network_keeps_its_own_preprocessing():
    theirs = timm.models.get_pretrained_cfg("vit_tiny_patch16_224")
    ours = make_backbone("vit_tiny_patch16_224").preprocessing
    assert (ours.height, ours.width) == theirs.input_size[1:]
    assert (ours.crop_share, ours.interpolation, ours.mean, ours.std) == (
        theirs.crop_pct,
        theirs.interpolation,
        theirs.mean,
        theirs.std,
    )
    assert make_backbone("inception_v3").preprocessing.height == 299
    assert make_backbone("dm_nfnet_f0").preprocessing.crop_mode == "squash"
    assert make_backbone(DEFAULT_BACKBONE).preprocessing.mean == (127 / 255,) * 3


def test_a_network_with_several_published_weights_is_asked_for_by_their_tag():
    theirs = timm.models.get_pretrained_cfg("resnet50.a1_in1k")
    tagged = make_backbone("resnet50.a1_in1k")
    assert tagged.name == "resnet50.a1_in1k"
    assert tagged.preprocessing.crop_share == theirs.crop_pct
    assert make_backbone("resnet50.tv_in1k").preprocessing.crop_share != theirs.crop_pct
    with pytest.raises(ConfigError, match=r"unknown weights 'nothing' of resnet50; known: .*a1_in1k"):
        make_backbone("resnet50.nothing")
    with pytest.raises(ConfigError, match="unknown weights 'x' of alexnet; known: none"):
        make_backbone("alexnet.x")


def test_an_unknown_network_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown backbone 'resnet51'; nearest: .*resnet50"):
        make_backbone("resnet51")


def test_a_kernel_for_colours_becomes_one_for_flow_that_sees_all_channels_alike_and_motion_with_more_contrast():
    kernel = torch.randn(4, 3, 3, 3)
    wide = widened(kernel, 20)
    assert wide.shape == (4, 20, 3, 3)
    torch.testing.assert_close(wide, FLOW_CONTRAST * kernel.mean(1, keepdim=True).expand(-1, 20, -1, -1))


def test_a_kernel_made_for_flow_is_left_as_it_is_and_another_is_refused():
    kernel = torch.randn(4, 20, 3, 3)
    assert widened(kernel, 20) is kernel
    with pytest.raises(ConfigError, match=r"take 20 input channels; 3 .* or 10 are needed"):
        widened(kernel, 10)


def test_weights_trained_on_flow_are_loaded_whole(tiny_state):
    backbone = make_backbone(TINY)
    trained = backbone.build(tiny_state, 10).state_dict()
    again = backbone.build(trained, 10)
    assert weights_digest(again.state_dict()) == weights_digest(trained)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: dict(list(state.items())[:-3]),
        lambda state: dict(list(state.items())[3:]),
        lambda state: {},
        lambda state: make_backbone("test_vit").skeleton().state_dict(),
        lambda state: {name: torch.zeros(7) for name in state},
    ],
)
def test_weights_of_another_network_or_a_part_of_them_are_refused(tiny_state, spoil):
    with pytest.raises(ConfigError, match=TINY):
        make_backbone(TINY).build(spoil(tiny_state), 3)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
    ],
)
def test_weights_come_from_safetensors_and_from_the_usual_checkpoints(tmp_path, tiny_state, wrap):
    save_file(tiny_state, tmp_path / "weights.safetensors")
    torch.save(wrap(tiny_state), tmp_path / "weights.pth")
    want = weights_digest(tiny_state)
    assert weights_digest(read_weights(tmp_path / "weights.safetensors")) == want
    assert weights_digest(read_weights(tmp_path / "weights.pth")) == want


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run_it(tmp_path, tiny_state):
    torch.save(tiny_state | {"trap": Trap(tmp_path / "sprung")}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"would run code.*safetensors"):
        read_weights(tmp_path / "weights.pth")
    assert not (tmp_path / "sprung").exists()


ODD_TENSORS = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
    "of no memory": lambda: torch.empty(2, device="meta"),
    "complex": lambda: torch.zeros(2, dtype=torch.complex64),
    "trained": lambda: torch.nn.Parameter(torch.ones(2)),
    "half": lambda: torch.ones(2).half(),
    "of one number": lambda: torch.tensor(3),
    "of none": lambda: torch.zeros(0),
    "a view": lambda: torch.ones(4)[::2],
    "one number often": lambda: torch.ones(1).expand(5),
    "true or false": lambda: torch.ones(2) > 0,
    "conjugate": lambda: torch.zeros(2, dtype=torch.complex64).conj(),
}
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.binary(max_size=9))
names = st.sampled_from(["state_dict", "model", "module.conv1.0.weight", "conv1.0.weight", "x", 3, None, b"y", (1, 2)])
odd = st.recursive(
    st.one_of(plain, st.sampled_from(sorted(ODD_TENSORS)).map(lambda name: ODD_TENSORS[name]())),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
    max_leaves=9,
)


def read_or_refused(path):
    """Read weights; whatever is wrong with the file must be said in a typed error that names it."""
    state, said = None, str(path)
    try:
        state = read_weights(path)
    except (ConfigError, ResourceError) as error:
        said = str(error)
    assert str(path) in said
    if state is None:
        return
    assert len(weights_digest(state)) == 16
    assert all(isinstance(name, str) for name in state)
    for channels in (3, 10):
        with contextlib.suppress(ConfigError), warnings.catch_warnings(action="error"):
            make_backbone(TINY).build(state, channels)


@given(odd, st.sampled_from([torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, 2))]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore")
def test_whatever_a_checkpoint_holds_is_weights_or_refused_with_words(tmp_path, what, save):
    (tmp_path / "odd.pth").write_bytes(b"")
    with contextlib.suppress(Exception):  # what can not be saved is left cut short
        save(what, tmp_path / "odd.pth")
    read_or_refused(tmp_path / "odd.pth")


@pytest.fixture(scope="module")
def weights_files(tmp_path_factory):
    """Small weights as both kinds of files, and as bytes."""
    folder, state = tmp_path_factory.mktemp("weights"), {"conv1.0.weight": torch.zeros(2, 3, 1, 1), "b": torch.ones(3)}
    save_file(state, folder / "a.safetensors")
    torch.save(state, folder / "a.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)
    return {path: path.read_bytes() for path in sorted(folder.iterdir())}


@given(st.data())
@settings(deadline=None, max_examples=200)
@pytest.mark.filterwarnings("ignore")
def test_weights_files_with_any_byte_spoiled_are_read_or_refused_with_words(weights_files, data):
    path, whole = data.draw(st.sampled_from(list(weights_files.items())))
    spoiled = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, min(len(whole) - 1, 2000)))] = data.draw(st.integers(0, 255))
    changed = path.with_name(f"spoiled{path.suffix}")
    changed.write_bytes(spoiled)
    read_or_refused(changed)


def test_weights_that_may_not_be_read_are_told_so(tmp_path, monkeypatch):
    (tmp_path / "a.pth").write_bytes(b"x")
    monkeypatch.setattr(torch, "load", lambda *_, **__: (_ for _ in ()).throw(PermissionError("denied")))
    with pytest.raises(ResourceError, match=r"a\.pth.*denied"):
        read_weights(tmp_path / "a.pth")


def test_weights_of_half_precision_become_a_network_of_flow_that_runs(tiny_state):
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tiny_state.items()}
    network = make_backbone(TINY).build(halved, 10)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("kernel", [torch.tensor(1.0), torch.ones(3, 3), torch.ones(16, 3, 9, 9)])
def test_weights_whose_first_kernel_is_of_another_network_are_refused_for_flow_too(tiny_state, kernel):
    with pytest.raises(ConfigError, match="another network"):
        make_backbone(TINY).build(tiny_state | {"conv1.0.weight": kernel}, 10)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_a_weights_file_cut_anywhere_is_refused(tmp_path, tiny_state, suffix):
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(tiny_state, path)
    else:
        torch.save(tiny_state, path)
    whole = path.read_bytes()
    for size in (0, 1, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ConfigError, match=path.name):
            read_weights(path)


@pytest.mark.parametrize(
    "data", [b"hello, world\n" * 9, b"\0" * 500, bytes(range(256)) * 4, b"PK\3\4" + b"\0" * 90, b"\x80\x02}q\0."]
)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_what_is_no_weights_file_is_refused(tmp_path, data, suffix):
    (tmp_path / f"weights.{suffix}").write_bytes(data)
    with pytest.raises(ConfigError, match=r"weights\."):
        read_weights(tmp_path / f"weights.{suffix}")


@pytest.mark.parametrize("what", [3, [1, 2], {}, {"a": 1}, {"state_dict": {}}])
def test_a_checkpoint_without_a_state_dict_is_refused(tmp_path, what):
    torch.save(what, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="no state dict"):
        read_weights(tmp_path / "weights.pth")


def test_a_missing_weights_file_is_a_resource_error(tmp_path):
    with pytest.raises(ResourceError, match=r"no weights file .*gone\.pth"):
        read_weights(tmp_path / "gone.pth")


def no_network(*_args, **_options):
    raise ConnectionError("Name or service not known")


def test_weights_that_can_not_be_fetched_say_what_to_do(monkeypatch):
    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(ResourceError, match=rf"resnet18 .*Name or service.*`weights`.*{DEFAULT_BACKBONE}"):
        make_backbone("resnet18").pretrained()
    monkeypatch.setattr(torchvision.models.AlexNet_Weights, "get_state_dict", no_network)
    with pytest.raises(ResourceError, match=r"alexnet .*Name or service.*`weights`"):
        make_backbone("alexnet").pretrained()


def test_an_architecture_without_published_weights_asks_for_a_file_at_once(monkeypatch):
    monkeypatch.setattr(timm, "create_model", no_network)
    with pytest.raises(ResourceError, match=r"nobody published weights for botnet50ts_256; .*`weights`"):
        make_backbone("botnet50ts_256").pretrained()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {name: tensor + 1e-3 if name == "conv1.0.weight" else tensor for name, tensor in state.items()},
        lambda state: dict(list(state.items())[1:]),
        lambda state: {n: t.double() for n, t in state.items()},
        lambda state: {f"x{n}": t for n, t in state.items()},
    ],
)
def test_a_digest_of_weights_knows_names_numbers_and_dtypes_but_not_their_order(tiny_state, change):
    state = tiny_state | {"conv1.0.weight": torch.zeros(2), "scalar": torch.tensor(3), "half": torch.ones(2).bfloat16()}
    assert weights_digest(dict(reversed(state.items()))) == weights_digest(state)
    assert weights_digest(change(state)) != weights_digest(state)


PHOTOGRAPHS = {"chelsea": {281, 282, 285}, "coffee": {967, 968}, "rocket": {657, 744, 812}}  # cats, coffee, missiles


@pytest.fixture(scope="module")
def default():
    backbone = make_backbone(DEFAULT_BACKBONE)
    state = backbone.pretrained()
    classifier = timm.create_model(DEFAULT_BACKBONE, num_classes=1000)
    classifier.load_state_dict(state)
    return backbone, state, classifier.eval()


def certainty(classifier, prepare):
    """Probability that the classifier gives what each photograph shows, summed."""
    with torch.inference_mode():
        return sum(
            float(classifier(prepare(getattr(skimage.data, name)()[None])).softmax(1)[0, sorted(right)].sum())
            for name, right in PHOTOGRAPHS.items()
        )


def test_the_default_network_sees_what_photographs_show(default):
    backbone, _, classifier = default
    for name, right in PHOTOGRAPHS.items():
        with torch.inference_mode():
            shown = rgb_input(getattr(skimage.data, name)()[None], backbone.preprocessing)
            logits = classifier(torch.from_numpy(shown))[0]
        best = logits.argmax().item()
        assert best in right, (name, best)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda own: lambda rgb: own(rgb[..., ::-1].copy()), id="colours the other way round"),
        pytest.param(lambda own: lambda rgb: own(rgb) * 128 + 127, id="not normalised"),
        pytest.param(lambda own: lambda rgb: own(rgb) + 1, id="another mean"),
        pytest.param(lambda own: lambda rgb: own(rgb) * 2, id="another deviation"),
        pytest.param(lambda own: lambda rgb: own(rgb).transpose(2, 3), id="lying on the side"),
        pytest.param(lambda own: lambda rgb: own(rgb).flip(2), id="upside down"),
    ],
)
def test_any_other_way_of_showing_photographs_makes_the_default_network_less_certain(default, wrong):
    backbone, _, classifier = default

    def own(rgb):
        return torch.from_numpy(rgb_input(rgb, backbone.preprocessing))

    assert certainty(classifier, own) > certainty(classifier, wrong(own)) + 0.1


def test_features_of_the_default_network_are_what_its_classifier_classifies(default):
    backbone, state, classifier = default
    picture = torch.from_numpy(rgb_input(skimage.data.coffee()[None], backbone.preprocessing))
    with torch.inference_mode():
        features = backbone.build(state, 3)(picture)
        assert torch.allclose(classifier.classifier(features), classifier(picture), atol=1e-4)
        assert torch.allclose(features, classifier.forward_features(picture).mean((2, 3)), atol=1e-5)
