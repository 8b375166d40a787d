"""Coverage-guided fuzzing of the readers, by atheris (the extra `fuzz`).

    python -m tests.torture.fuzz_readers                  # half an hour each; a table
    python -m tests.torture.fuzz_readers checkpoint -max_total_time=600 tests/corpus/checkpoint

What follows a reader's name is libFuzzer's. Anything but the reader's own refusal ends the run,
with the bytes in a file `crash-...`; so does an input that takes two seconds, or much memory.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("idx", "idx-gz", "checkpoint", "history", "picture")
SECONDS = 1800


def every() -> int:
    """Each reader in a process of its own; 1 if one of them failed."""
    if importlib.util.find_spec("atheris") is None:
        print("not run: atheris is not installed")
        return 0
    print("| reader | seconds | inputs | result |\n|---|---|---|---|")
    codes = []
    for name in NAMES:
        command = [sys.executable, "-m", __spec__.name, name, f"-max_total_time={SECONDS}"]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([*command, folder], stderr=subprocess.PIPE, text=True)
        runs = re.search(r"Done (\d+) runs", done.stderr)
        result = "nothing but refusals" if done.returncode == 0 else done.stderr[-2000:]
        print(f"| {name} | {SECONDS} | {runs[1] if runs else '-'} | {result} |", flush=True)
        codes.append(done.returncode)
    return 1 if any(codes) else 0


def fuzz(name: str) -> None:
    """One reader, with libFuzzer's own output."""
    import atheris

    with atheris.instrument_imports(include=["gradwright.training"]):
        from tests.torture.readers import READERS, resigned

    reader = READERS[name]
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))

    def one(raw: bytes) -> None:
        reader.try_bytes(raw, folder)
        if reader.digest and len(raw) >= 8:
            reader.try_bytes(resigned(raw), folder)
            reader.try_bytes(resigned(measured(raw)), folder)

    seeds = Path(tempfile.mkdtemp(dir="/dev/shm"))
    for number, raw in enumerate(reader.intact()):
        (seeds / str(number)).write_bytes(raw)
    limits = ["-timeout=2", "-rss_limit_mb=1024", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *limits, *sys.argv[2:], str(seeds)], one)
    atheris.Fuzz()


def measured(raw: bytes) -> bytes:
    """A checkpoint that says the length of its header rightly, which chance never does."""
    end = raw.rfind(b"}") + 1
    return max(0, end - 8).to_bytes(8, "little") + raw[8:]


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit(every())
    fuzz(sys.argv[1])
