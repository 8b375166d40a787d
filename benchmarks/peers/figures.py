"""Figures that are no race: memory, allocations, an epoch beside its steps, bits on more threads.

    facts(figure="epoch")            each in one process, on the core that all contestants use

Everything is asked of the targets as users have them; the data are random numbers.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

import gradwright as gw
from benchmarks.cases import Arrays, Case, Given, inputs
from benchmarks.networks import network
from benchmarks.peers.gradwright_c import compiled
from compiler.driver import emit, lowered
from gradwright.native import compiler
from gradwright.training.batches import Rows
from gradwright.training.checkpoint import Position
from gradwright.training.loop import EpochResult, Plan, fresh, train

PERCEPTRON, LENET = Case("perceptron", 128), Case("lenet5", 64)
EPOCHS, IMAGES = 3, 60_000
MEGABYTE = 2**20
MAIN = Path(__file__).with_name("train_in_c.c")


def facts(figure: str) -> Any:
    return FIGURES[figure]()


def allocations() -> int:
    """Bytes that the largest moment of a NumPy step has beyond those before it.

    NumPy's casting buffers are made as small as they can be: what is left are argument lists.
    """
    module = compiled(PERCEPTRON, "numpy")
    params = module.init_params(seed=0)
    state = module.init_state(params)
    batch = tuple(_given(PERCEPTRON, params).first_batch().values())
    np.setbufsize(16)
    tracemalloc.start()
    for _ in range(2):
        module.train_step(params, state, *batch)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    module.train_step(params, state, *batch)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak


def memory() -> float:
    """Megabytes that a C program which trains the perceptron has held, its data left out."""
    files = emit(network("perceptron"), batch=128, dtype="float32", optimizer=gw.sgd(lr=0.01))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        program = Path(folder) / "train"
        sources = [MAIN, *Path(folder).glob("*.c")]
        command = [*compiler(), "-std=c99", "-O3", "-march=native", f"-I{folder}"]
        subprocess.run([*command, *map(str, sources), "-o", str(program), "-lm"], check=True)
        told = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    held, of_data = map(int, told.split())
    return (held - of_data) / MEGABYTE


class Watch:
    """Seconds of the processor from the beginning of an epoch to its end, its checkpoint saved."""

    live = False

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def epoch_started(self, epoch: int, rows: int, done: int) -> None:
        self.began = time.process_time()

    def advanced(self, *_: object) -> None:
        """Nothing is shown."""

    def epoch_finished(self, result: EpochResult) -> None:
        self.seconds.append(time.process_time() - self.began)


def epoch() -> float:
    """An epoch of `gradwright train` over as many images as MNIST has, by the sum of its steps.

    The loop of the command, with shuffling, gathering, checks and a checkpoint, without what it
    measures of a run between epochs. Steps and epochs take turns, by the processor's time.
    """
    module, watch = compiled(LENET, "c"), Watch()
    rng, labels = np.random.default_rng(0), np.arange(IMAGES, dtype=np.int32) % 10
    images = rng.random((IMAGES, 1, 28, 28), np.float32)
    rows, few = (Rows({"x": images[:n], "label": labels[:n]}, labels[:n]) for n in (IMAGES, 64))
    steps = []
    with tempfile.TemporaryDirectory() as folder:

        def save(position: Position, params: Arrays, state: Arrays) -> None:
            everything = {**params, **{f"state {n}": a for n, a in state.items()}}
            np.savez(Path(folder) / "checkpoint.npz", **everything)

        for _ in range(EPOCHS):
            train(module, (rows, few), Plan(1, LENET.batch, 0), watch, save, fresh(module, 0))
            steps.append(_seconds_of_a_step(module))
    return statistics.median(watch.seconds) / (-(-IMAGES // LENET.batch) * statistics.median(steps))


def workspace() -> float:
    """The workspace of the small GPT's AdamW step, as a share of all its temporaries."""
    step = lowered(network("small_gpt"), batch=12, optimizer=gw.adamw()).step
    return step.workspace_bytes / step.temporaries_bytes


def bits() -> int:
    """How many of two models have the same parameters after three steps on 1, 2, 3, 4 threads."""
    return sum(
        len({_parameters_after(case, threads) for threads in (1, 2, 3, 4)}) == 1
        for case in (PERCEPTRON, LENET)
    )


FIGURES = {f.__name__: f for f in (allocations, memory, epoch, workspace, bits)}


def _given(case: Case, params: dict[str, np.ndarray]) -> Given:
    rows, order = inputs(case)
    return Given(params, rows, order, case.batch)


def _seconds_of_a_step(module: Any) -> float:
    """The mean of some hundred."""
    params = module.init_params(seed=0)
    state, batch = module.init_state(params), _given(LENET, params).first_batch().values()
    count = 400
    for _ in range(count // 8):
        module.train_step(params, state, *batch)
    began = time.process_time()
    for _ in range(count):
        module.train_step(params, state, *batch)
    return (time.process_time() - began) / count


def _parameters_after(case: Case, threads: int) -> bytes:
    module = compiled(case, "c", threads)
    params = module.init_params(seed=0)
    state, batch = module.init_state(params), _given(case, params).first_batch().values()
    for _ in range(3):
        module.train_step(params, state, *batch)
    return b"".join(p.tobytes() for p in params.values())
