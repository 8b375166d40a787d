"""The NumPy target against the interpreter: every case, both types, full and short batches.

Warnings are errors here, as everywhere in the tests, so a branch that is not taken may not warn.
"""

from __future__ import annotations

import ast
import hashlib
import math
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sympy

import gradwright as gw
from codegen.numpy.emit import emit
from compiler.pipeline import module as lowered
from ir.kernel import Module
from tests.index_cases import CASES as INDEX_CASES
from tests.targets.interpret import interpret
from tests.targets.interpreted import expected, given
from tests.targets.numpy_programs import MORE
from tests.targets.programs import CASES, MAXIMUM, Case, perceptron

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = {"float32": 5e-5, "float64": 1e-12}


def loaded(module: Module) -> ModuleType:
    """The emitted module, run from its text."""
    ((name, text),) = emit(module).items()
    made = ModuleType(name.removesuffix(".py"))
    exec(compile(text, name, "exec"), made.__dict__)
    return made


def close(found: Any, expected: np.ndarray, real: str) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[real], atol=TOLERANCE[real])


@pytest.mark.parametrize("case", [*CASES, *MORE], ids=lambda c: c.name)
@pytest.mark.parametrize("real", ["float32", "float64"])
def test_every_case_as_the_interpreter_says(case: Case, real: str) -> None:
    module = case.module(real)
    program = module.forward.program
    model = loaded(module)
    for rows in (MAXIMUM, 1):
        values = given(case, real, rows)
        before = {name: array.copy() for name, array in values.items()}
        found = model.forward({}, *values.values())
        for public, name in program.outputs:
            result = getattr(found, public)
            assert result.dtype == program.dtype_of(name), public
            close(result, expected(case, rows)[name], real)
            assert not any(np.shares_memory(result, array) for array in values.values())
        for name, array in values.items():
            np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("name", INDEX_CASES)
def test_gradients_of_index_notation(name: str) -> None:
    """The cases of differentiation, as far as the front end brings them, forward and backward."""
    program, _ = INDEX_CASES[name]().traced(dtype="float64", batch=4)
    module = lowered(program, None, content_hash="0" * 64, version="test")
    model = loaded(module)
    params = model.init_params(3)
    assert module.gradient is not None
    expected = interpret(module.gradient.program, params, 1)
    loss, grads = model.value_and_grad(params)
    assert loss == pytest.approx(float(expected[str(module.gradient.program.loss)]), rel=1e-10)
    for of, definition in module.gradient.program.gradients:
        close(grads[of], expected[definition], "float64")
    assert any(np.any(g) for g in grads.values())


# ---------------------------------------------------------------- networks of the front end


@gw.network
def smoothed(x: gw.f32["batch", 4], label: gw.i32["batch"]) -> Any:
    """A loss with a sum whose term lacks the summed index, in its adjoint."""
    logits = gw.linear(x, 5, name="fc")
    return gw.outputs(loss=gw.cross_entropy(logits, label, label_smoothing=0.1))


