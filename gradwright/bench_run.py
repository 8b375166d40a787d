"""`gradwright bench`, from options to the tables: what the command line does, in order."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from gradwright.bench_report import WIDTH, as_json, functions_table, kernels_table, limits_line
from gradwright.compile_options import CompileOptions
from gradwright.kernel_times import KernelTime, kernel_times
from gradwright.machine import measured
from gradwright.measure import machine, measure
from gradwright.model_file import ModelFile


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """`top` kernels are shown; JSON has them all."""

    source: ModelFile
    compile: CompileOptions
    repeats: int
    top: int
    json: bool


def run(options: BenchOptions, console: Console) -> None:
    """Compile, time, print. Raises GradwrightError for a mistake in the network or the options."""
    with options.source.errors(), tempfile.TemporaryDirectory() as folder:
        network = options.source.load()
        model = options.compile.compile(network, Path(folder))
        limits = measured(model.DTYPE)
        timings = measure(model, options.repeats)
        kernels: tuple[KernelTime, ...] = ()
        if options.compile.target == "c":
            one_thread = replace(options.compile, threads=1)
            kernels = kernel_times(network, one_thread, options.repeats)
    if options.json:
        console.print(as_json(model, timings, kernels, limits))
        return
    console.print(f"{model.NAME}, {model.TARGET} {model.DTYPE}, batch {model.MAX_BATCH}")
    console.print(f"{machine()}\n{limits_line(limits)}")
    wide = Console(markup=False, highlight=False, width=WIDTH)
    wide.print(functions_table(timings))
    if kernels:
        wide.print(kernels_table(kernels, options.top))
    else:
        console.print("Kernel by kernel: with --target c.")
