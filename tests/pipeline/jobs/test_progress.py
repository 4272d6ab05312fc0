"""What a person is told of the time a job takes: nothing before it means something."""

import io

import pytest

from pipeline.jobs.engine import Told
from pipeline.jobs.progress import Display, Pace
from tests.builders import a_task
from workers.process import Progress


def test_nothing_is_said_of_the_time_left_before_there_is_work_to_judge_by():
    pace = Pace(883)
    assert str(pace) == "starting"
    pace.follow(0, 100.0)
    assert str(pace) == "starting"
    pace.follow(1, 120.0)  # twenty seconds of imports, then one frame
    assert (str(pace), pace.frames_per_s) == ("under way", None)
    pace.follow(40, 122.0)
    assert str(pace) == "under way"


def test_speed_is_counted_from_the_first_word_on_so_that_the_start_does_not_spoil_it():
    pace = Pace(883)
    pace.follow(1, 120.0)
    pace.follow(161, 130.0)
    assert pace.frames_per_s == pytest.approx(16)
    assert str(pace) == "16.0 frame/s, 00:45 left"


def test_a_worker_that_died_takes_its_frames_and_the_estimate_with_it():
    pace = Pace(100)
    pace.follow(30, 0.0)
    pace.follow(20, 60.0)
    assert str(pace) == "under way"


def test_the_bar_says_the_same_as_the_lines(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen, clock = Terminal(), iter([0.0, 0.0, 10.0, 20.0])
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("pipeline.jobs.progress.time.monotonic", lambda: next(clock))
    task = a_task()
    with Display([task], quiet=False, log_json=None) as display:
        display._bar.mininterval = 0
        for frames in (1, 19):
            display.follow(Told(task, Progress(frames)))
    last = screen.getvalue().rstrip().rsplit("\r", 1)[-1]
    assert "20.0/30.0 frames" in last
    assert "0/1 video, 1.9 frame/s, 00:05 left" in last
