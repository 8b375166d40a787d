"""Random recurrences: several lines of different shapes that read one another, and their check.

    check(recurrence(7), "numpy", tmp_path)      # AssertionError where a number is wrong

A line is over t and some of k and j. It reads the input, any line one step before (or after), or an
earlier one in the same step: at its own indices, at a fixed one, or summed over those it lacks.
Values and gradients of the emitted module are those of `compiler/evaluate.py`, and the gradients
are compared with differences.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import sympy

import gradwright as gw
from compiler.evaluate import evaluate
from compiler.pipeline import stages

STEPS, SIZES = 4, {"k": 3, "j": 2}


@dataclass(frozen=True, slots=True)
class Term:
    """What a line reads: `line` is None for the input, `over` is how it does without an index."""

    line: int | None
    same_step: bool
    over: str


@dataclass(frozen=True, slots=True)
class Line:
    shape: tuple[str, ...]
    terms: tuple[Term, ...]
    function: Any


def lines(pick: random.Random) -> tuple[Line, ...]:
    """Two to five, of which one at least reads another step."""
    count = pick.randint(2, 5)
    made = tuple(
        Line(
            tuple(name for name in SIZES if pick.random() < 0.6),
            tuple(_term(pick, number, count) for _ in range(pick.randint(1, 3))),
            pick.choice([sympy.tanh, lambda v: v, lambda v: v**2 / 4]),
        )
        for number in range(count)
    )
    if any(e.line is not None and not e.same_step for line in made for e in line.terms):
        return made
    return (replace(made[0], terms=(Term(count - 1, False, "sum"),)), *made[1:])


def _term(pick: random.Random, number: int, count: int) -> Term:
    if pick.random() < 0.25:
        return Term(None, True, "fixed")
    same = number > 0 and pick.random() < 0.4
    line = pick.randrange(number) if same else pick.randrange(count)
    return Term(line, same, pick.choice(["sum", "sum", "max", "fixed"]))


def recurrence(seed: int) -> gw.Network:
    """A network of one recurrence; its loss has every line in it, its outputs every other."""
    pick = random.Random(seed)
    made, ahead = lines(pick), 1 if pick.random() < 0.3 else -1

    @gw.network
    def net(x: gw.f64[3, 4, 2]):
        t, at = gw.index("t", STEPS), {name: gw.index(name, size) for name, size in SIZES.items()}
        v = {name: gw.param(f"v{name}", (size,), gw.normal()) for name, size in SIZES.items()}
        own = [(t, *(at[name] for name in line.shape)) for line in made]
        starts = [
            gw.param(f"w{n}", (STEPS, *(SIZES[name] for name in line.shape)), gw.normal())
            for n, line in enumerate(made)
        ]

        def read(line: Line, term: Term, states: tuple[gw.Tensor, ...], number: int) -> Any:
            if term.line is None:
                k, j = (at[n] if n in line.shape else 1 for n in SIZES)
                return x[k, t, j]
            lacking = [n for n in made[term.line].shape if n not in line.shape]
            fixed = term.over == "fixed"
            new = {n: 1 if fixed else gw.index(f"{n}{number}", SIZES[n]) for n in lacking}
            where = [{**at, **new}[n] for n in made[term.line].shape]
            value = states[term.line][(t if term.same_step else t + ahead, *where)]
            if not term.same_step:
                inside = t < STEPS - 1 if ahead > 0 else t > 0
                value = sympy.Piecewise((value, inside), (0, True))
            if fixed or not lacking:
                return value
            value *= sympy.Mul(*(v[n][new[n]] for n in lacking))
            return (gw.sum if term.over == "sum" else gw.max)(value, over=tuple(new.values()))

        def bodies(*states: gw.Tensor) -> tuple[Any, ...]:
            return tuple(
                line.function(
                    start[index]
                    + sum(read(line, e, states, n) / (2 + n) for n, e in enumerate(line.terms))
                )
                for line, start, index in zip(made, starts, own, strict=True)
            )

        states = gw.recurrence(own, bodies)
        loss = gw.sum(v["k"][at["k"]] ** 2, over=at["k"]) + gw.sum(v["j"][at["j"]], over=at["j"])
        for number, (state, index) in enumerate(zip(states, own, strict=True)):
            loss += gw.sum(state[index] ** 2 / (number + 1), over=index)
        outputs = {f"h{n}": state for n, state in enumerate(states) if n % 2}
        return gw.outputs(loss=gw.define((), loss), **outputs)

    return net


def check(network: gw.Network, target: Any, folder: Path, seed: int = 0) -> None:
    """AssertionError unless the emitted module says what the program means."""
    every = list(stages(network.trace(dtype="float64")))
    first, last = every[0].program, every[-1].program
    model = gw.compile(network, target=target, dtype="float64", out=folder)
    params = model.init_params(seed=seed)
    x = np.random.default_rng(seed).standard_normal((3, STEPS, 2))
    known, adjoints = evaluate(first, {"x": x, **params}), evaluate(last, {"x": x, **params})
    given = [x] if "x" in model.forward.__code__.co_varnames[:2] else []
    for (name, definition), made in zip(first.outputs, model.forward(params, *given), strict=True):
        np.testing.assert_allclose(made, known[definition], rtol=1e-9, atol=1e-11, err_msg=name)
    loss, grads = model.value_and_grad(params, *([x] if model.INPUTS else []))
    np.testing.assert_allclose(loss, known[str(first.loss)], rtol=1e-9)
    for name, definition in last.gradients:
        expected = adjoints[definition]
        np.testing.assert_allclose(grads[name], expected, rtol=1e-8, atol=1e-10, err_msg=name)
    result = gw.gradcheck(network, elements=4)
    assert result.ok, result.text()
