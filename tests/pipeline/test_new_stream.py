"""Streams nobody has heard of are planned, extracted, stored, trained on and predicted with: no line knows a name."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest

from pipeline.jobs.job import Job, do_job
from pipeline.jobs.prepare import prepare
from pipeline.learn.learn import learn
from pipeline.learn.request import Request, SplitChoice
from pipeline.learn.settings import TrainSettings
from pipeline.planning.find import find_videos
from pipeline.predict_videos import PredictJob, predict_videos
from schemas.config import ExtractSettings, Sampling
from schemas.disk.shard import open_shard
from schemas.disk.store import Store
from schemas.streams import STREAMS, Needs, Rgb, Stream
from tests.videos import write_video
from workers.streams import EXTRACTORS


@dataclass(frozen=True, slots=True)
class GreyMean(Stream):
    """The mean grey value of the frames from `-reach` to `reach` around a moment."""

    kind: ClassVar[str] = "grey-mean"
    reach: int = field(default=1, kw_only=True)

    def needs(self):
        return Needs(grey=frozenset(range(-self.reach, self.reach + 1)))


@dataclass(frozen=True, slots=True)
class ColourChange(Stream):
    """How the mean colour changes from four frames before a moment to four after it."""

    kind: ClassVar[str] = "colour-change"

    def needs(self):
        return Needs(colour=frozenset({-4, 4}))


class Plain:
    """An extractor without a network: what it makes of pictures is the feature."""

    network = staticmethod(lambda batch: batch)

    def __init__(self, stream, network, settings):
        self.stream = stream

    @staticmethod
    def prepared(stream, device):
        return stream, None


class GreyMeanExtractor(Plain):
    shape = (1,)

    def inputs(self, pictures, frames):
        around = range(-self.stream.reach, self.stream.reach + 1)
        return np.float32([[pictures.grey_at([f + k for k in around]).mean()] for f in frames])


class ColourChangeExtractor(Plain):
    shape = (3,)

    def inputs(self, pictures, frames):
        pairs = [pictures.colour_at([f - 4, f + 4]).astype(np.float32).mean((1, 2)) for f in frames]
        return np.stack([later - earlier for earlier, later in pairs])


@pytest.fixture
def strangers(monkeypatch):
    for stream, extractor in ((GreyMean, GreyMeanExtractor), (ColourChange, ColourChangeExtractor)):
        monkeypatch.setitem(STREAMS, stream.kind, stream)
        monkeypatch.setitem(EXTRACTORS, stream.kind, extractor)


@pytest.fixture
def videos(tmp_path):
    """Clips that grow brighter or darker by 2 a frame."""
    for number in range(8):
        label, slope = (("brighter", 2), ("darker", -2))[number % 2]
        (tmp_path / "videos" / label).mkdir(parents=True, exist_ok=True)
        images = [np.full((36, 48, 3), 120 + number + slope * k, np.uint8) for k in range(40)]
        write_video(tmp_path / "videos" / label / f"v{number}.mkv", images=images, codec="ffv1", pix_fmt="bgr0")
    return tmp_path / "videos"


def rows(store, video, stream):
    (piece,) = next(one for one in store.video_rows() if one.id == video).pieces
    with open_shard(store.shard_path(piece.shard)) as shard:
        return (
            shard.moments(piece.row_start, piece.row_stop)[0],
            shard.features(stream, piece.row_start, piece.row_stop),
        )


@pytest.mark.usefixtures("strangers")
def test_streams_defined_elsewhere_go_all_the_way(videos, tmp_path):
    asked = ExtractSettings(
        sampling=Sampling(every=8),
        short_side_px=36,
        feature_dtype="float32",
        device="cpu",
        streams=(GreyMean(), ColourChange(), GreyMean(name="wide", reach=5)),
    )
    settings, networks = prepare(asked)
    assert ExtractSettings.from_dict(settings.as_dict()) == settings
    out = tmp_path / "store"
    job = Job(videos=find_videos(str(videos)), settings=settings, networks=networks, out=out, inline=True, quiet=True)
    assert not do_job(job).lost
    store = Store.open(out)
    frame, grey = rows(store, "brighter/v0", "grey-mean")
    assert frame.tolist() == [0, 8, 16, 24, 32]
    level = 120 + 2 * np.arange(40)
    means = [[level[np.clip(np.arange(f - reach, f + reach + 1), 0, 39)].mean()] for reach in (1, 5) for f in frame]
    assert np.allclose(np.concatenate([grey, rows(store, "brighter/v0", "wide")[1]]), means, atol=1.5)
    change = rows(store, "darker/v1", "colour-change")[1]
    assert np.allclose(change, np.array([[-8], [-16], [-16], [-16], [-16]]) * np.ones(3), atol=1.5)

    run = learn(
        Request(
            command="train-fusion",
            stores=(out,),
            alone=True,
            fusions=("concat",),
            head="mean",
            split=SplitChoice(folds=2),
            training=TrainSettings(epochs=30, val_fraction=0),
            quiet=True,
        ),
        tmp_path / "run",
    )
    assert run is not None
    said = predict_videos(
        PredictJob(run=tmp_path / "run", videos=find_videos(str(videos)), engine={"inline": True, "quiet": True})
    ).said
    assert len(said) == 8


@pytest.mark.usefixtures("strangers")
def test_a_stream_defined_elsewhere_is_added_to_a_store_that_is_there_already(videos, tmp_path):
    asked = ExtractSettings(
        sampling=Sampling(every=8),
        short_side_px=36,
        feature_dtype="float32",
        device="cpu",
        streams=(GreyMean(), ColourChange()),
    )
    stores = {"both": asked, "old": asked.only(("grey-mean",)), "new": asked.only(("colour-change",))}
    for name, settings in stores.items():
        ready, networks = prepare(settings)
        do_job(
            Job(
                videos=find_videos(str(videos)),
                settings=ready,
                networks=networks,
                out=tmp_path / name,
                inline=True,
                quiet=True,
            )
        )
    answers = []
    for names in (["both"], ["old", "new"]):
        out = tmp_path / f"run of {len(names)}"
        learn(
            Request(
                command="train-fusion",
                stores=tuple(tmp_path / name for name in names),
                fusions=("concat",),
                split=SplitChoice(folds=2),
                training=TrainSettings(epochs=3),
                quiet=True,
            ),
            out,
        )
        found = predict_videos(
            PredictJob(run=out, videos=find_videos(str(videos)), engine={"inline": True, "quiet": True})
        )
        assert len(found.summaries) == 1
        answers.append([(one.video, one.probabilities.tolist()) for one in found.said])
    assert answers[0] == answers[1]


def test_one_kind_of_stream_on_two_networks_lies_in_one_store(world, tmp_path):
    rgb = world.asked.streams[0]
    other = replace(rgb, name="squashed", crop="none")
    both, networks = prepare(replace(world.asked, streams=(rgb, other)))
    found = find_videos(str(world.folder))
    do_job(Job(videos=found, settings=both, networks=networks, out=tmp_path / "both", inline=True, quiet=True))
    for stream in (rgb, other):
        alone, networks = prepare(replace(world.asked, streams=(stream,)))
        do_job(
            Job(videos=found, settings=alone, networks=networks, out=tmp_path / stream.name, inline=True, quiet=True)
        )
        mine, theirs = (
            rows(Store.open(tmp_path / folder), found[0].id, stream.name)[1] for folder in ("both", stream.name)
        )
        assert np.array_equal(mine, theirs)
    assert isinstance(other, Rgb)
