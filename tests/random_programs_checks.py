"""What must hold for every random program, checked for many of them in one network.

    trial = Trial.of(bundle, folder, seed=7)
    problems = check_gradients(trial) + check_passes(trial) + check_build(trial, BUILDS["c, tiled"])

A problem is a line of text, or there are none. The tolerance of every comparison of two ways to
compute a number is what tests/rounding.py finds for it: each way within its radius of the centre.
Derivatives are compared along random directions: an element that is wrong moves the product.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

import gradwright as gw
from codegen.c.emit import emit as emit_c
from codegen.numpy.emit import emit as emit_numpy
from compiler import pipeline
from compiler.driver import load as import_file
from compiler.evaluate import evaluate
from compiler.memory import temporaries
from compiler.schedule import loop_nest
from ir.program import Program
from tests.random_programs import BATCH, Array, RandomProgram, load, prefix
from tests.rounding import Rounded, bounded

MAXIMUM = 5  # rows at most; a call passes fewer, so that a size is not mistaken for the other
ROWS = 4
RATE = 0.125
STEP = 1e-30  # of the complex step
CENTRAL = 2.0**-20


@dataclass
class Trial:
    """A network of random programs, its numbers, and the program as every pass left it."""

    bundle: Sequence[RandomProgram]
    folder: Path
    network: gw.Network
    values: dict[str, np.ndarray]
    rng: np.random.Generator
    kinks: int = 0
    compared: int = 0
    unknown: int = 0
    tightness: list[float] = field(default_factory=list)

    @staticmethod
    def of(bundle: Sequence[RandomProgram], folder: Path, seed: int, name: str = "sample") -> Trial:
        rng = np.random.default_rng(seed)
        values = {
            f"{prefix(i, len(bundle))}{a.name}": _drawn(a, rng)
            for i, program in enumerate(bundle)
            for a in (*program.inputs, *program.parameters)
        }
        return Trial(bundle, folder, load(bundle, folder, name), values, rng)

    @cached_property
    def stages(self) -> list[pipeline.Stage]:
        program = self.network.trace(dtype="float64", batch=MAXIMUM)
        return list(pipeline.stages(program, gw.sgd(lr=RATE)))

    @cached_property
    def known(self) -> dict[str, Rounded]:
        """The values of the final program, and how far rounding may move them."""
        return bounded(self.stages[-1].program, self.values, ROWS)

    @cached_property
    def losses(self) -> list[str]:
        """The definition of each program's own loss."""
        named = dict(self.stages[0].program.outputs)
        if len(self.bundle) == 1:
            loss = self.stages[0].program.loss
            assert loss is not None
            return [loss]
        return [named[f"p{i}_loss"] for i in range(len(self.bundle))]

    def own(self, name: str) -> int:
        """The program that a tensor belongs to."""
        return int(name[1 : name.index("_")]) if len(self.bundle) > 1 else 0


def _drawn(a: Array, rng: np.random.Generator) -> np.ndarray:
    """Numbers that float32 holds exactly."""
    shape = tuple(ROWS if s == BATCH else int(s) for s in a.shape)
    if a.limit is not None:
        return rng.integers(0, a.limit, shape).astype(np.int32)
    return rng.uniform(a.low, a.high, shape).astype(np.float32).astype(np.float64)


# ---------------------------------------------------------------- gradients


