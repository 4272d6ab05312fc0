import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.disk.files import stays_inside
from schemas.errors import StoreError
from schemas.plain import parsed
from schemas.plan import Failure, Plan, Segment, ShardReport, ShardTask
from tests.builders import a_plan, a_segment_report, a_task, a_video

# file names are bytes: Python holds those that are not UTF-8 as surrogates
names = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_characters="\0"),
        st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
    ),
    min_size=1,
    max_size=12,
).filter(stays_inside)


@st.composite
def segments(draw, video):
    frames = draw(
        st.one_of(
            st.lists(st.integers(0, 10**6), min_size=1, max_size=9).map(sorted),
            st.builds(
                lambda first, step, count: list(range(first, first + step * count, step)),
                st.integers(0, 99),
                st.integers(1, 99),
                st.integers(1, 99),
            ),
        )
    )
    start = draw(st.integers(0, 99))
    return Segment(
        video,
        start,
        start + len(frames),
        tuple(frames),
        max(0, frames[0] - 5),
        frames[-1] + 6,
        draw(st.one_of(st.none(), st.integers(-(2**40), 2**40))),
    )


@st.composite
def plans(draw):
    videos = {
        (video.id, video.attempt): video
        for video in draw(
            st.lists(
                st.builds(
                    a_video, names, label=st.text(max_size=5), group=st.text(max_size=5), attempt=st.integers(0, 2)
                ),
                max_size=5,
            )
        )
    }
    shards = []
    for number in range(draw(st.integers(0, 3)) if videos else 0):
        chosen = draw(
            st.lists(st.sampled_from(list(videos.values())), min_size=1, max_size=4, unique_by=lambda video: video.id)
        )
        shards.append(ShardTask(f"{number:06d}", tuple(draw(segments(video.id)) for video in chosen), tuple(chosen)))
    failures = draw(st.lists(st.builds(Failure, names, names, names, names, names), max_size=3))
    return Plan(draw(st.integers(1, 10**6)), tuple(videos.values()), tuple(failures), tuple(shards))


@given(plans())
def test_a_plan_survives_the_way_through_json_lines(plan):
    lines = list(plan.to_json_lines())
    assert all(line.isascii() and "\n" not in line for line in lines)
    assert Plan.from_json_lines(lines) == plan


def test_a_long_regular_segment_takes_a_short_line():
    frames = tuple(range(0, 8_000_000, 8))
    task = ShardTask("000000", (Segment("a/b", 0, len(frames), frames, 0, 8_000_000, None),), (a_video(),))
    assert sum(map(len, a_plan(task).to_json_lines())) < 1000


@given(plans(), st.data())
def test_a_plan_that_lost_lines_is_not_taken_for_a_smaller_one(plan, data):
    lines = list(plan.to_json_lines())
    kept = data.draw(st.integers(0, len(lines) - 1))
    with pytest.raises(StoreError):
        Plan.from_json_lines(lines[:kept])


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:-9],
        lambda line: "",
        lambda line: "[1]",
        lambda line: "null",
        lambda line: '{"type": "song"}',
        lambda line: line.replace('"schema": 3', '"schema": 9'),
        lambda line: line.replace("plan", "video"),
    ],
)
def test_a_damaged_line_is_a_store_error(damage):
    lines = list(a_plan(a_task()).to_json_lines())
    with pytest.raises(StoreError, match=r"not a plan's|schema 9"):
        Plan.from_json_lines([damage(lines[0]), *lines[1:]])


WRONG = {str: 3, int: "3", float: "3", bool: "yes", tuple: 5, dict: [], type(None): "soon"}


def spoiled(plain):
    """Yield copies of plain values in which one value, at any depth, is missing or of another type."""
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
        for other in spoiled(value) if isinstance(value, dict | list) else (WRONG[type(value)],):
            yield plain | {key: other} if isinstance(plain, dict) else [*plain[:key], other, *plain[key + 1 :]]
        if isinstance(plain, dict) and isinstance(key, str):
            yield plain | {"stranger": 1}
            yield {name: plain[name] for name in plain if name != key}


