"""A race: everybody is prepared and checked against ours, then all take turns, round after round.

    with Race(rounds=15, round_seconds=0.03) as race:
        result = race.run(case, contestants(case))

A busy moment of the machine hits a whole round, not one contestant; the figures are medians over
the rounds. Processes live as long as the race, since loading a framework takes seconds.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.agreement import disagreement
from benchmarks.cases import Arrays, CannotRun, Case
from benchmarks.contestants import Contestant
from benchmarks.process import Process
from gradwright.machine import Limits

FEWEST_ROUNDS = 5
LONG = 0.3
"""Passes of more seconds than this get FEWEST_ROUNDS."""


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds of one step, by round."""

    contestant: Contestant
    rounds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True, slots=True)
class Result:
    """One case: times, the reasons of those without one, and what the machine can do."""

    case: Case
    times: tuple[Time, ...]
    reasons: tuple[tuple[Contestant, str], ...]
    facts: dict[str, float]
    limits: Limits

    @property
    def limit(self) -> float:
        """The least seconds that a step could take, on as many threads as the case has."""
        work = self.facts["operations"], self.facts["read"], self.facts["written"]
        return self.limits.seconds(*work) / self.case.threads

    def fastest_peer(self) -> Time | None:
        """Of those that are not ours."""
        others = [t for t in self.times if not t.contestant.ours]
        return min(others, key=lambda t: t.seconds, default=None)


@dataclass(slots=True)
class Runner:
    """A prepared contestant: how many steps a pass has, and how many passes a round."""

    contestant: Contestant
    process: Process
    steps: int
    passes: int
    rounds: list[float] = field(default_factory=list)


class Race:
    """The processes, and how long everybody's turn is."""

    def __init__(
        self,
        rounds: int,
        round_seconds: float,
        clock: str = "wall",
        say: Callable[[str], None] = print,
    ) -> None:
        self.rounds, self.round_seconds, self.clock, self.say = rounds, round_seconds, clock, say
        self._processes: dict[tuple[str, int], Process] = {}

    def __enter__(self) -> Race:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.end()

    def run(self, case: Case, racers: Sequence[Contestant]) -> Result:
        """Prepare, check, and time."""
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            params = Path(folder) / "params.npz"
            facts = self._process("gradwright_c", 1).ask(
                do="facts", case=asdict(case), params=str(params)
            )
            runners, reasons = self._prepared(case, racers, params, facts["moved"])
        peaks = self._take_turns(runners)
        told = self._process("machine", 1).ask(do="facts", clock=self.clock)
        limits = _limits(told, statistics.median(peaks))
        times = tuple(Time(r.contestant, tuple(r.rounds)) for r in runners)
        return Result(case, times, tuple(reasons), facts, limits)

    def _prepared(
        self, case: Case, racers: Sequence[Contestant], params: Path, moved: dict[str, float]
    ) -> tuple[list[Runner], list[tuple[Contestant, str]]]:
        """Those that can run and agree with the first of ours, and why the others do not."""
        runners: list[Runner] = []
        reasons: list[tuple[Contestant, str]] = []
        expected: dict[int, Arrays] = {}
        with np.load(params) as stored:
            start = dict(stored)
        for racer in racers:
            self.say(f"  {racer.name}")
            try:
                runner = self._prepare(case, racer, params)
                found = self._first(runner, params.parent / "results.npz")
                ours = expected.setdefault(_length(found), found) if racer.ours else None
                ours = ours or expected[_length(found)]
                problem = disagreement(ours, found, start, moved)
                if problem:
                    raise CannotRun(f"does not agree: {problem}")
                runner.passes = self._passes(runner)
                runners.append(runner)
            except CannotRun as reason:
                self.say(f"    {reason}")
                reasons.append((racer, str(reason)))
        return runners, reasons

    def _prepare(self, case: Case, racer: Contestant, params: Path) -> Runner:
        process = self._process(racer.peer, racer.threads)
        steps = process.ask(do="prepare", case=asdict(case), params=str(params))
        return Runner(racer, process, steps, 1)

    def _first(self, runner: Runner, out: Path) -> Arrays:
        runner.process.ask(do="check", out=str(out))
        with np.load(out) as stored:
            return dict(stored)

    def _passes(self, runner: Runner) -> int:
        """How many passes a turn has: as many as fit into it, by the shorter of two tries."""
        spent = min(runner.process.ask(do="time", count=1, clock=self.clock) for _ in range(2))
        if spent < self.round_seconds / 10:
            spent = runner.process.ask(do="time", count=5, clock=self.clock)
        return max(1, int(self.round_seconds / spent))

    def _take_turns(self, runners: list[Runner]) -> list[float]:
        """The rounds; gives the machine's multiply-adds a second in each."""
        machine = self._process("machine", 1)
        peaks: list[float] = []
        count = self.rounds
        while len(peaks) < count:
            peaks.append(machine.ask(do="facts", peak=True, clock=self.clock))
            for r in runners:
                spent = r.process.ask(do="time", count=r.passes, clock=self.clock)
                r.rounds.append(spent / r.steps)
            if any(r.rounds[-1] * r.steps > LONG for r in runners):
                count = min(self.rounds, FEWEST_ROUNDS)
        return peaks

    def _process(self, peer: str, threads: int) -> Process:
        known = self._processes.get((peer, threads))
        if known is None or not known.running:
            known = self._processes[peer, threads] = Process(peer, threads)
        return known


def _length(found: Arrays) -> int:
    """How many steps a pass made: ours with as many are what it is compared with."""
    return len(found.get("losses", ()))


def _limits(told: dict[str, Any], peak: float) -> Limits:
    """The bandwidths as told, the peak as it was while the race ran."""
    curves = {
        name: tuple((int(n), float(s)) for n, s in told[name]) for name in told if name != "peak"
    }
    return Limits(peak, curves["reading"], curves["copying"])
