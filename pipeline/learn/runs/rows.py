"""The rows of a run's table: which models a request trains and compares."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.learn.data.targets import Targets
from pipeline.learn.models.fusion import FUSIONS
from pipeline.learn.models.heads import make_head
from pipeline.learn.request import Request
from pipeline.learn.settings import ModelSettings
from schemas.errors import ConfigError
from schemas.plain import Plain
from schemas.words import counted

logger = logging.getLogger(__name__)

PLAIN = "concat"  # of one stream: the classifier over its vector as it is


@dataclass(frozen=True, slots=True)
class Row:
    """One model to train and compare.

    Attributes:
        name: unique in the run.
        model: what it is.
        parts: names of the single-stream rows a late fusion is put together from; empty when it is trained itself.
    """

    name: str
    model: ModelSettings
    parts: tuple[str, ...] = ()

    def as_dict(self) -> Plain:
        """Return the row as plain JSON values."""
        return {"name": self.name, "parts": list(self.parts), "model": self.model.as_dict()}


def make_rows(request: Request, dims: dict[str, int], targets: Targets) -> list[Row]:
    """List the models of a request: the streams alone, then the fusions.

    Raises:
        ConfigError: a head, fusion or option is unknown.
    """
    make_head(request.head, dim=1, **request.head_options)
    unknown = [name for name in request.fusions if name not in FUSIONS]
    if unknown:
        raise ConfigError(f"unknown fusion {unknown[0]!r}; known: {', '.join(FUSIONS)}")
    clash = [name for name in dims if name in FUSIONS]
    if clash:
        raise ConfigError(f"a stream can not be called {clash[0]!r}, which is the name of a fusion")

    def settings(streams: Sequence[str], fusion: str) -> ModelSettings:
        return ModelSettings(
            streams={name: dims[name] for name in streams},
            classes=len(targets.classes),
            multilabel=targets.multilabel,
            head=request.head,
            head_options=request.head_options,
            fusion=fusion,
            hidden=request.hidden,
            dropout=request.dropout,
        )

    if len(dims) == 1:
        if request.alone:
            logger.warning("there is one stream, %s, so there is nothing to fuse", next(iter(dims)))
        elif request.fusions != (PLAIN,):
            raise ConfigError(
                f"`fusions` {','.join(request.fusions)} joins streams, and there is one, "
                f"{next(iter(dims))}: leave `fusions` out"
            )
        return [Row(next(iter(dims)), settings(list(dims), PLAIN))]
    if isinstance(request.score_weights, tuple) and len(request.score_weights) != len(dims):
        raise ConfigError(
            f"{counted(len(request.score_weights), 'score weight')} for {counted(len(dims), 'stream')} "
            f"({', '.join(dims)})"
        )
    late = [name for name in request.fusions if FUSIONS[name].is_late]
    alone = [Row(name, settings([name], PLAIN)) for name in dims] if request.alone or late else []
    return alone + [
        Row(name, settings(list(dims), name), tuple(dims) if name in late else ())
        for name in dict.fromkeys(request.fusions)
    ]