@gw.network
def thinned(x: gw.f32["batch", 4], label: gw.i32["batch"]) -> Any:
    """Random numbers: a seed and a count of steps in the state."""
    (n, j), hidden = gw.indices("n j"), gw.linear(x, 6, name="fc1")
    kept = sympy.Piecewise((hidden[n, j], gw.random(n, j) < 0.5), (0, True))
    logits = gw.linear(gw.define((n, j), kept, name="kept"), 5, name="fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label))


def emitted(network: Any) -> ModuleType:
    ((name, text),) = gw.emit(network, target="numpy", batch=4, dtype="float64").items()
    made = ModuleType(name.removesuffix(".py"))
    exec(compile(text, name, "exec"), made.__dict__)
    return made


FOUR = np.random.default_rng(0).normal(size=(4, 4)), np.array([0, 1, 4, 2], "int32")


def test_label_smoothing_keeps_the_arrays_that_it_reads_again() -> None:
    program, _ = smoothed.traced(dtype="float64", batch=4)
    gradient = lowered(program, None, content_hash="0" * 64, version="test").gradient
    assert gradient is not None
    model = emitted(smoothed)
    params = model.init_params(1)
    given = dict(zip(model.INPUTS, FOUR, strict=True))
    expected = interpret(gradient.program, {**params, **given}, 4)
    loss, grads = model.value_and_grad(params, *FOUR)
    assert loss == pytest.approx(float(expected[str(gradient.program.loss)]), rel=1e-12)
    for of, definition in gradient.program.gradients:
        close(grads[of], expected[definition], "float64")


def test_the_caller_chooses_the_seed_and_the_step_of_random_draws() -> None:
    model = emitted(thinned)
    params = model.init_params(1)
    assert "seed" not in emitted(smoothed).init_state(params, seed=5)
    losses = set()
    for seed in (0, 7, -1):
        state = model.init_state(params, seed=seed)
        assert (state["seed"].dtype, state["seed"].shape) == (np.int64, ())
        assert int(state["seed"]) == seed
        for step in range(2):
            loss, _ = model.value_and_grad(params, *FOUR, seed=seed, step=step)
            trained = {name: p.copy() for name, p in params.items()}
            assert model.train_step(trained, state, *FOUR) == loss
            losses.add(loss)
    assert len(losses) == 6
    assert model.value_and_grad(params, *FOUR)[0] in losses
    same = model.value_and_grad(params, *FOUR, seed=2**64 - 1)[0]
    assert same == model.value_and_grad(params, *FOUR, seed=-1)[0]


# ---------------------------------------------------------------- a whole network


SIZES = (6, 5, 4, 3)


def batch_of(rows: int, real: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, SIZES[0])).astype(real)
    return x, random.integers(0, SIZES[-1], rows).astype("int32")


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("rows", [8, 3, 1])
def test_the_three_programs_agree_with_the_interpreter(real: str, rows: int) -> None:
    module = perceptron(SIZES, 8, real)
    model = loaded(module)
    params = model.init_params(seed=3)
    x, label = batch_of(rows, real)
    assert module.step is not None
    assert module.gradient is not None
    given = {**params, "x": x, "label": label, "lr": 0.25}
    expected = interpret(module.step.program, given, rows)

    out = model.forward(params, x)
    close(out.logits, expected["fc3"], real)
    loss, grads = model.value_and_grad(params, x, label)
    assert loss == pytest.approx(float(expected["loss"]), rel=1e-5)
    assert list(grads) == list(params)
    for name, of in module.gradient.program.gradients:
        close(grads[name], expected[of], real)
        assert grads[name].flags.c_contiguous
        assert grads[name].flags.owndata or grads[name].base is not None
        assert not any(np.shares_memory(grads[name], p) for p in params.values())
    found = model.train_step(params, model.init_state(params), x, label, lr=0.25)
    assert found == pytest.approx(loss, rel=1e-5)
    for name, of in module.step.program.updates:
        close(params[name], expected[of], real)


def test_an_epoch_is_its_steps() -> None:
    model = loaded(perceptron(SIZES, 8, "float64"))
    x, label = batch_of(21, "float64")
    order = np.random.default_rng(1).permutation(21)
    one, other = model.init_params(0), model.init_params(0)
    losses = model.train_epoch(one, {}, x, label, order, lr=0.5)
    steps = [order[a : a + 8] for a in range(0, 21, 8)]
    expected = [model.train_step(other, {}, x[s], label[s], lr=0.5) for s in steps]
    assert losses.dtype == np.float64
    assert losses.tolist() == expected
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    assert not np.array_equal(one["fc1.W"], model.init_params(0)["fc1.W"])


def test_the_same_bits_again() -> None:
    model = loaded(perceptron(SIZES, 8, "float32"))
    x, label = batch_of(8, "float32")
    runs = []
    for _ in range(2):
        params = model.init_params(7)
        losses = [model.train_step(params, {}, x, label) for _ in range(5)]
        runs.append((losses, {n: p.tobytes() for n, p in params.items()}))
    assert runs[0] == runs[1]
    assert runs[0][0][-1] < runs[0][0][0]


