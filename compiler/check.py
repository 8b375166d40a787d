"""Check a network's symbolic gradients against differences of its forward pass.

    result = gw.gradcheck(mnist_mlp, seed=0)
    print(result.text())          # a line a parameter: symbolic, central, complex step, errors
    assert result.ok

The differences are taken of the traced program before any pass has touched it, by an evaluator that
shares nothing with the targets. A check in which every number is zero is not ok.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compiler.evaluate import evaluate
from compiler.network import Network
from compiler.pipeline import stage
from ir.errors import DifferentiationError
from ir.program import Initializer, Program, Tensor

Array = NDArray[Any]
CENTRAL_STEP = 1e-6
COMPLEX_STEP = 1e-30
TOLERANCE = 1e-5
STILL = 1e-12  # beside the largest gradient of the network


@dataclass(frozen=True, slots=True)
class ParameterCheck:
    """One parameter: elements tried, its largest gradient, the largest errors.

    Errors are relative to the parameter's largest gradient. One that is below rounding beside the
    rest of the network is held against the network's largest: a gradient that is truly zero
    (softmax does not feel the bias of an attention's keys) is then `still`, not wrong.
    """

    name: str
    elements: int
    largest: float
    central_error: float
    complex_error: float
    still: bool = False

    @property
    def ok(self) -> bool:
        return self.complex_error < 1e-9 and self.central_error < TOLERANCE


@dataclass(frozen=True, slots=True)
class GradientCheck:
    """The whole check. `ok` if every parameter is, and some gradient is not zero."""

    network: str
    rows: int
    parameters: tuple[ParameterCheck, ...]

    @property
    def ok(self) -> bool:
        return any(p.largest > 0 for p in self.parameters) and all(p.ok for p in self.parameters)

    def text(self) -> str:
        """A table, a line a parameter."""
        width = max([9, *(len(p.name) for p in self.parameters)])
        lines = [
            f"gradient check of {self.network}, {self.rows} rows, float64",
            f"{'parameter':<{width}}  elements  largest     central     complex step",
        ]
        for p in self.parameters:
            verdict = "WRONG" if not p.ok else "zero" if p.still else "ok"
            lines.append(
                f"{p.name:<{width}}  {p.elements:>8}  {p.largest:<10.4g}  "
                f"{p.central_error:<10.2e}  {p.complex_error:<12.2e}  {verdict}"
            )
        if all(p.largest == 0 for p in self.parameters):
            lines.append("every gradient is zero: nothing was checked")
        return "\n".join(lines)


def gradcheck(
    network: Network, *, seed: int = 0, rows: int = 3, elements: int = 24
) -> GradientCheck:
    """Symbolic gradients against central and complex-step differences, in float64.

        assert gw.gradcheck(mnist_mlp, seed=0).ok

    Inputs are drawn from the seed: `rows` rows, normal numbers, labels within their limits. Of each
    parameter at most `elements` elements are tried, the same ones for the same seed. Errors are
    relative to the parameter's largest gradient. Raises DifferentiationError if there is nothing to
    check.
    """
    program = network.trace(dtype="float64", batch=rows)
    if program.loss is None or not any(p.trainable for p in program.parameters):
        raise DifferentiationError(
            f"{network.name} has no loss or no parameters to check", at=network.origin
        )
    rng = np.random.default_rng(seed)
    values = draw(program, rng, rows)
    final = stage(program, "merge").program
    made = evaluate(final, values, rows)
    slopes = dict(final.gradients)
    at_rest = evaluate(program, values, rows)
    most = max(float(np.max(np.abs(made[g]), initial=0.0)) for g in slopes.values())
    checks = []
    for name, gradient in slopes.items():
        chosen = _chosen(values[name].size, elements, rng)
        symbolic = made[gradient].ravel()[chosen]
        moving = _Moving(program, values, rows, name, _unmoved(program, name, at_rest))
        checks.append(_check(moving, symbolic, chosen, STILL * most))
    return GradientCheck(network.name, rows, tuple(checks))


def draw(program: Program, rng: np.random.Generator, rows: int) -> dict[str, Array]:
    """Values for everything the caller owns: random inputs, parameters as they are initialised."""
    values: dict[str, Array] = {}
    for tensor in program.inputs:
        shape = [s if isinstance(s, int) else rows for s in tensor.shape]
        if tensor.dtype.startswith("int"):
            values[tensor.name] = rng.integers(0, program.limits.get(tensor.name, 10), shape)
        else:
            values[tensor.name] = rng.standard_normal(shape)
    for tensor in program.parameters:
        values[tensor.name] = _initial(tensor, rng)
    return values


def _initial(tensor: Tensor, rng: np.random.Generator) -> Array:
    """A draw as the parameter starts; zeros are moved off zero, where a gradient says little."""
    init = tensor.init or Initializer("zeros")
    shape = [int(s) for s in tensor.shape]
    if init.kind == "constant":
        return np.broadcast_to(
            np.reshape(init.values, shape if len(init.values) != 1 else ()), shape
        ).copy()
    if init.kind == "uniform":
        low, high = init.values
        return rng.uniform(low, high, size=shape)
    if init.kind == "normal":
        mean, std = init.values
        return rng.normal(mean, std, size=shape)
    return 0.1 * rng.standard_normal(shape)


def _chosen(size: int, most: int, rng: np.random.Generator) -> Array:
    return np.arange(size) if size <= most else np.sort(rng.choice(size, most, replace=False))


@dataclass(frozen=True, slots=True)
class _Moving:
    """A network at values of which one parameter moves; `unmoved` is what stays as it is."""

    program: Program
    values: dict[str, Array]
    rows: int
    name: str
    unmoved: dict[str, Array]


def _unmoved(program: Program, name: str, at_rest: dict[str, Array]) -> dict[str, Array]:
    """The values of the definitions that do not depend on a parameter."""
    moved, before = {name}, 0
    while len(moved) > before:  # twice for a recurrence, whose lines read one another
        before = len(moved)
        moved |= {d.name for d in program.definitions if moved.intersection(d.reads())}
    return {n: value for n, value in at_rest.items() if n not in moved}


def _check(
    moving: _Moving, symbolic: Array, chosen: Array, rounding: float
) -> ParameterCheck:
    central, stepped = np.empty(len(chosen)), np.empty(len(chosen))
    for i, position in enumerate(chosen):
        up, down = (_loss(moving, position, h) for h in (CENTRAL_STEP, -CENTRAL_STEP))
        central[i] = (up - down).real / (2 * CENTRAL_STEP)
        stepped[i] = _loss(moving, position, 1j * COMPLEX_STEP).imag / COMPLEX_STEP
    largest = float(np.max(np.abs([*symbolic, *stepped]), initial=0.0))
    still = largest <= rounding
    scale = (rounding / STILL if still else largest) or 1.0
    return ParameterCheck(
        moving.name,
        len(chosen),
        largest,
        float(np.max(np.abs(symbolic - central))) / scale,
        float(np.max(np.abs(symbolic - stepped))) / scale,
        still,
    )


def _loss(m: _Moving, position: int, step: complex) -> complex:
    kind = np.complex128 if isinstance(step, complex) else np.float64
    moved = np.array(m.values[m.name], kind)  # a scalar becomes an array, so that it can be moved
    moved.ravel()[position] += step
    assert m.program.loss is not None
    values = {**m.values, m.name: moved}
    return complex(evaluate(m.program, values, m.rows, kind=kind, known=m.unmoved)[m.program.loss])
