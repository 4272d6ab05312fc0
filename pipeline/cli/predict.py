"""`vidu-pipe predict`: what new videos show, by a run's model."""

import json
import logging
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pipeline.cli.flags import told
from pipeline.cli.options import FILE, found_of, video_options
from pipeline.cli.tables import table
from pipeline.cli.values import PredictFlags
from schemas.words import counted

if TYPE_CHECKING:
    from pipeline.predict_videos import Predictions

DEFAULT_WINDOW = 11


@click.command()
@click.option("--run", "run", type=FILE, required=True, help="The run whose model is asked.")
@video_options
@click.option("--top", type=click.IntRange(1), default=5, show_default=True, help="How many classes are named.")
@click.option("--csv", "csv_file", type=FILE, help="Write the top classes as CSV.")
@click.option("--json", "json_file", type=FILE, help="Write the top classes as JSON.")
@click.option(
    "--timeline",
    type=FILE,
    is_flag=False,
    flag_value="timelines",
    metavar="[FOLDER]",
    help="Judge every moment; write a CSV and a page with a plot for each video.  [folder: timelines]",
)
@click.option(
    "--window",
    type=click.IntRange(1),
    default=DEFAULT_WINDOW,
    show_default=True,
    help="Moments around a moment of the timeline that go through the temporal head.",
)
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
    from vidu_pipe import predict as predict_them

    folder, top = options["timeline"], options["top"]
    files = {"": options["weights"], "flow": options["flow_weights"]}
    _make_room([folder, *(file.parent for file in (options["csv_file"], options["json_file"]) if file is not None)])
    predictions = predict_them(
        options["run"],
        found_of(options),
        keep=options["keep_store"],
        timelines=folder,
        weights={name: file for name, file in files.items() if file},
        device=options["device"] or "",
        mixed_software=options["mixed_software"],
        window=options["window"] if folder else 0,
        address=options["ray_address"],
        inline=options["inline"],
        workers=options["workers"],
        retries=options["retries"],
        gpus_per_task=options["gpus_per_task"],
        quiet=options["quiet"],
    )
    _tell(predictions, top)
    if folder is not None and predictions.said:
        click.echo(
            f"timelines: {folder} (windows of {counted(options['window'], 'moment')}, centred, through the "
            f"{predictions.head} head of {predictions.row})"
        )
    if options["csv_file"]:
        _write_csv(options["csv_file"], predictions, top)
    if options["json_file"]:
        _write_json(options["json_file"], predictions, top)
    for file in (options["csv_file"], options["json_file"]):
        if file is not None:
            click.echo(f"written: {file}")
    return _tell_bad(predictions)


def _make_room(folders: Sequence[Path | None]) -> None:
    """Make the folders of what will be written: one that can not be is found before the videos are extracted."""
    from schemas.disk.files import make_folder

    for folder in folders:
        if folder is not None:
            make_folder(folder)


def _tell(predictions: "Predictions", top: int) -> None:
    if not predictions.said:
        return
    rows = [
        [
            one.video + (" (broke off)" if one.outcome == "partial" else ""),
            str(one.moments),
            *(f"{name} {100 * value:.1f}" for name, value in predictions.top(index, top)),
        ]
        for index, one in enumerate(predictions.said)
    ]
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


def _write_csv(path: Path, predictions: "Predictions", top: int) -> None:
    from schemas.disk.files import write_csv

    count = min(top, len(predictions.classes))
    header = [
        "video",
        "path",
        "outcome",
        "moments",
        *(name for place in range(1, count + 1) for name in (f"top{place}", f"p{place}")),
    ]
    write_csv(
        path,
        [
            header,
            *(
                [
                    one.video,
                    one.path,
                    one.outcome,
                    one.moments,
                    *(cell for name, value in predictions.top(index, top) for cell in (name, f"{value:.6f}")),
                ]
                for index, one in enumerate(predictions.said)
            ),
        ],
    )


def _write_json(path: Path, predictions: "Predictions", top: int) -> None:
    from schemas.disk.files import write_lines

    videos = [
        {
            "video": one.video,
            "path": one.path,
            "outcome": one.outcome,
            "moments": one.moments,
            "top": [{"class": name, "p": round(value, 6)} for name, value in predictions.top(index, top)],
        }
        for index, one in enumerate(predictions.said)
    ]
    failed = [
        {"video": one.id, "path": one.path, "reason": one.reason, "message": one.message}
        for one in predictions.bad.failed
    ]
    write_lines(
        path,
        [
            json.dumps(
                {
                    "run": str(predictions.run),
                    "row": predictions.row,
                    "multilabel": predictions.multilabel,
                    "videos": videos,
                    "failed": failed,
                },
                indent=1,
            )
        ],
    )
