import logging
import os

import pytest

from pipeline.planning.find import VIDEO_SUFFIXES, find_videos
from schemas.errors import ConfigError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def ids(*arguments, **options):
    return [video.id for video in find_videos(*arguments, **options)]


def test_a_folder_is_searched_to_the_bottom_and_sorted_by_id(tmp_path):
    touch(tmp_path, "z.mp4", "b/c/x.AVI", "b/a.webm", "b.mkv")
    assert ids(str(tmp_path)) == ["b", "b/a", "b/c/x", "z"]
    assert find_videos(str(tmp_path))[0].path == str(tmp_path / "b.mkv")


def test_hidden_files_and_folders_and_other_suffixes_are_left_alone_and_counted(tmp_path, caplog):
    touch(tmp_path, "a.mp4", ".b.mp4", ".git/c.mp4", "d.txt", "e.jpg", "f")
    with caplog.at_level(logging.INFO):
        assert ids(str(tmp_path)) == ["a"]
    assert "3 files that have no video's suffix" in caplog.text


def test_a_folder_that_can_not_be_read_is_named_and_never_skipped_in_silence(tmp_path, caplog, monkeypatch):
    touch(tmp_path, "a.mp4", "locked/b.mp4")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert ids(str(tmp_path)) == ["a"]
    assert "locked can not be searched for videos: Permission denied" in caplog.text


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    touch(tmp_path, "store/a.mp4")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "loop").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "up").symlink_to(tmp_path / "videos")
    assert ids(str(tmp_path / "videos")) == ["linked/a"]


@pytest.mark.parametrize("pattern", ["**/*.mp4", "**", "**/**/*.mp4", "./**/*.mp4"])
def test_a_glob_over_all_folders_follows_links_and_loops_end(tmp_path, monkeypatch, pattern):
    touch(tmp_path, "store/a.mp4", "videos/b.mp4", "videos/.hidden/c.mp4", "videos/[x]/d.mp4")
    (tmp_path / "videos" / "linked").symlink_to(tmp_path / "store")
    for k in range(3):
        (tmp_path / "store" / f"loop{k}").symlink_to(tmp_path / "store")
        (tmp_path / "store" / f"up{k}").symlink_to(tmp_path / "videos")
    assert ids(f"{tmp_path}/videos/{pattern}") == ["[x]/d", "b", "linked/a"]
    monkeypatch.chdir(tmp_path / "videos")
    assert ids(pattern) == ["[x]/d", "b", "linked/a"]
    assert ids(f"{tmp_path}/v*/{pattern}") == ["videos/[x]/d", "videos/b", "videos/linked/a"]


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\x0b", "\x0c", "\x1c"])
def test_a_listed_name_ends_at_the_end_of_its_line_and_nowhere_else(tmp_path, sign):
    touch(tmp_path, f"a{sign}b.mp4", f"{sign}.mp4")
    (tmp_path / "list.txt").write_text(f"a{sign}b.mp4\r\n{sign}.mp4\n")
    assert ids(str(tmp_path / "list.txt")) == sorted([f"a{sign}b", sign])


def test_a_link_that_leads_nowhere_is_found_and_left_to_the_probe(tmp_path):
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert ids(str(tmp_path)) == ["gone"]


@pytest.mark.parametrize(
    "name", ["żółw – 中文 🎬", "with space", "caf\udce9", "100% [really]", "#1;x=y", "-n", "a'b\"c"]
)
def test_any_file_name_is_an_id(tmp_path, name):
    touch(tmp_path, f"{name}.mp4", f"{name}.d/clip.v2.mp4")
    assert ids(str(tmp_path)) == sorted([name, f"{name}.d/clip.v2"])


def test_two_files_of_one_id_are_both_named_and_keeping_suffixes_helps(tmp_path):
    touch(tmp_path, "a/clip.mp4", "a/clip.avi")
    with pytest.raises(ConfigError, match=r"'a/clip'.*clip\.avi.*clip\.mp4.*`keep_suffix`"):
        find_videos(str(tmp_path))
    assert ids(str(tmp_path), keep_suffix=True) == ["a/clip.avi", "a/clip.mp4"]


