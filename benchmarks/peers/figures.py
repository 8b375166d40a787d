"""Figures that are no race: memory, allocations, an epoch beside its steps, bits on more threads.

    facts(figure="epoch")            each in one process, on the core that all contestants use

Everything is asked of the targets as users have them; the data are random numbers.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

import gradwright as gw
from benchmarks.cases import Case, Given, inputs
from benchmarks.networks import EXAMPLES, network
from benchmarks.peers.gradwright_c import compiled
from compiler.driver import emit, lowered
from gradwright.native import compiler

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


def epoch() -> float:
    """An epoch of `gradwright train` over as many images as MNIST has, by the sum of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "run"
        _write_images(data)
        command = [sys.executable, "-m", "gradwright", "train", str(EXAMPLES / "lenet5.py")]
        command += ["--data", str(data), "--epochs", str(EPOCHS), "--batch", str(LENET.batch)]
        subprocess.run([*command, "--out", str(out)], capture_output=True, check=True)
        with (out / "history.csv").open(encoding="utf-8") as table:
            epochs = [float(row["seconds"]) for row in csv.DictReader(table)]
    steps = -(-IMAGES // LENET.batch)
    return min(epochs) / (steps * _seconds_of_a_step())


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


def _seconds_of_a_step() -> float:
    """The least mean of a hundred."""
    module = compiled(LENET, "c")
    params = module.init_params(seed=0)
    state, batch = module.init_state(params), _given(LENET, params).first_batch().values()
    spent = []
    for _ in range(8):
        began = time.perf_counter()
        for _ in range(100):
            module.train_step(params, state, *batch)
        spent.append((time.perf_counter() - began) / 100)
    return min(spent)


def _parameters_after(case: Case, threads: int) -> bytes:
    module = compiled(case, "c", threads)
    params = module.init_params(seed=0)
    state, batch = module.init_state(params), _given(case, params).first_batch().values()
    for _ in range(3):
        module.train_step(params, state, *batch)
    return b"".join(p.tobytes() for p in params.values())


def _write_images(folder: Path) -> None:
    """Four IDX files of random pixels, as MNIST's are."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", IMAGES), ("t10k", 1000)):
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = rng.integers(0, 10, count).astype(np.uint8)
        for kind, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + values.tobytes())
