import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.extract import origin_of
from pipeline.prepare import prepare, wanted_streams
from schemas.errors import ConfigError, MachineError, ResourceError
from workers.tools import make_tools


def test_both_streams_share_one_weights_file_when_they_share_a_backbone(world):
    settings, weights = prepare(world.wishes)
    assert [stream.name for stream in settings.streams] == ["rgb", "flow"]
    assert settings.streams[0].weights_sha256 == settings.streams[1].weights_sha256
    assert weights["rgb"].keys() == weights["flow"].keys()


def test_flow_has_its_own_weights_when_it_is_given_some(world, tmp_path):
    torch.manual_seed(9)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    settings, _ = prepare(replace(world.wishes, flow_weights=tmp_path / "other.safetensors"))
    assert settings.streams[0].weights_sha256 != settings.streams[1].weights_sha256


@pytest.mark.parametrize("change", [
    {"streams": ("flow",), "flow_weights": "its own"},
    {"streams": ("rgb",), "flow_weights": "anywhere"}])
def test_a_weights_file_that_no_network_would_use_is_refused_and_never_ignored(world, change, tmp_path):
    other = shutil.copy(world.weights, tmp_path / "other.safetensors")
    change = change | {"flow_weights": other}
    with pytest.raises(ConfigError, match=r"weights .* belongs to no network of this extraction"):
        prepare(replace(world.wishes, **change))


def test_weights_serve_a_flow_stream_that_is_alone(world):
    settings, weights = prepare(replace(world.wishes, streams=("flow",), rgb_backbone="resnet18"))
    assert settings.streams[0].backbone == world.wishes.flow_backbone
    assert set(weights) == {"flow"}


def test_weights_of_another_network_are_found_before_any_work(world):
    with pytest.raises(ConfigError, match="test_vit"):
        prepare(replace(world.wishes, rgb_backbone="test_vit", flow_backbone="test_vit"))


def test_a_gpu_that_is_not_here_is_a_resource_error_in_the_worker(world, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings, weights = prepare(world.wishes)
    with pytest.raises(ResourceError, match="sees no GPU"):
        make_tools(replace(settings, device="cuda"), weights)


def test_fp32_on_a_gpu_is_not_tf32_and_the_store_says_so(world):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    settings, weights = prepare(world.wishes)
    tools = make_tools(settings, weights)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert "tf32" not in tools.origin.software, "a CPU has none, and its shards stay as they are"
    job = replace(world.job(Path("unused")), settings=replace(settings, device="cuda"))
    assert origin_of(job).software == tools.origin.software | {"tf32": "off"}


def test_networks_that_find_no_memory_are_the_machines_fault(world, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    settings, weights = prepare(world.wishes)
    monkeypatch.setattr("workers.tools._network", full)
    with pytest.raises(MachineError, match="no memory for the networks on cpu: CUDA out of memory"):
        make_tools(settings, weights)


def test_auto_takes_what_this_machine_has(world, monkeypatch):
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert prepare(replace(world.wishes, device="auto", flow="farneback"))[0].device == device


def test_a_worker_refuses_weights_that_are_not_those_of_the_settings(world):
    settings, weights = prepare(world.wishes)
    name = next(iter(weights["rgb"]))
    other = weights["rgb"] | {name: weights["rgb"][name] + 1}
    with pytest.raises(ResourceError, match="weights of stream rgb are not the ones"):
        make_tools(settings, weights | {"rgb": other})


@pytest.mark.parametrize(("text", "names"), [("rgb,flow", ("rgb", "flow")), (" flow , rgb", ("rgb", "flow")),
                                             ("flow", ("flow",)), ("rgb,rgb", ("rgb",))])
def test_streams_are_written_in_any_order_and_kept_in_one(text, names):
    assert wanted_streams(text) == names