def test_constants_say_what_the_module_is() -> None:
    model = loaded(perceptron(SIZES, 8, "float32"))
    assert (model.NAME, model.TARGET, model.DTYPE) == ("perceptron", "numpy", "float32")
    assert model.MAX_BATCH == 8
    assert model.PARAM_SHAPES["fc1.W"] == (6, 5)
    assert model.INPUTS == {"x": (("batch", 6), "float32"), "label": (("batch",), "int32")}
    assert model.OUTPUTS == {"logits": (("batch", 3), "float32")}
    assert model.LOSS == "loss"
    assert model.STATE_SHAPES == {}
    assert model.HYPERPARAMETERS == {"lr": 0.1}
    assert model.INDEX_LIMITS == {"label": 3}
    assert model.WORKSPACE_BYTES > 0
    assert model.FLOPS_PER_STEP > 0


# ---------------------------------------------------------------- what callers get wrong


X, LABEL = batch_of(8, "float32")
WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a list": ({"x": X.tolist()}, TypeError, "x must be a NumPy array, found list"),
    "dtype": ({"x": X.astype("float64")}, TypeError, "x must have dtype float32, found float64"),
    "shape": ({"x": X[:, :5].copy()}, ValueError, r"x must have shape \(rows, 6\)"),
    "dimensions": ({"x": X[0]}, ValueError, r"x must have shape \(rows, 6\)"),
    "order in memory": ({"x": np.asfortranarray(X)}, ValueError, "x must be C-contiguous"),
    "rows": ({"label": LABEL[:7]}, ValueError, "label must have 8 rows like the other inputs"),
    "no rows": ({"x": X[:0], "label": LABEL[:0]}, ValueError, "1 to 8 rows .*, found 0"),
    "too many rows": (
        {"x": np.tile(X, (2, 1)), "label": np.tile(LABEL, 2)},
        ValueError,
        "found 16",
    ),
    "a label too large": ({"label": LABEL + np.int32(3)}, ValueError, "label must be between 0"),
    "a negative label": ({"label": LABEL - np.int32(3)}, ValueError, "label must be between 0"),
    "a parameter missing": ({"drop": "fc2.b"}, ValueError, "params must hold exactly .*'fc2.b'"),
    "a parameter too many": ({"more": "fc9.b"}, ValueError, "params must hold exactly .*'fc9.b'"),
    "a parameter's dtype": ({"wide": "fc1.W"}, TypeError, r"params\['fc1.W'\] must have dtype"),
    "read-only": ({"frozen": "fc1.W"}, ValueError, "is updated in place"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arrays_are_refused_before_anything_changes(wrong: str) -> None:
    model = loaded(perceptron(SIZES, 8, "float32"))
    changed, kind, message = WRONG[wrong]
    params = model.init_params(0)
    before = {name: p.copy() for name, p in params.items()}
    if "drop" in changed:
        del params[changed["drop"]]
    if "more" in changed:
        params[changed["more"]] = np.zeros(3, "float32")
    if "wide" in changed:
        params[changed["wide"]] = params[changed["wide"]].astype("float64")
    if "frozen" in changed:
        params[changed["frozen"]].setflags(write=False)
    x, label = changed.get("x", X), changed.get("label", LABEL)
    with pytest.raises(kind, match=message):
        model.train_step(params, {}, x, label)
    for name in before.keys() & params.keys():
        np.testing.assert_array_equal(params[name], before[name])


@pytest.mark.parametrize(
    ("order", "batch", "kind", "message"),
    [
        (np.arange(8, dtype="int32"), None, TypeError, "order must have dtype int64"),
        (np.arange(8) + 1, None, ValueError, "order must name rows between 0 and 7"),
        (np.arange(8) - 1, None, ValueError, "order must name rows between 0 and 7"),
        (np.arange(0), None, ValueError, "at least one"),
        (np.arange(8), 9, ValueError, "batch must be between 1 and 8, found 9"),
        (np.arange(8), 0, ValueError, "batch must be between 1 and 8, found 0"),
    ],
)
def test_wrong_orders_are_refused(
    order: np.ndarray, batch: int | None, kind: type[Exception], message: str
) -> None:
    model = loaded(perceptron(SIZES, 8, "float32"))
    with pytest.raises(kind, match=message):
        model.train_epoch(model.init_params(0), {}, X, LABEL, order, batch=batch)


def test_nan_goes_through_to_the_loss_without_a_warning() -> None:
    model = loaded(perceptron((6, 3), 8, "float32"))
    x = X.copy()
    x[2, 1] = np.nan
    loss, grads = model.value_and_grad(model.init_params(0), x, LABEL)
    assert np.isnan(loss)
    assert np.isnan(grads["fc1.W"]).all()


# ---------------------------------------------------------------- the text


def test_it_imports_only_numpy() -> None:
    for case in CASES:
        (text,) = emit(case.module("float32")).values()
        for node in ast.walk(ast.parse(text)):
            assert not isinstance(node, ast.ImportFrom)
            if isinstance(node, ast.Import):
                assert [a.name for a in node.names] == ["numpy"]


def test_every_kernel_says_its_equation_and_its_line() -> None:
    module = perceptron(SIZES, 8, "float32")
    (text,) = emit(module).values()
    assert "# d_fc1_W[k, j] = sum over n < batch of d_fc1[n, j]*x[n, k]" in text
    assert "fused SGD update (programs.py:1)" in text
    assert "adjoint of fc1" in text


def text_digest() -> str:
    modules = [c.module("float32") for c in (*CASES, *MORE)]
    modules += [perceptron((6, 5, 3), 8, "float32")]
    text = "".join(t for m in modules for t in emit(m).values())
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_text_is_the_same_whatever_the_hash_seed() -> None:
    """In this process, whose seed is any, and in two whose seeds are given."""
    code = "from tests.targets.test_numpy_target import text_digest; print(text_digest())"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "12345")
    }
    assert found == {text_digest()}


