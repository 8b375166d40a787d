"""NAME_c.py: what it builds and where, what it refuses, and what it says."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from codegen.c import emit
from codegen.render import render
from tests.targets.emitted_c import COMPILERS, built, load, write
from tests.targets.programs import perceptron

ROWS, FEATURES, CLASSES = 4, 20, 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("loader")
        return built(perceptron((FEATURES, 12, CLASSES), ROWS, "float32"), folder, "cc", patch)


@pytest.fixture
def values(model: ModuleType) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return {
        "params": model.init_params(0),
        "state": {},
        "x": random.random((ROWS, FEATURES), dtype="float32"),
        "label": random.integers(0, CLASSES, ROWS).astype("int32"),
    }


# ---------------------------------------------------------------- what the module says and does


def test_the_public_constants(model: ModuleType) -> None:
    assert (model.NAME, model.TARGET, model.DTYPE) == ("perceptron", "c", "float32")
    assert model.MAX_BATCH == ROWS
    assert model.PARAM_SHAPES == {
        "fc1.W": (20, 12), "fc1.b": (12,), "fc2.W": (12, 5), "fc2.b": (5,),
    }  # fmt: skip
    assert model.INPUTS == {
        "x": (("batch", 20), "float32"), "label": (("batch",), "int32"),
    }  # fmt: skip
    assert model.OUTPUTS == {"logits": (("batch", 5), "float32")}
    assert model.LOSS == "loss"
    assert model.STATE_SHAPES == {}
    assert model.HYPERPARAMETERS == {"lr": 0.1}
    assert model.INDEX_LIMITS == {"label": CLASSES}
    assert model.WORKSPACE_BYTES > 0
    assert model.FLOPS_PER_STEP > 0


def test_an_epoch_is_its_steps(model: ModuleType, values: dict[str, Any]) -> None:
    """In the order given, the last batch short, bit for bit."""
    random = np.random.default_rng(2)
    x = random.random((11, FEATURES), dtype="float32")
    label = random.integers(0, CLASSES, 11).astype("int32")
    order = random.permutation(11)
    by_steps = {k: v.copy() for k, v in values["params"].items()}
    losses = [
        model.train_step(by_steps, {}, x[rows].copy(), label[rows].copy(), lr=0.3)
        for rows in (order[:4], order[4:8], order[8:])
    ]
    found = model.train_epoch(values["params"], {}, x, label, order, lr=0.3)
    assert found.dtype == "float64"
    assert found.tolist() == losses
    for name in by_steps:
        assert by_steps[name].tobytes() == values["params"][name].tobytes()
    small = model.train_epoch(values["params"], {}, x, label, order[:5], batch=2)
    assert small.shape == (3,)


def test_a_step_is_its_gradient(model: ModuleType, values: dict[str, Any]) -> None:
    before = {k: v.copy() for k, v in values["params"].items()}
    loss, grads = model.value_and_grad(values["params"], values["x"], values["label"])
    assert list(grads) == list(before)
    assert model.train_step(**values, lr=0.5) == loss
    for name, gradient in grads.items():
        np.testing.assert_allclose(
            values["params"][name], before[name] - np.float32(0.5) * gradient, rtol=1e-5, atol=1e-6
        )


def test_parameters_that_were_replaced_are_seen(model: ModuleType, values: dict[str, Any]) -> None:
    """The struct of pointers is kept for the same arrays only."""
    first = model.forward(values["params"], values["x"]).logits
    values["params"]["fc2.b"] = values["params"]["fc2.b"] + 1
    np.testing.assert_allclose(
        model.forward(values["params"], values["x"]).logits, first + 1, rtol=1e-4
    )


def test_nan_goes_through(model: ModuleType, values: dict[str, Any]) -> None:
    values["x"][1, 3] = np.nan
    assert np.isnan(model.train_step(**values))


def test_threads_have_workspaces_of_their_own(model: ModuleType, values: dict[str, Any]) -> None:
    x = np.random.default_rng(3).random((8, ROWS, FEATURES), dtype="float32")
    expected = [model.forward(values["params"], part).logits for part in x]
    found: list[Any] = [None] * 8

    def run(i: int) -> None:
        for _ in range(200):
            found[i] = model.forward(values["params"], x[i]).logits

    workers = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.tobytes() == theirs.tobytes()


Change = Callable[[dict[str, Any]], object]

REFUSED: dict[str, tuple[Change, type[Exception], str]] = {
    "dtype": (
        lambda v: v.update(x=v["x"].astype("float64")),
        TypeError, r"x must have dtype float32, found float64: use x.astype\(np.float32\)",
    ),
    "shape": (
        lambda v: v.update(x=np.zeros((ROWS, 21), "float32")),
        ValueError, r"x must have shape \(4, 20\), found \(4, 21\)",
    ),
    "dimensions": (
        lambda v: v.update(x=v["x"][0]), ValueError, r"x must have shape \(20, 20\), found \(20,\)",
    ),
    "not an array": (
        lambda v: v.update(x=v["x"].tolist()), TypeError, "x must be a NumPy array, found list",
    ),
    "memory order": (
        lambda v: v.update(x=np.asfortranarray(v["x"])),
        ValueError, r"x must be C-contiguous: use np.ascontiguousarray\(x\)",
    ),
    "strides": (
        lambda v: v.update(label=np.zeros(2 * ROWS, "int32")[::2]),
        ValueError, "label must be C-contiguous",
    ),
    "unaligned": (
        lambda v: v.update(x=np.zeros(321, "u1")[1:].view("float32").reshape(ROWS, FEATURES)),
        ValueError, "x must be C-contiguous",
    ),
    "rows differ": (
        lambda v: v.update(label=v["label"][:3]), ValueError, r"label must have shape \(4,\)",
    ),
    "too many rows": (
        lambda v: v.update(x=np.zeros((5, FEATURES), "float32"), label=np.zeros(5, "int32")),
        ValueError, r"1 to 4 rows \(compiled with batch=4\), found 5",
    ),
    "no rows": (
        lambda v: v.update(x=v["x"][:0], label=v["label"][:0]), ValueError, "found 0",
    ),
    "label": (
        lambda v: v["label"].__setitem__(2, CLASSES),
        ValueError, "label must be between 0 and 4, found 5",
    ),
    "negative label": (
        lambda v: v["label"].__setitem__(0, -1),
        ValueError, "label must be between 0 and 4, found -1",
    ),
    "read-only": (
        lambda v: v["params"]["fc1.W"].setflags(write=False),
        ValueError, r"params\['fc1.W'\] is updated in place, but the array is read-only",
    ),
    "missing": (
        lambda v: v["params"].pop("fc1.b"),
        ValueError, "params must hold exactly .*; look at 'fc1.b'",
    ),
    "unknown": (
        lambda v: v["params"].update(b=v["x"]), ValueError, "look at 'b'",
    ),
    "shape of a parameter": (
        lambda v: v["params"].update({"fc1.b": np.zeros(3, "float32")}),
        ValueError, r"params\['fc1.b'\] must have shape \(12,\), found \(3,\)",
    ),
    "learning rate": (lambda v: v.update(lr="fast"), ValueError, "could not convert"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    name: str, model: ModuleType, values: dict[str, Any]
) -> None:
    change, kind, message = REFUSED[name]
    change(values)
    before = {k: v.copy() for k, v in values["params"].items()}
    with pytest.raises(kind, match=message):
        model.train_step(**values)
    for key, array in before.items():
        assert array.tobytes() == values["params"][key].tobytes()


@pytest.mark.parametrize(
    ("order", "batch", "message"),
    [
        (np.array([0, 4]), None, "order must name rows between 0 and 3"),
        (np.array([-1]), None, "order must name rows between 0 and 3"),
        (np.array([], "int64"), None, "at least one"),
        (np.array([0.0]), None, "order must have dtype int64"),
        (np.array([0]), 5, "batch must be between 1 and 4, found 5"),
        (np.array([0]), 0, "batch must be between 1 and 4, found 0"),
    ],
)
def test_epochs_that_do_not_fit(
    order: Any, batch: int | None, message: str, model: ModuleType, values: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        model.train_epoch(**values, order=order, batch=batch)


# ---------------------------------------------------------------- building


def small(folder: Path, patch: pytest.MonkeyPatch, command: str = "") -> Path:
    """The loader of a small module, not loaded yet; without a command, for the quick compiler."""
    patch.setenv("CC", command or os.environ["CC"])
    patch.setenv("GRADWRIGHT_CACHE", str(folder / "cache"))
    return write(perceptron((6, 5, 4), 2, "float32"), folder)


def libraries(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "kernels").glob("*.so"))


def test_the_cache_is_used_and_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, monkeypatch)
    load(path)
    (library,) = libraries(tmp_path)
    assert stat.S_IMODE(library.parent.stat().st_mode) == 0o700
    written = library.stat().st_mtime_ns
    load(path)
    assert library.stat().st_mtime_ns == written
    source = tmp_path / "perceptron.c"
    source.write_text(source.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    load(path)
    assert len(libraries(tmp_path)) == 2, "another source is another library"


def test_a_damaged_library_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, monkeypatch)
    load(path)
    (library,) = libraries(tmp_path)
    good = library.read_bytes()
    replacement = library.with_suffix(".other")
    replacement.write_bytes(b"not a library")
    replacement.replace(library)
    assert load(path).init_params(0)
    assert library.read_bytes()[:4] == good[:4]


def test_a_folder_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path, monkeypatch)
    kernels = tmp_path / "cache" / "kernels"
    kernels.mkdir(parents=True)
    kernels.chmod(0o777)
    with pytest.raises(RuntimeError, match="others could write to the cache folder"):
        load(path)
    assert list(kernels.iterdir()) == []


def test_a_folder_below_one_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path, monkeypatch)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(RuntimeError, match="others could write to the cache folder"):
        load(path)
    (tmp_path / "cache").chmod(0o1777)
    assert load(path).init_params(0), "where the sticky bit is set, nobody can replace it"


EVIL = """#include <stdio.h>
__attribute__((constructor)) static void run(void) { fclose(fopen("%s", "w")); }
"""


def plant(library: Path, evil: Path, sign: str) -> None:
    """Put a library that leaves a mark when it is loaded in the place of ours."""
    library.unlink()
    if sign == "a link":
        library.symlink_to(evil)
    else:
        library.write_bytes(evil.read_bytes())
        library.chmod(0o777 if sign == "writable by others" else 0o700)
    if sign == "another's":
        os.chown(library, 12345, -1)
    if sign != "unsigned":
        digest = hashlib.sha256(library.read_bytes()).hexdigest()
        library.with_suffix(".sha256").write_text(digest, encoding="ascii")


def test_a_planted_library_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, monkeypatch)
    load(path)
    (library,) = libraries(tmp_path)
    mark, source, evil = tmp_path / "mark", tmp_path / "evil.c", tmp_path / "evil.so"
    source.write_text(EVIL % mark, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", evil], check=True)
    # Only root can give a file away.
    others = ["another's"] if os.getuid() == 0 else []
    for sign in ("unsigned", "a link", "writable by others", *others):
        plant(library, evil, sign)
        assert load(path).init_params(0), sign
        assert not mark.exists(), sign
        assert library.is_file(), sign
        assert not library.is_symlink(), sign
        assert stat.S_IMODE(library.stat().st_mode) == 0o700, sign


def test_a_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, monkeypatch)
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    with pytest.raises(
        RuntimeError, match="cannot use the cache folder .*\n  fix: set GRADWRIGHT_"
    ):
        load(path)


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, monkeypatch)
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"no C compiler found \(looked for cc, gcc, clang\)"
    ) as e:
        load(path)
    assert "--target numpy" in str(e.value)


def test_the_compilers_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, monkeypatch)
    source = tmp_path / "perceptron.c"
    source.write_text("#error this is no program\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="refused perceptron.c:\n(.|\n)*this is no program"):
        load(path)
    assert libraries(tmp_path) == []
    assert [p.name for p in (tmp_path / "cache" / "kernels").iterdir()] == []


def test_a_compiler_that_does_not_know_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-march=native is left out if that is all that is in the way."""
    wrapper = tmp_path / "plain-cc"
    wrapper.write_text('#!/bin/sh\ncase "$*" in *native*) exit 1;; esac\nexec cc "$@"\n')
    wrapper.chmod(0o755)
    assert load(small(tmp_path, monkeypatch, str(wrapper))).init_params(0)


