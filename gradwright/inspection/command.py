"""What `gradwright inspect` shows: which of the forms is meant, and its text.

    shown(network, InspectOptions(wrt="fc1.W", form="html", full=True))

Without `wrt`: the program after a pass, the report of all passes, the page of the whole network, or
a picture of it. Options that mean different things together are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import gradwright as gw
from compiler.explain import explain
from compiler.report import report
from gradwright.inspection.page import (
    memory_plan_picture,
    network_page,
    network_picture,
    report_page,
)
from gradwright.inspection.report_text import report_text
from ir.errors import InputError


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """The options of the command, as they were given."""

    wrt: str | None = None
    form: str = "text"
    full: bool = False
    stop_after: str | None = None
    report: bool = False
    batch: int = 128


def shown(network: gw.Network, options: InspectOptions) -> str:
    """The text to print. Raises InputError for options that do not fit together."""
    _check(options)
    if options.wrt is not None:
        return _derivation(network, options.wrt, options)
    if options.report:
        return _report(network, options)
    if options.form == "html":
        return network_page(network, batch=options.batch)
    if options.form == "svg":
        return network_picture(explain(network, batch=options.batch))
    return gw.lower_to_text(network, stop_after=options.stop_after or "lower", batch=options.batch)


def _derivation(network: gw.Network, wrt: str, options: InspectOptions) -> str:
    d = gw.derive(network, wrt=wrt, batch=options.batch)
    if options.form == "text":
        return d.text(full=options.full)
    return d.latex() if options.form == "latex" else d.html()


def _report(network: gw.Network, options: InspectOptions) -> str:
    found = report(network, batch=options.batch)
    if options.form == "svg":
        return memory_plan_picture(found)
    return report_page(found) if options.form == "html" else report_text(found)


def _check(options: InspectOptions) -> None:
    """Refuse what does not fit together, with what would."""
    asked = {
        "--wrt": options.wrt is not None,
        "--stop-after": options.stop_after is not None,
        "--report": options.report,
    }
    given = [name for name, is_given in asked.items() if is_given]
    if len(given) > 1:
        raise InputError(f"{given[0]} and {given[1]} show different things", fix="leave one out")
    if options.stop_after is not None and options.stop_after not in gw.PASSES:
        raise InputError(
            f"there is no pass {options.stop_after}",
            notes=(f"passes, in order: {', '.join(gw.PASSES)}",),
        )
    if options.stop_after is not None and options.form != "text":
        raise InputError("a program is printed as text", fix="leave --format out")
    if options.form == "latex" and options.wrt is None:
        raise InputError(
            "--format latex is a form of a derivation",
            fix="say with --wrt which tensor to derive by",
        )
    if options.form == "svg" and options.wrt is not None:
        raise InputError(
            "--format svg is a picture of the network or of its memory plan",
            fix="leave --wrt out, or use --format html",
        )
    if options.full and (options.wrt is None or options.form != "text"):
        raise InputError(
            "--full is about the text of a derivation", fix="give --wrt, and --format text"
        )
