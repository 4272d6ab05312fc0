import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from schemas.disk.store import Store
from schemas.errors import ConfigError, ResourceError, StoreError
from tests.builders import ORIGIN, a_plan, a_segment, a_store, a_task, a_video, put_shard


def test_a_store_opens_as_it_was_made(tmp_path):
    made = a_store(tmp_path / "deep" / "store", a_task())
    opened = Store.open(made.root)
    assert opened.origin == ORIGIN
    assert opened.books.read_plan() == a_plan(a_task())
    assert opened.books.report("000000").rows == 4
    assert {child.name for child in made.root.iterdir()} == {"store.json", "plan.jsonl", "shards", "reports", ".lock"}


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"not a store.*thesis\.tex.*another `out`"):
        Store.create(tmp_path, ORIGIN)
    assert [child.name for child in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_killed_create_left_is_taken_over(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / ".store.json.0123.tmp").write_text("{")
    store = Store.create(tmp_path, ORIGIN)
    store.sweep()
    assert {child.name for child in tmp_path.iterdir()} == {"store.json", "shards", "reports", ".lock"}


def test_a_store_is_never_made_over_another_that_came_first(tmp_path, monkeypatch):
    a_store(tmp_path, a_task())
    with pytest.raises(ConfigError, match=r"not a store, and not empty \(plan\.jsonl"):
        Store.create(tmp_path, replace(ORIGIN, digest="other"))
    (tmp_path / "plan.jsonl").unlink()  # another process was here a moment ago, and has not planned yet
    with pytest.raises(ResourceError, match="another process has just made a store"):
        Store.create(tmp_path, replace(ORIGIN, digest="other"))
    assert Store.open(tmp_path).origin == ORIGIN


def test_a_store_that_can_not_be_made_is_a_resource_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match=r"cannot make .*file: File exists; choose another folder"):
        Store.create(tmp_path / "file", ORIGIN)


def test_no_store_is_answered_with_the_command_that_makes_one(tmp_path):
    with pytest.raises(StoreError, match="`vidu-pipe extract` with `out`"):
        Store.open(tmp_path)


@pytest.mark.parametrize("head", ["", "{", "[]", "{}", "\xff", json.dumps({"format": "vidu-pipe store", "schema": 9})])
def test_a_damaged_or_foreign_head_is_a_store_error(tmp_path, head):
    (tmp_path / "store.json").write_bytes(head.encode("latin-1"))
    with pytest.raises(StoreError, match=r"store\.json"):
        Store.open(tmp_path)


def test_a_store_begun_but_not_planned_says_so(tmp_path):
    with pytest.raises(StoreError, match="has no plan yet; run extract again"):
        Store.create(tmp_path, ORIGIN).books.read_plan()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: b"\xff\xfe" + text,
        lambda text: text[: text.index(b"\n") + 1],
        lambda text: b"",
    ],
)
def test_a_damaged_plan_is_a_store_error_that_names_the_file(tmp_path, damage):
    path = a_store(tmp_path, a_task()).root / "plan.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StoreError, match=r"plan\.jsonl"):
        Store.open(tmp_path).books.read_plan()


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]"])
def test_a_shard_with_a_damaged_report_is_not_done(tmp_path, text):
    store = a_store(tmp_path, a_task())
    (tmp_path / "reports" / "000000.json").write_bytes(text)
    assert store.books.report("000000") is None
    assert store.books.report("000001") is None
    assert store.video_rows() == []


def test_trouble_names_what_is_wrong_with_a_shard(tmp_path):
    store = a_store(tmp_path, a_task())
    report, path = store.books.report("000000"), store.shard_path("000000")
    good = path.read_bytes()
    assert store.trouble(report) == ""
    spoiled = bytearray(good)
    spoiled[-1] ^= 1
    for bad, words in ((good[:-1], "bytes, not the"), (bytes(spoiled), "sha256"), (b"", "0 bytes")):
        path.write_bytes(bad)
        assert words in store.trouble(report)
        assert str(path) in store.trouble(report)
    path.unlink()
    assert "No such file" in store.trouble(report)
    path.mkdir()
    assert store.trouble(report) != ""


def rows_of(store):
    return {
        video.id: [(piece.shard, piece.start, piece.row_start, piece.row_stop) for piece in video.pieces]
        for video in store.video_rows()
    }


def test_rows_of_every_video_are_found_over_shards_sorted_by_id(tmp_path):
    long = replace(a_task("000001", ("c",)), segments=(a_segment("c", 0, 3),))
    rest = replace(a_task("000002", ("c",)), segments=(a_segment("c", 3, 4),))
    store = a_store(tmp_path, a_task("000000", ("z", "a")), rest, long)
    assert list(rows_of(store)) == ["a", "c", "z"]
    assert rows_of(store)["c"] == [("000001", 0, 0, 3), ("000002", 3, 0, 1)]
    assert {video.id: video.moments for video in store.video_rows()} == {"a": 4, "c": 4, "z": 4}


def test_only_the_last_attempt_of_a_video_counts(tmp_path):
    old, new = a_task("000000", ("a", "b")), a_task("000001", ("a",), attempt=1)
    store = Store.create(tmp_path, ORIGIN)
    store.books.write_plan(a_plan(old, new))
    put_shard(store, old, {"a": ("partial", 2)})
    put_shard(store, new)
    assert rows_of(store) == {"a": [("000001", 0, 0, 4)], "b": [("000000", 0, 2, 6)]}
    assert [video.attempt for video in store.video_rows()] == [1, 0]


