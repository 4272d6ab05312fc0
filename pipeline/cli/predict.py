"""`vidu-pipe predict`: what new videos show, by a run's model."""

import csv
import functools
import io
import json
import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, Unpack

import click

from pipeline.cli.flags import told
from pipeline.cli.options import FILE, found_of, video_options
from pipeline.cli.tables import table
from pipeline.cli.values import PredictFlags
from schemas.words import counted

if TYPE_CHECKING:
    from pipeline.learn.predict import Timeline
    from pipeline.learn.runs.run import Run
    from pipeline.predict_videos import Predictions

logger = logging.getLogger(__name__)

DEFAULT_WINDOW = 11


@click.command()
@click.option("--run", "run", type=FILE, required=True, help="The run whose model is asked.")
@video_options
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes are named.")
@click.option("--csv", "csv_file", type=FILE, help="Write the top classes as CSV.")
@click.option("--json", "json_file", type=FILE, help="Write the top classes as JSON.")
@click.option("--timeline", type=FILE, is_flag=False, flag_value="timelines", metavar="[FOLDER]",
              help="Judge every moment; write a CSV and a page with a plot for each video.  [folder: timelines]")
@click.option("--window", type=click.IntRange(1), default=DEFAULT_WINDOW, show_default=True,
              help="Moments around a moment of the timeline that go through the temporal head.")
