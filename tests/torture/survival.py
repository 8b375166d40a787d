"""Kill, starve and interrupt training runs, and see that nothing is lost but the work in between.

    python -m tests.torture.survival             # some minutes; a Markdown table
    python -m tests.torture.survival --kills 4   # as `make test` does it

Every trial is `gradwright train` in a process of its own, forked from this one, with a checkpoint
after almost every step. A run is killed three times and then left to end; its last checkpoint must
be, byte for byte, that of the run that nobody disturbed. Needs fork and signals: Linux or macOS.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from gradwright import train_run
from gradwright.train_run import TrainOptions
from gradwright.training import checkpoint as checkpoints
from gradwright.training import loop, whole_file
from gradwright.training.checkpoint import FILE_NAME
from ir.errors import GradwrightError

NET = """import gradwright as gw


@gw.network
def net(x: gw.f32["batch", 64], label: gw.i32["batch"]):
    h = gw.dropout(gw.relu(gw.dense(x, 128, name="fc1")), 0.3)
    logits = gw.dense(h, 10, name="fc2")
    return gw.outputs(loss=gw.cross_entropy(logits, label), logits=logits)
"""
KILLS_PER_RUN = 3
Arm = Callable[[random.Random], None]


@dataclass
class Trials:
    """What was done to runs, and what went wrong."""

    tried: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def count(self, what: str, right: bool, why: object = "") -> None:
        self.tried[what] += 1
        if not right:
            self.failed[what] += 1
            print(f"FAILED: {what}: {why}", file=sys.stderr)

    def table(self) -> str:
        lines = ["| what | tried | failed |", "|---|---|---|"]
        lines += [f"| {what} | {n} | {self.failed[what]} |" for what, n in self.tried.items()]
        lines += ["", *(f"{what}: {n}" for what, n in sorted(self.notes.items()))]
        return "\n".join(lines)


@dataclass(frozen=True)
class Bench:
    """Where the trials run, how long a run takes, and what its last checkpoint must be."""

    options: TrainOptions
    seconds: float
    reference: bytes

    @property
    def folder(self) -> Path:
        assert self.options.out is not None
        return self.options.out

    @property
    def checkpoint(self) -> Path:
        return self.folder / FILE_NAME

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def bench(target: str, epochs: int) -> Bench:
    """A reference run in a folder of its own."""
    Path("net.py").write_text(NET, encoding="utf-8")
    options = TrainOptions(
        "net.py", epochs, "digits", target=target, batch=32, optimizer="adam", seed=3,
        schedule="cosine", out=Path("straight"),
    )  # fmt: skip
    train(options)  # once for what is only made once
    shutil.rmtree("straight")
    began = time.perf_counter()
    status = waited(forked(lambda: train(options)))
    assert status == 0, status
    seconds = time.perf_counter() - began
    reference = Path("straight", FILE_NAME).read_bytes()
    shutil.rmtree("straight")
    return Bench(replace(options, out=Path("run")), seconds, reference)


def train(options: TrainOptions) -> None:
    """As the command does, without a word."""
    train_run.run(options, Console(file=io.StringIO()))


def go_on(b: Bench) -> None:
    """Start the run, or resume it where there is something to resume."""
    resume = b.folder if b.checkpoint.exists() else None
    train(replace(b.options, resume=resume))


def forked(action: Callable[[], None]) -> int:
    """The process that does it: 0 when it ends well, 2 for a user's mistake, 3 for a defect."""
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        action()
        code = 0
    except GradwrightError as error:
        Path("said").write_text(error.report(), encoding="utf-8")
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def waited(pid: int) -> int:
    """Its exit code; below zero, the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---------------------------------------------------------------- three ways to be killed


def at_a_random_line(draw: random.Random) -> None:
    """Die before a random line of the code that saves."""
    left = int(2 ** draw.uniform(0, 11))
    files = {checkpoints.__file__, whole_file.__file__}

    def line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame: FrameType, event: str, argument: object) -> Any:
        return line if frame.f_code.co_filename in files else None

    sys.settrace(call)


def in_the_midst_of_a_write(draw: random.Random) -> None:
    """Die by the system's hand at a random byte of a checkpoint."""
    left, save = draw.randrange(1, 40), checkpoints.save

    def cut(path: Path, checkpoint: checkpoints.Checkpoint) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            size = path.stat().st_size if path.exists() else 100_000
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            limit_files(draw.randrange(size))
        save(path, checkpoint)

    checkpoints.save = cut


