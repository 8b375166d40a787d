"""How long it takes from the DSL to both sources, and how the emitted C grows with the layers.

    python benchmarks/emit_time.py

The network is the MNIST perceptron, batch 128, float32. Imports are not counted, nor is the C
compiler: the clock runs from tracing to the finished texts. Each emission is done in a process of
its own, since SymPy remembers what it has simplified before.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import gradwright as gw

TARGETS = ("numpy", "c")


def perceptron(hidden: int) -> gw.Network:
    @gw.network
    def mnist_mlp(x: gw.f32["batch", 784], label: gw.i32["batch"]):
        h = gw.relu(gw.dense(x, hidden, name="fc1"))
        h = gw.relu(gw.dense(h, 200, name="fc2"))
        logits = gw.dense(h, 10, name="fc3")
        return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)

    return mnist_mlp


def emit(hidden: int) -> dict[str, str]:
    """Both sources, as the texts of their files."""
    files = {}
    for target in TARGETS:
        files |= gw.emit(perceptron(hidden), target=target, batch=128, dtype="float32")
    return files


def lines_of_c(hidden: int) -> int:
    files = emit(hidden)
    return sum(text.count("\n") for name, text in files.items() if name.endswith(".c"))


def seconds_in_a_fresh_process() -> float:
    command = [sys.executable, __file__, "--once"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description="time the emission of the MNIST perceptron")
    parser.add_argument("--once", action="store_true", help="emit once and print the seconds")
    options = parser.parse_args()
    if options.once:
        started = time.perf_counter()
        emit(100)
        print(time.perf_counter() - started)
        return
    times = [seconds_in_a_fresh_process() for _ in range(5)]
    print(f"DSL to both sources: {statistics.median(times):.2f} s (median of {len(times)})")
    for hidden in (100, 1000):
        print(f"lines of C with {hidden} hidden units: {lines_of_c(hidden)}")


if __name__ == "__main__":
    main()
