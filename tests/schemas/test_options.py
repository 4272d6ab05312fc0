import pytest

from schemas.errors import ConfigError
from schemas.options import parse_pairs, typed


def test_pairs_are_cut_at_their_first_equals_sign():
    assert parse_pairs("option", ["a=1", "b = x=y"]) == {"a": "1", "b": "x=y"}


@pytest.mark.parametrize("texts", [["a"], ["=1"], ["a=1", "a=2"]])
def test_a_text_that_is_no_pair_is_refused_and_names_the_field(texts):
    with pytest.raises(ConfigError, match="`option`"):
        parse_pairs("option", texts)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", None, 3),
        ("0.25", None, 0.25),
        ("fast", None, "fast"),
        ("3", float, 3.0),
        ("yes", bool, True),
        ("No", bool, False),
        ("12", str, "12"),
        ("7", int, 7),
    ],
)
def test_values_are_of_their_type(text, kind, value):
    assert typed("x", text, kind) == value
    assert type(typed("x", text, kind)) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "words"), [("3.5", int, "a whole number"), ("many", float, "a number"), ("2", bool, "yes or no")]
)
def test_a_value_of_another_type_is_refused(text, kind, words):
    with pytest.raises(ConfigError, match=f"depth: {text!r} is not {words}"):
        typed("depth", text, kind)
