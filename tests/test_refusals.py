"""What operations, networks within networks and derivatives refuse: a table of one-liners.

Every line runs inside a network with x: f64[batch, 6, 8, 8], v: f64[batch, 6] and label:
i32[batch]; the error must say what stands beside it, and name the line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sympy

import gradwright as gw
from compiler.differentiate import differentiate
from ir.errors import GradwrightError

Line = Callable[[Any, Any, Any], object]
n, i, j, k = gw.indices("n i j k")
R = gw.index("r", 3)


def inner_network() -> gw.Network:
    @gw.network
    def inner(v: gw.f64["batch", 6], label: gw.i32["batch"]):
        h = gw.dense(v, 4, name="shared")
        table = gw.embedding(label, 5, 4, name="words")
        return gw.outputs(loss=gw.mse(h, table), h=h)

    return inner


INNER = inner_network()

REFUSED: dict[str, tuple[Line, str]] = {
    "attention widths": (
        lambda x, v, label: gw.scaled_dot_product_attention(x, x, gw.pad(x, (0, 0, 0, 1))),
        r"attention needs \[t, d\], \[s, d\], \[s, e\]",
    ),
    "ignored probabilities": (
        lambda x, v, label: gw.cross_entropy(v, gw.softmax(v), ignore_index=3),
        "probabilities know no ignore_index",
    ),
    "axis": (lambda x, v, label: gw.softmax(v, axis=2), "has no axis 2"),
    "odd padding": (lambda x, v, label: gw.pad(x, (1, 2, 3)), r"pad\(\) needs pairs"),
    "too much padding": (lambda x, v, label: gw.pad(v, (1,) * 6), r"pad\(\) needs pairs"),
    "upsample mode": (
        lambda x, v, label: gw.upsample(x, scale_factor=2, mode="linear"),
        "mode 'linear' does not fit",
    ),
    "unsqueeze": (lambda x, v, label: gw.unsqueeze(v, 4), r"unsqueeze\(\) has no place 4"),
    "expand": (lambda x, v, label: gw.expand(v, (3, 5)), r"expand\(\) cannot make \[3, 5\]"),
    "stack": (lambda x, v, label: gw.stack([x, v]), r"stack\(\) needs tensors of one shape"),
    "stack of none": (lambda x, v, label: gw.stack([]), r"stack\(\) needs tensors"),
    "select": (lambda x, v, label: gw.select(v, 1, 6), r"select\(\) has no position 6"),
    "index_select": (
        lambda x, v, label: gw.index_select(v, 1, v), r"index_select\(\) needs an integer vector",
    ),
    "gather": (lambda x, v, label: gw.gather(v, 1, label), r"gather\(\) needs integers"),
    "one_hot": (lambda x, v, label: gw.one_hot(v, 6), r"one_hot\(\) needs an integer tensor"),
    "concat of none": (lambda x, v, label: gw.concat([]), "needs at least one tensor"),
    "linear over the batch": (
        lambda x, v, label: gw.linear(label, gw.param("W", (4, 4))), "last dimension of fixed size",
    ),
    "inputs of a network": (lambda x, v, label: INNER(v), "inner takes 2 inputs, got 1"),
    "shape for a network": (lambda x, v, label: INNER(x, label), r"inner needs v of float64\["),
    "type for a network": (lambda x, v, label: INNER(v, v), r"inner needs label of int32\["),
    "shared parameter": (
        lambda x, v, label: (gw.param("shared.W", (2, 2)), INNER(v, label)),
        r"parameter shared\.W is \(2, 2\) here and \(6, 4\) there",
    ),
    "assigned shape": (
        lambda x, v, label: gw.assign(gw.buffer("b", (3,)), (i,), v[0, i] * 2), "cannot assign",
    ),
    "assigned definition": (
        lambda x, v, label: gw.assign(gw.relu(v), (n, i), v[n, i] * 2), "cannot assign",
    ),
    "dimensions": (lambda x, v, label: v[n], "has 2 dimensions, got 1 indices"),
    "index": (lambda x, v, label: v[n, 1.5], "1.5 cannot index v"),
    "index that is a string": (lambda x, v, label: v[n, "i"], "'i' cannot index v"),
    "index that is true": (lambda x, v, label: v[n, True], "True cannot index v"),
    "operand that is a string": (
        lambda x, v, label: v + "1", "add: a body is an expression, got a string",
    ),
    "operand that is a list": (lambda x, v, label: v * [1], "list is not a SymPy expression"),
    "body that is a condition": (
        lambda x, v, label: gw.define((i,), sympy.Gt(v[0, i], 0)), "is not a SymPy expression",
    ),
    "body that is a tensor": (lambda x, v, label: gw.define((n, i), v), "a body reads one element"),
    "tensor of another network": (
        lambda x, v, label: gw.define((i,), gw.tensor("q", 3)[i] + v[0, i]),
        "q does not belong to this network",
    ),
    "output that is no tensor": (lambda x, v, label: gw.outputs(h=v[0, 0]), "not a tensor"),
    "key padding": (
        lambda x, v, label: gw.multi_head_attention(gw.select(x, 1, 0), 2, key_padding_mask=v),
        r"key_padding_mask must be an integer \[rows, keys\]",
    ),
    "axis of no tensor": (
        lambda x, v, label: gw.cosine_similarity(v, v, axis=3), "has no axis 3 among 2",
    ),
    "kernel": (
        lambda x, v, label: gw.convolve(x, gw.param("W", (2, 3, 3))), r"convolve\(\) cannot slide",
    ),
    "padding that leaves nothing": (
        lambda x, v, label: gw.conv_transpose2d(x, 2, 3, padding=9), "leaves nothing of",
    ),
    "state": (
        lambda x, v, label: gw.lstm(gw.select(x, 1, 0), 4, state=(v, v)),
        r"a state must be \[1, batch, 4\]",
    ),
    "index that is a symbol": (
        lambda x, v, label: gw.define((n, sympy.Symbol("q")), v[n, 0]), "q is not an index",
    ),
    "no term in bounds": (
        lambda x, v, label: gw.define(n, gw.sum(v[n, R + 6], over=R)),
        "no term of the reduction is in bounds",
    ),
    "out of bounds in a branch": (
        lambda x, v, label: gw.define(
            n, gw.sum(sympy.Piecewise((v[n, R + 4], R > 0), (0, True)), over=R)
        ),
        r"v\[n, r \+ 4\] may be out of bounds",
    ),
    "choice without a last case": (
        lambda x, v, label: gw.define((n, i), sympy.Piecewise((v[n, i], v[n, i] > 0))),
        "has no value where none of its conditions holds",
    ),
    "range": (lambda x, v, label: gw.index("r", 0), "a range of at least 1"),
    "range that is no number": (lambda x, v, label: gw.index("r", 2.5), "has no range 2.5"),
    "reduction over nothing": (lambda x, v, label: gw.sum(v[0, 0], over=()), "needs an index"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_on_its_line(name: str) -> None:
    line, says = REFUSED[name]

    @gw.network
    def net(x: gw.f64["batch", 6, 8, 8], v: gw.f64["batch", 6], label: gw.i32["batch"]):
        line(x, v, label)
        return gw.outputs(h=gw.relu(v))

    with pytest.raises(GradwrightError, match=says) as caught:
        net.trace()
    assert caught.value.at is not None
    assert caught.value.at.short.startswith("test_refusals.py:")


def returning(what: Callable[[Any], Any]) -> gw.Network:
    @gw.network
    def net(x: gw.f64["batch", 3]):
        return what(x)

    return net


def test_a_network_returns_tensors_that_it_defines() -> None:
    with pytest.raises(GradwrightError, match="net returned Tensor"):
        returning(lambda x: gw.relu(x)).trace()
    with pytest.raises(GradwrightError, match="output h is not a tensor that net defines"):
        returning(lambda x: gw.outputs(h=x)).trace()


def test_a_choice_may_end_in_the_opposite_of_what_it_began_with() -> None:
    whole = returning(
        lambda x: gw.outputs(
            h=gw.define((n, i), sympy.Piecewise((x[n, i], i > 1), (2 * x[n, i], i <= 1)))
        )
    )
    (definition,) = whole.trace().definitions
    assert definition.body.args[-1][1] == sympy.true


def test_inputs_have_one_floating_type() -> None:
    @gw.network
    def net(x: gw.f32["batch", 3], y: gw.f64["batch", 3]):
        return gw.outputs(h=gw.relu(x))

    with pytest.raises(GradwrightError, match="inputs of both float32 and float64"):
        net.trace()
    assert net.trace(dtype="float64").by_name()


def test_networks_within_a_network_share_parameters() -> None:
    @gw.network
    def outer(v: gw.f64["batch", 6], label: gw.i32["batch"]):
        first, second = INNER(v, label), INNER(v, label)
        return gw.outputs(loss=first.loss + gw.mse(2.0 * second.h, first.h), h=first.h)

    program = outer.trace()
    assert [p.name for p in program.parameters] == ["shared.W", "shared.b", "words.W"]
    assert program.limits == {"label": 5}
    assert gw.gradcheck(outer).ok


def test_tangents_need_something_that_moves() -> None:
    with pytest.raises(GradwrightError, match="inner has no input or parameter 'nothing'"):
        gw.jvp(INNER, wrt="nothing").trace()
    still = returning(lambda x: gw.outputs(h=gw.define((gw.index("i", 3),), 1)))
    with pytest.raises(GradwrightError, match="no result of net depends on x"):
        gw.jvp(still, wrt="x").trace()


x = gw.tensor("x", 3)


@pytest.mark.parametrize(
    ("what", "wrt", "says"),
    [
        (x[0] ** 2, "x", "cannot differentiate by 'x'"),
        (x[0] ** 2, gw.index("i"), "cannot differentiate by i"),
        (gw.max(x[i], over=i), x[0], "a bare max has no derivative in closed form"),
        (gw.sum(x[0] * sympy.Symbol("y"), over=j), x[0], "index j stands in no access"),
    ],
)
def test_bare_expressions_that_cannot_be_derived(what: Any, wrt: Any, says: str) -> None:
    with pytest.raises(GradwrightError, match=says):
        gw.derive(what, wrt=wrt)


def test_a_gradient_needs_a_loss_and_something_to_move() -> None:
    h = returning(lambda x: gw.outputs(h=gw.relu(x))).trace()
    with pytest.raises(GradwrightError, match="net has no loss"):
        differentiate(h)
    loss = returning(lambda x: gw.outputs(loss=gw.define((), x[0, 0]))).trace()
    with pytest.raises(GradwrightError, match="net has no tensor 'w'"):
        differentiate(loss, ("w",))
    with pytest.raises(GradwrightError, match="loss of net depends on none of: no parameters"):
        differentiate(loss)


def test_a_recurrence_that_sums_over_its_own_steps() -> None:
    steps = gw.index("t", 4)

    @gw.network
    def net(x: gw.f64[4]):
        def line(h: Any) -> Any:
            earlier = gw.sum(sympy.Piecewise((h[steps - 1], steps > 0), (0, True)), over=steps)
            return x[steps] + earlier

        return gw.outputs(h=gw.define(steps, line))

    with pytest.raises(GradwrightError):
        net.trace()
