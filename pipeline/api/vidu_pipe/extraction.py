"""Videos become a feature store, or files of optical flow."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from pipeline.jobs.job import Job, Summary, do_job
from pipeline.planning.find import Found, find_files, find_videos
from schemas.config import ExtractSettings, Sampling
from schemas.errors import ResourceError
from schemas.flow_config import FlowFileSettings
from schemas.options import OptionValue
from schemas.plain import Plain
from schemas.streams import Options, Stream, with_weights
from vidu_pipe.features import FeatureStore
from vidu_pipe.options import ExtractOptions, FlowFileOptions
from vidu_pipe.restored import left_as_found

Videos = str | os.PathLike[str] | Iterable[str | os.PathLike[str] | Found]


@left_as_found()
def extract(
    videos: Videos,
    out: str | os.PathLike[str] = "features",
    *,
    streams: Sequence[Stream] | None = None,
    settings: ExtractSettings | None = None,
    every: int | None = None,
    fps: float | None = None,
    samples: int | None = None,
    weights: Mapping[str, str] | None = None,
    incomplete: bool = False,
    root: Path | None = None,
    keep_suffix: bool = False,
    **options: Unpack[ExtractOptions],
) -> FeatureStore:
    """Make a feature store of videos, or go on with one; what is done stays.

        store = extract("videos/", "features", streams=[Rgb("resnet50"), Flow(stack=10)], every=8, workers=2)

    Args:
        videos: a folder, a glob, a text file of paths, a CSV `path,label[,split][,group]`, one video, or several files.
        out: the store's folder.
        streams: what is computed at every moment; None: `Rgb()` and `Flow()`.
        settings: all settings at once; what else is given changes single fields of them.
        every: a moment every N frames.
        fps: moments at this rate, by presentation time.
        samples: this many equally spaced moments per video.
        weights: files of weights by stream name, where they are not the published ones.
        incomplete: return the store even if shards could not be made; `store.summary.lost` names them.
        root: what video ids are relative to; None: the folder.
        keep_suffix: keep suffixes in ids, for one name in several formats.
        options: `short_side_px, upscale, device, precision, feature_dtype` (see `ExtractSettings`), and `inline,
            workers, address, retries, retry_failed, mixed_software, gpus_per_task, shard_frames, quiet, log_json` (see
            `pipeline.jobs.job.Job`).

    Returns:
        the store; `store.summary` says how it went, and names videos that failed or broke off.

    Raises:
        ConfigError: something that is asked for can not be.
        StoreError: the store in `out` was made with other settings or versions, or is damaged.
        ResourceError: the machine lacks something, or shards could not be made.
    """
    from pipeline.jobs.prepare import prepare

    more: Plain = dict(options)
    _refuse_unknown(more)
    found = found_videos(videos, root=root, keep_suffix=keep_suffix)
    asked = _with_fields(settings or ExtractSettings(), more)
    if (every, fps, samples) != (None, None, None):
        asked = replace(asked, sampling=Sampling(every=every, fps=fps, samples=samples))
    if streams is not None:
        asked = replace(asked, streams=tuple(streams))
    if weights:
        asked = replace(asked, streams=with_weights(asked.streams, weights))
    prepared, networks = prepare(asked)
    summary = do_job(Job(videos=found, settings=prepared, networks=networks, out=Path(out), **more))
    _refuse_incomplete(summary, incomplete=incomplete)
    return FeatureStore(summary.features, summary)


_FRAME_FIELDS = ("short_side_px", "upscale", "device", "precision", "feature_dtype")


@left_as_found()
def flow_files(
    videos: Videos,
    out: str | os.PathLike[str],
    *,
    method: str = "tvl1",
    options: Mapping[str, OptionValue] | None = None,
    device: str = "auto",
    incomplete: bool = False,
    root: Path | None = None,
    keep_suffix: bool = False,
    **others: Unpack[FlowFileOptions],
) -> Summary:
    """Write optical flow of videos as images, arrays or `.flo` files, as denseflow lays them out.

    Args:
        videos: as for `extract`.
        out: the folder.
        method: a name of `FLOW_METHODS`.
        options: of the method.
        device: `auto`, `cpu` or `cuda`.
        incomplete: return even if videos could not be made.
        root: as for `extract`.
        keep_suffix: as for `extract`.
        others: `format, bound_px, dtype, every, step, rgb, start_index, short_side_px, upscale` (see
            `FlowFileSettings`), and those of `extract` that say how to go about it.

    Returns:
        how it went.

    Raises:
        ConfigError: something that is asked for can not be.
        StoreError: the folder was made with other settings, or is damaged.
        ResourceError: the machine lacks something, or videos could not be made.
    """
    from workers.devices import resolve_device
    from workers.flow import checked_options

    more: Plain = dict(others)
    given: Options = tuple(sorted((options or {}).items()))
    chosen = resolve_device(device)
    names = FlowFileSettings.__dataclass_fields__
    fields = {name: more.pop(name) for name in tuple(more) if name in names}
    settings = FlowFileSettings.with_defaults(
        method=method, options=checked_options(method, chosen, given), device=chosen, **fields
    )
    found = found_videos(videos, root=root, keep_suffix=keep_suffix)
    _refuse_unknown(more)
    summary = do_job(Job(videos=found, settings=settings, networks={}, out=Path(out), shard_frames=1, **more))
    _refuse_incomplete(summary, incomplete=incomplete)
    return summary


def found_videos(videos: Videos, *, root: Path | None = None, keep_suffix: bool = False) -> list[Found]:
    """Find the videos that are meant.

    Raises:
        ConfigError: there are none, or two share an id.
    """
    if isinstance(videos, str | os.PathLike):
        return find_videos(os.fspath(videos), root=root, keep_suffix=keep_suffix)
    files = list(videos)
    found = [file for file in files if isinstance(file, Found)]
    others = [os.fspath(file) for file in files if not isinstance(file, Found)]
    return found + (find_files(others, root=root, keep_suffix=keep_suffix) if others or not found else [])


def _with_fields(settings: ExtractSettings, more: Plain) -> ExtractSettings:
    """Move the fields of settings out of other options into the settings."""
    given = {name: more.pop(name) for name in _FRAME_FIELDS if name in more}
    return replace(settings.on(given.get("device", settings.device)), **given)


def _refuse_unknown(options: Iterable[str]) -> None:
    from schemas.checks import known

    for name in options:
        known("option", name, (*_FRAME_FIELDS, *Job.__dataclass_fields__))


def _refuse_incomplete(summary: Summary, *, incomplete: bool) -> None:
    if summary.lost and not incomplete:
        first = summary.lost[0]
        raise ResourceError(
            f"{summary.store.out}: {len(summary.lost)} of its shards could not be made; the first: "
            f"{first.why}. What is done is kept; the same call tries the rest again"
        )
