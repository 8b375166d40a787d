"""Reductions along rows, in chunks of 64 columns: every column is reached, padding or not."""

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
