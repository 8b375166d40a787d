"""One Jinja2 environment for the pages: strict, and everything escaped that is not mathematics.

text = render("page.html.jinja", view)         # the template sees the view as `m`
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("gradwright.inspection", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )


def render(template: str, view: object) -> str:
    """The template's text for a view."""
    return _environment().get_template(template).render(m=view)
