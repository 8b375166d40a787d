"""Gradients of random networks: against torch autograd, and NumPy against C, all in float64.

The error of a parameter is its largest deviation over its largest gradient. A gradient that is zero
everywhere fails, since two programs agree on zero for any reason.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradwright as gw
from tests.peers.random_networks import (
    Recipe,
    Twin,
    declare,
    draw,
    numbers,
    parameters,
    well_conditioned,
)

AGAINST_TORCH = 1e-10
NUMPY_AGAINST_C = 1e-12
Gradients = dict[str, np.ndarray]
Record = Callable[[str, float], None]


def compiled(recipe: Recipe, target: str, folder: Path) -> Any:
    return gw.compile(
        declare(recipe), target=target, batch=recipe.rows, dtype="float64", out=str(folder)
    )


def worst(found: Gradients, expected: Gradients) -> float:
    assert list(found) == list(expected)
    assert all(np.any(value) for value in expected.values()), "a gradient is zero everywhere"
    return max(abs(found[k] - v).max() / abs(v).max() for k, v in expected.items())


SEEDS = list(islice(filter(well_conditioned, count()), 20))


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients(seed: int, tmp_path: Path, record: Record) -> None:
    recipe = draw(seed)
    from_numpy, from_c = (compiled(recipe, target, tmp_path) for target in ("numpy", "c"))
    params = parameters(recipe, seed)
    assert recipe.shapes() == from_numpy.PARAM_SHAPES
    x, target = numbers(recipe, seed)
    loss, grads = from_numpy.value_and_grad(params, x, target)
    loss_c, grads_c = from_c.value_and_grad(params, x, target)
    loss_torch, grads_torch = Twin(recipe).value_and_grad(params, x, target)
    grads_torch = {name: grads_torch[name] for name in params}

    errors = {
        "gradients, NumPy target against torch": worst(grads, grads_torch),
        "gradients, C target against torch": worst(grads_c, grads_torch),
        "gradients, NumPy target against C target": worst(grads, grads_c),
    }
    for name, error in errors.items():
        record(name, error)
        assert error <= (NUMPY_AGAINST_C if "C target" in name[-8:] else AGAINST_TORCH), name
    assert loss == pytest.approx(loss_torch, rel=1e-12)
    assert loss_c == pytest.approx(loss, rel=1e-13)