def test_a_glob_gives_ids_from_its_first_wildcard_on(tmp_path):
    touch(tmp_path, "x/a.mp4", "x/deep/b.mp4", "y/c.mp4", "x/d.txt")
    assert ids(f"{tmp_path}/x/*.mp4") == ["a"]
    assert ids(f"{tmp_path}/x/**/*.mp4") == ["a", "deep/b"]
    assert ids(f"{tmp_path}/?/[ab]*.mp4") == ["x/a"]
    assert ids(f"{tmp_path}/x/*.mp4", root=tmp_path) == ["x/a"]


def test_a_glob_without_a_folder_is_relative_to_here(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "b/c.mp4")
    monkeypatch.chdir(tmp_path)
    assert ids("*.mp4") == ["a"]
    assert ids("b/*") == ["c"]
    assert find_videos("*.mp4")[0].path == str(tmp_path / "a.mp4")


def test_a_folder_whose_name_looks_like_a_glob_is_a_folder(tmp_path):
    touch(tmp_path, "set[1]/a.mp4")
    assert ids(str(tmp_path / "set[1]")) == ["a"]


def test_a_text_file_lists_paths_relative_to_itself_of_any_suffix(tmp_path):
    touch(tmp_path, "v/a.mp4", "v/b.dat")
    (tmp_path / "list.txt").write_text(f"\ufeffv/a.mp4\n\n  {tmp_path}/v/b.dat  \r\nv/gone.mp4\nv/a.mp4\n")
    assert ids(str(tmp_path / "list.txt")) == ["v/a", "v/b", "v/gone"]
    assert ids(str(tmp_path / "list.txt"), root=tmp_path / "v") == ["a", "b", "gone"]


def test_a_csv_brings_labels_splits_and_groups(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "list.csv").write_text("path,label,split,group\nb.mp4,wave,test,bob\na.mp4,run,train,anna\n")
    assert [(v.id, v.label, v.split, v.group) for v in find_videos(str(tmp_path / "list.csv"))] == [
        ("a", "run", "train", "anna"),
        ("b", "wave", "test", "bob"),
    ]


def test_a_csv_that_says_two_things_of_one_file_is_refused(tmp_path):
    touch(tmp_path, "a.mp4")
    (tmp_path / "list.csv").write_text("path,label\na.mp4,wave\n./a.mp4,run\n")
    with pytest.raises(ConfigError, match=r"a\.mp4 is listed twice, as \('wave', '', ''\) and as \('run'"):
        find_videos(str(tmp_path / "list.csv"))


def test_one_video_is_enough(tmp_path):
    touch(tmp_path, "deep/a.mp4")
    assert ids(str(tmp_path / "deep" / "a.mp4")) == ["a"]
    assert ids(str(tmp_path / "deep" / "a.mp4"), root=tmp_path) == ["deep/a"]


def test_a_file_outside_the_root_is_named(tmp_path):
    touch(tmp_path, "in/a.mp4", "out/b.mp4")
    (tmp_path / "list.txt").write_text("in/a.mp4\nout/b.mp4\n")
    with pytest.raises(ConfigError, match=r"out/b\.mp4 lies outside .*/in.*`root`"):
        find_videos(str(tmp_path / "list.txt"), root=tmp_path / "in")


@pytest.mark.parametrize(
    "make",
    [
        lambda root: "",
        lambda root: "nowhere",
        lambda root: "*.mp4",
        lambda root: (root / "empty.txt").write_text("\n"),
        lambda root: (root / "only.txt").mkdir(),
        lambda root: (root / "binary.dat").write_bytes(b"\xff\xfe\0\1"),
    ],
)
def test_nothing_to_do_is_an_error_that_names_what_was_asked(tmp_path, make):
    make(tmp_path)
    asked = next((str(child) for child in tmp_path.iterdir()), str(tmp_path / "no*where"))
    with pytest.raises(ConfigError, match="`videos`"):
        find_videos(asked)


def test_suffixes_are_lower_case_and_begin_with_a_dot():
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in VIDEO_SUFFIXES)
