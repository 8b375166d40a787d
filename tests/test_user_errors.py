"""A user's mistakes: one clear error each, on the user's own line, never a traceback of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.driver import load
from ir.errors import (
    BuildError,
    DifferentiationError,
    GradwrightError,
    IndexLanguageError,
    InputError,
    InvalidNameError,
    OutputError,
    RangeError,
    ShapeError,
)

i, j, k, n, p, r = gw.indices("i j k n p r")


def network_of(body: Callable[[gw.Tensor], gw.Tensor]) -> gw.Network:
    @gw.network
    def sample(x: gw.f32["batch", 4, 5], label: gw.i32["batch"]):
        return gw.outputs(loss=gw.define((), gw.mean(body(x)[n, i], over=(n, i))))

    return sample


def param(name: str, *shape: int) -> gw.Tensor:
    return gw.param(name, shape)


MISTAKES = {
    "dense on an image": (
        lambda x: gw.dense(x, 10),
        ShapeError,
        r"dense\(\) needs a vector per row, got f32\[batch, 4, 5\]",
        "x is the input declared at test_user_errors.py:",
        "fix: put gw.flatten(x) before it",
    ),
    "broadcast": (
        lambda x: gw.add(param("a", 4, 3), param("b", 4, 5)),
        ShapeError,
        r"add\(\) cannot broadcast \[4, 3\] with \[4, 5\]",
        "sizes 3 and 5 meet",
        "",
    ),
    "rank": (
        lambda x: gw.define((n, i), x[n, i]),
        ShapeError,
        "x has 3 dimensions, got 2 indices",
        "",
        "give one index a dimension",
    ),
    "a recurrence with a value too many": (
        lambda x: gw.recurrence([(k, i), (k, i)], lambda g, h: (g[k - 1, i],))[0],
        IndexLanguageError,
        "a recurrence of 2 tensors gives 1 values",
        "",
        "",
    ),
    "a recurrence of one index": (
        lambda x: gw.recurrence(i, lambda h: (h[i - 1],))[0],
        IndexLanguageError,
        "gw.recurrence takes the indices of each tensor, and as many names",
        "",
        "gw.recurrence([(t, n), (t, n)]",
    ),
    "two sizes": (
        lambda x: gw.define((n, i), gw.sum(x[n, i, k] * param("w", 4, 3)[i, k], over=k)),
        RangeError,
        "index k is used with two different sizes, 3 and 5|5 and 3",
        "gives 5",
        "use two indices",
    ),
    "no range": (
        lambda x: gw.define((n, p), gw.sum(x[n, 2 * p + r, 0], over=r)),
        RangeError,
        "the range of index p cannot be inferred",
        "no access uses p alone",
        'p = gw.index("p", 10)',
    ),
    "not affine": (
        lambda x: gw.define((n, i), x[n, i * i, 0]),
        IndexLanguageError,
        r"the index i\*\*2 is not quasi-affine",
        "sum of integer multiples",
        "",
    ),
    "product of indices": (
        lambda x: gw.define((n, i), gw.sum(x[n, i * k, k], over=k)),
        IndexLanguageError,
        r"the index i\*k is not quasi-affine",
        "",
        "",
    ),
    "divided by zero": (
        lambda x: gw.define((n, i), x[n, i % 3, 0] / 0),
        IndexLanguageError,
        "not a real number|zoo",
        "",
        "",
    ),
    "unknown name": (
        lambda x: gw.define((n, i), x[n, i, 0] + sympy.Symbol("bias")),
        InvalidNameError,
        "unknown name 'bias' in a body",
        "",
        "read a tensor with its indices",
    ),
    "free index": (
        lambda x: gw.define((n, i), x[n, i, k]),
        IndexLanguageError,
        "index k is neither an output index nor reduced over",
        "",
        "add k to the indices",
    ),
    "out of bounds": (
        lambda x: gw.define((n, i), x[n, i + 1, 0] * param("w", 4)[i]),
        RangeError,
        r"x\[n, i \+ 1, 0\] may be out of bounds",
        "",
        "guard the access with a Piecewise",
    ),
    "constant out of bounds": (
        lambda x: gw.define((n, i), x[n, i, 5]),
        RangeError,
        "may be out of bounds",
        "",
        "",
    ),
    "a function the language lacks": (
        lambda x: gw.define((n, i), sympy.gamma(x[n, i, 0])),
        IndexLanguageError,
        "gamma cannot stand in a body",
        "a body is made of",
        "",
    ),
    "a string as a body": (
        lambda x: gw.define((n, i), "x[n, i, 0]"),
        IndexLanguageError,
        "got a string",
        "",
        "",
    ),
    "a tensor as a body": (
        lambda x: gw.define((n, i), x),
        ShapeError,
        "a body reads one element",
        "",
        "with its indices",
    ),
    "keyword": (
        lambda x: gw.dense(gw.flatten(x), 3, name="class"),
        InvalidNameError,
        "'class(.W)?' is a keyword",
        "",
        "use another name",
    ),
    "name of a helper": (
        lambda x: gw.dense(gw.flatten(x), 3, name="gw_vec"),
        InvalidNameError,
        "starts with gw_",
        "",
        'for example "vec"',
    ),
    "name outside the allow-list": (
        lambda x: gw.dense(gw.flatten(x), 3, name='a"; exit(1) #'),
        InvalidNameError,
        "not allowed",
        "",
        "",
    ),
    "name taken": (
        lambda x: gw.dense(gw.dense(gw.flatten(x), 3, name="a"), 3, name="a"),
        InvalidNameError,
        "is taken",
        "",
        "another name",
    ),
    "names alike in source": (
        lambda x: gw.add(
            gw.dense(gw.flatten(x), 3, name="a.b"), gw.dense(gw.flatten(x), 3, name="a_b")
        ),
        InvalidNameError,
        "is taken by",
        "",
        "",
    ),
    "empty parameter": (lambda x: param("w", 0, 3), ShapeError, "every size is at least 1", "", ""),
    "empty range": (
        lambda x: gw.define((n, i), gw.sum(x[n, i, 0], over=gw.index("q", 0))),
        RangeError,
        "range of at least 1",
        "",
        "",
    ),
    "reduces over nothing": (
        lambda x: gw.define((n, i), gw.sum(x[n, i, 0], over=())),
        IndexLanguageError,
        "needs an index to reduce over",
        "",
        "",
    ),
    "looks ahead": (
        lambda x: gw.define((n, i), lambda h: h[n, i - 1] + h[n, i + 1] + x[n, i, 0]),
        IndexLanguageError,
        "reads itself, but along no index only at earlier values",
        "",
        "",
    ),
    "labels that are real": (
        lambda x: gw.cross_entropy(gw.flatten(x), gw.dense(gw.flatten(x), 3)),
        ShapeError,
        "needs probabilities alike",
        "",
        "",
    ),
    "softmax axis": (lambda x: gw.softmax(x, axis=3), ShapeError, "has no axis 3", "", ""),
    "mse shapes": (
        lambda x: gw.mse(x, gw.flatten(x)),
        ShapeError,
        "two tensors of one shape",
        "",
        "",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_message(name: str) -> None:
    body, kind, what, note, fix = MISTAKES[name]
    with pytest.raises(kind) as caught:
        network_of(body).trace()
    report = caught.value.report()
    assert re.search(what, report)
    assert note in report
    assert fix in report
    assert "test_user_errors.py:" in report


def test_the_form_of_an_error() -> None:
    @gw.network
    def images(x: gw.f32["batch", 28, 28]):
        h = gw.dense(x, 100)
        return gw.outputs(h=h)

    with pytest.raises(ShapeError) as caught:
        images.trace()
    at = caught.value.at
    assert at is not None
    assert caught.value.report() == (
        "ShapeError: dense() needs a vector per row, got f32[batch, 28, 28]\n"
        f"  test_user_errors.py:{at.line}   h = gw.dense(x, 100)\n"
        f"  x is the input declared at test_user_errors.py:{at.line - 1}\n"
        "  fix: put gw.flatten(x) before it"
    )


def test_loss_must_be_a_scalar() -> None:
    @gw.network
    def wrong(x: gw.f32["batch", 4]):
        return gw.outputs(loss=gw.dense(x, 3))

    with pytest.raises(ShapeError, match="the loss must be a scalar, got f32"):
        wrong.trace()


def test_a_parameter_the_loss_does_not_reach() -> None:
    @gw.network
    def forgotten(x: gw.f32["batch", 4]):
        gw.param("unused", (3,))
        return gw.outputs(loss=gw.mse(gw.dense(x, 4, name="fc"), x))

    with pytest.raises(DifferentiationError, match="the loss does not depend on unused") as caught:
        gw.emit(forgotten, target="numpy")
    assert "test_user_errors.py:" in caught.value.report()
    assert "trainable=False" in caught.value.report()


def test_a_gradient_that_is_zero_by_derivation() -> None:
    @gw.network
    def flat(x: gw.f32["batch", 4]):
        w = gw.param("w", (4,))
        return gw.outputs(loss=gw.define((), gw.mean(sympy.sign(w[k]) * x[n, k], over=(n, k))))

    with pytest.raises(DifferentiationError, match="depends on none of|does not depend on w"):
        gw.emit(flat, target="numpy")


@pytest.mark.parametrize("annotation", [None, gw.f32, int])
def test_arguments_need_shapes(annotation: object) -> None:
    def bare(x):
        return gw.outputs(y=x)

    bare.__annotations__ = {} if annotation is None else {"x": annotation}
    with pytest.raises(ShapeError, match="argument x of bare has no shape"):
        gw.network(bare).trace()


@pytest.mark.parametrize("size", [0, -3, 2.5, True, None])
def test_sizes_are_positive_integers(size: object) -> None:
    with pytest.raises(ShapeError, match="is not a size"):
        gw.f32["batch", size]


def test_one_symbolic_size() -> None:
    @gw.network
    def two(x: gw.f32["batch", 4], y: gw.f32["rows", 4]):
        return gw.outputs(z=gw.add(x, y))

    with pytest.raises(InvalidNameError, match="two symbolic sizes"):
        two.trace()


def good(x: gw.f32["batch", 4]):
    return gw.outputs(y=gw.dense(x, 3))


@pytest.mark.parametrize(
    "options", [{"target": "cuda"}, {"batch": 0}, {"batch": 2.5}, {"threads": 0}]
)
def test_options(options: dict) -> None:
    with pytest.raises(InputError):
        gw.emit(gw.network(good), **{"target": "numpy", **options})


def test_dtype_option() -> None:
    with pytest.raises(GradwrightError, match="float16"):
        gw.emit(gw.network(good), target="numpy", dtype="float16")


def test_outside_a_network() -> None:
    with pytest.raises(GradwrightError, match="only possible while a network is traced"):
        gw.param("w", (3,))


def test_output_folder_that_is_a_file(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("mine")
    with pytest.raises(OutputError, match="cannot write to"):
        gw.compile(gw.network(good), target="numpy", out=blocked)
    assert blocked.read_text() == "mine"


def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills, no file of the new version is left, and none of the old is lost."""
    import os

    gw.compile(gw.network(good), target="numpy", out=tmp_path)
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        gw.compile(gw.network(good), target="numpy", batch=7, out=tmp_path)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file()} == before


def test_constant_of_another_shape() -> None:
    @gw.network
    def wrong(x: gw.f32["batch", 4]):
        w = gw.param("w", (4,), gw.constant(np.zeros(3)))
        return gw.outputs(y=gw.define((n, k), x[n, k] * w[k]))

    with pytest.raises(ShapeError, match=r"constant\(\) has shape \(3,\)"):
        wrong.trace()


def test_a_workspace_that_no_memory_holds(tmp_path: Path) -> None:
    """NumPy says how much could not be had, as an emitted module makes its workspace."""
    (tmp_path / "net_c.py").write_text("raise MemoryError('Unable to allocate 96.0 GiB')")
    with pytest.raises(BuildError, match=r"Unable to allocate 96\.0 GiB"):
        load(tmp_path / "net_c.py")
