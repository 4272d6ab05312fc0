"""Pages: the templates in `templates/` and the style sheet in `style.css` become self-contained HTML documents."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.report.drawing.charts import percent, with_unit
from pipeline.report.drawing.markup import escaped
from pipeline.report.drawing.palette import STYLE
from schemas.words import counted, plural


def render(template: str, /, **values: object) -> str:
    """Make a page of a template.

    Args:
        template: a file of `templates/`.
        values: what it shows. Whatever is not `Markup` is escaped, and loses the characters that no page may hold.
    """
    return _environment().get_template(template).render(values, style=Markup(STYLE))  # noqa: S704 - our own file


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__name__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: "" if value is None else escaped(value),
    )
    environment.filters |= {
        "counted": counted,
        "plural": plural,
        "percent": percent,
        "unit": with_unit,
        "number": "{:,}".format,
    }
    return environment
