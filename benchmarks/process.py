"""The parent's side of a contestant: start it with its thread settings, ask, and give up in time.

    with Process("torch_eager", threads=1) as process:
        steps = process.ask(do="prepare", case=..., params=...)

One-thread contestants are pinned to one core, so that all of them take turns on the same; which one
the race chooses before each round (`move`).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from benchmarks.cases import CannotRun

ROOT = Path(__file__).resolve().parent.parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUM_CPU_THREADS")


def cores(threads: int) -> set[int]:
    """The cores of a contestant: the last ones that this process was given."""
    return set(sorted(ALLOWED)[-threads:])


ALLOWED = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def environment(threads: int) -> dict[str, str]:
    """What frameworks read when they load."""
    found = dict(os.environ)
    found |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    found["JAX_PLATFORMS"] = "cpu"
    found["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # no pool of compilers left waiting
    if threads == 1:
        found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        found["THREADS"] = "0"  # tinygrad's
    return found


class Process:
    """One contestant, running; who does not answer within `patience` seconds is ended."""

    def __init__(self, peer: str, threads: int, patience: float) -> None:
        self._patience = patience
        self._answers: queue.Queue[str] = queue.Queue()
        pinned = "import os, sys; hasattr(os, 'sched_setaffinity') and os.sched_setaffinity(0, {})"
        code = f"{pinned.format(cores(threads))}; sys.argv = ['worker', {peer!r}, '{threads}']"
        code += "; from benchmarks.worker import main; main()"
        self._child = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_NOISE") else None,
            cwd=ROOT,
            env=environment(threads),
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._answer()

    def ask(self, **command: Any) -> Any:
        """The answer to a command. Raises CannotRun with the reason, if there is one."""
        try:
            self._child.stdin.write(json.dumps(command) + "\n")
            self._child.stdin.flush()
        except OSError:
            raise CannotRun("the process ended") from None
        return self._answer()

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        self._listener.join()
        with contextlib.suppress(OSError):
            self._child.stdin.close()

    def move(self, core: int) -> None:
        """All its threads onto that core."""
        tasks = Path(f"/proc/{self._child.pid}/task")
        with contextlib.suppress(OSError):
            for task in tasks.iterdir():
                os.sched_setaffinity(int(task.name), {core})

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    def _listen(self) -> None:
        with self._child.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put("")

    def _answer(self) -> Any:
        try:
            line = self._answers.get(timeout=self._patience)
        except queue.Empty:
            self.end()
            raise CannotRun(f"no answer within {self._patience:.0f} s") from None
        if not line:
            self.end()
            raise CannotRun(f"the process ended with code {self._child.returncode}")
        answer = json.loads(line)
        if "cannot" in answer:
            raise CannotRun(answer["cannot"])
        return answer["ok"]
