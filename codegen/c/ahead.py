"""Calls that fetch what a contraction reads next, where it lies here and there in memory.

    gw_ahead(W + (k + 1)*8192, k + 1 < 64 ? 8192 : 0);        the next plane, as one run

Such reads come too late if they are made when a tile asks for them. Copies are made from one end to
the other, which the machine foresees.
"""

from __future__ import annotations

from math import prod

from codegen.c.panels import Printer, known
from ir.expression import Access
from ir.loops import Contract

LARGE_COPY = 2**21  # elements that stay in no cache of one core
SHORTEST, LONGEST = 4096, 65536  # elements of a plane worth fetching; of half a cache


def next_plane(printer: Printer, contract: Contract) -> list[str]:
    """Calls for the operands that are read where they are, and lie plane behind plane."""
    found = []
    for operand in (contract.left, contract.right):
        copied = operand.packed or operand.staging
        count = 0 if copied else _run_of(printer, contract, operand.place)
        if SHORTEST <= count <= LONGEST:
            printer.scalars.helpers.add("gw_ahead")
            plane = contract.outer[-1]
            index = printer.spell(plane.index)
            size = plane.size if isinstance(plane.size, int) else "rows"
            name = printer.buffers[operand.place.tensor]
            length = f"{index} + 1 < {size} ? {count} : 0"
            found.append(f"gw_ahead({name} + ({index} + 1)*{count}, {length});")
    return found


def _run_of(printer: Printer, contract: Contract, place: Access) -> int:
    """The elements of a plane's operand, if planes lie one behind the other; else 0."""
    if not contract.outer or not place.indices:
        return 0
    last = contract.outer[-1].index
    fixed = {r.index for r in (*contract.outer, *contract.terms.blocks)}
    if place.indices[0] != last or any(e.free_symbols & fixed for e in place.indices[1:]):
        return 0
    sizes = printer.scalars.shapes[place.tensor][1:]
    return prod(s for s in sizes if isinstance(s, int)) if known(sizes) else 0


def next_strip(printer: Printer, contract: Contract) -> tuple[str, ...]:
    """Calls that fetch, with each tile's rows, a part of what the next strip of a copy adds."""
    staging = contract.right.staging
    if not contract.strip or staging is None or prod(staging.shape) < LARGE_COPY:
        return ()
    *outer, high, wide = staging.shape
    planes, size = prod(outer), int(contract.columns[0].size)
    printer.scalars.helpers.add("gw_ahead")
    line = f"(line + strip + {high - size})"
    start = f"{printer.buffers[staging.name]} + z*{high * wide} + {line}*{wide}"
    return (
        f"const ptrdiff_t stop = {planes}*(line + strip < {size} ? row + height : 0);",
        f"for (ptrdiff_t z = {planes}*row/height_of_all; z < stop/height_of_all; z++) {{",
        f"    gw_ahead({start}, gw_least(strip, {high} - {line})*{wide});",
        "}",
    )
