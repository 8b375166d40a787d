"""Break the compiler on purpose, and see whether the tests notice.

    python -m tests.torture.mutations                    # all of them; a Markdown table
    python -m tests.torture.mutations --only fusion      # of one area, or of one file
    python -m tests.torture.mutations --check            # whether every edit still fits the source

A mutation is one edit of one file: a mistake that somebody could make. Each is made in a copy of
the tree, never here, and the tests run there until one fails, those of the area first. One that no
test notices survives; the exit code is 1 if more than one in twenty does, or if a text is gone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import pytest
import sympy

from tests.torture.mutation_list import MUTATIONS, Mutation

IMPORTED = (jinja2, np, sympy)  # once, for all tests
HOME = Path(__file__).resolve().parents[2]
COPIED = ("compiler", "ir", "codegen", "gradwright", "tests", "examples", "pyproject.toml")
SECONDS = 600  # for the tests of one stage; what hangs is noticed too

MEANING = ["tests/test_affine.py", "tests/test_differentiate.py", "tests/test_deltas.py", "-k"]
CASES = "not conv2d and not conv1d or stride2_dilation1_padding1"
TILES = ["tests/targets/test_c_tiles.py", "tests/test_hidden_terms.py"]
C = [*TILES, "tests/targets/test_c_target.py", "-k", "not conv2d and not conv1d"]
FIRST = {
    "differentiation": [*MEANING, CASES],
    "index algebra": [*MEANING, CASES],
    "stabilisation": [
        "tests/test_differentiate.py", "tests/test_stability.py", "tests/test_ops_activations.py",
        "-k", f"not test_differentiate or {CASES}",
    ],
    "fusion": [
        "tests/test_fusion.py", "tests/test_pipeline.py", "tests/test_optimizers.py",
    ],
    "memory plan": ["tests/test_memory.py", "tests/targets/test_numpy_workspace.py"],
    "contractions": C,
    "tile shapes": ["tests/targets/test_tile_shapes.py"],
    "C templates": C,
    "NumPy templates": ["tests/targets/test_numpy_target.py"],
}
RANDOM = ["tests/test_random_programs.py", "-k", "seed[0]"]
LAST = ["tests/test_differentiate.py", "tests/targets", "tests/test_second_derivatives.py"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said of one mutation, and how long they took."""

    mutation: Mutation
    noticed_by: str
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(description="break the compiler and run its tests")
    parser.add_argument("--only", default="", help="part of an area's or a file's name")
    parser.add_argument("--check", action="store_true", help="do not run, only look")
    parser.add_argument("--from", dest="first", type=int, default=0, help="number to begin with")
    parser.add_argument("--quick", action="store_true", help="without the last, longest tests")
    said = parser.parse_args()
    stale = [m for m in MUTATIONS if (HOME / m.file).read_text(encoding="utf-8").count(m.old) != 1]
    for m in stale:
        print(f"{m.file} does not hold this text once: {m.old!r}")
    if said.check or stale:
        return bool(stale)
    chosen = [m for m in MUTATIONS if said.only in m.area or said.only in m.file][said.first :]
    with tempfile.TemporaryDirectory() as folder:
        verdicts = [_tried(m, _copy(Path(folder)), said.quick) for m in chosen]
    print(table(verdicts))
    survived = sum(not v.noticed_by for v in verdicts)
    return int(survived > len(verdicts) / 20)


def _copy(folder: Path) -> Path:
    """A fresh copy of what the tests need."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in COPIED:
        source = HOME / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    return copy


def _tried(mutation: Mutation, copy: Path, quick: bool) -> Verdict:
    path, begun = copy / mutation.file, time.monotonic()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    stages = (FIRST[mutation.area], RANDOM, *([] if quick else [LAST]))
    noticed = next((found for tests in stages if (found := _run(tests, copy))), "")
    verdict = Verdict(mutation, noticed, time.monotonic() - begun)
    print(f"{verdict.seconds:4.0f} s  {noticed or 'SURVIVED'}  {mutation}", flush=True)
    return verdict


def _run(tests: list[str], copy: Path) -> str:
    """The first test that failed, or nothing. A process forked from this one, which has imported
    what all tests import and nothing of ours, so that most of the time goes to the tests."""
    said = copy / "said.txt"
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = _tested(tests, copy, said)
        finally:
            os._exit(code)  # never back into the runner
    end = time.monotonic() + SECONDS
    code = None
    while code is None and time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if done else None
        time.sleep(0.05)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "a test that never ended"
    if code == 0:
        return ""
    lines = said.read_text(encoding="utf-8", errors="replace").splitlines() if said.exists() else []
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return failed[0].split(" - ")[0].split(" ", 1)[1] if failed else f"exit code {code}"


def _tested(tests: list[str], copy: Path, said: Path) -> int:
    """In the forked process: the tests of the copy, on the copy's own modules."""
    os.chdir(copy)
    sys.dont_write_bytecode = True
    os.environ["PYTHONPATH"] = str(copy)
    for name in [n for n in sys.modules if n.partition(".")[0] == "tests"]:
        del sys.modules[name]
    sys.path[:] = [str(copy), *(p for p in sys.path if Path(p or ".").resolve() != HOME)]
    with said.open("w", encoding="utf-8") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
        try:
            return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests]))
        finally:
            sys.stdout.flush()


def table(verdicts: list[Verdict]) -> str:
    """A line an area, then the survivors."""
    lines = ["| area | edits | noticed | survived |", "|---|---:|---:|---:|"]
    for area in FIRST:
        mine = [v for v in verdicts if v.mutation.area == area]
        noticed = sum(bool(v.noticed_by) for v in mine)
        lines.append(f"| {area} | {len(mine)} | {noticed} | {len(mine) - noticed} |")
    noticed = sum(bool(v.noticed_by) for v in verdicts)
    lines.append(f"| all | {len(verdicts)} | {noticed} | {len(verdicts) - noticed} |")
    lines += [f"\nsurvived: {v.mutation}" for v in verdicts if not v.noticed_by]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
