"""Commands that learn from a store: train-pooling, train-lstm, train-fusion, evaluate."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from pipeline.cli import known
from pipeline.cli.known import CELLS, KnownOption
from pipeline.cli.options import FILE, stack_options
from pipeline.cli.tables import results_table
from pipeline.cli.values import LearnFlags
from schemas.options import parse_names, parse_pairs

if TYPE_CHECKING:
    from schemas.plain import Plain

data_options = [
    click.option(
        "--store",
        "stores",
        type=FILE,
        multiple=True,
        default=(Path("features"),),
        show_default=True,
        help="Where the features are. Given several times: stores of the same moments, joined; labels, splits "
        "and groups are those of the first.",
    ),
    click.option("--out", type=FILE, help="The run's directory.  [default: runs/<kind>-N]"),
    click.option("--labels", type=FILE, help="CSV of path,label[,split][,group].  [default: the plan's, or folders]"),
    click.option("--streams", help="Comma-separated.  [default: all of the stores]"),
    click.option(
        "--min-videos",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        metavar="N",
        help="Classes of fewer videos are left out.",
    ),
]
split_options = [
    click.option(
        "--folds",
        type=click.IntRange(1),
        help="K-fold cross-validation; 1 holds out one fifth.  [default: the labels' split, else 5]",
    ),
    click.option(
        "--repeats",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Make the folds anew so often, each time with a seed of its own; show mean and spread.",
    ),
    click.option("--leave-one-group-out", is_flag=True, help="As many folds as there are groups."),
    click.option(
        "--group-by",
        default="",
        metavar="REGEX",
        help="What belongs together, found in the video id.  "
        "[default: the group column of --labels, else the plan's, else UCF-style names]",
    ),
    click.option("--split-files", type=FILE, help="Folder of UCF101's or HMDB51's official split files."),
    click.option("--split-number", type=click.IntRange(1, 3), help="Which of their three splits.  [default: 1]"),
]
optimiser_options = [
    click.option(
        "--epochs",
        cls=KnownOption,
        known=known.plain_pools,
        type=int,
        help="Passes over the training part, at most; a linear classifier over a head that learns nothing "
        "({known}) has none.  [default: 60]",
    ),
    click.option("--batch", type=int, help="Videos a step.  [default: 32 to 128, by the number of videos]"),
    click.option(
        "--learning-rate",
        cls=KnownOption,
        known=known.learning_rates,
        type=float,
        help="Of AdamW, at its highest.  [default: {known}]",
    ),
    click.option("--weight-decay", type=float, help="Of AdamW.  [default: 0.05]"),
    click.option("--schedule", help="Of the learning rate: one-cycle, cosine or constant.  [default: one-cycle]"),
    click.option(
        "--label-smoothing", type=float, help="Share of a label that is spread over all classes.  [default: 0.1]"
    ),
    click.option("--clip-norm", type=float, help="Longest gradient; 0: any.  [default: 1.0]"),
    click.option(
        "--patience",
        type=int,
        help="Epochs without a better validation loss before stopping, once the "
        "schedule has brought the learning rate down; 0: never.  [default: 0]",
    ),
    click.option(
        "--val",
        "val_fraction",
        type=float,
        help="Share of training that decides when to stop; 0: none.  [default: 0.15 from 1000 videos on]",
    ),
    click.option("--class-weights", is_flag=True, default=None, help="Rare classes count as much as common ones."),
    click.option(
        "--head-option",
        "head_options",
        cls=KnownOption,
        known=known.options_of_heads,
        multiple=True,
        metavar="NAME=VALUE",
        help="Option of the head.  [{known}]",
    ),
    click.option(
        "--hidden-layer",
        "hidden",
        type=int,
        default=0,
        show_default=True,
        help="Width of the classifier's hidden layer; 0: linear.",
    ),
    click.option("--dropout", type=float, default=0.5, show_default=True),
]
training_options = [
    click.option("--seed", type=int, default=0, show_default=True),
    click.option(
        "--seeds",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Train with so many seeds on the same folds; show mean and spread.",
    ),
    click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    click.option(
        "--threads",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Of torch, and part of what makes a result repeatable; more slow a busy machine down.",
    ),
    click.option(
        "--memory",
        "memory_gb",
        type=float,
        default=8.0,
        show_default=True,
        help="GB of features held in memory; more are paged from a temporary file.",
    ),
    click.option("--report/--no-report", default=True, show_default=True, help="Write the run's report.html."),
    click.option("--tensorboard", is_flag=True, help="Write the learning curves as event files into the run too."),
    click.option("--quiet", is_flag=True, help="No progress bars."),
]
shared_options = stack_options([*data_options, *split_options, *optimiser_options, *training_options])


@click.command("train-pooling")
@click.option("--pool", cls=KnownOption, known=known.pools, default="mean", show_default=True, help="One of {known}.")
@click.option(
    "--fusion",
    cls=KnownOption,
    known=known.fusions,
    default="concat",
    show_default=True,
    help="How streams are joined: one of {known}.",
)
@shared_options
def train_pooling(pool: str, fusion: str, **options: Unpack[LearnFlags]) -> None:
    """Train a classifier over the pooled moments of each video."""
    if pool in CELLS:
        raise click.UsageError(f"{pool} is no pool: vidu-pipe train-lstm --cell {pool}")
    _learn("train-pooling", options, head=pool, fusions=(fusion,), alone=False)


@click.command("train-lstm")
@click.option("--cell", type=click.Choice(CELLS), default="lstm", show_default=True)
@click.option(
    "--fusion",
    cls=KnownOption,
    known=known.fusions,
    default="concat",
    show_default=True,
    help="How streams are joined: one of {known}.",
)
@shared_options
def train_lstm(cell: str, fusion: str, **options: Unpack[LearnFlags]) -> None:
    """Train a recurrent classifier over the moments of each video."""
    _learn("train-lstm", options, head=cell, fusions=(fusion,), alone=False)


@click.command("train-fusion")
@click.option(
    "--head",
    cls=KnownOption,
    known=known.heads,
    default="mean",
    show_default=True,
    help="One of {known}, for every stream.",
)
@click.option(
    "--fusion",
    "fusions",
    cls=KnownOption,
    known=known.fusions,
    default="concat,average,score,gated",
    show_default=True,
    help="Of {known}, comma-separated.",
)
@click.option(
    "--score-weights",
    default="equal",
    show_default=True,
    help="Of late fusion: equal, fit (on validation), or numbers in the order of streams, as 1,1.5.",
)
@shared_options
def train_fusion(head: str, fusions: str, score_weights: str, **options: Unpack[LearnFlags]) -> None:
    """Train every stream alone and their fusions, and tell whether fusion helps."""
    _learn("train-fusion", options, head=head, fusions=parse_names(fusions), score_weights=score_weights)


def _learn(command: str, options: LearnFlags, **more: str | bool | tuple[str, ...]) -> None:
    from vidu_pipe import report as make_report
    from vidu_pipe import train

    flags: Plain = {name: value for name, value in options.items() if value is not None} | more
    store, out, report = flags.pop("stores"), flags.pop("out", None), flags.pop("report")
    flags["head_options"] = parse_pairs("head_options", options["head_options"])
    flags["streams"] = parse_names(options["streams"] or "")
    flags["memory_bytes"] = int(flags.pop("memory_gb") * 1e9)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems end jobs politely, with SIGTERM
    try:
        run = train(store, out, command=command, **flags)
    except KeyboardInterrupt:
        click.echo("\ninterrupted. What is trained is kept; the same command again goes on there.", err=True)
        raise click.exceptions.Exit(130) from None
    click.echo(results_table(run.results))
    click.echo(f"\nrun     {run.root}")
    if report:
        click.echo(f"report  {make_report(run)}")
    if options["tensorboard"]:
        click.echo(f"curves  tensorboard --logdir {run.root / 'tensorboard'}")
    click.echo(f"next    vidu-pipe predict --run {run.root} --videos FOLDER")


@click.command("evaluate")
@click.argument("run", type=FILE)
@click.option(
    "--store",
    "stores",
    type=FILE,
    multiple=True,
    help="Features to judge on; given several times where they lie in several stores.  [default: those of the run]",
)
@click.option(
    "--labels",
    type=FILE,
    help="CSV of path,label[,split][,group].  [default: the run's on its own store, else the plan's, or folders]",
)
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part of the split to judge.  [default: test, or all where no split names one]",
)
@click.option("--out", type=FILE, help="CSV of predictions to write.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def evaluate(
    run: Path, stores: tuple[Path, ...], labels: Path | None, part: str | None, out: Path | None, device: str
) -> None:
    """Judge a run's model on another store, or on a part of its own."""
    from pipeline.cli.tables import evaluation_table
    from vidu_pipe import evaluate as judge

    click.echo(evaluation_table(judge(run, stores, labels=labels, part=part, out=out, device=device)))
