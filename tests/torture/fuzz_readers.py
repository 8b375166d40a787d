"""Coverage-guided fuzzing of one reader, by atheris (pip install atheris).

    python -m tests.torture.fuzz_readers checkpoint -max_total_time=600 tests/corpus/checkpoint

What follows the reader's name is libFuzzer's. Anything but the reader's own refusal ends the run,
with the bytes in a file `crash-...`; so does an input that takes a second, or much memory.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gradwright.training"]):
    from tests.torture.readers import READERS, resigned


def main() -> None:
    reader = READERS[sys.argv.pop(1)]
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
    atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], str(seeds)], one)
    atheris.Fuzz()


def measured(raw: bytes) -> bytes:
    """A checkpoint that says the length of its header rightly, which chance never does."""
    end = raw.rfind(b"}") + 1
    return max(0, end - 8).to_bytes(8, "little") + raw[8:]


if __name__ == "__main__":
    main()
