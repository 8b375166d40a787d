"""A contestant in a process of its own, with its own thread settings, obeying commands on a pipe.

    {"do": "prepare", "case": {...}, "params": PATH}     build the step from these parameters
    {"do": "check", "out": PATH}                         one pass; its results into a file
    {"do": "time", "count": 20, "clock": "wall"}         seconds of so many passes, after a warm-up
    {"do": "facts", "case": {...}, ...}                  what else a peer can tell: start, limits

Every answer is one line: {"ok": ...}, or {"cannot": REASON}. Started by process.py; `run` below is
the loop. What a framework prints goes to stderr, so that it does not get into the answers.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from benchmarks.cases import CLOCKS, Arrays, CannotRun, Case, given

WARM_UP = 0.1  # of the counted passes, at least one
LONG = 0.1
"""A pass of more seconds than this finds no caches warm, whatever ran before it."""


class Racer(Protocol):
    """A prepared contestant. A pass is `steps` training steps, or forward passes."""

    steps: int

    def first(self) -> Arrays:
        """The results of the first pass: `losses` and every parameter after it, or `logits`."""
        ...

    def run(self, count: int) -> None:
        """So many passes, finished when it returns."""
        ...


class Worker:
    """The state between commands: the peer, and what it has prepared."""

    def __init__(self, peer: str, threads: int) -> None:
        self.peer: Any = importlib.import_module(f"benchmarks.peers.{peer}")
        self.threads = threads
        self.racer: Any = None
        self.spent = 0.0

    def prepare(self, case: dict[str, Any], params: str) -> int:
        """Gives the steps of a pass."""
        self.racer, self.spent = None, 0.0
        gc.collect()
        asked = Case(**case)
        self.racer = self.peer.prepare(asked, given(asked, Path(params)), self.threads)
        return int(self.racer.steps)

    def check(self, out: str) -> None:
        np.savez(out, **self.racer.first())

    def time(self, count: int, clock: str) -> float:
        """Seconds of a pass."""
        now = CLOCKS[clock]
        if self.spent < LONG:
            self.racer.run(max(1, int(count * WARM_UP)))
        gc.disable()
        began = now()
        self.racer.run(count)
        spent = now() - began
        gc.enable()
        self.spent = spent / count
        return self.spent

    def facts(self, **asked: Any) -> Any:
        return self.peer.facts(**asked)


def run(worker: Worker, answers: Any) -> None:
    """Obey until the pipe ends."""
    for line in sys.stdin:
        command = json.loads(line)
        try:
            done = getattr(worker, command.pop("do"))(**command)
            answer = {"ok": done}
        except CannotRun as reason:
            answer = {"cannot": str(reason)}
        except Exception as error:  # whatever a framework raises is its reason
            text = str(error).strip().splitlines()
            answer = {"cannot": f"{type(error).__name__}: {text[0] if text else ''}"[:160]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        worker = Worker(sys.argv[1], int(sys.argv[2]))
    except ImportError as error:
        answers.write(json.dumps({"cannot": f"not installed: {error}"}) + "\n")
        return
    answers.write(json.dumps({"ok": None}) + "\n")
    answers.flush()
    run(worker, answers)


if __name__ == "__main__":
    main()
