"""Escaping: whatever a name holds, it stays text."""

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.drawing.markup import Markup, escaped, join, name_of, tag
from tests.pipeline.report.pages import parse

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</title></style><b>",
    "&lt;&amp;",
    "a\x00b\x1bc",
    "\u202egnp.elif",
    "שלום/عربي",
    "日本語 🎬",
    "bad\udcff\udcfebytes",
    "--> ]]> {{7*7}} ${x}",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_in_an_element_and_in_an_attribute(name):
    page = parse(tag("p", tag("span", name, title=name), name_of(name)))
    assert [found for found, _ in page.tags] == ["p", "span", "bdi"]
    assert page.attributes("title")[0] == page.text[: len(page.text) // 2]


@given(st.text())
def test_any_text_comes_back_from_the_page_but_for_what_no_page_may_hold(text):
    written = tag("p", text)
    assert "<" not in written.removeprefix("<p>").removesuffix("</p>")
    kept = html.unescape(written.removeprefix("<p>").removesuffix("</p>"))
    assert len(kept) == len(text)
    assert all(a == b or b == "\ufffd" for a, b in zip(text, kept, strict=True))
    written.encode("utf-8")


def test_markup_is_not_escaped_twice_and_text_made_of_it_loses_its_privilege():
    bold = tag("b", "a<b")
    assert tag("p", bold) == "<p><b>a&lt;b</b></p>"
    assert escaped(f"{bold}") == "&lt;b&gt;a&amp;lt;b&lt;/b&gt;"
    assert isinstance(join([bold, "x"]), Markup)


def test_attributes_keep_zero_and_leave_out_none_and_false():
    assert (
        tag("rect", x=0, y=0.0, rx=None, hidden=False, class_="a", stroke_width=1.5, open=True)
        == '<rect x="0" y="0" class="a" stroke-width="1.5" open></rect>'
    )
