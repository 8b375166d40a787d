"""What the compiler did, for a terminal: a line a pass, then the memory plan in a line.

print(report_text(report(mnist_mlp, batch=128)))
"""

from __future__ import annotations

from compiler.report import PassReport, Report
from gradwright.inspection.memory_picture import size_text

HEADINGS = ("pass", "definitions", "kernels", "operations", "moved", "workspace", "time")


def report_rows(r: Report) -> list[tuple[str, ...]]:
    """The figures of each pass as text, in the order of HEADINGS."""
    return [_row(p) for p in r.passes]


def _row(p: PassReport) -> tuple[str, ...]:
    return (
        p.after,
        f"{p.definitions:,}",
        f"{p.kernels:,}",
        f"{p.flops:,}",
        size_text(p.bytes),
        size_text(p.workspace),
        f"{p.seconds * 1000:.1f} ms",
    )


def report_text(r: Report) -> str:
    """The table, and what the memory plan saved."""
    rows = [HEADINGS, *report_rows(r)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [f"{r.network}, operations and bytes of one step of {r.batch} rows", ""]
    for name, *figures in rows:
        cells = (f"{f:>{w}}" for f, w in zip(figures, widths[1:], strict=True))
        lines.append("  ".join([f"{name:<{widths[0]}}", *cells]))
    return "\n".join([*lines, "", saving_text(r)])


def saving_text(r: Report) -> str:
    """What reuse saves: the workspace against the sum of all temporaries."""
    plan = r.memory
    text = f"memory {size_text(plan.temporaries)} → {size_text(plan.workspace)}"
    return f"{text}: {len(plan.lifetimes)} temporaries over {len(plan.steps)} loop nests"
