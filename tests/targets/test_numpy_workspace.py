"""The NumPy target's workspace: a step allocates no array, calls at once do not meet, results stay.

NumPy's casting buffers are made as small as they can be, so that what `tracemalloc` sees in a step
is the call's own argument lists and views: a few kilobytes, whatever the size of the arrays.
"""

from __future__ import annotations

import runpy
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradwright as gw

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NETWORKS = {
    "mnist_mlp": lambda found: found["mnist_mlp"],
    "lenet5": lambda found: found["lenet5"],
    "small_gpt": lambda found: found["gpt"](blocks=1, width=32, heads=2, context=16),
}
ROWS = 24


@pytest.fixture(scope="module", params=NETWORKS)
def model(request: Any, tmp_path_factory: Any) -> Any:
    network = NETWORKS[request.param](runpy.run_path(str(EXAMPLES / f"{request.param}.py")))
    return gw.compile(
        network, target="numpy", batch=ROWS, dtype="float32", optimizer=gw.adam(),
        out=tmp_path_factory.mktemp(request.param),
    )  # fmt: skip


@pytest.fixture
def small_buffers() -> Iterator[None]:
    before = np.setbufsize(16)
    yield
    np.setbufsize(before)


def batch(model: Any, seed: int, rows: int = ROWS) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = []
    for name, (declared, dtype) in model.INPUTS.items():
        shape = tuple(rows if isinstance(size, str) else size for size in declared)
        limit = model.INDEX_LIMITS.get(name)
        drawn = rng.random(shape) if limit is None else rng.integers(0, limit, shape)
        found.append(drawn.astype(dtype))
    return found


def test_a_step_allocates_no_array(model: Any, small_buffers: None) -> None:
    params = model.init_params(0)
    state, given = model.init_state(params), batch(model, 0)
    model.train_step(params, state, *given)
    tracemalloc.start()
    model.train_step(params, state, *given)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    model.train_step(params, state, *given)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 12_000
    assert 8 * peak < model.WORKSPACE_BYTES, "so small a workspace would prove nothing"


def test_results_outlive_later_calls(model: Any) -> None:
    params = model.init_params(0)
    loss, grads = model.value_and_grad(params, *batch(model, 1))
    kept = {name: grad.copy() for name, grad in grads.items()}
    outputs = model.forward(params, batch(model, 1)[0])
    first = [output.copy() for output in outputs]
    model.value_and_grad(params, *batch(model, 2))
    model.forward(params, batch(model, 2)[0])
    for name, grad in grads.items():
        np.testing.assert_array_equal(grad, kept[name])
    for output, copy in zip(outputs, first, strict=True):
        np.testing.assert_array_equal(output, copy)
    assert loss == model.value_and_grad(params, *batch(model, 1))[0]


def test_calls_at_once_do_not_meet(model: Any) -> None:
    params = model.init_params(0)
    given = [batch(model, seed, rows) for seed, rows in enumerate((3, ROWS, 1, 7, 2, ROWS))]
    alone = [model.value_and_grad(params, *arrays)[0] for arrays in given]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda arrays: model.value_and_grad(params, *arrays)[0], given * 4)
    assert list(together) == alone * 4
