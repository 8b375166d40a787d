"""Reductions along rows, in chunks or whole: every column is reached, padding or not."""

from pathlib import Path

import numpy as np
import pytest

import gradwright as gw


@pytest.mark.parametrize("width", [5, 64, 65, 128, 200])
def test_average_pooling_with_padding(width: int, tmp_path: Path) -> None:
    @gw.network
    def pooled(x: gw.f64["batch", 2, 4, width]):
        return gw.outputs(y=gw.avg_pool2d(x, 3, stride=1, padding=1))

    x = np.random.default_rng(0).standard_normal((2, 2, 4, width))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    for target in ("c", "numpy"):
        model = gw.compile(pooled, target=target, batch=2, out=tmp_path / target)
        np.testing.assert_allclose(model.forward({}, x).y, windows.mean(axis=(4, 5)), atol=1e-14)


@pytest.mark.parametrize("terms", [3, 4, 7, 8])
@pytest.mark.parametrize("width", [256, 257, 2048, 2049])
def test_one_row_by_a_large_matrix(terms: int, width: int, tmp_path: Path) -> None:
    @gw.network
    def layer(x: gw.f64["batch", terms]):
        return gw.outputs(y=gw.dense(x, width, name="fc"))

    model = gw.compile(layer, target="c", batch=1, dtype="float64", out=tmp_path)
    by_fours = "+= fc_W[(k + 3)*" in (tmp_path / "layer.c").read_text(encoding="utf-8")
    assert by_fours == (terms >= 4 and 256 < width <= 2048)
    rng = np.random.default_rng(width)
    params = {"fc.W": rng.standard_normal((terms, width)), "fc.b": rng.standard_normal(width)}
    x = rng.standard_normal((1, terms))
    np.testing.assert_allclose(
        model.forward(params, x).y, x @ params["fc.W"] + params["fc.b"], rtol=1e-12, atol=1e-13
    )