def check_gradients(trial: Trial) -> list[str]:
    """The symbolic gradient against a complex step and against central differences."""
    final = trial.stages[-1].program
    problems, moving = [], [False] * len(trial.bundle)
    by_program: dict[int, list[tuple[str, str]]] = {}
    for parameter, gradient in final.gradients:
        by_program.setdefault(trial.own(parameter), []).append((parameter, gradient))
    for turn in range(max(map(len, by_program.values()))):
        chosen = {i: pairs[turn] for i, pairs in by_program.items() if turn < len(pairs)}
        directions = {
            p: trial.rng.standard_normal(trial.values[p].shape) for p, _ in chosen.values()
        }
        stepped = _losses(trial, directions, 1j * STEP)
        ends = [_losses(trial, directions, s * CENTRAL) for s in (1, -1)]
        for i, (parameter, gradient) in chosen.items():
            v, g = directions[parameter], trial.known[gradient]
            made, scale = float(np.sum(g.centre * v)), float(np.sum(np.abs(g.centre * v)))
            spread = float(np.sum(g.radius[0] * np.abs(v)))
            exact = stepped[i].imag / STEP
            moving[i] |= bool(np.any(g.centre))
            if not abs(made - exact) <= 1e-11 * scale + 1e3 * spread:
                problems.append(f"gradient of {parameter}: {made!r}, complex step {exact!r}")
                continue
            central = (ends[0][i] - ends[1][i]).real / (2 * CENTRAL)
            if not abs(made - central) <= _central_tolerance(trial, i, scale):
                trial.kinks += 1
                if not _kink(trial, directions, i):
                    problems.append(f"gradient of {parameter}: {made!r}, central {central!r}")
    return problems + [
        f"every gradient of program {i} is zero" for i, m in enumerate(moving) if not m
    ]


def _central_tolerance(trial: Trial, number: int, scale: float) -> float:
    """The rounding of two losses over their distance, and a curve of third order."""
    loss = trial.known[trial.losses[number]]
    return 1e-6 * (1 + scale) + 4 * float(loss.radius[0]) / CENTRAL


def _losses(trial: Trial, directions: Mapping[str, np.ndarray], step: complex) -> list[complex]:
    """Each program's own loss, its parameters moved; the program as no pass has touched it."""
    kind = np.complex128 if isinstance(step, complex) else np.float64
    moved = {name: trial.values[name] + step * v for name, v in directions.items()}
    made = evaluate(trial.stages[0].program, {**trial.values, **moved}, ROWS, kind=kind)
    return [complex(made[name]) for name in trial.losses]


def _kink(trial: Trial, directions: Mapping[str, np.ndarray], number: int) -> bool:
    """Whether the slope jumps within reach of the central difference, or bends too much for it."""
    ahead = {p: trial.values[p] + CENTRAL * v for p, v in directions.items()}
    behind = {p: trial.values[p] - CENTRAL * v for p, v in directions.items()}
    slopes = []
    for moved in (ahead, behind):
        there = replace(trial, values={**trial.values, **moved})
        there.__dict__.update(stages=trial.stages, losses=trial.losses)
        slopes.append(_losses(there, directions, 1j * STEP)[number].imag / STEP)
    return abs(slopes[0] - slopes[1]) > 1e-6 * (1 + abs(slopes[0]))


# ---------------------------------------------------------------- passes


def check_passes(trial: Trial, *, every: bool = True) -> list[str]:
    """Every pass keeps the loss, the outputs and the gradients: before it against after it.

    Not `every`: only the program before all passes, as they left it with gradients, and at the end.
    """
    problems = []
    stages = trial.stages if every else [trial.stages[0], trial.stages[2], trial.stages[-1]]
    for before, after in zip(stages, stages[1:], strict=False):
        if before.program is after.program:
            continue
        first = bounded(before.program, trial.values, ROWS)
        last = (
            trial.known if after is trial.stages[-1] else bounded(after.program, trial.values, ROWS)
        )
        for name, one, other in _pairs(before.program, after.program):
            problems += trial_apart(trial, f"{name} after {after.after}", first[one], last[other])
    return problems


def _pairs(before: Program, after: Program) -> Iterator[tuple[str, str, str]]:
    for one, other in ((before.outputs, after.outputs), (before.gradients, after.gradients)):
        there = dict(other)
        yield from ((name, made, there[name]) for name, made in one)


def trial_apart(trial: Trial, what: str, a: Rounded, b: Rounded) -> list[str]:
    """Two centres, each known to its radius."""
    return _apart(trial, what, a.centre, b, a.radius[0], 0)


