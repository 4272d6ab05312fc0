"""Both engines give torch's features; a row's bits depend on nothing but the row; which engine ran is recorded."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from schemas.config import ExtractSettings
from schemas.errors import ConfigError, ResourceError
from schemas.streams import ENGINES, Flow, Rgb
from workers.networks.backbones import make_backbone
from workers.networks.engine import BATCH
from workers.networks.export import exported
from workers.networks.found import network_of

TINY = "test_resnet"


def random_network(name, channels):
    torch.manual_seed(0)
    backbone = make_backbone(name)
    return backbone.build(backbone.skeleton().state_dict(), channels), backbone.preprocessing


@pytest.mark.parametrize(
    ("name", "channels"), [("test_efficientnet", 20), ("test_convnext", 3), ("test_vit", 3), ("alexnet", 3)]
)
def test_an_exported_network_gives_torchs_features_and_a_row_the_same_bits_in_every_place(name, channels):
    network, own = random_network(name, channels)
    shape = channels, own.height, own.width
    run = exported(network, shape, "0" * 16, own).started("cpu", "fp32")
    random = np.random.default_rng(1)
    batch = random.normal(size=(BATCH["cpu"], *shape)).astype(np.float32)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(batch)).numpy()
    given = run(batch)
    assert given.dtype == np.float32
    assert np.abs(given - wanted).max() < 1e-4 * min(1, np.abs(wanted).max())
    for place in range(len(batch)):
        others = random.normal(size=batch.shape).astype(np.float32)
        others[place] = batch[0]
        assert np.array_equal(run(others)[place], given[0])


@pytest.fixture
def weights(tmp_path):
    """A file of random weights that no earlier test has seen."""
    file = tmp_path / "weights.safetensors"
    save_file(make_backbone(TINY).skeleton().state_dict(), file)
    return file


def test_the_engine_is_recorded_and_changes_the_settings(weights):
    asked = Rgb(TINY, weights=weights)
    prepared, network = network_of(asked, 3, "cpu")
    assert (prepared.engine, network.engine) == ("openvino", "openvino")
    other, _ = network_of(replace(asked, engine="torch"), 3, "cpu")
    assert replace(other, engine="openvino") == prepared
    assert Rgb.from_dict(prepared.as_dict()) == prepared
    on_gpu, _ = network_of(asked, 3, "cuda")
    assert on_gpu.engine == "torch"
    with pytest.raises(ConfigError, match="made by openvino, which runs on the CPU only"):
        network_of(prepared, 3, "cuda")


def test_where_a_network_does_not_export_torch_runs_it_and_that_is_recorded(weights, monkeypatch, caplog):
    monkeypatch.setattr("workers.networks.export._graph", lambda *_: exec("raise KeyError('aten.odd')"))
    with caplog.at_level(logging.INFO):
        prepared, network = network_of(Rgb(TINY, weights=weights), 3, "cpu")
    assert prepared.engine == network.engine == "torch"
    assert "torch runs this network, because it does not export: 'aten.odd'" in caplog.text
    with pytest.raises(ConfigError, match="was made by openvino, and test_resnet can be run here by torch only"):
        network_of(Rgb(TINY, weights=weights, engine="openvino"), 3, "cpu")


def test_an_export_that_memory_ran_out_for_is_no_reason_to_take_another_engine(weights, monkeypatch):
    monkeypatch.setattr("workers.networks.export._graph", lambda *_: exec("raise MemoryError"))
    with pytest.raises(MemoryError):
        network_of(Rgb(TINY, weights=weights), 3, "cpu")


def test_on_another_device_the_engine_is_chosen_anew(weights):
    prepared, _ = network_of(Rgb(TINY, weights=weights), 3, "cpu")
    settings = ExtractSettings(device="cpu", streams=(prepared,))
    assert settings.on("cpu") == settings
    assert settings.on("cuda").streams == (replace(prepared, engine=""),)
    assert settings.on("cuda").device == "cuda"


def test_an_export_that_gives_other_features_is_not_used(weights, monkeypatch):
    monkeypatch.setattr("workers.networks.export._apart", lambda *_: float("nan"))
    assert network_of(Rgb(TINY, weights=weights), 3, "cpu")[0].engine == "torch"


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_take_flow_of_many_channels(weights, engine):
    prepared, network = network_of(Flow(TINY, weights=weights, engine=engine), 20, "cpu")
    own = network.preprocessing
    features = network.started("cpu", "fp32")(np.ones((BATCH["cpu"], 20, own.height, own.width), np.float32))
    assert prepared.engine == engine
    assert features.shape == (BATCH["cpu"], 96)


def test_bf16_where_the_cpu_has_none_is_refused_and_not_computed_as_fp32(weights, monkeypatch):
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    _, network = network_of(Rgb(TINY, weights=weights), 3, "cpu")
    with pytest.raises(ResourceError, match="computes no bf16; use `precision` fp32"):
        network.started("cpu", "bf16")
