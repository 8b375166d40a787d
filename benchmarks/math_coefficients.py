"""The polynomials of the emitted exp, log, tanh and erf: where their coefficients come from.

    python benchmarks/math_coefficients.py            prints every list and its error
    coefficients("exp", "float32")                    the list, lowest power first

Each is the minimax polynomial of a function on an interval under a weight, found by Remez' exchange
in 40 digits and rounded to the type. The weight turns an error of the polynomial into one of the
result, so the printed error is that of the method before rounding. tests/test_c_math.py compares
the emitted text with these lists. codegen/c/math.c.jinja says how each polynomial is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import numpy as np
from mpmath import mp, mpf

GRID, ROUNDS, DIGITS = 801, 12, 40

LOW_MAPPED = "-0.33333333333333333333"  # x = 1

Function = Callable[[mpf], mpf]


@dataclass(frozen=True, slots=True)
class Fit:
    """`target` on [low, high] by a polynomial of `degree`, the error counted `weight` times."""

    target: Function
    weight: Function
    low: str
    high: str
    degree: int


def exp_tail(r: mpf) -> mpf:
    """(e**r - 1 - r) / r**2."""
    return mpf(1) / 2 + r / 6 if r == 0 else (mpmath.expm1(r) - r) / r**2


def log_tail(z: mpf) -> mpf:
    """Of log(1 + f) = 2 atanh(s), z = s**2: (2 atanh(s)/s - 2) / z."""
    s = mpmath.sqrt(z)
    return mpf(2) / 3 if z == 0 else (2 * mpmath.atanh(s) / s - 2) / z


def pow_tail(z: mpf) -> mpf:
    """The rest of log_tail after 2/3, over z."""
    return mpf(2) / 5 if z == 0 else (log_tail(z) - mpf(2) / 3) / z


def erf_head(u: mpf) -> mpf:
    """erf(x)/x - 1 where u = x**2."""
    x = mpmath.sqrt(u)
    return 2 / mpmath.sqrt(mp.pi) - 1 if u == 0 else mpmath.erf(x) / x - 1


def _unmapped(y: mpf) -> mpf:
    """x of y = (x - 2) / (x + 2)."""
    return 2 * (1 + y) / (1 - y)


def erfc_scaled(y: mpf) -> mpf:
    """erfc(x) e**(x*x) where y = (x - 2) / (x + 2)."""
    return mpmath.erfc(_unmapped(y)) * mpmath.exp(_unmapped(y) ** 2)


def _exp(degree: int) -> Fit:
    half = "0.34657361"  # ln 2 / 2, and what rounding the multiple of ln 2 may add
    return Fit(
        exp_tail, lambda r: r if r == 0 else abs(r**2 / mpmath.expm1(r)), "-" + half, half, degree
    )


def _log(degree: int) -> Fit:
    return Fit(log_tail, lambda z: z / 2, "0", "0.0294373", degree)


def _erf(degree: int) -> Fit:
    return Fit(erf_head, lambda u: 1 / (1 + erf_head(u)), "0", "1", degree)


FITS = {
    ("exp", "float32"): _exp(4),
    ("exp", "float64"): _exp(9),
    ("log", "float32"): _log(2),
    ("log", "float64"): _log(6),
    ("pow", "float64"): Fit(pow_tail, lambda z: z**2 / 2, "0", "0.0294373", 7),
    ("erf", "float32"): _erf(6),
    ("erf", "float64"): _erf(12),
    ("erf_large", "float32"): Fit(
        lambda t: mpmath.erf(t + 2.5), lambda t: mpf(1), "-1.5", "1.5", 15
    ),
    ("erf_large", "float64"): Fit(
        erfc_scaled, lambda y: mpmath.exp(-(_unmapped(y) ** 2)), LOW_MAPPED, "0.5", 12
    ),
}


def minimax(fit: Fit) -> tuple[list[mpf], mpf]:
    """The coefficients, lowest power first, and the largest weighted error."""
    low, high = mpf(fit.low), mpf(fit.high)
    middle, half = (low + high) / 2, (high - low) / 2
    grid = [middle - half * mpmath.cos(mp.pi * i / GRID) for i in range(GRID + 1)]
    grid = [x for x in grid if fit.weight(x) > mpf("1e-30")]
    values = [(fit.target(x), fit.weight(x)) for x in grid]
    wanted = fit.degree + 2
    nodes = [round(i * (len(grid) - 1) / (wanted - 1)) for i in range(wanted)]
    for _ in range(ROUNDS):
        solved = _levelled(grid, values, nodes, fit.degree)
        errors = [w * (_horner(solved, x) - v) for x, (v, w) in zip(grid, values, strict=True)]
        found = _extremes(errors, wanted)
        if found == nodes:
            break
        nodes = found
    return solved, max(abs(e) for e in errors)


def _levelled(grid: list[mpf], values: list, nodes: list[int], degree: int) -> list[mpf]:
    """The polynomial whose weighted errors at the nodes are +e, -e, +e, ..."""
    rows = [
        [*(grid[n] ** k for k in range(degree + 1)), (-1) ** i / values[n][1]]
        for i, n in enumerate(nodes)
    ]
    solution = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([values[n][0] for n in nodes]))
    return list(solution)[:-1]


def _horner(coefficients: list[mpf], x: mpf) -> mpf:
    return mpmath.polyval(coefficients[::-1], x)


def _extremes(errors: list[mpf], wanted: int) -> list[int]:
    """Places of the largest errors of alternating sign."""
    runs: list[int] = []
    for i, error in enumerate(errors):
        if runs and (error > 0) == (errors[runs[-1]] > 0):
            if abs(error) > abs(errors[runs[-1]]):
                runs[-1] = i
        else:
            runs.append(i)
    while len(runs) > wanted:
        runs.pop(0 if abs(errors[runs[0]]) < abs(errors[runs[-1]]) else -1)
    if len(runs) < wanted:
        raise ArithmeticError("the error does not alternate: lower the degree or use more digits")
    return runs


def coefficients(name: str, dtype: str) -> list[str]:
    """The coefficients as the shortest decimals that read back as numbers of the type."""
    with mp.workdps(DIGITS):
        found = minimax(FITS[name, dtype])[0]
    return [str(np.dtype(dtype).type(mpmath.nstr(c, 30))) for c in found]


def main() -> int:
    for (name, dtype), fit in FITS.items():
        with mp.workdps(DIGITS):
            error = minimax(fit)[1]
        print(f"{name} {dtype}, degree {fit.degree}: 2**{float(mpmath.log(error, 2)):.2f}")
        for power, value in enumerate(coefficients(name, dtype)):
            print(f"  {power:2} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
