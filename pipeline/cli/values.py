"""What click hands over to commands: the value of every option, by its name."""

from pathlib import Path
from typing import TypedDict


class VideoFlags(TypedDict):
    """Values of `video_options`."""

    videos: str
    root: Path | None
    keep_suffix: bool


class SettingsFlags(TypedDict):
    """Values of `settings_options`; None or empty: not given."""

    config: Path | None
    like: Path | None
    every: int | None
    fps: float | None
    samples: int | None
    streams: str | None
    stream_texts: tuple[str, ...]
    short_side: int | None
    upscale: bool | None
    flow: str | None
    flow_options: tuple[str, ...]
    flow_stack: int | None
    flow_bound: float | None
    rgb_backbone: str | None
    flow_backbone: str | None
    rgb_crop: str | None
    flow_crop: str | None
    weights: Path | None
    flow_weights: Path | None
    device: str | None
    precision: str | None
    feature_dtype: str | None


class JobFlags(TypedDict):
    """Values of `run_options`."""

    retry_failed: bool
    mixed_software: bool
    ray_address: str
    workers: int
    gpus_per_task: float
    retries: int
    inline: bool
    quiet: bool
    log_json: Path | None


class ExtractFlags(VideoFlags, SettingsFlags, JobFlags):
    """Of `vidu-pipe extract`."""

    out: Path
    shard_frames: int | None


class PlanFlags(VideoFlags, SettingsFlags):
    """Of `vidu-pipe plan`."""

    out: Path
    shard_frames: int | None
    workers: int | None


class FlowFlags(VideoFlags, JobFlags):
    """Of `vidu-pipe flow`; `videos` is empty when not given."""

    out: Path | None
    format: str
    bound: float | None
    dtype: str | None
    every: int
    step: int
    rgb: bool
    start_index: int
    method: str
    flow_options: tuple[str, ...]
    short_side: int
    upscale: bool
    device: str
    pair: tuple[Path, Path] | None
    preview: Path | None
    scale: float | None


class LearnFlags(TypedDict):
    """Values of the options that all training commands share; None: not given."""

    stores: tuple[Path, ...]
    out: Path | None
    labels: Path | None
    streams: str | None
    min_videos: int
    folds: int | None
    repeats: int
    leave_one_group_out: bool
    group_by: str
    split_files: Path | None
    split_number: int | None
    epochs: int | None
    batch: int | None
    learning_rate: float | None
    weight_decay: float | None
    schedule: str | None
    label_smoothing: float | None
    clip_norm: float | None
    patience: int | None
    val_fraction: float | None
    class_weights: bool | None
    head_options: tuple[str, ...]
    hidden: int
    dropout: float
    seed: int
    seeds: int
    device: str
    threads: int
    memory_gb: float
    report: bool
    tensorboard: bool
    quiet: bool


class PredictFlags(VideoFlags):
    """Of `vidu-pipe predict`."""

    run: Path
    top: int
    csv_file: Path | None
    json_file: Path | None
    timeline: Path | None
    window: int
    keep_store: Path | None
    device: str | None
    weights: Path | None
    flow_weights: Path | None
    mixed_software: bool
    ray_address: str
    workers: int
    gpus_per_task: float
    retries: int
    inline: bool
    quiet: bool
