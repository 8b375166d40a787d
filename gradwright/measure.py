"""Time a compiled model's own functions on made-up inputs, for `gradwright bench`.

    for timing in measure(model, repeats=30):
        print(timing.name, timing.seconds)

Medians of whole calls from Python, so they hold the cost of the call; one process, inputs in cache
as they are in training. It compares nothing: `benchmarks/` does that.
"""

from __future__ import annotations

import inspect
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradwright.training.model import CompiledModel

_MINIMUM = 0.002
"""A repeat lasts at least this long, well above the clock's resolution: short calls are looped."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The median and the quartiles of one function's seconds a call; `flops` where known."""

    name: str
    seconds: float
    low: float
    high: float
    flops: int | None

    @property
    def gflops(self) -> float | None:
        """Billions of operations a second."""
        return None if self.flops is None else self.flops / self.seconds / 1e9


def measure(model: CompiledModel, repeats: int = 30) -> list[Timing]:
    """`forward`, `value_and_grad` and `train_step` at the model's largest batch.

    Those that the model lacks (no outputs besides the loss, or no loss) are left out.
    """
    params = model.init_params(0)
    state = model.init_state(params)
    inputs = made_up_inputs(model)
    timings = []
    if model.OUTPUTS:
        given = _forward_inputs(model, inputs)
        timings.append(_time("forward", lambda: model.forward(params, *given), repeats, None))
    if model.LOSS is not None:
        values = tuple(inputs.values())
        flops = model.FLOPS_PER_STEP
        timings.append(
            _time("value_and_grad", lambda: model.value_and_grad(params, *values), repeats, None)
        )
        # A rate of zero does the same work and keeps the parameters where they are.
        rate = {"lr": 0.0} if "lr" in model.HYPERPARAMETERS else {}
        timings.append(
            _time(
                "train_step",
                lambda: model.train_step(params, state, *values, **rate),
                repeats,
                flops,
            )
        )
    return timings


def made_up_inputs(model: CompiledModel) -> dict[str, NDArray[Any]]:
    """Uniform numbers in 0..1, and integers within the limits that the model states."""
    draw = np.random.default_rng(0)
    made = {}
    for name, (sizes, dtype) in model.INPUTS.items():
        shape = tuple(model.MAX_BATCH if isinstance(size, str) else size for size in sizes)
        if dtype.startswith("float"):
            made[name] = draw.random(shape).astype(dtype)
        else:
            made[name] = draw.integers(0, model.INDEX_LIMITS.get(name, 1), shape).astype(dtype)
    return made


def _forward_inputs(
    model: CompiledModel, inputs: dict[str, NDArray[Any]]
) -> tuple[NDArray[Any], ...]:
    wanted = inspect.signature(model.forward).parameters
    return tuple(array for name, array in inputs.items() if name in wanted)


def _time(name: str, call: Callable[[], object], repeats: int, flops: int | None) -> Timing:
    call()
    inner = _calls_a_repeat(call)
    seconds = []
    for _ in range(max(repeats, 3)):
        began = time.perf_counter()
        for _ in range(inner):
            call()
        seconds.append((time.perf_counter() - began) / inner)
    low, middle, high = statistics.quantiles(seconds, n=4)
    return Timing(name, middle, low, high, flops)


def _calls_a_repeat(call: Callable[[], object]) -> int:
    began = time.perf_counter()
    call()
    return max(1, int(_MINIMUM / max(time.perf_counter() - began, 1e-9)))


def machine() -> str:
    """One line about what the figures were taken on."""
    python, system = platform.python_version(), platform.system()
    processors = f"{os.cpu_count()} processors, {platform.machine()}"
    return f"{processors}, {system}, Python {python}, NumPy {np.__version__}"
