"""Names that are allowed, and that something in emitted source is called already.

Each of them stands for a parameter, an input, a definition, an index and an output; the numbers of
the network must be those of the same network with names that nothing else has.
"""

from __future__ import annotations

import linecache
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy

import gradwright as gw
from codegen.c import statements
from compiler.evaluate import evaluate
from ir.errors import GradwrightError
from ir.names import check_name

NAMES = """
    memcpy memset malloc free abort exit printf isnan isinf isfinite fmin fmax fma round trunc cbrt
    hypot expm1 log1p log2 ldexp frexp nan copysign lrint erfc assert offsetof signbit fpclassify
    va_list off_t ptrdiff_t ssize_t wchar_t uintptr_t int32_t uint64_t EOF FILE BUFSIZ NDEBUG linux
    unix i386 complex I M_PI HUGE_VAL FLT_MAX DBL_EPSILON INT_MAX INT32_MAX UINT64_MAX UINT64_C
    SIZE_MAX PTRDIFF_MAX FP_NAN MATH_ERRNO DECIMAL_DIG NULL NAN INFINITY errno stdin omp

    ctypes hashlib operator os platform shlex shutil stat subprocess tempfile threading Path
    NamedTuple annotations NAME TARGET DTYPE MODEL_HASH MAX_BATCH PARAM_SHAPES GRADIENT_NAMES INPUTS
    OUTPUTS LOSS STATE_SHAPES HYPERPARAMETERS INDEX_LIMITS WORKSPACE_BYTES FLOPS_PER_STEP FLAGS
    BUILD_ID Array Arrays BuildError Outputs init_params init_state forward value_and_grad
    train_step train_epoch batch lr rows params state order workspace grads seed loss

    np numpy real space run out axis dtype casting keepdims where initial shape strides copy sum dot
    matmul einsum multiply add exp log tanh sqrt maximum self cls args kwargs name text value code
    given mine total count losses first last base i j k n t w v r c i0 i1 k2 row at end left right
    tile lane wide vectors term column start stop span height width done rest best key bits draw
    net net_forward net_params net_state net_workspace compute_y d_y y_next y_2 d_net row_at sums
    float32 float64 False_ None_ ndarray asarray empty zeros ones print type len max min range
""".split()


def test_the_name_of_a_type_in_emitted_c_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GradwrightError, match="'net_params' is what emitted C calls a type of net"):
        gw.compile(network(of_inputs(["net_params"]), []), target="c", out=tmp_path)


def test_nothing_of_the_user_is_called_like_a_variable_of_a_tiled_kernel() -> None:
    template = Path(statements.__file__).parent / "contraction.c.jinja"
    text = template.read_text(encoding="utf-8")
    code = re.sub(r"\{[{%#].*?[}%#]\}|/\*.*?\*/", " ", text, flags=re.DOTALL)
    words = {word for word in re.findall(r"\b[a-z]\w*", code) if not word.startswith("gw_")}
    c = {"const", "continue", "for", "if", "int", "ptrdiff_t", "return"}
    assert words - c <= statements.OWN_NAMES


def allowed(name: str) -> bool:
    try:
        check_name(name, "name")
    except GradwrightError:
        return False
    return True


# These once got into emitted source, and broke it: one of them with a crash.
BROKE = "rows out ptrdiff_t HUGE_VAL SIZE_MAX UINT64_MAX PARAM_SHAPES DTYPE OUTPUTS Outputs".split()


def chosen() -> list[str]:
    """Those that broke something, and every ninth of the others, without what is used below."""
    own = {"gw", "x", "label", "s", "n", "j", "a", "W", "k", "sum", "net_state", "net_params"}
    others = [name for name in NAMES if allowed(name) and name not in own]
    return list(dict.fromkeys([*BROKE, *others[::9]]))


PARAMETERS = """
@gw.network
def net(x: gw.f64["batch", 3], label: gw.i32["batch"]):
    n, j = gw.indices("n j")
    params = [gw.param(name, (3,), init=gw.uniform(-1, 1)) for name in NAMES]
    total = sum(p[j] * x[n, j] + p[j] ** 2 / 9 for p in params)
    s = gw.define((n, j), total)
    return gw.outputs(loss=gw.cross_entropy(s, label), s=s)
"""
INPUTS = """
@gw.network
def net({arguments}, label: gw.i32["batch"]):
    n, j = gw.indices("n j")
    W = gw.param("W_0", (3,), init=gw.uniform(-1, 1))
    total_ = sum(a[n, j] * W[j] for a in [{names}])
    s = gw.define((n, j), total_)
    return gw.outputs(loss=gw.cross_entropy(s, label), s=s)
"""
DEFINITIONS = """
@gw.network
def net(x: gw.f64["batch", 3], label: gw.i32["batch"]):
    n, j, a = gw.indices("n j a")
    W = gw.param("W_0", (3, 3), init=gw.uniform(-1, 1))
    made, s = dict(), x
    for name in NAMES:
        k, m = gw.index(name), gw.index(name + "_m")
        s = gw.define_as(name, (k, m), gw.sum(s[k, a] * W[a, m], over=a) / 2)
        s = made[name] = gw.define_as(name + "_then", (k, m), gw.relu(s)[k, m] + x[k, m])
    return gw.outputs(loss=gw.cross_entropy(s, label), **made)
"""


