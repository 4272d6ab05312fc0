"""Frozen settings of learning: what a model is, and how it is trained. Plain JSON values in settings.json."""

from dataclasses import asdict, dataclass, field

from schemas.checks import known, within
from schemas.errors import ConfigError
from schemas.options import OptionValue
from schemas.plain import Plain

SCHEDULES = ("one-cycle", "cosine", "constant")
STEPS = 64
VAL_FRACTION = 0.15
VAL_WORTH_IT = 1000  # training videos; below, what is cut is missed more than stopping early gains


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Everything a model is built from; together with its tensors it is the model.

    Attributes:
        streams: stream name -> D.
        classes: C.
        multilabel: videos may have several labels: sigmoid instead of softmax.
        head: a name of `HEADS`, the same for every stream.
        head_options: its options.
        fusion: a name of `FUSIONS`.
        hidden: width of the classifier's hidden layer; 0: the classifier is linear.
        dropout: before each linear layer of the classifier.
    """

    streams: dict[str, int]
    classes: int
    multilabel: bool = False
    head: str = "mean"
    head_options: dict[str, OptionValue] = field(default_factory=dict)
    fusion: str = "concat"
    hidden: int = 0
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: a value is out of range.
        """
        within("`dropout`", self.dropout, 0, 0.95)
        within("`hidden`", self.hidden, 0, 1 << 16)
        if not self.streams:
            raise ConfigError("a model needs at least one stream")

    def as_dict(self) -> Plain:
        """Return the settings as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a model is trained.

    Attributes:
        epochs: passes over the training part, at most.
        batch: videos a step; None: as many as make about `STEPS` steps an epoch, from 32 to 128 (`batch_of`).
        learning_rate: of AdamW (Loshchilov and Hutter 2019), at its highest; None: the head's own.
        schedule: `one-cycle` (Smith and Topin 2017), `cosine` or `constant`.
        weight_decay: of AdamW; biases are left alone.
        label_smoothing: share of a label that is spread over all classes (Szegedy et al. 2016).
        clip_norm: gradients longer than this are scaled down to it; 0: never.
        patience: epochs without a better validation loss after which training stops; 0: never. Epochs count from when
            the schedule has brought the learning rate down (`settled_epoch`).
        class_weights: rare classes count more, so that all classes count the same.
        val_fraction: share of the training part that is kept for early stopping, cut by groups; 0: none; None:
            `VAL_FRACTION` where that leaves enough to trust, else none (`val_share`).
    """

    epochs: int = 60
    batch: int | None = None
    learning_rate: float | None = None
    schedule: str = "one-cycle"
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    patience: int = 0
    class_weights: bool = False
    val_fraction: float | None = None

    def __post_init__(self) -> None:
        """Check names and ranges.

        Raises:
            ConfigError: a value is out of range.
        """
        within("`epochs`", self.epochs, 1, 1e6)
        if self.batch is not None:
            within("`batch`", self.batch, 1, 1e6)
        if self.learning_rate is not None:
            within("`learning_rate`", self.learning_rate, 1e-9, 1e3)
        within("`weight_decay`", self.weight_decay, 0, 1e3)
        within("`label_smoothing`", self.label_smoothing, 0, 0.95)
        within("`clip_norm`", self.clip_norm, 0, 1e9)
        within("`patience`", self.patience, 0, 1e6)
        within("`val_fraction`", self.val_fraction or 0, 0, 0.5)
        known("`schedule`", self.schedule, SCHEDULES)

    def as_dict(self) -> Plain:
        """Return the settings as plain JSON values."""
        return asdict(self)

    def batch_of(self, videos: int) -> int:
        """Return the batch for a training part of so many videos."""
        return self.batch or max(32, min(128, videos // STEPS))

    def val_share(self, videos: int) -> float:
        """Return the share of a training part of so many videos that is cut for validation."""
        if self.val_fraction is not None:
            return self.val_fraction
        return VAL_FRACTION if videos >= VAL_WORTH_IT else 0.0
