from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipeline.planning.outcomes import _covered, bad_videos, outcomes
from schemas.plan import Failure
from tests.builders import PROBE, a_plan, a_segment, a_segment_report, a_task, a_video
from tests.pipeline.planning.test_plan import report_of


def test_the_outcome_of_a_video_is_that_of_all_its_segments_in_its_last_attempt():
    first, second = a_task("000000", ("a",)), a_task("000001", ("a",))
    plan = a_plan(first, second)
    assert outcomes(plan, [report_of(first), report_of(second)]) == {"a": "ok"}
    assert outcomes(plan, [report_of(first), report_of(second, "failed", 0)]) == {"a": "partial"}
    assert outcomes(plan, [report_of(first, "failed", 0), report_of(second, "failed", 0)]) == {"a": "failed"}
    again = a_task("000002", ("a",), attempt=1)
    plan = a_plan(first, second, again)
    assert outcomes(plan, [report_of(first, "failed", 0), report_of(again)]) == {"a": "ok"}
    assert outcomes(plan, [report_of(first, "failed", 0)]) == {}


def test_frames_of_a_partial_video_are_counted_once_though_segments_overlap_and_only_in_its_last_attempt():
    probe = replace(PROBE, promised_frames=50, frames=30)
    tasks = [
        replace(
            a_task(f"00000{number}", ("a",)),
            segments=(a_segment("a", *moments),),
            videos=(a_video("a", probe=probe, attempt=1),),
        )
        for number, moments in enumerate(((0, 2), (2, 4)))
    ]
    old = a_task("000002", ("a",))
    plan = a_plan(old, *tasks)
    reports = [report_of(old, "failed", 0), report_of(tasks[0]), report_of(tasks[1], "partial", 1)]
    read = [(0, 14), (11, 30)]  # frames that the segments read: three of them both
    assert [(s.read_start, s.read_stop) for task in tasks for s in task.segments] == read
    reports[1:] = [
        replace(report, segments=(replace(report.segments[0], frames_planned=stop - start, frames_decoded=decoded),))
        for report, (start, stop), decoded in zip(reports[1:], read, (14, 10), strict=True)
    ]
    bad = bad_videos(plan, reports)
    assert bad.failed == ()
    (partial,) = bad.partial
    assert (partial.frames_needed, partial.frames_decoded) == (30, 21)
    assert partial.frames == "frames: 50 promised, 30 in the file, 21 of 30 needed decoded"
    assert list(bad.lines()) == [f"partial: a (VideoDecodeError) a: is damaged. {partial.frames}"]
    assert bad.among({"b"}).partial == ()


def test_a_partial_video_that_can_not_be_planned_anew_stays_partial_with_its_rows_and_says_why():
    task = a_task("000000", ("a", "b", "c"))
    reports = [
        replace(
            report_of(task),
            segments=tuple(
                a_segment_report(segment, 0, outcome, moments)
                for segment, outcome, moments in zip(task.segments, ("partial", "failed", "ok"), (2, 0, 4), strict=True)
            ),
        )
    ]
    failures = tuple(Failure(name, "", "", "VideoOpenError", f"{name}: is gone") for name in "abd")
    bad = bad_videos(replace(a_plan(task), failures=failures), reports)
    assert [(one.id, one.reason, one.frames_needed) for one in bad.partial] == [("a", "VideoOpenError", 30)]
    assert [(one.id, one.message) for one in bad.failed] == [("b", "b: is gone"), ("d", "d: is gone")]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: range(min(pair), max(pair)))))
def test_covered_frames_are_those_in_any_of_the_ranges(ranges):
    assert _covered(ranges) == len({frame for one in ranges for frame in one})
