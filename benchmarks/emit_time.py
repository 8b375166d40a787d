"""What comes before the first step: import, DSL to both sources, the C compiler; and the workspace.

    python benchmarks/emit_time.py
    python benchmarks/emit_time.py --models perceptron vgg16 --repeats 5

Each figure is taken in a process of its own, since SymPy remembers what it has simplified before:
the least of a few repeats, by the processor's time. Emission counts from tracing to the finished
texts of both targets, with what emission itself imports, and with the bytecode that the repeat
before it left, as a user's second run has it. The compiler runs at the module's default flags.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCHES = {"perceptron": 128, "lenet5": 64, "two_convolutions": 64, "small_gpt": 12, "vgg16": 1}
LIMITS = {"perceptron": (0.4, 2), "small_gpt": (3, 10), "vgg16": (4, 20)}
"""Seconds of emission and of compiling that are asked for."""
ROOT = Path(__file__).resolve().parent.parent


def figures(model: str) -> dict[str, float]:
    """Of one model, in this process."""
    import gradwright as gw
    from benchmarks.networks import network

    options: Any = {"batch": BATCHES[model], "optimizer": gw.sgd(lr=0.01)}
    described = network(model)
    began = time.process_time()
    files = {**gw.emit(described, target="numpy", **options)}
    files |= gw.emit(described, target="c", **options)
    emitted = time.process_time() - began
    source = next(name for name in files if name.endswith(".c"))
    return {
        "emission": emitted,
        "compiling": compiling(files, source),
        "lines": files[source].count("\n"),
        "workspace": workspace(described, options),
    }


def compiling(files: dict[str, str], source: str) -> float:
    """Seconds of the C compiler."""
    from gradwright.native import built

    loader = next(text for name, text in files.items() if name.endswith("_c.py"))
    flags = next(s for s in loader.splitlines() if s.startswith("FLAGS = "))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        built(Path(folder) / source, json.loads(flags.split("=", 1)[1].replace("'", '"')))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def workspace(described: Any, options: dict[str, Any]) -> float:
    """The workspace as a share of all temporaries of a step."""
    from compiler.driver import lowered

    step = lowered(described, **options).step
    return step.workspace_bytes / step.temporaries_bytes


def in_a_fresh_process(*arguments: str) -> str:
    """What it prints; bytecode is kept for the next one."""
    command = [sys.executable, *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    ).stdout


def importing() -> float:
    """Seconds of `import gradwright`."""
    code = "import time; b = time.process_time(); import gradwright; print(time.process_time() - b)"
    return float(in_a_fresh_process("-c", code))


def least(model: str, repeats: int) -> dict[str, float]:
    """The least of everything."""
    here = "benchmarks.emit_time"
    found = [json.loads(in_a_fresh_process("-m", here, "--once", model)) for _ in range(repeats)]
    return {name: min(f[name] for f in found) for name in found[0]}


def summary(repeats: int) -> dict[str, float]:
    """All that is asked for, by `MODEL emission`, `MODEL compiling` and `import`."""
    told = {"import": min(importing() for _ in range(repeats))}
    for model in LIMITS:
        told |= {f"{model} {what}": value for what, value in least(model, repeats).items()}
    return told


def row(model: str, repeats: int) -> str:
    """The least of everything, beside what is asked for."""
    found = least(model, repeats)
    asked = [f" (at most {limit})" for limit in LIMITS.get(model, ())] or ["", ""]
    return (
        f"| {model.replace('_', ' ')} | {found['emission']:.2f} s{asked[0]}"
        f" | {found['compiling']:.1f} s{asked[1]} | {found['lines']:.0f}"
        f" | {found['workspace']:.0%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="emission, compiling, workspace")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    parser.add_argument("--models", nargs="*", default=[*BATCHES], choices=[*BATCHES])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(figures(options.once)))
        return
    seconds = min(importing() for _ in range(options.repeats))
    print(f"import gradwright: {seconds:.2f} s (at most 0.7)\n")
    print("| | DSL to both sources | C compiler | lines of C | workspace of temporaries |")
    print("|---|---:|---:|---:|---:|")
    for model in options.models:
        print(row(model, options.repeats), flush=True)


if __name__ == "__main__":
    main()
