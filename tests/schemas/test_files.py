import errno
import os
from pathlib import Path

import pytest

from schemas.disk.files import (
    commit,
    is_there,
    make_folder,
    read_csv,
    reading,
    refusals,
    remove_leftovers,
    stays_inside,
    temporary_beside,
    write_bytes,
    write_csv,
    write_lines,
    writing,
)
from schemas.errors import ResourceError, StoreError

REFUSALS = {
    "ENOSPC": "free space",
    "EDQUOT": "quota",
    "EROFS": "another folder",
    "EACCES": "permissions",
    "EIO": "look after the disk",
    "EFBIG": "ulimit -f",
    "ENOLCK": "locks",
    "ESTALE": "another folder",
}


def failing(number):
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize(("owner", "call"), [(Path, "open"), (os, "fsync"), (Path, "replace")])
def test_what_a_file_system_refuses_is_a_resource_error_with_path_and_way_out(tmp_path, monkeypatch, name, owner, call):
    path = tmp_path / "a.txt"
    path.write_text("old")
    number = getattr(errno, name)
    with monkeypatch.context() as patched:
        patched.setattr(owner, call, failing(number))
        with pytest.raises(ResourceError) as caught:
            write_lines(path, ["new"])
    assert all(words in str(caught.value) for words in (str(path), os.strerror(number), REFUSALS[name]))
    assert [child.name for child in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["EACCES", "EIO", "ESTALE"])
def test_a_file_that_the_machine_does_not_let_us_read_is_no_damaged_store(tmp_path, monkeypatch, name):
    monkeypatch.setattr(Path, "open", failing(getattr(errno, name)))
    with pytest.raises(ResourceError, match=r"cannot read .*a\.txt"), reading(tmp_path / "a.txt"):
        (tmp_path / "a.txt").open()
    monkeypatch.setattr(Path, "exists", failing(errno.EACCES))
    with pytest.raises(ResourceError, match=r"cannot read .*a\.txt"):
        is_there(tmp_path / "a.txt")


@pytest.mark.parametrize("path", ["a.txt", "folder", "text/a.txt", "text"])
def test_a_file_that_is_not_there_or_no_text_is_a_store_error(tmp_path, path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_bytes(b"\xff")
    with pytest.raises(StoreError, match=str(tmp_path / path)), reading(tmp_path / path):
        (tmp_path / path).read_text(encoding="utf-8")


def test_a_folder_that_can_not_be_made_is_a_resource_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"cannot make .*file"):
        make_folder(tmp_path / "file" / "folder")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, SystemExit])
def test_whatever_ends_the_writing_nothing_is_left(tmp_path, error):
    def lines():
        yield "a"
        raise error

    with pytest.raises(error):
        write_lines(tmp_path / "a.txt", lines())
    assert list(tmp_path.iterdir()) == []


def test_a_file_has_its_name_only_when_it_is_whole_and_durable(tmp_path, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append((tmp_path / "a").exists()), fsync(handle)))
    with writing(tmp_path / "a") as file:
        file.write(b"text")
        assert not (tmp_path / "a").exists()
    assert synced == [False, True]  # the file before it has its name, its folder after
    assert (tmp_path / "a").read_bytes() == b"text"


def test_a_folder_gets_its_name_in_one_step_too(tmp_path):
    made = temporary_beside(tmp_path / "folder")
    made.mkdir()
    commit(made, tmp_path / "folder")
    assert [child.name for child in tmp_path.iterdir()] == ["folder"]


def test_names_that_are_not_utf8_come_back_as_they_were(tmp_path):
    rows = [["video", "label"], ["caf\udce9", "a,b\nc"], ["", '"']]
    write_csv(tmp_path / "a.csv", rows)
    assert read_csv(tmp_path / "a.csv", lambda row: [row["video"], row["label"]]) == rows[1:]


@pytest.mark.parametrize("text", ["a,b\n1\n", "a,b\n1,two\n", "a\n1\n", "a,b\n1,2\0\n"])
def test_a_line_of_a_table_that_makes_no_record_is_named(tmp_path, text):
    write_bytes(tmp_path / "a.csv", text.encode())
    with pytest.raises(StoreError, match=r"a\.csv is damaged: line 2"):
        read_csv(tmp_path / "a.csv", lambda row: int(row["a"]) + int(row["b"]))


def test_sweeping_spares_what_is_not_half_written(tmp_path):
    for name in (".a.0123.tmp", "a.tmp", ".lock"):
        (tmp_path / name).write_text("")
    (tmp_path / ".folder.tmp").mkdir()
    remove_leftovers(tmp_path)
    assert sorted(child.name for child in tmp_path.iterdir()) == [".folder.tmp", ".lock", "a.tmp"]
    remove_leftovers(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a", True),
        ("a/b", True),
        ("..a/b..", True),
        ("a/./b", True),
        ("", False),
        (".", False),
        ("/a", False),
        ("..", False),
        ("a/../../b", False),
        ("a\0", False),
    ],
)
def test_a_name_that_leads_out_of_its_folder_is_known(name, inside):
    assert stays_inside(name) == inside


def test_an_error_that_is_no_refusal_passes(tmp_path):
    with pytest.raises(KeyError), refusals(tmp_path):
        raise KeyError("mine")
