"""What every kind of stream promises; a new line of STREAMS and of EXTRACTORS is held to it by its name alone."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from pipeline.cli.flags import flag_of
from pipeline.cli.settings import parse_stream
from schemas.config import ExtractSettings
from schemas.streams import STREAMS, Stream
from workers.moments import Pictures
from workers.networks.batches import StreamNetwork
from workers.streams import EXTRACTORS, prepared

FRAMES = [12, 20]
SIZE = (40, 56)


@pytest.fixture(scope="module", params=STREAMS)
def made(request):
    """(prepared stream, its extractor)."""
    stream, network = prepared(STREAMS[request.param](), "cpu")
    settings = ExtractSettings(streams=(stream,), device="cpu", short_side_px=SIZE[0])
    return stream, EXTRACTORS[stream.kind](stream, network, settings)


def pictures(frames, methods):
    """Random pictures, each the same however many others there are."""
    draw = {frame: np.random.default_rng(frame + 100) for frame in frames}
    grey = {frame: rng.integers(0, 256, SIZE, np.uint8) for frame, rng in draw.items()}
    colour = {frame: rng.integers(0, 256, (*SIZE, 3), np.uint8) for frame, rng in draw.items()}
    fields = {frame: rng.normal(0, 2, (2, *SIZE)).astype(np.float32) for frame, rng in draw.items()}
    return Pictures(grey, colour, {method: dict(fields) for method in methods}, SIZE)


def test_both_dicts_hold_the_same_kinds_each_under_its_own_name():
    assert set(EXTRACTORS) == set(STREAMS)
    assert {kind: settings.kind for kind, settings in STREAMS.items()} == {kind: kind for kind in STREAMS}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_is_one_frozen_value_in_memory_as_text_and_on_disk(kind):
    stream = STREAMS[kind]()
    assert stream == Stream.from_dict(json.loads(json.dumps(stream.as_dict()))) == parse_stream(kind)
    assert {stream: 1}[STREAMS[kind]()] == 1
    assert replace(stream, name="other").as_dict() == stream.as_dict() | {"name": "other"}
    with pytest.raises(FrozenInstanceError):
        stream.name = "other"


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_says_what_it_looks_at(kind):
    needs = STREAMS[kind]().needs()
    assert needs.grey or needs.colour or any(needs.flow.values())


def test_a_prepared_stream_is_stored_whole_and_prepared_is_as_it_was(made):
    stream, _ = made
    assert Stream.from_dict(json.loads(json.dumps(stream.as_dict()))) == stream
    assert prepared(stream, "cpu")[0] == stream


def test_an_extractor_makes_a_row_a_moment_of_its_shape_and_its_network_a_vector_of_it(made):
    stream, extractor = made
    rows = extractor.inputs(pictures(range(40), stream.needs().flow), FRAMES)
    assert (rows.dtype, rows.shape) == (np.float32, (len(FRAMES), *extractor.shape))
    features = StreamNetwork(stream.name, extractor.network, extractor.shape, "cpu").run(list(rows))
    assert (features.dtype, features.ndim, len(features)) == (np.float32, 2, len(FRAMES))
    assert np.isfinite(features).all()


def test_an_extractor_looks_at_nothing_but_what_its_stream_needs(made):
    stream, extractor = made
    needs = stream.needs()
    everything = pictures(range(40), needs.flow)

    def only(held, offsets):
        return {frame: held[frame] for frame in sorted({frame + offset for frame in FRAMES for offset in offsets})}

    asked = Pictures(
        only(everything.grey, needs.grey),
        only(everything.colour, needs.colour),
        {method: only(everything.flow[method], offsets) for method, offsets in needs.flow.items()},
        SIZE,
    )
    assert np.array_equal(extractor.inputs(asked, FRAMES), extractor.inputs(everything, FRAMES))


def test_a_moment_has_the_same_bits_whatever_other_moments_are_made_with_it(made):
    stream, extractor = made
    shown = pictures(range(40), stream.needs().flow)
    alone = [extractor.inputs(shown, [frame]) for frame in FRAMES]
    assert np.array_equal(extractor.inputs(shown, FRAMES), np.concatenate(alone))


def test_a_message_about_a_field_of_a_kind_with_a_hyphen_tells_its_flag(monkeypatch):
    from pipeline.cli.flags import told

    monkeypatch.setitem(STREAMS, "colour-2-change", STREAMS["rgb"])
    assert flag_of("colour-2-change.bins", None) == "--stream colour-2-change:bins=VALUE"
    assert told("`colour-2-change.bins` is 0") == "--stream colour-2-change:bins=VALUE is 0"
