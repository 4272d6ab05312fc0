"""Reads a page as a browser does: a tree of tags that must close in order, its text, its addresses."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "input", "link", "col"}


@dataclass
class Page(HTMLParser):
    """What is in a page.

    Attributes:
        tags: (name, attributes) of every start tag.
        text: all text but style sheets.
        styles: text of style sheets.
        open: tags that are open; empty after a whole page.
    """

    tags: list = field(default_factory=list)
    text: str = ""
    styles: str = ""
    open: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> is out of order"

    def handle_data(self, data):
        if "style" in self.open:
            self.styles += data
        else:
            self.text += data

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def parse(text: str) -> Page:
    """Parse a whole page; everything must be closed."""
    page = Page()
    page.feed(f"{text}")  # plain text, also of Markup
    page.close()
    assert not page.open
    return page


def assert_self_contained(page: Page) -> None:
    """Nothing in the page leads out of it: no script, no address but its own anchors and data."""
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert all(value.startswith("data:image/") for value in page.attributes("src"))
    assert all(value.startswith("#") for value in page.attributes("href"))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "url(" not in page.styles
    assert "@import" not in page.styles
    assert "http" not in page.styles
