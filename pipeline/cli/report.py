"""`vidu-pipe report` and `vidu-pipe compare`: looking at runs."""

from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import FILE
from pipeline.cli.tables import MAIN_NAMES, table

if TYPE_CHECKING:
    from pipeline.report.facts.compare import Comparison


@click.command()
@click.argument("run", type=FILE)
@click.option("--out", type=FILE, help="The HTML file.  [default: report.html in the run]")
@click.option(
    "--store",
    "stores",
    type=FILE,
    multiple=True,
    help="Where the features are, for the map; given several "
    "times where they lie in several stores.  [default: where they were]",
)
@click.option("--map", default="pca", show_default=True, help="Of the features: pca or tsne.")
@click.option(
    "--mistakes",
    type=click.IntRange(0),
    default=12,
    show_default=True,
    help="How many of the hardest mistakes are shown.",
)
@click.option("--tensorboard", is_flag=True, help="Write the learning curves as event files into the run too.")
def report(
    run: Path,
    out: Path | None,
    stores: tuple[Path, ...],
    map: str,  # noqa: A002 - as the flag
    mistakes: int,
    *,
    tensorboard: bool,
) -> None:
    """Make one HTML file of a run: numbers with intervals, curves, confusions, mistakes with pictures, provenance.

    The file needs no network and no script. Frames are drawn when the videos are still there.
    """
    from vidu_pipe import report as make_report

    path = make_report(run, out, store=stores, map=map, mistakes=mistakes, tensorboard=tensorboard)
    if tensorboard:
        click.echo(f"learning curves: tensorboard --logdir {run / 'tensorboard'}")
    click.echo(f"{path} ({path.stat().st_size / 1024:,.0f} KiB)")


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN[:ROW] RUN[:ROW]...")
@click.option("--html", type=FILE, help="Write the comparison as one HTML file too.")
def compare(runs: tuple[str, ...], html: Path | None) -> None:
    """Put runs side by side on the videos that all of them judged, with a paired test of each two.

    RUN stands for its kept row; RUN:ROW takes another one, as in runs/fusion-1:rgb.
    """
    from pipeline.report.pages.compare_page import summary_of
    from vidu_pipe import compare as compare_them

    comparison = compare_them(runs, html=html)
    click.echo(f"{_contenders(comparison)}\n\n{_pairs(comparison)}\n\n{summary_of(comparison)}")
    if html is not None:
        click.echo(f"page: {html}")


def _contenders(comparison: "Comparison") -> str:
    from pipeline.learn.runs.records import SHOWN
    from pipeline.report.pages.compare_page import varied

    titles = ({"map": "mAP"} if comparison.main == "lrap" else {}) | SHOWN[comparison.main]
    several = any(len(one.seeds) > 1 for one in comparison.contenders)
    header = [
        "run",
        "row",
        f"{MAIN_NAMES[comparison.main]} %",
        "95 % interval",
        *([f"± {varied(comparison)}"] if several else []),
        *titles.values(),
        "judged",
    ]
    return table(
        header,
        [
            [
                one.title,
                one.row,
                f"{100 * one.value:.1f}",
                f"{100 * one.low:.1f} to {100 * one.high:.1f}",
                *([_spread(one.seeds)] if several else []),
                *(f"{100 * one.metrics[name]:.1f}" for name in titles),
                str(one.judged),
            ]
            for one in comparison.contenders
        ],
    )


def _spread(seeds: tuple[float, ...]) -> str:
    return f"{100 * stdev(seeds):.1f}" if len(seeds) > 1 else ""


def _pairs(comparison: "Comparison") -> str:
    several = any(len(one.seeds) > 1 for one in comparison.contenders)
    better = "better" if comparison.main != "top1" else "right more often" if several else "right"
    header = ["pair", "points", "95 % interval", "p", f"only first {better}", f"only second {better}"]
    return table(
        header,
        [
            [
                f"{pair.first} -> {pair.second}",
                f"{100 * pair.difference:+.1f}",
                f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f}",
                f"{pair.p:.2g}",
                str(pair.only_first),
                str(pair.only_second),
            ]
            for pair in comparison.pairs
        ],
    )
