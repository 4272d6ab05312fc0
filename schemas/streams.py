"""Streams as values: what kind of feature is computed at every moment, and what of the video it looks at.

A stream's settings are its whole truth. Planning asks a stream how far it looks (`Needs.before`, `Needs.after`), the
decoder asks what pictures it wants, and the worker makes its network's input in `workers/streams/`. Nobody else knows
a stream by name. A new kind of stream is a class here, one line of `STREAMS`, its extractor in a file of its own in
`workers/streams/`, and one line of `EXTRACTORS` there; contract tests run over both dicts.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, TypeVar

from schemas.checks import known, within
from schemas.errors import ConfigError
from schemas.options import OptionValue
from schemas.plain import Plain
from schemas.records import record_of

CROPS = ("network", "none")
ENGINES = ("openvino", "torch")  # what runs a network
DEFAULT_BACKBONE = "tf_efficientnet_lite0"
DEFAULT_FLOW_BOUND_PX = 20.0  # the field's value; how strongly a network sees a pixel of motion is `widened`'s business
REFERENCE_SHORT_SIDE_PX = 256  # `Flow.bound_px` is given for frames of this short side
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
Options = tuple[tuple[str, OptionValue], ...]  # options of a method, (name, value) pairs sorted by name
S = TypeVar("S", bound="Stream")
Offsets = frozenset[int]  # frames, counted from a moment's own frame


def sorted_options(options: Mapping[str, OptionValue] | Iterable[tuple[str, OptionValue]]) -> Options:
    """Return options of a method in the one order in which they are one setting; a mapping is welcome."""
    return tuple(sorted((name, value) for name, value in dict(options).items()))


@dataclass(frozen=True, slots=True)
class FlowMethodSettings:
    """An optical flow method and its options.

    Attributes:
        method: a name of `FLOW_METHODS`.
        options: options of that method, (name, value) pairs sorted by name.
    """

    method: str = "tvl1"
    options: Options = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What of a video streams look at around a moment; at a video's ends the nearest picture stands for missing ones.

    Attributes:
        grey: frames that are wanted in grey.
        colour: frames that are wanted in colour.
        flow: by method, the flow fields that are wanted; field k leads from frame k to frame k + 1.
    """

    grey: Offsets = frozenset()
    colour: Offsets = frozenset()
    flow: Mapping[FlowMethodSettings, Offsets] = field(default_factory=dict)

    @property
    def before(self) -> int:
        """How many frames before a moment are looked at."""
        return max(0, -min(self._frames(), default=0))

    @property
    def after(self) -> int:
        """How many frames after a moment are looked at."""
        return max(0, *self._frames(), 0)

    @property
    def grey_frames(self) -> bool:
        """Whether every frame is wanted in grey, for itself or for flow."""
        return bool(self.grey or self.flow)

    def _frames(self) -> Offsets:
        ends = {end for offsets in self.flow.values() for start in offsets for end in (start, start + 1)}
        return self.grey | self.colour | ends

    def __or__(self, other: "Needs") -> "Needs":
        """Return what both need."""
        flow = dict(self.flow)
        for method, offsets in other.flow.items():
            flow[method] = flow.get(method, frozenset()) | offsets
        return Needs(grey=self.grey | other.grey, colour=self.colour | other.colour, flow=flow)


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of feature, a column of the store.

    Attributes:
        kind: a name of `STREAMS`.
        name: the column's name; empty: the kind's.
    """

    kind: ClassVar[str]
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            ConfigError: it is not made of letters, digits, `_` and `-`.
        """
        object.__setattr__(self, "name", self.name or self.kind)
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"a stream can not be called {self.name!r}: use letters, digits, _ and - in `stream.name`"
            )

    def needs(self) -> Needs:
        """Tell what of a video the stream looks at around a moment."""
        raise NotImplementedError

    def as_dict(self) -> Plain:
        """Return the settings as plain JSON values; what is empty is left out."""
        plain: Plain = {"kind": self.kind}
        for one in fields(self):
            value = getattr(self, one.name)
            if value not in (None, "", ()):
                plain[one.name] = dict(value) if one.name == "options" else value
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, object], where: str = "stream") -> "Stream":
        """Rebuild a stream of any kind from `as_dict`.

        Raises:
            ConfigError: the kind, a field or a value is not known; the message names it by `where`.
        """
        kind = plain.get("kind") if isinstance(plain, Mapping) else None
        if not isinstance(kind, str):
            raise ConfigError(f"{where}: a stream is a table with a kind, one of {', '.join(STREAMS)}")
        settings = STREAMS[known(f"{where} kind", kind, tuple(STREAMS))]
        values = {name: value for name, value in plain.items() if name != "kind"}
        if isinstance(options := values.get("options"), Mapping):
            values["options"] = sorted_options(options)
        return record_of(settings, values, where)


