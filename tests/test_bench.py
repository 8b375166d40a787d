"""`gradwright bench`: what kernels cost, the limits they are held against, the timed driver.

No time is asserted: only that every kernel has its figures, and what those are compared with.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import gradwright as gw
from codegen.c.profile import emit_profile
from compiler.driver import lowered
from compiler.schedule import loop_nest
from gradwright.compile_options import CompileOptions
from gradwright.kernel_costs import cost_of, multiply_adds
from gradwright.kernel_times import kernel_times
from gradwright.machine import Limits, Meter, bandwidth
from gradwright.native import built
from ir.errors import BuildError

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@gw.network
def small(x: gw.f32["batch", 7], label: gw.i32["batch"]):
    h = gw.relu(gw.dense(x, 5, name="fc1"))
    logits = gw.dense(h, 3, name="fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


@gw.network
def padded(x: gw.f32["batch", 2, 6, 6], label: gw.i32["batch"]):
    h = gw.conv2d(x, 3, 3, padding=1, name="conv")
    logits = gw.dense(gw.flatten(h), 4, name="fc")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)


def test_multiply_adds_of_the_perceptron_are_those_counted_by_hand() -> None:
    network = runpy.run_path(str(EXAMPLES / "mnist_mlp.py"))["mnist_mlp"]
    module = lowered(network, batch=128, optimizer=gw.sgd(lr=0.1))
    assert module.step is not None
    layers = 784 * 100 + 100 * 200 + 200 * 10
    # Forward, by weights and by inputs; nobody asks for the gradient of the image. The mean of the
    # losses is a sum of 128 products too.
    assert multiply_adds(module.step) == 2 * 128 * (3 * layers - 784 * 100) + 2 * 128


def test_terms_beyond_a_border_cost_nothing() -> None:
    module = lowered(padded, batch=2, optimizer=gw.sgd(lr=0.1))
    assert module.forward is not None
    conv = cost_of(module.forward.kernels()[0], module.forward.program)
    inside = (3 * 6 - 2) ** 2  # of 18 pairs of place and tap along a side, two are outside
    assert conv.multiply_adds == 2 * 2 * 3 * 2 * inside
    assert conv.written == 4 * 2 * 3 * 6 * 6
    assert conv.read == 4 * (2 * 2 * 6 * 6 + 3 * 2 * 3 * 3 + 3)


def test_the_limit_is_the_larger_of_arithmetic_and_memory() -> None:
    limits = Limits(peak=1e9, reading=((100, 1e9), (1000, 1e8)), copying=((1000, 5e7),))
    assert limits.seconds(1e6, 50, 0) == pytest.approx(1e-3)
    assert limits.seconds(0, 80, 0) == pytest.approx(80 / 1e9)
    assert limits.seconds(0, 500, 0) == pytest.approx(500 / 1e8)
    assert limits.seconds(0, 300, 200) == pytest.approx(400 / 5e7 + 100 / 1e8)
    assert bandwidth(limits.reading, 10**9) == 1e8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_meter_runs(dtype: str) -> None:
    meter = Meter(dtype)
    speeds = (meter.peak(1e-4), meter.reading(2**14, 1e-4), meter.copying(2**14, 1e-4))
    assert all(np.isfinite(s) and s > 0 for s in speeds)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_every_kernel_of_a_step_is_timed(optimizer: str) -> None:
    options = CompileOptions(batch=4, optimizer=optimizer)
    found = kernel_times(small, options, blocks=3)
    module = lowered(small, batch=4, optimizer=options.rule())
    assert module.step is not None
    assert sorted(k.name for k in found) == sorted(k.name for k in module.step.kernels())
    assert [k.seconds for k in found] == sorted((k.seconds for k in found), reverse=True)
    equations = [line for k in found for line in k.equations]
    assert any(line.startswith("fc1_sum[n, j] = sum over k < 7 of ") for line in equations)


def test_a_forward_pass_and_a_recurrence_are_timed() -> None:
    @gw.network
    def running(x: gw.f32["batch", 9, 4]):
        return gw.outputs(h=gw.gru(x, 3, name="cell")[0])

    found = kernel_times(running, CompileOptions(batch=3), blocks=3)
    assert len(found) >= 1
    assert all(k.cost.written for k in found)


FUNCTIONS = {"forward": "forward", "gradient": "value_and_grad", "step": "train_step"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_driver_makes_the_calls_of_the_public_function(name: str) -> None:
    module = lowered(small, batch=4, optimizer=gw.sgd(lr=0.1))
    schedule = getattr(module, name)
    profile = emit_profile(module, schedule, loop_nest)
    calls = [line.strip() for line in profile.text.splitlines() if "compute_" in line]
    assert len(calls) == len(profile.kernels) == profile.calls
    assert profile.text.count("GW_LAP(") == profile.calls + 1  # and its definition
    public = gw.emit(small, target="c", batch=4, optimizer=gw.sgd(lr=0.1))["small.c"]
    _, body, *_ = public.split(f"int small_{FUNCTIONS[name]}(")
    body = body.split("\n}\n")[0]
    assert calls == [s.strip() for s in body.splitlines() if s.lstrip().startswith("compute_")]


def test_a_refused_c_file_says_what_the_compiler_said(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text("int f(void) { return x; }\n")
    with pytest.raises(BuildError, match="the C compiler refused wrong.c") as caught:
        built(source, ["-O1"])
    assert "'x'" in str(caught.value) or "‘x’" in str(caught.value)
