"""Commands that trade with other programs: import, export, fuse."""

from pathlib import Path
from typing import Any

import click

from pipeline.cli.known import KnownOption, feature_files
from schemas.words import counted

PATH = click.Path(path_type=Path)


@click.command("import")
@click.option(
    "--from",
    "sources",
    multiple=True,
    required=True,
    metavar="[STREAM=]DIR",
    cls=KnownOption,
    known=feature_files,
    help="Folder of one file a video ({known}); give it once a stream, as rgb=DIR1, "
    "flow=DIR2, and pts_s=DIR3 with times; or the folder that export wrote.",
)
@click.option("--out", type=PATH, default=Path("features"), show_default=True, help="The new store.")
@click.option(
    "--source",
    default="",
    metavar="WORDS",
    help="What computed the features; a model judges only stores of the same words.  [required, but for what "
    "export wrote]",
)
@click.option(
    "--labels",
    type=PATH,
    help="CSV of path,label[,split][,group].  [default: what export knew, else folder names, when training]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default=None,
    help="How features are stored.  [default: float16 where the files hold that, else float32]",
)
@click.option("--fps", type=float, help="Moments a second, where videos have no pts_s.  [default: unknown]")
@click.option("--shortest", is_flag=True, help="Cut streams of different lengths to the shortest.")
def import_features(sources: tuple[str, ...], out: Path, **options: Any) -> None:  # noqa: ANN401 - click's keywords
    """Make a store from folders of features, (T, D) or (T, ...) a video."""
    from vidu_pipe import import_features as import_them

    folders: dict[str, Path] = {}
    for text in sources:
        stream, _, folder = text.rpartition("=")
        if stream in folders:
            raise click.UsageError(f"two folders for stream {stream or 'features'!r}; name them: rgb=DIR1, flow=DIR2")
        folders[stream] = Path(folder)
    store = import_them(folders, out, **options)
    moments = counted(sum(row["moments"] for row in store.table()), "moment")
    streams = ", ".join(f"{name} ({dim})" for name, dim in store.streams.items())
    click.echo(
        f"{counted(len(store), 'video')}, {moments}, streams: {streams}\n"
        f"store: {out}\nnext: vidu-pipe train-pooling --store {out}"
    )


@click.command("export")
@click.argument("store", type=PATH)
@click.option("--out", type=PATH, required=True, help="A new or empty folder.")
@click.option(
    "--format", "format", default="npy", show_default=True, help="One of {known}.", cls=KnownOption, known=feature_files
)
def export(store: Path, out: Path, **options: Any) -> None:  # noqa: ANN401 - click's keywords
    """Write one file a video: features (T, D) and presentation times."""
    from vidu_pipe import export as export_them

    click.echo(f"{counted(export_them(store, out, **options), 'video')} written to {out}")


@click.command("fuse")
@click.argument("sources", nargs=-1, required=True, metavar="SCORES...")
@click.option(
    "--weights",
    default="equal",
    show_default=True,
    help="equal, numbers as 1,1.5, or fit (each half of the videos is judged with the other half's weights).",
)
@click.option("--normalise", default="relu-l1", show_default=True, help="relu-l1, softmax or none.")
@click.option(
    "--labels", type=PATH, help="CSV of path,label[,split][,group].  [default: the labels in the score files]"
)
@click.option(
    "--group-by",
    default="",
    metavar="REGEX",
    help="What belongs together, found in the video id.  "
    "[default: the group column of --labels, else the runs' or files' groups, else UCF-style names]",
)
@click.option("--common", is_flag=True, help="Go on with the videos that all files have.")
@click.option("--out", type=PATH, help="Write the fused scores, .npz or .csv.")
def fuse(sources: tuple[str, ...], out: Path | None, **options: Any) -> None:  # noqa: ANN401 - click's keywords
    """Fuse class scores of any networks, joined by video name.

    SCORES are FILE.npz, FILE.npz:ARRAY when it holds several, FILE.csv, or a run directory with :ROW.
    """
    from pipeline.cli.tables import fusion_table
    from vidu_pipe import fuse as fuse_them

    click.echo(fusion_table(fuse_them(sources, out=out, **options)))
    if out is not None:
        click.echo(f"\nfused scores: {out}")
