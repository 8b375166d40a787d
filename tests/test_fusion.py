"""What must not share a kernel though it nearly could, and what must be stored although it does.

`neighbours` has a line that reads another at its own point and at the next; one that is shorter
than what it reads; two states of a recurrence, of which only one leaves the loop. `conditions` has
two sums of the same terms under two conditions, of which one follows from the other sum.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.driver import lowered
from compiler.evaluate import evaluate
from compiler.pipeline import stages


@gw.network
def neighbours(x: gw.f64[6]):
    i, j, t = gw.index("i", 6), gw.index("j", 4), gw.index("t", 6)
    square = gw.define(i, x[i] ** 2)
    both = gw.define(i, square[i] + 3 * square[(i + 1) % 6])
    fewer = gw.define(j, square[j] - 2)
    speed, place = gw.recurrence(
        [(t,), (t,)],
        lambda s, p: (
            sympy.Piecewise((x[0], sympy.Eq(t, 0)), (s[t - 1] / 2 + x[t], True)),
            sympy.Piecewise((x[1], sympy.Eq(t, 0)), (p[t - 1] + s[t], True)),
        ),
    )
    return gw.outputs(both=both, fewer=fewer, place=place, sum=square)


@gw.network
def conditions(x: gw.f64[4, 6]):
    n, m, k = gw.index("n", 4), gw.index("m", 4), gw.index("k", 6)

    def before(end: Any) -> Any:
        return gw.sum(sympy.Piecewise((x[n, k], sympy.Le(k, end)), (0, True)), over=k)

    first = gw.define(n, gw.argmax(x[n, k], over=k))
    early = gw.define(n, before(first[n]))
    second = gw.define(n, gw.argmax(early[m] * x[n, m], over=m))
    late = gw.define(n, before(second[n]))
    return gw.outputs(early=early, late=late)


@pytest.mark.parametrize(("network", "size"), [(neighbours, (6,)), (conditions, (4, 6))])
@pytest.mark.parametrize("target", ["numpy", "c"])
def test_all_is_read_after_it_is_written(
    target: Any, network: Any, size: tuple[int, ...], tmp_path: Path
) -> None:
    x = np.random.default_rng(0).standard_normal(size)
    program = network.trace(dtype="float64")
    known = evaluate(program, {"x": x})
    out = gw.compile(network, target=target, dtype="float64", out=tmp_path).forward({}, x)
    for (name, definition), made in zip(program.outputs, out, strict=True):
        np.testing.assert_allclose(made, known[definition], rtol=1e-14, err_msg=name)


def test_members_read_one_another_at_their_own_point() -> None:
    schedule = lowered(neighbours, batch=1).forward
    assert schedule is not None
    for kernel in schedule.kernels():
        stored = set(kernel.stored)
        members = {m.name: m for m in kernel.members}
        for member in kernel.members:
            for a in member.accesses():
                if a.tensor in members and a != members[a.tensor].access():
                    assert member.scan is not None
                    assert a.tensor in stored


@gw.network
def back_and_forth():
    """The adjoint of a sum joins the sum's kernel, and waits there for a later one."""
    rows, scale = gw.param("rows", (8, 8), gw.normal()), gw.param("scale", (8,), gw.normal())
    i, j, r = gw.index("i", 8), gw.index("j", 8), gw.index("r", 8)
    share = gw.define((), sympy.exp(rows[2, 7]) / gw.sum(sympy.exp(rows[2, r]), over=r))
    larger = gw.define(i, gw.sum(sympy.Max(scale[i], share[()]), over=r))
    both = gw.define((i, j), rows[i, j] * scale[i])
    loss = gw.define((), gw.sum(larger[i] * sympy.cos(i), over=i) + gw.sum(both[i, j], over=(i, j)))
    return gw.outputs(loss=loss)


def test_no_two_kernels_wait_for_each_other(tmp_path: Path) -> None:
    program = list(stages(back_and_forth.trace(dtype="float64")))[-1].program
    model = gw.compile(back_and_forth, target="numpy", dtype="float64", out=tmp_path)
    params = model.init_params(0)
    known = evaluate(program, params)
    _, made = model.value_and_grad(params)
    for name, gradient in program.gradients:
        np.testing.assert_allclose(made[name], known[gradient], rtol=1e-13, err_msg=name)