@click.option("--keep-store", type=FILE, help="Keep the features there, of all streams; a later call goes on with it.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: as the run's features were made]")
@click.option("--weights", type=FILE, help="Weights file, where the run's features were made with one.")
@click.option("--flow-weights", type=FILE, help="Weights file for the flow backbone.")
@click.option("--mixed-software", is_flag=True, help="Accept other versions than the features were made with.")
@click.option("--ray-address", envvar="RAY_ADDRESS", default="", help="A Ray cluster; default: this machine alone.")
@click.option("--workers", type=click.IntRange(0), default=0, help="Shards at a time here.  [default: one a core]")
@click.option("--gpus-per-task", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--retries", type=click.IntRange(0), default=2, show_default=True)
@click.option("--inline", is_flag=True, help="Work in this process, without Ray: quickest for a clip or two.")
@click.option("--quiet", is_flag=True, help="No progress.")
def predict(**options: Unpack[PredictFlags]) -> int:
    """Say what videos show, by a run's model.

    Features are made with the settings kept in the run, and removed afterwards unless --keep-store names a folder.
    Exit code 3: some videos failed or broke off; they are named at the end.
    """
    if options["quiet"]:
        logging.getLogger().setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems end jobs politely, with SIGTERM
    from pipeline.learn.runs.run import Run
    from pipeline.predict_videos import PredictJob, predict_videos

    folder = options["timeline"]
    run = Run.open(options["run"])
    files = {"": options["weights"], "flow": options["flow_weights"]}
    job = PredictJob(
        run=run.root, videos=found_of(options),
        weights={name: file for name, file in files.items() if file},
        device=options["device"] or "", mixed_software=options["mixed_software"], keep=options["keep_store"],
        window=options["window"] if folder else 0,
        engine={"inline": options["inline"], "address": options["ray_address"], "workers": options["workers"],
                "retries": options["retries"], "gpus_per_task": options["gpus_per_task"], "quiet": options["quiet"]})
    _make_room([folder, *(file.parent for file in (options["csv_file"], options["json_file"]) if file is not None)])
    predictions = predict_videos(job, None if folder is None else lambda line: _keep_timeline(line, folder, run))
    _tell(predictions, options["top"])
    if folder is not None and predictions.said:
        click.echo(f"timelines: {folder} (windows of {counted(options['window'], 'moment')}, centred, through the "
                   f"{predictions.head} head of {predictions.row})")
    for file, write in ((options["csv_file"], _write_csv), (options["json_file"], _write_json)):
        if file is not None:
            _written(file, functools.partial(write, predictions=predictions, top=options["top"]))
            click.echo(f"written: {file}")
    return _tell_bad(predictions)


def _make_room(folders: Sequence[Path | None]) -> None:
    """Make the folders of what will be written: one that can not be is found before the videos are extracted."""
    from schemas.disk.files import make_folder

    for folder in folders:
        if folder is not None:
            make_folder(folder)


def _top(predictions: "Predictions", index: int, top: int) -> tuple[tuple[str, float], ...]:
    from pipeline.learn.runs.records import top_classes

    return top_classes(predictions.said[index].probabilities, predictions.classes, top)


def _tell(predictions: "Predictions", top: int) -> None:
    if not predictions.said:
        return
    rows = [[one.video + (" (broke off)" if one.outcome == "partial" else ""), str(one.moments),
             *(f"{name} {100 * value:.1f}" for name, value in _top(predictions, index, top))]
            for index, one in enumerate(predictions.said)]
    places = [f"{place}. %" for place in range(1, len(rows[0]) - 1)]
    click.echo(table(["video", "moments", *places], rows))
    several = "; videos may have several labels, each has its own probability" if predictions.multilabel else ""
    click.echo(f"\n{counted(len(rows), 'video')} by {predictions.row} of {predictions.run}{several}")


def _tell_bad(predictions: "Predictions") -> int:
    for line in predictions.bad.lines():
        click.echo(told(line), err=True)
    for trace in predictions.traces:
        click.echo(f"\nA bug in vidu-pipe; please report it:\n{trace}", err=True)
    for lost in predictions.lost:
        click.echo(told(f"not made: shard {lost.task.shard}: {lost.why}"), err=True)
    if predictions.lost:
        return 1
    return 3 if predictions.bad.failed or predictions.bad.partial else 0


def _write_csv(stream: TextIO, predictions: "Predictions", top: int) -> None:
    count = min(top, len(predictions.classes))
    writer = csv.writer(stream)
    writer.writerow(["video", "path", "outcome", "moments",
                     *(name for place in range(1, count + 1) for name in (f"top{place}", f"p{place}"))])
    for index, one in enumerate(predictions.said):
        cells = (cell for name, value in _top(predictions, index, top) for cell in (name, f"{value:.6f}"))
        writer.writerow([one.video, one.path, one.outcome, one.moments, *cells])


def _write_json(stream: TextIO, predictions: "Predictions", top: int) -> None:
    videos = [{"video": one.video, "path": one.path, "outcome": one.outcome, "moments": one.moments,
               "top": [{"class": name, "p": round(value, 6)} for name, value in _top(predictions, index, top)]}
              for index, one in enumerate(predictions.said)]
    failed = [{"video": one.id, "path": one.path, "reason": one.reason, "message": one.message}
              for one in predictions.bad.failed]
    json.dump({"run": str(predictions.run), "row": predictions.row, "multilabel": predictions.multilabel,
               "videos": videos, "failed": failed}, stream, indent=1)


def _keep_timeline(timeline: "Timeline", folder: Path, run: "Run") -> None:
    from pipeline.report.make import write_page
    from pipeline.report.pages.timeline import timeline_page

    if len(timeline.frame) == 1:
        logger.warning("%s has one moment, so its timeline is one row: the run's features were made with few moments a "
                       "video (--samples, or a large --every); a run on features with more of them shows a course",
                       timeline.video)
    classes, multilabel = run.labels()
    page = timeline_page(timeline, classes, multilabel=multilabel, head=run.model_settings().head)
    write_page(folder / f"{timeline.video}.html", page)

    def write(stream: TextIO) -> None:
        writer = csv.writer(stream)
        writer.writerow(["frame", "pts_s", "said", *classes])
        for frame, pts_s, row in zip(timeline.frame, timeline.pts_s, timeline.probabilities, strict=True):
            writer.writerow([frame, f"{pts_s:.6f}", classes[int(row.argmax())], *(f"{value:.6f}" for value in row)])

    _written(folder / f"{timeline.video}.csv", write)


def _written(path: Path, write: Callable[[TextIO], None]) -> None:
    """Write a text file; names that are no UTF-8 keep their bytes."""
    from schemas.disk.files import make_folder, write_bytes

    text = io.StringIO(newline="")
    write(text)
    make_folder(path.parent)
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))
