"""Time an emitted C training step kernel by kernel, for `gradwright bench`.

    for kernel in kernel_times(network, options):
        print(kernel.equations[0], kernel.seconds, kernel.share)

Each kernel runs in its place in the step, with the data that the kernels before it left in the
caches; the table's order is by time. `seconds` is the median over blocks of whole passes, with the
clock's own cost taken off. One thread, C target.
"""

from __future__ import annotations

import ctypes
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codegen.c.emit import emit
from codegen.c.profile import Profile, emit_profile
from compiler.driver import load, lowered, write
from compiler.network import Network
from compiler.schedule import loop_nest
from gradwright.compile_options import CompileOptions
from gradwright.kernel_costs import Cost, cost_of
from gradwright.machine import Limits, measured
from gradwright.measure import made_up_inputs
from gradwright.native import built
from ir.errors import InputError
from ir.kernel import Kernel, Module, Schedule
from ir.text import equation

BLOCK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One call of the step: what it computes, what it costs, how long it took.

    `limit` is the least time that the machine could need, `share` how close the kernel comes to it.
    """

    name: str
    equations: tuple[str, ...]
    origin: str
    cost: Cost
    seconds: float
    limit: float

    @property
    def gflops(self) -> float:
        """Billions of operations a second."""
        return self.cost.operations / self.seconds / 1e9

    @property
    def share(self) -> float:
        """1 is the machine's limit."""
        return self.limit / self.seconds


def kernel_times(
    network: Network, options: CompileOptions, blocks: int = 30
) -> tuple[KernelTime, ...]:
    """The kernels of `train_step` (without a loss: of `forward`), the slowest first.

    Raises BuildError without a C compiler.
    """
    module = lowered(
        network,
        batch=options.batch,
        dtype=options.dtype,
        optimizer=options.rule(),
    )
    schedule = module.step or module.gradient or module.forward
    if schedule is None:
        raise InputError(f"{module.name} computes nothing", fix="return gw.outputs(...) from it")
    profile = emit_profile(module, schedule, loop_nest)
    with tempfile.TemporaryDirectory() as folder:
        seconds = _run(module, schedule, profile, Path(folder), blocks)
    limits = measured(str(_real(schedule)))
    assert limits is not None  # there is a compiler: it has just been used
    found = [_timed(k, s, schedule, limits) for k, s in zip(profile.kernels, seconds, strict=False)]
    return tuple(sorted(found, key=lambda k: -k.seconds))


def _timed(kernel: Kernel, seconds: float, schedule: Schedule, limits: Limits) -> KernelTime:
    cost = cost_of(kernel, schedule.program)
    origin = next((m.origin.short for m in kernel.members if m.origin), "")
    # A kernel shorter than the clock can see counts as one nanosecond.
    return KernelTime(
        kernel.name,
        tuple(equation(m) for m in kernel.members),
        origin,
        cost,
        max(seconds, 1e-9),
        limits.seconds(cost.operations, cost.read, cost.written),
    )


def _real(schedule: Schedule) -> str:
    kinds = [d.dtype for d in schedule.program.definitions]
    return next((k for k in kinds if k.startswith("float")), "float32")


def _run(
    module: Module, schedule: Schedule, profile: Profile, folder: Path, blocks: int
) -> list[float]:
    """Build, make arrays up, and take the median seconds of every call."""
    write(emit(module, loop_nest) | {f"{module.name}_profile.c": profile.text}, folder)
    model = load(folder / f"{module.name}_c.py")
    library = built(folder / f"{module.name}_profile.c", list(model.FLAGS))
    call = _caller(getattr(library, f"{module.name}_profile"), model, schedule)
    passes = _passes_a_block(call, profile.calls)
    found = np.empty((max(blocks, 3), profile.calls))
    for block in found:
        block[:] = 0
        call(passes, block)
    return [statistics.median(column) / passes for column in found.T]


def _passes_a_block(call: Callable[[int, NDArray[Any]], None], calls: int) -> int:
    """As many as last BLOCK_SECONDS; the first run warms up."""
    spent = 0.0
    for _ in range(2):
        began = time.perf_counter()
        call(1, np.zeros(calls))
        spent = time.perf_counter() - began
    return max(1, int(BLOCK_SECONDS / spent))


def _caller(function: Any, model: Any, schedule: Schedule) -> Callable[[int, NDArray[Any]], None]:
    """The C function on made-up inputs: passes and the array of seconds are left to say."""
    params = model.init_params(0)
    state = model.init_state(params)
    inputs = made_up_inputs(model)
    program = schedule.program
    given = [inputs[t.name] for t in program.inputs]
    given += [np.zeros(_shape(model, name), program.dtype_of(d)) for name, d in program.outputs]
    grads = {n: np.zeros_like(params[n]) for n, _ in program.gradients}
    struct = _addresses([grads.get(name) for name in params])
    places = _addresses(given)
    if program.gradients and not program.updates:
        places = (ctypes.c_void_p * (len(given) + 1))(*places, ctypes.addressof(struct))
    # A rate of zero does the same work and keeps the parameters where they are.
    settings = np.array(
        [0.0 if n == "lr" else v for n, v in model.HYPERPARAMETERS.items()] or [0.0]
    )
    workspace = np.empty(model.WORKSPACE_BYTES, np.uint8)
    owned = [_addresses(params.values()), *([_addresses(state.values())] if state else [])]
    fixed = (*owned, places, ctypes.c_void_p(settings.ctypes.data))
    kept = (params, state, given, grads, struct, settings, workspace)

    def call(passes: int, seconds: NDArray[Any], _kept: Any = kept) -> None:
        rows, size = ctypes.c_ssize_t(model.MAX_BATCH), ctypes.c_ssize_t(passes)
        memory = ctypes.c_void_p(workspace.ctypes.data)
        function(*fixed, rows, memory, size, ctypes.c_void_p(seconds.ctypes.data))

    return call


def _shape(model: Any, output: str) -> tuple[int, ...]:
    sizes, _ = model.OUTPUTS[output]
    return tuple(model.MAX_BATCH if isinstance(size, str) else size for size in sizes)


def _addresses(arrays: Any) -> Any:
    """A C array of pointers; None is a null pointer."""
    found = [0 if a is None else a.ctypes.data for a in arrays]
    return (ctypes.c_void_p * max(1, len(found)))(*found)
