"""The results as text: a table a case, in Markdown that reads well in a terminal as it is.

    print(section(result))
    Path("RESULTS.md").write_text(document(results, heading))

Time is the median over rounds of one step. "x peer" is the time of the fastest peer on at most as
many threads, divided by this one's: above 1 is faster than all of them. The share is of the limit:
the larger of the step's multiply-adds at the machine's peak and its parameters and inputs at the
bandwidth of a working set of that size, both measured in the same run, times the threads.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from benchmarks.race import Result, Time
from gradwright.native import compiler

PACKAGES = ("numpy", "torch", "jax", "pytensor", "tinygrad")
HEAD = "| | time | x peer | GFLOP/s | of limit |\n|---|---:|---:|---:|---:|"


def machine_line() -> str:
    """Processor, compiler and versions."""
    name = platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        found = [s for s in described.read_text().splitlines() if s.startswith("model name")]
        name = found[0].split(":", 1)[1].strip() if found else name
    versions = ", ".join(f"{p} {v}" for p in PACKAGES if (v := _version(p)))
    python = f"Python {platform.python_version()}"
    return f"{name} ({platform.machine()}), {_compiler()}, {python}, {versions}"


def section(result: Result) -> str:
    """One case: everybody's line, the fastest first, and those who did not take part."""
    facts, limits = result.facts, result.limits
    work = f"{facts['operations'] / 1e6:.1f} million operations in multiply-adds"
    limit = f"limit {duration(result.limit)} at {limits.peak / 1e9:.0f} GFLOP/s a thread."
    lines = [f"## {result.case.title}", "", f"{work}, {limit}", "", HEAD]
    lines += [_row(t, result) for t in sorted(result.times, key=lambda t: t.seconds)]
    lines += [f"| {name} | {_plain(reason)} | | | |" for name, reason in _reasons(result)]
    return "\n".join(lines) + "\n"


def _reasons(result: Result) -> list[tuple[str, str]]:
    """By name; one line where somebody cannot run on one thread nor on two."""
    found = {(c.label, reason): c.name for c, reason in reversed(result.reasons)}
    return [(name, reason) for (_, reason), name in reversed(found.items())]


def document(results: Iterable[Result], *before: str) -> str:
    """The whole page."""
    parts = ["# Measured speed\n", *before, *(section(r) for r in results)]
    return "\n".join(parts).rstrip("\n") + "\n"


HEADING = """Made by `make bench`, in one run, on {machine}.

All do the same step from the same parameters (plain gradient descent, float32, checked before they
are timed), and take turns on the same core, in processes of their own, {rounds} rounds, fewer where
a step takes long; each round on the core that others disturb least when it begins. Times are
medians over the rounds by {clock}, the call from Python included.
Where a table has rows of two threads, everybody was asked to run on one and on two. Who has no time
could not run, did not agree, or did not answer within {patience:.0f} s: the row says which.
In the same rounds the machine itself reached {slowest:.0f} to {fastest:.0f} GFLOP/s in
multiply-adds on one core; it copied {copied:.0f} GB/s within {small:.1f} MB and {far:.0f} GB/s
within {large:.0f} MB (bytes read and written).

`x peer` is the time of the fastest peer on at most as many threads over this one's: above 1 is
faster than all of them. The limit is the larger of the step's multiply-adds at the machine's peak
and the bytes that must move, at the bandwidth for so many. The two convolutions run without their
dropout: random numbers differ.

![Speed as a share of the limit](results.png)
"""


def heading(results: list[Result], rounds: int, clock: str, patience: float) -> str:
    """What the page needs to say before its tables."""
    peaks = [r.limits.peak / 1e9 for r in results]
    near, distant = results[0].limits.copying[3], results[0].limits.copying[-1]
    return HEADING.format(
        machine=machine_line(),
        rounds=rounds,
        clock=SAID[clock],
        patience=patience,
        slowest=min(peaks),
        fastest=max(peaks),
        copied=near[1] / 1e9,
        small=near[0] / 2**20,
        far=distant[1] / 1e9,
        large=distant[0] / 2**20,
    )


def duration(seconds: float) -> str:
    """Three digits, with the unit that suits them."""
    unit, scale = next((u, s) for u, s in UNITS if seconds >= s or u == "µs")
    value = seconds / scale
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"


SAID = {"wall": "the clock", "cpu": "the processor's time (others used the machine)"}
UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))


def _row(time: Time, result: Result) -> str:
    best = result.fastest_peer(time.contestant.threads)
    name = f"**{time.contestant.name}**" if time.contestant.ours else time.contestant.name
    ratio = f"{best.seconds / time.seconds:.2f}" if best else ""
    rate = result.facts["operations"] / time.seconds / 1e9
    share = result.limits.seconds(*(result.facts[k] for k in ("operations", "read", "written")))
    share /= time.contestant.threads * time.seconds
    return f"| {name} | {duration(time.seconds)} | {ratio} | {rate:.1f} | {share:.0%} |"


def _plain(reason: str) -> str:
    return reason.replace("|", "/").replace("\n", " ")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _compiler() -> str:
    said = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=False)
    return said.stdout.splitlines()[0] if said.stdout else "unknown C compiler"
