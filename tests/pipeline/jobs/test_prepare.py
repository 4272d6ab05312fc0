from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from pipeline.jobs.job import origin_of
from pipeline.jobs.prepare import prepare
from schemas.config import ExtractSettings
from schemas.errors import ConfigError, MachineError, ResourceError
from schemas.streams import ENGINES, Flow, Rgb, with_weights
from workers.devices import resolve_device
from workers.streams import EXTRACTORS
from workers.tools import make_tools


@pytest.fixture
def other(tmp_path):
    """A file of other weights of the same network."""
    torch.manual_seed(9)
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "other.safetensors")
    return str(tmp_path / "other.safetensors")


def test_digests_are_filled_in_and_paths_are_not_kept(world, other):
    rgb, flow = world.asked.streams
    settings, networks = prepare(replace(world.asked, streams=(rgb, replace(flow, weights=other))))
    assert [stream.name for stream in settings.streams] == ["rgb", "flow"] == list(networks)
    assert settings.streams[0].weights_sha256 != settings.streams[1].weights_sha256
    assert [stream.weights for stream in settings.streams] == ["", ""]


def test_what_a_store_recorded_is_prepared_to_the_very_same_value(world, other):
    settings, _ = prepare(world.asked)
    recorded = ExtractSettings.from_dict(settings.as_dict())
    again = replace(recorded, streams=with_weights(recorded.streams, {"": str(world.weights)}))
    assert prepare(again)[0] == settings == recorded
    with pytest.raises(ConfigError, match=r"stream rgb was made with weights .* those found in .*other\.safetensors"):
        prepare(replace(recorded, streams=with_weights(recorded.streams, {"": other})))


def test_one_file_serves_the_streams_on_the_first_ones_backbone():
    streams = with_weights(
        (Rgb("a"), Flow("b"), Flow("a", name="flow2"), Rgb("a", name="own", weights="own")), {"": "file"}
    )
    assert [stream.weights for stream in streams] == ["file", "", "file", "own"]
    assert [stream.weights for stream in with_weights(streams, {"flow": "f"})] == ["file", "f", "file", "own"]


def test_a_weights_file_that_no_network_would_use_is_refused_and_never_ignored():
    with pytest.raises(ConfigError, match="belong to stream 'flow', which is not among those with a network: rgb"):
        with_weights((Rgb(),), {"flow": "file"})
    with pytest.raises(ConfigError, match="belongs to no network of this extraction"):
        with_weights((), {"": "file"})


def test_weights_of_another_network_are_found_before_any_work(world):
    with pytest.raises(ConfigError, match="test_vit"):
        prepare(replace(world.asked, streams=(Rgb("test_vit", weights=world.weights),)))


def test_two_streams_of_one_kind_stand_side_by_side(world):
    rgb = world.asked.streams[0]
    settings, networks = prepare(replace(world.asked, streams=(rgb, replace(rgb, name="whole", crop="none"))))
    assert [(stream.name, stream.crop) for stream in settings.streams] == [("rgb", "network"), ("whole", "none")]
    assert set(make_tools(settings, networks).streams) == {"rgb", "whole"}


def test_a_default_option_said_aloud_is_the_same_setting(world):
    flow = Flow("test_resnet", weights=world.weights)
    digests = {
        prepare(replace(world.asked, streams=(replace(flow, options=options),)))[0].digest
        for options in ((), (("preset", "balanced"),))
    }
    assert len(digests) == 1


def test_a_gpu_that_is_not_here_is_a_resource_error_in_the_worker(world, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings, networks = prepare(replace(world.asked, device="cuda"))
    with pytest.raises(ResourceError, match="sees no GPU"):
        make_tools(settings, networks)


def test_fp32_on_a_gpu_is_not_tf32_and_the_store_says_so(world):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    by_torch = tuple(replace(stream, engine="torch") for stream in world.asked.streams)
    settings, networks = prepare(replace(world.asked, streams=by_torch))
    tools = make_tools(settings, networks)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert "tf32" not in tools.origin.software, "a CPU has none, and its shards stay as they are"
    job = replace(world.job(Path("unused")), settings=replace(settings, device="cuda"))
    assert origin_of(job).software == tools.origin.software | {"tf32": "off"}


def test_networks_that_find_no_memory_are_the_machines_fault(world, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    settings, networks = prepare(world.asked)
    monkeypatch.setitem(EXTRACTORS, "rgb", full)
    with pytest.raises(MachineError, match="no memory for the networks on cpu: CUDA out of memory"):
        make_tools(settings, networks)


def test_auto_takes_what_this_machine_has(world, tmp_path, monkeypatch):
    (tmp_path / "nvidia0").touch()
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        monkeypatch.setattr("workers.devices._DEVICES", tmp_path)
        assert prepare(replace(world.asked, device="auto"))[0].device == device


def test_where_there_is_no_gpu_torch_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("it takes a second to import"))
    monkeypatch.setattr("workers.devices._DEVICES", tmp_path)
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_refuses_a_network_that_is_not_that_of_the_settings(world, engine):
    settings, networks = prepare(replace(world.asked, streams=(replace(world.asked.streams[0], engine=engine),)))
    with pytest.raises(ResourceError, match="network of stream rgb is not the one"):
        make_tools(settings, {"rgb": replace(networks["rgb"], weights_sha256="0" * 16)})
