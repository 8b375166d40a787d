"""What `gradwright bench` prints: the functions of a model, then its kernels, as tables or JSON.

    console.print(functions_table(timings))
    console.print(kernels_table(kernels, 20))
    as_json(model, timings, kernels, limits)

Tables fit 100 columns. The limit of a kernel is the larger of its operations at the machine's
multiply-add peak and its bytes at the bandwidth of a working set of that size.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from gradwright.kernel_times import KernelTime
from gradwright.machine import Limits
from gradwright.measure import Timing, machine
from gradwright.training.model import CompiledModel

WIDTH = 100
EQUATION = 44


def limits_line(limits: Limits | None) -> str:
    """`one core: 229 GFLOP/s in multiply-adds; reads 226 GB/s in 0.5 MB, ...`."""
    if limits is None:
        return "limits unknown: no C compiler found to measure them with"
    small, large = limits.copying[3], limits.copying[-1]
    return (
        f"one core: {limits.peak / 1e9:.0f} GFLOP/s in multiply-adds,"
        f" copies {small[1] / 1e9:.0f} GB/s within {small[0] / 2**20:.1f} MB"
        f" and {large[1] / 1e9:.0f} GB/s within {large[0] / 2**20:.0f} MB"
    )


def functions_table(timings: Sequence[Timing]) -> Table:
    """A line a function: median and quartiles of a call from Python."""
    table = _table("function", "us", "quartiles", "GFLOP/s")
    for t in timings:
        rate = "" if t.gflops is None else f"{t.gflops:.2f}"
        quartiles = f"{t.low * 1e6:.1f} to {t.high * 1e6:.1f}"
        table.add_row(t.name, f"{t.seconds * 1e6:.1f}", quartiles, rate)
    return table


def kernels_table(kernels: Sequence[KernelTime], top: int) -> Table:
    """A line a kernel, the slowest first; those after `top` in one line, and the sum."""
    table = _table("kernel", "Mflop", "kB", "us", "time", "GFLOP/s", "of limit")
    whole = sum(k.seconds for k in kernels)
    for k in kernels[:top]:
        table.add_row(_kernel_text(k), *_figures([k], whole), end_section=False)
    rest = kernels[top:]
    if rest:
        table.add_row(f"{len(rest)} more", *_figures(rest, whole))
    table.add_section()
    table.add_row(f"all {len(kernels)}, one after another", *_figures(kernels, whole))
    return table


def _table(first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, width=None)
    table.add_column(first, width=EQUATION, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _kernel_text(kernel: KernelTime) -> str:
    """Its first equation within two lines, how many more, and the user's line."""
    text, room = kernel.equations[0], 2 * EQUATION
    text = text if len(text) <= room else text[: room - 3] + "..."
    more = len(kernel.equations) - 1
    remarks = [f"and {more} fused" if more else "", kernel.origin]
    return text + "\n  " + ", ".join(r for r in remarks if r)


def _figures(kernels: Sequence[KernelTime], whole: float) -> tuple[str, ...]:
    seconds = sum(k.seconds for k in kernels)
    operations = sum(k.cost.operations for k in kernels)
    moved = sum(k.cost.read + k.cost.written for k in kernels)
    return (
        f"{operations / 1e6:.2f}",
        f"{moved / 1e3:.0f}",
        f"{seconds * 1e6:.1f}",
        f"{seconds / whole:.0%}",
        f"{operations / seconds / 1e9:.1f}",
        f"{sum(k.limit for k in kernels) / seconds:.0%}",
    )


def as_json(
    model: CompiledModel,
    timings: Sequence[Timing],
    kernels: Sequence[KernelTime],
    limits: Limits | None,
) -> str:
    """Everything in the tables, in seconds, operations and bytes."""
    found: dict[str, Any] = {
        "name": model.NAME,
        "target": model.TARGET,
        "dtype": model.DTYPE,
        "batch": model.MAX_BATCH,
        "machine": machine(),
        "limits": limits and asdict(limits),
        "functions": [asdict(t) for t in timings],
        "kernels": [
            asdict(k) | {"gflops": k.gflops, "share": k.share}  # both are computed
            for k in kernels
        ],
    }
    return json.dumps(found, indent=2)
