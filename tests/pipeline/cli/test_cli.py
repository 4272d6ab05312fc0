"""The command line as a user meets it: words in, words and an exit code out."""

import importlib.metadata
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import COMMANDS, main
from schemas.disk.store import Store
from tests.pipeline.conftest import ROOT, digests
from tests.videos import write_video


@pytest.fixture
def run(capfd):
    """Run a command in this process; return (exit code, stdout, stderr)."""
    handlers = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    root = logging.getLogger()
    level, before = root.level, list(root.handlers)

    def run(*words):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return ended.value.code, *capfd.readouterr()

    yield run
    root.setLevel(level)
    root.handlers[:] = before
    for sign, handler in handlers.items():
        signal.signal(sign, handler)


@pytest.fixture
def store(reference, tmp_path):
    return Path(shutil.copytree(reference, tmp_path / "store"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_is_what_the_table_says(run, name):
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"vidu-pipe {name}" in out
    assert COMMANDS[name][2].split()[0].rstrip(",.")[:4].lower() in out.lower()


def test_help_lists_every_command_and_imports_nothing_heavy():
    script = (
        "import sys\nfrom pipeline.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as end:\n"
        "    heavy = {'torch', 'ray', 'timm', 'cv2', 'av', 'h5py', 'numpy', 'numba'} & set(sys.modules)\n"
        "    sys.exit(f'imported: {heavy}' if heavy or end.code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert all(f"  {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(("typo", "meant"), [("extrct", "extract"), ("verfy", "verify"), ("xyzzy", "one of extract")])
def test_a_typo_is_answered_with_what_was_meant(run, typo, meant):
    code, _, err = run(typo)
    assert code == 2
    assert f"no command '{typo}'; did you mean {meant}" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--every", "2", "--fps", "3"), "exactly one of --every, --fps, --samples"),
        (("--every", "0"), "--every"),
        (("--fps", "inf"), "--fps"),
        (("--streams", "rgb,sound"), "unknown stream 'sound'; known: rgb, flow"),
        (("--streams", ","), "--streams needs one of"),
        (("--flow", "lucas"), "unknown flow method 'lucas'; known: "),
        (("--flow-option", "window"), "write NAME=VALUE"),
        (("--flow-option", "preset=fast"), "'farneback' 'preset'"),
        (("--rgb-backbone", "resnet1"), "unknown backbone 'resnet1'; nearest"),
        (("--short-side", "3"), "--short-side"),
        (("--flow-bound", "nan"), "--flow-bound"),
        (("--precision", "fp8"), "fp32"),
        (("--retries", "-1"), "--retries"),
        (("--no-such-option",), "--no-such-option"),
        (("--videos", "nowhere"), "--videos nowhere: no such file or folder"),
    ],
)
def test_what_can_not_be_done_as_asked_ends_with_2_and_the_legal_values_before_any_work(
    run, world, tmp_path, words, said
):
    code, _, err = run(*world.options(tmp_path / "store", "--inline", *words))
    assert (code, said in err) == (2, True), err
    assert "Traceback" not in err
    assert not (tmp_path / "store").exists()


def test_missing_weights_end_with_1_and_what_to_do(run, world, tmp_path):
    code, _, err = run(*world.options(tmp_path / "store", "--weights", tmp_path / "gone.pth"))
    assert code == 1
    assert "no weights file" in err
    assert not (tmp_path / "store").exists()


def test_extract_says_what_it_did_and_what_to_do_next(run, world, tmp_path, reference):
    log = tmp_path / "log.jsonl"
    code, out, _ = run(*world.options(tmp_path / "store", "--inline", "--log-json", log))
    assert code == 0
    assert "6 shards made, 0 were done before; 0 broke off, 0 failed" in out
    assert f"Next: vidu-pipe inspect {tmp_path / 'store'}" in out
    for word in ("decode", "flow", "rgb-network", "flow-network", "frame/s", "pair/s", "moment/s", "KiB"):
        assert word in out
    assert digests(tmp_path / "store") == digests(reference)
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["start", *["shard"] * 6]


def test_running_it_again_does_nothing_and_other_settings_are_refused_with_the_difference(run, world, store):
    code, out, _ = run(*world.options(store, "--inline"))
    assert (code, "0 shards made, 6 were done before" in out) == (0, True)
    code, _, err = run(*world.options(store, "--inline", "--every", "4"))
    assert (code, "sampling.every: 8, 4" in err) == (1, True)


@pytest.fixture
def bad_folder(world, tmp_path):
    folder = Path(shutil.copytree(world.folder, tmp_path / "videos"))
    (folder / "caf\udce9.mp4").write_bytes(b"nonsense")
    return folder


def test_failed_videos_are_named_at_the_end_and_the_exit_code_is_3(run, world, tmp_path, bad_folder):
    store = tmp_path / "store"
    for words in (("--inline",), ("--inline", "--retry-failed"), ("--inline", "--quiet")):
        code, out, err = run(*world.options(store, *words, folder=bad_folder))
        assert code == 3
        assert "failed: caf" in err
        assert "VideoOpenError" in err
        assert "0 broke off, 1 failed" in out
    for command in ("status", "inspect"):
        code, out, _ = run(command, store)
        assert "VideoOpenError" in out
        assert code == (3 if command == "status" else 0)


def test_of_a_file_that_is_cut_short_everything_tells_promised_and_decoded_frames_and_the_exit_code_is_3(
    run, world, tmp_path
):
    folder, store = tmp_path / "videos", tmp_path / "store"
    folder.mkdir()
    whole = write_video(tmp_path / "whole.mp4", frames=60, container_options={"movflags": "+faststart"}).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    shutil.copy(world.folder / "class0" / "v0.mp4", folder / "good.mp4")
    code, out, err = run(*world.options(store, "--inline", folder=folder))
    assert (code, "1 broke off, 0 failed" in out) == (3, True)
    told = next(line for line in err.splitlines() if line.startswith("partial: cut (VideoDecodeError)"))
    found = int(re.search(r"cut short: the header promises 60 frames, (\d+) are there", told)[1])
    counted = re.search(rf"frames: 60 promised, {found} in the file, (\d+) of (\d+) needed decoded", told)
    decoded, needed = map(int, counted.groups())
    assert 0 < decoded <= needed <= found < 58
    for command, expected in (("status", 3), ("inspect", 0)):
        code, out, _ = run(command, store)
        assert (code, told in out) == (expected, True)
    code, out, err = run("plan", *world.options(tmp_path / "none", folder=folder)[1:])
    assert (code, "1 cut short or damaged" in out) == (3, True)
    assert f"would be partial: cut ({folder}/cut.mp4: cut short: the header promises 60 frames" in err


def test_names_that_are_not_utf8_never_break_the_output(world, tmp_path, bad_folder):
    good = next((bad_folder / "class0").glob("*.mp4"))
    shutil.copy(good, bad_folder / "na\udcefve.mp4")
    # as in a terminal of any UTF-8 locale but C.UTF-8
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    script = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    world.extract(tmp_path / "store", folder=bad_folder)
    for words in (("inspect", "--videos"), ("status",), ("verify",)):
        done = subprocess.run([*script, *words, str(tmp_path / "store")], capture_output=True, env=environment)
        assert b"Traceback" not in done.stderr, done.stderr
        if words[0] != "verify":
            assert b"caf" in done.stdout


def test_quiet_says_only_what_matters(run, world, tmp_path):
    code, _, err = run(*world.options(tmp_path / "store", "--inline", "--quiet"))
    assert (code, err) == (0, "")


def test_status_counts_without_reading_features(run, store):
    (store / "reports" / "000002.json").unlink()
    shutil.rmtree(store / "shards")
    code, out, _ = run("status", store)
    assert code == 0
    assert "5 of 6 shards" in out
    assert "6 videos planned, 0 broke off, 0 failed" in out


def test_verify_names_every_bad_shard_and_extract_makes_only_these_again(run, world, store, reference):
    code, out, _ = run("verify", store)
    assert (code, "6 shards are whole, 0 bad, 0 not made yet" in out) == (0, True)
    for shard in ("000001", "000004"):
        path = store / "shards" / f"{shard}.h5"
        path.write_bytes(path.read_bytes()[:-1])
    (store / "reports" / "000005.json").unlink()
    code, out, _ = run("verify", store)
    assert code == 1
    assert [line for line in out.splitlines() if line.startswith("bad: ")] == [
        line for line in out.splitlines() if "000001.h5" in line or "000004.h5" in line
    ]
    assert "3 shards are whole, 2 bad, 1 not made yet" in out
    code, out, _ = run(*world.options(store, "--inline"))
    assert (code, "3 shards made, 3 were done before" in out) == (0, True)
    assert digests(store) == digests(reference)
    assert run("verify", store)[0] == 0


def test_inspect_shows_what_a_store_holds(run, store):
    code, out, _ = run("inspect", store, "--videos")
    assert code == 0
    for text in (
        "6 with features",
        "moments   18, 3 a video",
        "6 of 6",
        "rgb      96 x float16",
        "flow     96 x float16",
        "software  av ",
        "video     class1/v5  3 moments",
    ):
        assert text in out, text
    settings = [line.split()[1:] for line in out.splitlines() if line.startswith("setting ")]
    for name, value in (
        ("short_side_px", "32"),
        ("stream.flow.backbone", "test_resnet"),
        ("sampling.every", "8"),
        ("upscale", "no"),
    ):
        assert [name, value] in settings
    assert "{" not in out


def test_inspect_tells_a_bad_shard_from_a_traceback(run, store):
    (store / "shards" / "000001.h5").write_bytes(b"rubbish")
    code, _, err = run("inspect", store)
    assert code == 1
    assert "000001.h5" in err
    assert "run extract again" in err


@pytest.mark.parametrize("command", ["status", "verify", "inspect"])
def test_what_is_no_store_is_answered_with_the_command_that_makes_one(run, tmp_path, command):
    code, _, err = run(command, tmp_path)
    assert (code, "`vidu-pipe extract` with --out" in err) == (1, True)


def plan_words(world, out, *more):
    options = world.options(out, *more)
    return ["plan", *options[1:]]


def test_plan_shows_what_would_be_done_and_writes_nothing(run, world, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.jobs.estimate.CALIBRATION_S", 0.05)
    code, out, _ = run(*plan_words(world, tmp_path / "store"))
    assert code == 0
    for text in (
        "0 of 6 shards are done",
        "videos   6, 0 of them no good, 0 cut short or damaged, 6 new",
        "6 shards, 18 moments, 114 frames",
        "rgb, flow on cpu",
        "time     about ",
    ):
        assert text in out, text
    assert list(tmp_path.iterdir()) == []


def test_plan_over_a_store_counts_what_is_left_and_refuses_other_settings(run, world, store, monkeypatch):
    monkeypatch.setattr("pipeline.jobs.estimate.CALIBRATION_S", 0.05)
    (store / "reports" / "000003.json").unlink()
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    code, out, _ = run(*plan_words(world, store))
    assert code == 0
    assert "5 of 6 shards are done" in out
    assert "1 shard, 3 moments, 19 frames" in out
    code, _, err = run(*plan_words(world, store, "--every", "4"))
    assert (code, "sampling.every: 8, 4" in err) == (1, True)
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_plan_names_files_that_would_fail(run, world, tmp_path, bad_folder, monkeypatch):
    monkeypatch.setattr("pipeline.jobs.estimate.CALIBRATION_S", 0.05)
    words = ["plan", *world.options(tmp_path / "store", folder=bad_folder)[1:]]
    code, out, err = run(*words)
    assert code == 3
    assert "would fail: caf" in err
    assert "videos   7, 1 of them no good" in out


def test_a_csv_brings_labels_splits_and_groups_and_corrects_them_without_new_features(run, world, tmp_path):
    store = tmp_path / "store"

    def extract(label, split):
        table = tmp_path / "labels.csv"
        table.write_text(
            "path,label,split,group\n"
            + "".join(
                f"{world.folder}/class{k % 2}/v{k}.{('mp4', 'avi')[k % 2]},{label}{k},{split},g{k}\n" for k in range(2)
            )
        )
        return run(*world.options(store, "--inline", "--root", world.folder, "--videos", table))

    assert extract("kind", "train")[0] == 0
    shards = digests(store)
    said = [(v.id, v.label, v.split, v.group) for v in Store.open(store).video_rows()]
    assert said == [("class0/v0", "kind0", "train", "g0"), ("class1/v1", "kind1", "train", "g1")]
    code, out, _ = extract("corrected", "test")
    assert (code, "2 videos have another label, split or group now (class0/v0 first)" in out) == (0, True)
    assert "0 shards made, 2 were done before" in out
    assert [(v.label, v.split) for v in Store.open(store).video_rows()] == [
        ("corrected0", "test"),
        ("corrected1", "test"),
    ]
    assert digests(store) == shards
    assert "2 labels, splits test, 2 groups" in run("inspect", store)[1]


def test_a_checkout_that_is_not_installed_extracts_and_plans_all_the_same(run, world, tmp_path, monkeypatch):
    known = importlib.metadata.version

    def unknown_house(name):
        if name == "vidu-pipe":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(importlib.metadata, "version", unknown_house)
    assert run(*world.options(tmp_path / "store", "--inline"))[0] == 0
    assert Store.open(tmp_path / "store").origin.software["vidu-pipe"] == "not installed"
    assert run("plan", *world.options(tmp_path / "store")[1:])[0] == 0
    assert run("--version")[:2] == (0, "vidu-pipe, version not installed\n")
