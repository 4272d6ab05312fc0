"""Every clip of the folder of real data gets the outcome it deserves.

`MANIFEST.tsv` there says what each file promises and what PyAV decodes of it; what broken ones deserve is told here.
"""

import csv
from dataclasses import replace

import numpy as np
import pytest

from pipeline.jobs.job import Job, do_job
from pipeline.jobs.prepare import prepare
from pipeline.planning.find import find_videos
from schemas.config import Sampling
from schemas.disk.shard import open_shard
from schemas.disk.store import Store
from schemas.streams import Rgb

SAMPLES = 2
FAILED = {
    "derived/demo_truncated_70pct.mp4": "VideoOpenError",  # its index was at the end
    "derived/nasa_truncated_60pct.mp4": "VideoOpenError",
    "derived/not_a_video.mp4": "VideoOpenError",
    "derived/zero_length.mp4": "VideoOpenError",
    "io/gs-16b-2c-44100hz.mp4": "VideoOpenError",  # sound only
    "small/AudioVideoInterleave.avi": "EmptyVideoError",
    "small/FlashVideo.flv": "VideoOpenError",
    "small/Mpeg4.mp4": "VideoOpenError",
    "small/WindowsMediaVideo.wmv": "EmptyVideoError",
    "small/mp4-with-audio.mp4": "VideoOpenError",
}
PARTIAL = {
    "decord/corrupted.mp4",
    "derived/demo_faststart_truncated_60pct.mp4",
    "derived/v_BaseballPitch_truncated_50pct.avi",
}


@pytest.fixture(scope="module")
def clips(shared_data):
    return shared_data / "clips"


@pytest.fixture(scope="module")
def manifest(shared_data):
    with (shared_data / "MANIFEST.tsv").open() as file:
        return {
            row["path"].removeprefix("clips/"): row
            for row in csv.DictReader(file, delimiter="\t")
            if row["path"].startswith("clips/")
        }


@pytest.fixture(scope="module")
def extracted(clips, world, tmp_path_factory):
    settings, networks = prepare(
        replace(
            world.asked, sampling=Sampling(samples=SAMPLES), short_side_px=96, streams=(Rgb(), world.asked.streams[1])
        )
    )
    job = Job(
        videos=find_videos(str(clips), keep_suffix=True),
        settings=settings,
        networks=networks,
        inline=True,
        quiet=True,
        out=tmp_path_factory.mktemp("clips") / "store",
    )
    return do_job(job)


def test_every_clip_of_the_folder_is_accounted_for(extracted, manifest):
    videos = {video.id for video in extracted.store.video_rows()} | {video.id for video in extracted.failed}
    assert videos == set(manifest)


def test_files_that_are_no_videos_fail_with_the_reason_they_deserve(extracted):
    assert {video.id: video.reason for video in extracted.failed} == FAILED
    assert all(video.id in video.message for video in extracted.failed)


def test_files_cut_short_or_damaged_are_partial_and_all_others_whole(extracted):
    assert {video.id for video in extracted.partial} == PARTIAL
    assert {video.reason for video in extracted.partial} == {"VideoDecodeError"}
    assert (extracted.lost, extracted.traces) == ([], [])


def test_whole_clips_have_the_frames_and_the_size_the_manifest_tells(extracted, manifest):
    for video in extracted.store.books.read_plan().videos:
        if video.id not in PARTIAL:
            row = manifest[video.id]
            assert video.probe.frames == int(row["frames_pyav"]), video.id
            size = int(row["width"]), int(row["height"])
            turned = abs(int(float(row["rotation"]))) % 180 == 90
            assert (video.probe.width, video.probe.height) == (size[::-1] if turned else size), video.id


def test_every_whole_clip_has_exactly_the_samples_asked_for_in_both_streams(extracted, manifest):
    for video in extracted.store.video_rows():
        if video.id not in PARTIAL:
            assert video.moments == SAMPLES, video.id
            frames = int(manifest[video.id]["frames_pyav"])
            (shard,) = {piece.shard for piece in video.pieces}
            with open_shard(extracted.store.shard_path(shard)) as opened:
                rows = [row for piece in video.pieces for row in range(piece.row_start, piece.row_stop)]
                frame, pts_s = opened.moments()
                assert frame[rows].tolist() == [(2 * k + 1) * frames // (2 * SAMPLES) for k in range(SAMPLES)]
                assert (pts_s[rows][1] > pts_s[rows][0]) == (frames > 1)


def test_the_same_film_in_three_codings_has_nearly_the_same_features(extracted):
    rows = []
    for video in extracted.store.video_rows():
        piece = video.pieces[0]
        with open_shard(extracted.store.shard_path(piece.shard)) as shard:
            rows.append(shard.features("rgb", piece.row_start, piece.row_start + 1)[0].astype(float))
    directions = np.array(rows) - np.mean(rows, axis=0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    same = np.array(["big_buck_bunny." in video.id for video in extracted.store.video_rows()])
    assert same.sum() == 3
    nearest, others = (directions[same] @ directions[same].T).min(), (directions[same] @ directions[~same].T).max()
    assert nearest > 0.8
    assert nearest > others + 0.1


def test_the_store_of_real_clips_is_whole(extracted):
    store = Store.open(extracted.store.root)
    shards = [task.shard for task in store.books.read_plan().shards]
    assert [store.trouble(store.books.report(shard)) for shard in shards] == [""] * len(extracted.made)