def network(source: str, names: list[str]) -> gw.Network:
    """The network of a source that reads NAMES."""
    path = f"<names {hash((source, *names))}>"
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    from compiler import notation

    spelled = {**{n: getattr(gw, n) for n in dir(gw)}, "define_as": notation.define_as}
    space: dict[str, Any] = {"gw": type("gw", (), {k: staticmethod(v) for k, v in spelled.items()})}
    space["NAMES"] = names
    exec(compile(source, path, "exec"), space)
    return space["net"]


def numbers(net: gw.Network, target: Any, folder: Path, inputs: int) -> list[Any]:
    """Everything that a model can be asked for."""
    model = gw.compile(net, target=target, batch=4, out=folder)
    random = np.random.default_rng(0)
    given = [random.normal(size=(4, 3)) for _ in range(inputs)]
    given.append(np.array([0, 1, 2, 1], "int32"))
    params = model.init_params(1)
    made = model.forward(params, *given[:-1])
    loss, grads = model.value_and_grad(params, *given)
    losses = [loss, model.train_step(params, model.init_state(params), *given)]
    losses += model.train_epoch(params, {}, *given, np.arange(4)).tolist()
    return [*made, np.array(losses), *grads.values(), *params.values()]


def of_inputs(names: list[str]) -> str:
    arguments = ", ".join(f'{name}: gw.f64["batch", 3]' for name in names)
    return INPUTS.format(arguments=arguments, names=", ".join(names))


@pytest.mark.parametrize(
    ("role", "target"),
    [("parameters", "numpy"), ("parameters", "c"), ("inputs", "c"), ("definitions", "numpy")],
)
def test_a_name_that_is_taken_in_the_output_changes_nothing(
    role: str, target: str, tmp_path: Path
) -> None:
    names = BROKE[:4] if role == "definitions" else chosen()
    plain = [f"plain{number}" for number in range(len(names))]
    found = []
    for use in (names, plain):
        source = {"parameters": PARAMETERS, "definitions": DEFINITIONS}.get(role) or of_inputs(use)
        count = len(use) if role == "inputs" else 1
        folder = tmp_path / use[0]
        found.append(numbers(network(source, use), target, folder, count))
    for mine, plainly in zip(*found, strict=True):
        assert np.abs(mine).max() > 0
        np.testing.assert_allclose(mine, plainly, rtol=1e-9, atol=1e-12)


@gw.network
def alike(t: gw.f64["batch", 3], total: gw.f64["batch", 3], label: gw.i32["batch"]):
    """An input, an output and a recurrence's index are called t; a result has two names."""
    n, j, a = gw.indices("n j a")
    k = gw.index("t", 4)
    W = gw.param("W", (3, 3), init=gw.uniform(-1, 1))
    code = gw.define((n, j), gw.sum(t[n, a] * W[a, j], over=a) + total[n, j])
    count = gw.define(
        (k, n, j),
        lambda c: sympy.Piecewise((code[n, j], sympy.Eq(k, 0)), (c[k - 1, n, j] / 2 + k, True)),
    )
    last = gw.define((n, j), count[3, n, j] * code[n, j])
    loss = gw.cross_entropy(last, label)
    return gw.outputs(loss=loss, total=last, t=code, count=count, map=count)


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_outputs_keep_their_names_whatever_else_has_them(target: Any, tmp_path: Path) -> None:
    model = gw.compile(alike, target=target, dtype="float64", batch=4, out=tmp_path)
    random = np.random.default_rng(0)
    t, total = random.normal(size=(2, 3, 3))
    label, params = np.array([0, 2, 1], "int32"), model.init_params(1)
    out = model.forward(params, t=t, total=total)
    program = alike.trace(dtype="float64", batch=4)
    given = {"t": t, "total": total, "label": label, **params}
    known = evaluate(program, given, 3)
    assert model.Outputs._fields == ("total", "t", "count", "map")
    for name, definition in program.outputs:
        np.testing.assert_allclose(getattr(out, name), known[definition], rtol=1e-12, err_msg=name)
    loss, _ = model.value_and_grad(params, t=t, total=total, label=label)
    np.testing.assert_allclose(loss, known[program.loss], rtol=1e-12)


@gw.network
def unnamed():
    """A recurrence over t whose line has no name, so that it is called t too."""
    w, k, j = gw.param("w", (4, 3), gw.normal()), gw.index("t", 4), gw.index("j", 3)
    return gw.outputs(
        loss=gw.define((), gw.sum(_last(w, k, j)[3, j] ** 2, over=j)), y=_last(w, k, j)
    )


def _last(w: Any, k: Any, j: Any) -> Any:
    return gw.define(
        (k, j), lambda c: sympy.Piecewise((w[0, j], sympy.Eq(k, 0)), (c[k - 1, j] * w[k, j], True))
    )


@pytest.mark.parametrize("target", ["numpy", "c"])
def test_a_line_may_be_called_like_the_index_of_its_recurrence(
    target: Any, tmp_path: Path
) -> None:
    assert "t" in {d.name for d in unnamed.trace().definitions}
    model = gw.compile(unnamed, target=target, dtype="float64", out=tmp_path)
    params = model.init_params(1)
    expected = np.cumprod(params["w"], axis=0)
    np.testing.assert_allclose(model.forward(params).y, expected, rtol=1e-12)
    loss, grads = model.value_and_grad(params)
    np.testing.assert_allclose(loss, np.sum(expected[3] ** 2), rtol=1e-12)
    np.testing.assert_allclose(grads["w"], 2 * expected[3] ** 2 / params["w"], rtol=1e-10)

