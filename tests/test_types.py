"""What an editor knows: typed functions in generated modules, and a typed face."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

import numpy as np
import pytest

import gradwright as gw
from gradwright.training.model import CompiledModel

FUNCTIONS = [
    *("init_params", "init_state", "forward", "value_and_grad", "train_step", "train_epoch")
]


@gw.network
def net(x: gw.f32["batch", 6], label: gw.i32["batch"]):
    logits = gw.dense(gw.dropout(x, 0.5), 3, name="fc")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


@pytest.fixture(scope="module", params=["c", "numpy"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> CompiledModel:
    folder = tmp_path_factory.mktemp("typed")
    return gw.compile(net, target=request.param, batch=4, optimizer=gw.adam(), out=folder)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_of_a_module_is_typed(model: CompiledModel, name: str) -> None:
    function = getattr(model, name)
    hints = get_type_hints(function)
    assert set(hints) == {*inspect.signature(function).parameters, "return"}


def outputs_of(kind: type) -> dict[str, object]:
    """The parts of a named tuple: annotated, or properties that say what they return."""
    made = {n: p.fget for n, p in vars(kind).items() if isinstance(p, property)}
    return get_type_hints(kind) or {n: get_type_hints(f)["return"] for n, f in made.items()}


def test_types_say_what_comes_back(model: CompiledModel) -> None:
    params = model.init_params(0)
    out = model.forward(params, np.zeros((4, 6), np.float32))
    assert outputs_of(type(out)) == {"logits": np.ndarray}
    assert out.logits is out[0]
    assert repr(out).startswith("Outputs(logits=array(")
    assert get_type_hints(model.forward)["return"] is type(out)
    assert get_type_hints(model.train_step)["return"] is float
    assert get_type_hints(model.train_step)["lr"] == float | None
    assert isinstance(model.train_step(
        params, model.init_state(params), np.zeros((4, 6), np.float32), np.zeros(4, np.int32)
    ), float)  # fmt: skip


def test_the_two_targets_have_the_same_signatures(tmp_path: Path) -> None:
    models = [gw.compile(net, target=t, batch=4, out=tmp_path) for t in ("c", "numpy")]
    for name in FUNCTIONS:
        c, numpy = (inspect.signature(getattr(m, name)).parameters for m in models)
        assert list(c) == list(numpy)
        assert [p.default for p in c.values()] == [p.default for p in numpy.values()]


def test_the_protocol_names_what_modules_have(model: CompiledModel) -> None:
    constants = set(CompiledModel.__annotations__)
    assert {name for name in constants if not hasattr(model, name)} == set()
    assert set(FUNCTIONS) <= set(dir(CompiledModel))


def test_public_names_are_not_hidden_by_packages() -> None:
    import_module("gradwright.training")
    import_module("gradwright.inspection")
    assert [n for n in gw.__all__ if isinstance(getattr(gw, n), ModuleType)] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(gw.__file__).with_name("py.typed").is_file()
