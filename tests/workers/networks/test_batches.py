import math
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

from workers.networks import batches as features
from workers.networks.backbones import Preprocessing, make_backbone
from workers.networks.batches import BATCH, StreamFeatures, StreamNetwork, flow_input, rgb_input

PLAIN = Preprocessing(24, 32, 0.875, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
SQUARE = replace(PLAIN, height=28, width=28)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224"])
def test_pictures_are_shown_as_timm_itself_shows_them(name):
    backbone = make_backbone(name)
    own = backbone.preprocessing
    transform = timm.data.create_transform(
        input_size=(3, own.height, own.width), crop_pct=own.crop_share, interpolation=own.interpolation, mean=own.mean,
        std=own.std)
    for photograph in (skimage.data.coffee(), skimage.data.astronaut()):
        ours = rgb_input(photograph[None], own, "cpu")[0]
        theirs = transform(Image.fromarray(photograph))
        assert ours.shape == theirs.shape
        # Pillow clips and rounds to whole grey levels after each of its two passes
        assert (ours - theirs).abs().mean() < 1 / 255 / min(own.std)


@pytest.mark.parametrize("share", [0.8, 1.0])
@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(90, 90), (61, 140), (140, 61)])
def test_every_crop_mode_of_timm_is_kept(mode, share, size):
    own = Preprocessing(*size, share, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), mode)
    transform = timm.data.create_transform(
        input_size=(3, *size), crop_pct=share, crop_mode=mode, interpolation="bilinear", mean=own.mean, std=own.std)
    photograph = skimage.data.coffee()
    ours, theirs = rgb_input(photograph[None], own, "cpu")[0], transform(Image.fromarray(photograph))
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().mean() < 1 / 255 / min(own.std)


def test_without_a_crop_the_whole_picture_is_seen():
    picture = np.zeros((1, 100, 200, 3), np.uint8)
    picture[:, :, :20] = 255  # a tenth at the left border, which no centre crop shows
    assert rgb_input(picture, PLAIN, "cpu").unique().numel() == 3
    seen = rgb_input(picture, replace(PLAIN, mean=(0.0,) * 3, std=(1.0,) * 3).uncropped(), "cpu")
    assert seen.shape == (1, 3, 24, 32)
    assert float(seen.mean()) == pytest.approx(0.1, abs=0.01)


@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["bilinear", "bicubic"]),
       st.sampled_from(["center", "squash", "border"]))
@settings(deadline=None)
def test_pictures_of_any_size_come_out_in_the_networks_size_within_the_range_of_colours(
        height, width, interpolation, mode):
    own = Preprocessing(24, 32, 0.875, interpolation, (0.0,) * 3, (1.0,) * 3, mode)
    rgb = np.random.default_rng(height).integers(0, 2, (2, height, width, 3)).astype(np.uint8) * 255
    shown = rgb_input(rgb, own, "cpu")
    assert shown.shape == (2, 3, 24, 32)
    assert shown.min() >= 0
    assert shown.max() <= 1


@given(st.integers(1, 3), st.integers(150, 400), st.booleans(), st.sampled_from(["bilinear", "bicubic"]),
       st.sampled_from([PLAIN, SQUARE]))
@settings(deadline=None, max_examples=25)
def test_a_very_long_picture_is_shown_as_if_it_were_resized_whole(short, long, stands, interpolation, own):
    own = replace(own, interpolation=interpolation)
    rgb = np.random.default_rng(long).integers(0, 256, (2, long, short, 3) if stands else (2, short, long, 3))
    shown = rgb_input(rgb.astype(np.uint8), own, "cpu")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(features, "_LARGEST_SURPLUS", math.inf)
        whole = rgb_input(rgb.astype(np.uint8), own, "cpu")
    torch.testing.assert_close(shown, whole, atol=2e-3, rtol=0)
    assert torch.equal(rgb_input(rgb[1:].astype(np.uint8), own, "cpu")[0], shown[1]), "bits depend on the picture alone"


