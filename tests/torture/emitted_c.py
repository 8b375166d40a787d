"""The emitted C of every example under every tool that finds faults: one table.

    python -m tests.torture.emitted_c                  about an hour on one core
    python -m tests.torture.emitted_c --only lenet5    specimens whose name has that in it
    python -m tests.torture.emitted_c --check memory   the checks whose name has that in it

Each check is a function of one specimen (tests/targets/specimens.py), which fails by an exception.
A tool that is not installed is a failure, not a skip. Exit code 1 if anything failed.
tests/targets/test_specimens.py runs a part of this.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from codegen.c.assemble import FAST_FLAGS, PORTABLE_FLAGS
from tests.targets.drive import Drive, program, run
from tests.targets.emitted_c import COMPILERS, STANDARDS, warnings
from tests.targets.specimens import REFERENCES, SPECIMENS, Specimen

VECTORS = ("-march=native", "-mavx2 -mno-avx512f", "-DGW_NO_VECTORS")
STACK_BOUND = 64 * 1024  # bytes that a call needs in all; docs/howto/c-program.md says so
Check = Callable[[Drive], None]

ANALYSED = "core,deadcode,unix,security.FloatLoopCounter,optin.portability,alpha.core,alpha.unix"
TIDY = "bugprone-*,cert-*,clang-analyzer-*,misc-*,performance-*,portability-*"
# Not faults: kernels take several arrays of one type; the functions of C11's annex K are not C99;
# a macro's type or declared name takes no parentheses; and sizes within a tile are small ints.
TIDY_NOT = (
    "-bugprone-easily-swappable-parameters,-bugprone-macro-parentheses,"
    "-bugprone-implicit-widening-of-multiplication-result,"
    "-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling"
)


def quiet(command: list[str], folder: Path) -> str:
    """What a tool says; AssertionError if it fails or cannot be found."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise AssertionError(f"{command[0]} is not installed") from None
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(command)}: {said[:3000]}"
    return said


def warned(compiler: str, standard: str, *, deep: bool = False) -> Check:
    """Some of gcc's warnings (an index out of bounds) come only from its optimiser."""
    builds = [FAST_FLAGS, PORTABLE_FLAGS] if deep else [f"-fsyntax-only {v}" for v in VECTORS]
    flags = [[*warnings(compiler, standard), *build.split()] for build in builds]

    def check(drive: Drive) -> None:
        for build in flags:
            quiet([compiler, *build, "-c", f"{drive.name}.c", "-o", "/dev/null"], drive.folder)

    return check


def sanitized(compiler: str, sanitizers: str, vectors: str = "-march=native") -> Check:
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-g", "-O1", vectors]

    def check(drive: Drive) -> None:
        run(program([drive], [compiler, *flags]))

    return check


def compiled(drive: Drive, compiler: str, *language: str) -> Path:
    """The emitted source alone, as users build it."""
    made = drive.folder / "emitted.o"
    command = [compiler, *(language or ("-std=c99",)), *FAST_FLAGS.split(), "-c", "-o", str(made)]
    quiet([*command, f"{drive.name}.c"], drive.folder)
    return made


def guarded(drive: Drive) -> None:
    """Pages that nobody may touch behind every array, then before; no address is a round one."""
    for compiler in COMPILERS:
        fast = compiled(drive, compiler)
        plain = run(program([drive], [compiler], built=fast))
        for side in (1, 2):
            found = run(program([drive], [compiler, f"-DGUARD={side}"], built=fast))
            assert found == plain, (compiler, side)


def as_cpp(drive: Drive) -> None:
    """Built as C++17: the same bits."""
    plain = run(program([drive], ["gcc"], built=compiled(drive, "gcc")))
    made = compiled(drive, "g++", "-x", "c++", "-std=c++17")
    assert run(program([drive], ["gcc"], built=made)) == plain