@dataclass(frozen=True, slots=True)
class NetworkStream(Stream):
    """A stream whose features come out of a network that sees pictures.

    Attributes:
        backbone: a name of `BACKBONES`.
        weights: file of the network's weights; empty: the published ones. Never stored: the digest is.
        weights_sha256: digest of the network's tensors, so that the same name with other weights is another setting;
            empty until an extraction is prepared.
        crop: what of a picture the network sees: what its own preprocessing leaves (`network`), or all of it, resized
            to the network's input whatever its shape (`none`).
        engine: what runs the network, one of `ENGINES`: they differ in the last bits. Empty until an extraction is
            prepared, which takes `openvino` on a CPU where the network can be made ready for it.
    """

    backbone: str = DEFAULT_BACKBONE
    weights: str = field(default="", kw_only=True)
    weights_sha256: str = field(default="", kw_only=True)
    crop: str = field(default="network", kw_only=True)
    engine: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ConfigError: one is not known.
        """
        Stream.__post_init__(self)
        object.__setattr__(self, "weights", str(self.weights or ""))  # a path is welcome
        known(f"`{self.kind}.crop`", self.crop, CROPS)
        known(f"`{self.kind}.engine`", self.engine, ("", *ENGINES))


@dataclass(frozen=True, slots=True)
class Rgb(NetworkStream):
    """What a moment shows: its frame in colour."""

    kind: ClassVar[str] = "rgb"

    def needs(self) -> Needs:
        """The moment's own frame, in colour."""
        return Needs(colour=frozenset({0}))


@dataclass(frozen=True, slots=True)
class Flow(NetworkStream):
    """How a moment moves: a stack of L optical flow fields centred on it, as 2L channels (Simonyan & Zisserman 2014).

    Of flow, all of the picture is seen by default: who moves at the side of a picture is part of an action, and empty
    borders cost nothing (log loss of a linear classifier on UT-Interaction 0.85 instead of 0.96, on Weizmann and
    surveillance fights the same; for frames it was better on the first and worse on the other two).

    Attributes:
        method: a name of `FLOW_METHODS`.
        options: options of that method, (name, value) pairs sorted by name.
        stack: L, the number of consecutive fields.
        bound_px: displacement that maps to the end of the network's input range, for frames of short side
            `REFERENCE_SHORT_SIDE_PX`; for other frames it scales with their short side.
    """

    kind: ClassVar[str] = "flow"
    crop: str = field(default="none", kw_only=True)
    method: str = field(default="tvl1", kw_only=True)
    options: Options = field(default=(), kw_only=True)
    stack: int = field(default=10, kw_only=True)
    bound_px: float = field(default=DEFAULT_FLOW_BOUND_PX, kw_only=True)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: a value is out of range.
        """
        NetworkStream.__post_init__(self)
        within("`flow.stack`", self.stack, 1, 1000)
        within("`flow.bound_px`", self.bound_px, 1e-3, 1e6)
        object.__setattr__(self, "bound_px", float(self.bound_px))  # 20 and 20.0 are one setting, so one digest
        object.__setattr__(self, "options", sorted_options(self.options))

    @property
    def motion(self) -> FlowMethodSettings:
        """The method with its options."""
        return FlowMethodSettings(self.method, self.options)

    @property
    def around(self) -> range:
        """The fields of a stack: L of them, centred on the moment."""
        return range(-(self.stack // 2), self.stack - self.stack // 2)

    def needs(self) -> Needs:
        """The fields of the stack, and the one before the moment: at a video's last frame it is all there is."""
        return Needs(flow={self.motion: frozenset({*self.around, -1})})


STREAMS: dict[str, type[Stream]] = {
    "rgb": Rgb,
    "flow": Flow,
}


def with_weights(streams: tuple[Stream, ...], files: Mapping[str, str]) -> tuple[Stream, ...]:
    """Give streams their files of weights.

    Args:
        streams: of an extraction.
        files: by stream name; under an empty name the file of the first stream with a network, and of those on the
            same backbone that have no file of their own.

    Raises:
        ConfigError: a file belongs to no network.
    """
    named = {name: file for name, file in files.items() if name}
    there = [stream.name for stream in streams if isinstance(stream, NetworkStream)]
    for name, file in named.items():
        if name not in there:
            raise ConfigError(
                f"weights {file} belong to stream {name!r}, which is not among those with a network: "
                f"{', '.join(there) or 'none'}"
            )
    streams = tuple(
        changed(stream, weights=named[stream.name]) if stream.name in named else stream for stream in streams
    )
    if "" not in files:
        return streams
    if not there:
        raise ConfigError(f"`weights` {files['']} belongs to no network of this extraction")
    backbone = next(stream.backbone for stream in streams if isinstance(stream, NetworkStream))
    return tuple(
        changed(stream, weights=files[""])
        if isinstance(stream, NetworkStream) and not stream.weights and stream.backbone == backbone
        else stream
        for stream in streams
    )


def changed(stream: S, **values: object) -> S:
    """Return a stream with other values.

    Raises:
        ConfigError: it has no such field; the message names those it has.
    """
    names = tuple(one.name for one in fields(stream))
    for name in values:
        known(f"field of stream {stream.name}", name, names)
    given: Plain = values  # of the fields' own types
    return replace(stream, **given)
