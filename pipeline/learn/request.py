"""What a training command asks for, all of it, before anything is read."""

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.learn.settings import TrainSettings
from schemas.options import OptionValue


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitChoice:
    """How videos are divided.

    Attributes:
        folds: K for cross-validation, 1 to hold out one fifth, 0 to leave one group out at a time; None: as the labels
            say, else `DEFAULT_FOLDS`.
        group_by: regular expression that finds a video's group in its id.
        files: folder of official split files.
        number: which of those.
        repeats: how often folds are made anew, each time by a seed of its own, which the models start from too.
    """

    folds: int | None = None
    group_by: str = ""
    files: Path | None = None
    number: int = 1
    repeats: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything a training command asks for.

    Attributes:
        command: its name.
        stores: directories of one store, or of several of the same moments; the first one's plan gives labels, splits
            and groups.
        labels: a CSV of labels; None: as in the plan, or by folder.
        min_videos: classes of fewer videos are left out.
        streams: names of the streams; all of all stores when empty.
        head: a name of `HEADS`.
        head_options: its options.
        fusions: names of `FUSIONS`.
        alone: every stream is trained alone too.
        hidden: width of the classifier's hidden layer; 0: linear.
        dropout: in the classifier.
        training: how to train.
        split: how videos are divided.
        seed: of everything.
        seeds: how many seeds, from `seed` on.
        score_weights: of a late fusion: `equal`, `fit`, or numbers.
        device: `auto`, `cpu` or `cuda`.
        threads: of torch.
        memory_bytes: features beyond it are paged from a file.
        quiet: no progress bars.
    """

    command: str
    stores: tuple[Path, ...]
    labels: Path | None = None
    min_videos: int = 1
    streams: tuple[str, ...] = ()
    head: str = "mean"
    head_options: dict[str, OptionValue] = field(default_factory=dict)
    fusions: tuple[str, ...] = ("concat",)
    alone: bool = False
    hidden: int = 0
    dropout: float = 0.5
    training: TrainSettings = field(default_factory=TrainSettings)
    split: SplitChoice = field(default_factory=SplitChoice)
    seed: int = 0
    seeds: int = 1
    score_weights: str | tuple[float, ...] = "equal"
    device: str = "auto"
    threads: int = 1
    memory_bytes: int = 8 << 30
    quiet: bool = False
