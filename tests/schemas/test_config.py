import json
import tomllib
from dataclasses import asdict, replace

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from schemas.checks import known
from schemas.config import ExtractSettings, Sampling
from schemas.errors import ConfigError
from schemas.streams import Flow, Rgb, Stream
from tests.builders import SETTINGS

gaps = st.lists(st.floats(0.001, 0.5), max_size=80)
samplings = st.one_of(
    st.builds(Sampling, every=st.integers(1, 100)),
    st.builds(Sampling, samples=st.integers(1, 100)),
    st.builds(Sampling, fps=st.floats(0.01, 1000)),
)


def times_of(some_gaps, first=0.0):
    return first + np.cumsum([0.0, *some_gaps])


@given(samplings, gaps, st.floats(-10, 1000))
def test_moments_are_frames_of_the_video_in_order(sampling, some_gaps, first):
    pts_s = times_of(some_gaps, first)
    moments = sampling.moments(pts_s)
    assert moments.dtype == np.int64
    assert len(moments) >= 1
    assert (moments >= 0).all()
    assert (moments < len(pts_s)).all()
    assert (np.diff(moments) >= 0).all()


@given(st.integers(1, 50), st.integers(1, 500))
def test_every_n_takes_the_first_frame_and_each_nth_after_it(every, frames):
    moments = Sampling(every=every).moments(np.arange(frames) / 25)
    assert moments.tolist() == [frame for frame in range(frames) if frame % every == 0]


@given(st.integers(1, 300), st.integers(1, 500))
def test_samples_are_exactly_t_whatever_the_length_and_are_the_middles_of_equal_parts(samples, frames):
    moments = Sampling(samples=samples).moments(np.arange(frames) / 25)
    assert moments.tolist() == [((2 * k + 1) * frames) // (2 * samples) for k in range(samples)]
    assert len(moments) == samples


def on_screen_at(pts_s, time_s):
    return max(i for i, pts in enumerate(pts_s) if pts <= time_s + 1e-7)


@given(
    st.lists(st.integers(1, 40), max_size=40),
    st.sampled_from([0.5, 1, 2, 3, 7.5, 10, 24, 25, 29.97, 60, 100]),
    st.sampled_from([0.0, -1.5, 7.04, 36000.0]),
)
def test_fps_takes_the_frame_on_screen_at_every_beat_of_a_variable_rate_video(gaps_in_hundredths, fps, first):
    pts_s = first + np.cumsum([0, *gaps_in_hundredths]) / 100
    beats, beat = [], 0
    while first + beat / fps <= pts_s[-1] + 1e-7:
        beats.append(first + beat / fps)
        beat += 1
    assert Sampling(fps=fps).moments(pts_s).tolist() == sorted({on_screen_at(pts_s, time) for time in beats})


def test_fps_of_the_video_itself_takes_every_frame_and_half_of_it_every_other():
    for rate in (24, 25, 30, 30000 / 1001, 59.94):
        pts_s = 0.08 + np.arange(5000) / rate
        assert Sampling(fps=rate).moments(pts_s).tolist() == list(range(5000)), rate
        assert Sampling(fps=rate / 2).moments(pts_s).tolist() == list(range(0, 5000, 2)), rate


def test_a_rate_beyond_the_frames_takes_each_once_and_needs_memory_for_frames_only():
    assert Sampling(fps=1e6).moments(np.arange(100_000.0)).tolist() == list(range(100_000))


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"every": 2, "fps": 3.0},
        {"every": 0},
        {"fps": 0.0},
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"samples": -1},
        {"every": 10**20},
    ],
)
def test_sampling_that_can_not_be_is_refused(wishes):
    with pytest.raises(ConfigError, match=r"`sampling\."):
        Sampling(**wishes)


@pytest.mark.parametrize(
    "change",
    [
        {"short_side_px": 1},
        {"device": "tpu"},
        {"precision": "fp8"},
        {"feature_dtype": "int8"},
        {"streams": ()},
        {"streams": SETTINGS.streams[:1] * 2},
    ],
)
def test_settings_that_can_not_be_are_refused(change):
    with pytest.raises(ConfigError):
        replace(SETTINGS, **change)


@pytest.mark.parametrize(
    "change", [{"stack": 0}, {"bound_px": 0.0}, {"bound_px": float("inf")}, {"bound_px": float("nan")}]
)
def test_flow_settings_that_can_not_be_are_refused(change):
    with pytest.raises(ConfigError, match=r"`flow\."):
        Flow(**change)


def test_an_unknown_stream_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="rgb, flow"):
        Stream.from_dict({"kind": "sound", "backbone": "x"})
    with pytest.raises(ConfigError, match="unknown colour 'red'; known: green, blue"):
        known("colour", "red", ("green", "blue"))