def _apart(
    trial: Trial, what: str, value: np.ndarray, known: Rounded, more: np.ndarray, unit: int
) -> list[str]:
    """Nothing, or the element that is further from its centre than rounding explains."""
    if np.shape(value) != np.shape(known.centre):
        return [f"{what}: shape {np.shape(value)}, not {np.shape(known.centre)}"]
    reach = known.radius[unit] + known.radius[0] + more
    distance = np.abs(np.asarray(value, dtype=float) - known.centre)
    bad = ~((distance <= reach) | ~np.isfinite(reach))
    trial.compared += bad.size
    trial.unknown += int(np.sum(~np.isfinite(reach)))
    if not bad.any():
        return []
    where = np.unravel_index(int(np.argmax(np.where(bad, distance, -1.0))), bad.shape)
    place = ", ".join(map(str, where))
    expected = f"not {known.centre[where]!r} within {reach[where]:.3g}"
    return [f"{what}[{place}]: {np.asarray(value)[where]!r}, {expected}"]


# ---------------------------------------------------------------- targets


@dataclass(frozen=True, slots=True)
class Build:
    """One way to emit a network: target, type, and what is changed in the compiler for it."""

    name: str
    target: str
    dtype: str
    changes: Callable[[], Any]
    threads: int = 1

    @property
    def unit(self) -> int:
        return int(self.dtype == "float32")


@contextmanager
def tiles_everywhere(depth: int = 6) -> Iterator[None]:
    """Tiles however small the sums, cut in pieces however short; columns behind vectors apart."""
    with ExitStack() as stack:
        for name, value in (("WORTH_TILES", 1), ("DEPTH", depth), ("FEW_TERMS", 1)):
            stack.enter_context(patch(f"compiler.contraction.{name}", value))
        stack.enter_context(patch("compiler.part_columns.GAIN", float("inf")))
        yield


@contextmanager
def shared_by_all() -> Iterator[None]:
    """Tiles, and a team of threads for every call."""
    with tiles_everywhere(), patch("codegen.c.assemble.WORTH_A_TEAM", 1):
        yield


def no_tiles() -> Any:
    return patch("compiler.schedule.recognise", lambda *_: None)


def no_fusion() -> Any:
    return patch("compiler.fuse._partner", lambda *_: None)


@contextmanager
def no_reuse() -> Iterator[None]:
    """A place of its own for every temporary."""

    def apart(program: Program, steps: Any) -> tuple[dict[str, int], int, int]:
        offsets, end = {}, 0
        for item in temporaries(program, steps):
            offsets[item.name] = end
            end += item.size
        return offsets, end, end

    def onto_nothing(_: Program, steps: Any) -> Any:
        return steps

    with (
        patch("compiler.pipeline.plan", apart),
        patch("compiler.pipeline.in_place", onto_nothing),
    ):
        yield


BUILDS: dict[str, Build] = {
    build.name: build
    for build in (
        Build("numpy", "numpy", "float64", ExitStack),
        Build("numpy, float32", "numpy", "float32", ExitStack),
        Build("C, tiles", "c", "float64", tiles_everywhere),
        Build("C, float32, tiles", "c", "float32", tiles_everywhere),
        Build("C, deep tiles", "c", "float64", lambda: tiles_everywhere(1024)),
        Build("C, loops", "c", "float64", no_tiles),
        Build("C, float32, loops", "c", "float32", no_tiles),
        Build("C as it is", "c", "float32", ExitStack),
        Build("C, not fused", "c", "float64", no_fusion),
        Build("numpy, not fused", "numpy", "float64", no_fusion),
        Build("C, no storage reused", "c", "float64", no_reuse),
    )
}


def check_build(trial: Trial, build: Build) -> list[str]:
    """One way to emit the network: its outputs, loss, gradients, and parameters after a step."""
    problems = []
    for what, made, definition in _results(trial, build):
        known = trial.known[definition]
        problems += _apart(trial, f"{build.name}: {what}", made, known, np.zeros(()), build.unit)
    return problems


