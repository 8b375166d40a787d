"""Tiles of every kind in one module: sums in pieces, panels and copies, runs, columns to spare.

Tiles are made for sums however small, cut in pieces of six terms and not, so that one call of a
small network comes by every edge of the drive. Each line is named after what it is there for.
"""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from codegen.c.emit import emit
from compiler.driver import load, lowered
from compiler.evaluate import evaluate
from compiler.pipeline import stages
from compiler.schedule import loop_nest
from tests.random_programs_checks import compile_c, tiles_everywhere

MAXIMUM, RATE = 11, 0.125


@gw.network
def tiles(x: gw.f64["batch", 17], image: gw.f64["batch", 3, 7, 9]):
    n, i, j, k, c, o, r, s = gw.indices("n i j k c o r s")
    v, w, p, q = gw.index("v", 19), gw.index("w", 4), gw.index("p", 7), gw.index("q", 9)
    y, z, tap = gw.index("y", 3), gw.index("z", 5), gw.index("tap", 3)
    a = gw.param("a", (19, 17), gw.normal())
    b = gw.param("b", (17, 15), gw.normal())
    kernel = gw.param("kernel", (6, 3, 3, 3), gw.normal())
    taps = gw.param("taps", (5, 3, 2), gw.normal())
    made = {
        "direct": gw.define((n, j), gw.sum(x[n, k] * b[k, j], over=k)),
        "right_panel": gw.define((n, w), gw.sum(x[n, k] * b[k, 3 * w], over=k)),
        "left_panel": gw.define((v, j), gw.sum(a[v, k * 5 % 17] * b[k, j], over=k)),
        "both_panels": gw.define((v, w), gw.sum(a[v, 16 - k] * b[k, 14 - 4 * (w % 4)], over=k)),
        "ends_of_its_own": gw.define(
            (n, w), gw.sum(x[n, (k + tap) % 17] * b[k, w + tap - 1], over=(k, tap))
        ),
        "one_row": gw.define((j,), gw.sum(a[0, k] * b[k, j], over=k)),
        "planes": gw.define(
            (n, o, p, q),
            gw.sum(image[n, c, p + r - 1, q + s - 1] * kernel[o, c, r, s], over=(c, r, s)),
        ),
        "half": gw.define(
            (n, i, y, z),
            gw.sum(image[n, c, 2 * y + r, 2 * z] * taps[i, c, r], over=(c, r)),
        ),
        "padded": gw.define(
            (n, i, y, z),
            gw.sum(image[n, c, 3 * y + r - 1, 2 * z + r - 1] * taps[i, c, r], over=(c, r)),
        ),
        "below_zero": gw.define(
            (n, w), gw.sum(x[n, (w - 3 * r - 1) // 2 + 2] * taps[w, c, r], over=(c, r))
        ),
    }
    parts = []
    for number, t in enumerate(made.values()):
        loops = [gw.index(f"z{number}_{d}", size) for d, size in enumerate(t.shape)]
        parts.append(gw.define((), gw.sum(t[tuple(loops)] ** 2, over=loops)))
    return gw.outputs(loss=gw.define((), sum(part[()] for part in parts)), **made)


@pytest.fixture(scope="module", params=[6, 1024])
def emitted(request: Any, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    folder: Path = tmp_path_factory.mktemp("tiles")
    module = lowered(tiles, batch=MAXIMUM, optimizer=gw.sgd(lr=RATE))
    with tiles_everywhere(request.param):
        files = emit(module, loop_nest)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert all(f"gw_{side}_panel" in files["tiles.c"] for side in ("left", "right"))
    assert ("gw_tile_along(" in files["tiles.c"]) == (request.param > 6)
    assert "/* The columns that fill no vector. */" in files["tiles.c"]
    compile_c(folder, "tiles")
    return load(folder / "tiles_c.py")


@pytest.mark.parametrize("rows", [1, 3, MAXIMUM])
def test_every_tile(emitted: Any, rows: int) -> None:
    rng = np.random.default_rng(rows)
    given = {"x": rng.standard_normal((rows, 17)), "image": rng.standard_normal((rows, 3, 7, 9))}
    params = emitted.init_params(1)
    first, *_, last = (s.program for s in stages(tiles.trace(dtype="float64", batch=MAXIMUM)))
    known, adjoints = (evaluate(p, {**given, **params}, rows) for p in (first, last))
    out = emitted.forward(params, **given)
    for (name, definition), made in zip(first.outputs, out, strict=True):
        np.testing.assert_allclose(made, known[definition], rtol=1e-11, atol=1e-11, err_msg=name)
    _, grads = emitted.value_and_grad(params, **given)
    for name, definition in last.gradients:
        np.testing.assert_allclose(grads[name], adjoints[definition], rtol=1e-10, err_msg=name)


def test_an_epoch_is_its_steps(emitted: Any) -> None:
    """Seven rows in batches of three; an update is made once, not once a piece of its sum."""
    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal((7, 17)), "image": rng.standard_normal((7, 3, 7, 9))}
    order = rng.permutation(7)
    expected, params = (emitted.init_params(1) for _ in range(2))
    losses = emitted.train_epoch(params, {}, *given.values(), order, batch=3)
    for number, first in enumerate((0, 3, 6)):
        rows = {name: array[order[first : first + 3]] for name, array in given.items()}
        loss, grads = emitted.value_and_grad(expected, **rows)
        np.testing.assert_allclose(losses[number], loss, rtol=1e-12)
        for name, gradient in grads.items():
            expected[name] -= RATE * gradient
    for name, array in expected.items():
        np.testing.assert_allclose(params[name], array, rtol=1e-9, err_msg=name)


WIDTHS = (16, 20, 31, 52, 100)  # whole vectors, an overlap in a tile, and an overlap of two tiles


@gw.network
def updated(x: gw.f32["batch", 17]):
    n = gw.index("n", x.shape[0])
    parts = []
    for width in WIDTHS:
        j, k = gw.index(f"j{width}", width), gw.index(f"k{width}", 17)
        w = gw.param(f"w{width}", (17, width), gw.normal())
        y = gw.define((n, j), gw.sum(x[n, k] * w[k, j], over=k))
        parts.append(gw.define((), gw.sum(y[n, j] ** 3, over=(n, j))))
    return gw.outputs(loss=gw.define((), sum(part[()] for part in parts)))


def test_a_tile_adds_an_update_once(tmp_path: Path) -> None:
    """Its last vector takes some of the one before again; a portable build rounds each product."""
    options: dict[str, Any] = {"batch": MAXIMUM, "optimizer": gw.sgd(lr=RATE), "portable": True}
    made = gw.compile(updated, target="c", out=tmp_path, **options)
    assert "0, 1, -lr);" in (tmp_path / "updated.c").read_text(encoding="utf-8")
    x = np.random.default_rng(0).standard_normal((MAXIMUM, 17)).astype(np.float32)
    params = made.init_params(1)
    before = {name: array.copy() for name, array in params.items()}
    _, grads = made.value_and_grad(params, x)
    made.train_step(params, {}, x)
    for name, array in before.items():
        expected = array - np.float32(RATE) * grads[name]
        np.testing.assert_array_equal(params[name], expected, err_msg=name)
        assert not np.array_equal(array, expected)


def test_fetching_the_next_strip_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @gw.network
    def padded(x: gw.f64["batch", 3, 61, 40]):
        return gw.outputs(y=gw.conv2d(x, 9, 3, padding=1, name="conv"))

    x = np.random.default_rng(0).standard_normal((2, 3, 61, 40))
    made, texts = [], []
    for name, large in (("plain", 2**21), ("ahead", 1)):
        monkeypatch.setattr("codegen.c.ahead.LARGE_COPY", large)
        model = gw.compile(padded, target="c", batch=2, out=tmp_path / name)
        made.append(model.forward(model.init_params(0), x).y)
        texts.append((tmp_path / name / "padded.c").read_text(encoding="utf-8"))
    assert ["gw_ahead(gw_right_copy" in text for text in texts] == [False, True]
    np.testing.assert_array_equal(*made)
