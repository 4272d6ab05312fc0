"""Text can be read on its ground, in light pages and in dark ones."""

import re

import numpy as np
import pytest

from pipeline.report.drawing.matrix import confusion_chart
from pipeline.report.drawing.palette import THEMES, blend, contrast, ink_on
from tests.pipeline.report.pages import parse

READABLE = 4.5
INKS = {"black": "#000000", "white": "#ffffff"}


def contrast_of(classes, colour, opacity, prefix):
    """Contrast of a text of these classes over a square, in the theme whose classes begin so."""
    (ink,) = re.findall(rf"\b{prefix}-(black|white)\b", classes)
    colours = THEMES[prefix]
    return contrast(INKS[ink], blend(colours[colour], colours["tile"], opacity))


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the grey that just fails
    assert blend("#ff0000", "#0000ff", 0.25) == "#4000bf"


@pytest.mark.parametrize("prefix", THEMES)
@pytest.mark.parametrize("ground", ["paper", "tile"])
def test_every_ink_of_the_page_can_be_read_on_its_grounds(prefix, ground):
    colours = THEMES[prefix]
    for ink in ("ink", "soft", "blue", "red"):
        assert contrast(colours[ink], colours[ground]) >= READABLE, ink


@pytest.mark.parametrize("prefix", THEMES)
@pytest.mark.parametrize("colour", ["blue", "red"])
def test_there_is_an_ink_for_every_shade(prefix, colour):
    for opacity in np.linspace(0, 1, 201):
        assert contrast_of(ink_on(colour, "tile", opacity), colour, opacity, prefix) >= READABLE, opacity


def test_every_count_in_the_confusion_matrix_can_be_read():
    confusion = [[k, 100 - k] for k in range(1, 100)]
    seen = set()
    for row in confusion:
        page = parse(confusion_chart([row, row[::-1]], ("a", "b")))
        squares = [attributes for tag, attributes in page.tags if tag == "rect" and "fill-opacity" in attributes]
        texts = [attributes["class"] for tag, attributes in page.tags if tag == "text" and "class" in attributes]
        assert len(squares) == len(texts) == 4
        for square, classes in zip(squares, texts, strict=True):
            colour, opacity = {"hit": "blue", "miss": "red"}[square["class"]], float(square["fill-opacity"])
            for prefix in THEMES:
                assert contrast_of(classes, colour, opacity, prefix) >= READABLE
            seen.add((colour, classes))
    assert len(seen) > 4  # both inks in both themes
