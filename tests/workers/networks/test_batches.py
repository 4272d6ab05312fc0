import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch.nn.functional import interpolate

from schemas.errors import ResourceError
from schemas.streams import ENGINES, Rgb
from workers.networks.backbones import make_backbone, read_weights
from workers.networks.batches import StreamFeatures, StreamNetwork, flow_input, rgb_input
from workers.networks.engine import BATCH
from workers.networks.found import network_of
from workers.networks.preprocessing import Preprocessing

PLAIN = Preprocessing(24, 32, 0.875, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
SQUARE = replace(PLAIN, height=28, width=28)


PHOTOGRAPHS = {"coffee": skimage.data.coffee(), "astronaut": skimage.data.astronaut()}


def by_timm(photograph, own):
    transform = timm.data.create_transform(
        input_size=(3, own.height, own.width),
        crop_pct=own.crop_share,
        crop_mode=own.crop_mode,
        interpolation=own.interpolation,
        mean=own.mean,
        std=own.std,
    )
    return transform(Image.fromarray(photograph)).numpy()


def by_torch(pictures, size, interpolation):
    """Pictures resized in floats: float32 (N, C, H, W)."""
    return interpolate(torch.from_numpy(pictures), size=size, mode=interpolation, antialias=True).numpy()


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224"])
def test_pictures_are_shown_as_timm_itself_shows_them(name):
    own = make_backbone(name).preprocessing
    for photograph in PHOTOGRAPHS.values():
        assert_same_picture(rgb_input(photograph[None], own)[0], by_timm(photograph, own), own)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("share", [0.8, 1.0])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(90, 90), (61, 140), (140, 61), (700, 640)])
def test_every_crop_mode_of_timm_is_kept(mode, share, size, interpolation):
    own = Preprocessing(*size, share, interpolation, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), mode)
    photograph = PHOTOGRAPHS["coffee"]
    assert_same_picture(rgb_input(photograph[None], own)[0], by_timm(photograph, own), own)


def assert_same_picture(ours, theirs, own):
    """Equal in grey levels, but for halves that are rounded otherwise, and timm's borders of a mean in whole levels."""
    assert ours.shape == theirs.shape
    apart = np.abs(ours - theirs) * np.reshape(own.std, (3, 1, 1)) * 255
    assert apart.max() < 2.01
    assert apart.mean() < (0.25 if own.crop_mode == "border" else 0.05)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_pictures_resized_in_bytes_are_those_resized_in_floats_to_a_grey_level(interpolation):
    own = Preprocessing(224, 224, 1.0, interpolation, (0.0,) * 3, (1.0,) * 3, "squash")
    for photograph in PHOTOGRAPHS.values():
        floats = by_torch(np.float32(photograph.transpose(2, 0, 1)[None]), (224, 224), interpolation).clip(0, 255)
        assert np.abs(rgb_input(photograph[None], own) * 255 - floats).mean() < 0.4


@pytest.mark.parametrize("size", [(256, 340), (144, 180), (480, 640), (60, 80)])
def test_flow_is_resized_with_the_weights_of_torch(size):
    down, across = np.mgrid[: size[0], : size[1]] / size[0]
    fields = np.float32([[np.sin(9 * down) * 3, np.cos(7 * across + down) * 4]])
    scale = 0.5 / (20 * min(size) / 256) / 0.3
    wanted = by_torch(fields * np.float32(scale), (24, 32), "bilinear")
    assert np.abs(flow_input(fields, PLAIN.uncropped(), 20.0) - wanted).max() < 1e-5