def test_a_video_whose_last_attempt_failed_has_no_rows(tmp_path):
    old, new = a_task("000000", ("a",)), a_task("000001", ("a",), attempt=1)
    store = Store.create(tmp_path, ORIGIN)
    store.books.write_plan(a_plan(old, new))
    put_shard(store, old, {"a": ("partial", 2)})
    put_shard(store, new, {"a": ("failed", 0)})
    assert rows_of(store) == {}


def test_what_people_say_of_a_video_is_read_from_the_plan_and_can_be_corrected_there(tmp_path):
    store = a_store(tmp_path, a_task())
    video = replace(a_video(), label="run", split="test", group="anna", path="/elsewhere/b.mp4")
    store.books.write_plan(replace(store.books.read_plan(), videos=(video,)))
    (found,) = store.video_rows()
    assert (found.label, found.split, found.group, found.path) == ("run", "test", "anna", "/elsewhere/b.mp4")


def test_a_shard_with_a_video_that_nobody_planned_is_a_store_error_that_names_both(tmp_path):
    store = a_store(tmp_path, a_task())
    put_shard(store, a_task(videos=("stranger",)))
    with pytest.raises(StoreError, match=r"000000\.h5: holds 'stranger', which the plan does not know"):
        store.video_rows()


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (("ok", 3), ("ok", 1), "ok"),
        (("ok", 3), ("failed", 0), "partial"),
        (("ok", 3), None, "partial"),
        (("partial", 3), ("ok", 1), "partial"),
    ],
)
def test_a_video_of_which_any_part_is_missing_is_partial(tmp_path, first, second, outcome):
    tasks = [
        replace(a_task(f"00000{number}", ("c",)), segments=(a_segment("c", *moments),))
        for number, moments in enumerate(((0, 3), (3, 4)))
    ]
    store = Store.create(tmp_path, ORIGIN)
    store.books.write_plan(a_plan(*tasks))
    for task, result in zip(tasks, (first, second), strict=True):
        if result:  # else the shard is not made yet
            put_shard(store, task, {"c": result})
    assert [video.outcome for video in store.video_rows()] == [outcome]


def test_a_shard_that_is_not_reported_is_not_read(tmp_path):
    store = a_store(tmp_path, a_task("000000", ("a",)), a_task("000001", ("b",)))
    (tmp_path / "reports" / "000001.json").unlink()
    store.shard_path("000001").write_bytes(b"half")
    assert list(rows_of(store)) == ["a"]


def test_names_that_are_not_utf8_come_back_as_they_were(tmp_path):
    store = a_store(tmp_path, a_task("000000", ("caf\udce9/clip",)))
    assert list(rows_of(store)) == ["caf\udce9/clip"]
    assert Store.open(tmp_path).books.read_plan().videos == (a_video("caf\udce9/clip"),)


def test_sweeping_removes_what_was_left_half_written_and_nothing_else(tmp_path):
    store = a_store(tmp_path, a_task())
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    for name in ("shards/.000000.h5.abc.tmp", "reports/.000000.json.abc.tmp", ".plan.jsonl.abc.tmp"):
        (tmp_path / name).write_text("half")
    store.sweep()
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.books.write_plan(a_plan()),
        lambda store: store.books.write_report(store.books.report("000000")),
    ],
)
def test_a_full_disk_keeps_the_old_plan_and_report(tmp_path, monkeypatch, write):
    store = a_store(tmp_path, a_task())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(ResourceError, match="No space left"):
        write(store)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


HOLD = """
import sys, pathlib
from schemas.disk.store import Store
with Store.open(pathlib.Path(sys.argv[1])).books.lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    a_store(tmp_path, a_task())
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path, holder):
    with (
        pytest.raises(ResourceError, match=rf"being written by process {holder.pid} on "),
        Store.open(tmp_path).books.lock(),
    ):
        pytest.fail("two hold one lock")


def test_the_lock_dies_with_its_owner_however_it_dies(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Store.open(tmp_path).books.lock():
        pass


def test_the_lock_is_free_after_an_error_inside(tmp_path):
    store = a_store(tmp_path, a_task())
    with pytest.raises(ZeroDivisionError), store.books.lock():
        1 / 0  # noqa: B018
    with store.books.lock():
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_a_resource_error_with_a_way_out(tmp_path, monkeypatch, number):
    def refusing(*_):
        raise OSError(number, os.strerror(number))

    store = a_store(tmp_path, a_task())
    monkeypatch.setattr(fcntl, "flock", refusing)
    with (
        pytest.raises(ResourceError, match=rf"cannot lock .*\.lock: {os.strerror(number)}; .*(folder|locks)"),
        store.books.lock(),
    ):
        pytest.fail("not locked")


def test_an_error_while_the_lock_is_held_is_not_taken_for_the_locks(tmp_path):
    with pytest.raises(FileNotFoundError), a_store(tmp_path, a_task()).books.lock():
        (tmp_path / "nowhere").read_text()


def test_a_store_that_can_not_be_locked_is_a_resource_error(tmp_path):
    store = a_store(tmp_path, a_task())
    (tmp_path / ".lock").unlink()
    (tmp_path / ".lock").mkdir()
    with pytest.raises(ResourceError, match=r"\.lock"), store.books.lock():
        pass