def limit_files(size: int) -> None:
    """No file of this process may grow past it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def at_a_random_moment(draw: random.Random) -> None:
    """Nothing to prepare: the parent kills."""


KINDS: dict[str, tuple[Arm, int]] = {
    "kill -9 at a random moment": (at_a_random_moment, 200),
    "kill -9 before a random line of the saving code": (at_a_random_line, 100),
    "killed at a random byte of a checkpoint": (in_the_midst_of_a_write, 100),
}


def killed(b: Bench, kind: str, draw: random.Random) -> bool:
    """Go on with the run, and kill it; False when it ended before."""
    arm = KINDS[kind][0]
    seed = draw.random()

    def armed() -> None:
        arm(random.Random(seed))
        go_on(b)

    pid = forked(armed)
    if arm is at_a_random_moment:
        time.sleep(draw.uniform(0.01, 1) * b.seconds)
        os.kill(pid, signal.SIGKILL)
    code = waited(pid)
    if code > 0:
        raise AssertionError(f"the run failed with exit code {code}")
    return code < 0


def kill_runs(b: Bench, kind: str, kills: int, trials: Trials, draw: random.Random) -> None:
    """Runs that are killed until so many kills are counted."""
    done = 0
    while done < kills:
        b.clear()
        before: checkpoints.Position | None = None
        for _ in range(min(KILLS_PER_RUN, kills - done)):
            if not killed(b, kind, draw):
                break
            done += 1
            before = after_a_kill(b, kind, before, trials)
        code = waited(forked(lambda: go_on(b)))
        right = code == 0 and b.checkpoint.read_bytes() == b.reference
        trials.count(f"{kind}: the resumed run ends with the same bytes", right, code)
        left = leftovers(b)
        trials.count(f"{kind}: nothing is left behind", left == [], left)


def leftovers(b: Bench) -> list[str]:
    """Files that were being written when something happened."""
    return [p.name for p in b.folder.glob(".*.tmp")]


def after_a_kill(
    b: Bench, kind: str, before: checkpoints.Position | None, trials: Trials
) -> checkpoints.Position | None:
    """The last complete checkpoint loads, and is not older than the one before."""
    what = f"{kind}: the last checkpoint loads"
    place = "while a file was written" if leftovers(b) else "elsewhere"
    trials.notes[f"{kind}: {place}"] += 1
    if before is None and not b.checkpoint.exists():
        trials.count(what, True)
        return None
    try:
        found = checkpoints.load(b.folder).position
    except GradwrightError as error:
        trials.count(what, False, error)
        return before
    trials.count(what, before is None or found.step >= before.step, found)
    return found


# ---------------------------------------------------------------- other misfortunes


def interrupted(b: Bench, after: int, by: int) -> int:
    """The exit code of a run that gets a signal at a step, and must stop there, saved."""

    def action() -> None:
        train_piece, left = loop._Run._train_piece, after

        def piece(run: Any, rows: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), by)
            return train_piece(run, rows)

        loop._Run._train_piece = piece  # type: ignore[method-assign]
        outcome = train_run.run(b.options, Console(file=io.StringIO()))
        assert outcome.stopped
        assert outcome.position.step == after

    return waited(forked(action))


def interrupts(b: Bench, count: int, trials: Trials, draw: random.Random) -> None:
    """Ctrl-C, a polite kill or a lost terminal while it trains: saved, and the bits go on."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in range(count):
        b.clear()
        code = interrupted(b, draw.randrange(1, 40), signals[number % 3])
        trials.count("Ctrl-C, kill, hang-up: a clean stop, saved at that step", code == 0, code)
        code = waited(forked(lambda: go_on(b)))
        right = code == 0 and b.checkpoint.read_bytes() == b.reference
        trials.count("Ctrl-C, kill, hang-up: the resumed run ends with the same bytes", right, code)