def test_without_a_crop_the_whole_picture_is_seen():
    picture = np.zeros((1, 100, 200, 3), np.uint8)
    picture[:, :, :20] = 255  # a tenth at the left border, which no centre crop shows
    assert len(np.unique(rgb_input(picture, PLAIN))) == 3
    seen = rgb_input(picture, replace(PLAIN, mean=(0.0,) * 3, std=(1.0,) * 3).uncropped())
    assert seen.shape == (1, 3, 24, 32)
    assert seen.mean() == pytest.approx(0.1, abs=0.01)


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.sampled_from(["bilinear", "bicubic"]),
    st.sampled_from(["center", "squash", "border"]),
)
@settings(deadline=None)
def test_pictures_of_any_size_come_out_in_the_networks_size_within_the_range_of_colours(
    height, width, interpolation, mode
):
    own = Preprocessing(24, 32, 0.875, interpolation, (0.0,) * 3, (1.0,) * 3, mode)
    rgb = np.random.default_rng(height).integers(0, 2, (2, height, width, 3)).astype(np.uint8) * 255
    shown = rgb_input(rgb, own)
    assert (shown.shape, shown.dtype) == ((2, 3, 24, 32), np.float32)
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert np.array_equal(rgb_input(rgb[1:], own)[0], shown[1]), "bits depend on the picture alone"


@given(
    st.integers(1, 3),
    st.integers(150, 400),
    st.booleans(),
    st.sampled_from(["bilinear", "bicubic"]),
    st.sampled_from([PLAIN, SQUARE]),
)
@settings(deadline=None, max_examples=25)
def test_a_very_long_picture_is_shown_as_if_it_were_resized_whole(short, long, stands, interpolation, own):
    own = replace(own, interpolation=interpolation)
    rgb = np.random.default_rng(long).integers(0, 256, (long, short, 3) if stands else (short, long, 3))
    apart = rgb_input(rgb.astype(np.uint8)[None], own)[0] - by_timm(rgb.astype(np.uint8), own)
    assert np.abs(apart).mean() * 255 * max(own.std) < 2  # of noise: which pass comes first, and clips, depends on size


@pytest.mark.parametrize("size", [(2, 30000), (30000, 2)])
def test_a_very_long_picture_takes_no_more_memory_than_what_is_seen_of_it(size):
    """Resized whole it would ask for 11.8 GB, which is refused here."""
    own = replace(SQUARE, height=224, width=224, interpolation="bicubic")
    asked = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**29, asked[1]))
    try:
        rgb = rgb_input(np.full((1, *size, 3), 255, np.uint8), own)
        flow = flow_input(np.zeros((1, 4, *size), np.float32), own, 20.0)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, asked)
    assert (rgb.shape, flow.shape) == ((1, 3, 224, 224), (1, 4, 224, 224))
    assert np.allclose(rgb.mean((0, 2, 3)), (1 - np.array(own.mean)) / own.std)


def test_a_plain_colour_is_normalised_by_mean_and_deviation():
    rgb = np.broadcast_to(np.array([255, 102, 0], np.uint8), (1, 40, 50, 3))
    assert np.allclose(rgb_input(rgb, PLAIN).mean((0, 2, 3)), [2.5, 0.0, -0.75], atol=1e-4)


def constant_flow(value, short_side=256):
    return np.full((1, 4, short_side, 2 * short_side), value, np.float32)


@pytest.mark.parametrize(("flow_px", "share"), [(0, 0), (20, 1), (-20, -1), (10, 0.5), (400, 1), (-1e9, -1)])
def test_flow_is_clipped_at_the_bound_and_mapped_so_that_zero_is_the_middle(flow_px, share):
    shown = flow_input(constant_flow(flow_px), PLAIN, 20.0)
    assert (shown.shape, shown.dtype) == ((1, 4, 24, 32), np.float32)
    assert np.allclose(shown, share * 0.5 / 0.3, atol=1e-5)


@given(st.integers(8, 128), st.floats(-0.2, 0.2))
@settings(deadline=None)
def test_the_same_motion_looks_the_same_at_every_resolution(short_side, share):
    small, large = (flow_input(constant_flow(share * side, side), PLAIN, 20.0) for side in (short_side, 256))
    assert np.allclose(small, large, atol=1e-4)