def test_a_library_of_another_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, monkeypatch)
    load(path)
    (library,) = libraries(tmp_path)
    (tmp_path / "perceptron.so").hardlink_to(library)
    assert load(path).MAX_BATCH == 2
    write(perceptron((6, 5, 4), 3, "float32"), tmp_path)
    with pytest.raises(RuntimeError, match="perceptron.so was built from another source"):
        load(path)


@pytest.mark.parametrize("edited", ["module.c.jinja", "module.h.jinja"])
def test_an_edited_template_is_another_source(
    edited: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small(tmp_path, monkeypatch)
    load(path)
    (library,) = libraries(tmp_path)
    (tmp_path / "perceptron.so").hardlink_to(library)

    def rendered(target: str, template: str, view: object) -> str:
        return render(target, template, view) + ("/* edited */\n" if template == edited else "")

    monkeypatch.setattr(emit, "render", rendered)
    small(tmp_path, monkeypatch)
    with pytest.raises(RuntimeError, match="perceptron.so was built from another source"):
        load(path)


def test_two_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small(tmp_path, monkeypatch)
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import perceptron_c as m"
    script += "; print(float(m.init_params(0)['fc1.W'].sum()))"
    workers = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {worker.communicate()[0] for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0]
    assert said == {f"{float(load(path).init_params(0)['fc1.W'].sum())}\n"}
    kernels = tmp_path / "cache" / "kernels"
    assert sorted(p.suffix for p in kernels.iterdir()) == [".sha256", ".so"]


def test_it_needs_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, elsewhere, it has imported neither SymPy nor gradwright."""
    small(tmp_path, monkeypatch)
    script = (
        "import sys, perceptron_c as m\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'sympy', 'gradwright', 'ir', 'compiler', 'codegen', 'jinja2'}))\n"
        "x = m.np.zeros((2, 6), 'float32')\n"
        "print(m.forward(m.init_params(0), x).logits.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n(2, 4)\n"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_same_bits_from_run_to_run(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = built(
        perceptron((FEATURES, 17, CLASSES), ROWS, "float32"), tmp_path, compiler, monkeypatch
    )
    random = np.random.default_rng(5)
    x = random.random((12, FEATURES), dtype="float32")
    label = random.integers(0, CLASSES, 12).astype("int32")
    runs = []
    for _ in range(2):
        params = model.init_params(0)
        losses = model.train_epoch(params, {}, x, label, np.arange(12))
        runs.append([losses.tobytes(), *(p.tobytes() for p in params.values())])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("real", ["float32", "float64"])
def test_portable_bits_are_those_of_every_compiler(
    real: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No contraction, no vectors of the machine's own length: gcc and clang agree to the bit."""
    module = replace(perceptron((FEATURES, 17, CLASSES), ROWS, real), portable=True)
    random = np.random.default_rng(5)
    x = random.random((11, FEATURES)).astype(real)
    label = random.integers(0, CLASSES, 11).astype("int32")
    runs = set()
    for compiler in COMPILERS:
        model = built(module, tmp_path, compiler, monkeypatch)
        assert "-march=native" not in model.FLAGS
        params = model.init_params(0)
        losses = model.train_epoch(params, {}, x, label, np.arange(11), lr=0.5)
        runs.add((losses.tobytes(), *(p.tobytes() for p in params.values())))
    assert len(runs) == 1
