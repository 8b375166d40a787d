"""The tiles that are compiled are those that the loops of contraction.c.jinja ask for."""

from __future__ import annotations

import ctypes
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from codegen.c.emit import emit
from codegen.c.tiles import FLAT, NARROW, WIDE, Wanted, shapes
from compiler.driver import load, lowered
from compiler.schedule import loop_nest
from tests.targets.test_c_runs import runs_of_the_batch

LANES = 4
X86 = (["-mno-avx512f"], ["-mno-avx"]) if platform.machine() == "x86_64" else ()
MACHINES: tuple[list[str], ...] = ([], *X86, ["-DGW_NO_VECTORS"])
NO_TILE = "    default:\n        break;\n"
TOLD = "    default:\n        gw_missing = (int)(height * 16 + width);\n        break;\n"


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


@gw.network
def convolved(x: gw.f32["batch", 2, 12, 10], y: gw.f32["batch", 7]) -> Any:
    h = gw.relu(gw.conv2d(x, 5, 3, padding=1, name="a"))
    h = gw.relu(gw.conv2d(h, 6, 3, stride=2, name="b"))
    return gw.outputs(loss=gw.mse(gw.dense(gw.flatten(h), 7, name="c"), y), h=h)


@gw.network
def dense(x: gw.f32["batch", 120], y: gw.f32["batch", 10]) -> Any:
    h = gw.relu(gw.dense(x, 90, name="a"))
    h = gw.relu(gw.dense(h, 52, name="b"))
    return gw.outputs(loss=gw.mse(gw.dense(h, 10, name="c"), y), h=h)


@gw.network
def updated(x: gw.f32["batch", 120], y: gw.f32["batch", 4], z: gw.f32["batch", 20]) -> Any:
    """Short sums over the batch: of no other contraction's width, by columns and by lines."""
    n, i, j, k = gw.indices("n i j k")
    v, w = gw.param("v", (4, 120), gw.normal()), gw.param("w", (20, 120), gw.normal())
    few = gw.define((n, i), gw.sum(x[n, k] * v[i, k], over=k))
    more = gw.define((n, j), gw.sum(x[n, k] * w[j, k], over=k))
    return gw.outputs(loss=gw.mse(few, y) + gw.mse(more, z), few=few)


STRIPS = ("strip = gw_share(", "gw_tile_along(", "gw_right_panel")
CASES = (
    (convolved, 7, 1, STRIPS),
    (convolved, 7, 3, (*STRIPS, "planes.first", "gw_share(lines.end - row, GW_ROWS)")),
    (dense, 7, 1, ("rows < GW_FEW_ROWS", "gw_right_panel")),
    (dense, 7, 3, ("rows < GW_FEW_ROWS", "done = strips.first")),
    (updated, 16, 1, ("gw_share(height_of_all - row, GW_FLAT)",)),
    (updated, 16, 3, ("done = strips.first", "gw_share(lines.end - row, GW_FLAT)")),
    (runs_of_the_batch, 4, 1, ("height_of_all = rows*rows;",)),
)


@pytest.mark.parametrize(("network", "batch", "threads", "held"), CASES)
def test_no_contraction_asks_for_a_tile_that_is_not_there(
    network: gw.Network,
    batch: int,
    threads: int,
    held: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On any machine, with any number of rows. gw_tile does nothing then; here it tells."""
    monkeypatch.setattr("compiler.contraction.STRIP", 30)  # elements: two lines
    monkeypatch.setattr("codegen.c.assemble.WORTH_A_TEAM", 0)
    module = lowered(network, batch=batch, optimizer=gw.sgd(lr=0.1), threads=threads)
    files = emit(module, loop_nest)
    source = files[f"{module.name}.c"]
    assert all(text in source for text in held)
    assert source.count(NO_TILE) == len(set(re.findall(r"\bvoid (gw_tile\w*)\(", source)))
    files[f"{module.name}.c"] = "int gw_missing;\n" + source.replace(NO_TILE, TOLD)
    for number, flags in enumerate(MACHINES):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        assert missing(folder, module.name, flags) == 0, flags


def missing(folder: Path, name: str, flags: list[str]) -> int:
    """The shape of a tile that is not there, of all calls with every number of rows; or 0."""
    command = ["gcc", "-std=c99", "-O0", "-march=native", "-fopenmp", *flags, "-shared", "-fPIC"]
    command += [f"{name}.c", "-o", f"{name}.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    model: Any = load(folder / f"{name}_c.py")
    params = model.init_params(0)
    for rows in range(1, model.MAX_BATCH + 1):
        given = [np.ones((rows, *s[1:]), dtype) for s, dtype in model.INPUTS.values()]
        model.forward(params, given[0])
        model.value_and_grad(params, *given)
        model.train_step(params, {}, *given)
    return ctypes.c_int.in_dll(ctypes.CDLL(str(folder / f"{name}.so")), "gw_missing").value
