"""The tiles that are compiled are those that the loops of contraction.c.jinja ask for."""

from __future__ import annotations

import pytest

from codegen.c.tiles import FLAT, NARROW, WIDE, Wanted, shapes

LANES = 4


def shared(left: int, most: int) -> int:
    """`gw_share` of vectors.c.jinja."""
    tiles = (left + most - 1) // most
    return (left + tiles - 1) // tiles


def walked(
    lines: int, columns: int, widths: tuple[int, ...], flat: bool = False
) -> set[tuple[int, int]]:
    """The tiles that the drive takes, one by one."""
    vectors = -(-columns // LANES)
    tallest = FLAT if flat else len(widths)
    widest = widths[(FLAT if flat else shared(lines, tallest)) - 1]
    found, done = set(), 0
    while done < vectors:
        width = shared(vectors - done, widest)
        row = 0
        while row < lines:
            height = shared(lines - row, tallest)
            found.add((height, width))
            row += height
        done += width
    return found


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("widths", [WIDE, NARROW])
def test_every_tile_that_is_taken_is_there_and_no_other(
    widths: tuple[int, ...], flat: bool
) -> None:
    most = max(height * width for height, width in enumerate(widths, 1))
    for lines in range(1, 80):
        for columns in range(1, 40 * LANES, 3):
            wanted = Wanted(frozenset({lines}), frozenset({columns}), flat)
            found = set(shapes([wanted], LANES, widths))
            assert found == walked(lines, columns, widths, flat)
            assert all(height * width <= most for height, width in found)


@pytest.mark.parametrize("widths", [WIDE, NARROW])
def test_any_part_of_the_columns(widths: tuple[int, ...]) -> None:
    for lines in range(1, 40):
        found = set(shapes([Wanted(frozenset({lines}), None)], LANES, widths))
        taken = (walked(lines, columns, widths) for columns in range(1, 60 * LANES))
        assert found == set().union(*taken)