def check_threads(trial: Trial, dtype: str) -> list[str]:
    """One thread and three give the same bits, however little there is to share."""
    one, three = (
        _results(trial, Build(f"{threads} threads", "c", dtype, shared_by_all, threads))
        for threads in (1, 3)
    )
    return [
        f"three threads, {dtype}: {what} has other bits"
        for (what, a, _), (_, b, _) in zip(one, three, strict=True)
        if a.tobytes() != b.tobytes()
    ]


def _results(trial: Trial, build: Build) -> list[tuple[str, np.ndarray, str]]:
    """What a build gives: its name, its value, and the definition that says what it should be."""
    model = emitted(trial, build)
    inputs, params = _arguments(trial, build.dtype)
    program = trial.stages[-1].program
    found: list[tuple[str, Any, str]] = []
    if program.outputs:
        out = model.forward(params, *(inputs[n] for n in _needed(model.forward, inputs)))
        found += [(n, made, d) for (n, d), made in zip(program.outputs, out, strict=True)]
    loss, grads = model.value_and_grad(params, *inputs.values())
    assert program.loss is not None
    found.append(("loss", loss, program.loss))
    found += [(f"gradient of {p}", grads[p], d) for p, d in program.gradients]
    model.train_step(params, model.init_state(params), *inputs.values())
    found += [(f"step of {p}", params[p], d) for p, d in program.updates]
    return [(what, np.asarray(made), d) for what, made, d in found]


def _needed(function: Any, inputs: Mapping[str, np.ndarray]) -> list[str]:
    names = function.__code__.co_varnames[1 : function.__code__.co_argcount]
    return [n for n in names if n in inputs]


def _arguments(trial: Trial, dtype: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    program = trial.stages[-1].program
    typed = {n: v.astype(dtype) if v.dtype.kind == "f" else v for n, v in trial.values.items()}
    inputs = {t.name: typed[t.name] for t in program.inputs}
    return inputs, {t.name: typed[t.name].copy() for t in program.parameters}


def emitted(trial: Trial, build: Build) -> ModuleType:
    """The network in one build, imported. The passes are not run again for another type."""
    stages = [replace(s, program=retyped(s.program, build.dtype)) for s in trial.stages]
    with build.changes(), patch("compiler.pipeline.stages", lambda *_: iter(stages)):
        module = pipeline.module(
            stages[0].program, gw.sgd(lr=RATE), content_hash="0" * 64, version="test",
            threads=build.threads,
        )  # fmt: skip
        files = emit_c(module, loop_nest) if build.target == "c" else emit_numpy(module)
    folder = trial.folder / f"build{sum(1 for _ in trial.folder.iterdir())}"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if build.target == "c":
        compile_c(folder, trial.network.name, build.threads)
    return import_file(folder / next(n for n in files if n.endswith(".py")))


def compile_c(folder: Path, name: str, threads: int = 1) -> None:
    """The library beside its loader, quickly: -O0, with vectors as long as this machine has."""
    flags = ["-std=c99", "-O0", "-march=native", "-ffp-contract=off", "-shared", "-fPIC"]
    flags += ["-fopenmp"] if threads > 1 else []
    files = [f"{name}.c", "-o", f"{name}.so", "-lm"]
    subprocess.run(["gcc", *flags, *files], cwd=folder, check=True)


def retyped(program: Program, dtype: Any) -> Program:
    """The program in another floating type: nothing else in it depends on that."""

    def typed(thing: Any) -> Any:
        return replace(thing, dtype=dtype) if thing.dtype.startswith("float") else thing

    return replace(
        program,
        inputs=tuple(map(typed, program.inputs)),
        parameters=tuple(map(typed, program.parameters)),
        state=tuple(map(typed, program.state)),
        scalars=tuple((typed(t), v) for t, v in program.scalars),
        definitions=tuple(map(typed, program.definitions)),
    )
