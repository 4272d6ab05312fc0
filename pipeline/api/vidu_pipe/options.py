"""The options of the library's functions, typed; each is documented where it is put to use."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from schemas.options import OptionValue

FilePath = str | os.PathLike[str]


class EngineOptions(TypedDict, total=False):
    """How a job is gone about; none of it changes a feature. See `pipeline.jobs.job.Job`."""

    inline: bool
    address: str
    workers: int
    retries: int
    gpus_per_task: float
    quiet: bool


class JobOptions(EngineOptions, total=False):
    """More of `pipeline.jobs.job.Job`."""

    retry_failed: bool
    mixed_software: bool
    log_json: Path | None


class ExtractOptions(JobOptions, total=False):
    """What else decides a feature, see `schemas.config.ExtractSettings`, and how the work is cut."""

    short_side_px: int
    upscale: bool
    device: str
    precision: str
    feature_dtype: str
    shard_frames: int | None


class FlowFileOptions(JobOptions, total=False):
    """What is written, see `schemas.flow_config.FlowFileSettings`; None: the default of the format."""

    format: str
    bound_px: float | None
    dtype: str | None
    every: int
    step: int
    rgb: bool
    start_index: int
    short_side_px: int
    upscale: bool


class TrainOptions(TypedDict, total=False):
    """See `pipeline.learn.request.Request` and `SplitChoice`, and `pipeline.learn.settings.TrainSettings`."""

    # the model
    head: str
    head_options: dict[str, OptionValue]
    fusions: Sequence[str]
    alone: bool
    streams: Sequence[str]
    hidden: int
    dropout: float
    score_weights: str | Sequence[float]
    # labels and their split
    labels: FilePath | None
    folds: int | None
    leave_one_group_out: bool
    repeats: int
    group_by: str
    split_files: FilePath | None
    split_number: int
    min_videos: int
    # training
    epochs: int
    batch: int | None
    learning_rate: float | None
    schedule: str
    weight_decay: float
    label_smoothing: float
    clip_norm: float
    patience: int
    class_weights: bool
    val_fraction: float | None
    # the work
    command: str
    seed: int
    seeds: int
    device: str
    threads: int
    memory_bytes: int
    quiet: bool
