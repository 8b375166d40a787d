"""Full-batch minimisation on top of `value_and_grad`: L-BFGS and plain gradient descent.

    result = lbfgs(model, params, x, label, steps=100)      # params are changed in place
    result.losses, result.gradient_norm, result.reason

The algorithm works on one float64 vector, whatever the model's type. Directions are the two-loop
recursion of Nocedal and Wright, Numerical Optimization, algorithm 7.4; step lengths satisfy the
strong Wolfe conditions (algorithms 3.5 and 3.6). More than MAX_BATCH rows are evaluated batch by
batch and averaged, which is right for a loss that is a mean over its rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradwright.training.metrics import mean_gradient
from gradwright.training.model import Arrays, CompiledModel
from ir.errors import InputError

Vector: TypeAlias = NDArray[np.float64]
Reason = Literal["steps", "gradient", "stalled"]

SUFFICIENT, CURVATURE = 1e-4, 0.9
TRIALS = 25


@dataclass(frozen=True, slots=True)
class Minimised:
    """How it went: the loss before each step and at the end, and why it ended.

    "gradient": its largest element is at most `tolerance`; "stalled": no step lowers the loss any
    further in this precision; "steps": all were taken.
    """

    losses: list[float]
    gradient_norm: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class _Point:
    """A place, with its loss and gradient. `slope` is along the direction of a line search."""

    x: Vector
    loss: float
    gradient: Vector
    length: float = 0.0
    slope: float = 0.0

    @property
    def steepness(self) -> float:
        return float(np.max(np.abs(self.gradient), initial=0.0))


def lbfgs(
    model: CompiledModel,
    params: Arrays,
    *inputs: NDArray[Any],
    steps: int = 100,
    history: int = 10,
    tolerance: float = 1e-7,
) -> Minimised:
    """Minimise the loss over all parameters that train. Raises InputError."""
    _require(steps >= 0 and history >= 1, "steps must be at least 0 and history at least 1")
    surface = _Surface.of(model, params, inputs)
    point = surface.at(surface.start())
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=history)
    losses = [point.loss]
    reason: Reason = "steps"
    for _ in range(steps):
        if point.steepness <= tolerance:
            reason = "gradient"
            break
        found = _search(surface, point, _direction(point.gradient, pairs), first=not pairs)
        if found is None:
            reason = "stalled"
            break
        s, y = found.x - point.x, found.gradient - point.gradient
        if s @ y > 1e-10 * np.sqrt((s @ s) * (y @ y)):
            pairs.append((s, y))
        point = found
        losses.append(point.loss)
    surface.write(point.x)
    return Minimised(losses, point.steepness, reason)


def gradient_descent(
    model: CompiledModel, params: Arrays, *inputs: NDArray[Any], lr: float, steps: int = 100
) -> Minimised:
    """Full-batch gradient descent: `steps` times p - lr g, over all rows at once."""
    _require(steps >= 0 and lr > 0, "steps must be at least 0 and lr positive")
    surface = _Surface.of(model, params, inputs)
    point = surface.at(surface.start())
    losses = [point.loss]
    for _ in range(steps):
        point = surface.at(point.x - lr * point.gradient)
        losses.append(point.loss)
    surface.write(point.x)
    return Minimised(losses, point.steepness, "steps")


@dataclass(frozen=True, slots=True)
class _Surface:
    """The loss as a function of one vector: the trained parameters, one after another."""

    model: CompiledModel
    params: Arrays
    inputs: tuple[NDArray[Any], ...]
    trained: tuple[str, ...]

    @classmethod
    def of(cls, model: CompiledModel, params: Arrays, inputs: Iterable[NDArray[Any]]) -> _Surface:
        if model.LOSS is None:
            raise InputError(f"{model.NAME} has no loss to minimise", fix="return loss=…")
        given = tuple(inputs)
        _, gradient = mean_gradient(model, params, given)
        return cls(model, params, given, tuple(gradient))

    def start(self) -> Vector:
        return _joined(self.params[name] for name in self.trained)

    def write(self, x: Vector) -> None:
        """Put the vector into the parameters, in their own type."""
        first = 0
        for name in self.trained:
            array = self.params[name]
            array[...] = x[first : first + array.size].reshape(array.shape)
            first += array.size

    def at(self, x: Vector) -> _Point:
        self.write(x)
        loss, gradient = mean_gradient(self.model, self.params, self.inputs)
        return _Point(x, float(loss), _joined(gradient[name] for name in self.trained))

    def along(self, origin: _Point, direction: Vector, length: float) -> _Point:
        point = self.at(origin.x + length * direction)
        slope = float(point.gradient @ direction)
        return _Point(point.x, point.loss, point.gradient, length, slope)


def _joined(arrays: Iterable[NDArray[Any]]) -> Vector:
    return np.concatenate([np.zeros(0), *(np.ravel(a).astype(np.float64) for a in arrays)])


def _direction(gradient: Vector, pairs: Iterable[tuple[Vector, Vector]]) -> Vector:
    """-H g by the two-loop recursion: H starts as a multiple of the identity, pairs correct it."""
    q, kept = gradient.copy(), list(pairs)
    weights = []
    for s, y in reversed(kept):
        weight = (s @ q) / (s @ y)
        weights.append(weight)
        q -= weight * y
    if kept:
        s, y = kept[-1]
        q *= (s @ y) / (y @ y)
    for (s, y), weight in zip(kept, reversed(weights), strict=True):
        q += (weight - (y @ q) / (s @ y)) * s
    return -q


def _search(surface: _Surface, origin: _Point, direction: Vector, first: bool) -> _Point | None:
    """A point along the direction that satisfies the strong Wolfe conditions.

    Where rounding hides them, a point that is merely lower will do; None if there is none.
    """
    slope = float(origin.gradient @ direction)
    if not slope < 0:
        direction, slope = -origin.gradient, -float(origin.gradient @ origin.gradient)
    start = _Point(origin.x, origin.loss, origin.gradient, 0.0, slope)
    length = min(1.0, 1.0 / float(np.sum(np.abs(origin.gradient)))) if first else 1.0
    before = start
    for trial in range(TRIALS):
        point = surface.along(origin, direction, length)
        if not _lower(point, start) or (trial and point.loss >= before.loss):
            return _zoom(surface, start, direction, before, point)
        if abs(point.slope) <= -CURVATURE * slope:
            return point
        if point.slope >= 0:
            return _zoom(surface, start, direction, point, before)
        before, length = point, 2 * length
    return before


def _zoom(
    surface: _Surface, start: _Point, direction: Vector, low: _Point, high: _Point
) -> _Point | None:
    """Narrow the interval between two lengths; `low` is the lower of its ends."""
    for _ in range(TRIALS):
        point = surface.along(start, direction, _between(low, high))
        if not _lower(point, start) or point.loss >= low.loss:
            high = point
            continue
        if abs(point.slope) <= -CURVATURE * start.slope:
            return point
        if point.slope * (high.length - low.length) >= 0:
            high = low
        low = point
    return low if low.loss < start.loss else None


def _lower(point: _Point, start: _Point) -> bool:
    """Armijo's condition; a loss that is not finite is not lower."""
    return point.loss <= start.loss + SUFFICIENT * point.length * start.slope


def _between(low: _Point, high: _Point) -> float:
    """The lowest point of the parabola through low, its slope, and high; kept off both ends."""
    width = high.length - low.length
    rise = high.loss - low.loss - low.slope * width
    step = -low.slope * width**2 / (2 * rise) if np.isfinite(rise) and rise > 0 else width / 2
    share = min(max(step / width, 0.1), 0.9) if width else 0.0
    return low.length + share * width


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise InputError(what)
