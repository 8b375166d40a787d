"""The reference sources in generated/ are what the compiler emits today, and need nothing of ours.

    make generated              emits them afresh: GRADWRIGHT_UPDATE=1 for this file's tests

Each is run in a process of its own in which neither gradwright nor SymPy can be imported.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

import gradwright as gw

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ROOT / "generated"
UPDATE = os.environ.get("GRADWRIGHT_UPDATE") == "1"


@dataclass(frozen=True, slots=True)
class Reference:
    """A network of examples/, and how it is compiled."""

    name: str
    batch: int
    optimizer: gw.Optimizer

    def emit(self, target: str) -> dict[str, str]:
        path = ROOT / "examples" / f"{self.name}.py"
        spec = importlib.util.spec_from_file_location(f"reference_{self.name}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        network = getattr(module, self.name)
        return gw.emit(network, target=target, batch=self.batch, optimizer=self.optimizer)


REFERENCES = (
    Reference("mnist_mlp", 128, gw.sgd(lr=0.1)),
    Reference("lenet5", 64, gw.adam(lr=0.002)),
    Reference("small_gpt", 16, gw.adamw(lr=0.001, weight_decay=0.1, clip_norm=1.0)),
)
CASES = [(r, target) for r in REFERENCES for target in ("numpy", "c")]
IDS = [f"{r.name}-{target}" for r, target in CASES]


def difference(name: str, old: str, new: str) -> str:
    """A unified diff, its first lines, and what to do."""
    made = "emitted today"
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), name, made, lineterm="", n=1)
    shown = "\n".join(islice(lines, 40))
    return f"generated/{name} is stale: `make generated` emits it afresh\n{shown}"


@pytest.mark.parametrize(("reference", "target"), CASES, ids=IDS)
def test_is_fresh(reference: Reference, target: str) -> None:
    for name, text in reference.emit(target).items():
        path = GENERATED / name
        if UPDATE:
            path.write_text(text, encoding="utf-8", newline="\n")
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old != text:
            pytest.fail(difference(name, old, text), pytrace=False)


def test_nothing_else_is_there() -> None:
    wanted = {
        name
        for r in REFERENCES
        for name in (f"{r.name}_numpy.py", f"{r.name}_c.py", f"{r.name}.c", f"{r.name}.h")
    }
    found = {p.name for p in GENERATED.iterdir() if p.is_file()}
    assert found == wanted


def test_a_stale_file_is_shown_with_its_remedy() -> None:
    shown = difference("net.c", "int a;\nint b;\n", "int a;\nint c;\n")
    assert "make generated" in shown
    assert "-int b;\n+int c;" in shown


# Rows of zeros and ones for real inputs and of small numbers for integers: enough to learn from.
PROGRAM = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"gradwright", "compiler", "codegen", "ir", "sympy", "jinja2"}:
            raise ImportError(name + " is not on this machine")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import importlib
import numpy as np

model = importlib.import_module(sys.argv[2])
rng = np.random.default_rng(0)
inputs = [
    rng.integers(0, 2, (2, *shape[1:])).astype(dtype) if dtype.startswith("float")
    else rng.integers(0, model.INDEX_LIMITS[name], (2, *shape[1:]), dtype=dtype)
    for name, (shape, dtype) in model.INPUTS.items()
]
params = model.init_params(seed=0)
state = model.init_state(params)
losses = [model.train_step(params, state, *inputs) for _ in range(10)]
assert model.forward(params, inputs[0]).logits.shape[0] == 2
assert losses[-1] < 0.9 * losses[0], losses
assert not {"gradwright", "sympy", "jinja2"} & set(sys.modules)
print(*losses[:2])
"""


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda r: r.name)
def test_runs_where_gradwright_is_not(
    reference: Reference, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The first as users build it; LeNet-5 and the GPT learn so in test_examples_ops.py."""
    if reference is REFERENCES[0]:
        request.getfixturevalue("as_users_build")
    losses = {}
    for target in ("numpy", "c"):
        module = f"{reference.name}_{target}"
        command = [sys.executable, "-I", "-B", "-c", PROGRAM, str(GENERATED), module]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        losses[target] = [float(word) for word in done.stdout.split()]
    assert losses["numpy"] == pytest.approx(losses["c"], rel=1e-4)