def test_resizing_flow_invents_no_displacement():
    stacks = np.zeros((1, 2, 60, 60), np.float32)
    stacks[:, :, 20:40, 20:40] = 5
    shown = flow_input(stacks, Preprocessing(90, 90, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3), 20 * 256 / 60)
    assert shown.min() >= 0
    assert shown.max() <= 0.25 + 1e-6


def test_inputs_are_only_read():
    stacks, rgb = constant_flow(50), np.full((1, 40, 40, 3), 9, np.uint8)
    rgb.flags.writeable = stacks.flags.writeable = False
    rgb_input(rgb, PLAIN)
    flow_input(stacks, PLAIN, 20.0)
    assert np.array_equal(stacks, constant_flow(50))


@pytest.fixture(scope="module", params=ENGINES)
def stream(request, tmp_path_factory):
    """A stream whose network has random weights."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(make_backbone("test_resnet").skeleton().state_dict(), file)
    return Rgb("test_resnet", weights=file, engine=request.param)


def started(stream, precision="fp32"):
    network = network_of(stream, 3, "cpu")[1]
    own = network.preprocessing
    return StreamNetwork(stream.name, network.started("cpu", precision), (3, own.height, own.width), "cpu")


@pytest.fixture(scope="module")
def network(stream):
    return started(stream)


def rows_of(network, count):
    return np.random.default_rng(1).normal(size=(count, *network.shape)).astype(np.float32)


def pushed(network, rows, pieces, before=0):
    """Features of `rows`, pushed in pieces of these sizes after `before` other rows."""
    collected = StreamFeatures(network, lambda *_: None)
    if before:
        collected.push(rows_of(network, before) * 3, 0)
    start = 0
    for piece in pieces:
        collected.push(rows[start : start + piece], 0)
        start += piece
    collected.push(rows[start:], 0)
    return collected.finish(before + len(rows)).features[before:]


def test_neither_padding_nor_the_place_in_a_shard_nor_the_neighbours_change_a_bit(network):
    rows = rows_of(network, BATCH["cpu"] + 3)
    once = pushed(network, rows, [])
    for pieces, before in (([1, 2], 0), ([5], 1), ([], BATCH["cpu"] - 1), ([2] * 4, 2 * BATCH["cpu"] + 5)):
        assert np.array_equal(pushed(network, rows, pieces, before), once)
    for row, feature in zip(rows, once, strict=True):
        assert np.array_equal(pushed(network, row[None], [])[0], feature)


def test_features_are_those_of_the_network(stream, network):
    rows, backbone = rows_of(network, 3), make_backbone(stream.backbone)
    with torch.inference_mode():
        wanted = backbone.build(read_weights(Path(stream.weights)), 3)(torch.from_numpy(rows))
    assert np.allclose(pushed(network, rows, []), wanted.numpy(), atol=1e-5)


def test_no_rows_still_have_the_networks_dim(network):
    batch = StreamFeatures(network, lambda *_: None).finish(0)
    assert batch.features.shape == (0, 96)


def test_a_row_too_many_or_too_few_is_a_bug_that_is_seen(network):
    collected = StreamFeatures(network, lambda *_: None)
    collected.push(rows_of(network, 2), 0)
    with pytest.raises(ValueError, match="2 rows of rgb for 3 moments"):
        collected.finish(3)


def test_the_networks_time_is_shared_among_those_whose_rows_it_ran(network):
    spent = {}
    collected = StreamFeatures(network, lambda owner, _, span_s: spent.update({owner: spent.get(owner, 0) + span_s}))
    collected.push(rows_of(network, 3), 7)
    collected.push(rows_of(network, 1), 9)
    collected.finish(4)
    assert spent[7] == pytest.approx(3 * spent[9])


def test_half_precision_stays_near(stream, network):
    rows = rows_of(network, 2)
    try:
        half = pushed(started(stream, "bf16"), rows, [])
    except ResourceError as error:
        pytest.skip(str(error))
    full = pushed(network, rows, [])
    assert not np.array_equal(half, full)
    assert np.abs(half - full).max() < 0.1 * np.abs(full).max()
