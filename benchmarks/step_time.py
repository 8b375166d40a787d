"""One training step of the MNIST perceptron: our C and NumPy targets against NumPy written by hand.

    python benchmarks/step_time.py                     batches 1, 32, 128
    python benchmarks/step_time.py --batch 8 --batch 512 --seconds 4

All three do the same step from the same start (checked before timing), in float32, in one process
and on one thread. They take turns in short rounds, so that a busy moment of the machine hits all of
them; the table gives medians over the rounds. It does not compare with other frameworks.
"""

from __future__ import annotations

import os

# BLAS reads these once, when NumPy loads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import platform
import runpy
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradwright as gw

MODEL = Path(__file__).resolve().parent.parent / "examples" / "mnist_mlp.py"
NETWORK = runpy.run_path(str(MODEL))["mnist_mlp"]
RATE = 0.001  # small, so that thousands of steps on one batch stay in an ordinary range
ROUND_SECONDS = 0.02
Params = dict[str, np.ndarray]


def by_hand(params: Params, x: np.ndarray, label: np.ndarray, lr: float) -> float:
    """The step as one writes it in NumPy: forward, backward, update in place."""
    w1, b1, w2, b2, w3, b3 = params.values()
    rows = np.arange(len(x))
    h1 = np.maximum(x @ w1 + b1, 0)
    h2 = np.maximum(h1 @ w2 + b2, 0)
    logits = h2 @ w3 + b3
    logits -= logits.max(axis=1, keepdims=True)
    probabilities = np.exp(logits)
    total = probabilities.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - logits[rows, label]))
    probabilities /= total
    probabilities[rows, label] -= 1
    d3 = probabilities / len(x)
    d2 = (d3 @ w3.T) * (h2 > 0)
    d1 = (d2 @ w2.T) * (h1 > 0)
    w3 -= lr * (h2.T @ d3)
    b3 -= lr * d3.sum(axis=0)
    w2 -= lr * (h1.T @ d2)
    b2 -= lr * d2.sum(axis=0)
    w1 -= lr * (x.T @ d1)
    b1 -= lr * d1.sum(axis=0)
    return loss


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    params: Params
    step: Callable[[], float]


def compiled(target: str, batch: int, folder: str) -> Any:
    return gw.compile(
        NETWORK, target=target, batch=batch, dtype="float32", optimizer=gw.sgd(lr=RATE),
        out=str(Path(folder) / f"{target}_{batch}"),
    )  # fmt: skip


def contestants(batch: int, folder: str) -> list[Contestant]:
    rng = np.random.default_rng(0)
    x = rng.random((batch, 784), dtype=np.float32)
    label = rng.integers(0, 10, batch, dtype=np.int32)
    found = []
    for target in ("c", "numpy"):
        model = compiled(target, batch, folder)
        params = model.init_params(seed=0)
        state = model.init_state(params)

        def step(model: Any = model, params: Params = params, state: Params = state) -> float:
            return float(model.train_step(params, state, x, label))

        found.append(Contestant(f"gradwright {target}", params, step))
    start = {name: value.copy() for name, value in found[0].params.items()}
    found.append(Contestant("by hand", start, lambda: by_hand(start, x, label, RATE)))
    return found


def check_same_work(racers: list[Contestant]) -> None:
    """Three steps each: the same losses and parameters, within float32."""
    losses = np.array([[racer.step() for _ in range(3)] for racer in racers])
    np.testing.assert_allclose(losses, np.broadcast_to(losses[-1], losses.shape), rtol=1e-4)
    for racer in racers[:-1]:
        for name, value in racers[-1].params.items():
            np.testing.assert_allclose(racer.params[name], value, atol=1e-4, err_msg=racer.name)


def repeats_for_a_round(step: Callable[[], float]) -> int:
    started = time.perf_counter()
    step()
    return max(1, int(ROUND_SECONDS / (time.perf_counter() - started)))


def race(racers: list[Contestant], seconds: float) -> dict[str, float]:
    """Microseconds a step, the median over rounds in which everybody had a turn."""
    repeats = {racer.name: repeats_for_a_round(racer.step) for racer in racers}
    rounds: dict[str, list[float]] = {racer.name: [] for racer in racers}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(rounds[racers[0].name]) < 5:
        for racer in racers:
            started = time.perf_counter()
            for _ in range(repeats[racer.name]):
                racer.step()
            spent = time.perf_counter() - started
            rounds[racer.name].append(spent / repeats[racer.name] * 1e6)
    return {name: statistics.median(times) for name, times in rounds.items()}


def machine() -> str:
    """The processor, the cores we may use, and the versions that matter."""
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        models = [s for s in described.read_text().splitlines() if s.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, one thread used; NumPy {np.__version__}"


def table(results: dict[int, dict[str, float]]) -> str:
    lines = ["| batch | C, µs | NumPy target, µs | NumPy by hand, µs | C / hand | NumPy / hand |"]
    lines += ["|---|---|---|---|---|---|"]
    for batch, times in results.items():
        c, target, hand = times["gradwright c"], times["gradwright numpy"], times["by hand"]
        figures = f"{c:.0f} | {target:.0f} | {hand:.0f} | {c / hand:.2f} | {target / hand:.2f}"
        lines.append(f"| {batch} | {figures} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="time a training step of the MNIST perceptron")
    parser.add_argument("--batch", type=int, action="append", help="may be given several times")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each batch size")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for batch in options.batch or (1, 32, 128):
            racers = contestants(batch, folder)
            check_same_work(racers)
            results[batch] = race(racers, options.seconds)
    print(f"{machine()}\n\n{table(results)}")


if __name__ == "__main__":
    main()
