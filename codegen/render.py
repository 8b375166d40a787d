"""One Jinja2 environment for every template: strict, and silent about whitespace.

    text = render("c", "module.c.jinja", view)

A template sees one frozen dataclass of strings and sequences of them (a view) and uses only for,
if, include and macros: every decision was made before it. A name that the view lacks is an error.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def environment(target: str) -> Environment:
    """The templates of `codegen/<target>/`."""
    return Environment(
        loader=PackageLoader("codegen", target),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render(target: str, template: str, view: object) -> str:
    """The template's text for a view, which it sees as `m`."""
    return environment(target).get_template(template).render(m=view)