def test_lines_of_a_wider_network_are_as_many() -> None:
    def lines(hidden: int) -> int:
        (text,) = emit(perceptron((6, hidden, 3), 8, "float32")).values()
        return text.count("\n")

    assert lines(5) == lines(1000)


# ---------------------------------------------------------------- what NumPy lacks


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_the_error_function_is_as_precise_as_the_machine(name: str) -> None:
    case = next(c for c in MORE if c.name == "erfs")
    own = getattr(loaded(case.module("float64")), f"_{name}")
    ends = [0.0, 40.0, -40.0]
    x = np.concatenate([np.linspace(-6, 6, 4001), np.geomspace(1e-300, 27, 500), ends])
    expected = np.array([getattr(math, name)(v) for v in x])
    np.testing.assert_allclose(own(x), expected, rtol=5e-15, atol=1e-300)
    assert np.isnan(own(np.array([np.nan]))).all()
    far = np.array([np.inf, -np.inf])
    np.testing.assert_array_equal(own(far), [getattr(math, name)(v) for v in far])


def test_the_quick_error_function_of_float32() -> None:
    case = next(c for c in MORE if c.name == "erfs")
    own = loaded(case.module("float32"))._erf
    x = np.concatenate([np.linspace(-6, 6, 4001), np.geomspace(1e-37, 4, 500)]).astype("float32")
    found = own(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [math.erf(v) for v in x.tolist()], rtol=4e-7, atol=0)
    far = np.array([np.inf, -np.inf, np.nan, 0.0], "float32")
    np.testing.assert_array_equal(own(far), np.array([1.0, -1.0, np.nan, 0.0], "float32"))
    np.testing.assert_allclose(own(np.float32(0.5)), math.erf(0.5), rtol=4e-7)


def test_initial_values_follow_their_distribution() -> None:
    model = loaded(perceptron((300, 200, 3), 8, "float64"))
    drawn = model.init_params(0)["fc1.W"] / np.sqrt(2 / 300)
    assert abs(drawn.mean()) < 0.02
    assert abs(drawn.std() - 1) < 0.02
    assert np.unique(drawn).size == drawn.size
    p = np.array([1e-15, 1e-9, 0.01, 0.3, 0.5, 0.975, 1 - 1e-9])
    expected = [NormalDist().inv_cdf(v) for v in p]
    np.testing.assert_allclose(model._normal_quantile(p), expected, rtol=1e-13, atol=1e-15)


def test_seeds_beyond_64_bits_and_below_zero_are_taken() -> None:
    model = loaded(perceptron(SIZES, 8, "float32"))

    def drawn(seed: int) -> bytes:
        return bytes(model.init_params(seed)["fc1.W"].tobytes())

    for one, same in ((-1, 2**64 - 1), (2**64 + 5, 5)):
        assert drawn(one) == drawn(same)
    assert drawn(0) != drawn(1)