def crowds(b: Bench, count: int, trials: Trials) -> None:
    """Several at once in one folder: one works, the others are told so."""
    homeless = replace(b.options, out=None)
    for _ in range(count):
        b.clear()
        codes = sorted(waited(pid) for pid in [forked(lambda: train(b.options)) for _ in range(3)])
        right = codes == [0, 2, 2] and b.checkpoint.read_bytes() == b.reference
        trials.count("three runs in one folder: one of them works", right, codes)
        shutil.rmtree("runs", ignore_errors=True)
        codes = [waited(pid) for pid in [forked(lambda: train(homeless)) for _ in range(3)]]
        found = [p.read_bytes() for p in Path("runs").glob(f"*/{FILE_NAME}")]
        right = codes == [0, 0, 0] and found == 3 * [b.reference]
        trials.count("three runs without --out: each has a folder of its own", right, codes)


def full_disks(b: Bench, count: int, trials: Trials, draw: random.Random) -> None:
    """No file may grow past some size: a clear error, the last checkpoint stands and goes on."""
    for _ in range(count):
        b.clear()

        def starved(room: int = draw.randrange(1, len(b.reference))) -> None:
            left, save = draw.randrange(2, 40), checkpoints.save

            def full(path: Path, checkpoint: checkpoints.Checkpoint) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    limit_files(room)
                save(path, checkpoint)

            checkpoints.save = full
            train(b.options)

        complaint(b, starved, "cannot be written: File too large", "full disk", trials)


def mounts(b: Bench, trials: Trials) -> None:
    """A real file system that is full, and one that is read-only, where mounting is allowed."""
    b.clear()
    b.folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", b.folder]).returncode:
        trials.notes["real file systems: mounting is not allowed here"] += 1
        return
    try:
        assert interrupted(b, 7, signal.SIGTERM) == 0
        ballast = b.folder / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        no_room = "No space left on device"
        complaint(b, lambda: go_on(b), no_room, "real full disk", trials, ballast.unlink)
        for file in b.folder.iterdir():
            file.unlink()
        assert interrupted(b, 9, signal.SIGTERM) == 0
        remounted(b.folder, "ro")
        reason, again = "Read-only file system", lambda: remounted(b.folder, "rw")
        complaint(b, lambda: go_on(b), reason, "real read-only disk", trials, again)
    finally:
        subprocess.run(["umount", b.folder], check=True)


def remounted(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def complaint(
    b: Bench,
    action: Callable[[], None],
    says: str,
    what: str,
    trials: Trials,
    mended: Callable[[], object] = lambda: None,
) -> None:
    """A run that must end with an error that says so; what it saved goes on once it is mended."""
    Path("said").unlink(missing_ok=True)
    code = waited(forked(action))
    said = Path("said").read_text(encoding="utf-8") if code == 2 else ""
    right = says in said and leftovers(b) == []
    trials.count(f"{what}: a clear error, nothing half written", right, said or code)
    mended()
    code = waited(forked(lambda: go_on(b)))
    right = code == 0 and b.checkpoint.read_bytes() == b.reference
    trials.count(f"{what}: the resumed run ends with the same bytes", right, code)


def campaign(b: Bench, share: float, trials: Trials, draw: random.Random) -> None:
    """Everything once, in the numbers above times `share`."""
    for kind, (_, kills) in KINDS.items():
        kill_runs(b, kind, max(1, round(kills * share)), trials, draw)
    interrupts(b, max(1, round(50 * share)), trials, draw)
    full_disks(b, max(1, round(50 * share)), trials, draw)
    crowds(b, max(1, round(20 * share)), trials)


def main() -> int:
    """The exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(description="kill training runs")
    parser.add_argument("--share", type=float, default=1.0, help="of the 400 kills")
    parser.add_argument("--target", choices=("c", "numpy"), action="append")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    said = parser.parse_args()
    print(f"seed {said.seed}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs us behind
    loop.SAVE_SECONDS = loop.PIECE_SECONDS = 0.0
    trials, draw = Trials(), random.Random(said.seed)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        os.chdir(folder)
        targets = said.target or ["c", "numpy"]
        for target in targets:
            b = bench(target, epochs=3 if said.share > 0.1 else 1)
            campaign(b, said.share / len(targets), trials, draw)
            if said.share >= 1:
                mounts(b, trials)
        os.chdir("/")
    print(trials.table())
    return 1 if trials.failed else 0


if __name__ == "__main__":
    sys.exit(main())