words = st.text("abcdefgh", min_size=1, max_size=5)
streams = st.tuples(
    st.builds(Rgb, words, name=st.sampled_from(["", "rgb50"]), weights_sha256=words),
    st.builds(
        Flow,
        words,
        name=st.sampled_from(["", "flow-5"]),
        method=st.sampled_from(["tvl1", "dis"]),
        stack=st.integers(1, 20),
        bound_px=st.floats(0.1, 100),
        options=st.dictionaries(words, st.one_of(st.integers(-99, 99), st.floats(0, 9), words), max_size=3),
    ),
)
settings = st.builds(
    ExtractSettings,
    sampling=samplings,
    short_side_px=st.integers(8, 1000),
    upscale=st.booleans(),
    streams=st.one_of(streams, streams.map(lambda both: both[::-1]), streams.map(lambda both: both[:1])),
    device=st.sampled_from(["auto", "cpu", "cuda"]),
    precision=st.sampled_from(["fp32", "bf16"]),
    feature_dtype=st.sampled_from(["float16", "float32"]),
)


@given(settings)
def test_settings_survive_the_way_through_json(one):
    again = ExtractSettings.from_dict(json.loads(json.dumps(one.as_dict())))
    assert again == one
    assert ExtractSettings.from_dict(tomllib.loads(tomli_w.dumps(one.as_dict()))) == one
    assert again.digest == one.digest
    assert one.differences(again) == []


@given(settings, settings)
def test_digests_are_the_same_exactly_when_the_settings_are_and_every_difference_is_named(one, other):
    assert (one.digest == other.digest) == (asdict(one) == asdict(other))
    assert (one.differences(other) == []) == (one.digest == other.digest)


def test_differences_name_the_setting_and_both_values():
    other = replace(
        SETTINGS,
        short_side_px=64,
        sampling=Sampling(fps=2.0),
        streams=(replace(SETTINGS.streams[0], backbone="resnet18"), SETTINGS.streams[1]),
    )
    assert SETTINGS.differences(other) == [
        "sampling.every: 8, absent",
        "sampling.fps: absent, 2.0",
        "short_side_px: 32, 64",
        "stream.rgb.backbone: test_resnet, resnet18",
    ]
    without_flow = SETTINGS.only(("rgb",))
    assert "stream.flow.stack: 4, absent" in SETTINGS.differences(without_flow)
    assert "stream.flow.backbone: test_resnet, absent" in SETTINGS.differences(without_flow)


def test_one_rate_written_as_whole_number_or_with_a_point_is_one_setting():
    assert replace(SETTINGS, sampling=Sampling(fps=5)).digest == replace(SETTINGS, sampling=Sampling(fps=5.0)).digest
    assert Flow(bound_px=20) == Flow(bound_px=20.0)
    assert (
        ExtractSettings(streams=(Flow(bound_px=20),)).digest == ExtractSettings(streams=(Flow(bound_px=20.0),)).digest
    )


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda plain: plain.update(new_setting=1), "unknown field 'new_setting'; known: sampling, "),
        (lambda plain: plain.update(short_sid_px=1), "unknown field 'short_sid_px'; did you mean short_side_px?"),
        (lambda plain: plain["sampling"].update(every="8"), "`sampling.every`: expected `int"),
        (lambda plain: plain.update(streams=[1]), r"\[\[stream\]\] in TOML"),
        (lambda plain: plain.update(stream=3), r"\[\[stream\]\] in TOML"),
        (lambda plain: plain.update(stream=[1]), r"stream\[0\]: a stream is a table with a kind, one of rgb, flow"),
        (lambda plain: plain["stream"][1].update(stak=1), r"unknown field 'stream\[1\].stak'; did you mean stack?"),
        (lambda plain: plain["stream"][1].update(stack=True), r"`stream\[1\].stack`: expected `int`, got `bool`"),
        (lambda plain: plain["stream"][1].update(kind="sound"), "sound.*known: rgb, flow"),
        (lambda plain: plain.update(sampling=3), "sampling: a table of fields is needed"),
    ],
)
def test_settings_that_are_not_known_are_a_config_error_that_names_the_field(damage, words):
    plain = SETTINGS.as_dict()
    damage(plain)
    with pytest.raises(ConfigError, match=words):
        ExtractSettings.from_dict(plain)


@given(settings)
def test_what_streams_need_is_what_they_reach(one):
    needs = one.needs
    assert (needs.before, needs.after) == (
        max(stream.needs().before for stream in one.streams),
        max(stream.needs().after for stream in one.streams),
    )
    for stream in one.streams:
        if isinstance(stream, Flow):  # field k leads from frame k to frame k + 1
            assert needs.before >= max(stream.stack // 2, 1)
            assert needs.after >= stream.stack - stream.stack // 2


@pytest.mark.parametrize("name", ["a/b", "", " ", "a.b", "é", "-a"])
def test_a_stream_is_called_by_a_plain_word(name):
    if name:
        with pytest.raises(ConfigError, match=r"`stream\.name`"):
            Rgb(name=name)
    assert Rgb(name="").name == "rgb"
