import pytest

from schemas.config import differences
from schemas.errors import ConfigError
from schemas.flow_config import FLOW_FORMATS, FlowFileSettings


def test_settings_survive_their_json():
    settings = FlowFileSettings(
        method="dis", options=(("preset", "fast"),), format="h5", bound_px=None, dtype="float16", every=2, step=3
    )
    again = FlowFileSettings.from_dict(settings.as_dict())
    assert again == settings
    assert again.digest == settings.digest


def test_every_setting_changes_the_digest():
    base = FlowFileSettings()
    others = [
        FlowFileSettings(**one)
        for one in (
            {"method": "dis"},
            {"options": (("preset", "fast"),)},
            {"format": "png"},
            {"bound_px": 15.0},
            {"every": 2},
            {"step": 2},
            {"rgb": True},
            {"start_index": 0},
            {"short_side_px": 224},
            {"upscale": True},
            {"device": "cuda"},
        )
    ]
    assert len({settings.digest for settings in (base, *others)}) == len(others) + 1
    assert differences(base.as_dict(), others[3].as_dict()) == ["bound_px: 20.0, 15.0"]


@pytest.mark.parametrize(
    ("frames", "every", "step", "starts"),
    [
        (5, 1, 1, [0, 1, 2, 3]),
        (5, 2, 1, [0, 2]),
        (6, 2, 1, [0, 2, 4]),
        (6, 1, 3, [0, 1, 2]),
        (7, 3, 3, [0, 3]),
        (1, 1, 1, []),
        (3, 1, 3, []),
        (4, 5, 3, [0]),
    ],
)
def test_pairs_start_at_every_nth_frame_as_long_as_the_second_exists(frames, every, step, starts):
    assert list(FlowFileSettings(every=every, step=step).starts(frames)) == starts


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"format": "gif"}, "jpg, png, flo, npy, h5"),
        ({"every": 0}, "`every`"),
        ({"step": 0}, "`step`"),
        ({"bound_px": 0.0}, "`bound_px`"),
        ({"bound_px": float("nan")}, "`bound_px`"),
        ({"bound_px": None}, "`bound_px`"),
        ({"format": "flo"}, "`bound_px`"),
        ({"format": "h5", "bound_px": None}, "`dtype`"),
        ({"dtype": "float32"}, "`dtype`"),
        ({"format": "npy", "bound_px": None, "dtype": "int8"}, "int8"),
        ({"device": "tpu"}, "cpu, cuda"),
        ({"format": "npy", "bound_px": None, "dtype": "float32", "rgb": True}, "`rgb`"),
        ({"start_index": -1}, "`start_index`"),
        ({"short_side_px": 4}, "`short_side_px`"),
    ],
)
def test_what_can_not_be_is_refused_by_name(wrong, words):
    with pytest.raises(ConfigError, match=words):
        FlowFileSettings(**wrong)


def test_settings_of_another_version_are_refused():
    with pytest.raises(ConfigError, match="this version"):
        FlowFileSettings.from_dict({"format": "jpg"})
    with pytest.raises(ConfigError, match="this version"):
        FlowFileSettings.from_dict(FlowFileSettings().as_dict() | {"colour": 1})


def test_names_carry_denseflows_mark_of_a_step():
    assert FlowFileSettings().step_mark == ""
    assert FlowFileSettings(step=2).step_mark == "_p2"
    assert set(FLOW_FORMATS) == {"jpg", "png", "flo", "npy", "h5"}
