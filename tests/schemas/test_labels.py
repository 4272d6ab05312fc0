"""Labels from folders, CSV files and official split files."""

import pytest

from schemas.errors import ConfigError
from schemas.labels import (
    folder_label,
    join_labels,
    match_parts,
    match_rows,
    read_label_csv,
    read_split_files,
    split_labels,
    without_suffix,
)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_the_folder_names_the_label():
    assert folder_label("train/Archery/v_01") == "Archery"
    assert folder_label("v_01") == ""


@pytest.mark.parametrize(
    ("path", "video_id"),
    [
        ("a/b.avi", "a/b"),
        ("./a/b.mp4", "a/b"),
        ("a\\b.avi", "a/b"),
        ("a/b", "a/b"),
        ("a/clip_1.25", "a/clip_1.25"),
        ("a/b.c.webm", "a/b.c"),
    ],
)
def test_a_path_as_people_write_it_becomes_an_id(path, video_id):
    assert without_suffix(path) == video_id


def test_labels_of_one_cell_come_apart_and_together():
    assert split_labels(" b; a;;b") == ("a", "b")
    assert join_labels(["b", "a", "b"]) == "a;b"


def test_a_csv_without_header_is_taken_by_position(tmp_path):
    (row,) = read_label_csv(write(tmp_path / "l.csv", "x/1.avi, run ,test,ann\n"))
    assert (row.path, row.labels, row.split, row.group) == ("x/1.avi", ("run",), "test", "ann")


def test_a_csv_with_header_may_order_its_columns(tmp_path):
    rows = read_label_csv(write(tmp_path / "l.csv", "﻿Label,note,path\nrun,?,1.avi\n\nwalk,!,2.avi\n"))
    assert [(row.path, row.label, row.split) for row in rows] == [("1.avi", "run", ""), ("2.avi", "walk", "")]


def test_repeated_rows_and_semicolons_are_several_labels(tmp_path):
    rows = read_label_csv(write(tmp_path / "l.csv", "1.avi,run;smile\n2.avi,sit\n1.avi,talk,train\n"))
    assert [(row.path, row.label) for row in rows] == [("1.avi", "run;smile;talk"), ("2.avi", "sit")]
    assert rows[0].split == "train"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no labels"),
        ("path,label\n", "no labels"),
        ("path,class\na,b\n", "no column 'label'"),
        ("a.avi,\n", "line 1"),
        ("a.avi,run,dev\n", "unknown split 'dev'"),
        ("a,run,train\na,sit,test\n", "line 2"),
    ],
)
def test_a_bad_label_file_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words):
        read_label_csv(write(tmp_path / "l.csv", text))


def test_a_missing_label_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.csv"):
        read_label_csv(tmp_path / "nowhere.csv")


def test_rows_find_their_video_by_id_by_file_name_and_by_absolute_path(tmp_path):
    rows = read_label_csv(write(tmp_path / "l.csv", "a/1.avi,run\na/2,sit\n/data/a/3.mkv,lie\nb/9.avi,run\n"))
    videos = {"a/1": "/data/a/1.avi", "a/2": "/data/a/2.avi", "a/3": "/data/a/3.mkv"}
    matched = {video_id: row.label for video_id, row in match_rows(rows, videos).items()}
    assert matched == {"a/1": "run", "a/2": "sit", "a/3": "lie"}


def test_the_official_split_files_have_the_published_sizes(shared_data):
    ucf = list(read_split_files(shared_data / "splits" / "ucf101", 1).values())
    assert (ucf.count("train"), ucf.count("test")) == (9537, 3783)
    hmdb = list(read_split_files(shared_data / "splits" / "hmdb51", 1).values())
    assert (hmdb.count("train"), hmdb.count("test")) == (3570, 1530)


def test_a_folder_without_that_split_is_refused(tmp_path):
    write(tmp_path / "trainlist01.txt", "A/v_A_g01_c01.avi 1\n")
    with pytest.raises(ConfigError, match=r"testlist02\.txt"):
        read_split_files(tmp_path, 2)


def test_a_line_that_is_not_hmdb51s_is_refused(tmp_path):
    write(tmp_path / "run_test_split1.txt", "a.avi 3\n")
    with pytest.raises(ConfigError, match="line 1"):
        read_split_files(tmp_path, 1)


def test_official_parts_are_found_by_class_and_clip_and_never_by_clip_alone():
    parts = {"A/x": "train", "B/x": "test"}
    assert match_parts(parts, ["data/A/x", "B/x", "C/x"]) == {"data/A/x": "train", "B/x": "test"}
    with pytest.raises(ConfigError, match="not one video"):
        match_parts(parts, ["C/x"])