@pytest.mark.parametrize("number", range(4))
def test_a_line_with_a_value_missing_or_of_another_type_is_a_store_error_that_names_it(number):
    plan = replace(a_plan(a_task(videos=("a",))), failures=(Failure("b", "/b", "f", "VideoOpenError", "is none"),))
    lines = [json.loads(line) for line in plan.to_json_lines()]
    found = 0
    for other in spoiled(lines[number]):
        with pytest.raises(StoreError, match=rf"line {number + 1} of the plan|plan of schema"):
            Plan.from_json_lines(json.dumps(line) for line in (*lines[:number], other, *lines[number + 1 :]))
        found += 1
    assert found > 7


def test_a_report_with_a_value_missing_or_of_another_type_is_refused():
    report = ShardReport(
        "000007", "0" * 64, 5, 4, 3, (a_segment_report(a_task().segments[0]),), {"rgb": 0.5}, 0.5, "node", 9
    )
    plain = json.loads(report.to_json())
    for other in spoiled(plain):
        stages_s = other.get("stages_s")
        free = isinstance(stages_s, dict) and not any(isinstance(value, str) for value in stages_s.values())
        if not free or stages_s == plain["stages_s"]:  # any stages may have taken their time
            with pytest.raises(ValueError):
                parsed(json.dumps(other), ShardReport)


@pytest.mark.parametrize(
    "changes",
    [
        {"start": -1, "stop": 3},
        {"stop": 3},
        {"frames": [0, 8]},
        {"start": 9},
        {"frames": {"first": 0, "step": 0, "count": 4}},
        {"attempt": 7},
        {"frames": {"first": 0, "step": 8, "count": 5}},
        {"frames": {"first": 0, "step": 1, "count": 10**12}, "stop": 10**12},
        {"video": "other"},
    ],
)
def test_segments_that_do_not_fit_are_a_store_error_that_names_the_line(changes):
    *lines, shard = [json.loads(line) for line in a_plan(a_task(videos=("a",))).to_json_lines()]
    shard["segments"][0] |= changes
    with pytest.raises(StoreError, match="line 3 of the plan"):
        Plan.from_json_lines(json.dumps(line) for line in (*lines, shard))


def test_a_plan_of_an_older_version_is_refused_by_its_version_and_not_as_damaged():
    lines = [json.loads(line) for line in a_plan(a_task()).to_json_lines()]
    lines[0]["schema"] = 1
    del lines[1]["group"]
    with pytest.raises(StoreError, match=r"plan of schema 1; this version reads schema 3\. Make the store anew"):
        Plan.from_json_lines(json.dumps(line) for line in lines)


def test_a_shard_of_a_video_nobody_planned_is_a_store_error():
    lines = [line for line in a_plan(a_task()).to_json_lines() if '"video", ' not in line]
    with pytest.raises(StoreError, match="not a plan's"):
        Plan.from_json_lines(lines)


def test_the_last_attempt_of_a_video_is_its_latest():
    plan = Plan(9, (a_video(), a_video("c"), a_video(attempt=1)), (), ())
    assert {video.id: video.attempt for video in plan.latest().values()} == {"a/b": 1, "c": 0}


def test_work_is_counted_in_frames_read():
    task = a_task(videos=("a", "b"))
    assert task.work_frames == sum(segment.read_stop - segment.read_start for segment in task.segments) == 60
    assert a_plan(task, replace(task, shard="000001")).work_frames == 120


@given(names, names, st.dictionaries(st.text(max_size=5), st.floats(0, 1e6), max_size=3))
def test_a_report_survives_the_way_through_json(video, message, stages_s):
    segment = replace(a_segment_report(a_task().segments[0], outcome="partial"), video=video, message=message)
    report = ShardReport("000007", "0" * 64, 5, 4, 3, (segment, segment), stages_s, 0.5, "node", 9)
    assert parsed(report.to_json(), ShardReport) == report


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"segments": 3}', '{"segments": [[]]}'])
def test_a_damaged_report_is_refused(text):
    with pytest.raises(ValueError):
        parsed(text, ShardReport)


def test_reports_hold_plain_values_that_any_json_reader_understands():
    report = ShardReport("000007", "0" * 64, 5, 4, 3, (a_segment_report(a_task().segments[0]),), {}, 0.5, "node", 9)
    assert json.loads(report.to_json())["segments"][0]["video"] == "a/b"