@pytest.mark.parametrize("size", [(2, 30000), (30000, 2)])
def test_a_very_long_picture_takes_no_more_memory_than_what_is_seen_of_it(size):
    """Resized whole it would ask for 11.8 GB, which is refused here."""
    own = replace(SQUARE, height=224, width=224, interpolation="bicubic")
    asked = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**29, asked[1]))
    try:
        rgb = rgb_input(np.full((1, *size, 3), 255, np.uint8), own, "cpu")
        flow = flow_input(np.zeros((1, 4, *size), np.float32), own, 20.0, "cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, asked)
    assert (rgb.shape, flow.shape) == ((1, 3, 224, 224), (1, 4, 224, 224))
    torch.testing.assert_close(rgb.mean((0, 2, 3)), (1 - torch.tensor(own.mean)) / torch.tensor(own.std))


def test_a_plain_colour_is_normalised_by_mean_and_deviation():
    rgb = np.broadcast_to(np.array([255, 102, 0], np.uint8), (1, 40, 50, 3))
    assert torch.allclose(rgb_input(rgb, PLAIN, "cpu").mean((0, 2, 3)), torch.tensor([2.5, 0.0, -0.75]), atol=1e-4)


def constant_flow(value, short_side=256):
    return np.full((1, 4, short_side, 2 * short_side), value, np.float32)


@pytest.mark.parametrize(("flow_px", "share"), [(0, 0), (20, 1), (-20, -1), (10, 0.5), (400, 1), (-1e9, -1)])
def test_flow_is_clipped_at_the_bound_and_mapped_so_that_zero_is_the_middle(flow_px, share):
    shown = flow_input(constant_flow(flow_px), PLAIN, 20.0, "cpu")
    assert shown.shape == (1, 4, 24, 32)
    assert torch.allclose(shown, torch.full_like(shown, share * 0.5 / 0.3), atol=1e-5)


@given(st.integers(8, 128), st.floats(-0.2, 0.2))
@settings(deadline=None)
def test_the_same_motion_looks_the_same_at_every_resolution(short_side, share):
    small, large = (flow_input(constant_flow(share * side, side), PLAIN, 20.0, "cpu") for side in (short_side, 256))
    assert torch.allclose(small, large, atol=1e-4)


def test_resizing_flow_invents_no_displacement():
    stacks = np.zeros((1, 2, 60, 60), np.float32)
    stacks[:, :, 20:40, 20:40] = 5
    shown = flow_input(stacks, Preprocessing(90, 90, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3), 20 * 256 / 60, "cpu")
    assert shown.min() >= 0
    assert shown.max() <= 0.25 + 1e-6


def test_inputs_are_only_read():
    stacks, rgb = constant_flow(50), np.full((1, 40, 40, 3), 9, np.uint8)
    rgb.flags.writeable = False
    rgb_input(rgb, PLAIN, "cpu")
    flow_input(stacks, PLAIN, 20.0, "cpu")
    assert np.array_equal(stacks, constant_flow(50))


@pytest.fixture(scope="module")
def network():
    backbone = make_backbone("test_resnet")
    torch.manual_seed(0)
    built = backbone.build(backbone.skeleton().state_dict(), 3).to(memory_format=torch.channels_last)
    own = backbone.preprocessing
    return StreamNetwork("rgb", built, (3, own.height, own.width), "cpu", "fp32")


def rows_of(network, count):
    return torch.randn(count, *network.shape, generator=torch.Generator().manual_seed(1))


def pushed(network, rows, pieces, before=0):
    """Features of `rows`, pushed in pieces of these sizes after `before` other rows."""
    collected = StreamFeatures(network, lambda *_: None)
    if before:
        collected.push(rows_of(network, before) * 3, 0)
    start = 0
    for piece in pieces:
        collected.push(rows[start:start + piece], 0)
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


def test_features_are_those_of_the_network(network):
    rows = rows_of(network, 3)
    with torch.inference_mode():
        wanted = network.network(rows)
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


def test_half_precision_stays_near(network):
    rows = rows_of(network, 2)
    half = pushed(replace(network, precision="bf16"), rows, [])
    full = pushed(network, rows, [])
    assert not np.array_equal(half, full)
    assert np.abs(half - full).max() < 0.1 * np.abs(full).max()