def under_valgrind(drive: Drive) -> None:
    made = program([drive], ["gcc", "-g", "-O1", "-mavx2", "-mno-avx512f"])
    quiet(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", str(made)], drive.folder)


def analysed_by_gcc(drive: Drive) -> None:
    flags = ["-std=c99", "-O2", "-fanalyzer", "-Werror", "-c", "-o", "/dev/null"]
    quiet(["gcc", *flags, f"{drive.name}.c"], drive.folder)


def analysed_by_clang(drive: Drive) -> None:
    flags = ["--analyze", "-std=c99", "-Xclang", f"-analyzer-checker={ANALYSED}"]
    said = quiet(["clang", *flags, f"{drive.name}.c", "-o", "/dev/null"], drive.folder)
    assert "warning" not in said, said[:3000]


def tidy(drive: Drive) -> None:
    checks = f"-checks=-*,{TIDY},{TIDY_NOT}"
    command = ["clang-tidy", checks, "--quiet", "--warnings-as-errors=*", f"{drive.name}.c"]
    quiet([*command, "--", "-std=c99"], drive.folder)


def stack(drive: Drive) -> None:
    for compiler in COMPILERS:
        for level in ("-O0", "-O3"):
            found = deepest(drive, compiler, level)
            assert found <= STACK_BOUND, f"{compiler} {level}: {found} bytes"


def deepest(drive: Drive, compiler: str, level: str) -> int:
    """Bytes of an epoch, a step, the largest kernel, and two small functions below it."""
    flags = ["-std=c99", level, "-march=native", "-fstack-usage", "-c", "-o", "stack.o"]
    quiet([compiler, *flags, f"{drive.name}.c"], drive.folder)
    largest: dict[str, list[int]] = {"compute": [0], "gw": [0, 0], drive.name: [0, 0]}
    for line in (drive.folder / "stack.su").read_text().splitlines():
        where, size, kind = line.split("\t")
        assert kind in ("static", "dynamic,bounded"), line  # bounded: aligned for vectors
        name = where.split(":")[-1]
        caller = next((k for k in ("compute", "gw") if name.startswith(f"{k}_")), drive.name)
        kept = largest[caller]
        largest[caller] = sorted([*kept, int(size)], reverse=True)[: len(kept)]
    return sum(sum(sizes) for sizes in largest.values())


CHECKS: dict[str, Check] = {
    **{f"warnings, {c}, {s}": warned(c, s) for c in ("gcc", "clang") for s in STANDARDS},
    "warnings of the optimiser, gcc": warned("gcc", "c99", deep=True),
    "addresses and undefined behaviour, gcc": sanitized("gcc", "address,undefined"),
    "addresses and undefined behaviour, clang, no vectors": sanitized(
        "clang", "address,undefined", "-DGW_NO_VECTORS"
    ),
    "uninitialised memory, clang": sanitized("clang", "memory"),
    "guard pages, odd addresses": guarded,
    "as C++17, same bits": as_cpp,
    "valgrind": under_valgrind,
    "analyser of gcc": analysed_by_gcc,
    "analyser of clang": analysed_by_clang,
    "clang-tidy": tidy,
    f"stack of at most {STACK_BOUND} bytes": stack,
}


def threads(drives: list[Drive]) -> None:
    """Two models in one program, each in two threads with a workspace of its own."""
    plain = ["clang", "-g", "-O1"]
    together = run(program(drives, [*plain, "-fsanitize=thread"], threads=2))
    assert together == b"".join(run(program([d], plain)) for d in drives)


def team(specimen: Specimen, folder: Path) -> None:
    """Three threads of OpenMP say the bits of one, in guarded and in sanitized memory."""
    drive = Drive(specimen.module(threads=3, batch=64), folder)
    plain = ["gcc", "-O1", "-mavx2"]
    alone = run(program([drive], plain))
    for flags in (["-DGUARD=1"], ["-g", "-fsanitize=address,undefined"]):
        assert run(program([drive], [*plain, "-fopenmp", *flags])) == alone, flags


def complaint(check: Callable[[], None]) -> str:
    """An empty text, or what was wrong."""
    try:
        check()
    except (AssertionError, subprocess.CalledProcessError) as error:
        return str(error) or type(error).__name__
    return ""


def spent() -> float:
    """Processor seconds of every tool so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", default="", help="a part of the specimens' names")
    parser.add_argument("--check", default="", help="a part of the checks' names")
    options = parser.parse_args()
    chosen = [s for s in SPECIMENS if options.only in s.id]
    if not chosen:
        parser.error(f"no specimen has {options.only!r} in its name")
    wrong: list[str] = []
    print("| check | specimens | failed | processor seconds |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as base:
        drives = [(s, Drive(s.module(), Path(base) / str(n))) for n, s in enumerate(chosen)]
        rounds = [
            (n, [(s.id, lambda c=c, d=d: c(d)) for s, d in drives]) for n, c in CHECKS.items()
        ]
        pair = [d for _, d in drives if d.name in ("lenet5", "mixed")] or [drives[0][1]]
        rounds += [("two models in two threads each", [("", lambda: threads(pair))])]
        teams = [s for s in chosen if s.name in REFERENCES]
        threaded = [(s.id, lambda s=s: team(s, Path(base) / f"team-{s.name}")) for s in teams]
        rounds += [("three threads of OpenMP", threaded)]
        for name, calls in rounds:
            if options.check in name:
                before, began = len(wrong), spent()
                said = [(specimen, complaint(call)) for specimen, call in calls]
                wrong += [f"{name}, {specimen}: {text}" for specimen, text in said if text]
                row = (name, len(calls), len(wrong) - before, f"{spent() - began:.0f}")
                print(f"| {' | '.join(map(str, row))} |", flush=True)
    print("\n".join(["", *wrong]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
