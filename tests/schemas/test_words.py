"""Numbers and settings in words; and no message of the house counts by hand."""

import ast
import re
from pathlib import Path

import pytest

from schemas.words import counted, flat, plural

ROOT = Path(__file__).parents[2]
FILES = [path for folder in ("schemas", "workers", "pipeline") for path in sorted((ROOT / folder).rglob("*.py"))]
# What is counted somewhere in the house, each in the plural.
NOUNS = (
    "videos moments stretches classes labels shards frames rows files folders groups seeds folds trainings "
    "weights columns streams fields pairs segments runs packets confusions names lines parameters judgements "
    "workers "
    "recordings times epochs units"
)
_BETWEEN = r"(?:(?!of|with|joins|whose|has|from|and|in|on)[a-z]+ )?"  # at most one word, that tells what kind
_BY_HAND = re.compile(rf"^ {_BETWEEN}(?:{'|'.join(NOUNS.split())})\b")
_LOGGED = re.compile(rf"%d {_BETWEEN}(?:{'|'.join(NOUNS.split())})\b")


def test_one_is_one_and_many_are_many():
    assert [counted(number, "stretch") for number in (0, 1, 2, 1234)] == [
        "0 stretches",
        "1 stretch",
        "2 stretches",
        "1,234 stretches",
    ]
    assert [plural(noun) for noun in ("video", "class", "box", "copy", "day", "pass")] == [
        "videos",
        "classes",
        "boxes",
        "copies",
        "days",
        "passes",
    ]
    assert counted(1, "video has", "videos have") == "1 video has"
    assert counted(2, "video has", "videos have") == "2 videos have"


def test_flat_names_nested_values_by_their_way():
    assert flat({"a": {"b": 1, "c": [2, 3]}, "s": [{"name": "rgb", "k": None}, {"k": ""}], "e": {}, "l": []}) == [
        ("a.b", "1"),
        ("a.c", "2, 3"),
        ("s.rgb.name", "rgb"),
        ("s.rgb.k", "none"),
        ("s.1.k", "none"),
        ("e", "none"),
        ("l", "none"),
    ]
    assert flat({"options": [["tau", 0.25], ["fine", True]]}) == [("options.tau", "0.25"), ("options.fine", "yes")]


def by_hand(tree):
    """Texts in which a number stands before a plural: `f"{n} videos"`, or `"%d videos"` of a log line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for value, after in zip(node.values, node.values[1:], strict=False):
                text = after.value if isinstance(after, ast.Constant) else ""
                if isinstance(value, ast.FormattedValue) and _BY_HAND.match(text):
                    yield ast.unparse(value.value) + text[:24]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _LOGGED.findall(node.value)


@pytest.mark.parametrize("path", FILES, ids=[path.relative_to(ROOT).as_posix() for path in FILES])
def test_no_message_counts_by_hand(path):
    assert list(by_hand(ast.parse(path.read_text()))) == []
