"""Networks made ready are found again by any process; nothing but time depends on what is in the folder."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from schemas.errors import ConfigError
from schemas.streams import Rgb
from workers.networks import cache, found
from workers.networks.backbones import make_backbone
from workers.networks.engine import OpenVinoNetwork
from workers.networks.found import network_of

TINY = "test_resnet"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache of this test's own, and a place for temporary files; what is kept is made in no time."""
    monkeypatch.setenv("VIDU_PIPE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(
        found,
        "_exported",
        lambda network, backbone, channels, digest: OpenVinoNetwork(
            digest, backbone.preprocessing, b"graph of " + digest.encode()
        ),
    )
    return tmp_path / "cache"


@pytest.fixture
def asked(tmp_path):
    """A stream with random weights."""
    torch.manual_seed(5)
    save_file(make_backbone(TINY).skeleton().state_dict(), tmp_path / "weights.safetensors")
    return Rgb(TINY, weights=tmp_path / "weights.safetensors")


@pytest.fixture
def made(folder, asked):
    """That stream prepared, and its network made ready."""
    return network_of(asked, 3, "cpu")


@pytest.fixture
def slowly(monkeypatch):
    """The networks that are made anew from here on."""
    names, real = [], found._made

    def making(stream, channels, **options):
        names.append(stream.backbone)
        return real(stream, channels, **options)

    monkeypatch.setattr(found, "_made", making)
    return names


def test_the_second_job_finds_the_network_by_its_file_and_by_its_digest(made, asked, slowly):
    assert network_of(asked, 3, "cpu") == made
    assert network_of(made[0], 3, "cpu") == made
    assert slowly == []


def test_what_the_network_depends_on_is_part_of_its_name(made, asked, slowly, monkeypatch):
    network_of(replace(asked, crop="none"), 3, "cpu")
    assert slowly == [], "the crop is the picture's business"
    monkeypatch.setattr(found, "versions", lambda names: dict.fromkeys(names, "other"))
    assert network_of(asked, 3, "cpu") == made
    assert slowly == [TINY]


def test_a_changed_file_is_other_weights(made, asked, tmp_path, slowly):
    torch.manual_seed(6)
    save_file(make_backbone(TINY).skeleton().state_dict(), tmp_path / "weights.safetensors")
    prepared, _ = network_of(asked, 3, "cpu")
    assert slowly == [TINY]
    assert prepared.weights_sha256 != made[0].weights_sha256
    with pytest.raises(ConfigError, match="those found in"):
        network_of(replace(asked, weights_sha256=made[0].weights_sha256), 3, "cpu")


def broken(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


@pytest.mark.parametrize("damage", [lambda path: b"", lambda path: path.read_bytes()[:-1], broken])
def test_a_damaged_file_is_made_again(folder, made, asked, slowly, damage):
    files = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(files) == 2
    for path in files:
        path.write_bytes(damage(path))
        assert network_of(asked, 3, "cpu") == made
        assert {path: path.read_bytes() for path in folder.iterdir()} == files
    assert slowly == [TINY, TINY]


@pytest.fixture
def read_only(folder):
    """The cache's folder as one that nobody can write, root neither."""
    folder.parent.joinpath("cache").touch()
    return folder


def test_where_the_folder_can_not_be_written_a_temporary_one_is_taken(read_only, asked, tmp_path, slowly):
    made = network_of(asked, 3, "cpu")
    (aside,) = (tmp_path / "tmp").iterdir()
    assert aside.name == f"vidu-pipe-{os.getuid()}"
    assert aside.stat().st_mode & 0o777 == 0o700
    assert network_of(asked, 3, "cpu") == made
    assert slowly == [TINY]


def test_files_that_another_user_may_have_put_there_are_not_read(read_only, tmp_path):
    cache.keep("a", b"mine")
    assert cache.kept("a") == b"mine"
    (tmp_path / "tmp" / f"vidu-pipe-{os.getuid()}").chmod(0o777)
    assert cache.kept("a") is None
    cache.keep("a", b"more")
    assert cache.kept("a") is None


def test_without_any_folder_every_job_makes_its_own(read_only, asked, tmp_path, slowly):
    (tmp_path / "tmp").rmdir()
    (tmp_path / "tmp").touch()
    assert network_of(asked, 3, "cpu") == network_of(asked, 3, "cpu")
    assert slowly == [TINY, TINY]


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("VIDU_PIPE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for xdg, place in (("", "home/.cache"), ("relative", "home/.cache"), (str(tmp_path / "xdg"), "xdg")):
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
        cache.keep("a", place.encode())
        assert [path.name for path in (tmp_path / place / "vidu-pipe").iterdir()] == ["a"]
        assert cache.kept("a") == place.encode()


def test_many_at_once_leave_whole_files_only(folder):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: cache.keep("a", b"same" * 1000), range(40)))
        seen = list(pool.map(lambda number: cache.kept("a"), range(40)))
    assert set(seen) == {b"same" * 1000}
    assert [path.name for path in Path(folder).iterdir()] == ["a"]
