"""Initial parameters: the same bits from C and from NumPy, and the right law."""

from __future__ import annotations

from math import erf, sqrt
from pathlib import Path

import numpy as np
import pytest

from codegen.numpy.emit import emit as emit_numpy
from ir.kernel import Module
from ir.program import Batch, Initializer, Program, Tensor
from tests.targets.emitted_c import BUILDS, built, load
from tests.targets.programs import BATCH, HERE, define, n, over, scheduled, x


def module(real: str) -> Module:
    """Parameters of every kind; the network itself is nothing."""
    kinds = {
        "a.zeros": Initializer("zeros"),
        "b.uniform": Initializer("uniform", (-0.3, 0.7)),
        "c.normal": Initializer("normal", (1.0, 2.0)),
        "d.fixed": Initializer("constant", tuple(i / 7 for i in range(70))),
        "e.one": Initializer("constant", (0.1,)),
        "f.normal": Initializer("normal", (0.0, 1e-3)),
    }
    shapes = {"c.normal": (300, 100), "d.fixed": (7, 10)}
    program = Program(
        "starts",
        Batch(BATCH, 2),
        inputs=(Tensor("x", (BATCH,), real, "input", HERE),),
        parameters=tuple(
            Tensor(name, shapes.get(name, (5, 3)), real, "parameter", HERE, init)
            for name, init in kinds.items()
        ),
        definitions=(define("y", over(n, BATCH), x(n) * 2, dtype=real),),
        outputs=(("y", "y"),),
    )
    return Module("starts", scheduled(program), None, None, "0" * 64, "test", 0)


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_the_same_bits_everywhere(
    real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((name, text),) = emit_numpy(module(real)).items()
    (tmp_path / name).write_text(text, encoding="utf-8")
    numpy = load(tmp_path / name)
    for command in BUILDS:
        c = built(module(real), tmp_path, command, monkeypatch)
        for seed in (0, 1, 2**63 + 5):
            mine, theirs = c.init_params(seed), numpy.init_params(seed)
            assert list(mine) == list(theirs) == list(c.PARAM_SHAPES)
            for key in mine:
                assert mine[key].dtype == theirs[key].dtype == real
                assert mine[key].tobytes() == theirs[key].tobytes(), (command, seed, key)


def test_the_law_of_the_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kolmogorov's distance of 30,000 draws, which is over 1.95 / sqrt(n) once in a thousand."""
    params = built(module("float64"), tmp_path, BUILDS[0], monkeypatch).init_params(3)
    draws = np.sort((params["c.normal"].ravel() - 1.0) / 2.0)
    law = np.array([0.5 + 0.5 * erf(d / sqrt(2)) for d in draws])
    steps = np.arange(len(draws) + 1) / len(draws)
    distance = max(np.abs(law - steps[1:]).max(), np.abs(law - steps[:-1]).max())
    assert 0 < distance < 1.95 / sqrt(len(draws))
    assert np.abs(draws).max() > 3.5, "no draw came from the tails"
    uniform = params["b.uniform"]
    assert uniform.min() >= -0.3
    assert uniform.max() < 0.7
    assert len(np.unique(uniform)) == uniform.size
    assert not params["a.zeros"].any()
    np.testing.assert_array_equal(params["d.fixed"].ravel(), [i / 7 for i in range(70)])
    np.testing.assert_array_equal(params["e.one"], np.full((5, 3), 0.1))


def test_seeds_and_parameters_have_streams_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = built(module("float64"), tmp_path, BUILDS[0], monkeypatch)
    first, second = model.init_params(0), model.init_params(1)
    assert not np.intersect1d(first["c.normal"], second["c.normal"]).size
    assert not np.intersect1d((first["c.normal"] - 1) / 2, first["f.normal"] / 1e-3).size
    assert first["c.normal"].tobytes() == model.init_params(0)["c.normal"].tobytes()
