"""Rows that run on into the next one: their own elements are right; nothing behind is touched."""

import ctypes
import mmap
from pathlib import Path

import numpy as np
import pytest

import gradwright as gw
from codegen.c.emit import emit
from compiler.driver import lowered
from compiler.schedule import loop_nest

LANES = {"float32": 16, "float64": 8}


def at_the_end_of_a_page(array: np.ndarray) -> tuple[np.ndarray, mmap.mmap]:
    """The array again, the page behind it forbidden."""
    size = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + size), mmap.PAGESIZE, 0) == 0
    copy = np.frombuffer(memory, array.dtype, array.size, size - array.nbytes)
    copy = copy.reshape(array.shape)
    copy[...] = array
    return copy, memory


def layer(terms: int, width: int) -> gw.Network:
    @gw.network
    def rows(x: gw.f64["batch", terms]):
        return gw.outputs(y=gw.dense(x, width, name="fc"))

    return rows


@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("terms", [2, 40])
@pytest.mark.parametrize("width", [4, 10, 16, 17, 100])
def test_few_rows(dtype: str, terms: int, width: int, tmp_path: Path) -> None:
    module = lowered(layer(terms, width), batch=1, dtype=dtype)
    whole = -(-width // LANES[dtype]) * LANES[dtype]
    text = emit(module, loop_nest)["rows.c"]
    runs_on = f"j < {whole}; j++" in text and whole != width
    assert runs_on == (width < whole <= 2 * width)
    rng = np.random.default_rng(width)
    weights, page = at_the_end_of_a_page(rng.standard_normal((terms, width)).astype(dtype))
    params = {"fc.W": weights, "fc.b": np.zeros(width, dtype)}
    for rows in (1, 3):
        model = gw.compile(
            layer(terms, width), target="c", batch=rows, dtype=dtype, out=tmp_path / f"{rows}"
        )
        x = rng.standard_normal((rows, terms)).astype(dtype)
        expected = x.astype("float64") @ weights.astype("float64")
        np.testing.assert_allclose(
            model.forward(params, x).y, expected, rtol=1e-5, atol=64 * np.finfo(dtype).eps
        )
    assert page


def test_what_is_not_finite_stays_in_its_column(tmp_path: Path) -> None:
    model = gw.compile(layer(5, 10), target="c", batch=1, dtype="float32", out=tmp_path)
    weights = np.ones((5, 10), "float32")
    weights[1:, 0] = [np.nan, np.inf, -np.inf, 1]
    y = model.forward({"fc.W": weights, "fc.b": np.zeros(10, "float32")}, np.ones((1, 5), "f4")).y
    assert np.isnan(y[0, 0])
    np.testing.assert_array_equal(y[0, 1:], 5)
