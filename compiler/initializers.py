"""How parameters start. Each is a small description; the emitted `init_params` draws the numbers.

    W = gw.param("W", (784, 100), init=gw.he_normal())

The fans of a shape are those of PyTorch: dimension 0 of a matrix here is the input, so a dense
layer's W[k, j] has fan-in 784 and fan-out 100; further dimensions of a kernel multiply both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from ir.errors import ShapeError
from ir.program import Initializer

Init: TypeAlias = Callable[[tuple[int, ...]], Initializer]


def zeros() -> Init:
    """All zeros."""
    return lambda shape: Initializer("zeros")


def constant(value: Any) -> Init:
    """Given numbers: a scalar for every element, or an array of the parameter's shape."""
    given, numbers = _array(value)

    def make(shape: tuple[int, ...]) -> Initializer:
        if given not in ((), shape):
            raise ShapeError(f"constant() has shape {given}, the parameter {shape}")
        return Initializer("constant", numbers)

    return make


def _array(value: Any) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The shape and the elements, row-major. A plain number need not wait for NumPy's import."""
    if isinstance(value, (int, float)):
        return (), (float(value),)
    import numpy as np

    array = np.asarray(value, dtype=np.float64)
    return array.shape, tuple(array.ravel().tolist())


def uniform(low: float, high: float) -> Init:
    """Independent draws from [low, high)."""
    return lambda shape: Initializer("uniform", (float(low), float(high)))


def normal(mean: float = 0.0, std: float = 1.0) -> Init:
    """Independent draws from the normal distribution."""
    return lambda shape: Initializer("normal", (float(mean), float(std)))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan-in, fan-out): `(k, j)` is a matrix, `(out, in, *window)` a convolution kernel."""
    if len(shape) < 2:
        return (max(1, math.prod(shape)),) * 2
    if len(shape) == 2:
        return shape[0], shape[1]
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def he_normal() -> Init:
    """Normal with std sqrt(2 / fan_in): He et al., 2015, equation 10."""
    return lambda shape: Initializer("normal", (0.0, math.sqrt(2.0 / fans(shape)[0])))


def he_uniform() -> Init:
    """Uniform in ±sqrt(6 / fan_in): the same variance as `he_normal`."""
    return lambda shape: _symmetric(math.sqrt(6.0 / fans(shape)[0]))


def glorot_uniform() -> Init:
    """Uniform in ±sqrt(6 / (fan_in + fan_out)): Glorot and Bengio, 2010, equation 16."""
    return lambda shape: _symmetric(math.sqrt(6.0 / sum(fans(shape))))


def glorot_normal() -> Init:
    """Normal with std sqrt(2 / (fan_in + fan_out)): the same variance as `glorot_uniform`."""
    return lambda shape: Initializer("normal", (0.0, math.sqrt(2.0 / sum(fans(shape)))))


def _symmetric(bound: float) -> Initializer:
    return Initializer("uniform", (-bound, bound))
