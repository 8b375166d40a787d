"""The passes together: fusion, verification, and text that depends on the model alone."""

import gc
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sympy

import gradwright as gw
from compiler.driver import load, lowered, write
from compiler.pipeline import PASSES, stages
from ir.errors import GradwrightError, VerifyError
from ir.expression import Access, index_symbol, tensor_symbol
from ir.kernel import Kernel
from ir.placement import ALIGNMENT
from ir.program import Program, Range
from ir.verify import verify

ROOT = Path(__file__).resolve().parent.parent


@gw.network
def mlp(x: gw.f32["batch", 20], label: gw.i32["batch"]):
    h = gw.relu(gw.dense(x, 16, name="fc1"))
    logits = gw.dense(h, 10, name="fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


@gw.network
def strided(x: gw.f32["batch", 2, 9]):
    n, o, c, r = gw.indices("n o c r")
    p = gw.index("p", 5)
    w = gw.param("w", (3, 2, 3))
    y = gw.define((n, o, p), gw.sum(x[n, c, 2 * p + r - 1] * w[o, c, r], over=(c, r)))
    return gw.outputs(loss=gw.define((), gw.mean(gw.tanh(y)[n, o, p] ** 2, over=(n, o, p))), y=y)


def test_updates_and_activations_ride_in_the_loops_that_make_them() -> None:
    step = lowered(mlp, batch=8, optimizer=gw.sgd(lr=0.1)).step
    assert step is not None
    kernels = {k.name: k for k in step.kernels()}
    assert [m.name for m in kernels["fc1"].members] == ["fc1_sum", "fc1", "h"]
    assert kernels["fc1"].stored == ("h",)
    assert [m.name for m in kernels["d_fc1_W"].members] == ["d_fc1.W", "fc1.W_next"]
    assert kernels["d_fc1_W"].stored == ("fc1.W_next",)


def test_an_update_waits_for_every_reader_of_the_old_value() -> None:
    step = lowered(mlp, batch=8, optimizer=gw.sgd(lr=0.1)).step
    assert step is not None
    replaced = {name: tensor for tensor, name in step.program.updates}
    gone: set[str] = set()
    for kernel in step.kernels():
        assert not gone.intersection(r for m in kernel.members for r in m.reads())
        gone |= {replaced[m.name] for m in kernel.members if m.name in replaced}
    assert gone == {"fc1.W", "fc1.b", "fc2.W", "fc2.b"}


def test_no_update_waits_for_what_a_step_computes_once() -> None:
    """Gradients of plain descent and of Adam: the same kernels in the same order, same storage."""
    plain, adam = (lowered(mlp, batch=8, optimizer=o).step for o in (gw.sgd(0.1), gw.adam(0.1)))
    assert plain is not None
    assert adam is not None
    order = [k.name for k in adam.kernels()]
    assert order == ["step_size", "unbiased", *(k.name for k in plain.kernels()), "step_next"]
    assert adam.workspace_bytes == plain.workspace_bytes + 2 * ALIGNMENT


@pytest.mark.parametrize("batch", [8, 0])
def test_emission_leaves_the_collector_of_cycles_as_it_was(batch: int) -> None:
    before = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    try:
        gw.emit(mlp, target="numpy", batch=batch)
    except GradwrightError:
        assert not batch
    finally:
        after = gc.get_threshold()
        gc.set_threshold(*before)
    assert after == (701, 11, 12)


def test_storage_is_reused() -> None:
    @gw.network
    def deep(x: gw.f32["batch", 32]):
        h = x
        for i in range(8):
            h = gw.tanh(gw.dense(h, 32, name=f"fc{i}"))
        return gw.outputs(y=h)

    forward = lowered(deep, batch=16).forward
    assert forward is not None
    assert 0 < forward.workspace_bytes < forward.temporaries_bytes / 3


@pytest.mark.parametrize("name", PASSES)
def test_stop_after_prints_the_program(name: str) -> None:
    text = gw.lower_to_text(mlp, stop_after=name)
    assert "fc1" in text
    assert text == gw.lower_to_text(mlp, stop_after=name)


def test_unknown_pass() -> None:
    with pytest.raises(GradwrightError, match="no pass 'optimise'"):
        gw.lower_to_text(mlp, stop_after="optimise")


def test_text_of_a_program() -> None:
    text = gw.lower_to_text(strided, stop_after="lower")
    line = next(t for t in text.splitlines() if "y[n, o, p]" in t)
    assert line == (
        "  y[n, o, p] = sum over c < 2, r < 3 where 2*p + r - 1 >= 0 and 2*p + r - 1 < 9"
        " of w[o, c, r]*x[n, c, 2*p + r - 1]"
    )
    adjoint = gw.lower_to_text(strided, stop_after="merge")
    assert "where (r + i)%2 == 0" not in adjoint
    assert "d_w[o, c, r] = sum over n < batch, p < 5" in adjoint


def emitted() -> str:
    """Both networks for both targets."""
    files = [
        file
        for network in (mlp, strided)
        for target in ("c", "numpy")
        for file in gw.emit(network, target=target, batch=8, optimizer=gw.sgd(lr=0.1)).items()
    ]
    return "\n".join(f"{name}\n{text}" for name, text in files)


def test_text_depends_neither_on_hashing_nor_on_place_or_time(tmp_path: Path) -> None:
    """This process, whose hash seed is any, and two elsewhere."""
    texts = [emitted()]
    for seed, zone in (("0", "Asia/Tokyo"), ("12345", "America/New_York")):
        folder = tmp_path / f"place{seed}"
        folder.mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", "from tests.test_pipeline import emitted; print(emitted())"],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(ROOT)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        texts.append(ran.stdout.removesuffix("\n"))
    assert texts[0] == texts[1] == texts[2]
    assert len(texts[0]) > 10_000
    assert str(ROOT) not in texts[0]
    assert str(tmp_path) not in texts[0]


def base() -> Program:
    return list(stages(mlp.trace(batch=4)))[-1].program


def changed(program: Program, name: str, **fields: object) -> Program:
    made = tuple(replace(d, **fields) if d.name == name else d for d in program.definitions)
    return replace(program, definitions=made)


k, z = (index_symbol(n) for n in "kz")
BROKEN = {
    "names are unique and allowed": lambda p: replace(
        p, definitions=(*p.definitions, p.definitions[0])
    ),
    "definitions precede their readers": lambda p: replace(p, definitions=p.definitions[::-1]),
    "indices fit dimensions": lambda p: changed(
        p, "fc1_sum", body=Access(tensor_symbol("x", "float32"), k)
    ),
    "no free symbols": lambda p: changed(p, "fc1_sum", body=p.definition("fc1_sum").body * z),
    "only the IR's language": lambda p: changed(
        p, "fc1_sum", body=sympy.Max(p.definition("fc1_sum").body, 0)
    ),
    "forms are whole": lambda p: changed(
        p, "h", where=(sympy.Ge(p.definition("h").indices[1].index, 1),)
    ),
    "accesses are in bounds": lambda p: changed(p, "fc1_sum", over=(Range(k, 21),)),
    "results exist": lambda p: replace(p, loss="nowhere"),
}


@pytest.mark.parametrize("invariant", BROKEN)
def test_the_verifier_names_what_is_broken(invariant: str) -> None:
    assert verify(base(), "nothing") is not None
    with pytest.raises(VerifyError, match=f"after sabotage: {invariant}"):
        verify(BROKEN[invariant](base()), "sabotage")


def test_the_verifier_watches_recurrences() -> None:
    @gw.network
    def scan():
        a = gw.param("a", (5,))
        t = gw.index("t", 5)
        c = gw.define(t, lambda c: sympy.Piecewise((a[0], sympy.Eq(t, 0)), (c[t - 1] + a[t], True)))
        return gw.outputs(c=c)

    program = scan.trace()
    (d,) = program.definitions
    assert d.scan is not None
    upside_down = replace(d, scan=replace(d.scan, downwards=True))
    with pytest.raises(VerifyError, match="recurrences look back"):
        verify(replace(program, definitions=(upside_down,)), "sabotage")


def test_value_of_a_recurrence(tmp_path: Path) -> None:
    """A loop in emitted source: as many lines for 5 steps as for 500, right in both targets."""

    def network(steps: int) -> gw.Network:
        @gw.network
        def running(x: gw.f64["batch", steps]):
            n, t = gw.index("n", "batch"), gw.index("t", steps)
            c = gw.define(
                (n, t),
                lambda c: sympy.Piecewise(
                    (x[n, 0], sympy.Eq(t, 0)), (c[n, t - 1] * 0.5 + x[n, t], True)
                ),
            )
            return gw.outputs(c=c)

        return running

    x = np.arange(10.0).reshape(2, 5)
    expected = x.copy()
    for t in range(1, 5):
        expected[:, t] += 0.5 * expected[:, t - 1]
    for target in ("numpy", "c"):
        model = gw.compile(network(5), target=target, out=tmp_path / target)
        np.testing.assert_allclose(model.forward({}, x).c, expected, rtol=1e-15)
        short, long = (gw.emit(network(s), target=target) for s in (5, 500))
        assert [t.count("\n") for t in short.values()] == [t.count("\n") for t in long.values()]


def test_kernels_hold_what_they_promise() -> None:
    """Members of a kernel share its space; what one reads of another is at its own point."""
    module = lowered(strided, batch=4, optimizer=gw.sgd(lr=0.1))
    for schedule in (module.forward, module.gradient, module.step):
        assert schedule is not None
        for kernel in schedule.kernels():
            assert isinstance(kernel, Kernel)
            for member in kernel.members:
                if member.reduce != "scatter":
                    assert [r.size for r in member.indices] == [r.size for r in kernel.space]
                    assert [r.index for r in member.indices] == [r.index for r in kernel.space]


def test_a_module_that_is_made_again_at_once_is_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text is as long, and of the same second: Python's bytecode of the first is no other."""
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    path, second = tmp_path / "made.py", 1_000_000_000
    for number in (1, 2):
        write({path.name: f"NUMBER = {number}\n"}, tmp_path)
        os.utime(path, (second, second))
        assert number == load(path).NUMBER
