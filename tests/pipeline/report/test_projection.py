"""The map of features against oracles."""

import numpy as np
import pytest

from pipeline.report.drawing.scatter import CHIPS, scatter_chart
from pipeline.report.facts.projection import FeatureMap, Point, principal
from tests.pipeline.report.pages import assert_self_contained, parse


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_principal_components_are_those_of_the_singular_value_decomposition(shape):
    vectors = np.random.default_rng(0).normal(size=shape)
    places, shares = principal(vectors, 3)
    centred = vectors - vectors.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :3] * values[:3]
    assert np.abs(places) == pytest.approx(np.abs(expected), abs=1e-8)
    assert shares == pytest.approx(values[:3] ** 2 / (values**2).sum())


def test_fewer_videos_than_components_leave_zeros():
    places, shares = principal(np.array([[1.0, 2.0, 3.0]]), 2)
    assert (places == 0).all()
    assert (shares == 0).all()


def chart_of(classes, videos):
    rng = np.random.default_rng(0)
    points = tuple(
        Point(f"v{v}<", f"c{v % classes:03d}", (True, False, None)[v % 3], *rng.random(2)) for v in range(videos)
    )
    return FeatureMap(points, videos, ("rgb",), "across", "up")


@pytest.mark.parametrize("classes", [3, CHIPS + 1, 100])
def test_every_video_is_one_mark_that_names_it_and_every_class_can_be_singled_out(classes):
    page = parse(scatter_chart(chart_of(classes, 300)))
    assert_self_contained_but_marks(page)
    marks = [
        attributes for tag, attributes in page.tags if tag == "use" and "x" in attributes and "%" in attributes["x"]
    ]
    assert len(marks) == 300
    assert sum("wrong" in mark["class"] for mark in marks) == 100
    assert "v7<: c" in page.text
    for k in range(classes):
        assert f".map:has(.l{k}:is(:hover,:focus,:checked)) .map-plot :is(.pt,.place):not(.c{k})" in page.styles
    names = [tag for tag, _ in page.tags]
    assert ("select" in names) == (classes > CHIPS)


def assert_self_contained_but_marks(page):
    assert_self_contained(page)
    ids = set(page.attributes("id"))
    assert {anchor.removeprefix("#") for anchor in page.attributes("href")} <= ids


@pytest.mark.parametrize("count", [4, CHIPS + 4])
def test_of_videos_with_several_labels_every_label_is_one_entry_and_shows_all_its_videos(count):
    rng = np.random.default_rng(0)
    names = [f"label{k:02d}" for k in range(count)]
    members = rng.random((120, count)) < 0.4
    members[:, 0] |= ~members.any(1)
    points = tuple(
        Point(f"v{v}", ";".join(np.array(names)[row]), True, *rng.random(2)) for v, row in enumerate(members)
    )
    page = parse(scatter_chart(FeatureMap(points, 120, ("rgb",), "across", "up")))
    marks = [attributes["class"].split() for tag, attributes in page.tags if tag == "use" and "%" in attributes["x"]]
    assert len(marks) == 120
    entries = [found["class"] for tag, found in page.tags if tag in ("li", "option") and "class" in found]
    assert entries == [f"l{k}" for k in range(count)]
    for k in range(count):
        assert sum(f"c{k}" in classes for classes in marks) == members[:, k].sum()
    rarest = [min(np.flatnonzero(row), key=lambda k: members[:, k].sum()) for row in members]
    assert [classes[1] for classes in marks] == [f"k{k % 8}" for k in rarest]
