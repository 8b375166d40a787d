"""Which tiles a module's contractions take, so that no other is compiled.

    shapes([Wanted({128}, {100})], 16, WIDE)        8 lines by 2 and by 3 vectors

The drive of contraction.c.jinja shares lines and vectors out evenly: `gw_share` gives each tile as
many as the next, or one less. So few shapes are ever asked for, and here they are counted out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from codegen.c.views import KernelView, KindView, PlaneView, TilesAlongView, TilesView
from ir.loops import FEW_ROWS

WIDE, NARROW = (8, 8, 8, 6, 4, 4, 3, 3), (8, 6, 4, 3, 2, 2)
"""The most vectors in a tile of 1, 2, 3, … lines: 24 vectors of sums in registers, or 12."""
FLAT = 3  # lines of a tile where sums are short
MACHINES = (
    ("GW_LANES == {}", 16, WIDE),
    ("GW_LANES == {} && defined(__aarch64__)", 4, WIDE),
    ("GW_LANES == {}", 8, NARROW),
    ("", 4, NARROW),
)
"""Each a condition of the preprocessor, the lanes of float32, and the widths of its tiles."""
MACHINES_ALONG = (("defined(__AVX512F__)", 6, 4), ("", 3, 2))
"""The same for lanes along the terms: a condition, the most rows and the most columns of a tile."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The numbers of lines and of columns that a contraction may have; None: any number."""

    lines: frozenset[int]
    columns: frozenset[int] | None
    flat: bool = False


def kinds(kernels: Iterable[KernelView]) -> tuple[KindView, ...]:
    """The kinds of tiles that contractions take, by what their names end in."""
    found = {p.runs.kind for k in kernels for p in k.planes if not p.along}
    return tuple(sorted(found, key=lambda kind: kind.suffix))


def tiles(kernels: Iterable[KernelView], batch: int, real: str) -> tuple[TilesView, ...]:
    """The shapes on each sort of machine, for batches of 1 to `batch`."""
    wanted: dict[str, set[Wanted]] = {}
    for plane in (p for k in kernels for p in k.planes if not p.along):
        wanted.setdefault(plane.runs.kind.suffix, set()).add(_wanted(plane, batch))
    half = 2 if real == "float64" else 1
    return tuple(
        TilesView(
            condition.format(lanes // half),
            max(height * width for height, width in enumerate(widths, 1)),
            widths,
            tuple(
                (suffix, _called(shapes(wanted[suffix], lanes // half, widths)))
                for suffix in sorted(wanted)
            ),
        )
        for condition, lanes, widths in MACHINES
    )


def tiles_along(kernels: Iterable[KernelView], batch: int) -> tuple[TilesAlongView, ...]:
    """The shapes of tiles whose lanes run along the terms."""
    planes = [p for k in kernels for p in k.planes if p.along]
    wanted = {(_wanted(p, batch).lines, p.width) for p in planes}
    return tuple(
        TilesAlongView(condition, rows, columns, _called(_shapes_along(wanted, rows, columns)))
        for condition, rows, columns in MACHINES_ALONG
    )


def _shapes_along(
    wanted: Iterable[tuple[frozenset[int], int]], rows: int, columns: int
) -> set[tuple[int, int]]:
    return {
        (height, width)
        for counts, all_columns in wanted
        for count in counts
        for height in _shared(count, rows)
        for width in _shared(all_columns, columns)
    }


def _called(found: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """what(h, w) for each shape, eight in a line."""
    calls = [f"what({h}, {w})" for h, w in sorted(found)]
    return tuple(" ".join(calls[i : i + 8]) for i in range(0, len(calls), 8))


def _wanted(plane: PlaneView, batch: int) -> Wanted:
    """A thread of several may have any part of the lines, or of the columns."""
    least = FEW_ROWS if plane.few else 1
    rows = range(least, max(batch, least) + 1)
    lines = frozenset(plane.height * n**plane.batches for n in rows)
    columns = frozenset({plane.run})
    if plane.strip:
        pieces = _shared(plane.lines_of_run, plane.strip)
        columns = frozenset((n - 1) * plane.pitch + plane.inner_size for n in pieces)
    if plane.shared and plane.by_columns:
        return Wanted(lines, None, plane.flat)
    lines = frozenset(range(1, max(lines) + 1)) if plane.shared else lines
    return Wanted(lines, columns, plane.flat)


def shapes(
    wanted: Iterable[Wanted], lanes: int, widths: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """Every (lines, vectors) that a tile may have, in order."""
    found = set()
    for one in wanted:
        tallest = FLAT if one.flat else len(widths)
        for heights in {_shared(count, tallest) for count in one.lines}:
            most = widths[(FLAT if one.flat else heights[0]) - 1]
            any_number = range(1, most + 1)
            vectors = any_number if one.columns is None else {-(-c // lanes) for c in one.columns}
            found |= {(h, w) for h in heights for v in vectors for w in _shared(v, most)}
    return tuple(sorted(found))


def _shared(count: int, most: int) -> tuple[int, ...]:
    """The sizes of the parts that `gw_share` makes of so many, the largest first."""
    parts = -(-count // most)
    return tuple(sorted({-(-count // parts), count // parts}, reverse=True))
