"""Many random programs: drawn from a seed, checked in bundles, and what fails made simple.

    report = run(seed=1, programs=300, folder=tmp_path, builds=("numpy", "C, tiles"))
    report.failures        # texts: the seed, the problem, and the smallest program that has it

A program that has no gradient is no program to check: one whose loss does not depend on one of its
parameters is refused by the compiler, one whose gradient is zero everywhere by the checks. Both are
counted, and another is drawn.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from ir.errors import DifferentiationError
from tests.random_programs import RandomProgram, Tape, draw, shrunk, text
from tests.random_programs_checks import (
    BUILDS,
    Trial,
    check_build,
    check_gradients,
    check_passes,
    check_threads,
)

ZERO = "every gradient"
BUNDLE = 25
THREADS = "C, one thread against three, bit for bit"


@dataclass
class Report:
    """What was checked, and what failed."""

    programs: int = 0
    drawn_again: int = 0
    compared: int = 0
    unknown: int = 0
    kinks: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        self.programs += len(trial.bundle)
        self.compared += trial.compared
        self.unknown += trial.unknown
        self.kinks += trial.kinks


def run(
    seed: object,
    programs: int,
    builds: Sequence[str],
    *,
    lines: int = 4,
    every_pass: bool = True,
    report: Report | None = None,
) -> Report:
    """So many programs of a seed, in bundles; each bundle in these builds."""
    report = report or Report()
    for number in range(programs // BUNDLE):
        tapes = [Tape(rng=random.Random(f"{seed} {number} {i}")) for i in range(BUNDLE)]
        bundle = [(draw(tape, lines), tape) for tape in tapes]
        _check(bundle, f"{seed} {number}", builds, every_pass, report)
    return report


def _check(
    bundle: list[tuple[RandomProgram, Tape]],
    seed: str,
    builds: Sequence[str],
    every_pass: bool,
    report: Report,
) -> None:
    """The bundle at once; without what has no gradient; one by one if anything is wrong."""
    try:
        trial, problems = problems_of([p for p, _ in bundle], builds, every_pass)
    except Exception as error:  # a defect, unless it names parameters without a gradient
        if isinstance(error, DifferentiationError) and (names := _named(str(error))):
            _without(bundle, names, seed, builds, every_pass, report)
            return
        problems, trial = [repr(error)], None
    still = {int(n) for p in problems if p.startswith(ZERO) for n in re.findall(r"\d+", p)}
    if trial is not None and len(still) == len(problems):
        report.add(trial)
        report.programs -= len(still)
        report.drawn_again += len(still)
    elif len(bundle) > 1:
        before = len(report.failures)
        for one in bundle:
            _check([one], f"{seed}, alone", builds, every_pass, report)
        if len(report.failures) == before:
            report.failures.append(f"seed {seed}, only together: {problems[:3]}")
    else:
        report.programs += 1
        report.failures.append(_explained(bundle[0][1], seed, problems, builds))


def _named(message: str) -> set[str]:
    """The parameters that an error names."""
    return set(re.findall(r"\b(?:p\d+_)?a\d\b", message.split("\n")[0]))


def _without(
    bundle: list[tuple[RandomProgram, Tape]],
    names: set[str],
    seed: str,
    builds: Sequence[str],
    every_pass: bool,
    report: Report,
) -> None:
    """The bundle without the programs that own these parameters."""
    gone = {int(n[1 : n.index("_")]) for n in names if "_" in n} if len(bundle) > 1 else {0}
    kept = [one for i, one in enumerate(bundle) if i not in gone]
    report.drawn_again += len(bundle) - len(kept)
    assert len(kept) < len(bundle), names
    if kept:
        _check(kept, seed, builds, every_pass, report)


def problems_of(
    bundle: Sequence[RandomProgram], builds: Sequence[str], every_pass: bool = True
) -> tuple[Trial, list[str]]:
    """Every check of these programs."""
    with TemporaryDirectory() as folder:
        trial = Trial.of(bundle, Path(folder), seed=len(bundle))
        problems = check_gradients(trial) + check_passes(trial, every=every_pass)
        for name in builds:
            if name == THREADS:
                problems += check_threads(trial, "float32")
            else:
                problems += check_build(trial, BUILDS[name])
    return trial, problems


def _explained(tape: Tape, seed: str, problems: list[str], builds: Sequence[str]) -> str:
    """The problem, and the simplest program found that has any."""

    def fails(program: RandomProgram) -> bool:
        try:
            found = problems_of([program], builds)[1]
        except DifferentiationError:
            return False
        except Exception:  # the defect itself
            return True
        return any(not p.startswith(ZERO) for p in found)

    return f"seed {seed}: {problems[:3]}\n{text([shrunk(tuple(tape.made), fails, tries=80)])}"
